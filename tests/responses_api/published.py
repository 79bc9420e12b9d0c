"""The published `openai` client as the judge of our streams and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import httpx2
import pydantic
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent

EVENT_TYPES: dict[str, type[pydantic.BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(ResponseStreamEvent)[0])
}
"""The client's event classes by name."""

UNPUBLISHED = {"name", "presence_penalty", "frequency_penalty", "store"}
"""What we send beyond the client's types: fields of the API's reference that the client reads as extras."""


def check_event(name: str, data: bytes) -> None:
    """Validate an event's JSON strictly against the client's class; nothing but the known extras may be in it."""
    assert set(_extras(EVENT_TYPES[name].model_validate_json(data, strict=True))) <= UNPUBLISHED


def check_response(data: bytes) -> None:
    """Validate a response's JSON strictly."""
    assert set(_extras(Response.model_validate_json(data, strict=True))) <= UNPUBLISHED


def _extras(value: Any) -> Iterator[str]:
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or {}
        for name in type(value).model_fields:
            yield from _extras(getattr(value, name))
    elif isinstance(value, list):
        for entry in value:
            yield from _extras(entry)


def client_serving(body: bytes) -> OpenAI:
    """The client, talking to a server whose every answer is this event stream."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body, request=request)

    return OpenAI(
        api_key="none",
        base_url="http://server.invalid/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )


def stream_through_client(body: bytes) -> tuple[list[Any], Any]:
    """All events that the client's accumulating stream gives for the body, and the final response in the last one."""
    with client_serving(body) as client, client.responses.stream(model="m", input="hi") as stream:
        events: list[Any] = list(stream)
    return events, events[-1].response


def without_parsed(value: Any) -> Any:
    """The client's own additions taken away: it parses texts and arguments into fields of its own."""
    if isinstance(value, dict):
        return {key: without_parsed(entry) for key, entry in value.items() if key not in ("parsed", "parsed_arguments")}
    return [without_parsed(entry) for entry in value] if isinstance(value, list) else value

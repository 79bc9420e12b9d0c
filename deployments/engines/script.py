r"""The language that tells the scripted engine what to say, written by the client into its own request.

The text of the last user message may hold, after the word `@script`, one JSON object or a list of them:

    @script {"steps": [{"reasoning": "hm"}, {"text": "hello"}], "rate": 50, "chunk": 4, "finish": "stop"}

With a list, the turns that follow one user message (a call, its output, an answer) take one object each. `steps` run in
order and each has one key:

    {"text": "…"}  {"reasoning": "…"}            said in chunks of `chunk` characters, a token and a batch each
    {"call": {"name": "f", "arguments": "{…}"}}  one function call; `arguments` may be an object, `call_id` may be given
    {"calls": [{…}, {…}]}                        several calls open at once, their arguments interleaved
    {"pause": 0.5}                               says nothing for so many seconds
    {"silence": true}                            says nothing until it is aborted
    {"error": "dead"}                            raises EngineDead; as the first step, before the request is accepted
    {"crash": true}                              ends the engine's process at once
    {"refuse": {"message": "…", "param": "input", "overloaded": false}}    only as the first step

`rate` is chunks a second (none: no pauses), `cached` the prompt tokens told as cached. Nothing here does I/O.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import msgspec

from responses_api.errors import InvalidRequest

Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class CallStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function call to make."""

    name: str
    arguments: str | dict[str, Any] = "{}"
    call_id: str | None = None

    @property
    def text(self) -> str:
        """The arguments' JSON text."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


class RefuseStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refusal: as an invalid request, or because the engine is overloaded."""

    message: str = "refused by the script"
    param: str | None = "input"
    overloaded: bool = False


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step. Exactly one of the fields is set."""

    text: str | None = None
    reasoning: str | None = None
    call: CallStep | None = None
    calls: Annotated[list[CallStep], msgspec.Meta(min_length=1)] | None = None
    pause: Seconds | None = None
    silence: Literal[True] | None = None
    error: Literal["dead"] | None = None
    crash: Literal[True] | None = None
    refuse: RefuseStep | None = None

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a step has exactly one key, this one has {given}")


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to say in one turn."""

    steps: list[Step]
    rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    chunk: Annotated[int, msgspec.Meta(ge=1)] = 4
    finish: Literal["stop", "length"] = "stop"
    cached: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if any(step.refuse is not None for step in self.steps[1:]):
            raise ValueError("`refuse` can only be the first step: an accepted request is not refused")


_DIRECTIVE = re.compile(r"@script\s+(?=[{\[])")


def scripts_in(text: str) -> list[Script]:
    """The scripts in a message's text, one a turn; none where there is no directive.

    Raises:
        InvalidRequest: the directive is malformed; the message says where.
    """
    found = _DIRECTIVE.search(text)
    if found is None:
        return []
    try:
        value, _ = json.JSONDecoder().raw_decode(text, found.end())
        return msgspec.convert(value if isinstance(value, list) else [value], list[Script])
    except (json.JSONDecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise InvalidRequest(f"The script is malformed: {exc}", param="input") from exc

"""Every parameter that the API publishes for `POST /v1/responses`, and what becomes of it here: one table.

A parameter is served, or it is refused by name unless it asks for nothing: null, or the API's own default. None is
dropped in silence. The rows are those of the published client; a test compares them both ways, and those that are
served with the fields of `CreateResponse`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from responses_api.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Parameter:
    """One published parameter. `name` is dotted; `tools[function].x` is the field of every function tool.

    `reason` says what is done with a served one, and why not for the others. Those are let pass with null and with the
    values `only`, and are then as good as absent.
    """

    name: str
    served: bool
    reason: str
    only: tuple[Any, ...] = ()

    @property
    def owner(self) -> str:
        """The name of the object that holds the parameter, empty for the body."""
        return self.name.rpartition(".")[0]

    @property
    def field(self) -> str:
        """The key in its owner."""
        return self.name.rpartition(".")[2]

    def asks_for_nothing(self, value: Any) -> bool:
        """Whether `value` is null or one that stands for what is done anyway. 0, 0.0 and false are three values."""
        return value is None or any(type(value) is type(harmless) and value == harmless for harmless in self.only)


def _served(name: str, reason: str) -> Parameter:
    return Parameter(name, True, reason)


def _refused(name: str, reason: str, *, only: tuple[Any, ...] = ()) -> Parameter:
    return Parameter(name, False, reason, only)


PARAMETERS: Final = (
    _served("model", "has to be the name of the model that is served"),
    _served("input", "a string or items; may be empty only after `previous_response_id`"),
    _served("instructions", "become the system message, before the conversation's own"),
    _served("previous_response_id", "the conversation so far is put before the input"),
    _served("store", "false keeps nothing; the response can then not be retrieved or continued by id"),
    _served("stream", "true answers with server-sent events"),
    _served("stream_options", "allowed with `stream` only"),
    _refused("stream_options.include_obfuscation", "events carry no obfuscation", only=(False,)),
    _served("max_output_tokens", "bounds what is generated, reasoning included"),
    _served("temperature", "passed to the engine; the model's own default where absent"),
    _served("top_p", "passed to the engine; the model's own default where absent"),
    _served("tools", "function tools"),
    _refused("tools[function].async", "functions are called in order", only=(False,)),
    _refused("tools[function].allowed_callers", "only the model calls functions", only=(["direct"],)),
    _refused("tools[function].defer_loading", "there is no tool search", only=(False,)),
    _refused("tools[function].output_schema", "outputs are passed to the model as they come"),
    _served("tool_choice", "auto, none, required, or one function"),
    _served("parallel_tool_calls", "false allows at most one call"),
    _served("text", "see its fields"),
    _served("text.format", "text, json_object, or json_schema by guided decoding"),
    _refused("text.verbosity", "open models have no such control", only=("medium",)),
    _served("reasoning", "see its fields"),
    _served("reasoning.effort", "passed to the model's chat template"),
    _refused("reasoning.summary", "reasoning is given as text, not summed up"),
    _refused("reasoning.generate_summary", "reasoning is given as text, not summed up"),
    _refused(
        "reasoning.context", "the model's chat template chooses what it sees of earlier reasoning", only=("auto",)
    ),
    _refused("reasoning.mode", "there is one mode", only=("standard",)),
    _served("metadata", "kept with the response and echoed"),
    _served("user", "echoed"),
    _served("safety_identifier", "echoed"),
    _served("prompt_cache_key", "echoed; prefixes are cached by themselves"),
    _refused("access_programs", "there are none"),
    _refused("background", "a response runs while its request is open", only=(False,)),
    _refused("context_management", "conversations are not compacted", only=([],)),
    _refused("conversation", "conversations are continued by `previous_response_id`"),
    _refused("image", "images are not served"),
    _refused("include", "there is nothing more to include", only=([],)),
    _refused("max_tool_calls", "it bounds built-in tools, of which there are none"),
    _refused("moderation", "there is no moderation model"),
    _refused("prompt", "there are no prompt templates"),
    _refused("prompt_cache_options", "prefixes are cached by themselves, without breakpoints"),
    _refused("prompt_cache_retention", "the engine evicts prefixes as it needs the room", only=("in_memory",)),
    _refused("service_tier", "there is one tier", only=("auto", "default")),
    _refused("top_logprobs", "log probabilities are not given", only=(0,)),
    _refused("truncation", "a conversation that is too long is refused, not cut", only=("disabled",)),
)

_NOT_SERVED: Final = tuple(row for row in PARAMETERS if not row.served)


def without_unserved(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body less the published parameters that are not served, all of which ask for nothing.

    Raises:
        InvalidRequest: one of them asks for something (code `unsupported_parameter`).
    """
    kept = {name: _copied(value) for name, value in body.items()}
    for row in _NOT_SERVED:
        for path, owner in _owners(kept, row.owner):
            if row.field in owner and not row.asks_for_nothing(owner.pop(row.field)):
                param = f"{path}.{row.field}" if path else row.field
                message = f"Unsupported parameter: '{param}' is not served with this value: {row.reason}."
                raise InvalidRequest(message, param=param, code="unsupported_parameter")
    return kept


def _copied(value: Any) -> Any:
    """A copy as deep as the table reaches: an object, or an array of objects."""
    if isinstance(value, list):
        return [dict(element) if isinstance(element, dict) else element for element in value]
    return dict(value) if isinstance(value, dict) else value


def _owners(body: dict[str, Any], owner: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a body that a row is about, with their paths. What is no object is for the schema to refuse."""
    if not owner:
        yield "", body
        return
    name, _, kind = owner.removesuffix("]").partition("[")
    value = body.get(name)
    if not kind:
        if isinstance(value, dict):
            yield name, value
        return
    for index, element in enumerate(value if isinstance(value, list) else ()):
        if isinstance(element, dict) and element.get("type") == kind:
            yield f"{name}[{index}]", element

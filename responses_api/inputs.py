"""What an engine says: the typed inputs of the emitter, which are also the entries of a response's log.

Every input is a frozen fact. They encode as msgpack arrays headed by a short tag (`["text", "hi"]`), so that a log
stays small; fields may be added at the end with a default, never moved or removed, because stored logs are read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec


class _Input(msgspec.Struct, frozen=True, array_like=True, tag_field="kind"):
    """Base of the inputs: frozen, positional on the wire, told apart by their tag."""


class Begin(_Input, frozen=True, tag="begin"):
    """The response exists from `at` (unix seconds) on. Always the first input."""

    at: float


class Clock(_Input, frozen=True, tag="clock"):
    """It is now `at` (unix seconds). The log carries all times; the core never reads a clock."""

    at: float


class EngineStarted(_Input, frozen=True, tag="engine"):
    """An engine accepted the request.

    `engine` is its replica's unique id, `input_tokens` the length of the rendered prompt.
    """

    engine: str
    input_tokens: int


class Prefilled(_Input, frozen=True, tag="prefilled"):
    """The prompt is processed; `cached_tokens` of it came from the prefix cache."""

    cached_tokens: int


class Tokens(_Input, frozen=True, tag="tokens"):
    """Ids of the tokens sampled in one engine step, in order. Precedes the deltas parsed from them, if any."""

    ids: tuple[int, ...]


class TextDelta(_Input, frozen=True, tag="text"):
    """More text of the answer. Never empty."""

    text: str


class ReasoningDelta(_Input, frozen=True, tag="reasoning"):
    """More text of the model's reasoning. Never empty."""

    text: str


class CallOpened(_Input, frozen=True, tag="call"):
    """The model started a function call.

    `call` is the engine's number for it, unique within the response. `call_id` is given only where the model's template
    dictates its form; otherwise the emitter derives it.
    """

    call: int
    name: str
    call_id: str | None = None


class CallArguments(_Input, frozen=True, tag="args"):
    """More of the JSON text of call number `call`'s arguments: only what is new. Never empty."""

    call: int
    delta: str


class CallClosed(_Input, frozen=True, tag="closed"):
    """Call number `call` is complete: nothing more will be said of it."""

    call: int


class Finish(_Input, frozen=True, tag="finish"):
    """The engine is done: by itself or a stop condition (`stop`), or as the output limit was reached (`length`)."""

    reason: Literal["stop", "length"]
    reasoning_tokens: int = 0


class Fail(_Input, frozen=True, tag="fail"):
    """Generation failed for good. `code` is one of the API's response error codes, `message` is for the client."""

    code: str
    message: str


class Cancel(_Input, frozen=True, tag="cancel"):
    """The client asked to stop, or left a response that only it could read."""


EngineInput = (
    Begin
    | Clock
    | EngineStarted
    | Prefilled
    | Tokens
    | TextDelta
    | ReasoningDelta
    | CallOpened
    | CallArguments
    | CallClosed
    | Finish
    | Fail
    | Cancel
)

TERMINAL = (Finish, Fail, Cancel)
"""Inputs after which a response's log is closed."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[EngineInput]] = msgspec.msgpack.Decoder(list[EngineInput])


def encode_inputs(inputs: Sequence[EngineInput]) -> bytes:
    """One chunk of inputs as msgpack, the form in which they cross processes and lie in the log."""
    return _encoder.encode(inputs)


def decode_inputs(chunk: bytes) -> list[EngineInput]:
    """The inputs of one chunk.

    Raises:
        msgspec.DecodeError: the bytes are no chunk of this version or an earlier one.
    """
    return _decoder.decode(chunk)

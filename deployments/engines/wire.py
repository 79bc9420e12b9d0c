"""How a generation crosses a Serve handle: the request as msgpack, the answer as frames, errors as data.

Owns the frames and the serving half; `remote_engine` is the asking half. Knows nothing of Ray. Nothing but bytes and a
clean end leaves `serve`: custom exceptions do not survive a handle, and a CancelledError would look like a client that
left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import assert_never

import msgspec

from deployments.engines.base import Engine, EngineDead, EngineError, EngineStatus, RequestRefused
from responses_api.errors import (
    ApiError,
    ContextLengthExceeded,
    InvalidRequest,
    Overloaded,
    RequestTooLarge,
    ServerError,
    Unavailable,
)
from responses_api.inputs import EngineInput
from responses_api.records import GenerationRequest

log = logging.getLogger(__name__)

REFUSALS: dict[str, type[ApiError]] = {
    error.__name__: error
    for error in (InvalidRequest, ContextLengthExceeded, RequestTooLarge, Overloaded, Unavailable, ServerError)
}
"""Errors that an engine may refuse with, by their name on the wire."""


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="batch"):
    """What the engine said in one step."""

    inputs: list[EngineInput]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """The engine did not accept the request: name of the error (a key of `REFUSALS`) and what it says to the client."""

    error: str
    message: str
    param: str | None
    code: str | None


class Dead(msgspec.Struct, frozen=True, array_like=True, tag="dead"):
    """The engine cannot go on."""

    message: str


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """The engine cannot finish this generation, and is unharmed."""

    message: str


Frame = Batch | Refused | Dead | Failed

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(GenerationRequest)
_frames = msgspec.msgpack.Decoder(Frame)
_statuses = msgspec.msgpack.Decoder(EngineStatus)


def encode_request(request: GenerationRequest) -> bytes:
    """A request as it goes to the serving half."""
    return _encoder.encode(request)


def decode_status(data: bytes) -> EngineStatus:
    """A status as the serving half's `status` gives it: plain msgpack."""
    return _statuses.decode(data)


def inputs(frame: bytes) -> list[EngineInput]:
    """The batch in a frame.

    Raises:
        RequestRefused, EngineDead, EngineError: what the frame says instead; one that cannot be read says EngineDead.
    """
    try:
        got = _frames.decode(frame)
    except msgspec.DecodeError as exc:
        raise EngineDead(f"the engine's replica speaks another version: {exc}") from exc
    match got:
        case Batch():
            return got.inputs
        case Refused():
            raise RequestRefused(REFUSALS.get(got.error, ServerError)(got.message, param=got.param, code=got.code))
        case Dead():
            raise EngineDead(got.message)
        case Failed():
            raise EngineError(got.message)
        case _:
            assert_never(got)


def being_cancelled() -> bool:
    """Whether it is the running task that is being cancelled, and not something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def serve(engine: Engine, request: bytes) -> AsyncGenerator[bytes, None]:
    """The serving half: one generation as frames.

    A whole generation's last frame is a `Batch` that ends in `Finish`; any other end is a `Refused`, a `Dead`, a
    `Failed`, or an asker who left. Closing or cancelling this iterator aborts the generation and waits until it is.
    """
    handing_over = False
    try:
        asked = _requests.decode(request)
        async with engine.generate(asked) as batches:
            async for batch in batches:
                handing_over = True
                yield _encoder.encode(Batch(batch))
                handing_over = False
    except RequestRefused as refusal:
        yield _encoder.encode(_refused(refusal.error))
    except EngineDead as exc:
        yield _encoder.encode(Dead(str(exc)))
    except EngineError as exc:
        yield _encoder.encode(Failed(str(exc)))
    except asyncio.CancelledError:
        if handing_over or being_cancelled():
            return  # the asker left; nobody reads what follows
        yield _encoder.encode(Dead("the engine stopped this generation by itself"))
    except Exception as exc:
        log.exception("the engine failed in a way that it should not")
        yield _encoder.encode(Dead(f"{type(exc).__name__}: {exc}"))


def _refused(error: ApiError) -> Refused:
    for kind in type(error).__mro__:
        if REFUSALS.get(kind.__name__) is kind:
            return Refused(kind.__name__, error.message, error.param, error.code)
    return Refused(ServerError.__name__, error.message, error.param, error.code)

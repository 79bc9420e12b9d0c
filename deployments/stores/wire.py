"""How store calls cross processes: calls and outcomes as msgpack, errors as data. Knows nothing of Ray.

Custom exceptions do not survive a Ray actor boundary, and pickled objects made from client data must not cross it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, assert_never

import msgspec

from deployments.stores.base import LogClosed, Store, StoreError, StoreUnavailable
from responses_api.errors import ResponseNotFound
from responses_api.inputs import EngineInput
from responses_api.records import ResponseRecord, StoredResponse


class _Message(msgspec.Struct, frozen=True, array_like=True, tag_field="kind"):
    """Base of calls and outcomes: positional on the wire, told apart by their tag."""


class Create(_Message, frozen=True, tag="create"):
    """`Store.create`. `write` is the number by which a repetition of this call is known."""

    tenant: str
    record: ResponseRecord
    owner: str
    log: tuple[EngineInput, ...]
    write: int


class Append(_Message, frozen=True, tag="append"):
    """`Store.append`. `write` is the number by which a repetition of this call is known."""

    tenant: str
    response_id: str
    inputs: tuple[EngineInput, ...]
    write: int


class Delete(_Message, frozen=True, tag="delete"):
    """`Store.delete`."""

    tenant: str
    response_id: str


class Get(_Message, frozen=True, tag="get"):
    """`Store.get`."""

    tenant: str
    response_id: str


class Chain(_Message, frozen=True, tag="chain"):
    """`Store.chain`."""

    tenant: str
    response_id: str


Call = Create | Append | Delete | Get | Chain


class Done(_Message, frozen=True, tag="done"):
    """The call succeeded and returns nothing."""


class Found(_Message, frozen=True, tag="found"):
    """The call succeeded and returns these responses."""

    responses: list[StoredResponse]


class Failed(_Message, frozen=True, tag="failed"):
    """The call failed. `detail` is the id that was not found, else the message."""

    error: Literal["not_found", "closed", "unavailable", "store"]
    detail: str


Outcome = Done | Found | Failed

_encoder = msgspec.msgpack.Encoder()
_calls = msgspec.msgpack.Decoder(list[Call])
_outcomes = msgspec.msgpack.Decoder(list[Outcome])


class RepeatableStore(Store, Protocol):
    """A store whose writes carry a number, so that a write whose answer was lost can be asked for again."""

    async def create(
        self,
        tenant: str,
        record: ResponseRecord,
        *,
        owner: str,
        log: Sequence[EngineInput] = (),
        write: int | None = None,
    ) -> None:
        """`Store.create`; a repetition with the same number succeeds and changes nothing."""
        ...

    async def append(
        self, tenant: str, response_id: str, inputs: Sequence[EngineInput], *, write: int | None = None
    ) -> None:
        """`Store.append`; a repetition of the latest append with the same number succeeds and changes nothing."""
        ...


def encode_calls(calls: list[Call]) -> bytes:
    """Calls, in order."""
    return _encoder.encode(calls)


def decode_calls(data: bytes) -> list[Call]:
    """The calls that `encode_calls` encoded."""
    return _calls.decode(data)


def encode_outcomes(outcomes: list[Outcome]) -> bytes:
    """One outcome for each call, in the calls' order."""
    return _encoder.encode(outcomes)


def decode_outcomes(data: bytes) -> list[Outcome]:
    """The outcomes that `encode_outcomes` encoded."""
    return _outcomes.decode(data)


async def perform(store: RepeatableStore, call: Call) -> Outcome:
    """Make one call on a store; what it raises becomes data."""
    try:
        return await _perform(store, call)
    except ResponseNotFound as exc:
        return Failed("not_found", exc.response_id)
    except LogClosed as exc:
        return Failed("closed", str(exc))
    except StoreUnavailable as exc:
        return Failed("unavailable", str(exc))
    except StoreError as exc:
        return Failed("store", str(exc))


async def _perform(store: RepeatableStore, call: Call) -> Outcome:
    match call:
        case Create():
            await store.create(call.tenant, call.record, owner=call.owner, log=call.log, write=call.write)
        case Append():
            await store.append(call.tenant, call.response_id, call.inputs, write=call.write)
        case Delete():
            await store.delete(call.tenant, call.response_id)
        case Get():
            return Found([await store.get(call.tenant, call.response_id)])
        case Chain():
            return Found(await store.chain(call.tenant, call.response_id))
        case _:
            assert_never(call)
    return Done()


def responses(outcome: Outcome) -> list[StoredResponse]:
    """What a successful call returned.

    Raises:
        ResponseNotFound, LogClosed, StoreUnavailable, StoreError: what the call raised on the other side.
    """
    match outcome:
        case Done():
            return []
        case Found():
            return outcome.responses
        case Failed(error="not_found"):
            raise ResponseNotFound(outcome.detail)
        case Failed(error="closed"):
            raise LogClosed(outcome.detail)
        case Failed(error="unavailable"):
            raise StoreUnavailable(outcome.detail)
        case Failed():
            raise StoreError(outcome.detail)
        case _:
            assert_never(outcome)

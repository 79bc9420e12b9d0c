"""The bytes a store keeps: a record as one msgpack object, a log as chunks, each the inputs of one append.

Stores keep exactly these bytes and never a second form of them, so what is read is what was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from deployments.stores.base import StoreError
from responses_api.inputs import TERMINAL, EngineInput, decode_inputs, encode_inputs
from responses_api.records import ResponseRecord, StoredResponse

CHAIN_LIMIT = 100_000
"""Most responses in one chain. A longer one can only come from a damaged store."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ResponseRecord)


def encode_record(record: ResponseRecord) -> bytes:
    """A record as msgpack."""
    return _encoder.encode(record)


def encode_chunk(inputs: Sequence[EngineInput]) -> tuple[bytes, bool]:
    """The inputs of one append as a log's chunk, and whether they close the log.

    Raises:
        StoreError: a terminal input is followed by others.
    """
    for got in inputs[:-1]:
        if isinstance(got, TERMINAL):
            raise StoreError(f"{type(got).__name__} ends a log; nothing may follow it")
    return encode_inputs(inputs), bool(inputs) and isinstance(inputs[-1], TERMINAL)


def decode_stored(record: bytes, chunks: Iterable[bytes], *, closed: bool, owner: str) -> StoredResponse:
    """A response from the bytes a store kept of it.

    Raises:
        StoreError: the bytes are damaged, or were written by a later version.
    """
    try:
        log = [got for chunk in chunks for got in decode_inputs(chunk)]
        return StoredResponse(record=_decoder.decode(record), log=log, closed=closed, owner=owner)
    except msgspec.DecodeError as exc:
        raise StoreError(f"a stored response cannot be read: {exc}") from exc

"""Ids, as pure functions of the response's id and an index.

A replayed log must give the same bytes, on any machine, so no id but the response's own is ever drawn at random, and
for that one the randomness is an argument. The hashes keep ids opaque and unique across responses; they hide nothing.
"""

from __future__ import annotations

import hashlib
from typing import Final

_HEX_DIGITS: Final = 48
"""Length of the published API's ids after their prefix; call ids are half as long there."""

_MIN_RANDOM_BYTES: Final = 16

_INPUT_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
}


def response_id_from(random: bytes) -> str:
    """The id of a new response from at least 16 bytes (24 for the usual length) of the caller's randomness.

    Raises:
        ValueError: so few bytes that ids could be guessed or could collide.
    """
    if len(random) < _MIN_RANDOM_BYTES:
        raise ValueError(f"a response id needs at least {_MIN_RANDOM_BYTES} random bytes, got {len(random)}")
    return f"resp_{random.hex()}"


def message_id(response_id: str, index: int) -> str:
    """The id of the message at `index` of the response's output."""
    return f"msg_{_digest(response_id, 'output', index)}"


def reasoning_id(response_id: str, index: int) -> str:
    """The id of the reasoning item at `index` of the response's output."""
    return f"rs_{_digest(response_id, 'output', index)}"


def function_call_id(response_id: str, index: int) -> str:
    """The id of the function call item at `index` of the response's output."""
    return f"fc_{_digest(response_id, 'output', index)}"


def call_id(response_id: str, index: int) -> str:
    """The id by which the client answers the function call at `index` of the response's output."""
    return f"call_{_digest(response_id, 'call', index)[: _HEX_DIGITS // 2]}"


def input_item_id(response_id: str, index: int, item_type: str) -> str:
    """The id of item number `index` among those that the response's request brought.

    Types without a prefix of their own get `item_`.
    """
    return f"{_INPUT_PREFIXES.get(item_type, 'item')}_{_digest(response_id, 'input', index)}"


def _digest(response_id: str, place: str, index: int) -> str:
    """Hex digits that no other (response, place, index) shares."""
    return hashlib.sha256(f"{response_id}/{place}/{index}".encode()).hexdigest()[:_HEX_DIGITS]

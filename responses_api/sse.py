"""How events and responses become bytes: the one place of SSE framing and of the JSON encoding of answers.

A frame is always whole: `event:` and `data:` line and the empty line after them. JSON text has no raw line breaks, so
one `data:` line is enough.
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from responses_api.schema.events import StreamEvent, name_of
from responses_api.schema.response import Response

DONE: Final = b"data: [DONE]\n\n"
"""The frame after a stream's last event."""

_HEADS: Final[dict[type[StreamEvent], bytes]] = {
    event_type: f"event: {name_of(event_type)}\ndata: ".encode() for event_type in get_args(StreamEvent)
}

_encoder = msgspec.json.Encoder()


def encode_event(event: StreamEvent) -> bytes:
    """The event as one complete SSE frame."""
    return _HEADS[type(event)] + _encoder.encode(event) + b"\n\n"


def encode_response(response: Response) -> bytes:
    """The response as the JSON body of an answer, the same bytes that stand in the stream's terminal event."""
    return _encoder.encode(response)


def keepalive(sequence_number: int) -> bytes:
    """A frame that keeps an idle stream alive.

    A data event, because comments do not reset every client's idle timer. It lies outside the log: it repeats the
    number of the last event sent and takes none itself, so that the numbers of the real events have no gap.
    """
    return b'event: keepalive\ndata: {"type":"keepalive","sequence_number":%d}\n\n' % sequence_number

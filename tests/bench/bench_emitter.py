"""What a delta costs: `feed` and `encode_event` of a long stream, against encoding one bare prebuilt delta event.

The floor is the least that any emitter could cost, so the ratio says what the state machine adds, on any machine:

    python tests/bench/bench_emitter.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from responses_api.emitter import ResponseEmitter
from responses_api.inputs import Begin, EngineInput, EngineStarted, Finish, TextDelta, Tokens
from responses_api.records import ResponseRecord
from responses_api.schema.events import OutputTextDelta
from responses_api.schema.response import Echo
from responses_api.sse import encode_event

DELTAS = 50_000
ROUNDS = 7

RECORD = ResponseRecord(response_id="resp_" + "0" * 48, echo=Echo(model="m"), input_items=[])
LOG: list[EngineInput] = [Begin(1.0), EngineStarted("engine", 10)]
for number in range(DELTAS):
    LOG += [Tokens((number,)), TextDelta(" token")]
LOG.append(Finish("stop"))


def stream() -> int:
    """A whole response, as the gateway makes it; the number of events."""
    emitter = ResponseEmitter(RECORD)
    count = 0
    for got in LOG:
        for event in emitter.feed(got):
            encode_event(event)
            count += 1
    return count


def floor() -> int:
    """One event, encoded again and again."""
    encode = msgspec.json.Encoder().encode
    event = OutputTextDelta(1, item_id="msg_" + "0" * 48, output_index=0, content_index=0, delta=" token")
    for _ in range(DELTAS):
        encode(event)
    return DELTAS


def microseconds_an_event(work: Callable[[], int]) -> float:
    """The best of some rounds: what disturbs a round only ever makes it slower."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        count = work()
        best = min(best, (time.perf_counter() - start) / count)
    return best * 1e6


def main() -> None:
    """Print events a second, the floor and the ratio."""
    ours, least = microseconds_an_event(stream), microseconds_an_event(floor)
    print(f"emitter and encoding: {1e6 / ours:>9,.0f} events/s ({ours:.2f} us an event, its Tokens input included)")
    print(f"encoding alone:       {1e6 / least:>9,.0f} events/s ({least:.2f} us an event)")
    print(f"ratio:                {ours / least:>9.1f}")


if __name__ == "__main__":
    main()

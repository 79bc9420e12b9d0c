"""A reader of streams that shares nothing with the emitter: rebuilds the output from the events alone, and is strict.

It is the invariants I1 to I6 as code: it fails on the first event that breaks one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from responses_api.schema.events import TERMINAL_EVENTS, StreamEvent


@dataclass
class Item:
    """An item as a client sees it grow. `pieces` are the deltas, `stages` the names of its events so far."""

    added: dict[str, Any]
    pieces: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    done: dict[str, Any] | None = None


WHOLE = {
    "message": ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"],
    "reasoning": ["content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done"],
    "function_call": ["function_call_arguments.delta", "function_call_arguments.done"],
}
"""What comes between an item's `added` and its `done`, in order; only deltas repeat."""


class StrictReader:
    def __init__(self) -> None:
        self.count = 0
        self.items: list[Item] = []
        self.final: dict[str, Any] | None = None
        self.created: dict[str, Any] | None = None

    def read(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            assert self.final is None, "an event after the terminal one"  # I5
            data = msgspec.to_builtins(event)
            assert data["sequence_number"] == self.count  # I1
            self.count += 1
            name = data["type"].removeprefix("response.")
            if isinstance(event, TERMINAL_EVENTS):
                self._end(name, data["response"])
            elif self.count <= 2:
                assert name == ["created", "in_progress"][self.count - 1]
                assert data["response"]["output"] == []
                assert data["response"]["usage"] is None
                self.created = self.created or data["response"]
                assert data["response"] == self.created
            elif name == "output_item.added":
                self._added(data)
            elif name == "output_item.done":
                self._done(data)
            else:
                self._inside(name, data)

    def open_items(self) -> list[Item]:
        return [item for item in self.items if item.done is None]

    def output(self) -> list[dict[str, Any]]:
        """The items as the deltas tell them, without looking at any whole value."""
        return [self._grown(item) for item in self.items]

    def _added(self, data: dict[str, Any]) -> None:
        item = data["item"]
        assert data["output_index"] == len(self.items)  # I4
        assert item["status"] == "in_progress"
        assert item.get("content", []) == []
        assert item.get("arguments", "") == ""
        if item["type"] != "function_call":
            assert all(other.added["type"] == "function_call" for other in self.open_items())  # I2
        ids = [one for known in self.items for one in (known.added["id"], known.added.get("call_id"))]
        assert item["id"] not in ids
        assert item.get("call_id", "") not in ids
        self.items.append(Item(item))

    def _inside(self, name: str, data: dict[str, Any]) -> None:
        item = self.items[data["output_index"]]
        assert item.done is None  # I2
        assert data["item_id"] == item.added["id"]  # I6
        assert data.get("content_index", 0) == 0
        if name.endswith(".delta"):
            assert data["delta"]
            item.pieces.append(data["delta"])
            if item.stages[-1:] == [name]:
                return
        item.stages.append(name)
        expected = WHOLE[item.added["type"]]
        assert item.stages == expected[: len(item.stages)]  # I2
        whole = "".join(item.pieces)
        for value in [data.get("text"), data.get("part", {}).get("text"), data.get("arguments")]:
            assert value in (None, whole)  # I3
        assert data.get("name") in (None, item.added.get("name"))

    def _done(self, data: dict[str, Any]) -> None:
        item = self.items[data["output_index"]]
        assert item.done is None  # I2
        item.done = data["item"]
        assert item.done == self._grown(item)  # I3, I6
        expected = WHOLE[item.added["type"]]
        if item.done["status"] == "incomplete" and item.added["type"] == "function_call":
            assert item.stages in ([], expected[:1])
        else:
            assert item.stages == expected  # I2

    def _end(self, name: str, response: dict[str, Any]) -> None:
        assert not self.open_items()  # I2
        assert name == {"cancelled": "incomplete"}.get(response["status"], response["status"])
        assert response["output"] == [item.done for item in self.items]  # I3, I4, I6
        assert (response["completed_at"] is not None) == (response["status"] == "completed")
        assert (response["error"] is not None) == (response["status"] == "failed")
        assert (response["incomplete_details"] is not None) == (response["status"] == "incomplete")
        if response["status"] == "completed":
            assert all(item["status"] == "completed" for item in response["output"])
        assert self.created is not None
        changing = {"status", "completed_at", "error", "incomplete_details", "output", "usage"}
        assert {key for key in response if response[key] != self.created[key]} <= changing  # I6
        self.final = response

    def _grown(self, item: Item) -> dict[str, Any]:
        status = "in_progress" if item.done is None else item.done["status"]
        text = "".join(item.pieces)
        if item.added["type"] == "function_call":
            return {**item.added, "status": status, "arguments": text}
        part: dict[str, Any] = {"type": "reasoning_text", "text": text}
        if item.added["type"] == "message":
            part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {**item.added, "status": status, "content": [part]}

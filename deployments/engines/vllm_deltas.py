"""From the deltas of vLLM's parsers to engine inputs.

vLLM has some forty parsers, and they differ in small ways: a call's name before its arguments or with them, ids and
names repeated, blank text between calls, the end of a call's arguments beside the next call. This module owns what all
of that means: calls are opened once, closed once, and nothing is said of a closed one. It imports no vLLM and does no
I/O; the protocols below are the part of vLLM's delta message that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from responses_api.inputs import CallArguments, CallClosed, CallOpened, EngineInput, ReasoningDelta, TextDelta


class FunctionDelta(Protocol):
    """A piece of a function call: its name, once or again, and more of its arguments' JSON text."""

    @property
    def name(self) -> str | None: ...  # noqa: D102 - a field of vLLM's
    @property
    def arguments(self) -> str | None: ...  # noqa: D102 - a field of vLLM's


class CallDelta(Protocol):
    """A piece of tool call number `index`."""

    @property
    def index(self) -> int: ...  # noqa: D102 - a field of vLLM's
    @property
    def id(self) -> str | None: ...  # noqa: D102 - a field of vLLM's
    @property
    def function(self) -> FunctionDelta | None: ...  # noqa: D102 - a field of vLLM's


class Delta(Protocol):
    """What a parser made of one step's text. A parser may leave any field empty."""

    @property
    def reasoning(self) -> str | None: ...  # noqa: D102 - a field of vLLM's
    @property
    def content(self) -> str | None: ...  # noqa: D102 - a field of vLLM's
    @property
    def tool_calls(self) -> Sequence[CallDelta] | None: ...  # noqa: D102 - a field of vLLM's


class DeltaTranslator:
    """Turns one response's deltas into inputs, in order.

    `parallel_calls=False` allows one call: when the model begins a second one, `cut` becomes True and nothing more is
    said. `keep_ids` passes the parser's call ids on, each once: some models write an id twice.
    """

    def __init__(self, *, parallel_calls: bool = True, keep_ids: bool = False) -> None:
        self.cut = False
        self._parallel_calls = parallel_calls
        self._keep_ids = keep_ids
        self._open: int | None = None
        self._last = -1
        self._nameless: dict[int, tuple[str | None, str]] = {}
        self._ids: set[str] = set()
        self._blank = ""
        self._in_text = False

    def feed(self, delta: Delta) -> list[EngineInput]:
        """The inputs that `delta` adds; maybe none."""
        out: list[EngineInput] = []
        pieces = list(delta.tool_calls or ())
        while pieces and pieces[0].index == self._open:  # what belongs to the open call comes before any text
            self._piece(pieces.pop(0), out)
        if delta.reasoning and not self.cut:
            self._close(out)
            self._in_text = False
            out.append(ReasoningDelta(text=delta.reasoning))
        if delta.content and not self.cut:
            self._text(delta.content, out)
        for piece in pieces:
            self._piece(piece, out)
        return out

    def finish(self, *, complete: bool = True) -> list[EngineInput]:
        """The inputs that end the response before its `Finish`; maybe none. Blank text counts if there was no call.

        Not `complete`, an open call stays open: its arguments may be half-written, and clients run a closed call.
        """
        out: list[EngineInput] = []
        if complete:
            self._close(out)
        if self._blank and self._last < 0:
            out.append(TextDelta(text=self._blank))
        self._blank = ""
        return out

    def _text(self, text: str, out: list[EngineInput]) -> None:
        """Text, except that blanks before a run of text wait for it: beside calls they mean nothing."""
        if not self._in_text and not text.strip():
            self._blank += text
            return
        self._close(out)
        self._in_text = True
        out.append(TextDelta(text=self._blank + text))
        self._blank = ""

    def _piece(self, piece: CallDelta, out: list[EngineInput]) -> None:
        if self.cut or piece.function is None:
            return
        arguments = piece.function.arguments or ""
        if piece.index != self._open:
            if piece.index <= self._last:
                return  # of a call that is closed
            call_id, earlier = self._nameless.pop(piece.index, (None, ""))
            call_id, arguments = call_id or piece.id, earlier + arguments
            if not piece.function.name:
                self._nameless[piece.index] = (call_id, arguments)
                return
            if self._last >= 0 and not self._parallel_calls:
                self.cut = True
                return
            self._open_call(piece.index, piece.function.name, call_id, out)
        if arguments:
            out.append(CallArguments(call=piece.index, delta=arguments))

    def _open_call(self, index: int, name: str, call_id: str | None, out: list[EngineInput]) -> None:
        self._close(out)
        self._in_text = False
        self._blank = ""
        self._open = self._last = index
        kept = call_id if self._keep_ids and call_id and call_id not in self._ids else None
        if kept is not None:
            self._ids.add(kept)
        out.append(CallOpened(call=index, name=name, call_id=kept))

    def _close(self, out: list[EngineInput]) -> None:
        if self._open is not None:
            out.append(CallClosed(call=self._open))
            self._open = None

"""The state of one response: which inputs are legal when, the items under construction, the counts, the times.

Owns the order (one table), the refusals and the truth about every item: what an event or an answer says of an item is
read from here. Makes no events, numbers nothing and derives no ids: that is the emitter's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, assert_never

import msgspec

from responses_api.inputs import (
    Begin,
    CallArguments,
    CallClosed,
    CallOpened,
    Cancel,
    Clock,
    EngineInput,
    EngineStarted,
    Fail,
    Finish,
    Prefilled,
    ReasoningDelta,
    TextDelta,
    Tokens,
)
from responses_api.records import ResponseRecord
from responses_api.schema.items import (
    FunctionCall,
    ItemStatus,
    OutputItem,
    OutputMessage,
    OutputText,
    ReasoningItem,
    ReasoningText,
)
from responses_api.schema.response import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    Response,
    ResponseError,
    ResponseStatus,
    Usage,
)


class Phase(Enum):
    """Where a response is in its life."""

    NEW = "new"
    BEGUN = "begun"
    GENERATING = "generating"
    CLOSED = "closed"


TRANSITIONS: Final[Mapping[Phase, Mapping[type[EngineInput], Phase]]] = {
    Phase.NEW: {Begin: Phase.BEGUN},
    Phase.BEGUN: {
        Clock: Phase.BEGUN,
        EngineStarted: Phase.GENERATING,
        Fail: Phase.CLOSED,
        Cancel: Phase.CLOSED,
    },
    Phase.GENERATING: {
        Clock: Phase.GENERATING,
        EngineStarted: Phase.GENERATING,  # another engine took over
        Prefilled: Phase.GENERATING,
        Tokens: Phase.GENERATING,
        TextDelta: Phase.GENERATING,
        ReasoningDelta: Phase.GENERATING,
        CallOpened: Phase.GENERATING,
        CallArguments: Phase.GENERATING,
        CallClosed: Phase.GENERATING,
        Finish: Phase.CLOSED,
        Fail: Phase.CLOSED,
        Cancel: Phase.CLOSED,
    },
    Phase.CLOSED: {},
}
"""Every legal step. What is not in the table is refused."""


class RefusedInput(Exception):
    """An input that is not legal now. Nothing was changed by it."""

    def __init__(self, got: EngineInput, reason: str) -> None:
        super().__init__(f"{type(got).__name__} refused: {reason}")
        self.got = got
        self.reason = reason


class NotBegun(Exception):
    """There is no response to look at before `Begin`."""


@dataclass(slots=True)
class MessageDraft:
    """A message under construction. It is opened by its first text, so a settled one is never empty."""

    id: str
    index: int
    pieces: list[str] = field(default_factory=list)

    def item(self, status: ItemStatus) -> OutputMessage:
        """The message as it stands; without a part as long as it has no text."""
        return OutputMessage(self.id, status, [OutputText("".join(self.pieces))] if self.pieces else [])


@dataclass(slots=True)
class ReasoningDraft:
    """A reasoning item under construction; the same rules as for a message."""

    id: str
    index: int
    pieces: list[str] = field(default_factory=list)

    def item(self, status: ItemStatus) -> ReasoningItem:
        """The reasoning as it stands; without a part as long as it has no text."""
        return ReasoningItem(self.id, status, [ReasoningText("".join(self.pieces))] if self.pieces else [])


@dataclass(slots=True)
class CallDraft:
    """A function call under construction. `number` is the engine's for it."""

    id: str
    index: int
    number: int
    call_id: str
    name: str
    pieces: list[str] = field(default_factory=list)

    def item(self, status: ItemStatus) -> FunctionCall:
        """The call as it stands."""
        return FunctionCall(self.id, status, self.call_id, self.name, "".join(self.pieces))


TextDraft = MessageDraft | ReasoningDraft
Draft = TextDraft | CallDraft


class ResponseState:
    """All that is known of one response; the emitter moves it, after `admit` allowed the input."""

    def __init__(self, record: ResponseRecord) -> None:
        self.response_id = record.response_id
        self.phase = Phase.NEW
        self.text: TextDraft | None = None
        """The open message or reasoning item: there is never more than one."""
        self.calls: dict[int, CallDraft] = {}
        """The open calls by the engine's number."""
        self._echo = msgspec.structs.asdict(record.echo)
        self._output: list[Draft | OutputItem] = []
        self._call_numbers: set[int] = set()
        self._call_ids: set[str] = set()
        self._created_at = 0
        self._now = 0.0
        self._input_tokens: int | None = None
        self._cached_tokens: int | None = None
        self._output_tokens = 0
        self._reasoning_tokens = 0
        self._final: Response | None = None

    def admit(self, got: EngineInput) -> Phase:
        """The phase after `got`. Only asks, changes nothing.

        Raises:
            RefusedInput: `got` is not legal now.
        """
        after = TRANSITIONS[self.phase].get(type(got))
        if after is None:
            raise RefusedInput(got, f"the response is {self.phase.value}")
        objection = self._objection(got)
        if objection is not None:
            raise RefusedInput(got, objection)
        return after

    def _objection(self, got: EngineInput) -> str | None:
        """What speaks against an input whose kind is legal."""
        match got:
            case Tokens():
                return None
            case TextDelta() | ReasoningDelta():
                return None if got.text else "an empty delta"
            case CallArguments():
                if got.call not in self.calls:
                    return f"no open call {got.call}"
                return None if got.delta else "an empty delta"
            case CallOpened():
                if got.call in self._call_numbers:
                    return f"call {got.call} was already opened"
                return f"call id {got.call_id!r} is taken" if got.call_id in self._call_ids else None
            case CallClosed():
                return None if got.call in self.calls else f"no open call {got.call}"
            case Begin() | Clock():
                return None if math.isfinite(got.at) else "not a time"
            case EngineStarted() | Prefilled() | Finish() | Fail() | Cancel():
                return None
            case _:
                assert_never(got)

    def note(self, got: Begin | Clock | EngineStarted | Prefilled | Tokens | Finish) -> None:
        """Keep what an admitted input says about time and counts.

        The prompt's counts are those of the first engine that gave them: one that takes over prefills the prompt again,
        with what was already generated, and would count the cut against the client.
        """
        match got:
            case Tokens():
                self._output_tokens += len(got.ids)
            case Clock():
                self._now = max(self._now, got.at)
            case EngineStarted():
                self._input_tokens = got.input_tokens if self._input_tokens is None else self._input_tokens
            case Prefilled():
                self._cached_tokens = got.cached_tokens if self._cached_tokens is None else self._cached_tokens
            case Begin():
                self._created_at, self._now = int(got.at), got.at
            case Finish():
                self._reasoning_tokens = got.reasoning_tokens
            case _:
                assert_never(got)

    @property
    def next_index(self) -> int:
        """The `output_index` of the next item."""
        return len(self._output)

    def open(self, draft: Draft) -> None:
        """Put a new item at the end of the output, where it stays."""
        self._output.append(draft)
        if isinstance(draft, CallDraft):
            self.calls[draft.number] = draft
            self._call_numbers.add(draft.number)
            self._call_ids.add(draft.call_id)
        else:
            self.text = draft

    def settle(self, draft: Draft, status: ItemStatus) -> OutputItem:
        """Make an open item final, in its place."""
        item = draft.item(status)
        self._output[draft.index] = item
        if isinstance(draft, CallDraft):
            del self.calls[draft.number]
        else:
            self.text = None
        return item

    def open_drafts(self) -> list[Draft]:
        """The open items in the order of the output."""
        return [entry for entry in self._output if isinstance(entry, Draft)]

    def end(
        self,
        status: ResponseStatus,
        *,
        error: ResponseError | None = None,
        incomplete_details: IncompleteDetails | None = None,
    ) -> Response:
        """Make the response final. All its items are settled before."""
        self._final = self._response(status, error=error, incomplete_details=incomplete_details)
        return self._final

    def snapshot(self) -> Response:
        """The response as it stands; the final one once there is one.

        Raises:
            NotBegun: there was no `Begin` yet.
        """
        if self.phase is Phase.NEW:
            raise NotBegun
        return self._final if self._final is not None else self._response("in_progress")

    def _response(
        self,
        status: ResponseStatus,
        *,
        error: ResponseError | None = None,
        incomplete_details: IncompleteDetails | None = None,
    ) -> Response:
        return Response(
            **self._echo,
            id=self.response_id,
            created_at=self._created_at,
            completed_at=int(self._now) if status == "completed" else None,
            status=status,
            error=error,
            incomplete_details=incomplete_details,
            output=[entry.item("in_progress") if isinstance(entry, Draft) else entry for entry in self._output],
            usage=self._usage(),
        )

    def _usage(self) -> Usage | None:
        """The counts so far, or None as long as no engine took the request: nothing was used then."""
        if self._input_tokens is None:
            return None
        return Usage(
            input_tokens=self._input_tokens,
            input_tokens_details=InputTokensDetails(cached_tokens=self._cached_tokens or 0),
            output_tokens=self._output_tokens,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=self._reasoning_tokens),
            total_tokens=self._input_tokens + self._output_tokens,
        )

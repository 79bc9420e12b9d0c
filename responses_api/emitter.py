"""One response's emitter: engine inputs in, stream events out.

The only place where events are made, so also the only one where sequence numbers, indexes and output ids are given.
It must stay a pure function of the record and the inputs: the stream, the stored response, a resumed stream and a
take-over after a crash are all made by feeding the same log again.
"""

from __future__ import annotations

from typing import Final, NamedTuple, assert_never

from responses_api import ids
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
from responses_api.records import ResponseRecord, StoredResponse
from responses_api.schema.events import (
    ContentPartAdded,
    ContentPartDone,
    FunctionCallArgumentsDelta,
    FunctionCallArgumentsDone,
    OutputItemAdded,
    OutputItemDone,
    OutputTextDelta,
    OutputTextDone,
    ReasoningTextDelta,
    ReasoningTextDone,
    ResponseCompleted,
    ResponseCreated,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    StreamEvent,
)
from responses_api.schema.items import (
    FunctionCall,
    ItemStatus,
    OutputMessage,
    OutputText,
    ReasoningItem,
    ReasoningText,
)
from responses_api.schema.response import IncompleteDetails, Response, ResponseError, ResponseStatus
from responses_api.state import CallDraft, Draft, MessageDraft, Phase, ReasoningDraft, ResponseState, TextDraft

NO_ARGUMENTS: Final = "{}"
"""The arguments of a completed call that was given none: clients parse them as JSON."""


class _Ending(NamedTuple):
    """How a terminal input ends the open items, the response and the stream."""

    items: ItemStatus
    response: ResponseStatus
    event: type[ResponseCompleted | ResponseIncomplete | ResponseFailed]


_STOP: Final = _Ending("completed", "completed", ResponseCompleted)
_LENGTH: Final = _Ending("incomplete", "incomplete", ResponseIncomplete)
_FAIL: Final = _Ending("incomplete", "failed", ResponseFailed)
_CANCEL: Final = _Ending("incomplete", "cancelled", ResponseIncomplete)
"""There is no published `response.cancelled` event, and a stream must end in a published terminal one: that of an
incomplete response, whose object says that it was cancelled and gives no `incomplete_details`."""


class ResponseEmitter:
    """The state machine of one response.

    `feed` is its one door: it either takes an input whole or refuses it and changes nothing. The invariants of what
    comes out:

    - sequence numbers are 0, 1, 2, …;
    - every `added` has exactly one `done`; message and reasoning items never overlap, calls may interleave;
    - deltas add up to the `done` value and to the final item;
    - an output index is the item's position in the final output, and an id never changes;
    - there is exactly one terminal event, and it is last;
    - how the engine chunked what it said does not change the final response.
    """

    def __init__(self, record: ResponseRecord) -> None:
        self._state = ResponseState(record)
        self._sent = 0

    @property
    def closed(self) -> bool:
        """Whether the terminal event was made: nothing more will come, and the snapshot is final."""
        return self._state.phase is Phase.CLOSED

    @property
    def snapshot(self) -> Response:
        """The response as it stands; once closed, the very object of the terminal event.

        Raises:
            NotBegun: nothing was fed yet.
        """
        return self._state.snapshot()

    def feed(self, got: EngineInput) -> list[StreamEvent]:
        """Take one input; the events that follow from it, in order.

        Raises:
            RefusedInput: the input is not legal now; nothing was changed.
        """
        self._state.phase = self._state.admit(got)
        match got:
            case Tokens():  # the frequent inputs come first: a case that does not match costs time
                self._state.note(got)
                return []
            case TextDelta():
                return self._message_text(got.text)
            case ReasoningDelta():
                return self._reasoning_text(got.text)
            case CallArguments():
                return [self._arguments(self._state.calls[got.call], got.delta)]
            case Clock() | EngineStarted() | Prefilled():
                self._state.note(got)
                return []
            case CallOpened():
                return self._open_call(got)
            case CallClosed():
                return self._close(self._state.calls[got.call], "completed")
            case Begin():
                self._state.note(got)
                return self._begin()
            case Finish() | Fail() | Cancel():
                return self._end(got)
            case _:
                assert_never(got)

    def _number(self) -> int:
        """The next event's sequence number."""
        number = self._sent
        self._sent = number + 1
        return number

    def _begin(self) -> list[StreamEvent]:
        response = self._state.snapshot()
        return [ResponseCreated(self._number(), response), ResponseInProgress(self._number(), response)]

    def _message_text(self, text: str) -> list[StreamEvent]:
        draft = self._state.text
        events: list[StreamEvent] = []
        if not isinstance(draft, MessageDraft):
            events += self._close_text()
            index = self._state.next_index
            draft = MessageDraft(ids.message_id(self._state.response_id, index), index)
            events += [self._open(draft), self._part_added(draft, OutputText(""))]
        draft.pieces.append(text)
        events.append(
            OutputTextDelta(self._number(), item_id=draft.id, output_index=draft.index, content_index=0, delta=text)
        )
        return events

    def _reasoning_text(self, text: str) -> list[StreamEvent]:
        draft = self._state.text
        events: list[StreamEvent] = []
        if not isinstance(draft, ReasoningDraft):
            events += self._close_text()
            index = self._state.next_index
            draft = ReasoningDraft(ids.reasoning_id(self._state.response_id, index), index)
            events += [self._open(draft), self._part_added(draft, ReasoningText(""))]
        draft.pieces.append(text)
        events.append(
            ReasoningTextDelta(self._number(), item_id=draft.id, output_index=draft.index, content_index=0, delta=text)
        )
        return events

    def _open_call(self, got: CallOpened) -> list[StreamEvent]:
        response_id, index = self._state.response_id, self._state.next_index
        draft = CallDraft(
            id=ids.function_call_id(response_id, index),
            index=index,
            number=got.call,
            call_id=ids.call_id(response_id, index) if got.call_id is None else got.call_id,
            name=got.name,
        )
        return [*self._close_text(), self._open(draft)]

    def _arguments(self, draft: CallDraft, delta: str) -> StreamEvent:
        draft.pieces.append(delta)
        return FunctionCallArgumentsDelta(self._number(), item_id=draft.id, output_index=draft.index, delta=delta)

    def _open(self, draft: Draft) -> StreamEvent:
        self._state.open(draft)
        return OutputItemAdded(self._number(), output_index=draft.index, item=draft.item("in_progress"))

    def _part_added(self, draft: TextDraft, part: OutputText | ReasoningText) -> StreamEvent:
        return ContentPartAdded(self._number(), item_id=draft.id, output_index=draft.index, content_index=0, part=part)

    def _close_text(self) -> list[StreamEvent]:
        """Complete the open message or reasoning item, if there is one."""
        draft = self._state.text
        return [] if draft is None else self._close(draft, "completed")

    def _close(self, draft: Draft, status: ItemStatus) -> list[StreamEvent]:
        """Settle an item; what the events say is read from the settled item."""
        events: list[StreamEvent] = []
        if isinstance(draft, CallDraft) and status == "completed" and not draft.pieces:
            events.append(self._arguments(draft, NO_ARGUMENTS))
        item = self._state.settle(draft, status)
        match item:
            case OutputMessage():
                events += self._text_done(item, draft.index)
            case ReasoningItem():
                events += self._reasoning_done(item, draft.index)
            case FunctionCall():
                if status == "completed":  # half-written arguments are never announced as done: clients run the call
                    events.append(self._arguments_done(item, draft.index))
            case _:
                assert_never(item)
        events.append(OutputItemDone(self._number(), output_index=draft.index, item=item))
        return events

    def _text_done(self, item: OutputMessage, index: int) -> list[StreamEvent]:
        (part,) = item.content
        return [
            OutputTextDone(self._number(), item_id=item.id, output_index=index, content_index=0, text=part.text),
            ContentPartDone(self._number(), item_id=item.id, output_index=index, content_index=0, part=part),
        ]

    def _reasoning_done(self, item: ReasoningItem, index: int) -> list[StreamEvent]:
        (part,) = item.content
        return [
            ReasoningTextDone(self._number(), item_id=item.id, output_index=index, content_index=0, text=part.text),
            ContentPartDone(self._number(), item_id=item.id, output_index=index, content_index=0, part=part),
        ]

    def _arguments_done(self, item: FunctionCall, index: int) -> StreamEvent:
        return FunctionCallArgumentsDone(
            self._number(), item_id=item.id, output_index=index, name=item.name, arguments=item.arguments
        )

    def _end(self, got: Finish | Fail | Cancel) -> list[StreamEvent]:
        error: ResponseError | None = None
        details: IncompleteDetails | None = None
        match got:
            case Finish(reason="stop"):
                self._state.note(got)
                ending = _STOP
            case Finish():
                self._state.note(got)
                ending = _LENGTH
                details = IncompleteDetails("max_output_tokens")
            case Fail():
                ending = _FAIL
                error = ResponseError(got.code, got.message)
            case Cancel():
                ending = _CANCEL
            case _:
                assert_never(got)
        events = [event for draft in self._state.open_drafts() for event in self._close(draft, ending.items)]
        final = self._state.end(ending.response, error=error, incomplete_details=details)
        return [*events, ending.event(self._number(), final)]


def replay(stored: StoredResponse) -> Response:
    """The response as its log tells it.

    Raises:
        RefusedInput: the log is not one that an emitter accepted.
    """
    emitter = ResponseEmitter(stored.record)
    for got in stored.log:
        emitter.feed(got)
    return emitter.snapshot

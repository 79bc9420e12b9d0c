"""Playbooks: conversations with the emitter as text.

    == a title, which becomes the test's name
    -- generating                       the emitter has begun (events 0 and 1) and an engine has started
    >> TextDelta('hi')                  an input
    << 2 output_item.added [0] ...      the events it makes, all of them, in order; none if no line follows
    !! an empty delta                   or the reason for which it is refused

Lines that start with # and empty lines say nothing to the machine.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from responses_api import inputs
from responses_api.emitter import ResponseEmitter
from responses_api.inputs import Begin, EngineInput, EngineStarted
from responses_api.records import ResponseRecord
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
    name_of,
)
from responses_api.schema.items import FunctionCall, OutputItem, OutputMessage, ReasoningItem
from responses_api.schema.response import Echo, Response
from responses_api.state import RefusedInput

RECORD = ResponseRecord(response_id="resp_0123456789abcdef0123456789abcdef", echo=Echo(model="m"), input_items=[])
PRELUDE: list[EngineInput] = [Begin(1000.5), EngineStarted("engine-1", 10)]


@dataclass
class Step:
    got: EngineInput
    line: int
    expected: list[str] = field(default_factory=list)


@dataclass
class Scenario:
    title: str
    steps: list[Step] = field(default_factory=list)
    generating: bool = False


def read_playbook(path: Path) -> list[Scenario]:
    scenarios: list[Scenario] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        mark, _, rest = line.partition(" ")
        match mark:
            case "" | "#":
                pass
            case "==":
                scenarios.append(Scenario(rest))
            case "--" if rest == "generating":
                scenarios[-1].generating = True
            case ">>":
                scenarios[-1].steps.append(Step(parse_input(rest), number))
            case "<<":
                scenarios[-1].steps[-1].expected.append(rest)
            case "!!":
                scenarios[-1].steps[-1].expected.append(line)
            case _:
                raise ValueError(f"{path.name}:{number}: {line}")
    return scenarios


def parse_input(text: str) -> EngineInput:
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    arguments = [ast.literal_eval(node) for node in call.args]
    keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    got: EngineInput = getattr(inputs, call.func.id)(*arguments, **keywords)
    return got


def play(scenario: Scenario) -> ResponseEmitter:
    """Feed the scenario's inputs and compare what follows from each, line by line."""
    emitter = ResponseEmitter(RECORD)
    if scenario.generating:
        for got in PRELUDE:
            emitter.feed(got)
    for step in scenario.steps:
        try:
            said = [render_event(event) for event in emitter.feed(step.got)]
        except RefusedInput as refusal:
            said = [f"!! {refusal.reason}"]
        assert said == step.expected, f"line {step.line}: {step.got}"
    return emitter


def render_event(event: StreamEvent) -> str:
    name = name_of(type(event))
    match event:
        case ResponseCreated() | ResponseInProgress():
            words = [name, event.response.status]
        case ResponseCompleted() | ResponseIncomplete() | ResponseFailed():
            words = [name, *_render_response(event.response)]
        case OutputItemAdded() | OutputItemDone():
            words = [_short(name), f"[{event.output_index}]", *_render_item(event.item)]
        case ContentPartAdded() | ContentPartDone():
            kind = event.part.__struct_config__.tag
            words = [_short(name), f"[{event.output_index}.{event.content_index}]", str(kind), repr(event.part.text)]
        case OutputTextDelta() | ReasoningTextDelta():
            words = [_short(name), f"[{event.output_index}.{event.content_index}]", repr(event.delta)]
        case OutputTextDone() | ReasoningTextDone():
            words = [_short(name), f"[{event.output_index}.{event.content_index}]", repr(event.text)]
        case FunctionCallArgumentsDelta():
            words = [_short(name), f"[{event.output_index}]", repr(event.delta)]
        case FunctionCallArgumentsDone():
            words = [_short(name), f"[{event.output_index}]", event.name, repr(event.arguments)]
        case _:
            assert_never(event)
    return " ".join([str(event.sequence_number), *words])


def _short(name: str) -> str:
    return name.removeprefix("response.")


def _render_item(item: OutputItem) -> list[str]:
    match item:
        case OutputMessage():
            return ["message", item.status, *(repr(part.text) for part in item.content)]
        case ReasoningItem():
            return ["reasoning", item.status, *(repr(part.text) for part in item.content)]
        case FunctionCall():
            return ["function_call", item.status, item.name, repr(item.arguments)]
        case _:
            assert_never(item)


def _render_response(response: Response) -> list[str]:
    words: list[str] = [response.status]
    if response.completed_at is not None:
        words.append(f"at {response.completed_at}")
    if response.incomplete_details is not None:
        words.append(response.incomplete_details.reason)
    if response.error is not None:
        words.append(f"{response.error.code} {response.error.message!r}")
    usage = response.usage
    if usage is None:
        words.append("no usage")
    else:
        words.append(f"in {usage.input_tokens} ({usage.input_tokens_details.cached_tokens} cached)")
        words.append(f"out {usage.output_tokens} ({usage.output_tokens_details.reasoning_tokens} reasoning)")
        words.append(f"total {usage.total_tokens}")
    return words

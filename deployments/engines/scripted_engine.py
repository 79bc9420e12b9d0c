"""An engine without a model: deterministic, and told by the request what to say (`script` has the language).

It is shipped for tests, demonstrations and load figures. Without a script it echoes the last message; it obeys
`tool_choice`, `output_format` and `max_output_tokens` as a model would. Its only effects are its pauses and, where a
script says so, the end of its own process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from deployments.engines.base import EngineDead, EngineStatus, RequestRefused
from deployments.engines.json_instance import NoInstanceError, instance_of
from deployments.engines.script import CallStep, RefuseStep, Script, Step, scripts_in
from responses_api.errors import ApiError, InvalidRequest, Overloaded
from responses_api.inputs import (
    CallArguments,
    CallClosed,
    CallOpened,
    EngineInput,
    EngineStarted,
    Finish,
    Prefilled,
    ReasoningDelta,
    TextDelta,
    Tokens,
)
from responses_api.records import GenerationRequest

_VOCABULARY = 50_000


class ScriptedEngine:
    """The engine contract over scripts.

    `replica_id` is what `EngineStarted` tells; `script`, if given, is used where a request brings none.
    """

    def __init__(self, replica_id: str, *, script: Script | None = None) -> None:
        self._replica_id = replica_id
        self._script = script
        self._running = 0
        self._closing = asyncio.Event()
        self.aborted = 0
        """How many generations were left before they finished."""

    @asynccontextmanager
    async def generate(self, request: GenerationRequest) -> AsyncIterator[AsyncIterator[list[EngineInput]]]:
        """Generate one response. See `Engine.generate`."""
        await self.check()
        try:
            script = _script_for(request, self._script)
        except ApiError as exc:
            raise RequestRefused(exc) from exc
        if script.steps and script.steps[0].refuse is not None:
            raise RequestRefused(_refusal(script.steps[0].refuse))
        if script.steps and script.steps[0].error is not None:
            raise EngineDead("the script says so")
        said = _Said(request.max_output_tokens)
        batches = self._batches(request, script, said)
        self._running += 1
        try:
            yield batches
        finally:
            await batches.aclose()
            self._running -= 1
            self.aborted += not said.ended

    async def status(self) -> EngineStatus:
        """How many generations run. See `Engine.status`."""
        await self.check()
        return EngineStatus(running=self._running, waiting=0)

    async def check(self) -> None:
        """Return unless the engine is closed. See `Engine.check`."""
        if self._closing.is_set():
            raise EngineDead("the engine is closed")

    async def close(self) -> None:
        """End all generations with `EngineDead`. Idempotent."""
        self._closing.set()

    async def _batches(
        self, request: GenerationRequest, script: Script, said: _Said
    ) -> AsyncGenerator[list[EngineInput], None]:
        yield [EngineStarted(self._replica_id, _input_tokens(request))]
        yield [Prefilled(script.cached)]
        calls = itertools.count()
        try:
            for step in script.steps:
                await self._rest(0)
                await self._act(step)
                for batch in _spoken(step, script.chunk, calls):
                    if said.full:
                        said.ended = True
                        yield [Finish("length", said.reasoning)]
                        return
                    said.count(batch)
                    yield batch
                    await self._rest(0 if script.rate is None else 1 / script.rate)
        except EngineDead:
            said.ended = True
            raise
        said.ended = True
        yield [Finish(script.finish, said.reasoning)]

    async def _act(self, step: Step) -> None:
        """Do what a step does besides speaking."""
        if step.pause is not None:
            await self._rest(step.pause)
        if step.silence:
            await self._closing.wait()
            await self.check()
        if step.error is not None:
            raise EngineDead("the script says so")
        if step.crash:
            os._exit(1)

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.check()


class _Said:
    """What one generation has said so far, in tokens, and whether it ended by itself."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._tokens = 0
        self.reasoning = 0
        self.ended = False

    @property
    def full(self) -> bool:
        """Whether the output limit is reached."""
        return self._limit is not None and self._tokens >= self._limit

    def count(self, batch: list[EngineInput]) -> None:
        """Count a batch's tokens."""
        self._tokens += 1
        self.reasoning += isinstance(batch[-1], ReasoningDelta)


def _spoken(step: Step, chunk: int, calls: Iterator[int]) -> Iterator[list[EngineInput]]:
    """The batches of one step, a token each. The numbers of calls come from `calls`."""
    if step.text is not None:
        for piece in _pieces(step.text, chunk):
            yield [_token(piece), TextDelta(piece)]
    elif step.reasoning is not None:
        for piece in _pieces(step.reasoning, chunk):
            yield [_token(piece), ReasoningDelta(piece)]
    elif step.call is not None:
        yield from _call_batches([step.call], chunk, calls)
    elif step.calls is not None:
        yield from _call_batches(step.calls, chunk, calls)


def _call_batches(steps: list[CallStep], chunk: int, calls: Iterator[int]) -> Iterator[list[EngineInput]]:
    """All calls opened, then a piece of each call's arguments in turn, then all closed."""
    numbered = [(next(calls), step) for step in steps]
    for number, step in numbered:
        yield [_token(step.name), CallOpened(number, step.name, step.call_id)]
    arguments = [[(number, piece) for piece in _pieces(step.text, chunk)] for number, step in numbered]
    for turn in itertools.zip_longest(*arguments):
        for number, piece in filter(None, turn):
            yield [_token(piece), CallArguments(number, piece)]
    yield [_token("</calls>"), *(CallClosed(number) for number, _ in numbered)]


def _pieces(text: str, chunk: int) -> Iterator[str]:
    return (text[at : at + chunk] for at in range(0, len(text), chunk))


def _token(piece: str) -> Tokens:
    return Tokens((zlib.crc32(piece.encode("utf-8", "surrogatepass")) % _VOCABULARY,))


def _script_for(request: GenerationRequest, default: Script | None) -> Script:
    """The script of this turn: the request's own, else the default, else what a model might do.

    Raises:
        ApiError: the request's script is malformed, or its constraints cannot be met.
    """
    turn, asked = 0, ""
    for message in reversed(request.messages):
        if message.get("role") == "user":
            asked = _text(message)
            break
        turn += message.get("role") == "assistant"
    scripts = scripts_in(asked)
    if turn < len(scripts):
        return scripts[turn]
    if default is not None and not scripts:
        return default
    return Script(steps=[_unscripted(request)])


def _unscripted(request: GenerationRequest) -> Step:
    """What the engine does when nobody tells it what to: the call or the JSON that is asked for, else an echo."""
    if request.tool_choice not in ("auto", "none"):
        return Step(call=_forced_call(request))
    form = request.output_format
    if form.kind != "text":
        schema = form.schema if form.schema is not None else {"type": "object"}
        return Step(text=json.dumps(_instance(schema, "text.format")))
    last = _text(request.messages[-1]) if request.messages else ""
    return Step(text=f"You said: {last}")


def _forced_call(request: GenerationRequest) -> CallStep:
    name = request.tool_choice.removeprefix("function:") if request.tool_choice != "required" else None
    for tool in request.tools:
        function = tool["function"]
        if name is None or function["name"] == name:
            arguments = _instance(function.get("parameters") or {"type": "object"}, "tools")
            return CallStep(function["name"], json.dumps(arguments))
    raise InvalidRequest(f"There is no tool for tool_choice {request.tool_choice!r}.", param="tool_choice")


def _instance(schema: dict[str, Any], param: str) -> Any:
    try:
        return instance_of(schema)
    except NoInstanceError as exc:
        raise InvalidRequest(f"The schema cannot be met: {exc}.", param=param) from exc


def _refusal(step: RefuseStep) -> ApiError:
    return Overloaded(step.message) if step.overloaded else InvalidRequest(step.message, param=step.param)


def _text(message: dict[str, Any]) -> str:
    """The text of a chat message, whose content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content or [] if isinstance(part, dict))


def _input_tokens(request: GenerationRequest) -> int:
    """The prompt's length: its words."""
    return sum(len(_text(message).split()) for message in request.messages)

"""From the outputs of vLLM, one an engine step, to batches of engine inputs. Imports no vLLM: it reads plain fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deployments.engines.base import EngineDead, EngineError
from deployments.engines.vllm_deltas import DeltaTranslator
from responses_api.inputs import EngineInput, Finish, Prefilled, TextDelta, Tokens


@dataclass(slots=True)
class Generation:
    """One request inside vLLM: the queue of its outputs, and what reads them.

    `chat` is vLLM's chat request, `outputs` its `RequestOutputCollector`, `parser` its `Parser` for this response, or
    None where all output is text.
    """

    chat: Any
    outputs: Any
    parser: Any
    translator: DeltaTranslator
    input_tokens: int
    token_ids: list[int] = field(default_factory=list)
    finished: bool = False


def read(generation: Generation, output: Any) -> list[EngineInput]:
    """The inputs that one output (vLLM's `RequestOutput`) stands for; maybe none.

    Raises:
        EngineDead: vLLM is shutting down.
        EngineError: vLLM gave this request up.
    """
    (completion,) = output.outputs
    ids = tuple(completion.token_ids)
    reason = completion.finish_reason
    if reason == "error":
        raise EngineError("vLLM gave the request up with an internal error")
    if reason == "abort":
        raise EngineDead("vLLM aborted the request: it is shutting down")
    batch: list[EngineInput] = []
    if ids:
        if not generation.token_ids:
            batch.append(Prefilled(cached_tokens=output.num_cached_tokens or 0))
        generation.token_ids.extend(ids)
        batch.append(Tokens(ids=ids))
    if ids or completion.text or reason is not None:
        batch += _parse(generation, output, completion.text, list(ids), finished=reason is not None)
    if reason is not None or generation.translator.cut:
        # The one call that was allowed is complete, even if the next one reached the limit.
        at_limit = reason == "length" and not generation.translator.cut
        batch += generation.translator.finish(complete=not at_limit)
        batch.append(_finish(generation, at_limit=at_limit))
    return batch


def _parse(generation: Generation, output: Any, text: str, ids: list[int], *, finished: bool) -> list[EngineInput]:
    if generation.parser is None:
        return [TextDelta(text=text)] if text else []
    delta = generation.parser.parse_delta(
        delta_text=text,
        delta_token_ids=ids,
        request=generation.chat,
        prompt_token_ids=output.prompt_token_ids,
        finished=finished,
    )
    return [] if delta is None else generation.translator.feed(delta)


def _finish(generation: Generation, *, at_limit: bool) -> Finish:
    parser = generation.parser
    reasoning = 0 if parser is None else parser.count_reasoning_tokens(tuple(generation.token_ids))
    return Finish(reason="length" if at_limit else "stop", reasoning_tokens=reasoning)

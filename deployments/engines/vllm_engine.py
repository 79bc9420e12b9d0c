"""The engine that runs vLLM in this process. The only file that imports vLLM.

It uses vLLM's own chat renderer, sampling parameters, parsers and `AsyncLLM`, as vLLM's server does, and none of that
server's endpoints. What a client sends may be refused here, never crash the engine.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import Any, NoReturn, Self

from pydantic import ValidationError
from vllm.config import StructuredOutputsConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.utils.api_utils import get_max_tokens
from vllm.exceptions import GracefulHTTPError, VLLMClientError
from vllm.platforms import current_platform
from vllm.reasoning import ReasoningParserManager
from vllm.renderers.chat_utils import get_tool_call_id_type, load_chat_template
from vllm.renderers.inputs.preprocess import extract_prompt_len
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.sampling_params import SamplingParams
from vllm.tool_parsers import ToolParserManager
from vllm.utils.mistral import is_mistral_tokenizer
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.structured_output.backend_xgrammar import XgrammarBackend
from vllm.v1.structured_output.request import get_structured_output_key

from deployments.engines.base import EngineDead, EngineError, EngineStatus, RequestRefused
from deployments.engines.embedded_model import resolve_model
from deployments.engines.orphan_guard import OrphanGuard
from deployments.engines.schema_limits import check_schema_size
from deployments.engines.vllm_deltas import DeltaTranslator
from deployments.engines.vllm_environment import environment, process_defaults
from deployments.engines.vllm_outputs import Generation, read
from deployments.engines.vllm_request import REQUEST_PARAMS, chat_fields, wants_tools
from deployments.vllm_settings import OWN_ARGUMENTS, VllmSettings
from responses_api.errors import ApiError, ContextLengthExceeded, InvalidRequest, Overloaded
from responses_api.inputs import EngineInput, EngineStarted
from responses_api.records import GenerationRequest

ANSWER_WITHIN_S = 20.0
"""How long vLLM's engine process may take to answer between two steps before it counts as dead."""

SHUTDOWN_WITHIN_S = 15.0
"""How long vLLM's engine process may take to end its workers before it is killed."""

CPP_PLACE = re.compile(r"^.*\[\d\d:\d\d:\d\d\] \S+:\d+: ")
"""Where in a C++ library's source an error comes from, as it stands before its message."""

TOO_LONG = frozenset({"input_tokens", "input_text"})
"""Names under which vLLM reports a prompt over the model's context."""


def engine_args(settings: VllmSettings, *, distributed_executor_backend: str | None = None) -> AsyncEngineArgs:
    """The engine arguments of vLLM for `settings`.

    Raises:
        ValueError: an argument or a parser is not one of vLLM's, or a setting is given twice.
    """
    known = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    for name in settings.vllm:
        if name in OWN_ARGUMENTS:
            raise ValueError(f"vllm.{name}: use the setting {OWN_ARGUMENTS[name]!r} instead")
        if name not in known:
            close = " or ".join(get_close_matches(name, known)) or "nothing close"
            raise ValueError(f"vllm.{name}: vLLM has no such engine argument; there is {close}")
    for setting, parser, manager in (
        ("tool_parser", settings.tool_parser, ToolParserManager),
        ("reasoning_parser", settings.reasoning_parser, ReasoningParserManager),
    ):
        if parser is not None and parser not in (names := manager.list_registered()):
            raise ValueError(f"{setting}: vLLM has no parser {parser!r}; it has {', '.join(sorted(names))}")
    own = {name: getattr(settings, setting) for name, setting in OWN_ARGUMENTS.items()}
    own["distributed_executor_backend"] = distributed_executor_backend
    # One backend for all grammars: vLLM's "auto" lets the first constrained request decide for the engine's lifetime.
    defaults: dict[str, Any] = {"structured_outputs_config": {"backend": "xgrammar"}, "disable_log_stats": True}
    if current_platform.is_cpu():
        defaults["enforce_eager"] = True
    given = defaults | settings.vllm | {name: value for name, value in own.items() if value is not None}
    if isinstance(grammar := given["structured_outputs_config"], dict):
        given["structured_outputs_config"] = StructuredOutputsConfig(**grammar)
    given["additional_config"] = dict(given.get("additional_config", {}), started_by=OrphanGuard("ray-responses"))
    return AsyncEngineArgs(**given)


class _SchedulerGauges(StatLoggerBase):  # type: ignore[misc] # vLLM is seen as Any
    """Keeps the scheduler's latest numbers. vLLM reports them after each step, hence not while it is idle."""

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        self.waiting = 0
        self.kv_usage = 0.0

    def record(
        self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0
    ) -> None:
        if scheduler_stats is not None:
            self.waiting = scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs
            self.kv_usage = scheduler_stats.kv_cache_usage

    def log_engine_initialized(self) -> None:
        """Nothing to log."""


class VllmEngine:
    """An `Engine` (see `base`) for one model. Built by `start`, ended by `close`."""

    def __init__(self, engine: Any, gauges: _SchedulerGauges, settings: VllmSettings, *, replica_id: str) -> None:
        self._engine = engine
        self._gauges = gauges
        self._settings = settings
        self._replica_id = replica_id
        self._model_config = engine.model_config
        self._renderer = OnlineRenderer(
            model_config=engine.model_config,
            renderer=engine.renderer,
            request_logger=None,
            chat_template=load_chat_template(settings.chat_template),
            chat_template_content_format="auto",
            enable_auto_tools=settings.tool_parser is not None,
            exclude_tools_when_tool_choice_none=True,
            tool_parser=settings.tool_parser,
            reasoning_parser=settings.reasoning_parser,
        )
        self._tokenizer = engine.renderer.get_tokenizer()
        self._keeps_call_ids = is_mistral_tokenizer(self._tokenizer) or (
            get_tool_call_id_type(engine.model_config) != "random"
        )
        self._defaults = engine.model_config.get_diff_sampling_param()
        self._grammars: XgrammarBackend | None = None
        if engine.vllm_config.structured_outputs_config.backend == "xgrammar":
            vocab_size = engine.model_config.get_vocab_size()
            self._grammars = XgrammarBackend(engine.vllm_config, tokenizer=self._tokenizer, vocab_size=vocab_size)
        self._closed = False

    @classmethod
    async def start(
        cls, settings: VllmSettings, *, replica_id: str, distributed_executor_backend: str | None = None
    ) -> Self:
        """Load the model and generate one token with it: from tens of seconds to minutes.

        `distributed_executor_backend` is how vLLM runs its workers, as `parallelism.placement` has it.

        Raises:
            ValueError: `settings` ask for something that vLLM does not have.
            RuntimeError: the model cannot be loaded; vLLM's log says why.
        """
        model = await asyncio.to_thread(resolve_model, settings.model)
        args = engine_args(
            settings.model_copy(update={"model": model}), distributed_executor_backend=distributed_executor_backend
        )
        defaults = process_defaults(
            workers=args.tensor_parallel_size * args.pipeline_parallel_size,
            on_cpu=current_platform.is_cpu(),
            ray_executor=args.distributed_executor_backend == "ray",
        )
        gauges: list[_SchedulerGauges] = []

        def gauges_of(vllm_config: Any, engine_index: int = 0) -> _SchedulerGauges:
            gauges.append(_SchedulerGauges(vllm_config, engine_index))
            return gauges[-1]

        with environment(defaults):
            vllm = await asyncio.to_thread(AsyncLLM.from_engine_args, args, stat_loggers=[gauges_of])
        try:
            engine = cls(vllm, gauges[0], settings, replica_id=replica_id)
            first = GenerationRequest(
                request_id="start", messages=[{"role": "user", "content": "Hello"}], max_output_tokens=1
            )
            async with engine.generate(first) as batches:
                async for _ in batches:
                    pass
        except BaseException:
            vllm.shutdown()
            raise
        return engine

    @asynccontextmanager
    async def generate(self, request: GenerationRequest) -> AsyncGenerator[AsyncIterator[list[EngineInput]], None]:
        """See `Engine.generate`. Besides its errors, `EngineError` between batches: this request failed inside vLLM.

        That happens to a grammar that passed vLLM's checks and did not compile; another replica would fare no better.
        """
        generation = await self._submit(request)
        batches = self._batches(generation)
        try:
            yield batches
        finally:
            await batches.aclose()
            if not generation.finished:
                await self._withdraw(generation)

    async def status(self) -> EngineStatus:
        """See `Engine.status`."""
        self._require_alive()
        unfinished = self._engine.get_num_unfinished_requests()
        waiting = min(self._gauges.waiting, unfinished)
        kv_usage = self._gauges.kv_usage if unfinished else 0.0
        return EngineStatus(running=unfinished - waiting, waiting=waiting, kv_usage=kv_usage)

    async def check(self) -> None:
        """See `Engine.check`. Asks vLLM's engine process, which answers between two steps."""
        self._require_alive()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._engine.check_health()
                await self._engine.is_paused()
        except TimeoutError as exc:
            raise EngineDead(f"vLLM did not answer within {ANSWER_WITHIN_S:.0f} s") from exc
        except EngineDeadError as exc:
            raise EngineDead(str(exc)) from exc

    async def close(self) -> None:
        """See `Engine.close`. Ends vLLM's engine process and its workers."""
        if not self._closed:
            self._closed = True
            # First, because vLLM's output task would report the engine's end as a failure.
            if self._engine.output_handler is not None:
                self._engine.output_handler.cancel()
            self._engine.output_processor.propagate_error(EngineDeadError())
            await asyncio.to_thread(self._engine.shutdown, timeout=SHUTDOWN_WITHIN_S)
            await asyncio.sleep(0)  # in which the loop closes vLLM's sockets
            left = self._engine.engine_core.resources
            if left.input_socket.closed and left.output_socket.closed:
                left.ctx.term()  # vLLM leaves it to the garbage collector

    def _require_alive(self) -> None:
        if self._closed or self._engine.errored:
            raise EngineDead("vLLM's engine process is gone" if not self._closed else "the engine was closed")

    async def _submit(self, request: GenerationRequest) -> Generation:
        """Render and check the request and hand it to vLLM.

        Raises:
            RequestRefused: vLLM will not have it.
            EngineDead: vLLM is gone.
        """
        self._require_alive()
        chat = self._chat_request(request)
        try:
            await self._check_grammars(request, chat)
            prompt = await self._render(chat)
            input_tokens = extract_prompt_len(self._model_config, prompt)
            parser = self._make_parser(chat)
            outputs = await self._add(request, chat, prompt, input_tokens, parser)
        except EngineDeadError as exc:
            raise EngineDead(str(exc)) from exc
        except GracefulHTTPError as exc:
            raise RequestRefused(Overloaded(str(exc))) from exc
        except (VLLMClientError, ValueError, TypeError, LookupError, RecursionError) as exc:
            _refuse(exc)
        return Generation(
            chat=chat,
            outputs=outputs,
            parser=parser,
            translator=DeltaTranslator(parallel_calls=request.parallel_tool_calls, keep_ids=self._keeps_call_ids),
            input_tokens=input_tokens,
        )

    def _chat_request(self, request: GenerationRequest) -> Any:
        if wants_tools(request) and not request.tools:
            raise RequestRefused(InvalidRequest("There are no tools to choose from.", param="tool_choice"))
        if wants_tools(request) and self._settings.tool_parser is None:
            message = f"The model '{self._settings.name}' has no tools: its operator has set no `tool_parser`."
            raise RequestRefused(InvalidRequest(message, param="tools"))
        try:
            return ChatCompletionRequest(**chat_fields(request))
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
            field = str(first["loc"][0]) if first["loc"] else ""
            error = InvalidRequest(first["msg"], param=REQUEST_PARAMS.get(field))
            raise RequestRefused(error) from exc
        except VLLMClientError as exc:
            _refuse(exc)

    async def _check_grammars(self, request: GenerationRequest, chat: Any) -> None:
        """Try the grammars of the answer's format and of the tools, so that a refusal names the right one.

        Raises:
            RequestRefused: vLLM cannot make a grammar of one.
        """
        param = "text.format.schema"
        try:
            check_schema_size(request.output_format.schema, param=param)
            await self._verify(chat.extract_structured_outputs())
            if wants_tools(request):
                param = "tools"
                probe = chat.model_copy()
                self._make_parser(probe).adjust_request(probe)
                if (constraint := probe.extract_structured_outputs()) is not None:
                    for tool in request.tools:
                        check_schema_size(tool["function"].get("parameters"), param=param)
                    await self._verify(constraint)
        except InvalidRequest as error:
            raise RequestRefused(error) from None
        except Exception as exc:  # vLLM and its grammar libraries raise all sorts on odd schemas
            cause = (
                _message(exc)
                if isinstance(exc, ValueError | VLLMClientError)
                else "it has a constraint that no grammar can hold"
            )
            message = f"The schema cannot be turned into a grammar: {cause}"
            raise RequestRefused(InvalidRequest(message, param=param)) from exc

    async def _verify(self, constraint: Any) -> None:
        """Raise unless vLLM can hold an answer to the constraint. Its own checks miss what only fails to compile."""
        if constraint is not None:
            config = self._engine.vllm_config
            SamplingParams(structured_outputs=constraint).verify(
                self._model_config, config.speculative_config, config.structured_outputs_config, self._tokenizer
            )
            if self._grammars is not None:
                await asyncio.to_thread(_try_grammar, self._grammars, constraint)

    async def _render(self, chat: Any) -> Any:
        """The prompt of `chat`; also puts the tools' grammar into `chat`."""
        rendered = await self._renderer.render_chat(chat)
        if isinstance(rendered, ErrorResponse):
            raise RequestRefused(InvalidRequest(rendered.error.message, param=rendered.error.param or "input"))
        _, (prompt,) = rendered
        return prompt

    def _make_parser(self, chat: Any) -> Any:
        """A parser for one response, or None where the settings name neither a tool nor a reasoning parser."""
        if self._renderer.parser is None:
            return None
        return self._renderer.parser(
            self._tokenizer,
            chat.tools,
            chat_template_kwargs=self._renderer.effective_chat_template_kwargs(chat),
            model_config=self._model_config,
        )

    async def _add(self, request: GenerationRequest, chat: Any, prompt: Any, input_tokens: int, parser: Any) -> Any:
        """Hand the prompt to vLLM's scheduler; returns the queue of its outputs."""
        context = self._model_config.max_model_len
        if input_tokens >= context:
            message = f"The prompt has {input_tokens} tokens, which leaves no room in the model's context of {context}."
            raise RequestRefused(ContextLengthExceeded(message, param="input"))
        limit = get_max_tokens(context, request.max_output_tokens, input_tokens, self._defaults)
        prompt_ids = prompt.get("prompt_token_ids") or []
        kwargs = {"chat_template_kwargs": self._renderer.effective_chat_template_kwargs(chat)}
        try:
            return await self._engine.add_request(
                request.request_id,
                prompt,
                chat.to_sampling_params(limit, self._defaults),
                reasoning_ended=chat.resolve_reasoning_ended(parser, prompt_ids),
                reasoning_parser_kwargs=kwargs if parser is not None and parser.reasoning_parser is not None else None,
            )
        except asyncio.CancelledError:
            await self._engine.abort(request.request_id)  # vLLM may have it already
            raise

    async def _batches(self, generation: Generation) -> AsyncGenerator[list[EngineInput], None]:
        yield [EngineStarted(engine=self._replica_id, input_tokens=generation.input_tokens)]
        outputs = generation.outputs
        while not generation.finished:
            try:
                output = outputs.get_nowait() or await outputs.get()
                generation.finished = output.finished
                batch = read(generation, output)
            except Exception as exc:
                raise self._failure(exc) from exc
            if batch:
                yield batch
            if generation.translator.cut:
                return

    def _failure(self, exc: Exception) -> EngineError:
        if isinstance(exc, EngineError):
            return exc
        if isinstance(exc, EngineDeadError) or self._closed or self._engine.errored:
            return EngineDead(str(exc))
        return EngineError(f"vLLM failed on this request: {type(exc).__name__}: {exc}")

    async def _withdraw(self, generation: Generation) -> None:
        """Abort a generation and wait until vLLM's engine process has done so; at once if it is dead."""
        outputs = generation.outputs
        outputs.close()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._engine.abort(outputs.request_id, internal=True)
                if not (self._closed or self._engine.errored):
                    await self._engine.is_paused()  # requests are handled in order: the answer comes after the abort
        except (EngineDeadError, TimeoutError):
            pass  # a dead engine generates nothing; a stuck one is for `check` to find


def _refuse(exc: Exception) -> NoReturn:
    """Raise what a client is told of an error that vLLM blames on the request."""
    parameter = getattr(exc, "parameter", None)
    error: ApiError
    if parameter in TOO_LONG:
        error = ContextLengthExceeded(_message(exc), param="input")
    else:
        error = InvalidRequest(_message(exc), param=REQUEST_PARAMS.get(parameter or "messages", "input"))
    raise RequestRefused(error) from exc


def _try_grammar(grammars: Any, constraint: Any) -> None:
    """Compile the constraint's grammar as the engine will; raise if that fails, or if no token can begin a text."""
    grammar = grammars.compile_grammar(*get_structured_output_key(constraint))
    allowed = grammars.allocate_token_bitmask(1)
    grammar.fill_bitmask(allowed, 0)
    if not allowed.any():
        raise ValueError("no text fits it")


def _message(exc: BaseException) -> str:
    """The first line of the innermost error's own text, without what the C++ libraries put around it."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    text = str(exc.args[0] if exc.args else exc).partition("\n")[0]
    return CPP_PLACE.sub("", text).removeprefix("Check failed: ") or type(exc).__name__

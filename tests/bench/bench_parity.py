"""Our server beside vLLM's own, on the same machine, model and prompts, one after the other in one run.

Prints tokens/s at 16 concurrent streams and the time to the first token of single requests, each as a ratio. Both
servers are asked for the same thing over the same protocol: `POST /v1/responses` with `stream: true`, greedy, no two
prompts alike (no prefix is cached). `make bench-parity`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import yaml

from deployments.engines.embedded_model import resolve_model
from tests.support.served import ROOT, serving

MODEL = "smollm2-135m-instruct"
STREAMS = 16
OUTPUT_TOKENS = 128
ENGINE = {"max_num_seqs": 32}
CONTEXT = 4096
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1"}
START_TIMEOUT_S = 600.0

_TOKENS = re.compile(rb'"output_tokens":\s*(\d+)')
_DELTA = b"response.output_text.delta"


@dataclass(frozen=True)
class Figures:
    """One server's medians: tokens/s of `STREAMS` streams together, seconds to the first token of a single request."""

    tokens_per_s: float
    first_token_s: float


def prompt(number: int) -> str:
    """A prompt of some hundred tokens, unlike any other from its first word on."""
    facts = " ".join(f"Item {number * 97 + i} costs {number * 31 + i * 7} coins." for i in range(12))
    return f"{number}. Here is a price list. {facts} Write a long story about a merchant who sells these items."


async def ask(client: httpx.AsyncClient, number: int, output_tokens: int) -> tuple[int, float]:
    """Stream one response; its output tokens and the seconds to its first delta."""
    body = {
        "model": MODEL,
        "input": prompt(number),
        "stream": True,
        "temperature": 0,
        "max_output_tokens": output_tokens,
    }
    first, rest, started = 0.0, b"", time.perf_counter()
    async with client.stream("POST", "/v1/responses", json=body) as answer:
        answer.raise_for_status()
        async for chunk in answer.aiter_raw():
            rest = (rest + chunk)[-65536:]
            if not first and _DELTA in rest:
                first = time.perf_counter() - started
    counts = _TOKENS.findall(rest)
    if not counts or not first:
        raise RuntimeError(f"the stream did not complete: …{rest[-300:]!r}")
    return int(counts[-1]), first


async def measure(url: str, *, rounds: int, singles: int) -> Figures:
    """Warm the server up, then take the medians."""
    numbers = iter(range(1, 1_000_000))
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=httpx.Limits(max_connections=64)) as client:
        await asyncio.gather(*(ask(client, next(numbers), 16) for _ in range(STREAMS)))
        firsts = [(await ask(client, next(numbers), 4))[1] for _ in range(singles)]
        rates = []
        for _ in range(rounds):
            started = time.perf_counter()
            answers = await asyncio.gather(*(ask(client, next(numbers), OUTPUT_TOKENS) for _ in range(STREAMS)))
            rates.append(sum(tokens for tokens, _ in answers) / (time.perf_counter() - started))
    print(f"    tokens/s {[round(rate) for rate in rates]}  first token ms {[round(s * 1e3) for s in firsts]}")
    return Figures(statistics.median(rates), statistics.median(firsts))


@contextlib.contextmanager
def vllm_server() -> Iterator[str]:
    """vLLM's own server with the settings that ours gives its engine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", resolve_model(MODEL), "--served-model-name", MODEL, "--max-model-len", str(CONTEXT)]
    command += ["--max-num-seqs", str(ENGINE["max_num_seqs"]), "--enforce-eager", "--disable-uvicorn-access-log"]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    environment = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", **ENVIRONMENT, **os.environ}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_TIMEOUT_S
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/health").status_code == 200:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise RuntimeError(f"vLLM's server did not start: {output.read()[-2000:].decode()}")
                time.sleep(0.5)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def our_server() -> Iterator[str]:
    """Our server with the committed configuration."""
    with serving(yaml.safe_load((ROOT / "serve_config.yaml").read_text()), ready_s=START_TIMEOUT_S) as served:
        yield served.url


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="tokens/s and first token beside vLLM's own server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--singles", type=int, default=30)
    options = parser.parse_args()
    figures = {}
    for name, server in (("vllm", vllm_server), ("ours", our_server)):
        print(f"{name}: starting")
        with server() as url:
            figures[name] = asyncio.run(measure(url, rounds=options.rounds, singles=options.singles))
    ours, theirs = figures["ours"], figures["vllm"]
    ratios = {
        "tokens_per_s": ours.tokens_per_s / theirs.tokens_per_s,
        "first_token": ours.first_token_s / theirs.first_token_s,
    }
    print(f"{STREAMS} streams: ours {ours.tokens_per_s:.0f} tokens/s, vLLM's server {theirs.tokens_per_s:.0f} tokens/s")
    print(f"first token: ours {ours.first_token_s * 1e3:.1f} ms, vLLM's server {theirs.first_token_s * 1e3:.1f} ms")
    print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))
    print(f"tokens/s ratio {ratios['tokens_per_s']:.2f} (aim: at least 0.90)")
    print(f"first token ratio {ratios['first_token']:.2f} (aim: at most 1.25)")


if __name__ == "__main__":
    main()

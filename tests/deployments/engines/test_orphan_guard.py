from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

from deployments.engines.orphan_guard import OrphanGuard
from tests.support.vllm_fixture import ENVIRONMENT, REAL_ENGINE, tiny_llama

PROJECT = Path(__file__).resolve().parents[3]

PARENT = """
import multiprocessing, os, signal, sys, time
from deployments.engines.orphan_guard import OrphanGuard

def child(configuration):
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    configuration = {"started_by": OrphanGuard("a test")}
    multiprocessing.get_context(sys.argv[1]).Process(target=child, args=(configuration,)).start()
    time.sleep(60)
"""

ENGINE = """
import asyncio, multiprocessing, sys
from deployments.engines.vllm_engine import VllmEngine
from deployments.vllm_settings import VllmSettings

async def main():
    engine = await VllmEngine.start(VllmSettings(name="tiny", model=sys.argv[1]), replica_id="r")
    (core,) = multiprocessing.active_children()
    print("core", core.pid, flush=True)
    await asyncio.sleep(60)
    await engine.close()

if __name__ == "__main__":
    asyncio.run(main())
"""


def ended(pid: int, *, within_s: float) -> bool:
    """Whether process `pid` ends (a zombie has) in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_guard_is_a_word_like_any_other() -> None:
    guard = OrphanGuard("ray-responses")
    assert json.dumps({"started_by": guard}) == '{"started_by": "ray-responses"}'
    assert copy.deepcopy(guard) == guard
    assert type(pickle.loads(pickle.dumps(guard))) is OrphanGuard
    assert "orphan-guard" not in {thread.name for thread in threading.enumerate()}, "no child, no watch"


def test_a_child_that_got_the_guard_ends_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(script), "spawn"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait(10)
        assert ended(child, within_s=10)


class TestVllm:
    pytestmark = [mark for mark in REAL_ENGINE if mark.name != "asyncio"]

    def test_vllms_engine_process_ends_with_a_killed_replica(self, tmp_path: Path) -> None:
        script = tmp_path / "replica.py"
        script.write_text(ENGINE)
        with subprocess.Popen(
            [sys.executable, str(script), str(tiny_llama(tmp_path / "tiny"))],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as replica:
            assert replica.stdout is not None
            core = next(line for line in replica.stdout if line.startswith("core "))  # vLLM logs there, too
            replica.kill()
            replica.wait(10)
            assert ended(int(core.split()[1]), within_s=10)

"""One writer thread for many awaiting writers: what waits while a commit runs shares the next one.

Knows nothing of databases: it is given a function that commits a group of works and tells the outcome of each.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from deployments.stores.base import StoreUnavailable

Work = Callable[[], None]
"""Changes that one writer asks for, made inside the group's transaction. Raises to refuse, before changing anything."""

Outcome = Exception | None
"""Why a work was refused or failed, or None where it is durable."""

_LARGEST_GROUP = 512
_TIDY_AGAIN_S = 1.0
_CLOSE_TIMEOUT_S = 30.0


@dataclass(slots=True)
class _Job:
    work: Work
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class GroupCommit:
    """Runs works on one thread, in the order they were asked for.

    `commit` makes a group durable and returns one outcome for each work; it never raises. `tidy` runs after a group was
    answered; while it returns True, it is called again soon even if nobody writes.
    """

    def __init__(self, commit: Callable[[Sequence[Work]], list[Outcome]], *, tidy: Callable[[], bool]) -> None:
        self._commit = commit
        self._tidy = tidy
        self._untidy = False
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Work) -> None:
        """Return when the work is durable.

        A caller that is cancelled while it waits does not know whether it was.

        Raises:
            StoreUnavailable: closed. Besides, what the work or the commit raised.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._queue.put(job)
        await job.done

    async def close(self) -> None:
        """Finish what was asked for and end the thread. Idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        await asyncio.to_thread(self._thread.join, _CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        more = True
        while more:
            jobs, more = self._next_group()
            if jobs:
                _answer(jobs, self._commit([job.work for job in jobs]))
            self._untidy = self._tidy()

    def _next_group(self) -> tuple[list[_Job], bool]:
        """The jobs that wait, at least one unless it is time to tidy; and whether there can be more."""
        jobs: list[_Job] = []
        try:
            job = self._queue.get(timeout=_TIDY_AGAIN_S if self._untidy else None)
            while job is not None:
                jobs.append(job)
                if len(jobs) == _LARGEST_GROUP:
                    return jobs, True
                job = self._queue.get_nowait()
        except Empty:
            return jobs, True
        return jobs, False


def _answer(jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
    """Hand each waiting caller its outcome, with one wake-up for each event loop."""
    answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Outcome]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        answers.setdefault(job.loop, []).append((job.done, outcome))
    for loop, group in answers.items():
        try:
            loop.call_soon_threadsafe(_settle, group)
        except RuntimeError:
            continue  # the loop is closed: nobody waits there any more


def _settle(answers: Sequence[tuple[asyncio.Future[None], Outcome]]) -> None:
    for done, outcome in answers:
        if done.done():
            continue
        if outcome is None:
            done.set_result(None)
        else:
            done.set_exception(outcome)

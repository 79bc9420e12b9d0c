"""Lets the processes of an engine die with the process that started them, even when that one is killed with no warning.

vLLM runs its engine in a child process, which outlives a killed parent and keeps the GPU's memory. There is no hook in
that child, but it receives vLLM's configuration, pickled: an `OrphanGuard` in there starts a watch where it arrives.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from functools import cache
from multiprocessing.connection import wait


class OrphanGuard(str):
    """A word for a configuration. In a `multiprocessing` child that unpickles it, the child ends when its parent does.

    It is a string, so that a configuration that holds it can be hashed, logged and written as JSON like any other.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[object, ...]:
        return _arrive, (str(self),)


def _arrive(word: str) -> OrphanGuard:
    _watch_parent()
    return OrphanGuard(word)


@cache
def _watch_parent() -> None:
    """Watch for the parent's end, once a process; nothing in a process that `multiprocessing` did not start."""
    # A spawned child unpickles its arguments before `multiprocessing` tells it of its parent; its command line knows.
    if multiprocessing.parent_process() is not None or "--multiprocessing-fork" in sys.orig_argv:
        threading.Thread(target=_end_with_parent, name="orphan-guard", daemon=True).start()


def _end_with_parent() -> None:
    while (parent := multiprocessing.parent_process()) is None:
        time.sleep(0.01)
    wait([parent.sentinel])
    os._exit(1)  # nothing is left to answer to, and the kernel frees what the process holds

"""The processes of a server, and what they listen on, as the kernel tells them."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_LISTEN = "0A"


@dataclass(frozen=True)
class Listener:
    """A TCP socket that waits for connections."""

    process: str
    pid: int
    address: IPv4Address | IPv6Address
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        mapped = self.address.ipv4_mapped if isinstance(self.address, IPv6Address) else None
        return (mapped or self.address).is_loopback


def processes_with(variable: str) -> set[int]:
    """All processes that were started with `variable` (`NAME=value`), and all in a session with one of them."""
    seen = {pid: (_session(pid), variable.encode() in _read(pid, "environ").split(b"\0")) for pid in _pids()}
    sessions = {session for session, has_it in seen.values() if has_it}
    # The test's own session counts only for those that carry the variable themselves.
    sessions.discard(os.getsid(0))
    return {pid for pid, (session, has_it) in seen.items() if has_it or session in sessions}


def kill(pids: Iterable[int]) -> None:
    """End these processes at once."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def title(pid: int) -> str:
    """How the process calls itself; empty if it is gone."""
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def listeners(pids: Iterable[int]) -> list[Listener]:
    """What these processes listen on."""
    owners = {inode: pid for pid in pids for inode in _sockets(pid)}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and (pid := owners.get(fields[9])) is not None:
                host, _, port = fields[1].partition(":")
                found.append(Listener(title(pid), pid, _address(host), int(port, 16)))
    return found


def _pids() -> Iterator[int]:
    """All processes but the dead ones that nobody has asked about yet."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) and stat[0] != "Z":
            yield int(entry.name)


def _session(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[3]) if stat else -1


def _stat(pid: int) -> list[str]:
    """Fields of the process's status from its state on; the name before them may hold anything."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _sockets(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(entry)
                if target.startswith("socket:["):
                    yield target[len("socket:[") : -1]


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address as /proc/net writes it: words of four bytes, each in the machine's order."""
    words = struct.pack(f"<{len(text) // 8}I", *(int(text[at : at + 8], 16) for at in range(0, len(text), 8)))
    return IPv4Address(words) if len(words) == 4 else IPv6Address(words)

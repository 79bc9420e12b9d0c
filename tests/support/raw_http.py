"""HTTP as bytes on a socket: for tests of what a client library hides."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Self

LIMIT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """A whole answer. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def ask(port: int, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Answer:
    """One request on a connection of its own. A body that is no bytes goes out as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request(method, path, body=data, headers={"Content-Type": "application/json", **(headers or {})})
        got = connection.getresponse()
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
    finally:
        connection.close()


class OpenRequest:
    """A POST whose answer is read bit by bit, and which can be left at any moment; the end of the context leaves it."""

    def __init__(self, port: int, path: str, body: Any) -> None:
        data = json.dumps(body).encode()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(data)}\r\n\r\n"
        self._socket.sendall(head.encode() + data)
        self._lines = self._socket.makefile("rb")
        self.chunks: list[bytes] = []
        """The chunks of the body so far, as they were sent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    @property
    def body(self) -> bytes:
        """What has come of the body so far."""
        return b"".join(self.chunks)

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers. To be read first."""
        status = int(self._lines.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._lines.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        return status, headers

    def read_until(self, wanted: bytes) -> None:
        """Read on until `wanted` is in the body."""
        until = time.monotonic() + LIMIT_S
        while wanted not in self.body:
            assert time.monotonic() < until, f"{wanted!r} did not come within {LIMIT_S:g} s"
            assert self._read_chunk(), f"the body ended without {wanted!r}"

    def read_to_the_end(self) -> bytes:
        """The whole body; an error if it ends without the last, empty chunk."""
        until = time.monotonic() + LIMIT_S
        while self._read_chunk():
            assert time.monotonic() < until, f"the body did not end within {LIMIT_S:g} s"
        return self.body

    def _read_chunk(self) -> bool:
        """Take the next chunk; False if it is the last."""
        size = int(self._lines.readline(), 16)
        data = self._lines.read(size + 2)
        assert data.endswith(b"\r\n"), "the connection was cut within the body"
        if size:
            self.chunks.append(data[:-2])
        return size > 0

    def leave(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()


def events(body: bytes) -> list[tuple[str, bytes]]:
    """Name and data of each frame of a whole event stream, without `[DONE]`, which has to be its last."""
    *frames, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    found = []
    for frame in frames:
        event, data = frame.split(b"\n")
        assert event.startswith(b"event: ")
        assert data.startswith(b"data: ")
        found.append((event.removeprefix(b"event: ").decode(), data.removeprefix(b"data: ")))
    return found

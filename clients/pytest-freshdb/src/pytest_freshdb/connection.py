"""Where the broker is, and a connection to it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .errors import BrokerError, NoBrokerError

SOCKET = "FRESHDB_BROKER"
URL = "FRESHDB_BROKER_URL"
TOKEN = "FRESHDB_BROKER_TOKEN"

CONNECT_SECONDS = 10.0
# In bytes; the broker's have some hundred.
HEAD_LENGTH = 65536
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: |$)")


@dataclass(frozen=True)
class Address:
    """Where the broker is, and the token that it asks for."""

    token: str = field(repr=False)
    path: str | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Address:
        # The environment has secrets of others too, and pytest shows what a function was called with.
        __tracebackhide__ = True
        path, url, token = environ.get(SOCKET), environ.get(URL), environ.get(TOKEN)
        if not path and not url:
            raise NoBrokerError(
                f"there is no broker: neither `{SOCKET}` nor `{URL}` is set",
                "run under freshdb: `freshdb run --mysql -- pytest`",
            )
        if not token:
            raise NoBrokerError(f"`{TOKEN}` is not set", "run under freshdb: `freshdb run --mysql -- pytest`")
        # It goes into a header as it is.
        if not re.fullmatch(r"[!-~]+", token):
            raise NoBrokerError(
                f"`{TOKEN}` is no token of a broker",
                "take it as it is, from `freshdb run` or from what `freshdb serve` writes",
            )
        if path and hasattr(socket, "AF_UNIX"):
            return cls(token, path=path)
        try:
            parts = urlsplit(url or "")
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or port is None:
            raise NoBrokerError(f"`{URL}` is not of the form http://HOST:PORT")
        return cls(token, host=host, port=port)

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    @property
    def host_and_port(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return "localhost" if self.path is not None else f"{host}:{self.port}"

    def connect(self) -> Connection:
        try:
            return Connection(self, self._open())
        except OSError as error:
            raise NoBrokerError(
                f"the broker at `{self}` cannot be connected to: {error}",
                "it ends with the `freshdb run` that started it",
            ) from error

    def _open(self) -> socket.socket:
        if self.path is None:
            opened = socket.create_connection((self.host, self.port), CONNECT_SECONDS)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return opened
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(CONNECT_SECONDS)
        try:
            opened.connect(self.path)
        except OSError:
            opened.close()
            raise
        return opened


class Connection:
    """As much of HTTP/1.1 as the broker speaks: one request at a time, and each answer with its length.

    `http.client` reads an answer's headers with the parser for mail, which is much of what a lease takes.
    """

    def __init__(self, address: Address, opened: socket.socket) -> None:
        self._address = address
        self._socket: socket.socket | None = opened
        self._why_closed = ""

    def exchange(self, method: str, path: str, body: Mapping[str, object] | None, timeout: float | None) -> dict[str, Any]:
        """One request and its answer: `{}` where that has no body.

        Raises BrokerError for an answer of 400 and above, and OSError when the connection is no good.
        """
        if self._socket is None:
            raise ConnectionError(self._why_closed)
        content = b"" if body is None else json.dumps(body).encode()
        try:
            self._socket.settimeout(timeout)
            # The token is in no variable of this: pytest shows those of the functions that an error came by.
            self._socket.sendall(self._head(method, path, body is not None, len(content)) + content)
            status, text = self._answer(self._socket)
        except BaseException:
            # What is heard next over this connection would be taken for the answer to another request.
            self.close("an earlier request went wrong")
            raise
        try:
            value = json.loads(text) if text else {}
        except ValueError:
            value = {}
        if status >= 400:
            hint = value.get("hint")
            if hint is None and status == 401:
                hint = f"`{TOKEN}` is that of another broker"
            raise BrokerError(status, value.get("error", f"the broker answered {status}"), hint)
        answer: dict[str, Any] = value
        return answer

    def close(self, why: str = "it was closed") -> None:
        closed, self._socket = self._socket, None
        if closed is not None:
            self._why_closed = why
            closed.close()

    def _head(self, method: str, path: str, is_json: bool, length: int) -> bytes:
        content = f"Content-Type: application/json\r\nContent-Length: {length}\r\n" if is_json else ""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self._address.host_and_port}\r\n"
            f"Authorization: Bearer {self._address.token}\r\n{content}\r\n"
        ).encode("ascii", "replace")

    def _answer(self, opened: socket.socket) -> tuple[int, bytes]:
        received = receive(opened)
        while (end := received.find(b"\r\n\r\n")) < 0:
            if len(received) > HEAD_LENGTH:
                raise ConnectionError("its answer has no end of headers")
            received += receive(opened)
        first, *lines = received[:end].split(b"\r\n")
        status = STATUS_LINE.match(first)
        if status is None:
            raise ConnectionError(f"it does not speak HTTP/1.1, but says {first[:80]!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length = headers.get(b"content-length", b"0" if status[1] == b"204" else b"")
        if not re.fullmatch(rb"[0-9]{1,9}", length):
            raise ConnectionError("its answer has no length")
        body = received[end + 4 :]
        while len(body) < int(length):
            body += receive(opened)
        if len(body) > int(length):
            raise ConnectionError("its answer goes on after its end")
        if headers.get(b"connection", b"").lower() == b"close":
            self.close("the broker closed it")
        return int(status[1]), body


def receive(opened: socket.socket) -> bytes:
    some = opened.recv(65536)
    if not some:
        raise ConnectionError("the broker closed it")
    return some

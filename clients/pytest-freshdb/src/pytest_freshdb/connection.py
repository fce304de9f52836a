"""The connection to the broker, to which the leases of this process belong."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .errors import BrokerError, LeaseLostError, NoBrokerError

SOCKET = "FRESHDB_BROKER"
URL = "FRESHDB_BROKER_URL"
TOKEN = "FRESHDB_BROKER_TOKEN"

CONNECT_SECONDS = 10.0
# The broker itself answers after a minute at the latest when no database becomes free.
ANSWER_SECONDS = 120.0


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

    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self.path is None:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=CONNECT_SECONDS)
        else:
            connection = UnixConnection(self.path)
        try:
            connection.connect()
        except OSError as error:
            raise NoBrokerError(
                f"the broker at `{self}` cannot be connected to: {error}",
                "it ends with the `freshdb run` that started it",
            ) from error
        # A connection that the library opened anew by itself would have silently lost the leases.
        connection.auto_open = 0
        return connection


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CONNECT_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_SECONDS)
        try:
            self.sock.connect(self.path)
        except OSError:
            self.close()
            raise


def exchange(
    connection: http.client.HTTPConnection,
    address: Address,
    method: str,
    path: str,
    body: Mapping[str, object] | None,
    timeout: float | None,
) -> dict[str, Any]:
    """One request and its answer: `{}` where that has no body.

    Raises BrokerError for an answer of 400 and above, and OSError or HTTPException when the connection is no good.

    The token is in no variable of this: pytest shows those of the functions that an error came by.
    """
    if connection.sock is None:
        raise http.client.NotConnected("the broker closed it")
    connection.sock.settimeout(timeout)
    content_type = {} if body is None else {"Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    connection.request(method, path, content, {**address.authorization(), **content_type})
    response = connection.getresponse()
    text = response.read()
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        value = {}
    if response.status >= 400:
        hint = value.get("hint")
        if hint is None and response.status == 401:
            hint = f"`{TOKEN}` is that of another broker"
        raise BrokerError(response.status, value.get("error", f"the broker answered {response.status}"), hint)
    answer: dict[str, Any] = value
    return answer


class Channel:
    """One connection, shared by the threads of a process, and what belongs to it.

    Each connection has a number. What was taken over one of an earlier number has ended.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.number = 0
        self.filling = threading.RLock()
        self._lock = threading.Lock()
        self._held: dict[str, str] = {}
        self._connection: http.client.HTTPConnection | None = None
        channels.add(self)

    def request(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        with self._lock:
            return self._request(method, path, body, ANSWER_SECONDS)

    def take(
        self,
        path: str,
        body: Mapping[str, object],
        name: Callable[[dict[str, Any]], tuple[str, str] | None],
        timeout: float | None = ANSWER_SECONDS,
    ) -> tuple[dict[str, Any], int]:
        """A POST, and the number of the connection.

        `name` says of the answer what belongs to the connection from now on, and how that is told when it is lost.
        """
        with self._lock:
            answer = self._request("POST", path, body, timeout)
            named = name(answer)
            if named is not None:
                self._held[named[0]] = named[1]
            return answer, self.number

    def end(self, name: str, number: int, method: str, path: str) -> dict[str, Any]:
        """The last request about something that belongs to the connection of this number.

        It does not wait for the answer to another thread's request, which may itself wait for this.
        """
        if number != self.number:
            raise LeaseLostError(f"{name} ended early: the connection to the broker over which it was taken was lost")
        busy = not self._lock.acquire(blocking=False)
        try:
            if busy:
                return self._request_beside(method, path)
            return self._request(method, path, None, ANSWER_SECONDS)
        finally:
            self._held.pop(name, None)
            if not busy:
                self._lock.release()

    def close(self) -> None:
        with self._lock:
            self._discard()

    def after_fork(self) -> None:
        """The connection and its leases stay with the parent: the child opens its own when it needs one."""
        self._lock = threading.Lock()
        self.filling = threading.RLock()
        self._discard()

    def _discard(self) -> dict[str, str]:
        connection, self._connection = self._connection, None
        held, self._held = self._held, {}
        self.number += 1
        if connection is not None:
            connection.close()
        return held

    def _request(self, method: str, path: str, body: Mapping[str, object] | None, timeout: float | None) -> dict[str, Any]:
        while True:
            is_new = self._connection is None
            if self._connection is None:
                self._connection = self.address.connect()
            try:
                return exchange(self._connection, self.address, method, path, body, timeout)
            except (OSError, http.client.HTTPException) as error:
                held = self._discard()
                if held:
                    raise LeaseLostError(
                        f"the connection to the broker was lost ({reason(error)}), and with it {', '.join(held.values())}",
                        "their databases may be somebody else's by now: run these tests again",
                    ) from without_traceback(error)
                if is_new or isinstance(error, TimeoutError):
                    raise NoBrokerError(
                        f"the broker at `{self.address}` does not answer: {reason(error)}"
                    ) from without_traceback(error)
                # It was idle and nothing belonged to it: the broker may have closed it, and is asked anew.

    def _request_beside(self, method: str, path: str) -> dict[str, Any]:
        connection = self.address.connect()
        try:
            return exchange(connection, self.address, method, path, None, ANSWER_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            raise NoBrokerError(f"the broker at `{self.address}` does not answer: {reason(error)}") from without_traceback(error)
        finally:
            connection.close()


def reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def without_traceback(error: Exception) -> Exception:
    """The traceback of an error of the library's has in it what was sent, and so the token."""
    return error.with_traceback(None)


channels: weakref.WeakSet[Channel] = weakref.WeakSet()


def after_fork_in_child() -> None:
    for channel in list(channels):
        channel.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork_in_child)

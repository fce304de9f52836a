"""The connection to the broker to which the leases of this process belong."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from .connection import Address, Connection
from .errors import LeaseLostError, NoBrokerError

# The broker itself answers after a minute at the latest when no database becomes free.
ANSWER_SECONDS = 120.0


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
        self._connection: Connection | None = None
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
                return self._connection.exchange(method, path, body, timeout)
            except OSError as error:
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
            return connection.exchange(method, path, None, ANSWER_SECONDS)
        except OSError as error:
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

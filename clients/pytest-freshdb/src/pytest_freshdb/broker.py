"""The broker's client."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

from .channel import Channel
from .connection import Address
from .database import Database
from .errors import FreshdbError

# In bytes: the broker takes no longer note.
NOTE_LENGTH = 1000
FAILURE_LENGTH = 4000


@dataclass(repr=False, eq=False, kw_only=True)
class Lease(Database):
    """A database that is nobody else's until it is given back, or the connection to the broker ends.

    As a context manager it is given back at the end.
    """

    id: str
    channel: Channel
    number: int
    pid: int
    is_given_back: bool = False

    def tell_failure(self, failure: str) -> str | None:
        """Tells the broker that the test has failed, and hears what it did to the database: `tags: 2 inserted, 1 changed`.

        None is nothing, of what was committed.

        The broker writes down the rows, for `freshdb diff` to show. To be called before the database is given back.
        """
        body = {"outcome": "failed", "failure": beginning(failure, FAILURE_LENGTH)}
        answer = self.channel.request("PUT", f"{self._path()}/outcome", body)
        changes = answer.get("changes")
        return None if changes is None else str(changes)

    def give_back(self, keep: bool = False, outcome: str | None = None) -> None:
        """Gives the database back, to be put back in order; with `keep` it stays as it is. A second call does nothing.

        `outcome` is `passed` or `skipped`, for the report of `freshdb run`.

        Raises LeaseLostError when it had ended before, so that the database may have been somebody else's meanwhile.
        """
        if self.is_given_back:
            return
        if self.pid != os.getpid():
            raise FreshdbError(f"lease {self.id} belongs to process {self.pid}: only that gives it back")
        self.is_given_back = True
        how = {"keep": "true" if keep else None, "outcome": outcome}
        query = urlencode({name: value for name, value in how.items() if value is not None})
        path = f"{self._path()}?{query}" if query else self._path()
        self.channel.end(self._name(self.id), self.number, "DELETE", path)

    def _path(self) -> str:
        return f"/v1/leases/{quote(self.id, safe='')}"

    @staticmethod
    def _name(id: str) -> str:
        return f"lease {id}"

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.give_back()


class Broker:
    """The broker of `freshdb run` and `freshdb serve`, over one connection that is opened when it is first needed.

    Leases belong to the connection, and end with it. It may be used by several threads. After a fork, the leases stay
    with the parent, and the child opens a connection of its own.
    """

    def __init__(self, address: Address, drivers: Sequence[str] = ()) -> None:
        self._channel = Channel(address)
        self._drivers = tuple(drivers)

    @classmethod
    def from_env(cls, drivers: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Broker:
        """The broker that FRESHDB_BROKER or FRESHDB_BROKER_URL, and FRESHDB_BROKER_TOKEN, name.

        `drivers` are preferred in the SQLAlchemy URLs of its databases.

        Raises NoBrokerError when they are not set.
        """
        return cls(Address.from_env(os.environ if environ is None else environ), drivers)

    def lease(self, engine: str | None = None, template: str | None = None, note: str | None = None) -> Lease:
        """A pristine database: of this engine, or the only one; with the schema of this template, or of the command line.

        Waits until one is free, a minute at the most.
        """
        wanted = {"engine": engine, "template": template, "note": note and beginning(note, NOTE_LENGTH)}
        body = {name: value for name, value in wanted.items() if value is not None}

        def named(answer: dict[str, Any]) -> tuple[str, str]:
            name = Lease._name(answer["id"])
            return name, f"{name} of {answer['engine']}" + (f" (`{note}`)" if note else "")

        answer, number = self._channel.take("/v1/leases", body, named)
        return Lease(
            engine=answer["engine"],
            **Database.fields_of(answer),
            drivers=self._drivers,
            id=answer["id"],
            is_private=answer["private"],
            channel=self._channel,
            number=number,
            pid=os.getpid(),
        )

    def template(self, engine: str, hash: str, fill: Callable[[Database], None]) -> None:
        """Makes sure that the template of this hash is there: `fill` is called when it is not, with an empty database.

        Waits while another process fills it. When `fill` raises, the database is discarded and the error goes on.
        """
        name = f"the {engine} template `{hash}`"
        path = f"/v1/templates/{quote(engine, safe='')}/{quote(hash, safe='')}"
        channel = self._channel

        def named(answer: dict[str, Any]) -> tuple[str, str] | None:
            return None if answer["state"] == "ready" else (name, name)

        # A second thread that asked for the same template would wait for this one with the connection that this one needs.
        with channel.filling:
            answer, number = channel.take("/v1/templates", {"engine": engine, "hash": hash}, named, timeout=None)
            if answer["state"] == "ready":
                return
            database = Database(engine, **Database.fields_of(answer), drivers=self._drivers)
            # It has the password, and pytest shows the variables of the functions that an error of `fill` came by.
            del answer
            try:
                given: object = fill(database)  # type: ignore[func-returns-value]
                if inspect.iscoroutine(given):
                    given.close()
                    raise FreshdbError(
                        f"{name} was not filled: what fills it is asynchronous",
                        "run it, as by `lambda database: asyncio.run(fill(database))`",
                    )
            except BaseException:
                try:
                    channel.end(name, number, "DELETE", path)
                except FreshdbError as error:
                    warnings.warn(f"{name} could not be discarded: {error}", stacklevel=2)
                raise
            channel.end(name, number, "PUT", path)

    def status(self) -> dict[str, Any]:
        """What `GET /v1/status` answers."""
        return self._channel.request("GET", "/v1/status")

    def engines(self) -> list[str]:
        """The engines that the broker has."""
        return [engine["engine"] for engine in self.status()["engines"]]

    def close(self) -> None:
        """Closes the connection. Leases that were not given back end."""
        self._channel.close()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Broker at {self._channel.address}>"


def beginning(text: str, length: int) -> str:
    """As many whole characters as fit into this many bytes. A lone surrogate, which the broker refuses, is a `?`."""
    return text.encode(errors="replace")[:length].decode(errors="ignore")

"""A database of the broker's, and how to reach it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from .drivers import default_driver, driver_of, is_installed
from .errors import DriverError
from .location import located, parameters_for
from .redirect import Redirection

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

# `passfile` is where a secret is, and none.
IS_SECRET = re.compile("passw|passphrase|pwd|secret|token", re.IGNORECASE)


class Url(str):
    """The text of a URL, with the password in it. What pytest shows of it, its repr, has the password left out."""

    __slots__ = ()

    def masked(self) -> str:
        """The text, with `***` for each secret: the password, and parameters such as `password` and `sslpassword`."""
        scheme, separator, rest = self.partition("://")
        before, question_mark, query = rest.partition("?")
        # What does not come from the broker may have anything in its password: it ends with the last @ of the host's part.
        authority, slash, path = before.partition("/")
        user, at, host = authority.rpartition("@")
        name, colon, _ = user.partition(":")
        if at and colon:
            authority = f"{name}:***@{host}"
        parameters = "&".join(masked_parameter(parameter) for parameter in query.split("&"))
        return f"{scheme}{separator}{authority}{slash}{path}{question_mark}{parameters}"

    def __repr__(self) -> str:
        return repr(self.masked())


def masked_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    return f"{name}{equals}***" if equals and IS_SECRET.search(unquote(name)) else parameter


@dataclass(repr=False, eq=False)
class Database:
    """A database and how to reach it. Of SQLite there is a `path`, of the others all the rest.

    `socket` is there where the server is reached by one: of MySQL and MariaDB its path, and there is no `host`; of PostgreSQL the
    directory that it is in, which its drivers take for the `host`. `parameters` are what else the server's URL says.
    Of a lease it is known whether its server `is_private`, and ends with the broker.
    """

    engine: str
    url: Url
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    path: str | None = None
    connections: int | None = None
    drivers: Sequence[str] = ()
    socket: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    is_private: bool = False

    @staticmethod
    def fields_of(answer: Mapping[str, Any]) -> dict[str, Any]:
        fields = {name: answer.get(name) for name in ("database", "path", "connections")}
        return {"url": Url(answer["url"]), **fields, **(located(answer) if fields["path"] is None else {})}

    @property
    def name(self) -> str:
        """The name of the database: for SQLite the path."""
        return self.path or self.database or ""

    def sqlalchemy_url(self, driver: str | None = None) -> Url:
        """The URL in the form of SQLAlchemy, for this driver, or else for the default one.

        The default is the first of the ini option `freshdb_drivers` that is one of the engine, or else the first async
        driver that is installed.

        Raises DriverError when the driver is not one of the engine, or none is installed, or when it cannot be told all that the
        server's URL says.
        """
        chosen = default_driver(self.engine, self.drivers) if driver is None else driver_of(self.engine, driver)
        try:
            from sqlalchemy import URL
        except ImportError as error:
            raise DriverError("SQLAlchemy 2 is not installed", "use `.url`, or install sqlalchemy") from error
        if self.path is not None:
            url = URL.create(chosen.scheme, database=self.path)
        else:
            query = parameters_for(chosen.name, self.parameters)
            # It would read all certificates of the machine for each connection, to encrypt what stays on the machine. But
            # by TLS alone it can log in to MySQL without this package.
            if chosen.name == "pymysql" and self.is_private and (self.engine == "mariadb" or is_installed("cryptography")):
                query["ssl_disabled"] = "true"
            host, port = self.host, self.port
            if self.socket is not None and self.engine == "postgres":
                query |= {"host": self.socket, "port": str(port)}
                host = port = None
            elif self.socket is not None:
                query["unix_socket"] = self.socket
            url = URL.create(chosen.scheme, self.user, self.password, host, port, self.database, query)
        return Url(url.render_as_string(hide_password=False))

    def redirect(self, engine: Engine | AsyncEngine) -> Redirection:
        """Has an engine of SQLAlchemy connect to this database: `with` this or, for an `AsyncEngine`, `async with`.

        What is special about the engine stays: its driver, pool, options and listeners. The connections that it has are kept
        aside meanwhile, and those that it makes are closed at the end.

        Raises FreshdbError when the engine is not for such a database, and where it connects if it does so in a way of its own.
        """
        return Redirection(engine, self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url.masked()}>"

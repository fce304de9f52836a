"""An engine of SQLAlchemy that the program under test has itself, on another database for a while."""

from __future__ import annotations

import contextlib
import re
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from .errors import FreshdbError

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

    from .database import Database

DIALECTS = {"mysql": ("mysql", "mariadb"), "mariadb": ("mysql", "mariadb"), "postgres": ("postgresql",), "sqlite": ("sqlite",)}

# How drivers call where a server is, who comes, and by what the two trust each other. Whatever else an engine passes on stays.
LOCATES = re.compile(
    "host|hostaddr|port|unix_socket|user|username|passwd|password|passfile|db|dbname|database|dsn|uri|conninfo|service|servicefile"
    "|read_default_file|read_default_group|ssl.*|direct_tls|gss.*|krbsrvname|require_auth|channel_binding|target_session_attrs"
    "|load_balance_hosts|server_public_key"
)

# Of a connection that a redirection has made.
MARK = "freshdb"

# Of each engine's dialect, which the engines that were made of it share. The innermost stands last, and decides.
entered: weakref.WeakKeyDictionary[Dialect, list[Redirection]] = weakref.WeakKeyDictionary()


class Redirection:
    """While this is entered, an engine connects to a database of the broker's: by `with`, or `async with` for an `AsyncEngine`.

    The connections that the engine has are kept aside meanwhile. Those that it makes are not used again, and are closed at the
    end unless somebody still has them.
    """

    def __init__(self, engine: Engine | AsyncEngine, database: Database) -> None:
        if not hasattr(engine, "dialect"):
            raise FreshdbError(f"a `{type(engine).__name__}` is no engine of SQLAlchemy")
        self._given = engine
        self._engine: Engine = cast("AsyncEngine", engine).sync_engine if hasattr(engine, "sync_engine") else engine
        self._database = database
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> None:
        if self._given is not self._engine:
            raise FreshdbError("an `AsyncEngine` closes its connections in their event loop", "write `async with`")
        self._begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._undo:
            self._engine.dispose()

    async def __aenter__(self) -> None:
        if self._given is self._engine:
            raise FreshdbError("the engine is no `AsyncEngine`", "write `with`")
        self._begin()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._undo:
            await cast("AsyncEngine", self._given).dispose()

    def _begin(self) -> None:
        from sqlalchemy import event, make_url

        engine, database = self._engine, self._database
        dialect = engine.dialect
        if dialect.name not in DIALECTS[database.engine]:
            raise FreshdbError(f"an engine of {dialect.name} cannot connect to a database of {database.engine}")
        arguments, parameters = dialect.create_connect_args(make_url(database.sqlalchemy_url(dialect.driver)))

        def connect(
            dialect: Dialect, record: ConnectionPoolEntry | None, _: object, given: dict[str, Any]
        ) -> DBAPIConnection | None:
            # It has the password.
            __tracebackhide__ = True
            if entered[dialect][-1] is not self:
                return None
            own = {name: value for name, value in given.items() if not LOCATES.fullmatch(name)}
            connection = dialect.connect(*arguments, **{**parameters, **own})
            if record is not None:
                record.info[MARK] = True
            return connection

        with contextlib.ExitStack() as undo:
            undo.callback(setattr, engine, "pool", engine.pool)
            engine.pool = engine.pool.recreate()
            event.listen(engine.pool, "connect", check, insert=True)
            entered.setdefault(dialect, []).append(self)
            undo.callback(entered[dialect].remove, self)
            event.listen(engine, "do_connect", connect)
            undo.callback(event.remove, engine, "do_connect", connect)
            undo.enter_context(in_schema(engine, database))
            self._undo = undo.pop_all()


def check(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    if MARK not in record.info:
        connection.close()
        raise FreshdbError(
            "a `creator` or a listener of the engine's own has made a connection, and so not to this test's database",
            "where tests run, make the engine of a URL alone",
        )


@contextlib.contextmanager
def in_schema(engine: Engine, database: Database) -> Iterator[None]:
    """The dialect of MySQL asks once which database it is in, and looks for tables in that one ever after."""
    dialect = engine.dialect
    before = dialect.default_schema_name
    if database.engine not in ("mysql", "mariadb"):
        yield
        return
    if before is not None:
        dialect.default_schema_name = database.database
    try:
        yield
    finally:
        # It may have asked for the first time here.
        if dialect.default_schema_name is not None:
            dialect.default_schema_name = before or engine.url.database

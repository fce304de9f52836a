"""What the databases of a run start from."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import os
import sqlite3
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .database import Database
from .drivers import default_driver, is_installed
from .errors import DriverError, FreshdbError

if TYPE_CHECKING:
    from sqlalchemy import MetaData

DIALECTS = {"mysql": "mysql://", "mariadb": "mysql://", "postgres": "postgresql://", "sqlite": "sqlite://"}


@dataclass(frozen=True)
class Template:
    """A schema and what is in it: `fill` makes it in an empty database, from which it has to disconnect.

    `hash` is a text of 1 to 200 bytes that changes whenever what is filled in would; or a function that makes it of the
    engine's name.
    """

    hash: str | Callable[[str], str]
    fill: Callable[[Database], None]

    def hash_for(self, engine: str) -> str:
        return self.hash if isinstance(self.hash, str) else self.hash(engine)

    @classmethod
    def of_sql(cls, path_or_text: str | os.PathLike[str]) -> Template:
        """SQL statements: a file, a directory's `*.sql` in the order of their names, or the text itself.

        A `str` is a path when it ends with `.sql`, and otherwise the text.
        """
        text = sql_text(path_or_text)
        return cls(f"sql-{digest(text)}", lambda database: execute(database, text))

    @classmethod
    def of_metadata(cls, metadata: MetaData) -> Template:
        """The tables of SQLAlchemy's MetaData: `create_all`, done once instead of before each test."""
        return cls(
            lambda engine: f"metadata-{digest(statements(metadata, engine))}",
            lambda database: create_all(metadata, database),
        )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sql_text(path_or_text: str | os.PathLike[str]) -> str:
    if isinstance(path_or_text, str) and not path_or_text.endswith(".sql"):
        return path_or_text
    path = Path(path_or_text)
    files = sorted(path.glob("*.sql")) if path.is_dir() else [path]
    if not files:
        raise FreshdbError(f"there is no `*.sql` in `{path}`")
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def execute(database: Database, text: str) -> None:
    if database.engine == "sqlite":
        with contextlib.closing(sqlite3.connect(database.name)) as connection:
            connection.executescript(text)
    elif database.engine == "postgres":
        execute_postgres(database, text)
    else:
        execute_mysql(database, text)


def execute_mysql(database: Database, text: str) -> None:
    if not is_installed("pymysql"):
        raise DriverError(f"there is no driver to execute SQL on {database.engine} with", "install pymysql")
    pymysql = importlib.import_module("pymysql")
    flags = importlib.import_module("pymysql.constants.CLIENT")
    several = flags.MULTI_STATEMENTS
    connection = pymysql.connect(**arguments(database), client_flag=several, autocommit=True)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(text)
        while cursor.nextset():
            pass


def execute_postgres(database: Database, text: str) -> None:
    if is_installed("asyncpg"):
        asyncpg = importlib.import_module("asyncpg")

        async def run() -> None:
            connection = await asyncpg.connect(**arguments(database))
            try:
                await connection.execute(text)
            finally:
                await connection.close()

        in_own_loop(run())
    elif is_installed("psycopg"):
        psycopg = importlib.import_module("psycopg")
        values = arguments(database)
        values["dbname"] = values.pop("database")
        with contextlib.closing(psycopg.connect(**values, autocommit=True)) as connection:
            connection.execute(text)
    else:
        raise DriverError("there is no driver to execute SQL on postgres with", "install asyncpg or psycopg")


def arguments(database: Database) -> dict[str, Any]:
    return {name: getattr(database, name) for name in ("host", "port", "user", "password", "database")}


def statements(metadata: MetaData, engine: str) -> str:
    """What `create_all` would execute, in an order that is the same in every process: that of indexes is not."""
    from sqlalchemy import create_mock_engine

    found: list[str] = []

    def note(statement: Any, *parameters: Any, **named: Any) -> None:
        values = [value for value in (*parameters, named) if value]
        found.append(f"{statement.compile(dialect=mock.dialect)} {values if values else ''}")

    mock = create_mock_engine(DIALECTS[engine], note)
    metadata.create_all(mock, checkfirst=False)
    return "\n".join(sorted(found))


def create_all(metadata: MetaData, database: Database) -> None:
    url = database.sqlalchemy_url()
    if not default_driver(database.engine, database.drivers).is_async:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        engine = create_engine(url, poolclass=NullPool)
        metadata.create_all(engine)
        engine.dispose()
        return
    in_own_loop(create_all_async(metadata, url))


async def create_all_async(metadata: MetaData, url: str) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    finally:
        await engine.dispose()


def in_own_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs it in a loop and a thread of its own, so that it may be called from within any loop."""
    with ThreadPoolExecutor(1, "freshdb-template") as thread:
        thread.submit(asyncio.run, coroutine).result()

"""What the databases of a run start from."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import inspect
import os
import re
import sqlite3
import string
from collections.abc import Callable, Container, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .database import Database
from .drivers import default_driver, is_installed
from .errors import DriverError, FreshdbError
from .location import parameters_for

if TYPE_CHECKING:
    from sqlalchemy import MetaData

# What is not of one engine.
COMMON = ""

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
        """SQL statements: a file, a directory of `*.sql`, or the text itself.

        Of a directory, the files are those that `freshdb run --schema DIRECTORY` takes: whose names end with `.sql`, however that
        is capitalised, in their order, without hidden ones and `*.down.sql`. Those in a subdirectory `sqlite`, `mysql`, `mariadb`
        or `postgres` take the place of the others on this engine; MariaDB takes `mysql` where there is no `mariadb`. Each file is
        executed at once, on a connection of its own.

        A `str` is a path when it ends with `.sql` or there is such a directory, and otherwise the text.

        Raises FreshdbError when a file cannot be read, and the template does so on an engine for which a directory has no file.
        """
        texts = sql_texts(path_or_text)

        def texts_for(engine: str) -> list[str]:
            name = name_for(engine, texts)
            if not texts[name]:
                raise FreshdbError(f"there is no `*.sql` for {engine} in `{Path(path_or_text) / name}`")
            return texts[name]

        def fill(database: Database) -> None:
            for text in texts_for(database.engine):
                execute(database, text)

        def hash_for(engine: str) -> str:
            return f"sql-{digest(*texts_for(engine))}"

        return cls(hash_for(COMMON) if len(texts) == 1 else hash_for, fill)

    @classmethod
    def of_metadata(cls, metadata: MetaData) -> Template:
        """The tables of SQLAlchemy's MetaData: `create_all`, done once instead of before each test."""
        return cls(
            lambda engine: f"metadata-{digest(statements(metadata, engine))}",
            lambda database: create_all(metadata, database),
        )


def digest(*texts: str) -> str:
    # No UTF-8 has this byte in it, so that no text holds what divides two.
    return hashlib.sha256(b"\xff".join(text.encode() for text in texts)).hexdigest()


def sql_texts(path_or_text: str | os.PathLike[str]) -> dict[str, list[str]]:
    """What is executed on the engines that have something of their own, and on the others: one text after the other."""
    if isinstance(path_or_text, str) and not path_or_text.lower().endswith(".sql") and not os.path.isdir(path_or_text):
        return {COMMON: [path_or_text]}
    path = Path(path_or_text)
    if not path.is_dir():
        return {COMMON: [text_of(path)]}
    directories = {COMMON: path} | {engine: path / engine for engine in DIALECTS if (path / engine).is_dir()}
    texts = {engine: [text_of(file) for file in sql_files(directory)] for engine, directory in directories.items()}
    if not any(texts.values()):
        raise FreshdbError(f"there is no `*.sql` in `{path}`")
    return texts


def name_for(engine: str, texts: Container[str]) -> str:
    names = (engine, "mysql", COMMON) if engine == "mariadb" else (engine, COMMON)
    return next(name for name in names if name in texts)


def sql_files(directory: Path) -> list[Path]:
    """Hidden files are no part of the schema: editors keep locks and copies there, such as `.#001.sql`.

    Nor are those that take back what others do, by the custom of several tools.
    """
    try:
        found = [(file.name.lower(), file) for file in directory.iterdir() if not file.name.startswith(".")]
    except OSError as error:
        raise FreshdbError(f"the directory `{directory}` cannot be read: {error.strerror}") from error
    return sorted(file for name, file in found if name.endswith(".sql") and not name.endswith(".down.sql"))


def text_of(file: Path) -> str:
    try:
        # A text in it may have carriage returns, which `read_text` would take for ends of lines.
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FreshdbError(f"the file `{file}` is not valid UTF-8") from error
    except OSError as error:
        hint = None if file.is_absolute() else f"a relative path starts at the working directory, which is `{Path.cwd()}`"
        raise FreshdbError(f"the file `{file}` cannot be read: {error.strerror}", hint) from error


def execute(database: Database, text: str) -> None:
    # To MySQL, nothing at all is an error.
    if is_blank(text):
        return
    if database.engine == "sqlite":
        with contextlib.closing(sqlite3.connect(database.name)) as connection:
            connection.executescript(text)
    elif database.engine == "postgres":
        execute_postgres(database, text)
    else:
        execute_mysql(database, text)


def is_blank(text: str) -> bool:
    return not text.strip(f"{string.whitespace};")


def execute_mysql(database: Database, text: str) -> None:
    if not is_installed("pymysql"):
        raise DriverError(f"there is no driver to execute SQL on {database.engine} with", "install pymysql")
    pymysql = importlib.import_module("pymysql")
    flags = importlib.import_module("pymysql.constants.CLIENT")
    several = flags.MULTI_STATEMENTS
    connection = pymysql.connect(**arguments(database, "pymysql"), client_flag=several, autocommit=True)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(text)
        while cursor.nextset():
            pass


def execute_postgres(database: Database, text: str) -> None:
    # Of comments alone, asyncpg and psycopg2 fail on the answer.
    if is_blank(re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)):
        return
    if is_installed("asyncpg"):
        asyncpg = importlib.import_module("asyncpg")

        async def run() -> None:
            connection = await asyncpg.connect(**arguments(database, "asyncpg"))
            try:
                await connection.execute(text)
            finally:
                await connection.close()

        in_own_loop(run())
    elif is_installed("psycopg"):
        psycopg = importlib.import_module("psycopg")
        with contextlib.closing(psycopg.connect(**arguments_of_libpq(database), autocommit=True)) as connection:
            connection.execute(text)
    elif is_installed("psycopg2"):
        psycopg2 = importlib.import_module("psycopg2")
        with contextlib.closing(psycopg2.connect(**arguments_of_libpq(database))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
    else:
        raise DriverError("there is no driver to execute SQL on postgres with", "install asyncpg, psycopg or psycopg2")


def arguments_of_libpq(database: Database) -> dict[str, Any]:
    found = arguments(database, "psycopg")
    found["dbname"] = found.pop("database")
    return found


def arguments(database: Database, driver: str) -> dict[str, Any]:
    found = {name: getattr(database, name) for name in ("host", "port", "user", "password", "database")}
    if database.socket is not None and database.engine != "postgres":
        found["unix_socket"] = database.socket
    # The drivers have defaults for what is not there.
    return {name: value for name, value in found.items() if value is not None} | parameters_for(driver, database.parameters)


def statements(metadata: MetaData, engine: str) -> str:
    """What `create_all` would execute, and with which values."""
    from sqlalchemy import create_mock_engine
    from sqlalchemy.engine.mock import MockConnection
    from sqlalchemy.schema import AddConstraint, CreateIndex

    found: list[tuple[bool, str]] = []

    def note(statement: Any, parameters: Any = None) -> None:
        # SQLAlchemy has a table's indexes in a set: their order is another in every process, and does not matter.
        found.append((isinstance(statement, (AddConstraint, CreateIndex)), described(statement, parameters, mock.dialect)))

    class Noting(MockConnection):
        """A connection as listeners are given it. What it has of it is noted, and what it has not is told."""

        def exec_driver_sql(self, statement: str, parameters: Any = None, execution_options: Any = None) -> None:
            found.append((False, repr((statement, parameters))))

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"`{name}` of the connection, which a listener of `create_all` asks for, is not there: the hash of "
                "`Template.of_metadata` is made without a database\n"
                "hint: listeners may `execute` and `exec_driver_sql`; for all else there is `Template(hash, fill)`"
            )

    mock = Noting(create_mock_engine(DIALECTS[engine], note).dialect, note)
    metadata.create_all(mock, checkfirst=False)
    return "\n".join(text for is_set, group in groupby(found, lambda pair: pair[0]) for text in in_order(is_set, group))


def in_order(is_set: bool, group: Iterable[tuple[bool, str]]) -> list[str]:
    # That of rows decides about generated keys.
    texts = [text for _, text in group]
    return sorted(texts) if is_set else texts


def described(statement: Any, parameters: Any, dialect: Any) -> str:
    """A statement and all the values that go with it: those it is executed with, those bound in it, and those of defaults."""
    from sqlalchemy.sql.compiler import SQLCompiler

    rows = [parameters] if isinstance(parameters, Mapping) else list(parameters or ())
    # The columns of the first row are those of all. The others have their defaults.
    columns = {"column_keys": list(rows[0])} if rows and getattr(statement, "is_dml", False) else {}
    compiled = statement.compile(dialect=dialect, **columns)
    values: list[Any] = [str(compiled)]
    if isinstance(compiled, SQLCompiler):
        values += [sent(compiled, row, dialect) for row in rows or [{}]]
        values += [(column.key, value_of(column.default)) for column in compiled.insert_prefetch]
        values += [(column.key, value_of(column.onupdate)) for column in compiled.update_prefetch]
    return repr(values)


def sent(compiled: Any, row: Mapping[str, Any], dialect: Any) -> list[tuple[str, Any]]:
    """The values as the driver would be given them: what a type makes of a value may not be told by its repr."""
    found = []
    for name, value in compiled.construct_params(row).items():
        bind = compiled.binds[name]
        try:
            process = bind.type.dialect_impl(dialect).bind_processor(dialect) or (lambda same: same)
            found.append((name, [process(one) for one in value] if bind.expanding else process(value)))
        except Exception:
            # There are types that need the driver for it, which is not there. If it is the value, filling fails as well.
            found.append((name, value))
    return found


def value_of(default: Any) -> Any:
    """A default's value, or the text of the function that gives it.

    It is not called: one that gives random values or the time would make another hash in every process.
    """
    if not default.is_callable:
        return getattr(default, "arg", None)
    function = inspect.unwrap(default.arg)
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return f"{function.__module__}.{function.__qualname__}"


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

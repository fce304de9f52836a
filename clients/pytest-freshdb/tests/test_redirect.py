"""An engine of the program under test, on a test's database."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import StaticPool
from test_urls import server

from pytest_freshdb import Broker, DriverError, FreshdbError, Lease

NAMES = text("SELECT name FROM tags ORDER BY name")


@pytest.fixture
def development(tmp_path: Path) -> str:
    """A database that no test may write to."""
    path = tmp_path / "development.db"
    fill(f"sqlite:///{path}", "development")
    return str(path)


@pytest.fixture
def engine(development: str) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{development}")
    yield engine
    engine.dispose()


@pytest.fixture
def leases(broker: Broker) -> Iterator[tuple[Lease, Lease]]:
    with broker.lease() as one, broker.lease() as other:
        fill(one.sqlalchemy_url("pysqlite"), "one")
        fill(other.sqlalchemy_url("pysqlite"), "other")
        yield one, other


def fill(url: str, name: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tags (name VARCHAR(50) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO tags VALUES (:name)"), {"name": name})
    engine.dispose()


def names(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(NAMES))


def test_an_engine_is_on_the_database_until_the_end(engine: Engine, leases: tuple[Lease, Lease]) -> None:
    assert names(engine) == ["development"]
    for lease, name in zip(leases, ("one", "other"), strict=True):
        with lease.redirect(engine):
            assert names(engine) == [name]
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO tags VALUES ('written')"))
            assert names(engine) == sorted([name, "written"])
        assert names(engine) == ["development"]


def test_so_is_what_was_made_of_the_engine_before(engine: Engine, leases: tuple[Lease, Lease]) -> None:
    derived = engine.execution_options(stream_results=True)
    with leases[0].redirect(engine):
        assert names(derived) == ["one"]
    with leases[1].redirect(derived):
        assert names(engine) == ["other"]
    assert names(derived) == ["development"]


def test_the_innermost_of_several_decides(engine: Engine, leases: tuple[Lease, Lease]) -> None:
    one, other = leases
    with one.redirect(engine):
        with other.redirect(engine):
            assert names(engine) == ["other"]
        assert names(engine) == ["one"]
        # What a program does when it ends, of which there are several in a run of tests.
        engine.dispose()
        assert names(engine) == ["one"]
    assert names(engine) == ["development"]


def test_what_fails_within_ends_it_as_well(engine: Engine, leases: tuple[Lease, Lease]) -> None:
    with pytest.raises(OperationalError), leases[0].redirect(engine), engine.connect() as connection:
        connection.execute(text("SELECT nothing FROM nowhere"))
    assert names(engine) == ["development"]


def test_connections_are_closed_at_the_end_and_those_of_before_are_kept(engine: Engine, leases: tuple[Lease, Lease]) -> None:
    assert names(engine) == ["development"]
    opened: list[object] = []
    closed: list[object] = []
    event.listen(engine, "connect", lambda connection, record: opened.append(connection))
    event.listen(engine, "close", lambda connection, record: closed.append(connection))
    with leases[0].redirect(engine):
        assert names(engine) == ["one"]
    assert closed == opened
    assert len(opened) == 1
    assert names(engine) == ["development"]
    assert len(opened) == 1


def test_what_is_special_about_an_engine_stays(development: str, leases: tuple[Lease, Lease]) -> None:
    arguments = {"isolation_level": "IMMEDIATE"}
    engine = create_engine(f"sqlite:///file:{development}?mode=ro&uri=true", connect_args=arguments, poolclass=StaticPool)
    event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA foreign_keys = ON"))
    for _ in range(2):
        with leases[0].redirect(engine), engine.connect() as connection:
            assert isinstance(engine.pool, StaticPool)
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1
            assert connection.connection.dbapi_connection.isolation_level == "IMMEDIATE"  # type: ignore[union-attr]
            assert list(connection.scalars(NAMES)) == ["one"]
    engine.dispose()


def test_a_listener_that_says_where_to_connect_changes_nothing(engine: Engine, leases: tuple[Lease, Lease]) -> None:
    def say(dialect: object, record: object, arguments: list[str], parameters: dict[str, object]) -> None:
        arguments[0] = ":memory:"
        parameters |= {"uri": True, "isolation_level": "IMMEDIATE"}

    event.listen(engine, "do_connect", say)
    with leases[0].redirect(engine), engine.connect() as connection:
        assert list(connection.scalars(NAMES)) == ["one"]
        assert connection.connection.dbapi_connection.isolation_level == "IMMEDIATE"  # type: ignore[union-attr]


def test_a_listener_that_connects_is_refused(engine: Engine, leases: tuple[Lease, Lease]) -> None:
    event.listen(engine, "do_connect", lambda dialect, record, arguments, parameters: dialect.connect(*arguments, **parameters))
    assert names(engine) == ["development"]
    with leases[0].redirect(engine), pytest.raises(FreshdbError, match="a listener of the engine's own"):
        engine.connect()
    assert names(engine) == ["development"]


def test_an_engine_with_a_creator_is_refused(development: str, leases: tuple[Lease, Lease]) -> None:
    import sqlite3

    opened: list[sqlite3.Connection] = []

    def creator() -> sqlite3.Connection:
        opened.append(sqlite3.connect(development))
        return opened[-1]

    engine = create_engine("sqlite://", creator=creator)
    with leases[0].redirect(engine), pytest.raises(FreshdbError, match="a `creator`"):
        engine.connect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[-1].execute("SELECT 1")
    assert names(engine) == ["development"]
    engine.dispose()
    for connection in opened:
        connection.close()


def test_an_engine_of_another_kind_is_refused(engine: Engine) -> None:
    with pytest.raises(FreshdbError, match="an engine of sqlite cannot connect to a database of postgres"):
        server("postgres").redirect(engine).__enter__()
    mysql = create_engine("mysql+pymysql://u@h/development")
    pool = mysql.pool
    with pytest.raises(DriverError, match="passed on to pymysql"):
        server("mysql", parameters={"ssl-mode": "REQUIRED"}).redirect(mysql).__enter__()
    assert mysql.pool is pool


def test_what_is_no_engine_is_refused(engine: Engine) -> None:
    with pytest.raises(FreshdbError, match="a `sessionmaker` is no engine"):
        server("sqlite").redirect(sessionmaker(engine))  # type: ignore[arg-type]


def test_with_and_async_with_are_not_the_same(engine: Engine, development: str, leases: tuple[Lease, Lease]) -> None:
    asynchronous = create_async_engine(f"sqlite+aiosqlite:///{development}")
    with pytest.raises(FreshdbError, match="write `async with`"):
        leases[0].redirect(asynchronous).__enter__()
    with pytest.raises(FreshdbError, match="write `with`"):
        asyncio.run(leases[0].redirect(engine).__aenter__())


def test_an_async_engine_is_used_in_one_loop_after_the_other(development: str, leases: tuple[Lease, Lease]) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{development}")
    sessions = async_sessionmaker(engine)

    async def names_of(lease: Lease) -> list[str]:
        async with lease.redirect(engine):
            found = []
            for _ in range(2):
                async with sessions() as session:
                    found = list(await session.scalars(NAMES))
            return found

    assert [asyncio.run(names_of(lease)) for lease in (*leases, *leases)] == [["one"], ["other"], ["one"], ["other"]]

    async def outside() -> list[str]:
        async with sessions() as session:
            found = list(await session.scalars(NAMES))
        await engine.dispose()
        return found

    assert asyncio.run(outside()) == ["development"]


class ConnectingError(Exception):
    """With what a driver was called."""


@pytest.mark.parametrize("driver", ["aiomysql", "pymysql"])
def test_what_a_driver_is_called_with(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "charset=utf8mb4&unix_socket=/run/development.sock&ssl_ca=/ca.pem"
    url = f"mysql+{driver}://me:secret@development:3307/development?{query}"
    connect_args = {"init_command": "SET time_zone = '+00:00'", "ssl": object(), "local_infile": True}
    make = create_engine if driver == "pymysql" else create_async_engine
    engine = make(url, connect_args=connect_args)
    given = called_with(engine, "mysql", monkeypatch)
    place = {name: given.pop(name) for name in ("host", "port", "user", "password", "database", "db") if name in given}
    assert "freshdb_s_1" in (place.pop("database", None), place.pop("db", None))
    assert place == {"host": "127.0.0.1", "port": 21901, "user": "ro@ot:", "password": "p@ss:w/ö rd%"}
    given.pop("client_flag", None)
    assert given == {"charset": "utf8mb4", "init_command": "SET time_zone = '+00:00'", "local_infile": True}


def test_what_the_driver_of_postgres_is_called_with(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"ssl": "require", "server_settings": {"search_path": "app"}, "passfile": "/development"}
    engine = create_async_engine("postgresql+asyncpg://me@development/development?timeout=7", connect_args=options)
    given = called_with(engine, "postgres", monkeypatch)
    place = {name: given.pop(name) for name in ("host", "port", "user", "password", "database")}
    assert place.pop("database") == "freshdb_s_1"
    assert place == {"host": "127.0.0.1", "port": 21901, "user": "ro@ot:", "password": "p@ss:w/ö rd%"}
    assert given["server_settings"] == {"search_path": "app"}
    assert "ssl" not in given
    assert "passfile" not in given


def called_with(engine: Engine | AsyncEngine, kind: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    def connect(*arguments: object, **parameters: object) -> object:
        assert arguments == ()
        raise ConnectingError(parameters)

    synchronous = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    monkeypatch.setattr(synchronous.dialect, "connect", connect)

    async def enter() -> None:
        if isinstance(engine, AsyncEngine):
            async with server(kind).redirect(engine):
                await engine.connect()
        else:
            with server(kind).redirect(engine):
                engine.connect()

    with pytest.raises(ConnectingError) as raised:
        asyncio.run(enter())
    return dict(raised.value.args[0])


def test_the_database_that_mysql_looks_for_tables_in() -> None:
    engine = create_engine("mysql+pymysql://u@h/development")
    with server("mysql").redirect(engine):
        # The first connection asks.
        engine.dialect.default_schema_name = "freshdb_s_1"
    assert engine.dialect.default_schema_name == "development"
    with server("mysql", database="freshdb_s_2").redirect(engine):
        assert engine.dialect.default_schema_name == "freshdb_s_2"
    assert engine.dialect.default_schema_name == "development"

"""Templates of SQL text and of SQLAlchemy's metadata."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_broker import PASSWORD, FakeBroker
from sqlalchemy import (
    DDL,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    event,
    literal,
    select,
    text,
)

from pytest_freshdb import Broker, Database, DriverError, FreshdbError, Template
from pytest_freshdb.database import Url

SQL = "CREATE TABLE tags (name TEXT); INSERT INTO tags VALUES ('100%'), ('a;b');"


def metadata(length: int = 50) -> MetaData:
    made = MetaData()
    tags = Table("tags", made, Column("id", Integer, primary_key=True), Column("name", String(length), unique=True))
    Table("uses", made, Column("id", Integer, primary_key=True), Column("tag", ForeignKey(tags.c.id)), Column("at", Integer))
    for number in range(8):
        Index(f"ix_{number}", made.tables["uses"].c.at, made.tables["uses"].c.id)
    return made


def rows(path: str, select: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(select).fetchall()


def fill(broker: Broker, template: Template) -> str:
    name = template.hash_for("sqlite")
    broker.template("sqlite", name, template.fill)
    return name


def test_sql_text(broker: Broker) -> None:
    with broker.lease(template=fill(broker, Template.of_sql(SQL))) as lease:
        assert rows(lease.name, "SELECT name FROM tags") == [("100%",), ("a;b",)]


def test_sql_of_a_file_and_of_a_directory(tmp_path: Path, broker: Broker) -> None:
    (tmp_path / "2.sql").write_text("INSERT INTO tags VALUES ('ö');", encoding="utf-8")
    (tmp_path / "1.sql").write_text("CREATE TABLE tags (name TEXT);", encoding="utf-8")
    (tmp_path / "README").write_text("no SQL", encoding="utf-8")
    with broker.lease(template=fill(broker, Template.of_sql(tmp_path))) as lease:
        assert rows(lease.name, "SELECT name FROM tags") == [("ö",)]
    hashes = {Template.of_sql(tmp_path / "1.sql").hash, Template.of_sql(str(tmp_path / "1.sql")).hash}
    assert hashes == {Template.of_sql("CREATE TABLE tags (name TEXT);").hash}


def test_the_hash_of_sql_is_that_of_its_text() -> None:
    assert Template.of_sql(SQL).hash == Template.of_sql(SQL).hash != Template.of_sql(SQL + " ").hash


def test_a_directory_without_sql(tmp_path: Path) -> None:
    with pytest.raises(FreshdbError, match=r"there is no `\*\.sql` in"):
        Template.of_sql(tmp_path)


def test_a_text_that_names_a_directory_is_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "1.sql").write_text(SQL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert Template.of_sql("migrations").hash == Template.of_sql(tmp_path / "migrations").hash


def test_hidden_files_of_a_directory_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "001.sql").write_text("CREATE TABLE tags (name TEXT);", encoding="utf-8")
    before = Template.of_sql(tmp_path).hash
    # As Emacs locks a file, and macOS writes a copy.
    (tmp_path / ".#001.sql").symlink_to("user@host.123:456")
    (tmp_path / "._001.sql").write_bytes(b"\xff")
    (tmp_path / ".sql").write_text("nonsense", encoding="utf-8")
    assert Template.of_sql(tmp_path).hash == before == Template.of_sql("CREATE TABLE tags (name TEXT);").hash


def written(directory: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(content, encoding="utf-8")
    return directory


def test_a_directory_is_read_as_the_command_reads_it(tmp_path: Path, broker: Broker) -> None:
    written(
        tmp_path,
        {
            "10.SQL": "CREATE TABLE tags (name TEXT);",
            "9.sql": "INSERT INTO tags VALUES ('one');",
            "9.down.sql": "DROP TABLE tags;",
            "8.Down.SQL": "DROP TABLE tags;",
            "other/1.sql": "nonsense",
        },
    )
    with broker.lease(template=fill(broker, Template.of_sql(tmp_path))) as lease:
        assert rows(lease.name, "SELECT name FROM tags") == [("one",)]
    assert Template.of_sql(str(tmp_path / "10.SQL")).hash == Template.of_sql(tmp_path / "10.SQL").hash
    for name in ("10.SQL", "9.sql"):
        (tmp_path / name).unlink()
    with pytest.raises(FreshdbError, match=r"there is no `\*\.sql` in"):
        Template.of_sql(tmp_path)


def test_a_directory_may_have_other_files_for_an_engine(tmp_path: Path, broker: Broker) -> None:
    written(tmp_path, {"1.sql": "CREATE TABLE common (a INT);", "mysql/1.sql": "CREATE TABLE of_mysql (a INT);"})
    template = Template.of_sql(tmp_path)
    hashes = {engine: template.hash_for(engine) for engine in ("sqlite", "postgres", "mysql", "mariadb")}
    common, of_mysql = (Template.of_sql(f"CREATE TABLE {name} (a INT);").hash for name in ("common", "of_mysql"))
    assert hashes == {"sqlite": common, "postgres": common, "mysql": of_mysql, "mariadb": of_mysql}
    written(tmp_path, {"mariadb/1.sql": "CREATE TABLE of_mariadb (a INT);"})
    (tmp_path / "1.sql").unlink()
    template = Template.of_sql(tmp_path)
    assert template.hash_for("mariadb") == Template.of_sql("CREATE TABLE of_mariadb (a INT);").hash
    with pytest.raises(FreshdbError) as raised:
        fill(broker, template)
    assert str(raised.value) == f"there is no `*.sql` for sqlite in `{tmp_path}`"


def test_a_subdirectory_for_an_engine_that_has_no_files(tmp_path: Path, fake_broker: FakeBroker, broker: Broker) -> None:
    written(tmp_path, {"1.sql": SQL, "sqlite/README": "no SQL"})
    template = Template.of_sql(tmp_path)
    assert template.hash_for("postgres") == Template.of_sql(SQL).hash
    for ask in (template.hash_for, lambda engine: broker.template(engine, "h1", template.fill)):
        with pytest.raises(FreshdbError) as raised:
            ask("sqlite")
        assert str(raised.value) == f"there is no `*.sql` for sqlite in `{tmp_path}/sqlite`"
    assert fake_broker.templates == {}


def test_each_file_of_a_directory_is_executed_on_its_own(tmp_path: Path, broker: Broker) -> None:
    files = {
        "1.sql": "CREATE TABLE tags (name TEXT)",
        "2.sql": "CREATE TEMPORARY TABLE passing (a INT); INSERT INTO tags VALUES ('one') -- and no more",
        "3.sql": "\n ;\n",
        "4.sql": "CREATE TABLE passing (a INT); INSERT INTO passing VALUES (1)",
    }
    with broker.lease(template=fill(broker, Template.of_sql(written(tmp_path, files)))) as lease:
        assert rows(lease.name, "SELECT name, a FROM tags, passing") == [("one", 1)]


def test_the_hash_of_a_directory_is_that_of_each_of_its_texts(tmp_path: Path) -> None:
    divided = [["a", "b"], ["ab"], ["a\nb"], ["a\0b"], ["", "ab"], ["ab", ""], ["b", "a"]]
    hashes = []
    for number, contents in enumerate(divided):
        (tmp_path / str(number)).mkdir()
        files = {f"{place}.sql": content for place, content in enumerate(contents)}
        hashes.append(Template.of_sql(written(tmp_path / str(number), files)).hash)
    assert len(set(hashes)) == len(divided)


def test_a_file_is_read_as_it_is(tmp_path: Path, broker: Broker) -> None:
    # As editors of Windows begin one.
    (tmp_path / "1.sql").write_bytes(b"\xef\xbb\xbfCREATE TABLE tags (name TEXT);\r\nINSERT INTO tags VALUES ('a\r\nb');\r\n")
    with broker.lease(template=fill(broker, Template.of_sql(tmp_path))) as lease:
        assert rows(lease.name, "SELECT name FROM tags") == [("a\r\nb",)]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "001.sql").symlink_to("nowhere")
    with pytest.raises(FreshdbError) as raised:
        Template.of_sql(tmp_path)
    assert str(raised.value) == f"the file `{tmp_path}/001.sql` cannot be read: No such file or directory"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FreshdbError) as raised:
        Template.of_sql("db/schema.sql")
    assert str(raised.value) == (
        "the file `db/schema.sql` cannot be read: No such file or directory\n"
        f"hint: a relative path starts at the working directory, which is `{tmp_path}`"
    )
    (tmp_path / "002.sql").write_bytes(b"\xff")
    with pytest.raises(FreshdbError, match=r"the file `002\.sql` is not valid UTF-8"):
        Template.of_sql("002.sql")
    (tmp_path / "002.sql").unlink()
    (tmp_path / "002.sql").mkdir()
    (tmp_path / "001.sql").unlink()
    with pytest.raises(FreshdbError, match=r"/002\.sql` cannot be read: Is a directory"):
        Template.of_sql(tmp_path)


def test_wrong_sql_discards_the_template(fake_broker: FakeBroker, broker: Broker) -> None:
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        fill(broker, Template.of_sql("CREATE TABEL tags"))
    assert fake_broker.templates == {}


@pytest.mark.parametrize("drivers", [("aiosqlite",), ("pysqlite",)])
def test_metadata(fake_broker: FakeBroker, drivers: tuple[str, ...]) -> None:
    with Broker.from_env(drivers) as broker, broker.lease(template=fill(broker, Template.of_metadata(metadata()))) as lease:
        tables = rows(lease.name, "SELECT name FROM sqlite_master WHERE type = 'table'")
        assert sorted(tables) == [("tags",), ("uses",)]


def test_metadata_within_a_running_loop(broker: Broker) -> None:
    async def in_loop() -> str:
        return fill(broker, Template.of_metadata(metadata()))

    assert asyncio.run(in_loop()).startswith("metadata-")


def test_the_hash_of_metadata_follows_its_statements() -> None:
    one, same, other = (Template.of_metadata(metadata(length)) for length in (50, 50, 51))
    for engine in ("sqlite", "mysql", "mariadb", "postgres"):
        assert one.hash_for(engine) == same.hash_for(engine) != other.hash_for(engine)
    assert one.hash_for("mysql") != one.hash_for("postgres")
    assert len(one.hash_for("mysql").encode()) < 200


class Shout(TypeDecorator[str]):
    """A type whose values do not show in their repr what is sent."""

    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value.text


class Quiet:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return "Quiet"


def rows_of_its_own(seed: Callable[[Table, Any, str], object], value: str) -> str:
    """The hash of a table whose listener fills in what `seed` makes of the value."""
    made = MetaData()
    tags = Table(
        "tags",
        made,
        Column("id", Integer, primary_key=True),
        Column("name", String(50)),
        Column("quiet", Shout),
        Column("token", String(50), default=lambda: str(uuid.uuid4())),
        Column("kind", String(50), default=value, onupdate=value),
    )
    event.listen(tags, "after_create", lambda target, connection, **_: seed(target, connection, value))
    hashes = [Template.of_metadata(made).hash_for(engine) for engine in ("sqlite", "mysql", "postgres")]
    return " ".join(hashes)


@pytest.mark.parametrize(
    "seed",
    [
        lambda tags, connection, value: connection.execute(tags.insert(), [{"name": value, "kind": ""}]),
        lambda tags, connection, value: connection.execute(tags.insert(), {"name": value, "kind": ""}),
        lambda tags, connection, value: connection.execute(
            tags.insert(), [{"name": "", "kind": ""}, {"name": value, "kind": ""}]
        ),
        lambda tags, connection, value: connection.execute(tags.insert().values(name=value, kind="")),
        lambda tags, connection, value: connection.execute(tags.insert().values([{"name": value, "kind": ""}] * 2)),
        lambda tags, connection, value: connection.execute(tags.insert().values(name="", kind="", quiet=Quiet(value))),
        lambda tags, connection, _: connection.execute(tags.insert().values(name="the default of kind")),
        lambda tags, connection, _: connection.execute(tags.insert(), [{"name": "the default of kind"}]),
        lambda tags, connection, _: connection.execute(tags.insert().values([{"name": "the default of kind"}] * 2)),
        lambda tags, connection, _: connection.execute(tags.update().values(name="")),
        lambda tags, connection, value: connection.execute(tags.delete().where(tags.c.name.in_([value]))),
        lambda tags, connection, value: connection.execute(tags.insert().from_select(["name"], select(literal(value)))),
        lambda _, connection, value: connection.execute(text("INSERT INTO tags (name) VALUES (:n)").bindparams(n=value)),
        lambda _, connection, value: connection.execute(text("INSERT INTO tags (name) VALUES (:n)"), {"n": value}),
        lambda _, connection, value: connection.execute(text(f"INSERT INTO tags (name) VALUES ('{value}')")),
        lambda _, connection, value: connection.execute(DDL("INSERT INTO tags (name) VALUES ('%(n)s')", context={"n": value})),
        lambda _, connection, value: connection.exec_driver_sql(f"INSERT INTO tags (name) VALUES ('{value}')"),
        lambda _, connection, value: connection.exec_driver_sql("INSERT INTO tags (name) VALUES (?)", (value,)),
        lambda tags, connection, value: [
            # Of generated keys, which one a row has.
            connection.execute(tags.insert().values(name=name, kind=""))
            for name in sorted("ab", reverse=value == "a")
        ],
    ],
)
def test_the_hash_of_metadata_has_its_rows_too(seed: Callable[[Table, Any, str], object]) -> None:
    one, same, other = (rows_of_its_own(seed, value) for value in ("a", "a", "b"))
    assert one == same
    assert not set(one.split()) & set(other.split())


def test_the_hash_of_metadata_has_the_function_of_a_default() -> None:
    def seeded(default: Callable[[], object]) -> str:
        made = MetaData()
        tags = Table("tags", made, Column("id", Integer, primary_key=True, default=default), Column("name", String(50)))
        event.listen(tags, "after_create", lambda _, connection, **__: connection.execute(tags.insert().values(name="a")))
        return Template.of_metadata(made).hash_for("sqlite")

    assert seeded(uuid.uuid4) == seeded(uuid.uuid4) != seeded(uuid.uuid1)
    assert seeded(time.time) == seeded(time.time) != seeded(time.monotonic)


def test_what_a_listener_cannot_have_is_told() -> None:
    with pytest.raises(AttributeError) as raised:
        rows_of_its_own(lambda tags, connection, _: connection.connection.cursor(), "a")
    assert str(raised.value) == (
        "`connection` of the connection, which a listener of `create_all` asks for, is not there: the hash of "
        "`Template.of_metadata` is made without a database\n"
        "hint: listeners may `execute` and `exec_driver_sql`; for all else there is `Template(hash, fill)`"
    )


def test_the_hash_of_metadata_is_the_same_in_every_process() -> None:
    program = "import test_template as t; print(t.Template.of_metadata(t.metadata()).hash_for('mysql'))"
    command = [sys.executable, "-c", program]
    found = {subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, check=True).stdout for _ in range(3)}
    assert len(found) == 1


class Recorder(ModuleType):
    """A driver that notes what it is called with."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[Any] = []
        self.autocommit = False

    def connect(self, **arguments: Any) -> "Recorder":
        self.calls.append(arguments)
        return self

    def execute(self, text: str) -> None:
        self.calls.append(text)

    def close(self) -> None:
        self.calls.append("close")

    def cursor(self) -> contextlib.nullcontext["Recorder"]:
        return contextlib.nullcontext(self)

    def nextset(self) -> bool:
        return False


class AsyncRecorder(Recorder):
    async def connect(self, **arguments: Any) -> "Recorder":  # type: ignore[override]
        return super().connect(**arguments)

    async def execute(self, text: str) -> None:  # type: ignore[override]
        super().execute(text)

    async def close(self) -> None:  # type: ignore[override]
        super().close()


def on_server(
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
    driver: Recorder,
    *missing: str,
    sql: str | Path = SQL,
) -> None:
    monkeypatch.setitem(sys.modules, driver.__name__, driver)
    monkeypatch.setattr("pytest_freshdb.template.is_installed", lambda module: module not in missing)
    Template.of_sql(sql).fill(Database(engine, Url("…"), host="h", port=1, user="u", password=PASSWORD, database="freshdb_s_1"))


CONNECT = {"host": "h", "port": 1, "user": "u", "password": PASSWORD}


@pytest.mark.parametrize("engine", ["mysql", "mariadb"])
def test_sql_on_mysql(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymysql.constants import CLIENT

    driver = Recorder("pymysql")
    on_server(engine, monkeypatch, driver)
    several = {"client_flag": CLIENT.MULTI_STATEMENTS, "autocommit": True}
    assert driver.calls == [{**CONNECT, "database": "freshdb_s_1", **several}, SQL, "close"]


def test_sql_on_postgres_with_asyncpg(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = AsyncRecorder("asyncpg")
    on_server("postgres", monkeypatch, driver)
    assert driver.calls == [{**CONNECT, "database": "freshdb_s_1"}, SQL, "close"]


def test_sql_on_postgres_with_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Recorder("psycopg")
    on_server("postgres", monkeypatch, driver, "asyncpg")
    assert driver.calls == [{**CONNECT, "dbname": "freshdb_s_1", "autocommit": True}, SQL, "close"]


def test_sql_on_postgres_with_psycopg2(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Recorder("psycopg2")
    on_server("postgres", monkeypatch, driver, "asyncpg", "psycopg")
    assert driver.calls == [{**CONNECT, "dbname": "freshdb_s_1"}, SQL, "close"]
    assert driver.autocommit


def test_comments_alone_on_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = AsyncRecorder("asyncpg")
    on_server("postgres", monkeypatch, driver, sql="-- /* nothing\n/* to\n do */; -- yet")
    assert driver.calls == []


@pytest.mark.parametrize(
    ("engine", "driver", "missing"),
    [
        ("mysql", Recorder("pymysql"), []),
        ("postgres", AsyncRecorder("asyncpg"), []),
        ("postgres", Recorder("psycopg"), ["asyncpg"]),
        ("postgres", Recorder("psycopg2"), ["asyncpg", "psycopg"]),
    ],
)
def test_sql_of_a_directory_on_servers(
    engine: str, driver: Recorder, missing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"1.sql": "-- first\nSET a", "2.sql": "\n", "3.sql": "SET '/*' /* b */", "4.sql": "\n;"}
    on_server(engine, monkeypatch, driver, *missing, sql=written(tmp_path, files))
    calls = [call if isinstance(call, str) else "connect" for call in driver.calls]
    assert calls == ["connect", "-- first\nSET a", "close", "connect", "SET '/*' /* b */", "close"]


@pytest.mark.parametrize(("engine", "hint"), [("mysql", "install pymysql"), ("postgres", "install asyncpg, psycopg or psycopg2")])
def test_sql_without_a_driver(engine: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DriverError, match=rf"there is no driver to execute SQL on {engine} with\nhint: {hint}"):
        on_server(engine, monkeypatch, Recorder("none"), "pymysql", "asyncpg", "psycopg", "psycopg2")

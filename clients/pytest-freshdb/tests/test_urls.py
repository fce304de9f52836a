"""URLs in the form of SQLAlchemy, and the choice of the driver."""

import importlib.util
from urllib.parse import quote

import pytest
import sqlalchemy
from fake_broker import PASSWORD, FakeBroker

from pytest_freshdb import Broker, Database, DriverError
from pytest_freshdb.database import Url
from pytest_freshdb.drivers import check_names
from pytest_freshdb.template import arguments


def server(engine: str, **fields: object) -> Database:
    values = {"host": "127.0.0.1", "port": 21901, "user": "ro@ot:", "password": PASSWORD, "database": "freshdb_s_1", **fields}
    return Database(engine, Url(f"{engine}://…"), **values)  # type: ignore[arg-type]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The modules that are found."""
    modules: set[str] = set()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in modules else None)
    return modules


@pytest.mark.parametrize(
    ("engine", "driver", "scheme"),
    [
        ("mysql", "aiomysql", "mysql+aiomysql"),
        ("mysql", "asyncmy", "mysql+asyncmy"),
        ("mysql", "pymysql", "mysql+pymysql"),
        ("mysql", "mysqldb", "mysql+mysqldb"),
        ("mariadb", "aiomysql", "mysql+aiomysql"),
        ("mariadb", "asyncmy", "mysql+asyncmy"),
        ("mariadb", "pymysql", "mysql+pymysql"),
        ("postgres", "asyncpg", "postgresql+asyncpg"),
        ("postgres", "psycopg", "postgresql+psycopg"),
        ("postgres", "psycopg2", "postgresql+psycopg2"),
    ],
)
def test_a_url_says_what_it_was_made_of(engine: str, driver: str, scheme: str) -> None:
    text = server(engine).sqlalchemy_url(driver)
    url = sqlalchemy.make_url(text)
    assert url.drivername == scheme
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "ro@ot:",
        PASSWORD,
        "127.0.0.1",
        21901,
        "freshdb_s_1",
    )
    assert sqlalchemy.make_url(text.masked()).password == "***"


def test_pymysql_encrypts_nothing_on_the_way_to_a_private_server(installed: set[str]) -> None:
    def query(engine: str, driver: str, **fields: object) -> object:
        return sqlalchemy.make_url(server(engine, **fields).sqlalchemy_url(driver)).query

    assert query("mysql", "pymysql", is_private=True) == {}
    assert query("mariadb", "pymysql", is_private=True) == {"ssl_disabled": "true"}
    installed.add("cryptography")
    assert query("mysql", "pymysql", is_private=True) == {"ssl_disabled": "true"}
    assert query("mysql", "pymysql", is_private=True, socket="/s") == {"ssl_disabled": "true", "unix_socket": "/s"}
    assert query("mysql", "pymysql") == {}
    assert query("mysql", "aiomysql", is_private=True) == {}


def test_the_text_of_a_url() -> None:
    assert server("mysql", user="root").sqlalchemy_url("aiomysql") == (
        "mysql+aiomysql://root:p%40ss%3Aw%2F%C3%B6 rd%25@127.0.0.1:21901/freshdb_s_1"
    )


def test_an_ipv6_host() -> None:
    assert sqlalchemy.make_url(server("postgres", host="::1").sqlalchemy_url("asyncpg")).host == "::1"


@pytest.mark.parametrize("path", ["/tmp/freshdb_s_1.sqlite", "/tmp/with space/ö/a+b.sqlite"])
@pytest.mark.parametrize(("driver", "scheme"), [("aiosqlite", "sqlite+aiosqlite"), ("pysqlite", "sqlite+pysqlite")])
def test_a_file(path: str, driver: str, scheme: str) -> None:
    text = Database("sqlite", Url(f"sqlite://{path}"), path=path).sqlalchemy_url(driver)
    assert text.startswith(f"{scheme}:////tmp/")
    assert sqlalchemy.make_url(text).database == path


def test_a_lease_has_the_url_of_its_parts(fake_servers: FakeBroker) -> None:
    with Broker.from_env(drivers=["asyncmy"], environ=fake_servers.environ) as broker, broker.lease("mysql") as lease:
        assert lease.url == f"mysql://root:{quote(PASSWORD, safe='')}@127.0.0.1:21901/freshdb_s_1"
        assert lease.sqlalchemy_url().startswith("mysql+asyncmy://root:p%40ss")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mysql://root:pass@h:1/d", "mysql://root:***@h:1/d"),
        ("mysql://root@h:1/d", "mysql://root@h:1/d"),
        ("sqlite:///tmp/a:b@c", "sqlite:///tmp/a:b@c"),
        ("sqlite+aiosqlite:////tmp/a", "sqlite+aiosqlite:////tmp/a"),
        ("postgres://h:1/d?user=u&password=pass", "postgres://h:1/d?user=u&password=***"),
        ("postgres:///d?PASSWORD=pass&host=%2Frun", "postgres:///d?PASSWORD=***&host=%2Frun"),
        ("postgres:///d?pass%77ord=pass", "postgres:///d?pass%77ord=***"),
        ("postgres://u:pass@h/d?sslpassword=pass&passfile=/f", "postgres://u:***@h/d?sslpassword=***&passfile=/f"),
        ("mysql://root:p:a@ss@h/d?passwd=a=b&x", "mysql://root:***@h/d?passwd=***&x"),
        ("mysql://root:pass@[::1/d", "mysql://root:***@[::1/d"),
    ],
)
def test_what_is_shown_of_a_url(text: str, masked: str) -> None:
    assert repr(Url(text)) == repr(masked)
    assert str(Url(text)) == text


def leased(url: str, **fields: object) -> Database:
    """As the broker's answer has it: what is there of the URL before its parameters."""
    engine = "postgres" if url.startswith("postgres") else "mysql"
    return Database(engine, **Database.fields_of({"url": url, "database": "d", **fields}))


SOCKET = "/run/my sql/d.sock"
BY_SOCKET = {"url": f"mysql://root:s%40@localhost/d?socket={quote(SOCKET, safe='')}"}
OF_MYSQL = {"host": "localhost", "port": 3306, "user": "root", "password": "s@"}


@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy", "pymysql", "mysqldb"])
def test_a_socket_of_mysql(driver: str) -> None:
    database = leased(**BY_SOCKET, **OF_MYSQL)  # type: ignore[arg-type]
    assert (database.host, database.port, database.socket) == (None, None, SOCKET)
    url = sqlalchemy.make_url(database.sqlalchemy_url(driver))
    assert (url.username, url.password, url.host, url.port, url.database) == ("root", "s@", None, None, "d")
    assert url.query == {"unix_socket": SOCKET}
    assert arguments(database, driver) == {"user": "root", "password": "s@", "database": "d", "unix_socket": SOCKET}


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("postgres:///d?host=/run/Pg&port=5433&user=u&password=s%40", {"port": 5432, "user": "", "password": ""}),
        ("postgres://u:s%40@%2Frun%2FPg:5433/d", {"host": "/run/Pg", "port": 5433, "user": "u", "password": "s@"}),
        (
            "postgresql://x:y@h/d?host=/run/Pg&port=5433&user=u&password=s%40",
            {"host": "h", "port": 1, "user": "x", "password": "y"},
        ),
    ],
)
def test_a_socket_of_postgres(url: str, fields: dict[str, object], driver: str) -> None:
    database = leased(url, **fields)
    assert (database.host, database.port, database.socket) == ("/run/Pg", 5433, "/run/Pg")
    made = sqlalchemy.make_url(database.sqlalchemy_url(driver))
    assert (made.username, made.password, made.host, made.port, made.database) == ("u", "s@", None, None, "d")
    assert made.query == {"host": "/run/Pg", "port": "5433"}
    assert arguments(database, driver) == {"host": "/run/Pg", "port": 5433, "user": "u", "password": "s@", "database": "d"}


def test_parameters_decide_over_what_stands_before_them() -> None:
    database = leased("postgres://x:y@h:1/d?host=other&port=2&user=u&password=s", host="h", port=1, user="x", password="y")
    assert database.sqlalchemy_url("asyncpg") == "postgresql+asyncpg://u:s@other:2/d"
    assert database.socket is None


@pytest.mark.parametrize(
    ("url", "driver", "query"),
    [
        ("postgres://h/d?sslmode=verify-full&sslrootcert=%2Fca", "psycopg", {"sslmode": "verify-full", "sslrootcert": "/ca"}),
        ("postgres://h/d?ssl-mode=require", "psycopg", {"sslmode": "require"}),
        ("postgres://h/d?ssl-mode=require", "psycopg2", {"sslmode": "require"}),
        ("postgres://h/d?ssl-mode=require&application_name=x", "asyncpg", {"ssl": "require"}),
        ("postgres://h/d?sslmode=require&sslrootcert=%2Fca", "asyncpg", "sslrootcert"),
        ("postgres://h/d?options=-c%20x%3D1", "asyncpg", "options"),
        ("mysql://h/d?ssl-mode=PREFERRED&charset=utf8mb4&timezone=x", "aiomysql", {}),
        ("mysql://h/d?ssl-mode=REQUIRED", "aiomysql", "ssl-mode"),
        ("mysql://h/d?ssl-ca=%2Fca", "pymysql", "ssl-ca"),
        ("mysql://h/d?unheard=of", "asyncmy", "unheard"),
    ],
)
def test_what_else_a_url_says_is_passed_on_or_refused(url: str, driver: str, query: dict[str, str] | str) -> None:
    database = leased(url, host="h", port=1, user="u", password="s")
    if isinstance(query, dict):
        assert sqlalchemy.make_url(database.sqlalchemy_url(driver)).query == query
        assert arguments(database, driver).items() >= query.items()
        return
    for refused in (database.sqlalchemy_url, lambda driver: arguments(database, driver)):
        with pytest.raises(DriverError) as raised:
            refused(driver)
        assert str(raised.value) == (
            f"the parameter `{query}` of the server's URL cannot be passed on to {driver}\n"
            "hint: make the driver's own arguments out of the lease's `url`, or leave the parameter out of the server's URL"
        )


def test_the_first_that_is_installed_is_the_default(installed: set[str]) -> None:
    installed.update(["asyncmy", "pymysql", "psycopg", "aiosqlite", "sqlite3"])
    assert server("mysql").sqlalchemy_url().startswith("mysql+asyncmy://")
    assert server("postgres").sqlalchemy_url().startswith("postgresql+psycopg://")
    installed.update(["aiomysql", "asyncpg"])
    assert server("mariadb").sqlalchemy_url().startswith("mysql+aiomysql://")
    assert server("postgres").sqlalchemy_url().startswith("postgresql+asyncpg://")


def test_the_preferred_is_the_default() -> None:
    assert server("mysql", drivers=["asyncpg", "pymysql", "asyncmy"]).sqlalchemy_url().startswith("mysql+pymysql://")


@pytest.mark.parametrize(
    ("there", "advice"),
    [
        ("psycopg2", ", or name another in the ini option `freshdb_drivers`"),
        ("pymysql", "; if your tests are synchronous, set the ini option `freshdb_drivers = pymysql`, which is installed"),
    ],
)
def test_no_async_driver_is_installed(installed: set[str], there: str, advice: str) -> None:
    installed.add(there)
    with pytest.raises(DriverError) as raised:
        server("mysql").sqlalchemy_url()
    assert str(raised.value) == f"no async driver for mysql is installed\nhint: install aiomysql or asyncmy{advice}"


def test_a_driver_of_another_engine() -> None:
    with pytest.raises(DriverError) as raised:
        server("mysql").sqlalchemy_url("asyncpg")
    assert str(raised.value) == "`asyncpg` is not a driver for mysql\nhint: one of `aiomysql`, `asyncmy`, `pymysql`, `mysqldb`"


def test_an_unknown_driver() -> None:
    with pytest.raises(DriverError, match="`mysqlconnector` of the ini option `freshdb_drivers` is not known"):
        check_names(["aiomysql", "mysqlconnector"])

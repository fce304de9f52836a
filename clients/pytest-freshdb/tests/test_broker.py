"""The client, against a broker in this process."""

import os
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from fake_broker import PASSWORD, TOKEN, FakeBroker

from pytest_freshdb import Broker, BrokerError, Database, FreshdbError, LeaseLostError, NoBrokerError


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_a_lease_is_taken_and_given_back(fake_broker: FakeBroker, over: str) -> None:
    environ = fake_broker.environ
    if over == "tcp":
        del environ["FRESHDB_BROKER"]
    with Broker.from_env(environ=environ) as broker:
        with broker.lease(note="a test") as lease:
            assert lease.engine == "sqlite"
            assert lease.path is not None
            assert lease.url == f"sqlite://{lease.path}"
            assert lease.name == lease.path
            assert lease.connections == 8
            assert list(fake_broker.leases) == [lease.id]
        assert fake_broker.leases == {}
        assert fake_broker.notes == ["a test"]
    assert fake_broker.opened == 1


def test_all_goes_over_one_connection(fake_broker: FakeBroker, broker: Broker) -> None:
    first, second = broker.lease(), broker.lease()
    assert broker.engines() == ["sqlite"]
    second.give_back()
    first.give_back()
    broker.lease().give_back()
    assert fake_broker.opened == 1


def test_giving_back_twice_is_giving_back_once(fake_broker: FakeBroker, broker: Broker) -> None:
    lease = broker.lease()
    lease.give_back(keep=True)
    lease.give_back()
    assert fake_broker.kept == [lease.id]
    assert [request for request in fake_broker.requests if request.startswith("DELETE")] == ["DELETE /v1/leases/1?keep=true"]


def test_leases_end_with_the_connection(fake_broker: FakeBroker, broker: Broker) -> None:
    broker.lease()
    broker.close()
    fake_broker.wait_until(lambda: not fake_broker.leases)


def test_a_server_is_told_in_parts(fake_servers: FakeBroker) -> None:
    with Broker.from_env(environ=fake_servers.environ) as broker, broker.lease("mariadb") as lease:
        assert (lease.host, lease.port, lease.user, lease.password) == ("127.0.0.1", 21902, "root", PASSWORD)
        assert lease.database == lease.name == "freshdb_s_1"
        assert lease.path is None


@pytest.mark.parametrize("character", ["n", "é", "試", "🦀"])
def test_a_long_note_is_cut_to_what_the_broker_takes(fake_broker: FakeBroker, broker: Broker, character: str) -> None:
    broker.lease(note=character * 100_000)
    assert fake_broker.notes == [character * (1000 // len(character.encode()))]


def test_what_is_no_character_is_not_sent(fake_broker: FakeBroker, broker: Broker) -> None:
    lease = broker.lease(note="test_a[\udc80]")
    lease.tell_failure("ValueError: \udc80")
    assert fake_broker.notes == ["test_a[?]"]
    assert fake_broker.outcomes == {"1": "failed: ValueError: ?"}


def test_secrets_are_not_shown(fake_servers: FakeBroker) -> None:
    broker = Broker.from_env(environ=fake_servers.environ)
    lease = broker.lease("mysql")
    shown = [repr(broker), repr(broker._channel.address), repr(lease), repr(lease.url), repr(lease.sqlalchemy_url())]
    fake_servers.close()
    with pytest.raises(LeaseLostError) as lost:
        lease.give_back()
    with pytest.raises(NoBrokerError) as gone:
        broker.lease("mysql")
    shown += [str(lost.value), repr(lost.value), str(gone.value), repr(gone.value)]
    for text in shown:
        assert TOKEN not in text
        assert "p%40ss" not in text
        assert PASSWORD not in text
    assert repr(lease) == "<Lease mysql://root:***@127.0.0.1:21901/freshdb_s_1>"


def test_secrets_among_the_parameters_are_not_shown() -> None:
    answer = {"url": f"postgres://localhost:1/d?user=u&password={PASSWORD}", "host": "localhost", "port": 1, "database": "d"}
    database = Database("postgres", **Database.fields_of(answer))
    assert repr(database) == "<Database postgres://localhost:1/d?user=u&password=***>"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "there is no broker: neither `FRESHDB_BROKER` nor `FRESHDB_BROKER_URL` is set\nhint: run under freshdb: "),
        ({"FRESHDB_BROKER": "/b.sock"}, "`FRESHDB_BROKER_TOKEN` is not set\nhint: run under freshdb: "),
        ({"FRESHDB_BROKER": "/b.sock", "FRESHDB_BROKER_TOKEN": "se\r\ncret"}, "`FRESHDB_BROKER_TOKEN` is no token"),
        ({"FRESHDB_BROKER": "/b.sock", "FRESHDB_BROKER_TOKEN": "sécret"}, "`FRESHDB_BROKER_TOKEN` is no token"),
        ({"FRESHDB_BROKER_URL": "nonsense", "FRESHDB_BROKER_TOKEN": "t"}, "`FRESHDB_BROKER_URL` is not of the form"),
        ({"FRESHDB_BROKER_URL": "http://h:x", "FRESHDB_BROKER_TOKEN": "t"}, "`FRESHDB_BROKER_URL` is not of the form"),
    ],
)
def test_variables_that_are_missing_or_wrong(environ: dict[str, str], message: str) -> None:
    with pytest.raises(NoBrokerError) as raised:
        Broker.from_env(environ=environ)
    assert str(raised.value).startswith(message)
    assert "cret" not in str(raised.value)


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    environ = {"FRESHDB_BROKER": str(tmp_path / "none.sock"), "FRESHDB_BROKER_TOKEN": "t"}
    with pytest.raises(NoBrokerError, match=r"none.sock` cannot be connected to: .*\nhint: it ends with the `freshdb run`"):
        Broker.from_env(environ=environ).lease()


def test_a_wrong_token(fake_broker: FakeBroker) -> None:
    with (
        Broker.from_env(environ={**fake_broker.environ, "FRESHDB_BROKER_TOKEN": "other"}) as broker,
        pytest.raises(BrokerError) as raised,
    ):
        broker.lease()
    assert raised.value.status == 401
    assert str(raised.value) == "the token is missing or wrong\nhint: `FRESHDB_BROKER_TOKEN` is that of another broker"


def test_an_error_has_its_hint(fake_broker: FakeBroker, broker: Broker) -> None:
    fake_broker.refusal = (503, {"error": "no database became free", "hint": "raise the limit"})
    with pytest.raises(BrokerError) as raised:
        broker.lease()
    assert raised.value.status == 503
    assert str(raised.value) == "no database became free\nhint: raise the limit"
    fake_broker.refusal = None
    broker.lease()
    assert fake_broker.opened == 1


def test_an_unknown_engine(broker: Broker) -> None:
    with pytest.raises(BrokerError, match="there is no postgres here"):
        broker.lease("postgres")


def test_a_lost_connection_names_the_leases(fake_broker: FakeBroker, broker: Broker) -> None:
    first = broker.lease(note="tests/test_a.py::test_one")
    second = broker.lease()
    fake_broker.drop_connections()
    with pytest.raises(LeaseLostError) as raised:
        broker.lease()
    assert "lease 1 of sqlite (`tests/test_a.py::test_one`), lease 2 of sqlite\nhint: " in str(raised.value)
    for lease in (first, second):
        with pytest.raises(LeaseLostError, match=f"lease {lease.id} ended early"):
            lease.give_back()
    broker.lease().give_back()
    assert fake_broker.opened == 2


def test_a_lost_connection_is_found_by_giving_back(fake_broker: FakeBroker, broker: Broker) -> None:
    lease = broker.lease()
    fake_broker.drop_connections()
    with pytest.raises(LeaseLostError, match="and with it lease 1"):
        lease.give_back()


def test_a_connection_without_leases_is_opened_again(fake_broker: FakeBroker, broker: Broker) -> None:
    broker.lease().give_back()
    fake_broker.drop_connections()
    broker.lease().give_back()
    assert fake_broker.opened == 2


def test_a_broker_that_answers_nothing(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "b.sock"))
        listener.listen()
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        environ = {"FRESHDB_BROKER": str(tmp_path / "b.sock"), "FRESHDB_BROKER_TOKEN": "t"}
        with pytest.raises(NoBrokerError, match="does not answer"):
            Broker.from_env(environ=environ).lease()
        thread.join()


def test_a_template_is_filled_once(fake_broker: FakeBroker, broker: Broker) -> None:
    filled: list[Database] = []

    def fill(database: Database) -> None:
        filled.append(database)
        with sqlite3.connect(database.name) as connection:
            connection.execute("CREATE TABLE tags (name TEXT)")
        connection.close()

    for _ in range(2):
        broker.template("sqlite", "h1", fill)
    assert len(filled) == 1
    with broker.lease(template="h1") as lease:
        connection = sqlite3.connect(lease.name)
        assert connection.execute("SELECT count(*) FROM tags").fetchone() == (0,)
        connection.close()


def test_a_hash_may_be_any_text(fake_servers: FakeBroker) -> None:
    with Broker.from_env(environ=fake_servers.environ) as broker:
        broker.template("mysql", "ä/b?c d%", lambda database: None)
        broker.lease("mysql", template="ä/b?c d%").give_back()


def test_a_fill_that_raises_discards_the_template(fake_broker: FakeBroker, broker: Broker) -> None:
    def fail(database: Database) -> None:
        raise ZeroDivisionError("in fill")

    with pytest.raises(ZeroDivisionError, match="in fill"):
        broker.template("sqlite", "h1", fail)
    assert fake_broker.requests[-1] == "DELETE /v1/templates/sqlite/h1"
    assert fake_broker.templates == {}
    broker.template("sqlite", "h1", lambda database: None)


def test_a_fill_that_nobody_awaits_discards_the_template(fake_broker: FakeBroker, broker: Broker) -> None:
    async def fill(database: Database) -> None: ...

    with pytest.raises(FreshdbError, match="the sqlite template `h1` was not filled: what fills it is asynchronous\nhint: "):
        broker.template("sqlite", "h1", fill)  # type: ignore[arg-type]
    assert fake_broker.templates == {}


def test_a_template_that_is_lost_while_it_is_filled(fake_broker: FakeBroker, broker: Broker) -> None:
    with pytest.raises(LeaseLostError, match="and with it the sqlite template `h1`"):
        broker.template("sqlite", "h1", lambda database: fake_broker.drop_connections())
    fake_broker.wait_until(lambda: not fake_broker.templates)


def test_a_fill_that_raises_when_the_broker_is_gone(fake_broker: FakeBroker, broker: Broker) -> None:
    def fail(database: Database) -> None:
        fake_broker.close()
        raise ZeroDivisionError

    with (
        pytest.warns(UserWarning, match="the sqlite template `h1` could not be discarded"),
        pytest.raises(ZeroDivisionError),
    ):
        broker.template("sqlite", "h1", fail)


def in_threads(*functions: object) -> None:
    failures: list[BaseException] = []

    def run(function: object) -> None:
        try:
            function()  # type: ignore[operator]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert failures == []


def test_threads_share_the_connection(fake_broker: FakeBroker, broker: Broker) -> None:
    seen: list[str] = []

    def lease_many() -> None:
        for _ in range(50):
            with broker.lease() as lease:
                seen.append(lease.id)

    in_threads(lease_many, lease_many)
    assert len(set(seen)) == 100
    assert fake_broker.leases == {}


def test_who_waits_for_a_lease_does_not_hold_up_who_gives_one_back(fake_broker: FakeBroker, broker: Broker) -> None:
    fake_broker.limit = 1
    lease = broker.lease()

    def give_back() -> None:
        fake_broker.wait_until(lambda: fake_broker.requests.count("POST /v1/leases") == 2)
        lease.give_back()

    in_threads(lambda: broker.lease().give_back(), give_back)
    assert fake_broker.leases == {}
    assert fake_broker.opened == 2


def test_threads_that_want_the_same_template(fake_broker: FakeBroker, broker: Broker) -> None:
    filled: list[Database] = []

    def fill(database: Database) -> None:
        filled.append(database)
        time.sleep(0.05)

    in_threads(*[lambda: broker.template("sqlite", "h1", fill)] * 3)
    assert len(filled) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_the_leases_to_the_parent(fake_broker: FakeBroker, broker: Broker) -> None:
    lease = broker.lease()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                lease.give_back()
            except FreshdbError as error:
                told = str(error)
            own = broker.lease()
            os.write(writer, f"{told}, {own.id}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1000).decode() == f"lease 1 belongs to process {os.getpid()}: only that gives it back, 2"
    os.close(reader)
    os.close(writer)
    fake_broker.wait_until(lambda: list(fake_broker.leases) == ["1"])
    lease.give_back()
    assert fake_broker.leases == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_does_not_wait_for_what_another_thread_fills(broker: Broker) -> None:
    is_filling, has_forked = threading.Event(), threading.Event()

    def fill(database: Database) -> None:
        is_filling.set()
        has_forked.wait(20)

    thread = threading.Thread(target=broker.template, args=("sqlite", "h1", fill))
    thread.start()
    assert is_filling.wait(20)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)
            broker.template("sqlite", "h2", lambda database: None)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    has_forked.set()
    thread.join(20)
    assert not thread.is_alive()

"""What goes over a connection to the broker, byte by byte."""

import socket
import threading
from collections.abc import Iterator

import pytest

from pytest_freshdb.connection import HEAD_LENGTH, Address, Connection
from pytest_freshdb.errors import BrokerError

STATUS = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"state": 42}'


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the broker's end of it."""
    near, far = socket.socketpair()
    connection = Connection(Address("a-token", path="/broker.sock"), near)
    with far:
        far.settimeout(10)
        yield connection, far
    connection.close()


def ask(connection: Connection) -> dict[str, object]:
    return connection.exchange("GET", "/v1/status", None, 10)


def test_what_is_sent(ends: tuple[Connection, socket.socket]) -> None:
    connection, broker = ends
    broker.sendall(STATUS)
    assert ask(connection) == {"state": 42}
    broker.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert connection.exchange("PUT", "/v1/leases/1/outcome", {"outcome": "failed"}, 10) == {}
    assert broker.recv(4096).decode().split("\r\n") == [
        "GET /v1/status HTTP/1.1",
        "Host: localhost",
        "Authorization: Bearer a-token",
        "",
        "PUT /v1/leases/1/outcome HTTP/1.1",
        "Host: localhost",
        "Authorization: Bearer a-token",
        "Content-Type: application/json",
        "Content-Length: 21",
        "",
        '{"outcome": "failed"}',
    ]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (Address("t", host="127.0.0.1", port=8080), "127.0.0.1:8080"),
        (Address("t", host="::1", port=8080), "[::1]:8080"),
        (Address("t", path="/broker.sock"), "localhost"),
    ],
)
def test_the_host_that_is_named(address: Address, host: str) -> None:
    assert address.host_and_port == host


def test_an_answer_in_pieces(ends: tuple[Connection, socket.socket]) -> None:
    connection, broker = ends

    def send() -> None:
        broker.recv(4096)
        for byte in STATUS:
            broker.sendall(bytes([byte]))

    thread = threading.Thread(target=send)
    thread.start()
    assert ask(connection) == {"state": 42}
    thread.join()


def test_an_answer_of_a_megabyte(ends: tuple[Connection, socket.socket]) -> None:
    connection, broker = ends
    content = b'{"changes": "%s"}' % (b"x" * (1 << 20))
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)
    thread = threading.Thread(target=broker.sendall, args=(answer,))
    thread.start()
    assert len(str(ask(connection)["changes"])) == 1 << 20
    thread.join()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "the broker closed it"),
        (STATUS[:10], "the broker closed it"),
        (STATUS[:-1], "the broker closed it"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", r"it does not speak HTTP/1.1, but says b'SSH-2.0-OpenSSH_9.2'"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "it does not speak HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "its answer has no length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its answer has no length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "its answer has no length"),
        (STATUS + b"HTTP/1.1 ", "its answer goes on after its end"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LENGTH, "its answer has no end of headers"),
    ],
)
def test_an_answer_that_is_none(ends: tuple[Connection, socket.socket], answer: bytes, message: str) -> None:
    connection, broker = ends
    broker.sendall(answer)
    broker.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError, match=message):
        ask(connection)
    # What comes later is no answer to the next request.
    with pytest.raises(ConnectionError, match="an earlier request went wrong"):
        ask(connection)


def test_an_answer_that_does_not_come(ends: tuple[Connection, socket.socket]) -> None:
    connection, _ = ends
    with pytest.raises(TimeoutError):
        connection.exchange("GET", "/v1/status", None, 0.01)
    with pytest.raises(ConnectionError, match="an earlier request went wrong"):
        ask(connection)


def test_who_is_interrupted_is_not_told_of_an_earlier_request(
    ends: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, broker = ends

    def interrupted(opened: socket.socket) -> bytes:
        raise KeyboardInterrupt

    broker.sendall(STATUS)
    with monkeypatch.context() as patched:
        patched.setattr("pytest_freshdb.connection.receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ask(connection)
    with pytest.raises(ConnectionError, match="an earlier request went wrong"):
        ask(connection)


@pytest.mark.parametrize("spelled", [b"connection: close", b"Connection:Close"])
def test_a_broker_that_says_goodbye(ends: tuple[Connection, socket.socket], spelled: bytes) -> None:
    connection, broker = ends
    broker.sendall(STATUS.replace(b"\r\n\r\n", b"\r\n" + spelled + b"\r\n\r\n"))
    assert ask(connection) == {"state": 42}
    with pytest.raises(ConnectionError, match="the broker closed it"):
        ask(connection)


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b'{"error": "no database became free", "hint": "run fewer"}', "no database became free", "run fewer"),
        (b'{"error": "no database became free"}', "no database became free", None),
        (b"no JSON", "the broker answered 503", None),
        (b"", "the broker answered 503", None),
    ],
)
def test_a_refusal(ends: tuple[Connection, socket.socket], content: bytes, message: str, hint: str | None) -> None:
    connection, broker = ends
    broker.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
    with pytest.raises(BrokerError) as refused:
        ask(connection)
    assert (refused.value.status, refused.value.message, refused.value.hint) == (503, message, hint)
    # It says nothing against the connection.
    broker.sendall(STATUS)
    assert ask(connection) == {"state": 42}

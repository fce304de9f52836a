"""A broker for tests: docs/broker.md over SQLite files, and over servers that nobody connects to.

`python fake_broker.py COMMAND…` runs a command with it, as `freshdb run --sqlite -- COMMAND…` would.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

PASSWORD = "p@ss:w/ö rd%"
TOKEN = "a-secret-token"


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class FakeBroker:
    def __init__(self, directory: Path, engines: tuple[str, ...] = ("sqlite",)) -> None:
        self.directory = directory
        self.engines = engines
        self.changed = threading.Condition()
        self.leases: dict[str, dict[str, Any]] = {}
        self.templates: dict[tuple[str, str], str] = {}
        self.requests: list[str] = []
        self.notes: list[str | None] = []
        self.kept: list[str] = []
        self.private = False
        self.outcomes: dict[str, str] = {}
        self.changes: str | None = None
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.limit = 1000
        self.next_id = 1
        self.sockets: set[socket.socket] = set()
        self.opened = 0
        self.path = str(directory / "broker.sock")
        handler = type("BoundHandler", (Handler,), {"broker": self})
        self.servers = [UnixServer(self.path, handler), ThreadingHTTPServer(("127.0.0.1", 0), handler)]
        self.url = f"http://127.0.0.1:{self.servers[1].server_address[1]}"
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def environ(self) -> dict[str, str]:
        return {"FRESHDB_BROKER": self.path, "FRESHDB_BROKER_URL": self.url, "FRESHDB_BROKER_TOKEN": TOKEN}

    def drop_connections(self) -> None:
        for connection in list(self.sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.drop_connections()

    def wait_until(self, condition: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 10), "waited for 10 s"

    def database(self, engine: str, name: str) -> dict[str, Any]:
        if engine == "sqlite":
            path = str(self.directory / f"{name}.sqlite")
            return {"url": f"sqlite://{path}", "path": path, "connections": 8}
        port = 21901 + self.engines.index(engine)
        return {
            "url": f"{engine}://root:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/{name}",
            "host": "127.0.0.1",
            "port": port,
            "user": "root",
            "password": PASSWORD,
            "database": name,
            "connections": 8,
        }


class Handler(BaseHTTPRequestHandler):
    broker: FakeBroker
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.wfile = self.connection.makefile("wb")
        self.broker.sockets.add(self.connection)
        self.broker.opened += 1

    def finish(self) -> None:
        broker = self.broker
        with broker.changed:
            broker.sockets.discard(self.connection)
            broker.leases = {id: lease for id, lease in broker.leases.items() if lease["owner"] is not self}
            for key in [key for key, state in broker.templates.items() if state is self]:
                del broker.templates[key]
            broker.changed.notify_all()
        with contextlib.suppress(OSError):
            super().finish()

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.handle_request()

    def do_POST(self) -> None:
        self.handle_request()

    def do_PUT(self) -> None:
        self.handle_request()

    def do_DELETE(self) -> None:
        self.handle_request()

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        status, value = self.answer(body)
        content = b"" if value is None else json.dumps(value).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        broker = self.broker
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"error": "the token is missing or wrong"}
        parts = urlsplit(self.path)
        words = [unquote(word) for word in parts.path.split("/")[2:]]
        with broker.changed:
            broker.requests.append(f"{self.command} {self.path}")
            broker.changed.notify_all()
            if broker.refusal is not None:
                return broker.refusal
            if (self.command, words) == ("GET", ["status"]):
                engines = [{"engine": engine} for engine in broker.engines]
                return 200, {"engines": engines, "leases": [{"id": id} for id in broker.leases]}
            if (self.command, words) == ("POST", ["leases"]):
                return self.take(body)
            if (self.command, words[0]) == ("DELETE", "leases"):
                query = parse_qs(parts.query)
                broker.outcomes.setdefault(words[1], query.get("outcome", [""])[0])
                return self.give_back(words[1], "keep" in query)
            if (self.command, words[2:]) == ("PUT", ["outcome"]):
                return self.tell_outcome(words[1], body)
            if (self.command, words) == ("POST", ["templates"]):
                return self.open_template(body["engine"], body["hash"])
            return self.end_template((words[1], words[2]))

    def take(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        broker = self.broker
        engine = body.get("engine", broker.engines[0])
        if len(body.get("note", "").encode("utf-8", "surrogatepass")) > 1000:
            return 400, {"error": "`note` has more than 1000 bytes"}
        if engine not in broker.engines:
            return 400, {"error": f"there is no {engine} here"}
        template = body.get("template")
        if template is not None and broker.templates.get((engine, template)) != "ready":
            return 409, {"error": "the template is not ready"}
        if not broker.changed.wait_for(lambda: len(broker.leases) < broker.limit, 10):
            return 503, {"error": "no database became free"}
        id, broker.next_id = str(broker.next_id), broker.next_id + 1
        database = broker.database(engine, f"freshdb_s_{id}")
        if engine == "sqlite":
            self.copy(template, database["path"])
        broker.leases[id] = {"owner": self, **database}
        broker.notes.append(body.get("note"))
        return 201, {"id": id, "engine": engine, "private": broker.private, "waited_ms": 0.2, **database}

    def copy(self, template: str | None, path: str) -> None:
        if template is None:
            Path(path).touch()
        else:
            shutil.copy(self.broker.database("sqlite", template)["path"], path)

    def give_back(self, id: str, keep: bool) -> tuple[int, dict[str, Any] | None]:
        broker = self.broker
        lease = broker.leases.pop(id, None)
        broker.changed.notify_all()
        if lease is None:
            return 404, {"error": f"there is no lease {id}"}
        if keep:
            broker.kept.append(id)
        elif "path" in lease:
            os.unlink(lease["path"])
        return 204, None

    def tell_outcome(self, id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        broker = self.broker
        if id not in broker.leases:
            return 404, {"error": f"there is no lease {id}"}
        broker.outcomes[id] = f"{body['outcome']}: {body['failure']}"
        return 200, {"changes": broker.changes}

    def open_template(self, engine: str, hash: str) -> tuple[int, dict[str, Any]]:
        broker = self.broker
        key = (engine, hash)
        broker.changed.wait_for(lambda: broker.templates.get(key, "ready") == "ready", 10)
        if key in broker.templates:
            return 200, {"state": "ready"}
        broker.templates[key] = self
        database = broker.database(engine, hash)
        if engine == "sqlite":
            Path(database["path"]).write_bytes(b"")
        return 201, {"state": "empty", **database}

    def end_template(self, key: tuple[str, str]) -> tuple[int, dict[str, Any] | None]:
        broker = self.broker
        if broker.templates.get(key) is not self:
            return 404, {"error": "there is no such template"}
        if self.command == "PUT":
            broker.templates[key] = "ready"
        else:
            del broker.templates[key]
        broker.changed.notify_all()
        return 204, None


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        broker = FakeBroker(Path(directory))
        command = subprocess.run(sys.argv[1:], env={**os.environ, **broker.environ}, check=False)
        broker.close()
    sys.exit(command.returncode)

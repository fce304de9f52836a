from collections.abc import Iterator
from pathlib import Path

# pytester forgets what a run imports, and these do not bear being imported twice.
import fastapi  # noqa: F401
import pytest
import sqlalchemy.ext.asyncio  # noqa: F401
from fake_broker import FakeBroker

from pytest_freshdb import Broker

pytest_plugins = ["pytester"]


@pytest.fixture
def fake_broker(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBroker]:
    """A broker of SQLite, in the environment."""
    broker = FakeBroker(tmp_path_factory.mktemp("broker"))
    for name, value in broker.environ.items():
        monkeypatch.setenv(name, value)
    yield broker
    broker.close()


@pytest.fixture
def fake_servers(tmp_path: Path) -> Iterator[FakeBroker]:
    """A broker of servers, which nobody can connect to."""
    broker = FakeBroker(tmp_path, ("mysql", "mariadb", "postgres"))
    yield broker
    broker.close()


@pytest.fixture
def broker(fake_broker: FakeBroker) -> Iterator[Broker]:
    with Broker.from_env() as broker:
        yield broker

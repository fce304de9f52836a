"""No dependency is overridden: the service uses its own engine, which each test has on its database."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from tags_service.app import create_app
from tags_service.database import Base, engine

from pytest_freshdb import Lease, Template


@pytest.fixture(scope="session")
def freshdb_schema() -> Template:
    return Template.of_metadata(Base.metadata)


# The service's own databases. They need not be there.
URLS = {
    "mysql": "mysql+aiomysql://service@localhost/tags",
    "mariadb": "mysql+aiomysql://service@localhost/tags",
    "postgres": "postgresql+asyncpg://service@localhost/tags",
    "sqlite": "sqlite+aiosqlite:///development.db",
}


@pytest.fixture(scope="session")
def app(freshdb_engine_name: str) -> Iterator[FastAPI]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", URLS[freshdb_engine_name])
        yield create_app()


@pytest_asyncio.fixture
async def client(app: FastAPI, freshdb_lease: Lease) -> AsyncIterator[AsyncClient]:
    transport = ASGITransport(app)
    async with freshdb_lease.redirect(engine()), AsyncClient(transport=transport, base_url="http://test") as client:
        yield client

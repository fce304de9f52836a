"""The way it was done before: one database for each worker, and in it create_all and drop_all around each test.

DATABASE_URL is that of the first worker; the others add their name to the name of the database.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tags_service.app import create_app
from tags_service.database import Base, get_session


@pytest.fixture(scope="session")
def app() -> FastAPI:
    return create_app()


async def execute(url: URL, statement: str) -> None:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def database_url() -> Iterator[URL]:
    url = make_url(os.environ["DATABASE_URL"])
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    if worker == "gw0":
        yield url
        return
    own = url.set(database=f"{url.database}_{worker}")
    if url.get_backend_name() == "sqlite":
        yield own
        return
    asyncio.run(execute(url, f"DROP DATABASE IF EXISTS {own.database}"))
    asyncio.run(execute(url, f"CREATE DATABASE {own.database}"))
    yield own
    asyncio.run(execute(url, f"DROP DATABASE {own.database}"))


@pytest_asyncio.fixture
async def client(app: FastAPI, database_url: URL) -> AsyncIterator[AsyncClient]:
    engine = create_async_engine(database_url)
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def session_of_test() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.dependency_overrides[get_session] = session_of_test
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        yield client
    app.dependency_overrides.clear()
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await engine.dispose()

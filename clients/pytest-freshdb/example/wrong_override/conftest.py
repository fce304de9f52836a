"""The mistake: `get_db` is overridden, but the routes depend on `get_session`."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tags_service.app import create_app
from tags_service.database import Base, get_db

from pytest_freshdb import Template


@pytest.fixture(scope="session")
def freshdb_schema() -> Template:
    return Template.of_metadata(Base.metadata)


@pytest.fixture(scope="session")
def app() -> FastAPI:
    return create_app()


@pytest_asyncio.fixture
async def client(app: FastAPI, freshdb_url: str) -> AsyncIterator[AsyncClient]:
    engine = create_async_engine(freshdb_url)
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def session_of_test() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    app.dependency_overrides[get_db] = session_of_test
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        yield client
    app.dependency_overrides.clear()
    await engine.dispose()

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from tags_service.app import create_app
from tags_service.database import Base, get_session

from pytest_freshdb import Template


@pytest.fixture(scope="session")
def freshdb_schema() -> Template:
    return Template.of_metadata(Base.metadata)


@pytest.fixture(scope="session")
def app() -> FastAPI:
    return create_app()


@pytest_asyncio.fixture
async def client(app: FastAPI, freshdb_url: str, freshdb_override: Callable[..., None]) -> AsyncIterator[AsyncClient]:
    engine = create_async_engine(freshdb_url)
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def session_of_test() -> AsyncIterator[AsyncSession]:
        async with sessions() as session:
            yield session

    freshdb_override(app, get_session, session_of_test)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        yield client
    await engine.dispose()

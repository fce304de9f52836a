"""One engine, in an event loop after the other, and in each test on another database."""

import pytest
from httpx import AsyncClient
from sqlalchemy import inspect
from tags_service.database import engine

from pytest_freshdb import Lease


@pytest.mark.parametrize("name", ["Rust", "Python", "größe", "🦀"])
async def test_a_tag_is_stored(client: AsyncClient, name: str) -> None:
    assert (await client.get("/api/tag")).json() == []
    for status in (201, 409):
        assert (await client.post("/api/tag", json={"name": name})).status_code == status
    assert [tag["name"] for tag in (await client.get("/api/tag")).json()] == [name]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("_", range(3))
async def test_tables_are_those_of_this_tests_database(freshdb_lease: Lease, _: int) -> None:
    async with engine().connect() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["tags"]
        if freshdb_lease.engine in ("mysql", "mariadb"):
            assert connection.dialect.default_schema_name == freshdb_lease.database

"""A client of IntegreSQL, as it is published, on freshdb's broker: `freshdb run --postgres -- pytest clients/integresql`."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pymysql
import pytest
from integresql_client_python import DBInfo, IntegreSQL, errors

SCHEMA = ["CREATE TABLE tags (name VARCHAR(20) NOT NULL)", "INSERT INTO tags VALUES ('seed')"]


def is_postgres() -> bool:
    return "FRESHDB_POSTGRES_URL" in os.environ


def run(info: DBInfo, *statements: str) -> list[tuple[object, ...]]:
    """The rows of the last statement."""
    if is_postgres():
        return asyncio.run(run_on_postgres(info, *statements))
    connection = pymysql.connect(
        host=info.host, port=info.port, user=info.user, password=info.password, database=info.name, autocommit=True
    )
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


async def run_on_postgres(info: DBInfo, *statements: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(
        host=info.host, port=info.port, user=info.user, password=info.password, database=info.name
    )
    try:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            rows = [tuple(row) for row in await connection.fetch(statement)]
        return rows
    finally:
        await connection.close()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[IntegreSQL]:
    """Of a template that nobody else has."""
    (tmp_path / "001.sql").write_text(str(uuid.uuid4()))
    client = IntegreSQL([tmp_path])
    yield client
    client.close()


def make_template(client: IntegreSQL) -> None:
    with client.get_template().initialize() as info:
        run(info, *SCHEMA)


def test_a_template_is_initialized_once(client: IntegreSQL) -> None:
    make_template(client)
    template = client.get_template().initialize()
    assert template.dbinfo is None, "somebody else has built it"


def test_databases_are_pristine_and_each_its_own(client: IntegreSQL) -> None:
    make_template(client)
    template = client.get_template()
    databases = [template.get_database().open() for _ in range(3)]
    assert len({info.name for info in databases}) == 3
    assert len({info.db_id for info in databases}) == 3
    for info in databases:
        assert run(info, "SELECT name FROM tags") == [("seed",)]
        run(info, "INSERT INTO tags VALUES ('another')")


def test_a_database_that_was_given_back_is_pristine(client: IntegreSQL) -> None:
    make_template(client)
    template = client.get_template()
    for _ in range(10):
        database = template.get_database()
        info = database.open()
        assert run(info, "SELECT name FROM tags") == [("seed",)]
        run(info, "DELETE FROM tags")
        database.mark_unmodified(info)


def test_more_databases_than_there_are(client: IntegreSQL) -> None:
    make_template(client)
    template = client.get_template()
    for _ in range(80):
        with template.get_database() as info:
            assert run(info, "SELECT name FROM tags") == [("seed",)]
            run(info, "DELETE FROM tags")


def test_what_is_not_there(client: IntegreSQL) -> None:
    template = client.get_template()
    with pytest.raises(errors.TemplateNotFound):
        template.finalize()
    with pytest.raises(errors.TemplateNotFound):
        template.get_database().open()
    with pytest.raises(errors.TemplateNotFound):
        template.discard()
    make_template(client)
    with pytest.raises(errors.TemplateNotFound):
        template.get_database().mark_unmodified(1000)


def test_a_template_that_is_discarded_can_be_made_again(client: IntegreSQL) -> None:
    make_template(client)
    client.get_template().discard()
    with pytest.raises(errors.TemplateNotFound):
        client.get_template().get_database().open()
    make_template(client)
    assert run(client.get_template().get_database().open(), "SELECT name FROM tags") == [("seed",)]


def test_all_can_be_forgotten(client: IntegreSQL) -> None:
    make_template(client)
    client.reset_all_tracking()
    with pytest.raises(errors.TemplateNotFound):
        client.get_template().get_database().open()

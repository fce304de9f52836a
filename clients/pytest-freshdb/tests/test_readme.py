"""What README.md shows."""

import re
import shutil
from pathlib import Path

import pytest
from fake_broker import FakeBroker

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_smallest_test(pytester: pytest.Pytester, fake_broker: FakeBroker) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(blocks("python")[0])
    pytester.runpytest().assert_outcomes(passed=1)


def test_a_test_case(pytester: pytest.Pytester, fake_broker: FakeBroker) -> None:
    test = "    def test_a(self): assert self.url"
    pytester.makepyfile(f"import unittest\nimport pytest\n\n{blocks('python')[1]}\n{test}")
    pytester.runpytest("-p", "no:asyncio").assert_outcomes(passed=1)
    assert fake_broker.leases == {}


def test_a_database_that_tests_share(pytester: pytest.Pytester, fake_broker: FakeBroker) -> None:
    tests = "def test_a(shared_lease): ...\ndef test_b(shared_lease, freshdb_lease): ..."
    pytester.makepyfile(f"import pytest\n\n{blocks('python')[2]}\n{tests}")
    pytester.runpytest("-p", "no:asyncio").assert_outcomes(passed=2)
    assert fake_broker.leases == {}


def test_a_database_that_tests_share_where_directories_have_schemas(pytester: pytest.Pytester, fake_broker: FakeBroker) -> None:
    for name in ("a", "b"):
        directory = pytester.mkdir(name)
        schema = f"@pytest.fixture(scope='session')\ndef freshdb_schema(): return Template({name!r}, lambda database: None)"
        imports = "import pytest\nfrom pytest_freshdb import Template"
        (directory / "conftest.py").write_text(f"{imports}\n\n{schema}\n\n{blocks('python')[3]}", encoding="utf-8")
        (directory / f"test_{name}.py").write_text("def test_a(shared_lease): ...", encoding="utf-8")
    pytester.runpytest("-p", "no:asyncio").assert_outcomes(passed=2)
    assert set(fake_broker.templates) == {("sqlite", "a"), ("sqlite", "b")}
    assert fake_broker.leases == {}


def test_the_engine_that_an_app_has(pytester: pytest.Pytester, fake_broker: FakeBroker) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    package = pytester.mkpydir("app")
    engine = (
        "from sqlalchemy.ext.asyncio import create_async_engine\nengine = create_async_engine('sqlite+aiosqlite:////nowhere')"
    )
    (package / "database.py").write_text(engine, encoding="utf-8")
    test = """
async def store():
    async with app.database.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE tags (name VARCHAR(50))"))

async def test_a(): await store()
async def test_b(): await store()
"""
    imports = "import app.database\nimport pytest_asyncio\nfrom sqlalchemy import text"
    pytester.makepyfile(f"{imports}\n\n{blocks('python')[5]}\n{test}")
    pytester.runpytest().assert_outcomes(passed=2)
    assert fake_broker.leases == {}


@pytest.mark.usefixtures("fake_broker")
def test_the_wrong_override(pytester: pytest.Pytester) -> None:
    shutil.copytree(ROOT / "example", pytester.path, dirs_exist_ok=True)
    result = pytester.runpytest_subprocess("wrong_override")
    result.assert_outcomes(failed=1)
    shown = [line.removeprefix("E").strip() for line in result.outlines]
    (told,) = [block for block in blocks("text") if block.startswith("OverrideError")]
    for line in told.splitlines():
        assert line.strip().removeprefix("OverrideError: ") in [
            text.removeprefix("pytest_freshdb.errors.OverrideError: ") for text in shown
        ]
    assert not (pytester.path / "development.db").exists()

"""The fixtures and options, in test runs of their own."""

import re
import textwrap

import pytest
from fake_broker import PASSWORD, TOKEN, FakeBroker

SCHEMA = """
    import pytest
    from pytest_freshdb import Template

    @pytest.fixture(scope="session")
    def freshdb_schema():
        return Template.of_sql("CREATE TABLE tags (name TEXT)")
"""

TAGS = """
    import contextlib, sqlite3
    import pytest

    @pytest.mark.parametrize("number", range(20))
    def test_tags(freshdb_lease, number):
        with contextlib.closing(sqlite3.connect(freshdb_lease.path)) as connection:
            assert connection.execute("SELECT count(*) FROM tags").fetchone() == (0,)
            connection.execute("INSERT INTO tags VALUES ('a')")
            connection.commit()
"""

ASYNC = """
    import asyncio
    import pytest, pytest_asyncio
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    loops = []

    @pytest_asyncio.fixture
    async def engine(freshdb_url):
        engine = create_async_engine(freshdb_url)
        yield engine
        await engine.dispose()

    @pytest.mark.asyncio
    @pytest.mark.parametrize("number", range(5))
    async def test_tags(engine, number):
        loops.append(asyncio.get_running_loop())
        async with engine.begin() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM tags"))).scalar() == 0
            await connection.execute(text("INSERT INTO tags VALUES ('a')"))

    def test_each_had_a_loop_of_its_own():
        assert len(set(map(id, loops))) == 5
"""


@pytest.fixture
def runs(pytester: pytest.Pytester, fake_broker: FakeBroker) -> pytest.Pytester:
    """Test runs that find the broker."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def test_each_test_has_a_database(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(SCHEMA)
    path = runs.makepyfile(TAGS)
    runs.runpytest().assert_outcomes(passed=20)
    assert fake_broker.notes == [f"{path.name}::test_tags[{number}]" for number in range(20)]
    assert fake_broker.leases == {}
    assert fake_broker.kept == []
    assert fake_broker.opened == 1
    assert len([request for request in fake_broker.requests if request.startswith("PUT /v1/templates/sqlite/sql-")]) == 1


def test_workers_share_the_template(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(SCHEMA)
    runs.makepyfile(TAGS)
    runs.runpytest_subprocess("-n", "2").assert_outcomes(passed=20)
    assert len(set(fake_broker.notes)) == 20
    assert fake_broker.leases == {}
    assert fake_broker.opened == 2
    assert len([request for request in fake_broker.requests if request.startswith("PUT")]) == 1


def test_each_async_test_has_a_loop_and_an_engine(runs: pytest.Pytester) -> None:
    runs.makeconftest(SCHEMA)
    runs.makepyfile(ASYNC)
    runs.runpytest("-W", "error").assert_outcomes(passed=6)


def test_the_schema_of_the_command_line(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makepyfile(
        """
        def test_url(freshdb_url, freshdb_lease, freshdb_template):
            assert freshdb_url == f"sqlite+aiosqlite:///{freshdb_lease.path}"
            assert freshdb_template is None
        """
    )
    runs.runpytest().assert_outcomes(passed=1)
    assert fake_broker.templates == {}


FAILING = """
    import pytest

    def test_passes(freshdb_lease):
        pass

    def test_fails(freshdb_lease):
        assert False

    @pytest.fixture
    def broken(freshdb_lease):
        raise ValueError("broken")

    def test_is_not_set_up(broken):
        pass

    def test_fails_without_a_database():
        assert False
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_what_failed_is_kept(runs: pytest.Pytester, fake_broker: FakeBroker, workers: list[str]) -> None:
    runs.makepyfile(FAILING)
    result = runs.runpytest_subprocess("--freshdb-keep-failed", *workers)
    result.assert_outcomes(passed=1, failed=2, errors=1)
    of_failed = {str(number + 1) for number, note in enumerate(fake_broker.notes) if not str(note).endswith("::test_passes")}
    assert len(of_failed) == 2
    assert set(fake_broker.kept) == of_failed
    shown = result.stdout.re_match_lines_random if workers else result.stdout.re_match_lines
    shown([r"-+ freshdb -+", rf"kept: sqlite://.*/freshdb_s_[{''.join(sorted(of_failed))}]\.sqlite"])
    assert len(re.findall(r"^kept: ", result.stdout.str(), re.MULTILINE)) == 2


def test_how_each_test_ended_is_told(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makepyfile(
        """
        import pytest

        def test_passes(freshdb_lease): pass
        def test_fails(freshdb_lease): assert "what it is" == "what it should be"
        def test_skips(freshdb_lease): pytest.skip("not today")
        """
    )
    fake_broker.changes = "tags: 2 inserted; table x: dropped"
    result = runs.runpytest()
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    outcomes = list(fake_broker.outcomes.values())
    assert (outcomes[0], outcomes[2]) == ("passed", "skipped")
    assert outcomes[1].startswith("failed: AssertionError: assert 'what it is' == 'what it should be'")
    result.stdout.fnmatch_lines(
        ["*- freshdb -*", "what it did to its database: tags: 2 inserted; table x: dropped", "`freshdb diff` shows the rows"]
    )


def test_a_subtest_that_is_skipped_does_not_skip_its_test(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makepyfile(
        """
        import unittest
        import pytest

        def test_of_pytest(freshdb_lease, subtests):
            with subtests.test("one"):
                pytest.skip("not today")

        class TestOfUnittest(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def leased(self, freshdb_lease): pass

            def test_part(self):
                with self.subTest("one"):
                    self.skipTest("not today")

            def test_whole(self):
                self.skipTest("not today")
        """
    )
    runs.runpytest()
    assert list(fake_broker.outcomes.values()) == ["passed", "passed", "skipped"]


ENDS_BADLY = """
    import pytest

    @pytest.fixture(scope="module")
    def of_the_module():
        yield
        assert False, "the module's"

    @pytest.fixture
    def before():
        yield
        assert False, "the one before"

    @pytest.fixture
    def after(freshdb_lease):
        yield
        assert False, "the one after"

    @pytest.fixture
    def skips(freshdb_lease):
        yield
        pytest.skip("not today")

    @pytest.fixture
    def broken(freshdb_lease):
        assert False, "broken"

    def test_after(after): pass
    def test_before(before, freshdb_lease): pass
    def test_both(after): assert False, "the test"
    def test_is_not_set_up(before, broken): pass
    def test_skips(skips): pass
    @pytest.mark.xfail
    def test_is_expected(after): pass
    def test_passes(freshdb_lease): pass
    def test_is_the_last(of_the_module, freshdb_lease): pass
"""


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_a_fixture_that_ends_badly_is_told(runs: pytest.Pytester, fake_broker: FakeBroker, workers: list[str]) -> None:
    runs.makepyfile(ENDS_BADLY)
    fake_broker.changes = "tags: 2 inserted"
    result = runs.runpytest_subprocess("--freshdb-keep-failed", *workers)
    result.assert_outcomes(passed=5, failed=1, errors=6, skipped=1, xfailed=1, xpassed=1)
    names = [str(note).partition("::")[2] for note in fake_broker.notes]
    told = dict(zip(names, [outcome.partition("\n")[0] for outcome in fake_broker.outcomes.values()], strict=True))
    assert told == {
        "test_after": "failed: AssertionError: the one after",
        "test_before": "failed: AssertionError: the one before",
        "test_both": "failed: AssertionError: the test",
        "test_is_not_set_up": "failed: AssertionError: broken",
        "test_skips": "skipped",
        "test_is_expected": "skipped",
        "test_passes": "passed",
        "test_is_the_last": "failed: AssertionError: the module's",
    }
    assert fake_broker.kept == ["1", "2", "3", "4", "8"]
    assert fake_broker.leases == {}
    assert result.stdout.str().count("what it did to its database: tags: 2 inserted") == 5
    assert len(re.findall(r"^kept: ", result.stdout.str(), re.MULTILINE)) == 5


def test_what_cannot_be_given_back_after_a_failure_is_told_with_it(runs: pytest.Pytester) -> None:
    runs.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken(freshdb_lease, freshdb_broker):
            yield
            freshdb_broker.close()
            assert False, "the reason"

        def test_a(broken): pass
        """
    )
    result = runs.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the reason*", "lease 1 ended early: *"])


@pytest.mark.parametrize("interruption", ["raise KeyboardInterrupt", "pytest.exit('enough')"])
@pytest.mark.parametrize(("place", "outcome"), [("before", ""), ("test", ""), ("after", "passed")])
def test_an_interrupted_run_gives_back(
    runs: pytest.Pytester, fake_broker: FakeBroker, place: str, outcome: str, interruption: str
) -> None:
    runs.makepyfile(
        f"""
        import pytest

        def interrupt(place):
            if place == {place!r}:
                {interruption}

        @pytest.fixture
        def interrupted(freshdb_lease):
            interrupt("before")
            yield
            interrupt("after")

        def test_a(interrupted, subtests):
            # Has a report, which is not that of the test.
            with subtests.test("one"):
                pass
            interrupt("test")
        """
    )
    result = runs.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert fake_broker.outcomes == {"1": outcome}
    assert fake_broker.leases == {}


# As pytest-rerunfailures does it.
RUN_AGAIN = """
    from _pytest.runner import runtestprotocol

    def pytest_runtest_protocol(item, nextitem):
        for attempt in range(2):
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            if not any(report.failed for report in reports):
                break
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        return True
"""


def test_what_is_run_again_is_told_anew(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(RUN_AGAIN)
    runs.makepyfile(
        """
        import pytest

        attempts = []

        def test_passes_at_last(freshdb_lease):
            attempts.append(freshdb_lease)
            assert len(attempts) == 2

        @pytest.fixture
        def broken():
            attempts.append("broken")
            assert len(attempts) == 4

        def test_is_set_up_at_last(broken, freshdb_lease):
            pytest.skip("not today")
        """
    )
    runs.runpytest("--freshdb-keep-failed").assert_outcomes(passed=1, skipped=1)
    assert {id: told.split(":")[0] for id, told in fake_broker.outcomes.items()} == {"1": "failed", "2": "passed", "3": "skipped"}
    assert fake_broker.kept == ["1"]


# As pytest-retry does it, which has a report made of the first attempt and of the last teardown.
RETRY = """
    import pytest

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        retries = 2 if call.when == "call" else 0
        while call.excinfo is not None and retries > 0:
            retries -= 1
            other = pytest.Class.from_parent(item.session, name="other")
            teardown = pytest.CallInfo.from_call(
                lambda: item.ihook.pytest_runtest_teardown(item=item, nextitem=other), "teardown"
            )
            if teardown.excinfo is not None:
                break
            item._initrequest()
            pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_setup(item=item), "setup")
            call = pytest.CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), "call")
            last = pytest.TestReport.from_item_and_call(item, call)
            report.outcome, report.longrepr = last.outcome, last.longrepr
        return report
"""


def test_what_is_retried_gives_back_before(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(RETRY)
    runs.makepyfile(
        """
        attempts = []

        def test_passes_at_last(freshdb_lease):
            attempts.append(freshdb_lease)
            assert len(attempts) == 3
        """
    )
    runs.runpytest("--freshdb-keep-failed").assert_outcomes(passed=1)
    leases = [request.partition("?")[0] for request in fake_broker.requests if "/leases" in request]
    assert leases == [
        "POST /v1/leases",
        "PUT /v1/leases/1/outcome",
        "DELETE /v1/leases/1",
        "POST /v1/leases",
        "DELETE /v1/leases/2",
        "POST /v1/leases",
        "DELETE /v1/leases/3",
    ]
    assert {id: told.split(":")[0] for id, told in fake_broker.outcomes.items()} == {"1": "failed", "2": "", "3": "passed"}
    assert fake_broker.kept == ["1"]


def test_a_retry_that_ends_badly_gives_back(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(RETRY)
    runs.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken():
            yield
            assert False, "broken"

        def test_fails(broken, freshdb_lease):
            assert False

        def test_passes(freshdb_broker):
            assert freshdb_broker.status()["leases"] == []
        """
    )
    # Of the second teardown pytest's own logging would fail, for which pytest-retry has a remedy.
    runs.runpytest("-p", "no:logging").assert_outcomes(passed=1, failed=1)
    assert fake_broker.leases == {}


def test_an_attempt_that_has_no_database_is_not_told_of_the_one_before(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(RUN_AGAIN)
    runs.makepyfile(
        """
        import pytest

        attempts = []

        @pytest.fixture
        def broken():
            attempts.append("broken")
            assert len(attempts) == 1

        def test_fails(broken, freshdb_lease):
            assert False
        """
    )
    result = runs.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.no_fnmatch_line("*what it did to its database*")


def test_a_broker_that_is_gone_does_not_hide_why_a_test_failed(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest("import pytest\n\n@pytest.fixture\ndef fake_broker(): pass")
    runs.makepyfile("def test_fails(freshdb_lease, freshdb_broker):\n    freshdb_broker.close()\n    assert 'the reason' == ''")
    result = runs.runpytest()
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*assert 'the reason' == ''*", "what it did to its database is not written down: *"])


def test_what_failed_is_given_back_without_the_option(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makepyfile(FAILING)
    result = runs.runpytest()
    result.assert_outcomes(passed=1, failed=2, errors=1)
    assert fake_broker.kept == []
    assert fake_broker.leases == {}
    result.stdout.no_fnmatch_line("*kept: *")


def test_without_a_broker(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FRESHDB_BROKER", "FRESHDB_BROKER_URL", "FRESHDB_BROKER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile("def test_a(freshdb_lease): pass\ndef test_b(freshdb_url): pass\ndef test_c(): pass")
    result = pytester.runpytest("-p", "no:asyncio")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "there is no broker: neither `FRESHDB_BROKER` nor `FRESHDB_BROKER_URL` is set",
            "hint: run under freshdb: `freshdb run --mysql -- pytest`",
        ],
        consecutive=True,
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert result.stdout.str().count("\nthere is no broker: ") == 2  # Once for each test.


def test_a_broker_that_dies_in_the_middle(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(
        """
        import pytest

        @pytest.fixture
        def die(freshdb_lease, pytestconfig):
            return pytestconfig.die
        """
    )
    runs.makepyfile(
        """
        def test_before(freshdb_lease): pass
        def test_during(die): die()
        def test_after(freshdb_lease): pass
        """
    )

    class Dies:
        def pytest_configure(self, config: pytest.Config) -> None:
            config.die = fake_broker.close  # type: ignore[attr-defined]

    result = runs.inline_run("-q", plugins=[Dies()])
    reports = {(report.nodeid.split("::")[1], report.when): report for report in result.getreports("pytest_runtest_logreport")}
    assert reports["test_before", "teardown"].passed
    assert reports["test_during", "call"].passed
    lost = reports["test_during", "teardown"].longreprtext
    assert re.search(r"the connection to the broker was lost \(.*\), and with it lease 2 of sqlite \(`.*::test_during`\)", lost)
    assert "Traceback" not in lost
    gone = reports["test_after", "setup"].longreprtext
    assert "broker.sock` cannot be connected to: " in gone


def test_a_refusal_has_its_hint(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    fake_broker.refusal = (503, {"error": "no database became free in a minute", "hint": "3 are with `test_a`"})
    runs.makepyfile("def test_a(freshdb_lease): pass")
    result = runs.runpytest("--freshdb-engine", "sqlite")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["no database became free in a minute", "hint: 3 are with `test_a`"],
        consecutive=True,
    )


@pytest.fixture
def server_runs(pytester: pytest.Pytester, fake_servers: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Test runs that find a broker of three servers."""
    for name, value in fake_servers.environ.items():
        monkeypatch.setenv(name, value)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nfreshdb_drivers = asyncmy\n")
    return pytester


def test_the_engine_has_to_be_chosen_of_several(server_runs: pytest.Pytester) -> None:
    server_runs.makepyfile("def test_a(freshdb_lease): pass")
    result = server_runs.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "which engine is meant is unclear: the broker has mysql, mariadb, postgres",
            "hint: choose with `--freshdb-engine`",
        ],
        consecutive=True,
    )


def test_the_engine_and_the_driver_are_chosen(server_runs: pytest.Pytester) -> None:
    server_runs.makepyfile(
        f"""
        import sqlalchemy

        def test_url(freshdb_url, freshdb_engine_name):
            assert freshdb_engine_name == "mariadb"
            url = sqlalchemy.make_url(freshdb_url)
            assert (url.drivername, url.port, url.password) == ("mysql+asyncmy", 21902, {PASSWORD!r})
        """
    )
    server_runs.runpytest("--freshdb-engine", "mariadb").assert_outcomes(passed=1)


def test_a_suite_may_run_on_several_engines(server_runs: pytest.Pytester, fake_servers: FakeBroker) -> None:
    server_runs.makeconftest(
        """
        import pytest
        from pytest_freshdb import Template

        @pytest.fixture(scope="session", params=["mysql", "postgres"])
        def freshdb_engine_name(request):
            return request.param

        @pytest.fixture(scope="session")
        def freshdb_schema():
            return Template(lambda engine: f"of {engine}", lambda database: None)
        """
    )
    server_runs.makepyfile("def test_a(freshdb_lease): pass\ndef test_b(freshdb_lease): pass")
    server_runs.runpytest().assert_outcomes(passed=4)
    assert set(fake_servers.templates) == {("mysql", "of mysql"), ("postgres", "of postgres")}


def written_in_directories(runs: pytest.Pytester, override: str, test: str) -> None:
    """`override` and `test` in the directories `a` and `b`, with the directory's name for `NAME`."""
    for name in ("a", "b"):
        directory = runs.mkdir(name)
        for file, content in {"conftest.py": override, f"test_{name}.py": test}.items():
            (directory / file).write_text(textwrap.dedent(content).replace("NAME", name), encoding="utf-8")


SCHEMA_OF_ITS_OWN = SCHEMA.replace("TABLE tags", "TABLE of_NAME")


def test_directories_may_have_schemas_of_their_own(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    tables = """
        import contextlib, sqlite3

        def test_tables(freshdb_lease):
            with contextlib.closing(sqlite3.connect(freshdb_lease.path)) as connection:
                assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("of_NAME",)]

        def test_again(freshdb_lease):
            test_tables(freshdb_lease)
    """
    written_in_directories(runs, SCHEMA_OF_ITS_OWN, tables)
    runs.runpytest().assert_outcomes(passed=4)
    # Once for each, and not for each test.
    assert len([request for request in fake_broker.requests if request == "POST /v1/templates"]) == 2


def test_directories_may_have_engines_of_their_own(server_runs: pytest.Pytester, fake_servers: FakeBroker) -> None:
    server_runs.makeconftest(
        """
        import pytest
        from pytest_freshdb import Template

        made = []

        @pytest.fixture(scope="session")
        def freshdb_schema():
            return Template(lambda engine: made.append(engine) or f"{len(made)} of {engine}", lambda database: None)
        """
    )
    engine = """
        import pytest

        @pytest.fixture(scope="session")
        def freshdb_engine_name():
            return {"a": "mysql", "b": "postgres"}["NAME"]
    """
    written_in_directories(server_runs, engine, "def test_one(freshdb_lease): pass\ndef test_two(freshdb_lease): pass")
    server_runs.runpytest().assert_outcomes(passed=4)
    assert set(fake_servers.templates) == {("mysql", "1 of mysql"), ("postgres", "2 of postgres")}


def test_the_template_of_another_directory_is_told(runs: pytest.Pytester) -> None:
    written_in_directories(
        runs,
        SCHEMA_OF_ITS_OWN
        + """
    @pytest.fixture(scope="module")
    def shared_lease(freshdb_broker, freshdb_engine_name, freshdb_template):
        with freshdb_broker.lease(freshdb_engine_name, freshdb_template) as lease:
            yield lease
""",
        "def test_NAME(shared_lease): pass\ndef test_other(freshdb_lease): pass",
    )
    result = runs.runpytest()
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_b*",
            "`freshdb_template` is of another directory's `freshdb_schema` or `freshdb_engine_name`: pytest makes it once",
            "hint: take `freshdb_schema` instead, and have its template made by `freshdb_broker.template`",
        ]
    )


def test_an_unknown_driver_is_told(server_runs: pytest.Pytester) -> None:
    server_runs.makepyfile("def test_a(freshdb_lease): pass")
    result = server_runs.runpytest("-o", "freshdb_drivers=mysqlconnector")
    result.stdout.fnmatch_lines(["`mysqlconnector` of the ini option `freshdb_drivers` is not known"])


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ("mysql", "  until `freshdb` ends, with which its server does: of one that FRESHDB_MYSQL_URL names, it stays"),
        ("postgres", "  until `freshdb` ends, with which its server does: of one that FRESHDB_POSTGRES_URL names, it stays"),
    ],
)
def test_what_is_kept_of_a_private_server_ends_with_it(
    server_runs: pytest.Pytester, fake_servers: FakeBroker, engine: str, told: str
) -> None:
    fake_servers.private = True
    server_runs.makepyfile("def test_a(freshdb_lease): assert False")
    result = server_runs.runpytest("--freshdb-engine", engine, "--freshdb-keep-failed")
    result.stdout.re_match_lines([rf"kept: {engine}://root:\*\*\*@.*/freshdb_s_1$", f"{told}$"], consecutive=True)


def test_what_is_kept_of_a_private_directory_ends_with_it(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    fake_broker.private = True
    runs.makepyfile("def test_a(freshdb_lease): assert False")
    result = runs.runpytest("--freshdb-keep-failed")
    told = "  until `freshdb` ends, with which its server does$"
    result.stdout.re_match_lines([r"kept: sqlite://.*\.sqlite$", told], consecutive=True)


def test_a_failure_shows_no_secrets(server_runs: pytest.Pytester) -> None:
    server_runs.makepyfile(
        "def test_a(freshdb_url, freshdb_lease, freshdb_broker):\n    local = freshdb_url\n    assert not local"
    )
    result = server_runs.runpytest("--freshdb-engine", "mysql", "--freshdb-keep-failed", "--showlocals")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*mysql+asyncmy://root:[*][*][*]@127.0.0.1:21901/freshdb_s_1*"])
    result.stdout.fnmatch_lines(["kept: mysql://root:[*][*][*]@127.0.0.1:21901/freshdb_s_1"])
    for secret in (PASSWORD, "p%40ss", TOKEN):
        assert secret not in result.stdout.str()


@pytest.mark.parametrize("options", [[], ["-vv", "--showlocals"]])
def test_a_comparison_shows_no_secrets(server_runs: pytest.Pytester, options: list[str]) -> None:
    server_runs.makepyfile(
        """
        import pytest

        @pytest.fixture
        def other(freshdb_broker, freshdb_engine_name):
            with freshdb_broker.lease(freshdb_engine_name) as lease:
                yield lease

        def test_url(freshdb_url): assert freshdb_url == "mysql://root:secret@127.0.0.1:21901/other"
        def test_part(freshdb_url): assert "127.0.0.1" not in freshdb_url
        def test_lease(freshdb_lease, other): assert freshdb_lease == other
        def test_urls(freshdb_lease, other): assert [freshdb_lease.url] == [other.url]
        """
    )
    result = server_runs.runpytest("--freshdb-engine", "mysql", *options)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(["E *'mysql+asyncmy://root:[*][*][*]@127.0.0.1:21901/freshdb_s_1' == 'mysql://root:secret@*"])
    for secret in (PASSWORD, "p%40ss", TOKEN):
        assert secret not in result.stdout.str()


@pytest.mark.parametrize("options", [[], ["--showlocals"], ["--tb=long", "--showlocals"]])
def test_an_error_of_the_broker_shows_no_secrets(
    server_runs: pytest.Pytester, fake_servers: FakeBroker, options: list[str]
) -> None:
    server_runs.makepyfile(
        """
        from pytest_freshdb import Broker

        def test_is_refused(freshdb_broker):
            freshdb_broker.lease("sqlite")

        def test_is_nonsense(monkeypatch):
            monkeypatch.delenv("FRESHDB_BROKER")
            monkeypatch.setenv("FRESHDB_BROKER_URL", "nonsense")
            Broker.from_env()

        def test_is_filled(freshdb_broker):
            def fill(database):
                raise ValueError("in fill")

            freshdb_broker.template("mysql", "h1", fill)

        def test_is_lost(freshdb_broker, pytestconfig):
            freshdb_broker.lease("mysql")
            pytestconfig.drop_connections()
            freshdb_broker.status()
        """
    )

    class Drops:
        def pytest_configure(self, config: pytest.Config) -> None:
            config.drop_connections = fake_servers.drop_connections  # type: ignore[attr-defined]

    result = server_runs.runpytest(*options, plugins=[Drops()])
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "*BrokerError: there is no sqlite here",
            "*NoBrokerError: `FRESHDB_BROKER_URL` is not of the form http://HOST:PORT",
            "*ValueError: in fill",
            "*LeaseLostError: the connection to the broker was lost (*), and with it lease 1 of mysql",
        ]
    )
    for secret in (PASSWORD, "p%40ss", TOKEN):
        assert secret not in result.stdout.str()


def test_a_schema_that_fails_is_told_with_its_traceback(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(SCHEMA.replace("CREATE TABLE", "CREATE TABEL"))
    runs.makepyfile("def test_a(freshdb_lease): pass")
    result = runs.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *sqlite3.OperationalError: near *TABEL*"])
    assert fake_broker.templates == {}


def test_a_schema_that_fails_is_not_tried_for_each_test(runs: pytest.Pytester, fake_broker: FakeBroker) -> None:
    runs.makeconftest(SCHEMA.replace("CREATE TABLE", "CREATE TABEL"))
    runs.makepyfile("def test_a(freshdb_lease): pass\ndef test_b(freshdb_lease): pass")
    result = runs.runpytest()
    result.assert_outcomes(errors=2)
    assert len(re.findall(r"^E +sqlite3\.OperationalError: near ", result.stdout.str(), re.MULTILINE)) == 2
    assert [request.split("/sql-")[0] for request in fake_broker.requests].count("DELETE /v1/templates/sqlite") == 1


def test_a_schema_that_is_no_template_is_told(runs: pytest.Pytester) -> None:
    runs.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def freshdb_schema():
            return "CREATE TABLE tags (name TEXT)"
        """
    )
    runs.makepyfile("def test_a(freshdb_lease): pass")
    result = runs.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "the fixture `freshdb_schema` gives a `str`, and not a `Template` or None",
            "hint: make one of it, as by `Template.of_sql(*)`",
        ],
        consecutive=True,
    )


APP = """
    from typing import Annotated
    import asyncio
    import httpx
    import pytest
    from fastapi import Depends, FastAPI

    def get_session(): return "development"
    def get_db(): return "development"

    @pytest.fixture(scope="session")
    def app():
        app = FastAPI()

        @app.get("/")
        def root(session: Annotated[str, Depends(get_session)]) -> str:
            return session

        return app

    def get(app, raise_app_exceptions=True):
        async def request():
            transport = httpx.ASGITransport(app, raise_app_exceptions=raise_app_exceptions)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.get("/")

        return asyncio.run(request())
"""

USELESS = "*the override of `test_*.get_db` (*test_*.py:*) does nothing: no route of the app depends on it"


def run_with_app(runs: pytest.Pytester, tests: str, *options: str) -> pytest.RunResult:
    runs.makepyfile(APP + tests)
    return runs.runpytest(*options)


def test_an_override_ends_with_its_test(runs: pytest.Pytester) -> None:
    result = run_with_app(
        runs,
        """
    def test_a(app, freshdb_override):
        freshdb_override(app, get_session, lambda: "first")
        freshdb_override(app, get_session, lambda: "second")
        assert get(app).json() == "second"

    def test_b(app):
        assert app.dependency_overrides == {}

    def test_c(app, freshdb_override):
        freshdb_override(app, get_db, lambda: "test")

    def test_d(app):
        assert app.dependency_overrides == {}
    """,
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines([USELESS])


OVERRIDDEN = """
    @pytest.fixture(autouse=True)
    def overridden(app):
        app.dependency_overrides[get_db] = lambda: "test"
"""


def test_who_leases_a_database_is_checked(runs: pytest.Pytester) -> None:
    result = run_with_app(
        runs,
        OVERRIDDEN
        + """
    def test_a(app, freshdb_lease):
        get(app)

    def test_b(app):
        assert get(app).json() == "development"
    """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([USELESS, "*routes of the app depend on:", "*test_*.get_session` (*): GET /"])


@pytest.mark.parametrize("test", ["def test_a(app): get(app)", "def test_a(freshdb_lease): get(make_app())"])
def test_an_app_that_is_imported_behind_the_lease_is_checked(runs: pytest.Pytester, test: str) -> None:
    runs.makepyfile(
        application="""
        from typing import Annotated
        from fastapi import Depends, FastAPI

        def get_session(): return "development"
        def get_db(): return "development"

        app = FastAPI()

        @app.get("/")
        def root(session: Annotated[str, Depends(get_session)]) -> str:
            return session
        """
    )
    runs.makepyfile(
        f"""
        import asyncio, sys
        import pytest

        def make_app():
            assert "fastapi" not in sys.modules
            from application import app, get_db
            app.dependency_overrides[get_db] = lambda: "test"
            return app

        @pytest.fixture
        def app(freshdb_url):
            return make_app()

        def get(app):
            import httpx

            async def request():
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                    return await client.get("/")

            return asyncio.run(request())

        {test}

        def test_b():
            from application import app
            assert get(app).json() == "development"
        """
    )
    result = runs.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*the override of `application.get_db` (application.py:*) does nothing: *"])


def test_an_answer_of_500_does_not_hide_it(runs: pytest.Pytester) -> None:
    result = run_with_app(
        runs,
        OVERRIDDEN
        + """
    def test_a(app, freshdb_overrides_checked):
        assert get(app, raise_app_exceptions=False).status_code == 500
    """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([USELESS])


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
def test_a_test_that_fails_of_an_answer_of_500_is_told_why(runs: pytest.Pytester, workers: list[str]) -> None:
    result = run_with_app(
        runs,
        OVERRIDDEN
        + """
    def test_a(app, freshdb_overrides_checked):
        assert get(app, raise_app_exceptions=False).status_code == 200
    """,
        *workers,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert 500 == 200", "*- freshdb -*", USELESS, "*routes of the app depend on:"])


@pytest.mark.parametrize("style", ["short", "long", "native"])
def test_an_override_that_failed_the_test_is_told_once(runs: pytest.Pytester, style: str) -> None:
    tests = """
    def test_a(app, freshdb_overrides_checked):
        get(app)
    """
    result = run_with_app(runs, OVERRIDDEN + tests, f"--tb={style}", "-rN")
    result.assert_outcomes(failed=1)
    assert result.stdout.str().count(" does nothing: ") == 1


def test_the_check_may_be_switched_off(runs: pytest.Pytester) -> None:
    result = run_with_app(
        runs,
        OVERRIDDEN
        + """
    def test_a(app, freshdb_lease):
        assert get(app).json() == "development"
    """,
        "-o",
        "freshdb_check_overrides=false",
    )
    result.assert_outcomes(passed=1)


def test_the_plugin_imports_neither_fastapi_nor_sqlalchemy(runs: pytest.Pytester) -> None:
    runs.makepyfile(
        """
        import sys

        def test_a(freshdb_lease):
            assert not {"fastapi", "sqlalchemy", "starlette"} & set(sys.modules)
        """
    )
    runs.runpytest_subprocess().assert_outcomes(passed=1)

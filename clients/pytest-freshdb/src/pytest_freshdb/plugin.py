"""The plugin: options and fixtures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from .broker import Broker, Lease
from .database import Database, Url
from .drivers import check_names
from .errors import FreshdbError, OverrideError
from .overrides import check_overrides, checked_overrides
from .template import Template

if TYPE_CHECKING:
    from fastapi import FastAPI

    Override = Callable[[FastAPI, Callable[..., Any], Callable[..., Any]], None]


@dataclass
class Attempt:
    """One run of a test. Who runs a failed one again does it with the same item, and what was known then must be forgotten.

    `has_run` is whether the test itself came to its end. No report tells it: a subtest has one, while the test `is_running`, and
    who retries has none made.
    `ending` is there while the fixtures end, and what is in it waits until it is known whether all of them ended well.
    `overrides` is what was found of those that do nothing.
    """

    lease: Lease | None = None
    is_running: bool = False
    has_run: bool = False
    has_failed: bool = False
    was_skipped: bool = False
    ending: list[Lease] | None = None
    overrides: list[OverrideError] = field(default_factory=list)

    def give_back(self, lease: Lease, config: pytest.Config) -> None:
        # Whoever has failed has said so, and of a test that was interrupted nobody knows.
        passed = "passed" if self.has_run else None
        outcome = None if self.has_failed else "skipped" if self.was_skipped else passed
        lease.give_back(keep=self.has_failed and config.getoption("freshdb_keep_failed"), outcome=outcome)


attempt = pytest.StashKey[Attempt]()


@dataclass
class Templates:
    """The templates of a session. Not one fixture's value, which is the same in directories that have a `freshdb_schema` each.

    A schema's hash is made once, for it may take as long as a test; and what cannot be filled is not filled anew for each test.
    """

    hashes: dict[tuple[str, int], tuple[Template, str]] = field(default_factory=dict)
    errors: dict[tuple[str, str], tuple[Exception, TracebackType | None] | None] = field(default_factory=dict)

    def ready(self, broker: Broker, engine: str, schema: Template | None) -> str | None:
        """The hash of the schema's template, which is ready."""
        if schema is None:
            return None
        if not isinstance(schema, Template):
            raise FreshdbError(
                f"the fixture `freshdb_schema` gives a `{type(schema).__name__}`, and not a `Template` or None",
                "make one of it, as by `Template.of_sql(…)`",
            )
        key = (engine, id(schema))
        if key not in self.hashes:
            # With the schema itself, so that no other gets its id.
            self.hashes[key] = schema, schema.hash_for(engine)
        _, name = self.hashes[key]
        if (engine, name) not in self.errors:
            try:
                broker.template(engine, name, schema.fill)
                self.errors[engine, name] = None
            except Exception as error:
                self.errors[engine, name] = error, error.__traceback__
        if (found := self.errors[engine, name]) is not None:
            raise found[0].with_traceback(found[1])
        return name


templates = pytest.StashKey[Templates]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("freshdb", "a fresh database for every test")
    group.addoption(
        "--freshdb-engine",
        choices=["sqlite", "mysql", "mariadb", "postgres"],
        help="the engine of the databases, where the broker has several",
    )
    group.addoption(
        "--freshdb-keep-failed",
        action="store_true",
        help="keep the database of a failed test, and name it in the report",
    )
    parser.addini("freshdb_drivers", "the drivers for SQLAlchemy URLs, such as `asyncmy asyncpg`", "args", default=[])
    parser.addini(
        "freshdb_check_overrides",
        "whether tests that lease a database fail on an override of FastAPI that no route uses",
        "bool",
        default=True,
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[templates] = Templates()


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    # pytest would show where the texts differ, and of two leases where their fields do.
    if isinstance(left, (Url, Database)) or isinstance(right, (Url, Database)):
        return [f"{left!r} {op} {right!r}"]
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    before = item.stash.get(attempt, None)
    item.stash[attempt] = Attempt()
    if before is not None:
        # Who retries a test within its report has no report made of what ended.
        give_back_ended(item, before)
    result = yield
    check_template(item)
    return result


def give_back_ended(item: pytest.Item, before: Attempt) -> None:
    ended, before.ending = before.ending or [], None
    with told():
        for lease in ended:
            before.give_back(lease, item.config)


def check_template(item: pytest.Item) -> None:
    """What pytest made of another directory's fixtures, and keeps for the session, is a wrong schema that nobody would see."""
    values: dict[str, Any] = getattr(item, "funcargs", {})
    names = ("freshdb_template", "freshdb_broker", "freshdb_engine_name", "freshdb_schema")
    if not values.keys() >= set(names):
        return
    template, broker, engine, schema = (values[name] for name in names)
    with told():
        if item.config.stash[templates].ready(broker, engine, schema) != template:
            raise FreshdbError(
                "`freshdb_template` is of another directory's `freshdb_schema` or `freshdb_engine_name`: pytest makes it once",
                "take `freshdb_schema` instead, and have its template made by `freshdb_broker.template`",
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    this = item.stash.setdefault(attempt, Attempt())
    this.is_running = True
    try:
        result = yield
    finally:
        this.is_running = False
    this.has_run = True
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    this = item.stash.setdefault(attempt, Attempt())
    # What a teardown before this one has left, by whoever retries, is still to be given back.
    this.ending = this.ending or []
    try:
        return (yield)
    except (KeyboardInterrupt, pytest.exit.Exception):
        # There will be no report. A lease that cannot be given back ends with the connection.
        ended, this.ending = this.ending, None
        for lease in ended:
            with contextlib.suppress(FreshdbError):
                this.give_back(lease, item.config)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # Other plugins have reports made of what was not set up.
    this = item.stash.setdefault(attempt, Attempt())
    if report.skipped and not this.is_running:
        this.was_skipped = True
    if report.failed:
        # The app under test may have answered with a status, which is all that the test can tell of.
        if this.overrides and not this.has_failed and this.overrides[0].message.partition("\n")[0] not in report.longreprtext:
            report.sections.append(("freshdb", this.overrides[0].message))
        # What it did is told once: where fixtures fail to end as well, with the failure before.
        if this.lease is not None and not this.has_failed and not this.lease.is_given_back:
            report.sections.append(("freshdb", "\n".join(told_of_failure(item, call, this.lease))))
        this.has_failed = True
    if report.when == "teardown":
        report = report_of_end(item, call, report, this)
    return report


def report_of_end(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, this: Attempt) -> pytest.TestReport:
    """Gives back what the fixtures that have ended left to be given back."""
    ended, this.ending = this.ending or [], None
    for lease in ended:
        try:
            with told():
                this.give_back(lease, item.config)
        except pytest.fail.Exception as error:
            if report.failed:
                report.sections.append(("freshdb", str(error)))
            else:
                call.excinfo = pytest.ExceptionInfo.from_exception(error)
                report = pytest.TestReport.from_item_and_call(item, call)
    return report


def told_of_failure(item: pytest.Item, call: pytest.CallInfo[None], lease: Lease) -> Iterator[str]:
    try:
        changes = lease.tell_failure(call.excinfo.exconly() if call.excinfo is not None else "")
    except FreshdbError as error:
        # The test's own failure is what its report is about.
        yield f"what it did to its database is not written down: {error}"
    else:
        yield f"what it did to its database: {changes or 'nothing'}"
        if changes is not None:
            yield "`freshdb diff` shows the rows"
    if item.config.getoption("freshdb_keep_failed"):
        yield f"kept: {lease.url.masked()}{until(lease)}"


def until(lease: Lease) -> str:
    """For how long a database that is kept is there, where that is shorter than one may think."""
    if not lease.is_private:
        return ""
    ends = "\n  until `freshdb` ends, with which its server does"
    return ends if lease.path is not None else f"{ends}: of one that FRESHDB_{lease.engine.upper()}_URL names, it stays"


@contextlib.contextmanager
def told() -> Iterator[None]:
    """An error of the broker's is told in its own words: a traceback through this package would say no more."""
    try:
        yield
    except FreshdbError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def freshdb_broker(pytestconfig: pytest.Config) -> Broker:
    """The broker of `freshdb run`, over one connection for each process."""
    drivers = pytestconfig.getini("freshdb_drivers")
    with told():
        check_names(drivers)
        broker = Broker.from_env(drivers)
    # When this fixture ends, the last test's lease is still to be given back.
    pytestconfig.add_cleanup(broker.close)
    return broker


@pytest.fixture(scope="session")
def freshdb_engine_name(pytestconfig: pytest.Config, freshdb_broker: Broker) -> str:
    """The engine of the databases: that of `--freshdb-engine`, or the only one."""
    chosen = pytestconfig.getoption("freshdb_engine")
    if chosen is not None:
        return str(chosen)
    with told():
        engines = freshdb_broker.engines()
        if len(engines) != 1:
            names = ", ".join(engines) or "none"
            raise FreshdbError(f"which engine is meant is unclear: the broker has {names}", "choose with `--freshdb-engine`")
    return engines[0]


@pytest.fixture(scope="session")
def freshdb_schema() -> Template | None:
    """What each database starts from. Override it; None is the schema of the command line."""
    return None


@pytest.fixture(scope="session")
def freshdb_template(
    pytestconfig: pytest.Config, freshdb_broker: Broker, freshdb_engine_name: str, freshdb_schema: Template | None
) -> str | None:
    """The hash of the template, which is ready. A test in a directory with another `freshdb_schema` fails with it."""
    with told():
        return pytestconfig.stash[templates].ready(freshdb_broker, freshdb_engine_name, freshdb_schema)


@pytest.fixture
def freshdb_lease(
    request: pytest.FixtureRequest,
    freshdb_broker: Broker,
    freshdb_engine_name: str,
    freshdb_schema: Template | None,
) -> Iterator[Lease]:
    """A database of this test's own, given back when all that the test used has ended."""
    if request.config.getini("freshdb_check_overrides"):
        request.getfixturevalue("freshdb_overrides_checked")
    with told():
        template = request.config.stash[templates].ready(freshdb_broker, freshdb_engine_name, freshdb_schema)
        lease = freshdb_broker.lease(freshdb_engine_name, template, note=request.node.nodeid)
    this = request.node.stash[attempt]
    this.lease = lease
    yield lease
    if this.ending is not None:
        # pytest does not tell a fixture whether those before it have ended well, only the report of them all.
        this.ending.append(lease)
        return
    with told():
        this.give_back(lease, request.config)


@pytest.fixture
def freshdb_url(freshdb_lease: Lease) -> str:
    """The URL of this test's database in the form of SQLAlchemy, for the async driver."""
    with told():
        return freshdb_lease.sqlalchemy_url()


@pytest.fixture
def freshdb_override() -> Iterator[Override]:
    """`freshdb_override(app, dependency, replacement)` overrides until the test ends, and checks that a route uses it."""
    with contextlib.ExitStack() as undo:

        def override(app: FastAPI, dependency: Callable[..., Any], replacement: Callable[..., Any]) -> None:
            undo.callback(restore, app.dependency_overrides, dependency, app.dependency_overrides.get(dependency))
            app.dependency_overrides[dependency] = replacement
            check_overrides(app)

        yield override


def restore(
    overrides: dict[Callable[..., Any], Callable[..., Any]],
    dependency: Callable[..., Any],
    before: Callable[..., Any] | None,
) -> None:
    if before is None:
        overrides.pop(dependency, None)
    else:
        overrides[dependency] = before


@pytest.fixture
def freshdb_overrides_checked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Checks the overrides of each FastAPI app when it is sent a request."""
    this = request.node.stash[attempt]
    with checked_overrides() as this.overrides:
        yield
    # A test that takes the answer for what it waited for has to fail all the same.
    if this.overrides and not this.has_failed:
        raise OverrideError(this.overrides[0].message)

"""A plugin of pytest for `freshdb-bench pytest`: what each test spends on having a database, in seconds. Those are the calls of
`create_all` and `drop_all`, or those that take a lease and give it back. What it does with the database is its own.

Each process writes a file of its own into the directory FRESHDB_BENCH_TIMES, a line a test.
"""

import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_freshdb import Broker, Lease
from sqlalchemy import MetaData

spent: list[float] = []
times: list[float] = []


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            spent.append(time.perf_counter() - began)

    return call


for owner, name in [(MetaData, "create_all"), (MetaData, "drop_all"), (Broker, "lease"), (Lease, "give_back")]:
    setattr(owner, name, timed(getattr(owner, name)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Iterator[None]:
    spent.clear()
    try:
        return (yield)
    finally:
        times.append(sum(spent))


def pytest_sessionfinish() -> None:
    # xdist's controller runs no test.
    if times:
        lines = "".join(f"{seconds:.9f}\n" for seconds in times)
        (Path(os.environ["FRESHDB_BENCH_TIMES"]) / f"{os.getpid()}").write_text(lines)

"""The drivers that are known, and which of them is used."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import DriverError


@dataclass(frozen=True)
class Driver:
    name: str
    engines: tuple[str, ...]
    scheme: str
    module: str
    is_async: bool


# Those that stand first are the default before those that follow.
DRIVERS = (
    Driver("aiomysql", ("mysql", "mariadb"), "mysql+aiomysql", "aiomysql", True),
    Driver("asyncmy", ("mysql", "mariadb"), "mysql+asyncmy", "asyncmy", True),
    Driver("asyncpg", ("postgres",), "postgresql+asyncpg", "asyncpg", True),
    Driver("psycopg", ("postgres",), "postgresql+psycopg", "psycopg", True),
    Driver("aiosqlite", ("sqlite",), "sqlite+aiosqlite", "aiosqlite", True),
    Driver("pymysql", ("mysql", "mariadb"), "mysql+pymysql", "pymysql", False),
    Driver("mysqldb", ("mysql", "mariadb"), "mysql+mysqldb", "MySQLdb", False),
    Driver("psycopg2", ("postgres",), "postgresql+psycopg2", "psycopg2", False),
    Driver("pysqlite", ("sqlite",), "sqlite+pysqlite", "sqlite3", False),
)


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def driver_of(engine: str, name: str) -> Driver:
    of_engine = [driver for driver in DRIVERS if engine in driver.engines]
    for driver in of_engine:
        if driver.name == name:
            return driver
    known = ", ".join(f"`{driver.name}`" for driver in of_engine)
    raise DriverError(f"`{name}` is not a driver for {engine}", f"one of {known}")


def default_driver(engine: str, preferred: Sequence[str]) -> Driver:
    of_engine = [driver for driver in DRIVERS if engine in driver.engines]
    for name in preferred:
        for driver in of_engine:
            if driver.name == name:
                return driver
    asynchronous = [driver for driver in of_engine if driver.is_async]
    for driver in asynchronous:
        if is_installed(driver.module):
            return driver
    hint = f"install {' or '.join(driver.name for driver in asynchronous)}"
    synchronous = [driver.name for driver in of_engine if not driver.is_async and is_installed(driver.module)]
    if synchronous:
        hint += f"; if your tests are synchronous, set the ini option `freshdb_drivers = {synchronous[0]}`, which is installed"
    else:
        hint += ", or name another in the ini option `freshdb_drivers`"
    raise DriverError(f"no async driver for {engine} is installed", hint)


def check_names(names: Sequence[str]) -> None:
    """Raises DriverError when one of these names is no driver's."""
    known = [driver.name for driver in DRIVERS]
    for name in names:
        if name not in known:
            raise DriverError(f"`{name}` of the ini option `freshdb_drivers` is not known", f"known are {', '.join(known)}")

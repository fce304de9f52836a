"""A plugin of pytest for `freshdb-bench pytest`: the example's schema has FRESHDB_BENCH_TABLES tables, each like those of the other
benchmarks: a key that counts, a unique key, and a foreign key to the one before.
"""

import os

from sqlalchemy import Column, ForeignKey, Integer, String, Table
from tags_service.database import Base


def add_tables(count: int) -> None:
    for number in range(count):
        parent = [ForeignKey(f"t{number - 1}.id")] if number else []
        Table(
            f"t{number}",
            Base.metadata,
            Column("id", Integer, primary_key=True),
            Column("name", String(50), nullable=False, unique=True),
            Column("parent", Integer, *parent),
            Column("note", String(200)),
        )


# The example has one itself.
add_tables(int(os.environ["FRESHDB_BENCH_TABLES"]) - 1)

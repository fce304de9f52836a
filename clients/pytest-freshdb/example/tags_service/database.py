"""The table, and the sessions of the requests."""

import functools
import os
from collections.abc import AsyncIterator

from sqlalchemy import String
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Compared and ordered by code points on every engine.
Name = (
    String(200)
    .with_variant(mysql.VARCHAR(200, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    .with_variant(postgresql.VARCHAR(200, collation="C"), "postgresql")
)


class Base(DeclarativeBase):
    pass


class Tag(Base):
    __tablename__ = "tags"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)


@functools.cache
def engine() -> AsyncEngine:
    return create_async_engine(os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///development.db"))


async def get_session() -> AsyncIterator[AsyncSession]:
    """The session of a request."""
    async with async_sessionmaker(engine(), expire_on_commit=False)() as session:
        yield session


async def get_db() -> AsyncIterator[AsyncSession]:
    """What the routes depended on before `get_session`."""
    async for session in get_session():
        yield session

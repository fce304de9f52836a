"""The service: tags, each of them once."""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from .database import Tag, get_session

router = APIRouter(prefix="/api")

Session = Annotated[AsyncSession, Depends(get_session)]


class NewTag(BaseModel):
    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")


class StoredTag(BaseModel):
    id: int
    name: str


@router.post("/tag", status_code=201)
async def post_tag(new: NewTag, session: Session) -> StoredTag:
    tag = Tag(name=new.name)
    session.add(tag)
    try:
        await session.commit()
    except IntegrityError as error:
        raise HTTPException(409, f"there is a tag {new.name!r} already") from error
    return StoredTag(id=tag.id, name=tag.name)


@router.get("/tag")
async def get_tags(session: Session) -> list[StoredTag]:
    tags = await session.scalars(select(Tag).order_by(Tag.name))
    return [StoredTag(id=tag.id, name=tag.name) for tag in tags]


def create_app() -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    return app

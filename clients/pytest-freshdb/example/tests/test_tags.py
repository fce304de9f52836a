"""What the service does. Each test begins with a database without tags."""

import asyncio
import unicodedata

import pytest
from httpx import AsyncClient, Response

WORDS = [
    "Python", "FastAPI", "Rust", "SQL", "a", "A", "0", "-1", "tag", "tags", "TAG", "with space", "with  two", " leading",
    "tab\there", "line\nbreak", "quo'te", 'quo"te', "back\\slash", "semi;colon", "per%cent", "under_score", "{}", "[]",
    "null", "true", "NaN", "'; DROP TABLE tags; --", "%s", "%(name)s", "?", ":name", "$1", "<b>", "&amp;", "a/b", "..", "#",
    "x" * 199, "x" * 200,
]  # fmt: skip

UNICODE = [
    "größe", "naïve", "ß", "İstanbul", "Ωμέγα", "Привет", "שלום", "مرحبا", "नमस्ते", "ไทย", "日本語", "中文", "한국어", "🦀",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f3f3\ufe0f\u200d\U0001f308", "e\u0301", "\u00e9", "\u200b", "\u202etxet",
    "\ufeff", "𝒯𝒶𝑔", "\U0010ffff", "ö" * 200, "🦀" * 200,
]  # fmt: skip

# The first stands before the second.
PAIRS = [
    ("a", "b"), ("A", "a"), ("B", "a"), ("Z", "a"), ("10", "9"), ("a", "aa"), ("a b", "a-b"), ("-", "0"), ("9", "A"),
    ("Z", "_"), ("_", "a"), ("z", "ä"), ("e\u0301", "\u00e9"), ("o", "ö"), ("ss", "ß"), ("ä", "я"), ("я", "日"), ("日", "🦀"),
    ("\uffee", "🦀"), ("🏳", "🦀"),
]  # fmt: skip

# Different tags, however alike.
ALIKE = [
    ("a", "A"), ("ä", "a"), ("ä", "Ä"), ("e\u0301", "\u00e9"), ("ß", "ss"), ("ﬁ", "fi"), ("ａ", "a"), ("K", "\u212a"),
    ("i", "ı"), ("I", "İ"), ("а", "a"), ("a", "a\u200b"), ("0", "O"), ("1", "l"), ("🦀", "🦞"), (" a", "a"), ("a b", "a  b"),
    ("a", "'a'"), ("%", "%%"), ("_", "a"),
]  # fmt: skip

REFUSED = [
    ({"name": ""}, "string_too_short"),
    ({"name": "x" * 201}, "string_too_long"),
    ({"name": "🦀" * 201}, "string_too_long"),
    ({"name": None}, "string_type"),
    ({"name": 1}, "string_type"),
    ({"name": 1.5}, "string_type"),
    ({"name": True}, "string_type"),
    ({"name": ["a"]}, "string_type"),
    ({"name": {"name": "a"}}, "string_type"),
    ({"name": "a\x00b"}, "string_pattern_mismatch"),
    ({}, "missing"),
    ({"Name": "a"}, "missing"),
    ([], "model_attributes_type"),
    (["a"], "model_attributes_type"),
    ("a", "model_attributes_type"),
]


async def post(client: AsyncClient, name: str) -> Response:
    return await client.post("/api/tag", json={"name": name})


async def names(client: AsyncClient) -> list[str]:
    response = await client.get("/api/tag")
    assert response.status_code == 200
    return [tag["name"] for tag in response.json()]


async def post_all(client: AsyncClient, *all_names: str) -> None:
    assert await names(client) == []
    for name in all_names:
        assert (await post(client, name)).status_code == 201


async def test_at_first_there_is_none(client: AsyncClient) -> None:
    response = await client.get("/api/tag")
    assert response.status_code == 200
    assert response.json() == []


@pytest.mark.parametrize("name", WORDS)
async def test_a_tag_is_stored(client: AsyncClient, name: str) -> None:
    await post_all(client, name)
    assert await names(client) == [name]


@pytest.mark.parametrize("name", UNICODE)
async def test_a_tag_is_stored_as_it_is_written(client: AsyncClient, name: str) -> None:
    await post_all(client, name)
    [stored] = await names(client)
    assert stored == name
    assert unicodedata.normalize("NFC", stored) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", [*WORDS[:20], *UNICODE[:10]])
async def test_a_tag_is_stored_once(client: AsyncClient, name: str) -> None:
    await post_all(client, name)
    response = await post(client, name)
    assert response.status_code == 409
    assert response.json() == {"detail": f"there is a tag {name!r} already"}
    assert await names(client) == [name]


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_tags_are_in_the_order_of_code_points(client: AsyncClient, first: str, second: str) -> None:
    await post_all(client, second, first)
    assert await names(client) == [first, second]


@pytest.mark.parametrize(("one", "other"), ALIKE)
async def test_tags_that_look_alike_are_different(client: AsyncClient, one: str, other: str) -> None:
    await post_all(client, one, other)
    assert await names(client) == sorted([one, other])


@pytest.mark.parametrize(("body", "fault"), REFUSED)
async def test_what_is_no_tag_is_refused(client: AsyncClient, body: object, fault: str) -> None:
    response = await client.post("/api/tag", json=body)
    assert response.status_code == 422
    assert [error["type"] for error in response.json()["detail"]] == [fault]
    assert await names(client) == []


@pytest.mark.parametrize("content", ["", "{", "name=a"])
async def test_what_is_no_json_is_refused(client: AsyncClient, content: str) -> None:
    response = await client.post("/api/tag", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert await names(client) == []


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 21, 34, 55])
async def test_many_tags_are_listed(client: AsyncClient, count: int) -> None:
    many = [f"tag {number:03}" for number in range(count)]
    await post_all(client, *reversed(many))
    assert await names(client) == many


@pytest.mark.parametrize("count", [2, 3, 4, 5])
async def test_tags_are_posted_at_once(client: AsyncClient, count: int) -> None:
    assert await names(client) == []
    many = [f"tag {number}" for number in range(count)]
    responses = await asyncio.gather(*[post(client, name) for name in many])
    assert [response.status_code for response in responses] == [201] * count
    assert await names(client) == many


@pytest.mark.parametrize("count", [2, 3, 4, 5])
async def test_one_of_equal_tags_posted_at_once_is_stored(client: AsyncClient, count: int) -> None:
    assert await names(client) == []
    responses = await asyncio.gather(*[post(client, "a") for _ in range(count)])
    assert sorted(response.status_code for response in responses) == [201] + [409] * (count - 1)
    assert await names(client) == ["a"]


@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "f"])
async def test_the_first_tag_has_the_first_id(client: AsyncClient, name: str) -> None:
    assert await names(client) == []
    assert (await post(client, name)).json() == {"id": 1, "name": name}
    assert (await post(client, name * 2)).json() == {"id": 2, "name": name * 2}


@pytest.mark.parametrize("number", range(20))
async def test_no_test_sees_what_another_stored(client: AsyncClient, number: int) -> None:
    await post_all(client, "the same name", f"and {number}")
    assert await names(client) == [f"and {number}", "the same name"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/api/tag", 405), ("DELETE", "/api/tag", 405), ("GET", "/api/tags", 404), ("POST", "/tag", 404)],
)
async def test_what_there_is_not(client: AsyncClient, method: str, path: str, status: int) -> None:
    assert (await client.request(method, path)).status_code == status
    assert await names(client) == []

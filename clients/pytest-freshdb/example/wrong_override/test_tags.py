from httpx import AsyncClient


async def test_a_tag_is_stored(client: AsyncClient) -> None:
    assert (await client.post("/api/tag", json={"name": "Python"})).status_code == 201

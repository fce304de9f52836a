"""The check of FastAPI's overrides."""

import asyncio
import functools
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Host, Mount

from pytest_freshdb import OverrideError, check_overrides
from pytest_freshdb.overrides import checked_overrides


def get(app: FastAPI, path: str) -> Any:
    async def request() -> Any:
        async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
            return (await client.get(path)).json()

    return asyncio.run(request())


def get_engine() -> str:
    return "engine"


def get_session(engine: Annotated[str, Depends(get_engine)]) -> str:
    return f"session of {engine}"


def get_sessions() -> str:
    return "another"


def replacement() -> str:
    return "replaced"


class Repository:
    def __init__(self, session: Annotated[str, Depends(get_session)]) -> None:
        self.session = session

    def __call__(self) -> str:
        return self.session


Session = Annotated[str, Depends(get_session)]
needs_session = [Depends(get_session)]


def answer(session: Session) -> str:
    return session


def described(number: int) -> str:
    return str(number)


def plain() -> str:
    return "plain"


async def socket(websocket: Any, session: Session) -> None: ...


def on_a_route() -> FastAPI:
    app = FastAPI()
    app.get("/tags")(answer)
    return app


def on_a_websocket() -> FastAPI:
    app = FastAPI()
    app.websocket("/live", dependencies=needs_session)(lambda: None)
    return app


def of_the_path_operation() -> FastAPI:
    app = FastAPI()
    app.get("/tags", dependencies=needs_session)(plain)
    return app


def of_the_app() -> FastAPI:
    app = FastAPI(dependencies=needs_session)
    app.get("/tags")(plain)
    return app


def of_the_router() -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/api", dependencies=needs_session)
    router.get("/tags")(plain)
    app.include_router(router)
    return app


def of_the_inclusion() -> FastAPI:
    app = FastAPI()
    router = APIRouter()
    router.get("/tags")(plain)
    app.include_router(router, prefix="/api", dependencies=needs_session)
    return app


def of_an_inner_router() -> FastAPI:
    app = FastAPI()
    outer, inner = APIRouter(prefix="/outer"), APIRouter(prefix="/inner")
    inner.get("/tags")(answer)
    outer.include_router(inner)
    app.include_router(outer)
    return app


def of_a_websocket_in_a_router() -> FastAPI:
    app = FastAPI()
    router = APIRouter(dependencies=needs_session)
    router.websocket("/live")(lambda: None)
    app.include_router(router)
    return app


def of_a_dependency() -> FastAPI:
    app = FastAPI()

    @app.get("/tags")
    def tags(repository: Annotated[Repository, Depends()]) -> str:
        return repository.session

    return app


KINDS = [
    on_a_route,
    on_a_websocket,
    of_the_path_operation,
    of_the_app,
    of_the_router,
    of_the_inclusion,
    of_an_inner_router,
    of_a_websocket_in_a_router,
    of_a_dependency,
]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("key", [get_session, get_engine])
def test_what_a_route_depends_on_may_be_overridden(make: Any, key: Any) -> None:
    app = make()
    app.dependency_overrides[key] = replacement
    check_overrides(app)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("key", [get_sessions, answer, plain])
def test_what_no_route_depends_on_may_not(make: Any, key: Any) -> None:
    app = make()
    app.dependency_overrides[key] = replacement
    with pytest.raises(OverrideError, match="no route of the app depends on it"):
        check_overrides(app)


def test_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    app = on_a_route()
    app.post("/tags")(answer)
    app.websocket("/live", dependencies=[Depends(plain)])(lambda: None)
    app.dependency_overrides[get_sessions] = replacement
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    name = f"`{__name__}."
    assert str(raised.value).splitlines() == [
        f"the override of {name}get_sessions` ({place(get_sessions)}) does nothing: no route of the app depends on it",
        "  routes of the app depend on:",
        f"    {name}get_session` ({place(get_session)}): GET /tags, POST /tags",
        f"    {name}get_engine` ({place(get_engine)}): GET /tags, POST /tags",
        f"    {name}plain` ({place(plain)}): WS /live",
    ]


def place(function: Any) -> str:
    return f"test_overrides.py:{function.__code__.co_firstlineno}"


def test_many_dependencies_and_routes_are_not_all_listed() -> None:
    app = FastAPI()
    for number in range(5):
        app.get(f"/{number}")(answer)
    for number in range(10):
        app.get(f"/many/{number}", dependencies=[Depends(functools.partial(described, number))])(plain)
    app.dependency_overrides[get_sessions] = replacement
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    lines = str(raised.value).splitlines()
    assert lines[2].endswith(": GET /0, GET /1 and 3 more")
    assert lines[-1] == "    and 4 more"
    assert len(lines) == 11


def test_an_app_without_dependencies() -> None:
    app = FastAPI()
    app.dependency_overrides[get_session] = replacement
    with pytest.raises(OverrideError, match="no route of the app has any dependency"):
        check_overrides(app)


def test_every_useless_override_is_named() -> None:
    app = on_a_route()
    app.dependency_overrides.update({plain: replacement, get_session: replacement, get_sessions: replacement})
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    assert str(raised.value).count(" does nothing: ") == 2


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[tuple[ModuleType, ModuleType]]:
    """One file, imported by two names."""
    (tmp_path / "deps.py").write_text("def get_db():\n    return 'db'\n", encoding="utf-8")
    modules = []
    for name in ("app.deps", "src.app.deps"):
        spec = importlib.util.spec_from_file_location(name, tmp_path / "deps.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    yield (modules[0], modules[1])
    for module in modules:
        del sys.modules[module.__name__]


def test_two_copies_of_one_function(copies: tuple[ModuleType, ModuleType]) -> None:
    app = FastAPI(dependencies=[Depends(copies[0].get_db)])
    app.get("/tags")(plain)
    app.dependency_overrides[copies[1].get_db] = replacement
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    assert str(raised.value).startswith("the override of `src.app.deps.get_db` (")
    assert raised.value.message.endswith(
        "\nhint: override `app.deps.get_db`, the same name from another module: two copies of it were imported"
    )


def test_another_function_of_the_same_name() -> None:
    elsewhere: dict[str, Any] = {"__name__": "elsewhere"}
    exec("def get_session(): ...", elsewhere)
    app = on_a_route()
    app.dependency_overrides[elsewhere["get_session"]] = replacement
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    message = str(raised.value)
    assert message.startswith("the override of `elsewhere.get_session` (place unknown) does nothing")
    assert message.endswith(f"\nhint: override `{__name__}.get_session`, the same name from another module")


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper() -> Any:
        return function()

    return wrapper


wrapped_plain = wrapped(plain)


@pytest.mark.parametrize(
    ("used", "key", "hint"),
    [(wrapped_plain, plain, "which wraps it: "), (plain, wrapped_plain, "which this wraps: ")],
)
def test_a_dependency_that_is_wrapped(used: Any, key: Any, hint: str) -> None:
    app = FastAPI(dependencies=[Depends(used)])
    app.get("/tags")(answer)
    app.dependency_overrides[key] = replacement
    with pytest.raises(OverrideError, match=rf"hint: override `{__name__}.plain`, {hint}"):
        check_overrides(app)


def made(result: str) -> Any:
    def dependency() -> str:
        return result

    return dependency


OBJECT = "hint: override the very object that the route names: "


@pytest.mark.parametrize(
    ("used", "key", "hint"),
    [
        (Repository("a"), Repository("b"), f"{OBJECT}an instance of `{__name__}.Repository`"),
        (Repository("a"), Repository, f"{OBJECT}an instance of `{__name__}.Repository`"),
        (
            functools.partial(described, 1),
            functools.partial(described, 2),
            f"{OBJECT}a `functools.partial` of `{__name__}.described`",
        ),
        (functools.partial(described, 1), described, f"{OBJECT}a `functools.partial` of `{__name__}.described`"),
        (plain, functools.partial(plain), f"{OBJECT}`{__name__}.plain`"),
        (made("a"), made("b"), f"{OBJECT}another `{__name__}.made.<locals>.dependency`"),
        (lambda: "a", lambda: "b", f"{OBJECT}another `{__name__}.<lambda>`"),
        (plain, Depends(plain), f"hint: override what the `Depends` names, `{__name__}.plain`"),
        (plain, Annotated[str, Depends(plain)], f"hint: override what the `Depends` names, `{__name__}.plain`"),
        (plain, "plain", "hint: override the function or class that `Depends` names: a `str` is none"),
    ],
)
def test_an_object_that_only_looks_like_the_dependency(used: Any, key: Any, hint: str) -> None:
    app = FastAPI(dependencies=[Depends(used)])
    app.get("/tags")(plain)
    app.dependency_overrides[key] = replacement
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    assert [line for line in str(raised.value).splitlines() if line.startswith("hint: ")] == [hint]


def test_a_replacement_that_cannot_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    app = on_a_route()
    app.dependency_overrides[get_session] = "session"  # type: ignore[assignment]
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    assert str(raised.value).splitlines() == [
        f"the override of `{__name__}.get_session` ({place(get_session)}) cannot be called: it is a `str`",
        "hint: override it by a function that returns that, such as `lambda: …`",
    ]


def test_instances_and_methods_are_dependencies() -> None:
    first, second = Repository("a"), Repository("b")
    app = FastAPI(dependencies=[Depends(first), Depends(first.__call__)])
    app.get("/tags")(plain)
    app.dependency_overrides.update({first: replacement, first.__call__: replacement})
    check_overrides(app)
    app.dependency_overrides[second] = replacement
    with pytest.raises(OverrideError, match=rf"the override of `{__name__}.Repository` "):
        check_overrides(app)


def test_what_only_a_replacement_depends_on_may_be_overridden() -> None:
    def depends(inner: Annotated[str, Depends(get_sessions)]) -> str:
        return inner

    app = on_a_route()
    app.dependency_overrides.update({get_session: depends, get_sessions: replacement})
    check_overrides(app)
    assert get(app, "/tags") == "replaced"


def test_a_replacement_that_depends_on_what_it_replaces() -> None:
    def depends(inner: Session) -> str:
        return inner

    app = on_a_route()
    app.dependency_overrides[get_session] = depends
    check_overrides(app)


def sub_app() -> FastAPI:
    return on_a_route()


@pytest.mark.parametrize(
    "mount",
    [
        lambda app, sub: app.mount("/sub", sub),
        lambda app, sub: app.mount("/sub", GZipMiddleware(sub)),
        lambda app, sub: app.mount("/sub", Starlette(routes=[Mount("/inner", sub)])),
        lambda app, sub: app.router.routes.append(Host("api.test", sub)),
    ],
)
def test_a_mounted_app_has_overrides_of_its_own(mount: Any) -> None:
    app, sub = of_the_path_operation(), sub_app()
    mount(app, sub)
    sub.dependency_overrides[get_session] = replacement
    check_overrides(app)
    sub.dependency_overrides[get_sessions] = replacement
    with pytest.raises(OverrideError, match=r"get_sessions` .*: no route of the app mounted at `"):
        check_overrides(app)


def test_an_override_of_the_outer_app_does_not_reach_a_mounted_one() -> None:
    app, sub = FastAPI(), sub_app()
    app.mount("/sub", sub)
    app.dependency_overrides[get_session] = replacement
    assert get(app, "/sub/tags") == "session of engine"
    with pytest.raises(OverrideError, match="hint: the app mounted at `/sub` depends on it, and has overrides of its own"):
        check_overrides(app)


def test_an_override_that_the_outer_app_uses_does_not_reach_a_mounted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    app, sub = on_a_route(), sub_app()
    app.mount("/sub", sub)
    app.dependency_overrides[get_session] = replacement
    assert get(app, "/tags") == "replaced"
    assert get(app, "/sub/tags") == "session of engine"
    with pytest.raises(OverrideError) as raised:
        check_overrides(app)
    assert str(raised.value).splitlines() == [
        f"the override of `{__name__}.get_session` ({place(get_session)}) does not reach the app mounted at `/sub`: "
        "only the outer app has it",
        "  routes of the app mounted at `/sub` depend on it: GET /sub/tags",
        "hint: set `dependency_overrides[get_session]` of the app mounted at `/sub` as well: it has overrides of its own",
    ]
    sub.dependency_overrides[get_session] = replacement
    check_overrides(app)


def test_an_override_reaches_no_app_that_is_mounted_further_in() -> None:
    app, middle, inner = on_a_route(), FastAPI(), sub_app()
    middle.mount("/inner", inner)
    app.mount("/middle", middle)
    app.dependency_overrides[get_session] = replacement
    with pytest.raises(OverrideError, match="does not reach the app mounted at `/middle/inner`: only the outer app has it"):
        check_overrides(app)
    middle.get("/tags")(answer)
    middle.dependency_overrides[get_session] = replacement
    with pytest.raises(OverrideError, match="`/middle/inner`: only the app mounted at `/middle` has it"):
        check_overrides(app)


def test_what_a_mounted_app_no_longer_comes_to_need_not_be_overridden_there() -> None:
    app, sub = on_a_route(), sub_app()
    app.mount("/sub", sub)
    app.dependency_overrides[get_engine] = replacement
    sub.dependency_overrides[get_session] = replacement
    check_overrides(app)

    def depends(engine: Annotated[str, Depends(get_engine)]) -> str:
        return engine

    sub.dependency_overrides[get_session] = depends
    with pytest.raises(OverrideError, match=r"get_engine` .* does not reach the app mounted at `/sub`"):
        check_overrides(app)


def test_what_mounted_apps_override_is_looked_at_again_with_each_request() -> None:
    app, sub = on_a_route(), sub_app()
    app.mount("/sub", sub)
    with checked_overrides() as found:
        for each in (app, sub):
            each.dependency_overrides[get_session] = replacement
        assert get(app, "/sub/tags") == "replaced"
        sub.dependency_overrides.clear()
        with pytest.raises(OverrideError, match="does not reach the app mounted at `/sub`"):
            get(app, "/sub/tags")
        app.dependency_overrides.clear()
        assert get(app, "/sub/tags") == "session of engine"
    assert len(found) == 1


def test_an_override_of_a_mounted_app_does_not_reach_the_outer_one() -> None:
    app, sub = on_a_route(), FastAPI()
    app.mount("/sub", sub)
    sub.dependency_overrides[get_session] = replacement
    with pytest.raises(OverrideError, match="hint: the outer app depends on it, and has overrides of its own"):
        check_overrides(app)


def test_an_app_may_be_mounted_in_itself() -> None:
    app, sub = on_a_route(), sub_app()
    app.mount("/v1", app)
    app.mount("/sub", sub)
    sub.mount("/around", app)
    for each in (app, sub):
        each.dependency_overrides[get_session] = replacement
    check_overrides(app)
    assert get(app, "/v1/v1/tags") == "replaced"


class OfAnotherFramework:
    """What is called so is not Starlette's, as in an app of Bottle."""

    routes: tuple[object, ...] = (object(),)
    router = object()


def test_an_app_of_another_framework_may_be_mounted() -> None:
    app = on_a_route()
    app.mount("/sub", GZipMiddleware(OfAnotherFramework()))
    app.dependency_overrides[get_session] = replacement
    check_overrides(app)


def test_what_is_mounted_later_is_looked_at_with_the_next_request() -> None:
    app = on_a_route()
    app.dependency_overrides[get_session] = replacement
    with checked_overrides():
        assert get(app, "/tags") == "replaced"
        app.mount("/sub", sub_app())
        with pytest.raises(OverrideError, match="does not reach the app mounted at `/sub`"):
            get(app, "/sub/tags")


def test_a_mounted_router_has_the_overrides_that_it_was_given() -> None:
    app = FastAPI()
    router = APIRouter(dependency_overrides_provider=app)
    router.get("/tags")(answer)
    app.mount("/sub", router)
    app.dependency_overrides[get_session] = replacement
    check_overrides(app)
    assert get(app, "/sub/tags") == "replaced"


def test_a_router_that_is_mounted_without_them_has_none() -> None:
    app, router = FastAPI(), APIRouter()
    router.get("/tags")(answer)
    app.mount("/sub", router)
    app.dependency_overrides[get_session] = replacement
    with pytest.raises(OverrideError):
        check_overrides(app)
    app.get("/tags")(answer)
    with pytest.raises(
        OverrideError, match=r"does not reach the app mounted at `/sub`: .*\n.*\nhint: add it by `include_router`"
    ):
        check_overrides(app)


@pytest.mark.skipif(not hasattr(FastAPI, "frontend"), reason="this FastAPI has no frontends")
@pytest.mark.parametrize("included", [True, False])
def test_what_a_frontend_depends_on_may_be_overridden(tmp_path: Path, included: bool) -> None:
    (tmp_path / "index.html").write_text("hello", encoding="utf-8")
    app = FastAPI(dependencies=[] if included else needs_session)
    router = APIRouter(dependencies=needs_session) if included else app
    router.frontend("/", directory=tmp_path)
    if isinstance(router, APIRouter):
        app.include_router(router)
    app.dependency_overrides[get_session] = replacement
    check_overrides(app)
    app.dependency_overrides[get_sessions] = replacement
    with pytest.raises(OverrideError, match=": frontend /"):
        check_overrides(app)


def test_apps_are_checked_when_they_are_sent_a_request() -> None:
    call = FastAPI.__call__
    with checked_overrides() as found:
        app = on_a_route()
        assert get(app, "/tags") == "session of engine"
        app.dependency_overrides[get_session] = replacement
        assert get(app, "/tags") == "replaced"
        app.dependency_overrides[get_sessions] = replacement
        with pytest.raises(OverrideError):
            get(app, "/tags")
        with pytest.raises(OverrideError):
            get(app, "/tags")
        del app.dependency_overrides[get_sessions]
        assert get(app, "/tags") == "replaced"
    assert len(found) == 2
    assert FastAPI.__call__ is call


@dataclass
class Depending:
    """One that cannot be hashed."""

    inner: str = "inner"

    def __call__(self, inner: Annotated[str, Depends(get_sessions)]) -> str:
        return inner


def depending() -> Any:
    def depends(inner: Annotated[str, Depends(get_sessions)]) -> str:
        return inner

    return depends


def wrapping() -> Any:
    @functools.wraps(depending())
    def wraps(**values: str) -> str:
        return values["inner"]

    return wraps


@pytest.mark.parametrize("make", [depending, wrapping, Depending, lambda: functools.partial(depending())])
def test_an_override_may_be_what_only_the_replacement_of_an_earlier_test_depends_on(make: Any) -> None:
    app = on_a_route()
    with checked_overrides():
        app.dependency_overrides.update({get_session: make(), get_sessions: replacement})
        assert get(app, "/tags") == "replaced"
        app.dependency_overrides[get_session] = lambda: "of the later test"
        with pytest.raises(OverrideError, match=rf"the override of `{__name__}.get_sessions` .* does nothing"):
            get(app, "/tags")


def test_a_replacement_of_a_later_test_cannot_be_called() -> None:
    app = on_a_route()
    with checked_overrides():
        app.dependency_overrides[get_session] = lambda: "replaced"
        assert get(app, "/tags") == "replaced"
        app.dependency_overrides[get_session] = "replaced"  # type: ignore[assignment]
        with pytest.raises(OverrideError, match="cannot be called: it is a `str`"):
            get(app, "/tags")


def returning(name: str) -> Any:
    return lambda: name


def test_apps_are_checked_once_for_replacements_that_depend_on_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    monkeypatch.setattr("pytest_freshdb.overrides.check", checked.append)
    app = on_a_route()
    with checked_overrides():
        for name in ["first", "second"]:
            app.dependency_overrides[get_session] = returning(name)
            assert get(app, "/tags") == name
    assert len(checked) == 1


def test_nothing_is_checked_without_fastapi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastapi")
    with checked_overrides() as found:
        assert found == []
    assert "fastapi" not in sys.modules

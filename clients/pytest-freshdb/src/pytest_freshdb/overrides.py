"""Whether what is overridden in a FastAPI app is anything that its routes use.

`app.dependency_overrides[get_db] = …` with a `get_db` that no route depends on changes nothing, and says nothing: the tests
then run on whatever database the app itself is configured with.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from .errors import OverrideError

if TYPE_CHECKING:
    from fastapi import FastAPI

Dependency = Callable[..., Any]

LISTED = 8


@dataclass
class App:
    """An app, how it is called, and the routes that use each dependency. Only its own overrides reach these.

    `provider` is what has the overrides: the FastAPI app, or nothing, of a router that is mounted as it is. `reached` is what a
    request still comes to: not what only something depends on that is overridden itself.
    """

    name: str
    provider: Any
    outer: App | None
    overrides: dict[Dependency, Dependency]
    routes: dict[Dependency, dict[str, None]] = field(default_factory=dict)
    reached: dict[Dependency, None] = field(default_factory=dict)


def check_overrides(app: FastAPI) -> None:
    """Raises OverrideError when the app, or one that is mounted in it, overrides a dependency that no route of it uses, or when a
    mounted app uses one that only an app around it overrides.
    """
    __tracebackhide__ = True
    check(apps_of(app))


def check(apps: list[App]) -> None:
    __tracebackhide__ = True
    complaints = [useless(app, key, apps) for app in apps for key in app.overrides if key not in app.routes]
    complaints += [uncallable(key, value) for app in apps for key, value in app.overrides.items() if not callable(value)]
    complaints += [unreached(app, key, outer) for app in apps for key, outer in overridden_around(app)]
    if complaints:
        raise OverrideError("\n".join(complaints))


def overridden_around(app: App) -> Iterator[tuple[Dependency, App]]:
    """What the app's routes come to, and not it but an app around it overrides, with the nearest of these."""
    for key in app.reached:
        outer = app
        while key not in outer.overrides and outer.outer is not None:
            outer = outer.outer
        # Where the outer app does not use it either, its override is complained of by itself.
        if outer is not app and key in outer.overrides and key in outer.routes:
            yield key, outer


@contextlib.contextmanager
def checked_overrides() -> Iterator[list[OverrideError]]:
    """Checks the overrides of each FastAPI app that is sent a request, and gives the list of what was found.

    FastAPI is not imported for that. Where an app is imported only when its database is there, it is checked all the same.
    """
    found: list[OverrideError] = []
    with contextlib.ExitStack() as undo:

        def watch(module: ModuleType) -> None:
            original = module.FastAPI.__call__

            @functools.wraps(original)
            async def call(app: FastAPI, scope: Any, receive: Any, send: Any) -> None:
                __tracebackhide__ = True
                if scope["type"] != "lifespan":
                    try:
                        check_unless_known(app)
                    except OverrideError as error:
                        found.append(error)
                        raise
                await original(app, scope, receive, send)

            module.FastAPI.__call__ = call
            undo.callback(setattr, module.FastAPI, "__call__", original)

        fastapi = sys.modules.get("fastapi")
        if fastapi is not None:
            watch(fastapi)
        else:
            undo.enter_context(when_imported("fastapi.applications", watch))
        yield found


@contextlib.contextmanager
def when_imported(name: str, then: Callable[[ModuleType], None]) -> Iterator[None]:
    """Calls `then` with the module of this name, should it be imported meanwhile."""

    class Finder(MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
            if fullname != name:
                return None
            sys.meta_path.remove(self)
            spec = find_spec(name)
            loader = None if spec is None else spec.loader
            if loader is not None:
                execute = loader.exec_module

                def exec_module(module: ModuleType) -> None:
                    execute(module)
                    then(module)

                loader.exec_module = exec_module  # type: ignore[method-assign]
            return spec

    finder = Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


def check_unless_known(app: FastAPI) -> None:
    __tracebackhide__ = True
    before = known.get(app)
    if before is None or before.seen() not in before.sound:
        apps = apps_of(app)
        check(apps)
        providers = [weakref.ref(each.provider) for each in apps if each.provider is not None]
        now = known[app] = Known(providers, before.sound if before is not None else set())
        now.sound.add(now.seen())


@dataclass
class Known:
    """What was found to be in order, of an app and those mounted in it: what is overridden by what, of how many routes."""

    providers: list[weakref.ref[Any]]
    sound: set[tuple[tuple[frozenset[tuple[Dependency, object]], int], ...]]

    def seen(self) -> tuple[tuple[frozenset[tuple[Dependency, object]], int], ...]:
        apps = [provider() for provider in self.providers]
        overrides = [getattr(app, "dependency_overrides", {}) for app in apps]
        kept = [frozenset((key, identity(value)) for key, value in each.items()) for each in overrides]
        return tuple((each, len(getattr(app, "routes", ()))) for each, app in zip(kept, apps, strict=True))


def identity(replacement: Any) -> object:
    """What tells a replacement from those that may depend on something else. Tests make functions without parameters anew all the
    time, and these are all the same: they depend on nothing.
    """
    if isinstance(replacement, FunctionType) and not replacement.__dict__:
        code = replacement.__code__
        if not (code.co_argcount or code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)):
            return None
    try:
        # It must not live on with what it has of a test.
        found = weakref.ref(replacement)
        hash(found)
    except TypeError:
        return object()
    return found


known: weakref.WeakKeyDictionary[FastAPI, Known] = weakref.WeakKeyDictionary()


def apps_of(asgi: Any) -> list[App]:
    """This app and all that are mounted in it."""
    apps: list[App] = []
    note_app(apps, asgi, "", None, ())
    return apps


def note_app(apps: list[App], asgi: Any, prefix: str, outer: App | None, around: tuple[Any, ...]) -> None:
    while not hasattr(asgi, "routes"):
        asgi = getattr(asgi, "app", None)  # a middleware's
        if asgi is None:
            return
    from starlette.routing import Router

    router = getattr(asgi, "router", asgi)
    if not isinstance(router, Router):
        return  # It is an app of another framework.
    if router in around:
        return  # It is mounted in itself.
    provider = getattr(router, "dependency_overrides_provider", None)
    overrides = getattr(provider, "dependency_overrides", {})
    app = next((app for app in apps if app.overrides is overrides), None)
    if app is None:
        app = App(f"the app mounted at `{prefix or '/'}`" if apps else "the app", provider, outer, overrides)
        apps.append(app)
    for route in effective_routes(router):
        dependant = getattr(route, "dependant", None)
        path = f"{prefix}{getattr(route, 'path', None) or getattr(route, 'host', '')}"
        if dependant is not None:
            note_dependencies(app, dependant, f"{kind(route)} {path or '/'}", (), True)
        else:
            note_app(apps, getattr(route, "app", None), path, app, (*around, router))


def kind(route: Any) -> str:
    methods = getattr(route, "methods", None)
    if methods:
        return "/".join(sorted(methods))
    return "WS" if getattr(route, "endpoint", None) else "frontend"


def effective_routes(router: Any) -> Iterator[Any]:
    """The routes, with the dependencies of the routers that they were included by."""
    from fastapi import routing

    # Older versions of FastAPI copy the routes of a router that is included; newer ones put them together on demand, and have
    # those of frontends apart.
    contexts: Callable[[Sequence[Any]], Iterable[Any]] = getattr(routing, "iter_route_contexts", iter)
    yield from contexts(router.routes)
    yield from getattr(router, "_low_priority_routes", ())
    for route in router.routes:
        yield from getattr(route, "effective_low_priority_routes", tuple)()


def note_dependencies(app: App, dependant: Any, route: str, replaced: tuple[Dependency, ...], is_reached: bool) -> None:
    for dependency in dependant.dependencies:
        call = dependency.call
        app.routes.setdefault(call, {})[route] = None
        if is_reached:
            app.reached[call] = None
        note_dependencies(app, dependency, route, replaced, is_reached and call not in app.overrides)
        value = app.overrides.get(call)
        if callable(value) and call not in replaced:
            from fastapi.dependencies.utils import get_dependant

            replacement = get_dependant(path=dependency.path, call=value)
            note_dependencies(app, replacement, route, (*replaced, call), is_reached)


def uncallable(key: Dependency, value: object) -> str:
    return (
        f"the override of {described(key)} cannot be called: it is a `{type(value).__name__}`\n"
        "hint: override it by a function that returns that, such as `lambda: …`"
    )


def unreached(app: App, key: Dependency, outer: App) -> str:
    around = "the outer app" if outer.outer is None else outer.name
    lines = [
        f"the override of {described(key)} does not reach {app.name}: only {around} has it",
        f"  routes of {app.name} depend on it: {shortened(list(app.routes[key]))}",
    ]
    if app.provider is None:
        lines.append("hint: add it by `include_router`, or make it with `APIRouter(dependency_overrides_provider=…)`")
    else:
        lines.append(f"hint: set `dependency_overrides[{qualname(key)}]` of {app.name} as well: it has overrides of its own")
    return "\n".join(lines)


def useless(app: App, key: Dependency, apps: list[App]) -> str:
    lines = [f"the override of {described(key)} does nothing: no route of {app.name} depends on it"]
    if not app.routes:
        lines.append(f"  no route of {app.name} has any dependency")
    else:
        lines.append(f"  routes of {app.name} depend on:")
        nearest = sorted(app.routes, key=lambda used: nearness(used, key), reverse=True)
        lines += [f"    {described(used)}: {shortened(list(app.routes[used]))}" for used in nearest[:LISTED]]
        if len(nearest) > LISTED:
            lines.append(f"    and {len(nearest) - LISTED} more")
    lines += [f"hint: {hint}" for hint in dict.fromkeys(hints(app, key, apps))]
    return "\n".join(lines)


def hints(app: App, key: Dependency, apps: list[App]) -> Iterator[str]:
    inner = within_depends(key)
    if inner is not None:
        yield f"override what the `Depends` names, {named(inner)}"
    elif not callable(key):
        yield f"override the function or class that `Depends` names: a `{type(key).__name__}` is none"
    for used in app.routes:
        if inspect.unwrap(used) is key:
            yield f"override {named(used)}, which wraps it: FastAPI looks for the very object that the route names"
        elif inspect.unwrap(key) is used:
            yield f"override {named(used)}, which this wraps: FastAPI looks for the very object that the route names"
        elif underlying(used) is underlying(key):
            yield f"override the very object that the route names: {form(used)}{named(used)}"
        elif named(used) == named(key):
            yield f"override the very object that the route names: another {named(used)}"
        elif qualname(used) == qualname(key):
            copies = ": two copies of it were imported" if place_of(used) == place_of(key) else ""
            yield f"override {named(used)}, the same name from another module{copies}"
    for other in apps:
        if other is not app and key in other.routes:
            place = "the outer app" if other is apps[0] else other.name
            yield f"{place} depends on it, and has overrides of its own: set it in that app's `dependency_overrides`"


def within_depends(key: Any) -> Dependency | None:
    """What `Depends(…)` names, or the one in `Annotated[…, Depends(…)]`."""
    from fastapi.params import Depends

    for each in (key, *getattr(key, "__metadata__", ())):
        if isinstance(each, Depends):
            return each.dependency
    return None


def form(dependency: Dependency) -> str:
    if isinstance(dependency, functools.partial):
        return "a `functools.partial` of "
    return "an instance of " if underlying(dependency) is type(dependency) else ""


def nearness(used: Dependency, key: Dependency) -> float:
    return difflib.SequenceMatcher(None, qualname(used), qualname(key)).ratio()


def shortened(routes: list[str]) -> str:
    return ", ".join(routes) if len(routes) <= 3 else f"{', '.join(routes[:2])} and {len(routes) - 2} more"


def underlying(dependency: Dependency) -> Any:
    """The function or class that it is, wraps, or is an instance of."""
    found: Any = inspect.unwrap(dependency)
    while isinstance(found, functools.partial):
        found = inspect.unwrap(found.func)
    return found if hasattr(found, "__qualname__") else type(found)


def qualname(dependency: Dependency) -> str:
    return str(underlying(dependency).__qualname__)


def named(dependency: Dependency) -> str:
    found = underlying(dependency)
    return f"`{found.__module__}.{found.__qualname__}`"


def place_of(dependency: Dependency) -> str | None:
    try:
        found = underlying(dependency)
        file = Path(inspect.getfile(found))
        file = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        return f"{file}:{inspect.getsourcelines(found)[1]}"
    except (OSError, TypeError):
        return None


def described(dependency: Dependency) -> str:
    return f"{named(dependency)} ({place_of(dependency) or 'place unknown'})"

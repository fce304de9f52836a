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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OverrideError

if TYPE_CHECKING:
    from fastapi import FastAPI

Dependency = Callable[..., Any]

LISTED = 8


@dataclass
class App:
    """An app, how it is called, and the routes that use each dependency. Only its own overrides reach these."""

    name: str
    overrides: dict[Dependency, Dependency]
    routes: dict[Dependency, dict[str, None]] = field(default_factory=dict)


def check_overrides(app: FastAPI) -> None:
    """Raises OverrideError when the app, or one that is mounted in it, overrides a dependency that no route of it uses."""
    __tracebackhide__ = True
    apps = apps_of(app)
    useless = [(overriding, key) for overriding in apps for key in overriding.overrides if key not in overriding.routes]
    if useless:
        raise OverrideError("\n".join(complaint(overriding, key, apps) for overriding, key in useless))


@contextlib.contextmanager
def checked_overrides() -> Iterator[list[OverrideError]]:
    """Checks the overrides of each FastAPI app that is sent a request, and gives the list of what was found."""
    fastapi = sys.modules.get("fastapi")
    if fastapi is None:
        yield []
        return
    found: list[OverrideError] = []
    original = fastapi.FastAPI.__call__

    @functools.wraps(original)
    async def call(app: FastAPI, scope: Any, receive: Any, send: Any) -> None:
        __tracebackhide__ = True
        if scope["type"] != "lifespan" and not known.get(app, set()).issuperset(app.dependency_overrides):
            try:
                check_overrides(app)
            except OverrideError as error:
                found.append(error)
                raise
            known.setdefault(app, set()).update(app.dependency_overrides)
        await original(app, scope, receive, send)

    fastapi.FastAPI.__call__ = call
    try:
        yield found
    finally:
        fastapi.FastAPI.__call__ = original


# What was already found to be in use: an app does not lose routes.
known: weakref.WeakKeyDictionary[FastAPI, set[Dependency]] = weakref.WeakKeyDictionary()


def apps_of(asgi: Any) -> list[App]:
    """This app and all that are mounted in it."""
    apps: list[App] = []
    note_app(apps, asgi, "")
    return apps


def note_app(apps: list[App], asgi: Any, prefix: str) -> None:
    while not hasattr(asgi, "routes"):
        asgi = getattr(asgi, "app", None)  # a middleware's
        if asgi is None:
            return
    router = getattr(asgi, "router", asgi)
    provider = getattr(router, "dependency_overrides_provider", None)
    overrides = getattr(provider, "dependency_overrides", {})
    app = next((app for app in apps if app.overrides is overrides), None)
    if app is None:
        app = App(f"the app mounted at `{prefix or '/'}`" if apps else "the app", overrides)
        apps.append(app)
    for route in effective_routes(router):
        dependant = getattr(route, "dependant", None)
        path = f"{prefix}{getattr(route, 'path', None) or getattr(route, 'host', '')}"
        if dependant is not None:
            note_dependencies(app, dependant, f"{kind(route)} {path or '/'}", ())
        else:
            note_app(apps, getattr(route, "app", None), path)


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


def note_dependencies(app: App, dependant: Any, route: str, replaced: tuple[Dependency, ...]) -> None:
    for dependency in dependant.dependencies:
        call = dependency.call
        app.routes.setdefault(call, {})[route] = None
        note_dependencies(app, dependency, route, replaced)
        if call in app.overrides and call not in replaced:
            from fastapi.dependencies.utils import get_dependant

            replacement = get_dependant(path=dependency.path, call=app.overrides[call])
            note_dependencies(app, replacement, route, (*replaced, call))


def complaint(app: App, key: Dependency, apps: list[App]) -> str:
    lines = [f"the override of {described(key)} does nothing: no route of {app.name} depends on it"]
    if not app.routes:
        lines.append(f"  no route of {app.name} has any dependency")
    else:
        lines.append(f"  routes of {app.name} depend on:")
        nearest = sorted(app.routes, key=lambda used: nearness(used, key), reverse=True)
        lines += [f"    {described(used)}: {shortened(list(app.routes[used]))}" for used in nearest[:LISTED]]
        if len(nearest) > LISTED:
            lines.append(f"    and {len(nearest) - LISTED} more")
    lines += [f"hint: {hint}" for hint in hints(app, key, apps)]
    return "\n".join(lines)


def hints(app: App, key: Dependency, apps: list[App]) -> Iterator[str]:
    for used in app.routes:
        if inspect.unwrap(used) is key:
            yield f"override {named(used)}, which wraps it: FastAPI looks for the very object that the route names"
        elif inspect.unwrap(key) is used:
            yield f"override {named(used)}, which this wraps: FastAPI looks for the very object that the route names"
        elif qualname(used) == qualname(key):
            copies = ": two copies of it were imported" if place_of(used) == place_of(key) else ""
            yield f"override {named(used)}, the same name from another module{copies}"
    for other in apps:
        if other is not app and key in other.routes:
            place = "the outer app" if other is apps[0] else other.name
            yield f"{place} depends on it, and has overrides of its own: set it in that app's `dependency_overrides`"


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

"""Where a server is, out of the URL that the broker uses itself, and what of that each driver has to be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from .errors import DriverError

# Of the broker's own sessions. Those of a driver have its own ways.
OF_THE_SESSION = {"application_name", "charset", "collation", "statement-cache-capacity", "timezone"}

# The other names that sqlx knows for what libpq calls so.
NAMES_OF_LIBPQ = {
    "ssl-mode": "sslmode",
    "ssl-ca": "sslrootcert",
    "ssl-root-cert": "sslrootcert",
    "ssl-cert": "sslcert",
    "ssl-key": "sslkey",
}

# What the drivers do who are told nothing, or less than that.
TLS_IS_NOT_ASKED_FOR = {"disable", "disabled", "allow", "prefer", "preferred"}


def located(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a database on a server. Its parameters decide over what stands before them, as they do for the broker."""
    scheme, _, rest = answer["url"].partition(":")
    parameters = dict(parse_qsl(rest.partition("?")[2], keep_blank_values=True))
    fields = {name: answer.get(name) or None for name in ("host", "port", "user")}
    fields["password"] = answer.get("password") if fields["user"] else None
    if scheme.startswith("postgres"):
        for parameter, name in (
            ("host", "host"),
            ("hostaddr", "host"),
            ("port", "port"),
            ("user", "user"),
            ("password", "password"),
        ):
            if parameter in parameters:
                fields[name] = parameters.pop(parameter)
        fields["port"] = fields["port"] and int(fields["port"])
        # A directory with a socket in it, whose name has the port.
        if fields["host"] and fields["host"].startswith("/"):
            fields["socket"] = fields["host"]
    elif "socket" in parameters:
        fields |= {"socket": parameters.pop("socket"), "host": None, "port": None}
    return {**fields, "parameters": parameters}


def parameters_for(driver: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """What a driver is told of the parameters, by the names that it has for them.

    Raises DriverError for one that it cannot be told: without it, it might reach another server, or reach it less securely.
    """
    found = {}
    for name, value in parameters.items():
        usual = NAMES_OF_LIBPQ.get(name, name)
        if driver in {"psycopg", "psycopg2"} and usual in {"sslmode", "sslrootcert", "sslcert", "sslkey", "options"}:
            found[usual] = value
        elif driver == "asyncpg" and usual == "sslmode":
            found["ssl"] = value
        elif name in OF_THE_SESSION or (usual == "sslmode" and value.lower() in TLS_IS_NOT_ASKED_FOR):
            pass
        else:
            raise DriverError(
                f"the parameter `{name}` of the server's URL cannot be passed on to {driver}",
                "make the driver's own arguments out of the lease's `url`, or leave the parameter out of the server's URL",
            )
    return found

"""A gateway for the table: the same functions behind a path for each row, which really compute.

It is a server of real sockets that speaks Away's protocol and writes down what it is asked for; the
functions' annotations are those that a publish writes.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
from typing import Any

from away import module_descriptions, protocol, signatures
from tests import servers

PASSWORD = "a-gateway-for-the-table-of-import-forms"


def add(a: int, b: int) -> int:
    """Add two numbers.

    >>> add(1, 2)
    3
    """
    return a + b


async def later(a: int) -> int:
    """Give a number later."""
    return a


def count(n: int):
    """Count up to a number."""
    yield from range(n)


async def slowly(n: int):
    """Count up to a number, slowly."""
    for each in range(n):
        yield each


def sum_two_numbers(a: float, b: float = 2.0, *, times: int = 1) -> float:
    """Add two numbers, several times."""
    return (a + b) * times


def fail() -> None:
    """Divide by zero."""
    1 / 0


# The gateway's name → the Python function published under it.
PUBLISHED = {
    "add": add,
    "class": add,
    "cafe": add,
    "count": count,
    "fail": fail,
    "later": later,
    "match": add,
    "my-function": add,
    "slowly": slowly,
    "sum-two-numbers": sum_two_numbers,
}
# What the module ``shapes`` has, which was published whole as one function.
SHAPES = {"add": add, "later": later}
# What others deployed: no annotations; the two of which Python spells alike.
FOREIGN = ("cat", "twin-one", "twin_one", "3d")


def listed() -> list[dict[str, object]]:
    """Return what the gateway answers to the request for its list."""
    functions = [
        {"name": name, "image": "x", "annotations": _annotations(name, function)}
        for name, function in PUBLISHED.items()
    ]
    shapes = module_descriptions.ModuleDescription(
        functions={name: signatures.describe(function) for name, function in SHAPES.items()},
        constants={"SIDES": 4},
        doc="Know of shapes.",
        entry="shapes:*",
    )
    itself = signatures.Description(doc=shapes.doc, entry=shapes.entry, digest="0" * 64)
    annotations = {
        **signatures.to_annotations(itself),
        **module_descriptions.module_annotations(shapes),
    }
    functions.append({"name": "shapes", "image": "x", "annotations": annotations})
    return [*functions, *({"name": name, "image": "x"} for name in FOREIGN)]


def _annotations(name: str, function: Any) -> dict[str, str]:
    written = "café" if name == "cafe" else function.__name__
    description = signatures.describe(function)
    return signatures.to_annotations(description._replace(entry=f"shop:{written}", digest="0" * 64))


def answer(seen: servers.Seen) -> servers.Behaviour:
    """Answer one request, whatever row it is of."""
    path = "/" + seen.path.partition("?")[0].removeprefix("/").partition("/")[2]
    if path == "/system/functions":
        login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        if seen.headers.get("authorization") != f"Basic {login}":
            return servers.answer(401, b"unauthorized")
        return servers.json(listed())
    name = path.removeprefix("/function/")
    if name in FOREIGN:
        return servers.answer(200, seen.body, {"Content-Type": "text/plain"})
    function = PUBLISHED.get(name) or SHAPES.get(name.removeprefix("shapes/"))
    if function is None:
        return servers.answer(404, b"not found")
    call = protocol.read_call(seen.body, allow_unsafe=False)
    body = _result(function, call)
    marks = {
        protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
        protocol.LENGTH_HEADER: str(len(body)),
        "Content-Type": protocol.CONTENT_TYPE,
    }
    return servers.answer(200, body, marks)


def _result(function: Any, call: protocol.Call) -> bytes:
    try:
        value = function(*call.args, **call.kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        if inspect.isasyncgen(value):
            value = asyncio.run(_all_of(value))
    except Exception as error:
        return protocol.pack_error(error)
    if inspect.isgenerator(value) or inspect.isasyncgenfunction(function):
        return protocol.pack_items(list(value))
    return protocol.pack_value(value)


async def _all_of(items: Any) -> list[Any]:
    return [each async for each in items]

"""What a fake gateway answers: OpenFaaS's API as far as calls and imports ask for it.

Pure: a request comes in, a reply or an invocation goes out. What a test cannot mean to be answered,
such as a push to a registry, is refused in words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from away.connection.conversations import Reply
from away.testing.faults import status_reply
from away.testing.functions import FakeFunction, Invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.connection.conversations import Request

__all__ = ["NotFaked", "answer", "function_data"]

# What a gateway answers of itself, as JSON.
_PAGES: Mapping[str, Any] = {
    "/system/info": {
        "provider": {"provider": "away.testing", "orchestration": "fake"},
        "version": {"release": "0.0.0"},
        "arch": "x86_64",
    },
    "/system/namespaces": ["openfaas-fn"],
    "/system/secrets": [],
}


class NotFaked(AssertionError):
    """Something went out that the test did not fake.

    No :class:`~away.exceptions.AwayError`: code under test that goes on after one must not go on
    after this.
    """


def answer(
    request: Request, functions: Mapping[str, FakeFunction], gateway: str
) -> Reply | Invocation:
    """Answer one request, or say which function answers it.

    Args:
        request: What was sent.
        functions: What the gateway has, by name.
        gateway: The gateway, as the test named it.

    Raises:
        NotFaked: It is nothing that a fake gateway can answer.
    """
    path = request.path.partition("?")[0]
    if path.startswith("/function/"):
        return _call(request, functions)
    if request.method == "GET":
        if path == "/healthz":
            return Reply(200, {"Content-Type": "text/plain"}, b"OK")
        if path == "/system/functions":
            # What lies below a module's path is on its annotations.
            return _json([function_data(each) for key, each in functions.items() if "/" not in key])
        if path == "/system/logs":
            return Reply(200, {"Content-Type": "application/x-ndjson"})
        if path in _PAGES:
            return _json(_PAGES[path])
        if path.startswith("/system/function/"):
            name = unquote(path.removeprefix("/system/function/"))
            found = functions.get(name)
            return status_reply(404, name) if found is None else _json(function_data(found))
    raise NotFaked(
        f"{request.method} {path} went to the gateway {gateway!r}, which is faked and answers calls"
        " and lists alone; test what deploys or follows logs against the fixture away_gateway"
    )


def _call(request: Request, functions: Mapping[str, FakeFunction]) -> Reply | Invocation:
    rest = request.path.removeprefix("/function/")
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    # A namespace stands behind a dot: a fake gateway has the same functions in each.
    name, rest = rest[:cut].partition(".")[0], rest[cut:].lstrip("/")
    within = f"{name}/{rest.partition('?')[0]}" if rest else name
    found = functions.get(within) or functions.get(name)
    if found is None:
        return status_reply(404, name)
    return Invocation(found, request, rest)


def function_data(function: FakeFunction) -> dict[str, Any]:
    """Describe a function as the gateway's list does."""
    return {
        "name": function.name,
        "image": "faked/by-away.testing",
        "namespace": "openfaas-fn",
        "annotations": function.annotations,
        "replicas": 1,
        "availableReplicas": 1,
        "invocationCount": len(function.calls),
    }


def _json(data: Any) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(data).encode())

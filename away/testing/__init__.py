"""Test code that calls remote functions, without a gateway or with one of its own.

A pytest plug-in (:mod:`away.testing.plugin`) brings two fixtures: ``away_fake``, which answers calls
in process and without a socket, and ``away_gateway``, an embedded gateway for the session. Without
pytest, :func:`fake` does what the first one does::

    with away.testing.fake() as fake:
        fake.function("add", lambda a, b: a + b, gateway="myfaas")
        from away.remote.myfaas import add
        assert add(1, 2) == 3

What a test fakes is the gateway: calls are bound, packed, retried and read as always, so that what
cannot travel fails here as it would there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from away.testing.faking import Fake as Fake
    from away.testing.faking import fake as fake
    from away.testing.functions import FakeFunction as FakeFunction
    from away.testing.gateways import NotFaked as NotFaked
    from away.testing.plain import PlainRequest as PlainRequest
    from away.testing.records import RecordedCall as RecordedCall

__all__ = ["Fake", "FakeFunction", "NotFaked", "PlainRequest", "RecordedCall", "fake"]

# pytest imports this folder at each of its starts, for the plug-in in it: nothing is loaded before
# it is used.
_HOMES = {
    "Fake": "away.testing.faking",
    "FakeFunction": "away.testing.functions",
    "NotFaked": "away.testing.gateways",
    "PlainRequest": "away.testing.plain",
    "RecordedCall": "away.testing.records",
    "fake": "away.testing.faking",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What ``from away import builder, FaasConnection`` gives inside a published function.

The module of a function is imported there again, decorators and all. Nothing may be published from
there, and no gateway be asked while it is imported, so decorators return the function as it is and
a connection only remembers what it was made with. A stub of another function becomes real when it
is called, where Away's client was packed; publishing packs it when it finds such a stub.
"""

from __future__ import annotations

import os
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Self

from away.exceptions import AwayError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Absent", "FaasConnection", "builder", "configure", "install"]

# of code objects, as inspect names it, which is not imported for this
_CO_COROUTINE = 0x80


class FaasConnection:
    """A connection that opens nothing; the real one is made when something is asked of it.

    It has the plain attributes of the real one, so that modules may read them, and keeps no
    password and no token: functions are called without.
    """

    password = None

    def __init__(
        self,
        provider: str = "localhost",
        port: int = 8080,
        user: str = "admin",
        _password: Any = None,
        **options: Any,
    ) -> None:
        self._provider = provider
        self._port = port
        self._real: Any = None
        self.user = user
        for key, default in _SETTINGS.items():
            setattr(self, key, options.get(key, default))

    @classmethod
    def named(cls, name: str = "default") -> FaasConnection:
        """Remember a gateway's name."""
        return cls(name=name)

    @classmethod
    def local(cls) -> FaasConnection:
        """Remember that it is the gateway which this function runs on."""
        return cls(name="local")

    @property
    def url(self) -> str:
        """The gateway's address as far as the environment or the arguments tell; else empty."""
        import os

        name: str | None = self.__dict__["name"]
        if name is not None:
            own = "AWAY_INSIDE_URL" if name in ("local", "default") else ""
            return os.environ.get(f"AWAY_GATEWAY_{name.upper()}_URL") or os.environ.get(own, "")
        host = self._provider
        if "://" in host:
            return _seen_from_inside(host.rstrip("/"))
        has_port = host.rpartition("]")[2].count(":") == 1
        return _seen_from_inside(f"http://{host}" if has_port else f"http://{host}:{self._port}")

    def resolve(self, real: Any) -> Any:
        """Make the real connection, of the class given."""
        name = self.__dict__["name"]
        if name is not None:
            return real.named(name)
        given = {key: self.__dict__[key] for key in _TAKEN_ALONG}
        return real(self._provider, self._port, **given)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        return

    def __repr__(self) -> str:
        return f"<stand-in for a connection to {self.__dict__['name'] or self._provider!r}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._real is None:
            self._real = real_connection(self, f"`{name}` of a connection to a gateway")
        return getattr(self._real, name)


# the attributes of a real connection that are plain values, with its defaults
_SETTINGS: dict[str, Any] = {
    "name": None,
    "namespace": "",
    "timeout": 120.0,
    "connect_timeout": 5.0,
    "ca_bundle": None,
    "auth_functions": False,
    "registry": None,
    "base_image": None,
    "inside_url": None,
    "verbose": True,
}
_TAKEN_ALONG = ("namespace", "timeout", "connect_timeout")


def real_connection(connection: Any, what: str = "another function") -> Any:
    """Make the connection that a stand-in stands for; without one, that of ``default``.

    Args:
        connection: A stand-in, or the real one, which a function by value brings along.
        what: What is used of it, for the message.

    Raises:
        AwayError: Away's client is not packed with this function.
    """
    real = _client("away.connection", what).FaasConnection
    if isinstance(connection, real):
        return connection
    made = real.named("default") if connection is None else connection.resolve(real)
    # The URL that the publisher used may mean nothing here, and a loopback one another machine.
    inside = _seen_from_inside(made.url)
    return made if made.url == inside else real(inside)


def _seen_from_inside(url: str) -> str:
    import os

    inside = os.environ.get("AWAY_INSIDE_URL")
    outside = os.environ.get("AWAY_OUTSIDE_URL")
    return inside if inside and (url == outside or _is_loopback(url)) else url


def _is_loopback(url: str) -> bool:
    return url.partition("://")[2].startswith(("localhost", "127.", "[::1]"))


def _client(module: str, what: str = "another function") -> Any:
    from importlib import import_module

    if _is_packed(module):
        return import_module(module)
    raise _no_client(what)


def _no_client(what: str) -> AwayError:
    return AwayError(
        f"{what} is used in a published function whose image has no client for that; use it inside"
        " the function by its name, or FaasConnection.named('…') there, so that publishing finds"
        " and packs it"
    )


class Absent:
    """A public name of Away's that is not packed, so that ``from away import *`` passes it by."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<away.{self._name}, which is not packed>"

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Refuse: there is nothing to call."""
        raise _no_client(f"`away.{self._name}`")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise _no_client(f"`away.{self._name}`")


def _is_packed(module: str) -> bool:
    """Tell whether a module of Away's is in this image.

    On a developer's machine an editable install finds those of its checkout too, for a package
    that is not its own.
    """
    if sys.modules.get(module) is _connection:
        return False
    import away

    path = os.path.join(away.__path__[0], *module.split(".")[1:])  # noqa: PTH118 - no pathlib: 4 ms
    return os.path.isfile(f"{path}.py") or os.path.isfile(f"{path}/__init__.py")  # noqa: PTH113


def configure(*_args: Any, **_options: Any) -> None:
    """Do nothing: inside a function the environment says where gateways are."""


def _is_connection(value: Any) -> bool:
    """Tell a connection: the stand-in, or the real one that a function by value was given."""
    return any(each.__name__ == FaasConnection.__name__ for each in type(value).__mro__)


def _identity(function: Any) -> Any:
    return function


def publish(target: Any = None, *_args: Any, **_options: Any) -> Any:
    """Return the function as it is, or a decorator that does."""
    if target is not None and callable(target) and not _is_connection(target):
        return target
    return _identity


def mirror_in_faas(function: Any = None, *_args: Any, **_options: Any) -> Any:
    """Return the function as it is."""
    return publish(function)


async def publish_async(function: Any = None, *_args: Any, **_options: Any) -> Any:
    """Return the function as it is."""
    return publish(function)


def publish_module(module: Any = None, *_args: Any, **_options: Any) -> Any:
    """Return the module, imported where only its name was given."""
    from importlib import import_module

    return import_module(module) if isinstance(module, str) else module


async def publish_module_async(module: Any = None, *_args: Any, **_options: Any) -> Any:
    """Return the module, imported where only its name was given."""
    return publish_module(module)


def faas_function(target: Any = None, *_args: Any, dialect: str = "auto", **options: Any) -> Any:
    """Return a stub, or a decorator that makes one; the connection is made at its first call."""
    options["dialect"] = dialect
    if target is None or _is_connection(target):
        return lambda function: _stub(function, target, options)
    return _stub(target, None, options)


def faas_function_with_protocol(target: Any = None, *_args: Any, **options: Any) -> Any:
    """Return a stub that sends the positional list, or a decorator that makes one."""
    return faas_function(target, dialect="list", **options)


def sync_from_name(name: str, faas: Any = None, *_args: Any, **options: Any) -> Any:
    """Return a stub of the function with that name."""
    return _stub(_named(name, asynchronous=False), faas, {"name": name, **options})


def async_from_name(name: str, faas: Any = None, *_args: Any, **options: Any) -> Any:
    """Return an async stub of the function with that name."""
    return _stub(_named(name, asynchronous=True), faas, {"name": name, **options})


def sync_from_name_with_protocol(name: str, faas: Any = None, **options: Any) -> Any:
    """Return a stub of the function with that name that sends the positional list."""
    return sync_from_name(name, faas, **{"dialect": "list", **options})


def async_from_name_with_protocol(name: str, faas: Any = None, **options: Any) -> Any:
    """Return an async stub of the function with that name that sends the positional list."""
    return async_from_name(name, faas, **{"dialect": "list", **options})


def _named(name: str, *, asynchronous: bool) -> FunctionType:
    def function(*args: Any, **kwargs: Any) -> Any: ...

    async def async_function(*args: Any, **kwargs: Any) -> Any: ...

    made: Any = async_function if asynchronous else function
    made.__name__ = made.__qualname__ = name
    return made  # type: ignore[no-any-return]


def _stub(function: Any, faas: Any, options: dict[str, Any]) -> Any:
    """Make a function that finds the remote one when it is first called."""
    from functools import cache, wraps

    asynchronous = bool(function.__code__.co_flags & _CO_COROUTINE)

    @cache
    def remote() -> Callable[..., Any]:
        remote_function = _client("away.functions").RemoteFunction
        given = {_TRAVELLING[key]: options[key] for key in _TRAVELLING if key in options}
        if "name" not in options:
            given["description"] = _client("away.signatures").describe(function)
        made: Callable[..., Any] = remote_function(
            real_connection(faas),
            options.get("name") or function.__name__,
            kind="async" if asynchronous else "sync",
            python_name=function.__name__,
            module=function.__module__,
            **given,
        )
        return made

    if asynchronous:

        @wraps(function)
        async def async_stub(*args: Any, **kwargs: Any) -> Any:
            return await remote()(*args, **kwargs)

        return async_stub

    @wraps(function)
    def stub(*args: Any, **kwargs: Any) -> Any:
        return remote()(*args, **kwargs)

    return stub


# what a stub is told → what the real one calls it
_TRAVELLING = {
    "namespace": "namespace",
    "safe_args": "safe_args",
    "implicit_exception_handling": "implicit_exception_handling",
    "timeout": "timeout",
    "idempotent": "idempotent",
    "dialect": "dialect",
    "pack_args": "pack",
    "unpack_args": "unpack",
}

builder = ModuleType("away.builder", "Decorators that publish and call nothing (see away.runtime).")
builder.__dict__.update(
    publish=publish,
    publish_async=publish_async,
    publish_module=publish_module,
    publish_module_async=publish_module_async,
    mirror_in_faas=mirror_in_faas,
    faas_function=faas_function,
    faas_function_with_protocol=faas_function_with_protocol,
    sync_from_name=sync_from_name,
    async_from_name=async_from_name,
    sync_from_faas_str=sync_from_name,
    async_from_faas_str=async_from_name,
    sync_from_name_with_protocol=sync_from_name_with_protocol,
    async_from_name_with_protocol=async_from_name_with_protocol,
)

_connection = ModuleType("away.connection", "A connection that opens nothing.")
_connection.__dict__["FaasConnection"] = FaasConnection


def install() -> None:
    """Let ``import away.builder`` and ``away.connection`` give the stand-ins too.

    The builder's always, since the real one would publish; the connection's only where the real
    one is not packed, since references to other functions need that.
    """
    sys.modules["away.builder"] = builder
    if not _is_packed("away.connection"):
        sys.modules["away.connection"] = _connection

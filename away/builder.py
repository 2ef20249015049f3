"""The decorators: explicit control over which function is called, and what is published.

``faas_function`` makes a stub of a function that exists, ``publish`` deploys a local one and leaves
a proxy in its place, ``mirror_in_faas`` deploys it and leaves it where it is. All of them give the
same :class:`~away.functions.RemoteFunction` that the import hook gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

import away.left_proxies as left_proxies
import away.names as names
import away.publish_mode as publish_mode
import away.signatures as signatures
import away.stubs as stubs
from away.connection import FaasConnection
from away.exceptions import CaptureRefused, ConfigError, UnsafeWarning
from away.functions import RemoteFunction
from away.publish_mode import Declared, declared
from away.stubs import StubOptions
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from away.capture import WholeModule
    from away.modules import RemoteModule
    from away.placement import Offload, Placement
    from away.publish import Keywords

    class PublishOptions(Keywords, total=False):
        """What publishing can be told; :class:`away.publish.Options` says what each means."""

        verbose: bool
        implicit_exception_handling: bool
        idempotent: bool


__all__ = [
    "Declared",
    "async_from_faas_str",
    "async_from_name",
    "async_from_name_with_protocol",
    "declared",
    "faas_function",
    "faas_function_with_protocol",
    "mirror_in_faas",
    "publish",
    "publish_async",
    "publish_module",
    "publish_module_async",
    "sync_from_faas_str",
    "sync_from_name",
    "sync_from_name_with_protocol",
]

P = ParamSpec("P")
R = TypeVar("R")


# ---------------------------------------------------------------- stubs of functions that exist


@overload
def faas_function(faas: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def faas_function(
    faas: FaasConnection | None = None, **options: Unpack[StubOptions]
) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...
def faas_function(faas: Any = None, **options: Unpack[StubOptions]) -> Any:
    """Turn a stub into the function of that name behind a gateway; the stub's body never runs.

    Args:
        faas: The gateway; ``default`` of the configuration if it is left out.
        pack_args: Makes the request's text from the positional arguments, defaults filled in.
        unpack_args: Makes the call's value from the answer's text.
        implicit_exception_handling: False to return ``(value, status)`` and raise for no status.
        namespace: The OpenFaaS namespace; the connection's if it is left out.
        name: The function's name at the gateway, where it is not the stub's.
        safe_args: False to send and read pickles, for a function published so.
        timeout: Seconds for a whole call with its retries.
        idempotent: True if a call may be sent again when it is not known whether it ran.
        verbose: Taken for the sake of code written for the project of 2023; says nothing more.
        **options: All of the above but the gateway are keywords.

    Returns:
        A decorator; what it leaves is called like the stub, a coroutine function if that is one.

    The stub's annotations are read at the first call. An argument of another type is a TypeError, and
    nothing was sent; dataclasses, enumerations, dates, paths, named tuples and typed dicts travel as
    plain values, and a result becomes what the return annotation says
    (:exc:`away.exceptions.ResultMismatch` where it cannot). A stub in the body of a class is a method:
    ``self`` or ``cls`` as its first parameter is not sent.

    Raises:
        ConfigError: ``pack_args`` stands beside keyword-only or ``**`` parameters.
        NameRefused: No gateway could call a function by that name.

    Example:
        >>> from away import FaasConnection, builder
        >>> @builder.faas_function(FaasConnection(password="…"))
        ... def fibonacci(n: int) -> int: ...
        >>> fibonacci
        <remote function fibonacci on http://localhost:8080>
    """
    stubs.check_options("faas_function", options, StubOptions)
    return _decorator(faas, lambda stub, gateway: stubs.made_of(stub, gateway, **options))


@overload
def faas_function_with_protocol(faas: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def faas_function_with_protocol(
    faas: FaasConnection | None = None, **options: Unpack[StubOptions]
) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...
def faas_function_with_protocol(faas: Any = None, **options: Unpack[StubOptions]) -> Any:
    """Turn a stub into a function that the project of 2023 published, or Away did.

    The arguments travel as that project's positional list; a function of Away's asks for the
    protocol instead and gets it. Parameters as for :func:`faas_function`, without the packers.
    """
    stubs.check_options("faas_function_with_protocol", options, StubOptions)
    return _decorator(
        faas, lambda stub, gateway: stubs.made_of(stub, gateway, dialect="list", **options)
    )


def sync_from_name(
    function_name: str, faas: FaasConnection | None = None, **options: Unpack[StubOptions]
) -> RemoteFunction[..., Any]:
    """Make a function from its name at the gateway; it takes any arguments.

    Args:
        function_name: The name, as ``away list`` shows it or in Python's spelling.
        faas: The gateway; ``default`` of the configuration if it is left out.
        **options: Those of :func:`faas_function`, without ``name``.

    Returns:
        A function that blocks until the answer is there.
    """
    return _by_name(function_name, faas, "sync", "auto", options)


def async_from_name(
    function_name: str, faas: FaasConnection | None = None, **options: Unpack[StubOptions]
) -> RemoteFunction[..., Any]:
    """Make a coroutine function from its name at the gateway; see :func:`sync_from_name`."""
    return _by_name(function_name, faas, "async", "auto", options)


def sync_from_name_with_protocol(
    function_name: str, faas: FaasConnection | None = None, **options: Unpack[StubOptions]
) -> RemoteFunction[..., Any]:
    """Make a function that sends the positional list; see :func:`faas_function_with_protocol`."""
    return _by_name(function_name, faas, "sync", "list", options)


def async_from_name_with_protocol(
    function_name: str, faas: FaasConnection | None = None, **options: Unpack[StubOptions]
) -> RemoteFunction[..., Any]:
    """Make a coroutine function that sends the positional list."""
    return _by_name(function_name, faas, "async", "list", options)


# The original's other names for the same two.
sync_from_faas_str = sync_from_name
async_from_faas_str = async_from_name


def _by_name(
    function_name: str,
    faas: FaasConnection | None,
    kind: signatures.Kind,
    dialect: str,
    options: Mapping[str, Any],
) -> RemoteFunction[..., Any]:
    stubs.check_options(f"{kind}_from_name", options, StubOptions)
    return stubs.by_name(function_name, _gateway(faas), kind, dialect, options)


# ---------------------------------------------------------------- publishing


@overload
def publish(faas: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def publish(
    faas: FaasConnection | None = None, **options: Unpack[PublishOptions]
) -> Callable[[Callable[P, R]], RemoteFunction[P, R]]: ...
def publish(faas: Any = None, **options: Unpack[PublishOptions]) -> Any:
    """Publish the decorated function and leave a proxy of the same kind in its place.

    The function is captured with the values that it uses as they are now, packed into an image,
    deployed, and awaited until it answers. What is deployed already is left as it is. With
    ``AWAY_PUBLISH=never`` in the environment nothing is deployed: the proxy alone is made, with a
    warning where the deployed function is another.

    Args:
        faas: The gateway; ``default`` of the configuration if it is left out.
        name: The name to deploy under; needed for lambdas, methods and names beyond ASCII.
        safe_args: False to let arguments and results travel as pickles. Whoever can reach the
            function can then run code in it.
        overwrite: True to replace a function of that name which something else published.
        **options: Those of :func:`away.publish.publish`.

    Returns:
        A decorator; what it leaves runs the function at the gateway.

    Raises:
        CaptureRefused: The function, or a value that it uses, cannot be packed.
        NameRefused: The name cannot be deployed, or stands for another function.
        PublishFailed: A step failed; the message says which, and what runs now.

    Example::

        @builder.publish(faas)
        def sum_two_numbers(a, b):
            return a + b
    """
    return _decorator(faas, lambda function, gateway: _publish(function, gateway, dict(options)))


def mirror_in_faas(
    function: Callable[P, R],
    faas: FaasConnection | None = None,
    *,
    fallback: bool = False,
    offload: Offload | None = None,
    **options: Unpack[PublishOptions],
) -> RemoteFunction[P, R]:
    """Publish a function and return its proxy; the local function stays local.

    With ``fallback`` or ``offload`` the proxy has both sides, and each call chooses one; ``counts``
    says how many went where. What the function itself raises is never taken for a gateway that was
    not reached. A pickled proxy is a reference to the gateway and leaves the local side behind.

    Args:
        function: The function to publish.
        faas: The gateway; ``default`` of the configuration if it is left out.
        fallback: True to run here a call that could not reach the gateway, where nothing of it can
            have run there, with a ``FallbackWarning`` once a minute. Publishing itself does not
            fall back.
        offload: Which calls go to the gateway, the others run here: a predicate that is given the
            call's arguments, the number of calls running here from which on they go there,
            :func:`away.placement.calls_running` or :func:`away.placement.load_average`. Without it
            all go.
        **options: Those of :func:`publish`.

    Returns:
        A proxy that runs the function at the gateway.

    Raises:
        ConfigError: ``offload`` is none of these, or stands beside
            ``implicit_exception_handling=False``.
        AwayError: As :func:`publish` does.

    Example::

        far = builder.mirror_in_faas(resize, faas, fallback=True, offload=lambda image: len(image) > 1e6)
    """
    _check_mirror_options(options)
    placement = _placement(function, fallback, offload, options)
    proxy = _publish(function, _gateway(faas), dict(options))
    if placement is not None and isinstance(proxy, RemoteFunction):
        proxy.placement = placement
    return proxy


def _check_mirror_options(options: Mapping[str, Any]) -> None:
    """Refuse a keyword that only resembles one of the mirror's own; the rest are publish's to judge."""
    for each in options:
        near = names.nearest(each, ["fallback", "offload"], most=1)  # no option of publish is near
        if near:
            raise TypeError(
                f"mirror_in_faas() got an unexpected keyword argument {each!r}; did you mean"
                f" {near[0]!r}?"
            )


def mirror_quietly(
    function: Callable[P, R], faas: FaasConnection, options: Mapping[str, Any]
) -> RemoteFunction[P, R]:
    """Publish a function as :func:`mirror_in_faas` does, for whoever has warned the user already."""
    return _publish(function, faas, dict(options), is_said=True)


def _placement(
    function: Callable[..., Any],
    fallback: bool,
    offload: Offload | None,
    options: Mapping[str, Any],
) -> Placement | None:
    if not fallback and offload is None:
        return None
    from away.placement import Placement

    if not options.get("implicit_exception_handling", True):
        raise ConfigError(
            "implicit_exception_handling=False makes a call return a status, which one that runs here"
            " has not; leave it out, or fallback= and offload="
        )
    kind = signatures.kind_of(function)
    placement = Placement(function, kind=kind, fallback=fallback, offload=offload)
    placement.check_predicate()
    return placement


async def publish_async(
    function: Callable[P, R],
    faas: FaasConnection | None = None,
    /,
    **options: Unpack[PublishOptions],
) -> RemoteFunction[P, R]:
    """Publish a function while the event loop goes on, and return its proxy.

    Args:
        function: The function to publish; it stays local.
        faas: The gateway; ``default`` of the configuration if it is left out.
        **options: Those of :func:`publish`.

    Returns:
        A proxy that runs the function at the gateway, as the decorator leaves it.

    Raises:
        AwayError: As :func:`publish` does.

    Example::

        first, second = await asyncio.gather(
            builder.publish_async(add, faas), builder.publish_async(shasum, faas)
        )
    """
    gateway, given = _gateway(faas), dict(options)
    _refuse_remote(function)
    if publish_mode.is_inside():
        return function  # type: ignore[return-value]  # the local function takes the same calls
    declaration, of_proxy = _declaration(function, gateway, given)
    if publish_mode.is_to_deploy(gateway):
        published = await declaration.publish_now_async()
        proxy = _proxy(function, declaration, of_proxy, published.name, published.description)
        left_proxies.note(proxy)
        return proxy
    await publish_mode.warn_of_difference_async(declaration)
    return _declared_proxy(function, declaration, of_proxy)


def publish_module(
    module: ModuleType | str,
    faas: FaasConnection | None = None,
    *,
    functions: Iterable[str] | None = None,
    **options: Unpack[PublishOptions],
) -> RemoteModule:
    """Publish the public functions of a module as one function of the gateway, and return its twin.

    One image and one process serve them all, each under a path of its own. The module is imported
    there by its name: packed as source, pinned if it is installed, left out if it is Python's own. Its
    state lives in each replica. What cannot be remote, such as classes, is left out with a note.

    Its functions' signatures and docstrings, and its public constants that are safe values (as they
    are now), travel as annotations of the deployment, 200 kB at most: docstrings are cut first.

    Args:
        module: The module, a package or its dotted name; of a package, what it itself gives out.
        faas: The gateway; ``default`` of the configuration if it is left out.
        functions: The functions to publish; those of ``__all__`` if it is left out, or the public
            ones that the module defines.
        name: The name to deploy under; the last part of the module's own if it is left out.
        **options: Those of :func:`publish`; they hold for all of its functions.

    Returns:
        A module whose functions run at the gateway. Where this is a published function itself, and
        nothing is published, the module that was given.

    Raises:
        CaptureRefused: It has no function that could be remote, or something of it cannot be packed.
        AwayError: As :func:`publish` does.

    Example::

        far = builder.publish_module("textwrap", faas)
        far.dedent("  x")                       # or: from away.remote.myfaas.textwrap import dedent
    """
    if publish_mode.is_inside():
        return _local_module(module)  # type: ignore[return-value]  # it takes the same calls
    whole, declaration, of_proxy = _declared_module(
        module, _gateway(faas), functions, dict(options)
    )
    if publish_mode.is_to_deploy(declaration.faas):
        name = declaration.publish_now().name
    else:
        publish_mode.warn_of_difference(declaration)
        name = publish_mode.declared_name(declaration)
    return _remote_module(whole, declaration, of_proxy, name)


async def publish_module_async(
    module: ModuleType | str,
    faas: FaasConnection | None = None,
    *,
    functions: Iterable[str] | None = None,
    **options: Unpack[PublishOptions],
) -> RemoteModule:
    """Publish a module while the event loop goes on; as :func:`publish_module` otherwise."""
    if publish_mode.is_inside():
        return _local_module(module)  # type: ignore[return-value]  # it takes the same calls
    whole, declaration, of_proxy = _declared_module(
        module, _gateway(faas), functions, dict(options)
    )
    if publish_mode.is_to_deploy(declaration.faas):
        name = (await declaration.publish_now_async()).name
    else:
        await publish_mode.warn_of_difference_async(declaration)
        name = publish_mode.declared_name(declaration)
    return _remote_module(whole, declaration, of_proxy, name)


def _local_module(module: ModuleType | str) -> ModuleType:
    import importlib

    return importlib.import_module(module) if isinstance(module, str) else module


def _declared_module(
    module: ModuleType | str,
    faas: FaasConnection,
    functions: Iterable[str] | None,
    options: dict[str, Any],
) -> tuple[WholeModule, Declared, dict[str, Any]]:
    """Choose what of a module is published; with ``AWAY_PUBLISH=never`` note it for later."""
    from away.capture import whole_module

    whole: Any = whole_module(module, functions)  # publishing takes it where it takes a function
    declaration, of_proxy = _declaration(whole, faas, options)
    if not publish_mode.is_to_deploy(faas):
        publish_mode.declare(declaration)
    return whole, declaration, of_proxy


def _remote_module(
    whole: WholeModule, declaration: Declared, of_proxy: dict[str, Any], name: str
) -> RemoteModule:
    import away.modules as modules

    options = declaration.options
    described = whole.description(safe_args=options.get("safe_args", True))
    known = {
        key: each._replace(timeout=options.get("timeout"))
        for key, each in described.functions.items()
    }
    return modules.make(
        whole.module.__name__,
        modules.Place(
            declaration.faas, options.get("namespace") or declaration.faas.namespace, name
        ),
        described._replace(functions=known),
        manner=of_proxy,
        originals=whole.functions,
    )


# Options of the proxy that publishing leaves; the others are the deployment's.
_PROXY_OPTIONS = ("implicit_exception_handling", "idempotent")


def _publish(
    function: Callable[P, R],
    faas: FaasConnection,
    options: dict[str, Any],
    *,
    is_said: bool = False,
) -> RemoteFunction[P, R]:
    _refuse_remote(function)
    if publish_mode.is_inside():
        return function  # type: ignore[return-value]  # the local function takes the same calls
    declaration, of_proxy = _declaration(function, faas, options, is_said=is_said)
    if publish_mode.is_to_deploy(faas):
        published = declaration.publish_now()
        proxy = _proxy(function, declaration, of_proxy, published.name, published.description)
        left_proxies.note(proxy)
        return proxy
    publish_mode.warn_of_difference(declaration)
    return _declared_proxy(function, declaration, of_proxy)


def _refuse_remote(function: Any) -> None:
    if isinstance(function, RemoteFunction):
        raise ConfigError(
            f"{function!r} is remote already; publish the local function that it was made from",
            function=function.function_name,
        )


def _refuse_class(function: Any, options: Mapping[str, Any]) -> None:
    """Refuse a class of the user's: it could be published, and what it makes could not come back."""
    made_here = isinstance(function, type) and function.__module__ != "builtins"
    if made_here and options.get("safe_args", True):
        raise CaptureRefused(
            f"the class {function.__name__} cannot be remote, as only functions are; publish a function"
            " that makes one there and returns values that may travel"
        )


def _declaration(
    function: Callable[..., Any],
    faas: FaasConnection,
    options: dict[str, Any],
    *,
    is_said: bool = False,
) -> tuple[Declared, dict[str, Any]]:
    """Take apart what is the deployment's of the options and what is the proxy's."""
    if not is_said:
        _refuse_class(function, options)
    publish_mode.is_to_deploy()  # a wrong mode is said before anything is done
    of_proxy = {key: options.pop(key) for key in _PROXY_OPTIONS if key in options}
    if options.get("safe_args", True) is False:
        of_proxy["safe_args"] = False
        if not is_said:
            warn_at_user_line(
                unsafe_text(f"`{publish_mode.python_name(function)}` is published", faas),
                UnsafeWarning,
            )
    return Declared(function, faas, options), of_proxy


def unsafe_text(what: str, faas: FaasConnection) -> str:
    """Say what ``safe_args=False`` means, for a warning."""
    return (
        f"{what} with safe_args=False: whoever can reach it on {faas.url} can run code in it, and its"
        " answers can run code here"
    )


def _declared_proxy(
    function: Callable[P, R], declaration: Declared, of_proxy: dict[str, Any]
) -> RemoteFunction[P, R]:
    """Note what was not deployed, for ``away publish``, and make the proxy of what is."""
    name = publish_mode.declare(declaration)
    description = signatures.describe(function)._replace(timeout=declaration.options.get("timeout"))
    return _proxy(function, declaration, of_proxy, name, description)


def _proxy(
    function: Callable[P, R],
    declaration: Declared,
    of_proxy: dict[str, Any],
    name: str,
    description: signatures.Description,
) -> RemoteFunction[P, R]:
    return RemoteFunction[P, R](
        declaration.faas,
        name,
        namespace=declaration.options.get("namespace") or declaration.faas.namespace,
        kind=description.kind,
        description=description,
        python_name=publish_mode.python_name(function),
        dialect="protocol",
        local=function,
        **of_proxy,
    )


# ---------------------------------------------------------------- which gateway is meant


def _decorator(faas: Any, make: Callable[[Any, FaasConnection], Any]) -> Any:
    """Serve ``@decorator``, ``@decorator()`` and ``@decorator(faas)`` alike."""
    if faas is None or isinstance(faas, FaasConnection):
        return lambda function: make(function, _gateway(faas))
    if callable(faas):
        return make(faas, _gateway(None))
    raise _no_connection(faas)


def _gateway(faas: FaasConnection | None) -> FaasConnection:
    if faas is None:
        return FaasConnection.named("default")
    if not isinstance(faas, FaasConnection):
        raise _no_connection(faas)
    return faas


def _no_connection(given: object) -> ConfigError:
    return ConfigError(
        f"a FaasConnection is wanted and an object of type {type(given).__name__} was given; pass"
        " FaasConnection(…) or FaasConnection.named('…')"
    )

"""A connection to one gateway: its address, our login there, and what can be asked of it.

Nothing is opened, read or looked up before the first request. All that is decided lives in
conversations; :meth:`FaasConnection.run` and ``faas.aio.run`` pump them with requests and aiohttp.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from away.config.urls import normal_url
from away.connection import stand_ins
from away.connection.access import (
    Access,
    Login,
    configured_login,
    given_login,
    login_at,
    login_of,
)
from away.connection.catalogue import FunctionInfo, shared
from away.connection.catalogue_file import ListFiles
from away.connection.drivers import Drivers
from away.connection.transport_errors import TransportError
from away.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime, timedelta
    from types import TracebackType

    from away.config import GatewayConfig
    from away.config.secret import Secret
    from away.connection.aio import AioDriver
    from away.connection.catalogue import Catalogue
    from away.connection.gateway_api import GatewayApi
    from away.connection.logs import LogLine
    from away.connection.messages import Conversation, Deadline, Reply, Request
    from away.connection.sync import SyncDriver
    from away.connection.twins import AsyncTwins
    from away.connection.workers import Workers
    from away.exceptions import AwayError
    from away.signatures import Description

__all__ = ["DEFAULT_USER", "FaasConnection", "FunctionInfo"]

T = TypeVar("T")

DEFAULT_USER = "admin"
# What is pickled beside the URL: settings, never credentials.
_SETTINGS = (
    "user",
    "name",
    "namespace",
    "timeout",
    "connect_timeout",
    "ca_bundle",
    "auth_functions",
    "registry",
    "inside_registry",
    "insecure_registries",
    "base_image",
    "image_builder",
    "inside_url",
    "verbose",
)


class FaasConnection:
    """A gateway, and who we are there.

    Args:
        provider: A host, ``host:port``, or a whole URL, whose path prefix is kept.
        port: The port of a bare host.
        user: Whom the password belongs to.
        password: Text, or a number taken as text. Without one, what the configuration or faas-cli's
            log-in holds for exactly this URL is used.
        name: The gateway's configured name, if it has one.
        namespace: The OpenFaaS namespace; empty for the gateway's default.
        token: A bearer token, for gateways that take one instead of a password.
        timeout: Seconds for a whole call with its retries; None for no limit.
        connect_timeout: Seconds for a connection.
        ca_bundle: A file or folder of certificate authorities to trust for https.
        auth_functions: Whether the login goes to functions too, whose code then sees it.
        registry: The registry that images are pushed to and the gateway pulls from.
        inside_registry: The same registry as the gateway pulls from it, where that differs.
        insecure_registries: Registries that are spoken to by plain http.
        base_image: The image that published functions stand on.
        image_builder: Who makes images, ``registry`` or ``docker``.
        inside_url: The gateway's address as functions see it.
        verbose: Whether publishing shows its steps.

    Raises:
        ConfigError: A value cannot be used; the sentence says which.

    >>> FaasConnection("my-faas-server.com", port=8080, user="admin", password="1234")
    FaasConnection('http://my-faas-server.com:8080', user='admin')
    """

    def __init__(
        self,
        provider: str = "localhost",
        port: int = 8080,
        user: str = DEFAULT_USER,
        password: str | int | Secret | None = None,
        *,
        name: str | None = None,
        namespace: str = "",
        token: str | Secret | None = None,
        timeout: float | None = 120.0,
        connect_timeout: float = 5.0,
        ca_bundle: str | os.PathLike[str] | None = None,
        auth_functions: bool = False,
        registry: str | None = None,
        inside_registry: str | None = None,
        insecure_registries: Iterable[str] = (),
        base_image: str | None = None,
        image_builder: str | None = None,
        inside_url: str | None = None,
        verbose: bool = True,
    ) -> None:
        self.url = normal_url(provider, port)
        self.name = name
        self.namespace = namespace
        self.timeout = None if timeout is None else _seconds("timeout", timeout)
        self.connect_timeout = _seconds("connect_timeout", connect_timeout)
        self.ca_bundle = None if ca_bundle is None else os.fspath(ca_bundle)
        self.auth_functions = auth_functions
        self.registry = registry
        self.inside_registry = inside_registry
        self.insecure_registries = tuple(insecure_registries)
        self.base_image = base_image
        self.image_builder = image_builder
        self.inside_url = inside_url
        self.verbose = verbose
        self._user = user
        self._access = Access(
            self.url,
            login=given_login(user, password, token),
            find=self._find_login,
            auth_functions=auth_functions,
        )
        self._drivers = Drivers(self._access)
        self._catalogue: Catalogue | None = None
        self._api: GatewayApi | None = None
        self._twins: AsyncTwins | None = None

    @classmethod
    def named(cls, name: str = "default") -> FaasConnection:
        """Connect to a gateway by its configured name.

        Raises:
            UnknownGateway: No source configures it.
            ConfigError: What a source says cannot be used.
        """
        import away.config as config

        return cls.configured(config.resolve(name))

    @classmethod
    def configured(cls, found: GatewayConfig) -> Self:
        """Connect to a gateway as its configuration says that was read (:func:`away.config.resolve`).

        Raises:
            ConfigError: What it says cannot be used.
        """
        connection = cls(
            found.url,
            user=found.user,
            name=found.name,
            namespace=found.namespace,
            timeout=found.timeout,
            connect_timeout=found.connect_timeout,
            ca_bundle=found.ca_bundle,
            registry=found.registry,
            inside_registry=found.inside_registry,
            insecure_registries=found.insecure_registries,
            base_image=found.base_image,
            image_builder=found.image_builder,
            inside_url=found.inside_url,
        )
        login = login_of(found)
        if login is not None:
            # Found, not given: when it is refused, the configuration is asked once more.
            connection._access.remember(login)
        return connection

    @classmethod
    def local(cls) -> FaasConnection:
        """Connect to the embedded gateway that runs on this machine."""
        return cls.named("local")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, user={self._user!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address and settings: the reading process finds credentials of its own."""
        settings = {key: getattr(self, key) for key in _SETTINGS if key != "user"}
        return _reconnect, (type(self), self.url, {**settings, "user": self._user})

    # ------------------------------------------------------------ who we are

    @property
    def user(self) -> str:
        """The user's name at the gateway."""
        login = self._access.login()
        return self._user if login is None else login.user

    @property
    def password(self) -> str | None:
        """The password as text, where one was given or found."""
        login = self._access.login()
        return login.password.reveal() if login is not None and login.password else None

    @property
    def is_logged_in(self) -> bool:
        """Whether a login is known; the gateway may refuse it all the same."""
        # A test's fake asks for none, on whatever machine the test runs.
        return stand_ins.chosen_for(self) is not None or self._access.login() is not None

    def _find_login(self) -> Login | None:
        if self.name is not None:
            login = configured_login(self.name, self.url)
            if login is not None:
                return login
        wanted = None if self._user == DEFAULT_USER else self._user
        return login_at(self.url, wanted)

    # ------------------------------------------------------------ the machinery, made when needed

    @property
    def catalogue(self) -> Catalogue:
        """What is known of the gateway's functions, shared with others of the same login."""
        if self._catalogue is None:
            login = self._access.login()
            files = ListFiles(self.url, login.user if login else "")
            self._catalogue = shared((self.url, login and hash(login)), files)
        return self._catalogue

    @property
    def api(self) -> GatewayApi:
        """The gateway's API as conversations."""
        if self._api is None:
            from away.connection.gateway_api import GatewayApi

            self._api = GatewayApi(
                self._access,
                self.catalogue,
                timeout=self.timeout,
                connect_timeout=self.connect_timeout,
                namespace=self.namespace,
                name=self.name,
            )
        return self._api

    @property
    def sync_driver(self) -> SyncDriver:
        """What pumps conversations in the calling thread."""
        if stand_ins.now is not None and (found := stand_ins.chosen_for(self)) is not None:
            return found.sync
        return self._drivers.sync or self._drivers.make_sync(self.ca_bundle)

    @property
    def aio_driver(self) -> AioDriver:
        """What pumps conversations on the running event loop."""
        if stand_ins.now is not None and (found := stand_ins.chosen_for(self)) is not None:
            return found.aio
        return self._drivers.aio or self._drivers.make_aio(self.ca_bundle)

    @property
    def aio(self) -> AsyncTwins:
        """The same methods as coroutines."""
        if self._twins is None:
            from away.connection.twins import AsyncTwins

            self._twins = AsyncTwins(self)
        return self._twins

    def run(self, conversation: Conversation[T]) -> T:
        """Pump a conversation in the calling thread and return what it returns."""
        return self.sync_driver.run(conversation)

    @property
    def workers(self) -> Workers:
        """Threads that have conversations for those who do not wait for them."""
        return self._drivers.workers or self._drivers.make_workers()

    def deadline(self, timeout: Deadline | float | None = None) -> Deadline:
        """Return a deadline after so many seconds, or after the connection's timeout."""
        return self.api.deadline(timeout)

    def close(self) -> None:
        """Close what is open. The connection can be used again, and opens anew then.

        Calls that were submitted and run are waited for; those that have not begun are cancelled.
        """
        self._drivers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and self._drivers.workers is not None:
            self._drivers.workers.close(cut=True)
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aio.close()
        if self._drivers.workers is not None:
            import asyncio

            await asyncio.to_thread(self._drivers.workers.close, cut=kind is not None)
        self.close()

    # ------------------------------------------------------------ functions

    def functions(
        self, fresh: bool = False, *, namespace: str | None = None, timeout: float | None = None
    ) -> list[FunctionInfo]:
        """List the functions, sorted by name; a list is kept for 10 seconds.

        Args:
            fresh: Whether to ask the gateway in any case.
            namespace: Another namespace than the connection's.
            timeout: Seconds; the connection's if left out.
        """
        return self.run(self.api.functions(fresh=fresh, namespace=namespace, deadline=timeout))

    def function(
        self, name: str, *, namespace: str | None = None, timeout: float | None = None
    ) -> FunctionInfo:
        """Describe one function, by its name or the Python name for it.

        Raises:
            FunctionNotFound: There is none; the sentence names the nearest ones.
        """
        return self.run(self.api.function_or_absent(name, timeout, namespace=namespace))

    def deploy(self, deployment: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """Deploy a new function by OpenFaaS's own request: ``service``, ``image`` and so on."""
        self.run(self.api.deploy(deployment, method="POST", deadline=timeout))

    def update(self, deployment: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """Replace a function. All that the request leaves out is gone; a bad one may end what ran."""
        self.run(self.api.deploy(deployment, method="PUT", deadline=timeout))

    def remove(
        self, name: str, namespace: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Remove a function, by its exact name."""
        self.run(self.api.remove(name, namespace, timeout))

    def scale(
        self,
        name: str,
        replicas: int,
        *,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Ask for so many replicas; providers have limits of their own."""
        self.run(self.api.scale(name, replicas, namespace, timeout))

    @overload
    def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: Literal[False] = False,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> list[LogLine]: ...

    @overload
    def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: Literal[True],
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[LogLine]: ...

    def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        follow: bool = False,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> list[LogLine] | Iterator[LogLine]:
        """Give a function's log until now, or with ``follow`` an iterator of its lines as they come.

        Args:
            name: The function.
            tail: Only so many of the last lines.
            since: A moment, or a span or seconds before now. OpenFaaS gives 5 minutes without it.
            follow: Whether to wait for further lines, until the timeout.
            namespace: Another namespace than the connection's.
            timeout: Seconds; the connection's if left out.

        Raises:
            FunctionNotFound: The gateway does not have it; not where a log is followed without ``tail``.
        """
        if follow:
            return self.follow_logs(
                name, tail=tail, since=since, namespace=namespace, timeout=timeout
            )
        return self.run(
            self.api.logs(name, tail=tail, since=since, namespace=namespace, deadline=timeout)
        )

    def follow_logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[LogLine]:
        """Give log lines as they come, until the timeout; a gateway that hangs up is asked again.

        With ``tail`` only so many of those that are there already come before.
        """
        follower = self.api.follower(name, since=since, namespace=namespace, deadline=timeout)
        if tail is not None:
            known = self.logs(name, tail=tail, since=since, namespace=namespace, timeout=timeout)
            follower.begin_after(known)
            yield from known
        while (send := follower.next_request()) is not None:
            try:
                with contextlib.closing(self.sync_driver.stream(send)) as pieces:
                    for piece in pieces:
                        yield from follower.take(piece)
            except TransportError as error:
                failure = follower.failed(error)
                if failure is not None:
                    raise failure from error

    # ------------------------------------------------------------ secrets, namespaces, the gateway

    def secrets(self, *, namespace: str | None = None, timeout: float | None = None) -> list[str]:
        """List the names of the gateway's secrets; values are never told."""
        return self.run(self.api.secrets(namespace, timeout))

    def create_secret(self, name: str, value: str | bytes, *, namespace: str | None = None) -> None:
        """Store a secret that deployments can name."""
        self.run(self.api.store_secret("POST", name, value, namespace))

    def update_secret(self, name: str, value: str | bytes, *, namespace: str | None = None) -> None:
        """Overwrite a secret."""
        self.run(self.api.store_secret("PUT", name, value, namespace))

    def remove_secret(self, name: str, *, namespace: str | None = None) -> None:
        """Remove a secret."""
        self.run(self.api.remove_secret(name, namespace))

    def namespaces(self, *, timeout: float | None = None) -> list[str]:
        """List the gateway's namespaces."""
        return self.run(self.api.namespaces(timeout))

    def info(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Describe the gateway and its provider, as ``/system/info`` does."""
        return self.run(self.api.info(timeout))

    # ------------------------------------------------------------ calls

    def invoke(
        self,
        name: str,
        body: bytes | Iterable[bytes] = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        path: str = "",
        query: str = "",
        namespace: str | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Reply:
        """Call a function with raw bytes and return its answer, whatever status it gave.

        Args:
            name: The function's exact name.
            body: What it gets.
            method: Any that OpenFaaS passes on.
            headers: Header fields that it gets.
            path: A path below the function's own.
            query: A query, escaped.
            namespace: Another namespace than the connection's.
            timeout: Seconds for the whole call; the connection's if left out.
            idempotent: Whether it may run twice: then lost answers are tried again.

        Raises:
            FunctionNotFound, FunctionNotReady, CallTimedOut, AnswerLost, GatewayUnreachable,
                AuthenticationRefused, GatewayError: The platform's own errors.
        """
        return self.run(
            self.api.invoke_or_refuse(
                name,
                body,
                method=method,
                headers=headers,
                path=path,
                query=query,
                namespace=namespace,
                deadline=timeout,
                idempotent=idempotent,
            )
        )

    def refusal(self, reply: Reply, function: str) -> AwayError:
        """Make the error for an answer to a call that is not 2xx: the platform's or its own."""
        return self.api.refusal(reply, function)

    @contextlib.contextmanager
    def expecting_update(
        self, name: str, namespace: str | None = None, *, hold: bool = False
    ) -> Iterator[None]:
        """Within it, and some seconds after, calls wait out that the gateway misses the function.

        Args:
            name: The function.
            namespace: Another namespace than the connection's.
            hold: Whether calls of this process that begin within it wait for its end, for a gateway
                that loses what is sent while it updates, as faasd does.
        """
        space = self.namespace if namespace is None else namespace
        with self.catalogue.updating(space, name, hold=hold):
            yield

    # ------------------------------------------------------------ conversations for other rooms

    def conversation_invoke(
        self,
        name: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        path: str = "",
        query: str = "",
        namespace: str | None = None,
        deadline: Deadline | float | None = None,
        idempotent: bool = False,
    ) -> Conversation[Reply]:
        """Call a function; all answers are returned but that the gateway has no such function."""
        return self.api.invoke(
            name,
            body,
            method=method,
            headers=headers,
            path=path,
            query=query,
            namespace=namespace,
            deadline=deadline,
            idempotent=idempotent,
        )

    def conversation_function(
        self,
        name: str,
        deadline: Deadline | float | None = None,
        *,
        namespace: str | None = None,
    ) -> Conversation[FunctionInfo | None]:
        """Ask for one function; None if there is none."""
        return self.api.function(name, deadline, namespace=namespace)

    def conversation_function_or_absent(
        self,
        name: str,
        deadline: Deadline | float | None = None,
        *,
        namespace: str | None = None,
    ) -> Conversation[FunctionInfo]:
        """Ask for one function; FunctionNotFound with the nearest names if there is none."""
        return self.api.function_or_absent(name, deadline, namespace=namespace)

    def conversation_request(
        self,
        request: Request,
        deadline: Deadline | float | None = None,
        *,
        idempotent: bool | None = None,
    ) -> Conversation[Reply]:
        """Send any request, to the gateway or by a whole URL, without a verdict on the status."""
        return self.api.request(request, deadline, idempotent=idempotent)

    # ------------------------------------------------------------ names of the project of 2023

    def remove_fn(self, name: str) -> None:
        """Remove a function, by its exact name."""
        self.remove(name)

    def get_faas_functions(self) -> list[str]:
        """List the functions' names."""
        return [info.name for info in self.functions()]

    def check_fn_present(self, name: str) -> bool:
        """Tell whether the gateway has a function."""
        return self.run(self.api.function(name)) is not None

    def ensure_fn_present(self, name: str) -> None:
        """Raise FunctionNotFound unless the gateway has a function."""
        self.function(name)

    def is_available(self) -> bool:
        """Tell whether the gateway answers that it is well."""
        return self.run(self.api.is_available())

    def ensure_available(self) -> None:
        """Raise GatewayUnreachable, or what else it is, unless the gateway is well."""
        self.run(self.api.health())

    def is_auth(self) -> bool:
        """Tell whether the gateway takes the login."""
        return self.run(self.api.is_auth())

    def ensure_auth(self) -> None:
        """Raise AuthenticationRefused unless the gateway takes the login."""
        self.run(self.api.info())

    def get_function_annotations(self, name: str) -> dict[str, str]:
        """Return a function's annotations."""
        return self.function(name).annotations

    def get_sysinfo(self) -> dict[str, Any]:
        """Describe the gateway and its provider."""
        return self.info()

    def is_away_protocol(self, name: str) -> bool:
        """Tell whether a function was published by Away."""
        return self.description_of(name) is not None

    def description_of(self, name: str) -> Description | None:
        """Return what Away's annotations say of a function; None where Away did not publish it."""
        return self.function(name).description


def _reconnect(cls: type[FaasConnection], url: str, settings: dict[str, Any]) -> FaasConnection:
    """Make a connection from its pickle."""
    return cls(url, **settings)


def _seconds(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(f"{key}= is a positive number of seconds, not {value!r}")
    return float(value)

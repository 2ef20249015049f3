"""The embedded gateway's life: its port, its state, its announcement, and its orderly end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.http import HttpProcessingError

from away.gateway import announcement, base_image
from away.gateway.access import Access, host_name, is_loopback
from away.gateway.app import App
from away.gateway.deployments import Deployments
from away.gateway.providers.process import ProcessProvider
from away.gateway.store import Store, StoreUnusable, kept_password

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from away.gateway.providers import Provider
    from away.gateway.providers.engine import Engine
    from away.gateway.providers.networks import Networks
    from away.gateway.references import Reference

__all__ = ["Options", "StartFailed", "Started", "serve"]

USER = "admin"
# Where OpenFaaS's gateway listens, and where its clients look first.
DEFAULT_PORT = 8080
# Go's limit for a request's head.
MAX_HEADER_BYTES = 1 << 20
# How long calls in flight may go on when the gateway ends.
SHUTDOWN_SECONDS = 2.0
# Many callers at once: aiohttp's default of 128 connections waiting drops the 129th.
BACKLOG = 1024
LOOPBACK = "127.0.0.1"
# A port that is free on loopback is nearly always free on the bridge too.
FREE_PORT_TRIES = 20


class StartFailed(Exception):
    """The gateway cannot start; the text says why, in one sentence."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a gateway is to run.

    Args:
        state: The folder of its functions and images.
        version: Away's version, which the gateway reports.
        port: 0 for any; None for 8080, or any where that is taken.
        password: None for the state's own, made at its first start.
        allowed_hosts: Host names to answer to beside loopback's.
        announce: Whether this user's other processes may find it.
        extra_path: Folders that isolated interpreters of this gateway need on their path.
        parent: The process without which this gateway must not go on, if any.
        provider: Where functions run: ``process`` or ``docker``.
        temporary: Whether nothing is to stay of it outside its state.
    """

    state: Path
    version: str
    port: int | None = None
    password: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    announce: bool = True
    extra_path: tuple[str, ...] = ()
    parent: int | None = None
    provider: str = "process"
    temporary: bool = False

    def __repr__(self) -> str:
        return f"Options(state={self.state!r}, port={self.port})"


@dataclass(frozen=True, slots=True)
class Started:
    """A gateway that is up: its announcement, and sentences that its user should read."""

    announcement: announcement.Announcement
    notes: tuple[str, ...]


async def serve(options: Options, stop: asyncio.Event, ready: Callable[[Started], object]) -> None:
    """Run a gateway until it is told to stop.

    Args:
        options: How.
        stop: Ends it when set; so do SIGINT and SIGTERM where this is the main thread.
        ready: Called once it answers.

    Raises:
        StartFailed: Its port or its state cannot be used.
    """
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        engine = await _engine(options.provider, stack)
        bridge = engine.bridge if engine is not None else ""
        listeners = _listen(options.port, bridge, notes)
        for each in listeners:
            stack.enter_context(each)
        port = listeners[0].getsockname()[1]
        store, announced = _take_state(options, port, stack)
        provider = await _provider(options, store, announced, engine)
        deployments, runner = await _build(options, store, announced, provider, engine, stack)
        deployments.restore()
        for each in listeners:
            await web.SockSite(runner, each, backlog=BACKLOG).start()
        if options.announce:
            _announce(announced, stack, notes)
        _stop_on_signals(stop)
        ready(Started(announced, tuple(notes)))
        await _until_stopped(stop, options.parent)


async def _engine(provider: str, stack: AsyncExitStack) -> Engine | None:
    """Return the container engine where functions are to run in it, and none otherwise."""
    if provider == "process":
        return None
    if provider != "docker":
        raise StartFailed(f"there is no provider {provider!r}: there are 'process' and 'docker'")
    try:
        from away.gateway.providers.engine import EngineUnusable, open_engine
    except ModuleNotFoundError as error:
        raise StartFailed(
            f"the docker provider needs the package {error.name}, which is not installed;"
            " install aiodocker"
        ) from error
    try:
        engine = await open_engine()
    except EngineUnusable as error:
        raise StartFailed(str(error)) from error
    # Closed twice where the provider has closed it already, which does nothing.
    stack.push_async_callback(engine.close)
    return engine


async def _provider(
    options: Options,
    store: Store,
    announced: announcement.Announcement,
    engine: Engine | None,
) -> Provider:
    if engine is None:
        return ProcessProvider(store, sys.executable, options.extra_path)
    from away.gateway.providers.docker import DockerProvider
    from away.gateway.providers.engine_images import Own

    url, user, password = announced.url, announced.user, announced.password
    inside_url = f"http://{engine.bridge}:{_port_of(url)}"
    own = Own(url, inside_url, user, password, temporary=options.temporary)
    provider = DockerProvider(store, engine, own)
    await provider.open()
    return provider


async def _build(
    options: Options,
    store: Store,
    announced: announcement.Announcement,
    provider: Provider,
    engine: Engine | None,
    stack: AsyncExitStack,
) -> tuple[Deployments, web.ServerRunner]:
    """Put the parts together; they are closed in the opposite order."""
    await asyncio.to_thread(_seed, store)
    bridge = engine.bridge if engine is not None else ""
    allowed = (*options.allowed_hosts, bridge) if bridge else options.allowed_hosts
    access = Access(announced.user, announced.password, allowed)
    own = tuple(options.allowed_hosts)
    port = _port_of(announced.url)
    deployments = Deployments(
        store, provider, lambda image: _is_ours(image, port, own, bridge), announced.url, bridge
    )
    stack.push_async_callback(deployments.close)
    app = App(access, deployments, store, options.version, _networks(engine))
    server = web.Server(
        app.handle,
        # A client that goes away takes its call along, as in OpenFaaS.
        handler_cancellation=True,
        access_log=None,
        logger=_logger(),
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=1000,
    )
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
    stack.push_async_callback(runner.cleanup)
    stack.callback(app.close)
    await runner.setup()
    return deployments, runner


def _networks(engine: Engine | None) -> Networks | None:
    if engine is None:
        return None
    from away.gateway.providers.networks import Networks

    return Networks(engine)


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def _seed(store: Store) -> None:
    # In a thread with a connection of its own: reading the environment takes a while.
    own = Store(store.folder)
    try:
        base_image.seed(own)
    finally:
        own.close()


def _take_state(
    options: Options, port: int, stack: AsyncExitStack
) -> tuple[Store, announcement.Announcement]:
    """Lock the state folder, so that one gateway at a time has it, and open the store in it."""
    url = f"http://127.0.0.1:{port}"
    try:
        announcement.make_private(options.state)
        options.state.chmod(0o700)
        password = options.password or kept_password(options.state)
        announced = announcement.Announcement(url, USER, password, os.getpid(), str(options.state))
        stack.enter_context(announcement.announce(announced, options.state))
        store = Store(options.state)
        stack.callback(store.close)
    except announcement.AlreadyRunning as error:
        where = f" at {error.by.url} (process {error.by.pid})" if error.by else ""
        raise StartFailed(
            f"a gateway with the state in {options.state} runs already{where}; use that one,"
            " or name another folder with --state"
        ) from error
    except StoreUnusable as error:
        raise StartFailed(str(error)) from error
    except OSError as error:
        raise StartFailed(
            f"the gateway cannot keep its state in {options.state}: {error.strerror or error};"
            " name another folder with --state"
        ) from error
    return store, announced


def _announce(
    announced: announcement.Announcement, stack: AsyncExitStack, notes: list[str]
) -> None:
    """Let this user's other processes find the gateway, if no other one is found already."""
    try:
        stack.enter_context(announcement.announce(announced, announcement.folder()))
    except announcement.AlreadyRunning as error:
        other = error.by.url if error.by else "another gateway"
        notes.append(f"away.remote.local stays with {other}, which was announced first")
    except OSError as error:
        notes.append(f"away.remote.local will not find this gateway: {error}")


def _listen(port: int | None, bridge: str, notes: list[str]) -> list[socket.socket]:
    """Take a port of loopback, and of the containers' bridge where there is one.

    Who connects before the gateway can answer waits for it.
    """
    wanted = DEFAULT_PORT if port is None else port
    hosts = [LOOPBACK, bridge] if bridge else [LOOPBACK]
    try:
        return _bind_all(hosts, wanted)
    except _Taken as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES) or port is not None:
            raise StartFailed(
                f"the gateway cannot listen on port {port} of {error.host}: {error.reason};"
                " name another with --port"
            ) from error
    listeners = _bind_all(hosts, 0)
    free = listeners[0].getsockname()[1]
    notes.append(f"port {DEFAULT_PORT} is taken, so the gateway listens on {free}")
    return listeners


class _Taken(Exception):
    """A port of a host that cannot be listened on."""

    def __init__(self, host: str, error: OSError) -> None:
        super().__init__(f"{host}: {error}")
        self.host = host
        self.errno = error.errno
        self.reason = error.strerror or error


def _bind_all(hosts: list[str], port: int) -> list[socket.socket]:
    """Take the same port of all hosts; a free one that another host lacks is tried again."""
    for left in reversed(range(FREE_PORT_TRIES)):
        first = _bind(hosts[0], port)
        try:
            others = [_bind(host, first.getsockname()[1]) for host in hosts[1:]]
        except _Taken as error:
            first.close()
            if error.errno == errno.EADDRNOTAVAIL:
                raise StartFailed(
                    f"containers reach their host at {error.host}, which is no address of this"
                    " machine, as with Docker Desktop or an engine without root; run functions as"
                    " processes without --provider docker, or use Docker Engine on this machine"
                ) from error
            if port or not left:
                raise
        else:
            return [first, *others]
    raise AssertionError("the last try returns or raises")


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # As every server on POSIX: a port is free again at once when its server ended.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Two may bind a port on which nobody listens yet: only now it is ours.
        listener.listen(BACKLOG)
    except OverflowError as error:
        listener.close()
        raise StartFailed(f"{port} is not a port: ports are 0 to 65535") from error
    except OSError as error:
        listener.close()
        raise _Taken(host, error) from error
    return listener


def _is_ours(image: Reference, port: int, allowed_hosts: tuple[str, ...], bridge: str) -> bool:
    """Tell whether an image's name means this gateway's registry: without a host, or by its own."""
    if not image.host:
        return True
    name = host_name(image.host)
    if name in {each.lower().rstrip(".") for each in allowed_hosts}:
        return True
    return (is_loopback(name) or name == bridge) and image.host.endswith(f":{port}")


def _stop_on_signals(stop: asyncio.Event) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)


async def _until_stopped(stop: asyncio.Event, parent: int | None) -> None:
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), 1.0 if parent else None)
        except TimeoutError:
            # Its end closes a pipe too, unless a child that it forked holds that open.
            if os.getppid() != parent:
                return


def _logger() -> logging.Logger:
    logger = logging.getLogger("away.gateway")
    logger.addFilter(_not_the_clients_fault)
    return logger


def _not_the_clients_fault(record: logging.LogRecord) -> bool:
    """Leave requests that are not HTTP out of the log: they are answered, and nobody's bug here."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not isinstance(error, (HttpProcessingError, ConnectionError))

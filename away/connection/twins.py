"""A connection's methods as coroutines: ``await faas.aio.functions()``.

Each pumps the same conversation as its blocking twin. Nothing is decided here.
"""

# ruff: noqa: ASYNC109  # the same parameter as in the blocking twin, which is the point
from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from away.connection.transport_errors import TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
    from datetime import datetime, timedelta

    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.connection.logs import LogLine
    from away.connection.messages import Conversation, Reply

__all__ = ["AsyncTwins"]

T = TypeVar("T")


class AsyncTwins:
    """The coroutine face of a connection; made by :attr:`FaasConnection.aio`."""

    def __init__(self, connection: FaasConnection) -> None:
        self._of = connection

    def __repr__(self) -> str:
        return f"{self._of!r}.aio"

    def run(self, conversation: Conversation[T]) -> Coroutine[Any, Any, T]:
        """Pump a conversation on the running event loop; awaited, it gives what that returns."""
        return self._of.aio_driver.run(conversation)

    async def functions(
        self, fresh: bool = False, *, namespace: str | None = None, timeout: float | None = None
    ) -> list[FunctionInfo]:
        """List the functions; see :meth:`FaasConnection.functions`."""
        return await self.run(
            self._of.api.functions(fresh=fresh, namespace=namespace, deadline=timeout)
        )

    async def function(
        self, name: str, *, namespace: str | None = None, timeout: float | None = None
    ) -> FunctionInfo:
        """Describe one function; see :meth:`FaasConnection.function`."""
        return await self.run(self._of.api.function_or_absent(name, timeout, namespace=namespace))

    async def deploy(self, deployment: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """Deploy a new function; see :meth:`FaasConnection.deploy`."""
        await self.run(self._of.api.deploy(deployment, method="POST", deadline=timeout))

    async def update(self, deployment: Mapping[str, Any], *, timeout: float | None = None) -> None:
        """Replace a function; see :meth:`FaasConnection.update`."""
        await self.run(self._of.api.deploy(deployment, method="PUT", deadline=timeout))

    async def remove(
        self, name: str, namespace: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Remove a function; see :meth:`FaasConnection.remove`."""
        await self.run(self._of.api.remove(name, namespace, timeout))

    async def scale(
        self,
        name: str,
        replicas: int,
        *,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Ask for so many replicas; see :meth:`FaasConnection.scale`."""
        await self.run(self._of.api.scale(name, replicas, namespace, timeout))

    async def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> list[LogLine]:
        """Give a function's log; see :meth:`FaasConnection.logs`."""
        return await self.run(
            self._of.api.logs(name, tail=tail, since=since, namespace=namespace, deadline=timeout)
        )

    async def follow_logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[LogLine]:
        """Give log lines as they come, ``async for``; see :meth:`FaasConnection.follow_logs`."""
        from contextlib import aclosing

        follower = self._of.api.follower(name, since=since, namespace=namespace, deadline=timeout)
        if tail is not None:
            known = await self.logs(
                name, tail=tail, since=since, namespace=namespace, timeout=timeout
            )
            follower.begin_after(known)
            for line in known:
                yield line
        while (send := follower.next_request()) is not None:
            try:
                async with aclosing(self._of.aio_driver.stream(send)) as pieces:
                    async for piece in pieces:
                        for line in follower.take(piece):
                            yield line
            except TransportError as error:
                failure = follower.failed(error)
                if failure is not None:
                    raise failure from error

    async def secrets(
        self, *, namespace: str | None = None, timeout: float | None = None
    ) -> list[str]:
        """List the names of secrets; see :meth:`FaasConnection.secrets`."""
        return await self.run(self._of.api.secrets(namespace, timeout))

    async def create_secret(
        self, name: str, value: str | bytes, *, namespace: str | None = None
    ) -> None:
        """Store a secret; see :meth:`FaasConnection.create_secret`."""
        await self.run(self._of.api.store_secret("POST", name, value, namespace))

    async def update_secret(
        self, name: str, value: str | bytes, *, namespace: str | None = None
    ) -> None:
        """Overwrite a secret; see :meth:`FaasConnection.update_secret`."""
        await self.run(self._of.api.store_secret("PUT", name, value, namespace))

    async def remove_secret(self, name: str, *, namespace: str | None = None) -> None:
        """Remove a secret; see :meth:`FaasConnection.remove_secret`."""
        await self.run(self._of.api.remove_secret(name, namespace))

    async def namespaces(self, *, timeout: float | None = None) -> list[str]:
        """List the namespaces; see :meth:`FaasConnection.namespaces`."""
        return await self.run(self._of.api.namespaces(timeout))

    async def info(self, *, timeout: float | None = None) -> dict[str, Any]:
        """Describe the gateway; see :meth:`FaasConnection.info`."""
        return await self.run(self._of.api.info(timeout))

    async def invoke(
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
        """Call a function with raw bytes; see :meth:`FaasConnection.invoke`."""
        return await self.run(
            self._of.api.invoke_or_refuse(
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

    async def is_available(self) -> bool:
        """Tell whether the gateway answers; see :meth:`FaasConnection.is_available`."""
        return await self.run(self._of.api.is_available())

    async def is_auth(self) -> bool:
        """Tell whether the gateway takes the login; see :meth:`FaasConnection.is_auth`."""
        return await self.run(self._of.api.is_auth())

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._of.aio_driver.aclose()

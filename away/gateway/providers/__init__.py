"""The seam between the gateway and where functions run.

A provider turns a deployment into a running instance that listens on a loopback port. The one that
there is starts processes (:mod:`away.gateway.providers.process`); one for containers goes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.gateway.deploy_request import Deployment
    from away.gateway.logs import Log

__all__ = ["Instance", "Provider", "StartRefused"]


class StartRefused(Exception):
    """A deployment that this provider cannot start; the text says why, in one sentence."""


class Instance(Protocol):
    """One running copy of a function."""

    @property
    def pid(self) -> int:
        """The process under which its log lines stand."""

    @property
    def port(self) -> int:
        """The loopback port on which it listens, or will."""

    @property
    def alive(self) -> bool:
        """False from the moment that its end was seen."""

    async def listening(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait until the port answers; False when it ended, or has not by then."""

    async def ended(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait until it has ended; False when it has not by then."""


class Provider(Protocol):
    """Where functions run."""

    name: str

    async def prepare(self, deployment: Deployment) -> Mapping[str, str]:
        """Do all that can fail before anything is started, and return the image's environment.

        Raises:
            StartRefused: The image cannot run here.
        """

    async def start(self, deployment: Deployment, log: Log) -> Instance:
        """Start a prepared deployment; it need not listen yet.

        Raises:
            StartRefused: The system did not start it.
        """

    async def stop(self, instance: Instance, grace: float) -> None:
        """Ask an instance to end, and end it with all that it started after ``grace`` seconds."""

    async def forget(self, name: str) -> None:
        """Remove what was kept for a function that is no longer deployed."""

    async def close(self) -> None:
        """Stop everything."""

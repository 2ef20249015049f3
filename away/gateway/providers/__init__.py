"""The seam between the gateway and where functions run.

A provider turns a deployment into a running instance that listens at an address. One starts processes
(:mod:`away.gateway.providers.process`), one starts containers (:mod:`away.gateway.providers.docker`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.gateway.deploy_request import Deployment
    from away.gateway.logs import Log

__all__ = ["PROCESS_IMAGES", "Instance", "Prepared", "Provider", "StartRefused"]

# The reserved image whose functions are commands of this machine.
PROCESS_IMAGES = ("process", "process:latest")


class StartRefused(Exception):
    """A deployment that this provider cannot start; the text says why, in one sentence."""


class Prepared(NamedTuple):
    """What a provider found of an image: its environment, and by what name it has it, if by one."""

    image_env: Mapping[str, str]
    image_id: str = ""


class Instance(Protocol):
    """One running copy of a function."""

    @property
    def name(self) -> str:
        """What its log lines stand under."""

    @property
    def host(self) -> str:
        """The address at which it listens, or will."""

    @property
    def port(self) -> int:
        """The port there."""

    @property
    def alive(self) -> bool:
        """False from the moment that its end was seen."""

    async def listening(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait until the port answers; False when it ended, or has not by then."""

    async def ended(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait until it has ended; False when it has not by then."""


class Provider(Protocol):
    """Where functions run."""

    @property
    def name(self) -> str:
        """What the gateway calls its orchestration: ``process`` or ``docker``."""

    @property
    def pulls(self) -> bool:
        """Whether it brings images of other registries than the gateway's own."""

    @property
    def listens_on(self) -> str:
        """Where a function has to listen, in words for its author."""

    async def prepare(self, deployment: Deployment) -> Prepared:
        """Do all that can fail before anything is started.

        Raises:
            StartRefused: The image cannot run here.
            Refused: The deployment asks for what cannot be.
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

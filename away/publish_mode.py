"""Whether a decorator deploys or only declares, as ``AWAY_PUBLISH`` says, and what it then warns of.

What is declared is published by ``away publish FILE``, which reads the file for it. How a function gets
to a gateway is :mod:`away.publish`'s.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import away.names as names
from away.connection import stand_ins
from away.exceptions import AwayError, ConfigError
from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from away.capture import Captured
    from away.connection import FaasConnection
    from away.publish import Published
    from away.publish.report import Report

__all__ = [
    "Declared",
    "declare",
    "declared",
    "declared_name",
    "is_inside",
    "is_to_deploy",
    "python_name",
    "read_by_command",
    "warn_of_difference",
    "warn_of_difference_async",
]


class Declared:
    """A function decorated with ``publish``, which ``AWAY_PUBLISH=never`` may have kept from happening."""

    def __init__(
        self, function: Callable[..., Any], faas: FaasConnection, options: dict[str, Any]
    ) -> None:
        self.function = function
        self.faas = faas
        self.options = options

    def publish_now(self, **options: Any) -> Published:
        """Publish it, as the decorator would have done."""
        import away.publish as publishing

        return publishing.publish(self.function, self.faas, **{**self.options, **options})

    async def publish_now_async(self) -> Published:
        """Publish it without blocking the event loop."""
        import away.publish as publishing

        return await publishing.publish_async(self.function, self.faas, **self.options)

    def captured(self) -> Captured:
        """Capture it as publishing it would, and send nothing."""
        import away.publish as publishing

        options = {key: value for key, value in self.options.items() if key != "verbose"}
        return publishing.captured_of(
            self.function, publishing.options_for(self.function, self.faas, options)
        )

    def report(self, **options: Any) -> Report:
        """Find out what publishing it would do, and change nothing."""
        import away.publish as publishing

        return publishing.preview(self.function, self.faas, **{**self.options, **options})


# What `away publish FILE` publishes, in the order of the file.
declared: list[Declared] = []
# True while `away publish` reads a file: it is about to change what is deployed, so nobody asks.
_is_read_by_command = False
# Gateways that could not be asked once: an import in production waits for one of them once at most.
_unasked: set[str] = set()


def is_inside() -> bool:
    """Tell whether this is a published function, where decorators leave functions as they are."""
    return os.environ.get("AWAY_RUNTIME") == "1"


def is_to_deploy(faas: FaasConnection | None = None) -> bool:
    """Tell whether publishing is to deploy, or only to declare what would be."""
    mode = os.environ.get("AWAY_PUBLISH", "auto")
    if mode not in ("auto", "never"):
        raise ConfigError(f"AWAY_PUBLISH is {mode!r} and can be 'auto' or 'never'")
    return mode == "auto" and (faas is None or stand_ins.chosen_for(faas) is None)


@contextlib.contextmanager
def read_by_command() -> Iterator[None]:
    """Let what is imported declare and not deploy, and ask no gateway what it has."""
    global _is_read_by_command
    os.environ["AWAY_PUBLISH"] = "never"
    _is_read_by_command = True
    try:
        yield
    finally:
        _is_read_by_command = False


def declare(declaration: Declared) -> str:
    """Note what is not deployed, for ``away publish``, and return the name that it would have."""
    declared.append(declaration)
    name = declared_name(declaration)
    stand_ins.declare(declaration.faas, name, declaration.function)
    return name


def declared_name(declaration: Declared) -> str:
    """Return the name under which something is deployed."""
    return names.function_name(declaration.options.get("name") or python_name(declaration.function))


def python_name(function: Callable[..., Any]) -> str:
    """Return the ``__name__`` of a function, or of its class."""
    return getattr(function, "__name__", type(function).__name__)


def warn_of_difference(declaration: Declared) -> None:
    """Warn where calls would reach something else than this source."""
    if _is_to_be_compared(declaration):
        _warn_of(_difference(declaration))


async def warn_of_difference_async(declaration: Declared) -> None:
    """Do as :func:`warn_of_difference` while the event loop goes on."""
    if _is_to_be_compared(declaration):
        import asyncio

        _warn_of(await asyncio.to_thread(_difference, declaration))


def _warn_of(difference: str) -> None:
    if difference:
        warn_at_user_line(difference, RuntimeWarning)


def _is_to_be_compared(declaration: Declared) -> bool:
    """Tell whether what is deployed is asked for, to warn where it is another."""
    if _is_read_by_command or stand_ins.chosen_for(declaration.faas) is not None:
        return False
    return declaration.faas.url not in _unasked


def _difference(declaration: Declared) -> str:
    """Say that calls would reach something else than this source, if so; never fail for it."""
    import away.publish as publishing

    faas, name = declaration.faas, declared_name(declaration)
    options = {key: value for key, value in declaration.options.items() if key != "verbose"}
    # What an import waits for is never the time that a publish may take.
    given = options.get("publish_timeout") or faas.connect_timeout
    if isinstance(given, int | float):  # of anything else the publish says that it is no time
        options["publish_timeout"] = min(given, faas.connect_timeout)
    after = "calls go to it all the same, 'away publish' deploys what stands here"
    try:
        standing = publishing.compare(declaration.function, faas, **options)
        if standing is publishing.Standing.UNCHANGED:
            return ""
        said = f"is {standing.value}"
    except AwayError as error:
        said = f"could not be compared: {error}"
        if error.gateway is not None:
            _unasked.add(faas.url)
            after = "nothing more is compared with that gateway in this process"
    return f"AWAY_PUBLISH=never: what {faas.url} has as `{name}` {said}; {after}"

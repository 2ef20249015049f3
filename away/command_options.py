"""The options that commands share, and the connection that they come to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from away.connection import FaasConnection

__all__ = ["connect", "gateway_option", "json_option"]

P = ParamSpec("P")
R = TypeVar("R")


def gateway_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--gateway``."""
    return click.option(
        "--gateway",
        "-g",
        metavar="NAME|URL",
        default="default",
        show_default=True,
        help="The gateway: a configured name, or its URL.",
    )(command)


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def connect(gateway: str) -> FaasConnection:
    """Connect to a gateway by its configured name or its URL."""
    from away.connection import FaasConnection

    if re.search(r"[:/.]", gateway):
        return FaasConnection(gateway)
    return FaasConnection.named(gateway)

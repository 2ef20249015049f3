"""The commands for a gateway's secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from away.arguments import read_secret
from away.command_options import connect, gateway_option, json_option
from away.terminal import json_text, line, records, table

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["secrets"]

P = ParamSpec("P")
R = TypeVar("R")


@click.group()
def secrets() -> None:
    """List and change a gateway's secrets, whose values no gateway gives out."""


@secrets.command(name="list")
@gateway_option
@json_option
def list_secrets(gateway: str, as_json: bool) -> None:
    """Print the names of the secrets."""
    found = sorted(connect(gateway).secrets())
    if as_json:
        records([{"name": each} for each in found])
    else:
        table(["secret"], [[each] for each in found])


def _value_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add what a value is stored by. It is no argument: every process list would show it."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        json_option,
        gateway_option,
        click.option("--keep-newline", is_flag=True, help="Keep the newline that ends the value."),
        click.option("--from-file", type=file, help="Read the value from a file."),
        click.argument("name"),
    ):
        command = option(command)
    return command


@secrets.command(name="create")
@_value_options
def create_secret(**given: Any) -> None:
    """Create a secret; its value comes from standard input or a file."""
    _store_secret("created", **given)


@secrets.command(name="update")
@_value_options
def update_secret(**given: Any) -> None:
    """Replace a secret's value by one from standard input or a file."""
    _store_secret("updated", **given)


def _store_secret(
    action: str,
    *,
    name: str,
    from_file: Path | None,
    keep_newline: bool,
    gateway: str,
    as_json: bool,
) -> None:
    connection = connect(gateway)
    store = connection.create_secret if action == "created" else connection.update_secret
    store(name, read_secret(name, from_file, keep_newline=keep_newline))
    _secret_done(action, name, f"on {connection.url}", connection.url, as_json)


@secrets.command(name="remove")
@click.argument("name")
@gateway_option
@json_option
def remove_secret(name: str, gateway: str, as_json: bool) -> None:
    """Remove a secret."""
    connection = connect(gateway)
    connection.remove_secret(name)
    _secret_done("removed", name, f"from {connection.url}", connection.url, as_json)


def _secret_done(action: str, name: str, where: str, url: str, as_json: bool) -> None:
    done = {"action": action, "secret": name, "gateway": url}
    line(json_text(done) if as_json else f"{action} the secret {name} {where}")

"""The command that writes what type checkers and editors read: ``away stubs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from away.arguments import Usage
from away.command_options import connect, json_option
from away.exceptions import AwayError
from away.failures import exit_code, in_words, show_traceback
from away.terminal import complain, json_text, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from away.hooks.stub_files import Place

__all__ = ["stubs"]


@click.command()
@click.argument("gateways", metavar="[GATEWAY]...", nargs=-1)
@click.option(
    "--output",
    "-o",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write to.  [default: typings]",
)
@click.option("--install", is_flag=True, help="Write into the environment of this Python instead.")
@click.option("--uninstall", is_flag=True, help="Remove what --install wrote.")
@click.option("--check", is_flag=True, help="Write nothing; fail where a function has changed.")
@json_option
def stubs(
    gateways: tuple[str, ...],
    output: Path | None,
    install: bool,
    uninstall: bool,
    check: bool,
    as_json: bool,
) -> int:
    """Write stub files, by which mypy, pyright and editors know remote functions.

    Each GATEWAY by its configured name; all that are configured if none is named. With --check
    nothing is written: a function that no longer has the signature that the files say, and the code
    was written for, is named, and the exit code is 1. Without a GATEWAY it checks those of the files.
    """
    from away.hooks import stub_files

    if sum((install, uninstall, output is not None)) > 1:
        raise Usage("-o, --install and --uninstall exclude each other")
    if uninstall:
        if check or gateways:
            raise Usage("--uninstall removes the stubs of all gateways; it takes nothing else")
        _tell("removed", [str(each) for each in stub_files.uninstall()], as_json)
        return 0
    place = stub_files.environment() if install else stub_files.folder(output or Path("typings"))
    if check:
        return _each(gateways or stub_files.gateways(place), place, as_json, _checked)
    wanted = list(gateways) or _configured()
    code = _each(wanted, place, as_json, _written)
    if not install and not as_json:
        _say_how_to_find(place, wanted)
    return code


def _each(
    gateways: Iterable[str],
    place: Place,
    as_json: bool,
    work: Callable[[str, Place], tuple[list[str], int]],
) -> int:
    """Do the work for each gateway; one that fails stops no other."""
    wanted = list(dict.fromkeys(gateways))
    if not wanted:
        raise Usage(
            "no gateway is configured; start one with away up, or set AWAY_GATEWAY_NAME_URL"
        )
    said: list[str] = []
    code = 0
    for gateway in wanted:
        try:
            found, worst = work(gateway, place)
        except AwayError as error:
            if len(wanted) == 1:
                raise
            show_traceback(error)
            complain(f"{gateway}: {in_words(error)}")
            found, worst = [], exit_code(error)
        said += found
        code = code or worst
    _tell("changed" if work is _checked else "written", said, as_json)
    return code


def _configured() -> list[str]:
    """List the gateways that somebody configured: `default` may be nobody's wish."""
    from away.config import configured

    return [each.name for each in configured() if each.origins.get("url") != "default"]


def _texts(gateway: str) -> dict[str, str]:
    from away.config import mounts
    from away.hooks.stub_files import texts

    if not gateway.isidentifier():
        raise Usage(f"{gateway!r} is no configured name, by which its functions are imported")
    return texts(gateway, connect(gateway).functions(fresh=True), mounts())


def _written(gateway: str, place: Place) -> tuple[list[str], int]:
    from away.hooks.stub_files import write

    return [str(each) for each in write(place, gateway, _texts(gateway))], 0


def _checked(gateway: str, place: Place) -> tuple[list[str], int]:
    from away.hooks.stub_files import check

    found = check(place, gateway, _texts(gateway))
    return [f"{path}: {difference}" for path, difference in found], 1 if found else 0


def _tell(what: str, lines: list[str], as_json: bool) -> None:
    if as_json:
        line(json_text({what: lines}))
        return
    for each in lines:
        line(each if what == "changed" else f"{what} {each}")


def _say_how_to_find(place: Place, wanted: list[str]) -> None:
    """Say what a checker must be told to find the stubs."""
    root = place.root
    if wanted != ["local"]:
        line(
            f'mypy finds them with mypy_path = "{root.as_posix()}" in [tool.mypy] of pyproject.toml'
        )
    if root != Path("typings"):
        line(f'pyright finds them with stubPath = "{root.as_posix()}" in [tool.pyright]')
    if place.path("away/remote/local.pyi").exists():
        # It looks for a package's own files before those of a folder that is none.
        line(
            "of the gateway local mypy finds only what is installed: run away stubs local --install"
        )

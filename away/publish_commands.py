"""The commands that bring functions to a gateway: ``away publish`` and ``away export``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from away.arguments import Usage, is_module, read_target
from away.command_options import connect, json_option
from away.declarations import module_publication, publications
from away.exceptions import AwayError
from away.failures import exit_code, in_words, show_traceback
from away.outcomes import Stopped, show_reports, tell
from away.terminal import complain, json_text, line, records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from away.capture import Captured
    from away.publish_mode import Declared

__all__ = ["export", "publish"]


@click.command()
@click.argument("target", metavar="FILE[:FUNCTION]|MODULE")
@click.option(
    "--only",
    metavar="F,G",
    default="",
    help="Of a MODULE, only these functions.",
)
@click.option("--name", metavar="NAME", help="Of a MODULE, the name to deploy under.")
@click.option(
    "--gateway",
    "-g",
    metavar="NAME|URL",
    default=None,
    help="For a MODULE, or a FUNCTION that no decorator publishes: the gateway to publish it on.",
)
@click.option("--overwrite", is_flag=True, help="Replace a function that something else published.")
@click.option("--preview", is_flag=True, help="Show what would be packed; asks nobody.")
@click.option(
    "--dry-run", is_flag=True, help="Show what would be done, image and all; does nothing."
)
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    metavar="N",
    help="How many functions at once.",
)
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@json_option
def publish(
    target: str,
    only: str,
    name: str | None,
    gateway: str | None,
    overwrite: bool,
    preview: bool,
    dry_run: bool,
    jobs: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """Publish the functions of a Python file, or a module whole.

    FILE is imported without publishing anything; then every function in it that is decorated with
    builder.publish is published once, side by side. With :FUNCTION only that one is, decorated or
    not. One that fails stops no other.

    MODULE is a dotted name, such as textwrap or shop.prices, that is no file: its public functions
    become one function of the gateway, each called by a path of its own and imported by
    from away.remote.GATEWAY.MODULE import FUNCTION.
    """
    try:
        found = _declared(target, only, gateway, name)
        if preview:
            _show_packed([each.captured() for each in found], as_json)
            return 0
        if dry_run:
            return _dry_run(found, overwrite=overwrite, as_json=as_json)
    except KeyboardInterrupt as error:
        raise Stopped("interrupted; nothing was changed") from error
    return _publish_all(found, jobs=jobs, overwrite=overwrite, quiet=quiet, as_json=as_json)


def _declared(target: str, only: str, gateway: str | None, name: str | None) -> list[Declared]:
    """Import what is to be published, and list what it declares."""
    if is_module(target):
        named = [each.strip() for each in only.split(",") if each.strip()]
        at = None if gateway is None else connect(gateway)
        return [module_publication(target, named, at, called=name)]
    if name is not None:
        raise Usage("--name is for a MODULE; a function's name is its decorator's name=")
    if only:
        raise Usage("--only is for a MODULE; of a file, name one function as FILE:FUNCTION")
    path, function = read_target(target)
    return publications(path, function, None if gateway is None else connect(gateway))


def _dry_run(found: Sequence[Declared], *, overwrite: bool, as_json: bool) -> int:
    reports, code = [], 0
    for each in found:
        try:
            reports.append(each.report(**({"overwrite": True} if overwrite else {})))
        except AwayError as error:  # of this one alone
            if len(found) == 1:
                raise
            show_traceback(error)
            complain(in_words(error))
            code = exit_code(error)
    show_reports(reports, as_json=as_json)
    return code


def _publish_all(
    found: Sequence[Declared], *, jobs: int, overwrite: bool, quiet: bool, as_json: bool
) -> int:
    from away.publish import Publication, publish_all

    verbose = not (quiet or as_json)
    wanted = [Publication(each.function, each.faas, each.options) for each in found]
    try:
        outcomes = publish_all(wanted, jobs=jobs, verbose=verbose, overwrite=overwrite)
    except KeyboardInterrupt as error:
        raise Stopped(str(error) or "interrupted") from error
    for each in outcomes:
        if each.error is not None and len(outcomes) > 1:
            show_traceback(each.error)
    return tell(outcomes, shown=verbose, as_json=as_json, words=in_words, code=exit_code)


def _show_packed(found: Sequence[Captured], as_json: bool) -> None:
    if as_json:
        records([_packed(each) for each in found])
        return
    for each in found:
        line(f"{each.name}: {each.listing()}")


def _packed(captured: Captured) -> dict[str, Any]:
    return {
        "name": captured.name,
        "entry": captured.entry,
        "form": captured.form,
        "bytes": len(captured.payload),
        "values": [
            {"name": each.name, "type": each.type_name, "bytes": each.size}
            for each in captured.values
        ],
        "files": [{"path": each.path, "bytes": len(each.data)} for each in captured.files],
        "requirements": [
            {"requirement": each.spec, "why": each.why} for each in captured.requirements
        ],
        "functions": sorted(captured.module.functions) if captured.module else None,
        "constants": sorted(captured.module.constants) if captured.module else None,
        "calls": [each._asdict() for each in captured.references],
        "gateways": list(captured.gateways),
        "notes": list(captured.warnings),
    }


@click.command()
@click.argument("target", metavar="FILE[:FUNCTION]|MODULE")
@click.option("--only", metavar="F,G", default="", help="Of a MODULE, only these functions.")
@click.option("--name", metavar="NAME", help="Of a MODULE, the name to deploy under.")
@click.option(
    "--template",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to write.",
)
@click.option(
    "--gateway",
    "-g",
    metavar="NAME|URL",
    default=None,
    help="For a FUNCTION that no decorator publishes: the gateway that it is for.",
)
@click.option("--registry", metavar="HOST[:PORT]", help="Where faas-cli is to push the image.")
@click.option("--force", is_flag=True, help="Replace what an earlier export wrote in DIR.")
@json_option
def export(
    target: str,
    only: str,
    name: str | None,
    folder: Path,
    gateway: str | None,
    registry: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write functions as an OpenFaaS template project, for faas-cli up.

    FILE is imported without publishing anything. The folder builds where Away is not installed, and
    what faas-cli deploys from it can be imported and called as if it had been published.
    """
    from away.publish.export import export_together

    found = _declared(target, only, gateway, name)
    more = {} if registry is None else {"registry": registry}
    wanted = [(each.function, each.faas, {**each.options, **more}) for each in found]
    exported = export_together(wanted, folder, force=force)
    if as_json:
        images = dict(zip(exported.functions, exported.images, strict=True))
        line(json_text({"folder": str(exported.folder), "images": images}))
        return
    for each in exported.functions:
        line(f"exported {each} to {exported.folder}")
    line(f"next: cd {shlex.quote(str(exported.folder))} && faas-cli up -f stack.yml")
    line("or, without faas-cli's template: docker build, as README.md there says")

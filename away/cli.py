"""The command ``away``: each command is a few lines over the Python API.

What belongs to a person at a terminal is decided here: which words an error has, with which code the
command ends, how arguments are read. What is printed how is :mod:`away.terminal`'s. Rooms that are
slow to import are imported by the command that needs them, so that ``away --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import click

from away.arguments import Usage, read_arguments, read_moment, read_secret, read_target
from away.declarations import FileFailed, publications
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    CannotTravel,
    CaptureRefused,
    ConfigError,
    FunctionNotFound,
    GatewayUnreachable,
    NameRefused,
)
from away.outcomes import Stopped, show_reports, tell
from away.terminal import complain, is_terminal, json_text, line, raw, records, safe, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from away.builder import Declared
    from away.capture import Captured
    from away.connection import FaasConnection
    from away.connection.catalogue import FunctionInfo
    from away.connection.logs import LogLine
    from away.functions import RemoteFunction
    from away.gateway.announcement import Announcement
    from away.gateway.serving import Started

__all__ = ["app", "exit_code", "main", "run"]

P = ParamSpec("P")
R = TypeVar("R")

EXIT_CODES = """\b
Exit codes:
  0    done
  1    the function or the gateway said no
  2    wrong usage, configuration or argument; nothing was sent
  3    the gateway cannot be reached
  4    the gateway refused the credentials
  5    no such function or secret
  6    out of time, or the answer was lost: the function may have run
  130  interrupted
"""
CALL_EXAMPLES = """\b
Examples:
  away call fibonacci 10
  away call greet '"Ada"' punctuation='"!"'
  echo hello | away call shasum
"""
INTERRUPTED = 130
# Following a log ends when it is interrupted, not when a call would time out.
FOLLOW_SECONDS = 7 * 24 * 3600.0
# What a shell says of a program that writes into a pipe which nobody reads any more (SIGPIPE).
PIPE_CLOSED = 141

# The first that fits decides.
_CODES: tuple[tuple[tuple[type[BaseException], ...], int], ...] = (
    ((GatewayUnreachable,), 3),
    ((AuthenticationRefused,), 4),
    ((FunctionNotFound,), 5),
    ((CallTimedOut, AnswerLost), 6),
    ((ConfigError, NameRefused, CannotTravel, CaptureRefused), 2),
)


class PipeClosed(Exception):
    """Nobody reads what is printed any more; under this name click leaves it to us."""


class Commands(click.Group):
    """The group of all commands."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command; click's own answer to a closed pipe is the code of a refusal."""
        try:
            return super().invoke(context)
        except BrokenPipeError as error:
            raise PipeClosed from error


class RemoteFailure(Exception):
    """An exception that the remote function raised, in words for a person."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code."""
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command, say in one line what went wrong, and return the exit code."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = io.TextIOWrapper(io.BytesIO())
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows an escape for what it lacks, never a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        ended: Any = app.main(args=argv, prog_name="away", standalone_mode=False)
        sys.stdout.flush()
        return ended if isinstance(ended, int) else 0
    except Stopped as error:
        complain(str(error))
        return INTERRUPTED
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (PipeClosed, BrokenPipeError):
        # Else the interpreter complains as it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except click.ClickException as error:
        where = (
            error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "away"
        )
        # Click's words as one clause, as all other errors are.
        what = error.format_message().replace(". Did you mean", "; did you mean").rstrip(".?")
        complain(f"{what}; see {where} --help")
        return 2
    except Exception as error:  # whatever a user's file or function raised
        _show_traceback(error)
        complain(_in_words(error))
        return exit_code(error)


def _show_traceback(error: BaseException) -> None:
    """Show where an error comes from, to who asks for it."""
    if os.environ.get("AWAY_DEBUG"):
        import traceback

        sys.stderr.write(safe("".join(traceback.format_exception(error))))


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error; the help lists them."""
    if isinstance(error, Usage):
        return 2
    return next((code for kinds, code in _CODES if isinstance(error, kinds)), 1)


def _in_words(error: BaseException) -> str:
    if isinstance(error, AwayError | Usage | FileFailed | RemoteFailure):
        return str(error)
    return f"{type(error).__name__}: {error} (AWAY_DEBUG=1 shows where)"


# ---------------------------------------------------------------- options that commands share


def _gateway_option(command: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--gateway",
        "-g",
        metavar="NAME|URL",
        default="default",
        show_default=True,
        help="The gateway: a configured name, or its URL.",
    )(command)


def _json_option(command: Callable[P, R]) -> Callable[P, R]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def _connect(gateway: str) -> FaasConnection:
    from away.connection import FaasConnection

    if re.search(r"[:/.]", gateway):
        return FaasConnection(gateway)
    return FaasConnection.named(gateway)


@click.group(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="away", message="%(prog)s %(version)s")
def app() -> None:
    """Call, publish and manage OpenFaaS functions.

    A gateway is configured by AWAY_GATEWAY_NAME_URL and its kin, by a TOML file, or is the embedded
    one that `away up` starts. Set AWAY_DEBUG=1 to see the traceback of an error.
    """


# ---------------------------------------------------------------- gateways


@app.command()
@_json_option
def gateways(as_json: bool) -> None:
    """Print the configured gateways, and where each value came from."""
    from away.config import configured

    found = configured()
    if as_json:
        records([_gateway_record(each) for each in found])
        return
    if not found and is_terminal():
        line("no gateway is configured; start one with away up, or set AWAY_GATEWAY_NAME_URL")
        return
    rows = [
        [each.name, field, _shown(getattr(each, field, None)), origin]
        for each in found
        for field, origin in each.origins.items()
    ]
    table(["gateway", "value", "is", "from"], rows)


def _gateway_record(gateway: Any) -> dict[str, Any]:
    values = {field: _shown(getattr(gateway, field, None)) for field in gateway.origins}
    return {"name": gateway.name, "url": gateway.url, **values, "origins": dict(gateway.origins)}


def _shown(value: object) -> str:
    """Return a setting as text; the text of a Secret is dots."""
    return "" if value is None else str(value)


# ---------------------------------------------------------------- functions


@app.command(name="list")
@_gateway_option
@_json_option
def list_functions(gateway: str, as_json: bool) -> None:
    """Print the functions of a gateway."""
    found = sorted(_connect(gateway).functions(), key=lambda info: info.name)
    if as_json:
        records([_record(info) for info in found])
        return
    rows = [
        [info.name, _signature(info), str(info.replicas), str(info.invocation_count or 0)]
        for info in found
    ]
    table(["function", "signature", "replicas", "calls"], rows)


@app.command()
@click.argument("name")
@_gateway_option
@_json_option
def describe(name: str, gateway: str, as_json: bool) -> None:
    """Print what is known of a function."""
    info = _connect(gateway).function(name)
    record = _record(info)
    if as_json:
        line(json_text(record))
        return
    line(_signature(info) or info.name)
    if record["doc"]:
        line("    " + str(record["doc"]).replace("\n", "\n    "))
    record["ready"] = f"{record.pop('available_replicas') or 0} of {record.pop('replicas')}"
    for field, value in record.items():
        if field not in ("signature", "doc") and value not in ("", None, {}, []):
            line(f"{field}: {value if isinstance(value, str) else json_text(value)}")


def _record(info: FunctionInfo) -> dict[str, Any]:
    description = info.description
    return {
        "name": info.name,
        "namespace": info.namespace,
        "image": info.image,
        "kind": description.kind if description else None,
        "signature": _signature(info) or None,
        "doc": description.doc if description else "",
        "entry": description.entry if description else None,
        "digest": description.digest if description else None,
        "safe": description.safe if description else None,
        "replicas": info.replicas,
        "available_replicas": info.available_replicas,
        "invocation_count": info.invocation_count,
        "created_at": info.created_at,
        "secrets": list(info.secrets),
        "labels": dict(info.labels),
        "annotations": {
            key: value
            for key, value in info.annotations.items()
            if not key.startswith("away.") and key != "built-with"
        },
    }


def _signature(info: FunctionInfo) -> str:
    """Return how a function is called, as Python writes it; nothing if Away does not know."""
    description = info.description
    if description is None or description.parameters is None:
        return ""
    from away.names import python_name
    from away.signatures import signature

    before = "async " if description.kind.startswith("async") else ""
    return f"{before}{python_name(info.name)}{signature(description)}"


@app.command(epilog=CALL_EXAMPLES, context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("arguments", nargs=-1)
@_gateway_option
@_json_option
@click.option("--timeout", type=float, metavar="SECONDS", help="For the whole call.")
def call(
    name: str, arguments: tuple[str, ...], gateway: str, as_json: bool, timeout: float | None
) -> None:
    """Call a function and print what it returns.

    ARGUMENTS are JSON values by position, and NAME=JSON by keyword. A single - takes all of
    standard input as one text, and so does input that is piped in when no arguments are given.
    """
    args, kwargs = read_arguments(arguments)
    function = _callable(_connect(gateway), name)
    if timeout is not None:
        function = function.options(timeout=timeout)
    try:
        result = function(*args, **kwargs)
        _print_result(result, as_json)
    except AwayError:
        raise
    except BrokenPipeError:
        raise
    except Exception as error:  # the remote function's own: only then does it carry a note
        if getattr(error, "__notes__", None):
            raise RemoteFailure(f"{name} raised {type(error).__name__}: {error}") from error
        if isinstance(error, TypeError):
            raise Usage(str(error)) from error
        raise


def _callable(connection: FaasConnection, name: str) -> RemoteFunction[..., Any]:
    """Return a proxy that is called without await, whatever kind the function is of."""
    from away.functions import RemoteFunction, from_info

    try:
        function = from_info(connection, connection.function(name))
    except AuthenticationRefused:
        # Calling needs no log-in where the gateway wants none for it.
        return RemoteFunction(connection, name)
    function.kind = "generator" if "generator" in function.kind else "sync"
    return function


def _print_result(result: Any, as_json: bool) -> None:
    if hasattr(result, "__next__"):
        items = list(result)
        if as_json:
            line(json_text(items))
            return
        for item in items:
            _print_result(item, as_json)
    elif isinstance(result, str | bytes) and not as_json:
        raw(result)
    else:
        line(json_text(result))


@app.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_gateway_option
@_json_option
def remove(names: tuple[str, ...], gateway: str, as_json: bool) -> None:
    """Remove functions from a gateway.

    With a name among them that it does not have, none is removed.
    """
    connection = _connect(gateway)
    found = dict.fromkeys(connection.function(name).name for name in names)
    for name in found:
        connection.remove(name)
        if not as_json:
            line(f"removed {name} from {connection.url}")
    if as_json:
        done = {"action": "removed", "functions": list(found), "gateway": connection.url}
        line(json_text(done))


@app.command()
@click.argument("name")
@_gateway_option
@_json_option
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--since", metavar="TIME", help="Only lines since, such as 10m, 2h or a date (UTC).")
@click.option("--follow", "-f", is_flag=True, help="Go on printing lines as they come.")
def logs(
    name: str, gateway: str, as_json: bool, tail: int | None, since: str | None, follow: bool
) -> None:
    """Print a function's log.

    With --json each line is a JSON object.
    """
    connection = _connect(gateway)
    found = connection.function(name).name
    lines: Iterable[LogLine]
    if follow:
        lines = connection.logs(
            found, tail=tail, since=read_moment(since), follow=True, timeout=FOLLOW_SECONDS
        )
    else:
        lines = connection.logs(found, tail=tail, since=read_moment(since))
    for each in lines:
        line(json_text(each._asdict()) if as_json else f"{each.timestamp} {each.text.rstrip()}")


# ---------------------------------------------------------------- publishing


@app.command()
@click.argument("target", metavar="FILE[:FUNCTION]")
@click.option(
    "--gateway",
    "-g",
    metavar="NAME|URL",
    default=None,
    help="For a FUNCTION that no decorator publishes: the gateway to publish it on.",
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
@_json_option
def publish(
    target: str,
    gateway: str | None,
    overwrite: bool,
    preview: bool,
    dry_run: bool,
    jobs: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """Publish the functions of a Python file.

    FILE is imported without publishing anything; then every function in it that is decorated with
    builder.publish is published once, side by side. With :FUNCTION only that one is, decorated or
    not. One that fails stops no other.
    """
    path, function = read_target(target)
    try:
        at = None if gateway is None else _connect(gateway)
        found = publications(path, function, at)
        if preview:
            _show_packed([each.captured() for each in found], as_json)
            return 0
        if dry_run:
            return _dry_run(found, overwrite=overwrite, as_json=as_json)
    except KeyboardInterrupt as error:
        raise Stopped("interrupted; nothing was changed") from error
    return _publish_all(found, jobs=jobs, overwrite=overwrite, quiet=quiet, as_json=as_json)


def _dry_run(found: Sequence[Declared], *, overwrite: bool, as_json: bool) -> int:
    reports, code = [], 0
    for each in found:
        try:
            reports.append(each.report(**({"overwrite": True} if overwrite else {})))
        except AwayError as error:  # of this one alone
            if len(found) == 1:
                raise
            _show_traceback(error)
            complain(_in_words(error))
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
            _show_traceback(each.error)
    return tell(outcomes, shown=verbose, as_json=as_json, words=_in_words, code=exit_code)


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
        "calls": [each._asdict() for each in captured.references],
        "gateways": list(captured.gateways),
        "notes": list(captured.warnings),
    }


@app.command()
@click.argument("target", metavar="FILE[:FUNCTION]")
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
@_json_option
def export(
    target: str,
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

    path, function = read_target(target)
    found = publications(path, function, None if gateway is None else _connect(gateway))
    more = {} if registry is None else {"registry": registry}
    wanted = [(each.function, each.faas, {**each.options, **more}) for each in found]
    exported = export_together(wanted, folder, force=force)
    if as_json:
        images = dict(zip(exported.functions, exported.images, strict=True))
        line(json_text({"folder": str(exported.folder), "images": images}))
        return
    for name in exported.functions:
        line(f"exported {name} to {exported.folder}")
    line(f"next: cd {shlex.quote(str(exported.folder))} && faas-cli up -f stack.yml")


# ---------------------------------------------------------------- secrets


@app.group()
def secrets() -> None:
    """List and change a gateway's secrets, whose values no gateway gives out."""


@secrets.command(name="list")
@_gateway_option
@_json_option
def list_secrets(gateway: str, as_json: bool) -> None:
    """Print the names of the secrets."""
    found = sorted(_connect(gateway).secrets())
    if as_json:
        records([{"name": each} for each in found])
    else:
        table(["secret"], [[each] for each in found])


def _value_options(command: Callable[P, R]) -> Callable[P, R]:
    """Add what a value is stored by. It is no argument: every process list would show it."""
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    for option in (
        _json_option,
        _gateway_option,
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
    connection = _connect(gateway)
    store = connection.create_secret if action == "created" else connection.update_secret
    store(name, read_secret(name, from_file, keep_newline=keep_newline))
    _secret_done(action, name, f"on {connection.url}", connection.url, as_json)


@secrets.command(name="remove")
@click.argument("name")
@_gateway_option
@_json_option
def remove_secret(name: str, gateway: str, as_json: bool) -> None:
    """Remove a secret."""
    connection = _connect(gateway)
    connection.remove_secret(name)
    _secret_done("removed", name, f"from {connection.url}", connection.url, as_json)


def _secret_done(action: str, name: str, where: str, url: str, as_json: bool) -> None:
    done = {"action": action, "secret": name, "gateway": url}
    line(json_text(done) if as_json else f"{action} the secret {name} {where}")


# ---------------------------------------------------------------- the embedded gateway


@app.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 8080, or a free one.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Its folder.")
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Read the password from a file instead of making one.",
)
@click.option(
    "--allow-host", "allow_hosts", multiple=True, metavar="NAME", help="Another name for it."
)
@click.option(
    "--provider",
    type=click.Choice(["process", "docker"]),
    default="process",
    show_default=True,
    help="What runs functions: processes, or containers of this machine's Docker Engine.",
)
@_json_option
def up(
    port: int | None,
    state: Path | None,
    password_file: Path | None,
    allow_hosts: tuple[str, ...],
    provider: str,
    as_json: bool,
) -> None:
    """Run the embedded gateway until it is interrupted.

    It listens on this machine only. While it runs, away.remote.local and FaasConnection.local()
    find it. With --json one line says where it is, as soon as it answers. With --provider docker
    functions of any image run, as containers, and they can call the gateway.
    """
    from away.gateway import serve

    def ready(started: Started) -> None:
        from away.gateway.store import PASSWORD_FILE

        found = started.announcement
        kept = (password_file or Path(found.state, PASSWORD_FILE)).absolute()
        if as_json:
            here = {"url": found.url, "user": found.user, "password_file": str(kept)}
            line(json_text({**here, "state": found.state, "notes": list(started.notes)}))
            return
        for each in _welcome(found, started.notes, kept, provider):
            line(each)

    serve(
        port=port,
        state=state,
        password_file=password_file,
        allowed_hosts=allow_hosts,
        provider=provider,
        ready=ready,
    )


def _welcome(
    gateway: Announcement, notes: Iterable[str], password_file: Path, provider: str
) -> Iterator[str]:
    """Say where the gateway is, where its password is kept, and how it is used from Python."""
    from away.gateway.announcement import announced

    yield from notes
    found = announced()
    if found is not None and found.url == gateway.url:
        use = "from away.remote.local import FUNCTION, or away.FaasConnection.local()"
    else:
        use = f"away.FaasConnection({gateway.url!r}, password=...)"
    yield f"gateway:  {gateway.url}"
    yield f"user:     {gateway.user}"
    yield f"password: kept in {password_file}"
    yield f"state:    {gateway.state}"
    yield f"Python:   {use}"
    if provider == "docker":
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        image = f"docker.io/library/python:{minor}-slim"
        yield "images:   functions run as containers, so base_image must be a real image with Python:"
        yield f'          publish(faas, base_image="{image}"), for example'
    yield "Ctrl-C stops it, and its functions with it; they are back when it starts again"

"""The command ``away``: each command is a few lines over the Python API.

What is printed how is :mod:`away.terminal`'s, which words and exit code an error has is
:mod:`away.failures`', and publishing and secrets have rooms of their own. Rooms that are slow to import
are imported by the command that needs them, so that ``away --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

import click

from away.arguments import Usage, read_arguments, read_moment
from away.command_options import connect, gateway_option, json_option
from away.described import deployed_record, record, signature_text
from away.exceptions import AuthenticationRefused, AwayError, FunctionNotFound
from away.failures import RemoteFailure, exit_code, in_words, show_traceback
from away.outcomes import Stopped
from away.publish_commands import export, publish
from away.secret_commands import secrets
from away.stub_commands import stubs
from away.terminal import complain, field, is_terminal, json_text, line, raw, records, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
        if type(error).__name__ == "NoArgsIsHelpError":  # a group without a command (click 8.2)
            sys.stderr.write(error.format_message() + "\n")
            return 2
        where = (
            error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "away"
        )
        # Click's words as one clause, as all other errors are.
        what = error.format_message().replace(". Did you mean", "; did you mean").rstrip(".?")
        if "unexpected extra argument" in what and _takes_gateway(error):
            what += "; a gateway is named by -g"
        complain(f"{what}; see {where} --help")
        return 2
    except Exception as error:  # whatever a user's file or function raised
        show_traceback(error)
        complain(in_words(error))
        return exit_code(error)


def _takes_gateway(error: click.ClickException) -> bool:
    """Tell whether a wrong command has --gateway, so that its user may have named one without it."""
    command = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None
    return command is not None and any(each.name == "gateway" for each in command.params)


@click.group(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="away", message="%(prog)s %(version)s")
def app() -> None:
    """Call, publish and manage OpenFaaS functions.

    A gateway is configured by AWAY_GATEWAY_NAME_URL and its kin, by a TOML file, or is the embedded
    one that `away up` starts. Set AWAY_DEBUG=1 to see the traceback of an error.
    """


for _each in (publish, export, secrets, stubs):
    app.add_command(_each)


# ---------------------------------------------------------------- gateways


@app.command()
@json_option
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
@gateway_option
@json_option
def list_functions(gateway: str, as_json: bool) -> None:
    """Print the functions of a gateway."""
    connection = connect(gateway)
    found = sorted(connection.functions(), key=lambda info: info.name)
    if as_json:
        records([record(info) for info in found])
        return
    if is_terminal():
        count = (
            f"{len(found)} function{'' if len(found) == 1 else 's'}" if found else "no functions"
        )
        line(f"{count} on {connection.url}")
        if not found:
            return
    rows = [
        [info.name, signature_text(info), str(info.replicas), str(info.invocation_count or 0)]
        for info in found
    ]
    table(["function", "signature", "replicas", "calls"], rows)


@app.command()
@click.argument("name")
@gateway_option
@json_option
def describe(name: str, gateway: str, as_json: bool) -> None:
    """Print what is known of a function; one of a module is MODULE/FUNCTION."""
    connection = connect(gateway)
    name, _, member = name.partition("/")
    info = connection.function(name)
    if member:
        info = _of_module(info, member, connection)
    known = {**record(info), **deployed_record(info)}
    if as_json:
        line(json_text(known))
        return
    line(signature_text(info) or info.name)
    if known["doc"]:
        line("    " + str(known["doc"]).replace("\n", "\n    "))
    for each in (known["functions"] or {}).values():
        line(f"  {each['signature']}")
    known["ready"] = f"{known.pop('available_replicas') or 0} of {known.pop('replicas')}"
    if known["timeout"] is not None:
        known["timeout"] = f"{known['timeout']:g} s for one call"
    known["read_only_root"] = known["read_only_root"] or None
    for name, value in known.items():
        if name not in ("signature", "doc", "functions") and value not in ("", None, {}, []):
            line(f"{name}: {_field_text(value)}")


def _of_module(info: FunctionInfo, member: str, connection: FaasConnection) -> FunctionInfo:
    """Return what a gateway says of a module as what it says of one function of it."""
    from away.connection.catalogue import FunctionInfo
    from away.modules import from_module_info
    from away.signatures import to_annotations

    if info.module is None:
        raise FunctionNotFound(
            f"{info.name!r} on {connection.url} is a function and no module, so it has no {member!r}",
            gateway=connection.url,
            function=info.name,
        )
    description = from_module_info(connection, info, member).description
    return FunctionInfo(
        f"{info.name}/{member}",
        info.namespace,
        info.image,
        labels=info.labels,
        annotations={} if description is None else to_annotations(description),
        replicas=info.replicas,
        available_replicas=info.available_replicas,
        invocation_count=info.invocation_count,
        created_at=info.created_at,
        secrets=info.secrets,
        env_process=info.env_process,
        env_vars=info.env_vars,
    )


def _field_text(value: Any) -> str:
    """Write a field for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json_text(value)


@app.command(epilog=CALL_EXAMPLES, context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("arguments", nargs=-1)
@gateway_option
@json_option
@click.option("--timeout", type=float, metavar="SECONDS", help="For the whole call.")
def call(
    name: str, arguments: tuple[str, ...], gateway: str, as_json: bool, timeout: float | None
) -> None:
    """Call a function and print what it returns; one of a module is MODULE/FUNCTION.

    ARGUMENTS are JSON values by position, and NAME=JSON by keyword. '[1, 2]' is one argument, a list,
    where plain HTTP's curl -d '[1, 2]' passes two to a published function. A single - takes all of
    standard input as one text, and so does input that is piped in when no arguments are given.
    """
    args, kwargs = read_arguments(arguments)
    function = _callable(connect(gateway), name)
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
    from away.modules import from_module_info

    name, _, member = name.partition("/")
    try:
        info = connection.function(name)
        function = (
            from_info(connection, info)
            if info.module is None
            else from_module_info(connection, info, member)
        )
    except AuthenticationRefused:
        # Calling needs no log-in where the gateway wants none for it.
        return RemoteFunction(connection, name, path=member)
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
@gateway_option
@json_option
def remove(names: tuple[str, ...], gateway: str, as_json: bool) -> None:
    """Remove functions from a gateway.

    With a name among them that it does not have, none is removed.
    """
    connection = connect(gateway)
    try:
        found = dict.fromkeys(connection.function(name).name for name in names)
    except FunctionNotFound as error:
        if len(names) > 1:
            error.args = (f"{error}; none of the {len(names)} was removed",)
        raise
    for name in found:
        connection.remove(name)
        if not as_json:
            line(f"removed {name} from {connection.url}")
    if as_json:
        done = {"action": "removed", "functions": list(found), "gateway": connection.url}
        line(json_text(done))


@app.command()
@click.argument("name")
@gateway_option
@json_option
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--since", metavar="TIME", help="Only lines since, such as 10m, 2h or a date (UTC).")
@click.option("--follow", "-f", is_flag=True, help="Go on printing lines as they come.")
def logs(
    name: str, gateway: str, as_json: bool, tail: int | None, since: str | None, follow: bool
) -> None:
    """Print a function's log; that of MODULE/FUNCTION is the whole module's.

    With --json each line is a JSON object.
    """
    connection = connect(gateway)
    # A module has one log, that of all its functions.
    found = connection.function(name.partition("/")[0]).name
    lines: Iterable[LogLine]
    if follow:
        lines = connection.logs(
            found, tail=tail, since=read_moment(since), follow=True, timeout=FOLLOW_SECONDS
        )
    else:
        lines = connection.logs(found, tail=tail, since=read_moment(since))
    for each in lines:
        line(json_text(each._asdict()) if as_json else f"{each.timestamp} {each.text.rstrip()}")


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
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Answer to this host name too; any but loopback's gets 403 otherwise. Repeatable.",
)
@click.option(
    "--provider",
    type=click.Choice(["process", "docker"]),
    default="process",
    show_default=True,
    help="What runs functions: processes, or containers of this machine's Docker Engine.",
)
@json_option
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
        for label, text in _welcome(found, started.notes, kept, provider):
            field(label, text)

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
) -> Iterator[tuple[str, str]]:
    """Say where the gateway is, where its password is kept, and how it is used from Python.

    Yields:
        What is said after which word.
    """
    from away.gateway.announcement import announced

    for each in notes:
        yield "", each
    found = announced()
    if found is not None and found.url == gateway.url:
        use = "from away.remote.local import FUNCTION, or away.FaasConnection.local()"
    else:
        use = f"away.FaasConnection({gateway.url!r}, password=...)"
    yield "gateway:", gateway.url
    yield "user:", gateway.user
    yield "password:", f"kept in {password_file}"
    yield "state:", gateway.state
    yield "Python:", use
    if provider == "docker":
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        image = f"docker.io/library/python:{minor}-slim"
        yield "images:", f"functions stand on {image} unless base_image= names another"
    yield "", "Ctrl-C stops it, and its functions with it; they are back when it starts again"

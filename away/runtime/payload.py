"""The payload: reading it, checking it, and making a function of it.

A payload is a line of JSON, its header, and a body. The header is checked before anything of the
body is used: bytecode of another Python minor does not fail, it crashes the process when called.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from away.exceptions import AwayError, FunctionNotReady, ProtocolMismatch
from away.names import printable
from away.runtime.members import Members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

__all__ = ["Header", "Layout", "load", "locate", "prepare_imports", "read"]

FORMAT = 1
# Text of a header that reaches a message: names are short, and a header is others' data.
_MAX_SHOWN = 200
_MOST_LINES = 1_000_000
# From here on OpenSSL, which is quicker once it is there, is worth loading.
_LARGE_BYTES = 1_000_000


class Header(NamedTuple):
    """What a payload says about itself."""

    form: str
    entry: str
    name: str
    python: str
    cache_tag: str
    magic: str
    safe: bool
    kind: str
    files: tuple[tuple[str, str], ...]
    body_sha256: str
    digest: str
    sources: dict[str, dict[str, str]]


class Layout(NamedTuple):
    """Where an image keeps a function: the payload, its packed modules, its requirements."""

    payload: str | PathLike[str]
    modules: str | PathLike[str]
    requirements: str | PathLike[str]


def locate(environ: Mapping[str, str]) -> Layout:
    """Find the payload from where this package lies, or where ``AWAY_PAYLOAD`` says it is."""
    # By os.path throughout: pathlib would take longer to import than the function to load.
    payload = environ.get("AWAY_PAYLOAD")
    if not payload:
        # …/lib/away/runtime/payload.py, beside …/function and …/requirements
        root = os.path.realpath(__file__)
        for _ in range(4):
            root = os.path.dirname(root)  # noqa: PTH120
        payload = os.path.join(root, "function", "payload.away")  # noqa: PTH118
    folder = os.path.dirname(payload)  # noqa: PTH120
    above = os.path.dirname(folder)  # noqa: PTH120
    return Layout(payload, os.path.join(folder, "modules"), os.path.join(above, "requirements"))  # noqa: PTH118


def read(layout: Layout) -> tuple[Header, bytes]:
    """Read a payload and check all that can be checked without running any of it.

    Raises:
        ProtocolMismatch: It is of another format or Python, or not what its digests say.
        FunctionNotReady: It is not there.
    """
    try:
        data = _bytes_of(layout.payload)
    except OSError as error:
        raise FunctionNotReady(
            f"the function's payload cannot be read: {error}; publish the function again"
        ) from error
    line, _, body = data.partition(b"\n")
    header = _header(line)
    if header.python or header.cache_tag or header.magic:
        _check_python(header)
    else:
        # Packed as source, which is for any Python.
        header = header._replace(python=_here())
    if _sha256(body) != header.body_sha256:
        raise _damaged(header, "its body does not have the digest that its header states")
    _check_files(header, layout.modules)
    return header, body


def _header(line: bytes) -> Header:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise ProtocolMismatch(
            "the function's payload is not one that Away wrote: publish it again"
        )
    if said.get("format") != FORMAT:
        raise ProtocolMismatch(
            f"the function's payload has format {_shown(said.get('format'))} and this runtime"
            f" reads format {FORMAT}; publish it again with one version of Away"
        )
    try:
        header = Header(
            files=tuple((_text(path), _text(digest)) for path, digest in said["files"]),
            safe=said["safe"] is not False,
            sources=_sources(said.get("sources")),
            **{field: _text(said[field]) for field in _TEXTS},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolMismatch(
            f"the header of the function's payload is incomplete ({_shown(error)}); publish it again"
        ) from None
    if header.form not in _FORMS:
        raise ProtocolMismatch(
            f"the function's payload has the form {_shown(header.form)}, which this runtime does"
            " not know; publish it again with one version of Away"
        )
    return header


_TEXTS = (
    "form",
    "entry",
    "name",
    "python",
    "cache_tag",
    "magic",
    "kind",
    "body_sha256",
    "digest",
)


def _sources(said: object) -> dict[str, dict[str, str]]:
    """Read the lines of source that the header carries; they are for tracebacks alone."""
    if not isinstance(said, dict):
        return {}
    return {
        str(file): {key: line for key, line in lines.items() if isinstance(line, str)}
        for file, lines in said.items()
        if isinstance(lines, dict)
    }


def _text(value: object) -> str:
    # The magic number may be written as a number.
    if type(value) not in (str, int):
        raise TypeError(f"{_shown(value)} is not text")
    return str(value)


def _shown(value: object) -> str:
    return printable(repr(value)[:_MAX_SHOWN])


def _check_python(header: Header) -> None:
    here = _here()
    if header.python != here:
        raise ProtocolMismatch(
            f"{printable(header.entry)} was published from Python {printable(header.python)} and"
            f" this image has Python {here}: publish it from Python {here}, or with a base_image"
            f" of Python {printable(header.python)}"
        )
    tag = sys.implementation.cache_tag
    if header.cache_tag != tag or header.magic != _magic():
        raise ProtocolMismatch(
            f"{printable(header.entry)} was published for the bytecode of"
            f" {printable(header.cache_tag)} (magic {printable(header.magic)}) and this image has"
            f" {tag} (magic {_magic()}): publish it again from the same Python"
        )


def _here() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _magic() -> str:
    from importlib.util import MAGIC_NUMBER

    return MAGIC_NUMBER.hex()


def _sha256(data: bytes) -> str:
    digest: str
    if len(data) < _LARGE_BYTES:
        # Python's own, as its random does: hashlib loads OpenSSL, a tenth of a cold start.
        for name in ("_sha2", "_sha256"):  # from 3.12, and before
            try:
                digest = __import__(name).sha256(data).hexdigest()
            except ImportError:
                continue
            return digest
    from hashlib import sha256

    return sha256(data).hexdigest()


def _bytes_of(path: str | PathLike[str]) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


def _damaged(header: Header, why: str) -> ProtocolMismatch:
    return ProtocolMismatch(
        f"the payload of {printable(header.entry)} is not what was published: {why};"
        " publish it again"
    )


def _check_files(header: Header, folder: str | PathLike[str]) -> None:
    for path, digest in header.files:
        parts = path.split("/")
        if not path or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
            raise _damaged(header, f"{_shown(path)} is no path inside its folder")
        try:
            data = _bytes_of(os.path.join(folder, *parts))  # noqa: PTH118
        except OSError as error:
            raise _damaged(header, f"its file {_shown(path)} cannot be read") from error
        if _sha256(data) != digest:
            raise _damaged(header, f"its file {_shown(path)} does not have the digest stated")


def prepare_imports(layout: Layout, header: Header) -> None:
    """Put the function's own modules and its requirements first on ``sys.path``.

    The order is the one where the function was written: the script's folder, then packages. A
    module there that is called like one of the standard library's (``queue.py``) would be taken
    for it by what this runtime imports late, so in that case all of that is imported first.
    """
    tops = {path.split("/")[0].removesuffix(".py") for path, _ in header.files}
    if tops & sys.stdlib_module_names:
        _import_early()
    folders = [os.fspath(each) for each in (layout.modules, layout.requirements)]
    folders = [each for each in folders if os.path.isdir(each)]  # noqa: PTH112
    sys.path[:] = [*folders, *(each for each in sys.path if each not in folders)]


def _import_early() -> None:
    import asyncio  # noqa: F401
    import inspect  # noqa: F401
    import traceback  # noqa: F401

    for name in ("yaml", "dill"):
        try:
            __import__(name)
        except ImportError:
            # not in this image; what needs it says so
            pass


def load(header: Header, body: bytes) -> Callable[..., Any] | Members:
    """Make the function of a payload that was read, or the functions of a module.

    Raises:
        FunctionNotReady: Its module cannot be imported, or its pickle not be loaded; the message
            says what is missing.
    """
    try:
        function: Callable[..., Any] | Members = _FORMS[header.form](header.entry, body)
    except AwayError:
        raise
    except ModuleNotFoundError as error:
        missing = printable(error.name or "a module").partition(".")[0]
        raise FunctionNotReady(
            f"{printable(header.entry)} cannot be loaded: {error} in its image;"
            f" publish it with requirements=[{missing!r}] or where that package is installed"
        ) from error
    except BaseException as error:  # the function's module runs here
        raise FunctionNotReady(
            f"{printable(header.entry)} cannot be loaded: {type(error).__name__}:"
            f" {_message(error)}; correct its module and publish it again"
        ) from error
    if not (callable(function) or isinstance(function, Members)):
        raise FunctionNotReady(
            f"{printable(header.entry)} is a {type(function).__name__} there and not a function;"
            " publish it again"
        )
    if header.sources:
        _show_sources(header.sources)
    return function


def _show_sources(sources: Mapping[str, Mapping[str, str]]) -> None:
    """Let tracebacks show lines of files that are not here; dill has imported linecache already."""
    import linecache

    for file, lines in sources.items():
        numbers = {int(key): line for key, line in lines.items() if key.isdecimal()}
        last = min(max(numbers, default=0), _MOST_LINES)
        text = [numbers.get(number, "") + "\n" for number in range(1, last + 1)]
        # Without a time of change the entry is never looked for on the disk.
        linecache.cache[file] = (sum(map(len, text)), None, text, file)


def _message(error: BaseException) -> str:
    try:
        return printable(str(error)[:1_000])
    except Exception:  # a foreign __str__
        return "(its text cannot be made)"


def _import_function(_entry: str, body: bytes) -> Any:
    from importlib import import_module

    said = json.loads(body)
    value: Any = import_module(said["module"])
    for part in said["qualname"].split("."):
        value = getattr(value, part)
    return value


def _import_module(_entry: str, body: bytes) -> Members:
    from importlib import import_module

    said = json.loads(body)
    module = import_module(said["module"])
    functions = {name: getattr(module, name) for name in said["functions"]}
    for name, function in functions.items():
        if not callable(function):
            kind = type(function).__name__
            raise TypeError(f"its {printable(name)} is of type {kind} there and no function")
    return Members(said["module"], functions)


def _unpickle_function(entry: str, body: bytes) -> Any:
    try:
        import dill
    except ModuleNotFoundError as error:
        if error.name != "dill":
            raise
        raise FunctionNotReady(
            f"{printable(entry)} is packed with dill, which its image lacks;"
            " publish it again, so that dill is packed too"
        ) from error
    return dill.loads(body)


_FORMS: dict[str, Callable[[str, bytes], Any]] = {
    "import": _import_function,
    "dill": _unpickle_function,
    "module": _import_module,
}

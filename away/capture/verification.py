"""Loading a payload in a clean interpreter: the one sure test that nothing is missing.

The child has the standard library, the packed files and the folders that are given, as the image
will have; nothing of this process's environment of packages.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from away.capture.payload import split
from away.exceptions import CaptureRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from away.capture.modules import PackedFile

__all__ = ["check"]

# A payload that takes longer to load would not be ready for a platform's probe either.
_SECONDS = 60.0
_END_OF_OUTPUT = 2_000

# Written so that the last line of stderr says what went wrong, whatever the module printed before.
_LOADER = r"""
import json, os, sys

def place_of(error, folder):
    "Return the innermost line of the packed modules that an error passed through."
    found = ""
    if isinstance(error, SyntaxError) and str(error.filename).startswith(folder):
        return f"{os.path.relpath(error.filename, folder)}:{error.lineno}"
    step = error.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if name.startswith(folder):
            found = f"{os.path.relpath(name, folder)}:{step.tb_lineno}"
        step = step.tb_next
    return found

def kind_of(error):
    "Return what would mend an error."
    if isinstance(error, ImportError):
        return "import"
    if isinstance(error, FileNotFoundError):
        return "file"
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    if isinstance(error, KeyError) and step is not None:
        if step.tb_frame.f_globals.get("__name__") == "os":
            return "environment"
    return "own"

sys.path[:0] = json.loads(sys.argv[2])
with open(sys.argv[1], "rb") as file:
    header, body = json.loads(file.readline()), file.read()
try:
    if header["form"] == "import":
        import importlib
        where = json.loads(body)
        function = importlib.import_module(where["module"])
        for part in where["qualname"].split("."):
            function = getattr(function, part)
    elif header["form"] == "module":
        import importlib
        where = json.loads(body)
        module = importlib.import_module(where["module"])
        for function in [getattr(module, name) for name in where["functions"]]:
            if not callable(function):
                break
    else:
        import dill
        function = dill.loads(body)
    if not callable(function):
        raise TypeError(f"it loads as {type(function).__name__}, which cannot be called")
except BaseException as error:
    text = f"{type(error).__name__}: {error}".replace("\n", " ")
    folder = json.loads(sys.argv[2])[0] + os.sep
    said = {"text": text, "place": place_of(error, folder), "kind": kind_of(error)}
    sys.stderr.write("\n" + json.dumps(said))
    sys.stderr.flush()
    os._exit(3)
# What the module left running must not keep this process.
os._exit(0)
"""


def check(
    payload: bytes,
    files: Iterable[PackedFile],
    layer_dirs: Sequence[Path],
    *,
    environment: Mapping[str, str] | None = None,
    python: str = sys.executable,
    timeout: float = _SECONDS,
) -> None:
    """Load a payload in a clean interpreter.

    Args:
        payload: The payload.
        files: The files packed with it.
        layer_dirs: Folders to import from: Away's own, dill where it is needed, requirements.
        environment: The variables that the function will be given.
        python: The interpreter to start.
        timeout: Seconds that there are for it; no more than a minute of them counts.

    Raises:
        CaptureRefused: It does not load there; the message says why.
        TimeoutError: It was still loading when ``timeout``, of less than a minute, was over.
    """
    entry = split(payload)[0]["entry"]
    seconds = min(timeout, _SECONDS)
    with tempfile.TemporaryDirectory(prefix="away-verify-") as name:
        folder = Path(name)
        modules = folder / "modules"
        modules.mkdir()
        for file in files:
            target = modules / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
        (folder / "payload.away").write_bytes(payload)
        path = [str(modules), *(str(each) for each in layer_dirs)]
        try:
            done = _run(python, folder, path, environment or {}, seconds)
        except subprocess.TimeoutExpired:
            if seconds < _SECONDS:
                raise TimeoutError(f"{entry} was still loading in a clean interpreter") from None
            raise CaptureRefused(
                f"{entry} was still loading after {seconds:g} seconds in a clean interpreter; move"
                " slow work from the module into the function",
                path=entry,
            ) from None
    if done.returncode:
        raise _refused(entry, done)


# What to do, by what kind of error it was.
_IMPORT = (
    "what is missing there may be listed in requirements=, or what fails be moved into the function"
)
_OWN = "move what fails there into the function"
_WAYS_OUT = {
    "import": _IMPORT,
    "file": "pass include= the file, if it is one of yours, or move what reads it into the function",
    "login": "read no password as the module is imported: name the gateway in the configuration and use"
    " FaasConnection.named('…'), or read a secret inside the function with away.secret('NAME')",
    "environment": "pass env= the variable that it reads, or move what reads it into the function",
}
# A file of such a name is not to be packed; the name stands last in an error's text, in quotes.
_LOGIN_FILE = re.compile(
    r"(?<![a-z])(?:password|passwd|secret|token|key|credential)s?(?![a-z])[^/'\"]*['\"]\Z",
    re.IGNORECASE,
)


def _refused(entry: str, done: subprocess.CompletedProcess[bytes]) -> CaptureRefused:
    """Make the error for a payload that did not load, of what the loader said last."""
    import json

    said = done.stderr.decode("utf-8", "replace").strip()
    last = said.splitlines()[-1] if said else ""
    try:
        found = json.loads(last)
        text, place, kind = str(found["text"]), str(found["place"]), str(found["kind"])
    except (ValueError, TypeError, KeyError, RecursionError):
        # It ended by itself, or was ended: its own last words, or none.
        text = last[-_END_OF_OUTPUT:] or f"it ended with status {done.returncode}"
        place, kind = "", ""
    if kind == "file" and _LOGIN_FILE.search(text):
        kind = "login"
    where = f"{place}: " if place else ""
    way = _WAYS_OUT.get(kind, _OWN if place else _IMPORT)
    return CaptureRefused(
        f"{entry} does not load in a clean interpreter: {where}{text[:_END_OF_OUTPUT]}; {way}",
        path=entry,
    )


def _run(
    python: str, folder: Path, path: list[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[bytes]:
    import json

    return subprocess.run(
        # -S: no site-packages, which the image will not have either
        [python, "-I", "-S", "-c", _LOADER, str(folder / "payload.away"), json.dumps(path)],
        cwd=folder / "modules",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={
            "PATH": "/usr/bin:/bin",
            **environment,
            "AWAY_RUNTIME": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        timeout=timeout,
        check=False,
    )

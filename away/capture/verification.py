"""Loading a payload in a clean interpreter: the one sure test that nothing is missing.

The child has the standard library, the packed files and the folders that are given, as the image
will have; nothing of this process's environment of packages.
"""

from __future__ import annotations

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
    else:
        import dill
        function = dill.loads(body)
    if not callable(function):
        raise TypeError(f"it loads as {type(function).__name__}, which cannot be called")
except BaseException as error:
    text = f"{type(error).__name__}: {error}".replace("\n", " ")
    sys.stderr.write("\n" + text)
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
        timeout: Seconds that loading may take.

    Raises:
        CaptureRefused: It does not load there; the message says why.
    """
    entry = split(payload)[0]["entry"]
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
            done = _run(python, folder, path, environment or {}, timeout)
        except subprocess.TimeoutExpired:
            raise CaptureRefused(
                f"{entry} was still loading after {timeout:g} seconds in a clean interpreter; move"
                " slow work from the module into the function",
                path=entry,
            ) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-_END_OF_OUTPUT:]
        reason = said.splitlines()[-1] if said else f"it ended with status {done.returncode}"
        raise CaptureRefused(
            f"{entry} does not load in a clean interpreter: {reason}; what is missing there may be"
            " listed in requirements=, or what fails be moved into the function",
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

"""A place to make mistakes in, with real gateways, files and processes, and how a message must read."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import os
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from away import FaasConnection, cli
from tests.servers import Script, Server

# None of these may stand in any message.
# Made up anew in each run: a file that held one could not be published from this process any more.
PASSWORD, TOKEN = f"pw-{token_hex(8)}", f"tok-{token_hex(8)}"
# Away prints what a function wrote last beneath the sentence that says why it is not there.
LOG_BELOW = "; its log ends with\n"


class Told(NamedTuple):
    """What a user is told: by an exception, or by a command and its exit code."""

    kind: type[BaseException] | None
    code: int | None
    text: str
    log: str = ""
    shown: str = ""
    error: BaseException | None = None


class Row(NamedTuple):
    """One mistake: what is done, what is raised or the code of the command, and words of the text."""

    id: str
    act: Callable[[Place], object]
    outcome: type[BaseException] | int | None
    words: tuple[str, ...]
    slow: bool


class Table:
    """Rows in the order in which they are written."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def __call__(
        self, id: str, outcome: type[BaseException] | int | None, *words: str, slow: bool = False
    ) -> Callable[[Callable[[Place], object]], Callable[[Place], object]]:
        """Add the decorated action; words are what, where and what to do."""

        def add(act: Callable[[Place], object]) -> Callable[[Place], object]:
            self.rows.append(Row(id, act, outcome, words, slow))
            return act

        return add


class Place:
    """A folder to work in, an environment, and gateways that behave or do not."""

    def __init__(self, folder: Path, patch: Any, gateway: FaasConnection, captured: Any) -> None:
        self.folder = folder
        self.patch = patch
        self.gateway = gateway
        self.captured = captured
        self.count = 0
        self.closing = contextlib.ExitStack()
        patch.chdir(folder)

    # ------------------------------------------------------------ what is there

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        return path

    def set(self, **environment: str) -> None:
        for name, value in environment.items():
            self.patch.setenv(name, value)

    def module(self, name: str, source: str) -> Any:
        """Write a module of the user's own and import it."""
        self.write(f"{name}.py", source)
        self.patch.syspath_prepend(str(self.folder))
        self.patch.setattr(sys, "dont_write_bytecode", True)
        importlib.invalidate_caches()
        sys.modules.pop(name, None)
        self.closing.callback(sys.modules.pop, name, None)
        return importlib.import_module(name)

    def function(self, source: str = "def f(n): return n") -> Callable[..., Any]:
        """Write a module with a function `f` and return that: no module of the tests is packed."""
        self.count += 1
        return self.module(f"module_{self.count}_of_{self.folder.name}", source).f

    # ------------------------------------------------------------ gateways

    def faas(self, **options: Any) -> FaasConnection:
        """Connect to the embedded gateway."""
        given = {"user": self.gateway.user, "password": self.gateway.password, "verbose": False}
        return self.closing.enter_context(FaasConnection(self.gateway.url, **{**given, **options}))

    def to(self, url: str, **options: Any) -> FaasConnection:
        """Connect to some other URL."""
        given = {"password": PASSWORD, "verbose": False, "timeout": 10.0, "connect_timeout": 5.0}
        return self.closing.enter_context(FaasConnection(url, **{**given, **options}))

    def serve(self, script: Script, **options: Any) -> Server:
        """Start a server that misbehaves as the script says."""
        return self.closing.enter_context(Server(script, **options))

    def against(self, script: Script, **options: Any) -> FaasConnection:
        """Connect to a server that misbehaves."""
        return self.to(self.serve(script).url, **options)

    def configured(self, name: str, url: str, password: str | None = PASSWORD) -> None:
        """Let a gateway be configured by the environment."""
        self.set(**{f"AWAY_GATEWAY_{name.upper()}_URL": url})
        if password is not None:
            self.set(**{f"AWAY_GATEWAY_{name.upper()}_PASSWORD": password})

    def imported(self, statement: str) -> dict[str, Any]:
        """Run an import statement as a user's module would."""
        space: dict[str, Any] = {}
        self.closing.callback(_forget_gateways)
        exec(statement, space)
        return space

    # ------------------------------------------------------------ programs

    def away(self, *words: str) -> Told:
        """Run the command in this process."""
        code = cli.run(words)
        out, err = self.captured.readouterr()
        return _of_command(code, out, err)

    def command(self, *words: str, stdin: str = "") -> Told:
        """Run the command in a process of its own."""
        ran = self.run([sys.executable, "-W", "error", "-m", "away", *words], stdin)
        return _of_command(ran.returncode, ran.stdout, ran.stderr)

    def script(self, source: str, *, read_only: Path | None = None) -> Told:
        """Run a script in this folder; what it ends with is its last word.

        Args:
            source: The script.
            read_only: A folder that it must not be able to write to, whoever runs the tests.
        """
        path = self.write("script.py", source)
        words = [sys.executable, "-W", "error", str(path)]
        if read_only is not None:
            read_only.chmod(0o500)
            self.closing.callback(read_only.chmod, 0o700)
            if os.geteuid() == 0 and (setpriv := shutil.which("setpriv")):
                # Root writes wherever it likes, unless it gives this power away.
                given_up = "-dac_override,-dac_read_search"
                words = [setpriv, f"--bounding-set={given_up}", f"--inh-caps={given_up}", *words]
        ran = self.run(words)
        if ran.returncode == 0:
            return Told(None, 0, ran.stdout.rstrip("\n"), shown=ran.stdout + ran.stderr)
        return _of_script(ran.stderr)

    def run(self, words: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        root = str(Path(__file__).parent.parent)
        return subprocess.run(
            words,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": root},
        )

    # ------------------------------------------------------------ the outcome

    def told(self, act: Callable[[Place], object]) -> Told | None:
        """Do it and return what was told; None where it just works."""
        try:
            value = act(self)
        except Exception as error:  # whatever it is: that is what the test is about
            return _of_error(error)
        return value if isinstance(value, Told) else None


def _forget_gateways() -> None:
    remote = sys.modules.get("away.remote")
    for name in [name for name in sys.modules if name.startswith("away.remote.")]:
        del sys.modules[name]
        if remote is not None:
            vars(remote).pop(name.rpartition(".")[2], None)


def _of_error(error: BaseException) -> Told:
    text, _, log = str(error).partition(LOG_BELOW)
    shown = "".join(traceback.format_exception(error)) + repr(vars(error)) + repr(error)
    return Told(type(error), None, text, log, shown, error)


def _of_command(code: int, out: str, err: str) -> Told:
    text = err.removeprefix("away: ").removesuffix("\n")
    return Told(None, code, text, shown=out + err)


def _of_script(err: str) -> Told:
    """Read the last exception of a traceback: its type by its name, and its text."""
    found = list(re.finditer(r"^([A-Za-z_][\w.]*): (.*)", err, re.MULTILINE))
    assert found, err
    module, _, name = found[-1][1].rpartition(".")
    kind = getattr(sys.modules.get(module, builtins) if module else builtins, name, None)
    assert kind is not None, err
    return Told(kind, None, found[-1][2], shown=err)


# ---------------------------------------------------------------- how a message reads


def check_sentence(told: Told, secrets: tuple[str, ...]) -> None:
    """Check what holds for every message, whatever it is about."""
    text = told.text
    assert text, "nothing was said"
    assert "\n" not in text, "a message is one line"
    assert text == text.strip()
    assert not text.endswith("."), "a message has no full stop"
    # Python's own suggestion of a name is a sentence of its own.
    assert not re.search(r"[a-z)'`]\. (?!Did you mean)[A-Z]", text), "a message is one sentence"
    # What begins in upper case is a name: AWAY_PUBLISH, FaasConnection, Thing.run, GET. Only the
    # command line's library begins its own sentences so.
    name = r"[A-Z]\w*[A-Z_.]"
    assert re.match(rf"[a-z0-9`'\"/:(<{{]|{name}", text) or told.code == 2, text[:30]
    assert "Traceback" not in text
    assert "object at 0x" not in text, "an address says nothing to anyone"
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text)
    assert "please" not in text.lower()
    assert len(text) < 900, "nobody reads so much"
    for secret in secrets:
        assert secret not in text + told.log + told.shown


def check_travels(error: BaseException, secrets: tuple[str, ...]) -> None:
    """Check that an error of Away's can be pickled as it is, and carries no secret."""
    data = pickle.dumps(error)
    again = pickle.loads(data)
    assert (type(again), str(again)) == (type(error), str(error))
    assert not any(secret.encode() in data for secret in secrets)

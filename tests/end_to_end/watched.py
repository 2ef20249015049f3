"""A gateway that is watched while everything happens to it, and all that could show a secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import gzip
import importlib
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

from away import FaasConnection, builder, cli, config
from away.exceptions import AwayError, UnsafeWarning
from away.gateway.announcement import Announcement, read
from tests import servers

# Made up in each run, for no file may hold them. Only PASSWORD opens the gateway.
PASSWORD, WRONG, TOKEN, VALUE = (f"{kind}-{token_hex(10)}" for kind in ("pw", "no", "tok", "val"))
SECRETS = {
    "the password": PASSWORD,
    "a refused password": WRONG,
    "a token": TOKEN,
    "a secret of the gateway": VALUE,
    "a proxy's log-in in a header": base64.b64encode(f"me:{TOKEN}".encode()).decode(),
    "the password in a header": base64.b64encode(f"admin:{PASSWORD}".encode()).decode(),
    "a refused password in a header": base64.b64encode(f"admin:{WRONG}".encode()).decode(),
}
START_SECONDS = 60.0


def found_in(text: str | bytes) -> list[str]:
    """List the secrets that stand in a text."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    return [name for name, secret in SECRETS.items() if secret.encode() in data]


# ---------------------------------------------------------------- the gateway


class Watched:
    """``away up`` in a process of its own; what it prints goes to a file."""

    def __init__(self, folder: Path) -> None:
        self.state, self.home = folder / "state", folder / "home"
        self.printed = folder / "printed"
        self.home.mkdir(parents=True)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o600)
        environ = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        environ |= {
            "HOME": str(self.home),
            "AWAY_RUNTIME_DIR": str(folder / "run"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONASYNCIODEBUG": "1",
            "AWAY_DEBUG": "1",
        }
        words = ["up", "--state", str(self.state), "--password-file", str(password)]
        with self.printed.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "away", *words], env=environ, stdout=file, stderr=file
            )
        self.announcement = folder / "run"
        self.url = self._wait().url

    def _wait(self) -> Announcement:
        until = time.monotonic() + START_SECONDS
        while (found := read(self.announcement)) is None:
            assert self.process.poll() is None, self.printed.read_text()
            assert time.monotonic() < until
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


# ---------------------------------------------------------------- what is left behind


class Traces:
    """All that was seen, by the kind of place where it was."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[str, str | bytes]]] = {}

    def add(self, kind: str, what: str, text: str | bytes) -> None:
        self.seen.setdefault(kind, []).append((what, text))

    def show(self, what: str, value: object) -> None:
        """Look at a value in every way that shows one."""
        self.add("repr and str", what, f"{value!r} {value!s} {value:}")
        self.add("repr and str", f"the attributes of {what}", repr(getattr(value, "__dict__", "")))
        with contextlib.suppress(Exception):  # what cannot be pickled shows nothing there
            self.add("pickle", what, pickle.dumps(value))
        with contextlib.suppress(Exception):
            self.add("repr and str", f"a copy of {what}", repr(copy.copy(value)))

    def fail(self, what: str, error: BaseException) -> None:
        """Look at an exception, at all that led to it, and at what they carry."""
        self.add("exceptions", what, "".join(traceback.format_exception(error)))
        for each in _chain(error):
            self.add("exceptions", what, f"{each!r} {each!s} {each.args!r}")
            self.add("exceptions", what, repr(getattr(each, "__notes__", "")))
            for carried in _carried(vars(each), 4):
                self.add("exceptions", f"{what}: what {type(each).__name__} carries", carried)
        if isinstance(error, AwayError):
            self.add("pickle", what, pickle.dumps(error))

    @contextlib.contextmanager
    def failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is
            self.fail(what, error)
        else:
            raise AssertionError(f"{what} did not fail")

    def __enter__(self) -> Traces:
        self._stream = io.StringIO()
        self._handler = logging.StreamHandler(self._stream)
        self._level = logging.root.level
        logging.root.addHandler(self._handler)
        logging.root.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        logging.root.removeHandler(self._handler)
        logging.root.setLevel(self._level)
        self.add("logs", "logging at DEBUG", self._stream.getvalue())


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is not None and each not in seen:
            seen.append(each)
            todo += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
    yield from seen


def _carried(value: object, levels: int) -> Iterator[str]:
    """Give the reprs of what hangs on an object; a connection of the user's may know its login."""
    if levels == 0 or isinstance(value, (FaasConnection, type)):
        return
    yield repr(value)
    inner = list(value.values()) if isinstance(value, dict) else []
    if isinstance(value, (list, tuple)):
        inner += list(value)
    inner += list(getattr(value, "__dict__", {}).values())
    inner.append(getattr(value, "headers", None))
    for each in inner:
        if each is not None and not isinstance(each, (str, bytes, int, float)):
            yield from _carried(each, levels - 1)


# ---------------------------------------------------------------- everything happens


def journey(up: Watched, folder: Path, patch: Any) -> Traces:
    """Do everything once with a gateway, well and badly, and return what it left behind."""
    file = folder / "password"
    file.write_text(PASSWORD)
    patch.setenv("AWAY_GATEWAY_WATCHED_URL", up.url)
    patch.setenv("AWAY_GATEWAY_WATCHED_PASSWORD_FILE", str(file))
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    patch.chdir(folder)
    traces = Traces()
    with traces, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with FaasConnection(up.url, password=PASSWORD, verbose=False) as faas:
            functions = _published(faas, folder, patch)
            _used(faas, functions, traces)
            _looked_at(faas, functions, traces)
            _failed(faas, traces, patch)
            _commanded(traces, folder)
            _written(up, faas, traces, folder)
    for each in warned:
        traces.add("logs", "warnings", str(each.message))
    traces.add("logs", "what away up printed", up.printed.read_bytes())
    return traces


SOURCE = '''
import away

def watched_keys(n):
    """Read the secret, and say only how long it is."""
    print("the secret is read")
    return n + len(away.secret("watched-key"))

async def watched_later(n): return n

def watched_unsafe(n): return n

def watched_fails(n): raise ValueError(n)
'''


def _published(faas: FaasConnection, folder: Path, patch: Any) -> dict[str, Callable[..., Any]]:
    (folder / "watched_functions.py").write_text(SOURCE)
    patch.syspath_prepend(str(folder))
    module = importlib.import_module("watched_functions")
    faas.create_secret("watched-key", VALUE)
    given = {"watched_keys": {"secrets": ["watched-key"], "env": {"MODE": "watched"}}}
    found = {}
    for name in ("watched_keys", "watched_later", "watched_fails"):
        found[name] = builder.mirror_in_faas(getattr(module, name), faas, **given.get(name, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsafeWarning)
        unsafe = builder.mirror_in_faas(module.watched_unsafe, faas, safe_args=False)
    faas.deploy({"service": "watched-cat", "image": "process", "envProcess": "cat"})
    return {**found, "watched_unsafe": unsafe}


def _used(faas: FaasConnection, functions: dict[str, Callable[..., Any]], traces: Traces) -> None:
    assert functions["watched_keys"](1) == 1 + len(VALUE)
    assert functions["watched_unsafe"](range(3)) == range(3)

    async def later() -> None:
        assert await functions["watched_later"](2) == 2
        await faas.aio.functions(fresh=True)

    asyncio.run(later())
    with traces.failing("the function's own exception"):
        functions["watched_fails"](1)
    space: dict[str, Any] = {}
    exec("from away.remote.watched import watched_keys", space)
    assert space["watched_keys"](2) == 2 + len(VALUE)
    traces.show("an imported function", space["watched_keys"])
    traces.show("the gateway's module", sys.modules.pop("away.remote.watched"))


def _looked_at(
    faas: FaasConnection, functions: dict[str, Callable[..., Any]], traces: Traces
) -> None:
    named = FaasConnection.named("watched")
    shown = {
        "a connection": faas,
        "a named connection": named,
        "its async twin": faas.aio,
        "its login": faas.api.access,
        "its interface": faas.api,
        "its catalogue": faas.catalogue,
        "a connection by token": FaasConnection(up_url := faas.url, token=TOKEN),
        "a configuration": config.resolve("watched"),
        "all configurations": config.configured(),
        "a secret": config.Secret(PASSWORD),
        "an announcement": Announcement(up_url, "admin", PASSWORD, 1, ""),
        "functions": list(functions.values()),
        "infos": faas.functions(),
        "an info": faas.function("watched-keys"),
        "the gateway's facts": faas.info(),
        "the secrets' names": faas.secrets(),
        "a reply": faas.invoke("watched-cat", b"x"),
    }
    for what, value in {**shown, **functions}.items():
        traces.show(what, value)
    for info in faas.functions():
        traces.add("annotations", info.name, json.dumps([info.annotations, info.labels]))
        traces.add("annotations", f"all of {info.name}", repr(info))
        traces.add("logs", f"the log of {info.name}", repr(faas.logs(info.name)))


def _failed(faas: FaasConnection, traces: Traces, patch: Any) -> None:
    url = faas.url
    location = {"Location": f"https://admin:{PASSWORD}@sso.example/in?token={TOKEN}#{VALUE}"}
    scripts = {
        "a redirect": servers.answer(302, b"", location),
        "what is not HTTP": servers.raw(b"garbage\r\n\r\n"),
        "a bad status line": servers.raw(b"HTTP/1.1 abc\r\n\r\n"),
        "bad headers": servers.raw(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        "a bad length": servers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
        "half an answer": servers.cut(b"x" * 99, 3),
        "half a chunk": servers.cut_chunked(b"x" * 99),
        "no answer": servers.hang_up(),
        "a reset": servers.reset(),
        "silence": servers.hang(),
        "no encoding": servers.answer(200, b"x", {"Content-Encoding": "gzip"}),
        "HTML": servers.answer(200, b"<html>"),
        "an error": servers.answer(500, b"boom"),
        "a refusal": servers.answer(401, b""),
        "an error page that repeats the request": _echoed,
    }
    for what, script in scripts.items():
        with servers.Server(script) as server:
            other = FaasConnection(server.url, password=PASSWORD, timeout=0.3)
            _asked(other, f"{what} from a gateway", traces)
    with servers.refusing() as port:
        other = FaasConnection(f"http://127.0.0.1:{port}", password=PASSWORD, timeout=0.2)
        _asked(other, "a gateway that is down", traces)
        tls = FaasConnection(f"https://127.0.0.1:{port}", password=PASSWORD, timeout=0.2)
        _asked(tls, "a gateway that is down, by TLS", traces)
    _behind_proxies(traces, patch)
    _asked(FaasConnection(url, password=WRONG), "a wrong password", traces)
    _asked(FaasConnection(url, token=TOKEN), "a wrong token", traces)
    made: dict[str, Callable[[], object]] = {
        "a password in a URL": lambda: FaasConnection(f"http://admin:{PASSWORD}@host"),
        "a password for a port": lambda: FaasConnection(f"http://admin:{PASSWORD}"),
        "a password that is a list": lambda: FaasConnection(password=[PASSWORD]),  # type: ignore[arg-type]
        "two secrets": lambda: FaasConnection(password=PASSWORD, token=TOKEN),
        "a line break in a token": lambda: FaasConnection(url, token=f"{TOKEN}\n").functions(),
        "a pickled secret": lambda: pickle.dumps(config.Secret(PASSWORD)),
        "a registry with a password": lambda: config.configure("x", registry=f"a:{PASSWORD}@b"),
        "a password in a gateway's name": lambda: config.configure(PASSWORD, url="http://x"),
        "a captured password": lambda: builder.mirror_in_faas(
            lambda n, given=(PASSWORD,): n, faas, name="leaks"
        ),
    }
    for what, act in made.items():
        if what == "a password in a gateway's name":
            continue  # a name is no secret: whoever takes one for the other sees it again
        with traces.failing(what):
            act()


def _echoed(seen: servers.Seen) -> servers.Behaviour:
    return servers.answer(500, repr(seen.headers).encode())


def _behind_proxies(traces: Traces, patch: Any) -> None:
    """Ask through proxies that want a log-in and fail: theirs is a secret as any other."""
    with servers.refusing() as port, servers.Server(servers.answer(407, b"")) as refuses:
        for what, place in (("is down", port), ("refuses", refuses.port)):
            for scheme in ("http", "https"):
                patch.setenv(f"{scheme}_proxy", f"http://me:{TOKEN}@127.0.0.1:{place}")
                other = FaasConnection(f"{scheme}://shop.example", password=PASSWORD, timeout=0.3)
                _asked(other, f"a proxy for {scheme} that {what}", traces)
                patch.delenv(f"{scheme}_proxy")


def _asked(faas: FaasConnection, what: str, traces: Traces) -> None:
    """Ask for the list by both drivers."""
    with faas:
        with traces.failing(what):
            faas.functions()

        async def ask() -> None:
            async with faas:
                await faas.aio.functions()

        with traces.failing(f"{what}, asynchronously"):
            asyncio.run(ask())
        traces.show(f"a connection to {what}", faas)


def _commanded(traces: Traces, folder: Path) -> None:
    (folder / "watched_more.py").write_text("def watched_more(): return 1\n")
    commands = [
        ["gateways"],
        ["list"],
        ["describe", "watched-keys"],
        ["call", "watched-keys", "1"],
        ["call", "watched-fails", "1"],
        ["logs", "watched-keys"],
        ["secrets", "list"],
        ["publish", "watched_more.py:watched_more"],
        ["describe", "nothing"],
        ["list", "-g", f"http://admin:{PASSWORD}@host"],
        ["remove", "watched-more"],
    ]
    with_json = {"gateways", "list", "describe", "call", "logs", "publish"}
    os.environ["AWAY_DEBUG"] = "1"
    for words in commands:
        aimed = words if "-g" in words or words == ["gateways"] else [*words, "-g", "watched"]
        traces.add("command output", " ".join(words[:2]), _printed(aimed))
        if words[0] in with_json:
            traces.add("JSON output", " ".join(words[:2]), _printed([*aimed, "--json"]))
    del os.environ["AWAY_DEBUG"]
    os.environ.pop("AWAY_PUBLISH", None)


def _printed(words: list[str]) -> bytes:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        cli.run(words)
    stream.flush()
    data = buffer.getvalue()
    stream.detach()
    assert data
    return data


def _written(up: Watched, faas: FaasConnection, traces: Traces, folder: Path) -> None:
    """Read what is on the disk and what the processes show."""
    holders = {up.state / "password", up.announcement / "gateway.json", up.state / "gateway.json"}
    for root, kind in ((up.state, "images"), (folder / "cache", "cache"), (up.home, "home")):
        for path in root.rglob("*"):
            secret = "secrets" in path.relative_to(root).parts
            if path.is_file() and not path.is_symlink() and path not in holders and not secret:
                data = path.read_bytes()
                traces.add(f"files of {kind}", str(path), data)
                if data[:2] == b"\x1f\x8b":
                    traces.add(f"files of {kind}", f"{path}, unpacked", gzip.decompress(data))
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                traces.add("processes", f"{name} of {process.name}", (process / name).read_bytes())

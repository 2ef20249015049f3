"""Inside a published function: what it may use of Away there, from nothing but its own image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import textwrap
from io import BytesIO
from pathlib import Path

import pytest

from away import gateway
from away.capture import capture
from away.publish import layers, parts
from away.publish.verification import installed_here
from tests.archives import unpack_all

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A gateway that has the functions which the others call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWAY_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        with gateway.run(state=tmp_path_factory.mktemp("state"), announce=False) as connection:
            said = script(
                tmp_path_factory.mktemp("base"),
                connection,
                """
                from away import builder, FaasConnection
                faas = FaasConnection.named("home")
                @builder.publish(faas, verbose=False)
                def doubled(n): return n * 2
                @builder.publish(faas, verbose=False)
                async def tripled(n): return n * 3
                print(doubled(2))
                """,
            )
            assert said == "4\n"
            yield connection


def script(folder: Path, connection, source: str, files: dict[str, str] | None = None) -> str:
    """Run a script with the gateway configured as ``home``, and return what it prints."""
    for name, text in {"main.py": source, **(files or {})}.items():
        (folder / name).write_text(textwrap.dedent(text))
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWAY_GATEWAY_HOME_URL": connection.url,
            "AWAY_GATEWAY_HOME_PASSWORD": connection.password,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------- nothing but the image's layers

CALL = """
import asyncio, inspect, json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from away.runtime import payload
layout = payload.locate({"AWAY_PAYLOAD": sys.argv[2]})
header, body = payload.read(layout)
payload.prepare_imports(layout, header)
value = payload.load(header, body)(5)
print(asyncio.run(value) if inspect.isawaitable(value) else value)
"""

CALLERS = {
    "sync": "def caller(n): return doubled(n)",
    "async": "async def caller(n): return await tripled(n)",
    "sync that runs an async one": (
        "import asyncio\ndef caller(n): return asyncio.run(tripled(n))"
    ),
    "through the gateway's module": "def caller(n): return home.doubled(n)",
}
IMPORTS = "import away.remote.home as home\nfrom away.remote.home import doubled, tripled\n"


@pytest.mark.parametrize("caller", list(CALLERS))
def test_a_reference_is_called_from_nothing_but_the_images_own_layers(
    running, tmp_path, monkeypatch, caller
):
    monkeypatch.setenv("AWAY_GATEWAY_HOME_URL", running.url)
    monkeypatch.setenv("AWAY_GATEWAY_HOME_PASSWORD", running.password)
    space = {"__name__": "__main__"}
    exec(IMPORTS + CALLERS[caller], space)
    captured = capture(space["caller"])
    for part in parts.parts_for(captured):
        unpack(layers.shared_layer(part, docker=False), tmp_path)
    unpack(layers.function_layer(captured, docker=False), tmp_path)
    needs = ["requests", "urllib3", *(["aiohttp"] if captured.needs_async_client else [])]
    with installed_here(needs, tmp_path) as site:
        path = [str(tmp_path / layers.LIBRARY_FOLDER), str(site)]
        payload = tmp_path / layers.FUNCTION_FOLDER / "payload.away"
        done = subprocess.run(
            # -S: no site-packages, so nothing but the standard library and the layers.
            [sys.executable, "-I", "-S", "-c", CALL, json.dumps(path), str(payload)],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": "/",
                "AWAY_RUNTIME": "1",
                "AWAY_INSIDE_URL": running.url,
                "AWAY_OUTSIDE_URL": running.url,
                "AWAY_GATEWAY_HOME_URL": running.url,
            },
            cwd=tmp_path / layers.MODULES_FOLDER,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout == ("10\n" if "doubled" in CALLERS[caller] else "15\n"), done.stderr


def unpack(layer, folder: Path) -> None:
    with tarfile.open(fileobj=BytesIO(layer.data)) as archive:
        unpack_all(archive, folder)


# ---------------------------------------------------------------- through a gateway

HEAD = """
    from away import builder, FaasConnection
    faas = FaasConnection.named("home")
"""


@pytest.mark.parametrize(
    ("module", "gives"),
    [
        ("from away.remote.home import doubled\ndef f1(n): return doubled(n)", 10),
        ("import away.remote.home as g\ndef f2(n): return g.doubled(n)", 10),
        ("from away.remote.home import tripled\nasync def f3(n): return await tripled(n)", 15),
        ("import asyncio\nfrom away.remote.home import tripled as t\ndef f4(n): return asyncio.run(t(n))", 15),
        ("async def f9(n):\n    from away.remote.home import tripled\n    return await tripled(n)", 15),
        ("def f5(n): return faas.invoke('doubled', b'[5]').text", "10"),
        ("URL, LIMIT, WHO = faas.url, faas.timeout, [faas.user, faas.password, faas.name]\ndef f6(n): return [LIMIT, *WHO]", [120.0, "admin", None, "home"]),
        ("from away import *\ndef f7(n): return n", 5),
        ("from away import *\nimport away.gateway\ndef f8(n): return n", 5),
    ],
    ids=lambda each: each.splitlines()[0] if isinstance(each, str) else "",
)  # fmt: skip
def test_a_module_that_uses_a_gateway_is_published_and_works(running, tmp_path, module, gives):
    name = f"f{module.partition('def f')[2][0]}"
    written = textwrap.dedent(HEAD) + module
    publishes = (
        "import asyncio, inspect, json, mod\n"
        f"value = mod.builder.mirror_in_faas(mod.{name}, mod.faas, verbose=False)(5)\n"
        "print(json.dumps(asyncio.run(value) if inspect.isawaitable(value) else value))"
    )
    said = script(tmp_path, running, publishes, {"mod.py": written})
    assert json.loads(said) == gives


# Kinds of functions, each with its call; the script prints what every call gave.
KINDS = """
import asyncio, functools, inspect, json, warnings
import away
from away import builder, FaasConnection
import away.remote.home as home
from away.remote.home import doubled, tripled
import tools
from tools import added
faas = FaasConnection.named("home")
faas.verbose = False
STEP = 2
class Cart:
    def __init__(self, n): self.n = n
    def total(self): return self.n * STEP
def closure(k):
    def inner(n): return n * k
    return inner
@builder.publish(faas)
def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
def of_class(n): return Cart(n).total()
async def awaited(n): return n + 1
def items(n): yield from range(n)
async def async_items(n):
    for each in range(n): yield each
def through_module(n): return tools.added(n) + home.doubled(n)
def calls_sync(n): return doubled(n) + 1
async def calls_async(n): return await tripled(n)
def runs_async(n): return asyncio.run(tripled(n))
def calls_published(n): return factorial(n)
def unsafe(r): return sum(r)
def by_kept_name(n): return FaasConnection.named("home").invoke("doubled", b"[5]").text
def by_package(n): return away.FaasConnection.named("home").invoke("doubled", b"[5]").text
def by_stub(n): return builder.sync_from_name("doubled", FaasConnection.named("home"))(n)
def by_default_stub(n):
    @builder.faas_function(FaasConnection.named("home"))
    def doubled(n): ...
    return doubled(n)
def by_body(n):
    from away import FaasConnection, builder
    return builder.sync_from_name("doubled", FaasConnection.named("home"))(n)
def by_local_import(n):
    import away.remote.home as there
    return there.doubled(n)
def by_options(n): return doubled.options(timeout=9)(n)
def login(n): return [FaasConnection.named("home").password, FaasConnection.named("home").url == faas_url]
faas_url = faas.url
TABLE = {
    "closure": (closure(3), 15), "recursion": (factorial, 120), "class of the script": (of_class, 10),
    "async": (awaited, 6), "generator": (items, [0, 1, 2, 3, 4]),
    "async generator": (async_items, [0, 1, 2, 3, 4]), "module function": (added, 6),
    "module and gateway module": (through_module, 16), "proxy of a sync function": (calls_sync, 11),
    "proxy of an async function": (calls_async, 15), "async proxy in a sync one": (runs_async, 15),
    "proxy of a published function": (calls_published, 120), "partial": (functools.partial(pow, 2), 32),
    "lambda": (lambda n: n + STEP, 7), "bound method": (Cart(4).total, 8),
    "connection by name": (by_kept_name, "10"), "connection by the package": (by_package, "10"),
    "stub made in the body": (by_stub, 10), "decorated in the body": (by_default_stub, 10),
    "imported in the body": (by_body, 10), "gateway imported in the body": (by_local_import, 10),
    "with options": (by_options, 10), "no login inside": (login, [None, True]),
}
async def collected(items): return [each async for each in items]
def called(proxy, *arguments):
    given = proxy(*arguments)
    if inspect.isasyncgen(given): given = collected(given)
    return asyncio.run(given) if inspect.iscoroutine(given) else list(given) if inspect.isgenerator(given) or hasattr(given, "__next__") else given
said = {}
for number, (kind, (function, gives)) in enumerate(TABLE.items()):
    try:
        proxy = function if function is factorial else builder.mirror_in_faas(function, faas, name=f"kind-{number}")
        given = called(proxy, *([] if kind == "bound method" else [5]))
        said[kind] = "as here" if given == gives else repr(given)
    except Exception as error:
        said[kind] = f"{type(error).__name__}: {error}"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    far = builder.mirror_in_faas(unsafe, faas, safe_args=False)
said["unsafe"] = "as here" if far(range(5)) == 10 else "no"
print(json.dumps(said))
"""


def test_all_kinds_of_functions_run_behind_a_gateway(running, tmp_path):
    tools = "BASE = 1\ndef added(n): return n + BASE\n"
    said = json.loads(script(tmp_path, running, KINDS, {"tools.py": tools}))
    assert len(said) > 20
    assert {kind: what for kind, what in said.items() if what != "as here"} == {}


LATE_IMPORT = """
    from away import FaasConnection, builder

    @builder.publish(FaasConnection.named("home"), verbose=False)
    def late_import_other(x):
        return x + 1

    def user():
        import away.remote.notyet as later
        return later

    print(late_import_other(1))
"""


def test_a_gateway_that_only_another_function_of_the_script_uses_need_not_be_configured(
    tmp_path, running
):
    assert script(tmp_path, running, LATE_IMPORT) == "2\n"

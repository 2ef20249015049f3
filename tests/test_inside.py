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
        archive.extractall(folder, filter="data")


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

"""Publishing without Docker, images and cold starts, and calls through containers, in figures."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests

from tests.benchmarks.forwarder import Forwarder, forwarder
from tests.benchmarks.table import ROUNDS, note, row
from tests.containers import engine, registries
from tests.containers.engine import NoDocker, docker, find_base

DEPLOY = r"(PUT|POST) /system/functions"
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
FIBONACCI = """
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
"""
# The same function behind other servers, as their own documentation has them.
PEERS = {
    "http.server": f"""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
{FIBONACCI}
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def body(self):
        # The gateway sends bodies on in chunks, which http.server leaves to whoever uses it.
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def do_POST(self):
        answer = json.dumps(fibonacci(json.loads(self.body()))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 128

Server(("", 8080), Handler).serve_forever()
""",
    "aiohttp": f"""
import sys
sys.path.insert(0, "/site")
from aiohttp import web
{FIBONACCI}
async def answer(request):
    return web.json_response(fibonacci(await request.json()))

app = web.Application()
app.router.add_post("/{{tail:.*}}", answer)
web.run_app(app, port=8080, access_log=None, print=None)
""",
}


@dataclass
class Bench:
    """An engine, a registry and a gateway with containers, each behind a forwarder that counts."""

    gateway: Forwarder
    registry: Forwarder
    direct_url: str
    faas: Any
    base: str
    prefix: str = field(default_factory=lambda: f"away-bench-{uuid.uuid4().hex[:6]}")

    def publish(self, function: Callable[..., Any], name: str, **options: Any) -> Any:
        from away import builder

        return builder.publish(
            self.faas,
            name=f"{self.prefix}-{name}",
            registry=self.registry.host,
            base_image=self.base,
            verbose=False,
            **options,
        )(function)

    def timed(self, function: Callable[..., Any], name: str, **options: Any) -> tuple[float, int]:
        """Publish; give the seconds before the deploy call, and the bytes to the registry so far."""
        self.gateway.forget()
        self.registry.forget()
        begun = time.perf_counter()
        self.publish(function, name, **options)
        at = self.gateway.first(DEPLOY)
        # The engine pulls through it as well, later and in heads alone.
        sent = sum(size for when, size in self.registry.sizes if when <= at)
        return at - begun, sent

    def image(self, name: str) -> str:
        return str(self.faas.function(f"{self.prefix}-{name}").image)


@contextmanager
def bench() -> Iterator[Bench]:
    """Start all that is measured; it ends with the block.

    Raises:
        NoDocker: There is no engine, no registry's program or no base image.
    """
    import away
    from away import FaasConnection

    engine.check_engine()
    registries.check_registry()
    base_image = engine.find_base()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="away-bench-")))
        registry = stack.enter_context(
            registries.serve(registries.with_base(base_image, folder / "registry"))
        )
        session = engine.Engine()
        stack.callback(session.clear)
        counted = stack.enter_context(forwarder(registry))
        session.registries += [registry, counted.host]
        started = stack.enter_context(away.gateway.run(provider="docker", announce=False))
        before = stack.enter_context(forwarder(started.url.removeprefix("http://")))
        faas = stack.enter_context(
            FaasConnection(f"http://{before.host}", user=started.user, password=started.password)
        )
        name = f"{counted.host}/{registries.REPOSITORY}:{registries.TAG}"
        yield Bench(before, counted, started.url, faas, name)


def from_source(source: str, name: str) -> Callable[..., Any]:
    """Make a function as a script has it, which travels by value."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(source, scope)
    made: Callable[..., Any] = scope[name]
    return made


@contextmanager
def module(source: str) -> Iterator[Any]:
    """Make a module of the user's own, whose functions travel as its source."""
    import importlib

    with tempfile.TemporaryDirectory() as folder:
        name = f"bench_{uuid.uuid4().hex[:8]}"
        Path(folder, f"{name}.py").write_text(source)
        sys.path.insert(0, folder)
        try:
            importlib.invalidate_caches()
            yield importlib.import_module(name)
        finally:
            sys.path.remove(folder)
            sys.modules.pop(name, None)


@contextmanager
def fresh_cache() -> Iterator[Path]:
    """Have nothing in any cache, neither Away's nor pip's."""
    before = os.environ.get("XDG_CACHE_HOME")
    with tempfile.TemporaryDirectory(prefix="away-bench-cache-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


def republishing(at: Bench) -> None:
    print("publishing without Docker, to a registry of this machine, before the deploy call")
    seconds, sizes = [], []
    for i in range(8):
        found = at.timed(from_source(f"def changed(n): return n + {i}", "changed"), "changed")
        if i:
            seconds.append(found[0])
            sizes.append(found[1])
    row("a changed function with unchanged requirements", statistics.median(seconds), " s", 0.3)
    row("bytes uploaded for it, heads included", max(sizes) / 1e3, " kB", 60)


def with_numpy() -> None:
    """Measure first publishes with numpy: with nothing in any cache, and on a base that was read."""
    source = "def mean(rows):\n    import numpy\n    return float(numpy.mean(rows)) + {}"
    ratios: dict[bool, list[float]] = {False: [], True: []}
    peers, again = [], []
    for i in range(6):
        base_is_known = bool(i % 2)
        download = download_of_numpy()
        with fresh_cache(), bench() as at:
            if base_is_known:
                at.publish(from_source("def before(n): return n", "before"), "before")
            seconds, _ = at.timed(from_source(source.format(i), "mean"), "mean")
            peers.append(download + upload_of_largest(at))
            ratios[base_is_known].append(seconds / peers[-1])
            again.append(at.timed(from_source(source.format(i + 0.5), "mean"), "mean"))
    note("pip download numpy + one upload of its layer", statistics.median(peers), " s")
    what = "first publish with numpy / that"
    row(f"{what}, on a base used before", statistics.median(ratios[True]), "", 2.5)
    row(f"{what}, with nothing in any cache", statistics.median(ratios[False]), "", 2.5)
    row("a second publish with numpy, changed", statistics.median(a for a, _ in again), " s", 0.3)
    row("bytes uploaded for it, heads included", max(b for _, b in again) / 1e3, " kB", 60)


def download_of_numpy() -> float:
    with fresh_cache() as cache:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check",
             "--no-deps", f"numpy=={version('numpy')}", "-d", str(cache / "wheels")],
            check=True,
        )  # fmt: skip
        return time.perf_counter() - begun


def manifest_of(at: Bench, image: str) -> tuple[str, dict[str, Any]]:
    name, _, digest = image.removeprefix(f"{at.registry.host}/").partition("@")
    url = f"http://{at.registry.host}/v2/{name.partition(':')[0]}"
    answer = requests.get(f"{url}/manifests/{digest}", headers={"Accept": MANIFESTS}, timeout=30)
    answer.raise_for_status()
    return url, answer.json()


def upload_of_largest(at: Bench) -> float:
    """Time one upload of an image's largest layer above the base, to a new repository."""
    url, manifest = manifest_of(at, at.image("mean"))
    largest = max(manifest["layers"][1:], key=lambda each: each["size"])
    data = requests.get(f"{url}/blobs/{largest['digest']}", timeout=60).content
    target = f"http://{at.registry.host}/v2/upload-{uuid.uuid4().hex[:6]}/blobs/uploads/"
    begun = time.perf_counter()
    with requests.Session() as session:
        place = session.post(target, timeout=30).headers["Location"]
        done = session.put(f"{place}&digest={largest['digest']}", data=data, timeout=60)
    done.raise_for_status()
    return time.perf_counter() - begun


def added_bytes(at: Bench, image: str) -> int:
    """Sum what an image adds to its base, every layer counted as gzip."""
    url, manifest = manifest_of(at, image)
    total = 0
    for layer in manifest["layers"][1:]:
        data = requests.get(f"{url}/blobs/{layer['digest']}", timeout=60).content
        total += len(data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 6))
    return total


def images_and_cold_starts(at: Bench) -> None:
    print("what an image adds to its base, and its cold start in a container")
    asynchronous = FIBONACCI.replace("def fib", "async def fib")
    offset = "def make(k):\n    def fibonacci(n):\n        return n + k\n    return fibonacci\n"
    with module(FIBONACCI) as plain, module(asynchronous) as coroutine:
        at.publish(plain.fibonacci, "import")
        at.publish(coroutine.fibonacci, "async")
    at.publish(from_source(offset, "make")(45), "dill")
    for form, kilobytes in (("import", 250), ("dill", 450)):
        row(f"bytes added, {form} form", added_bytes(at, at.image(form)) / 1e3, " kB", kilobytes)
    for form, most in (("import", 3), ("async", 5), ("dill", 6)):
        found = cold_start(at.image(form))
        note(f"python3 -c 'import json', beside the {form} form", found["bare"] * 1e3, " ms")
        what = f"from the process's start to the first 200, {form} form / that"
        row(what, found["first"] / found["bare"], "", most)


def cold_start(image: str) -> dict[str, float]:
    script = Path(__file__).with_name("cold_start.py").read_bytes()
    printed = docker(
        "run", "--rm", "--interactive", "--env", "PORT=8099", image,
        "python3", "-", "8099", "15", "python3", "-m", "away.runtime",
        stdin=script,
    )  # fmt: skip
    found: dict[str, float] = json.loads(printed)
    return found


def calls_in_flight(at: Bench) -> None:
    print("32 calls in flight through the gateway to one container")
    with module(FIBONACCI) as plain, peer_images(find_base()) as images:
        at.publish(plain.fibonacci, "runtime")
        names = {"away's runtime": f"{at.prefix}-runtime"}
        for server, image in images.items():
            names[server] = f"{at.prefix}-{server.replace('.', '-')}"
            at.faas.deploy({"service": names[server], "image": image})
        rates = asyncio.run(measure(at.direct_url, names))
        for name in names.values():
            at.faas.remove(name)
    for server, found in rates.items():
        note(f"{server}, calls a second", statistics.median(found), "")
    mine = rates.pop("away's runtime")
    for server, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(mine, found, strict=True))
        row(f"away's runtime / {server}, in the same round", ratio, "", 1, least=True)


@contextmanager
def peer_images(base: str) -> Iterator[dict[str, str]]:
    """Build the peers' images with the engine, for the length of a ``with`` block."""
    prefix = f"away-bench-{uuid.uuid4().hex[:6]}"
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check",
             "--no-compile", "--target", str(site), f"aiohttp=={version('aiohttp')}"],
            check=True,
        )  # fmt: skip
        try:
            for server, source in PEERS.items():
                (Path(folder) / "server.py").write_text(source)
                (Path(folder) / "Dockerfile").write_text(
                    f'FROM {base}\nCOPY site /site\nCOPY server.py /\nCMD ["python3", "/server.py"]\n'
                )
                name = f"{prefix}/{server}:1"
                docker("build", "--quiet", "--tag", name, folder)
                made[server] = name
            yield made
        finally:
            for name in made.values():
                subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)


async def measure(url: str, names: dict[str, str]) -> dict[str, list[float]]:
    """Give the calls a second of each function, round by round, each round in another order."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def await_ready(name: str) -> None:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                async with session.post(f"{url}/function/{name}", json=10) as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.1)
            raise TimeoutError(f"{name} never answered")

        async def flood(name: str, count: int) -> float:
            left = iter(range(count))

            async def caller() -> None:
                for _ in left:
                    async with session.post(f"{url}/function/{name}", json=10) as answer:
                        text = await answer.text()
                        assert (answer.status, text.strip()) == (200, "55"), text

            begun = time.perf_counter()
            await asyncio.gather(*(caller() for _ in range(32)))
            return count / (time.perf_counter() - begun)

        found: dict[str, list[float]] = {server: [] for server in names}
        for name in names.values():
            await await_ready(name)
            await flood(name, 200)
        order = list(names)
        for _ in range(2 * ROUNDS):
            order.append(order.pop(0))
            for server in order:
                found[server].append(await flood(names[server], 800))
    return found


def containers() -> None:
    try:
        with bench() as at:
            republishing(at)
            images_and_cold_starts(at)
            calls_in_flight(at)
        with_numpy()
    except NoDocker as missing:
        print(f"containers: left out, no Docker: {missing}")

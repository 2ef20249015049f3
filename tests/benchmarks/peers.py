"""The peers that Away is measured beside: a trivial server and a bare aiohttp proxy.

Each runs as a process of its own, ``python -m tests.benchmarks.peers trivial|json|hello|proxy [URL]``,
and prints its port. The trivial server does nothing but answer, so that a client's own cost shows;
``hello`` does the same on aiohttp.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n55"


class _Trivial(asyncio.Protocol):
    """Answer every request with the same bytes, and read bodies only as far as their length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if b"transfer-encoding: chunked" in head:
                stop = self.buffer.find(b"0\r\n\r\n", end)
                if stop < 0:
                    return
                whole = stop + 5
            else:
                whole = end + 4 + length
            if len(self.buffer) < whole:
                return
            self.buffer = self.buffer[whole:]
            self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def _serve_trivial() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Trivial, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _serve_web(handler) -> None:
    from aiohttp import web

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def _serve_json() -> None:
    from aiohttp import web

    async def echo(request: web.Request) -> web.Response:
        tree = json.loads(await request.read())
        return web.Response(body=json.dumps(tree).encode(), content_type="application/json")

    await _serve_web(echo)


async def _serve_hello() -> None:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"55", content_type="application/json")

    await _serve_web(hello)


async def _serve_proxy(upstream: str) -> None:
    import aiohttp
    from aiohttp import web

    session = aiohttp.ClientSession(auto_decompress=False)

    async def forward(request: web.Request) -> web.Response:
        async with session.request(
            request.method,
            upstream + request.path_qs,
            data=await request.read(),
            headers={"Content-Type": request.headers.get("Content-Type", "")},
        ) as answer:
            return web.Response(
                status=answer.status,
                body=await answer.read(),
                content_type=answer.content_type,
            )

    await _serve_web(forward)


@contextlib.contextmanager
def peer(*arguments: str) -> Iterator[str]:
    """Run a peer for the length of a ``with`` block and give its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.peers", *arguments], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    serve = {
        "trivial": _serve_trivial,
        "json": _serve_json,
        "hello": _serve_hello,
        "proxy": _serve_proxy,
    }[kind]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(*rest))

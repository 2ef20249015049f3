"""What a type checker must accept, with the types that it must see. Never run."""

from collections.abc import Awaitable, Callable
from typing import Any, assert_type

from away import FaasConnection, RemoteFunction, builder, hooks
from away.hooks.modules import GatewayModule
from away.remote import anything_else
from away.remote.local import whatever

faas = FaasConnection("my-faas-server.com", port=8080, user="admin", password="1234")
assert_type(faas.url, str)
assert_type(faas.password, str | None)
assert_type(FaasConnection.named("myfaas"), FaasConnection)

# What is imported from a gateway is known when the program runs.
anything_else.fibonacci(10)
assert_type(whatever, RemoteFunction[..., Any])
whatever(1, 2, three=3)


@builder.publish(faas)
def add(a: int, b: int = 1) -> int:
    return a + b


assert_type(add(1, b=2), int)


@builder.publish
def add_at_default(a: int, b: int) -> int:
    return a + b


assert_type(add_at_default(1, 2), int)


@builder.publish(faas, safe_args=False)
async def later(numbers: list[int]) -> float:
    return float(sum(numbers))


@builder.faas_function(faas)
def stub(name: str) -> bytes:
    raise NotImplementedError


@builder.faas_function(faas, pack_args=lambda args: str(args), unpack_args=lambda text: text)
async def async_stub(name: str) -> bytes:
    raise NotImplementedError


assert_type(stub("x"), bytes)


async def use() -> None:
    assert_type(await later([1, 2]), float)
    assert_type(await async_stub("x"), bytes)
    assert_type(await hooks.load("myfaas"), GatewayModule)
    published = await builder.publish_async(local, faas, env={"MODE": "fast"})
    assert_type(published(1), str)
    assert_type(await (await builder.publish_async(local_async))("x"), bytes)


def local(a: int) -> str:
    return str(a)


async def local_async(name: str) -> bytes:
    return name.encode()


mirrored = builder.mirror_in_faas(local, faas)
assert_type(mirrored(1), str)
as_callable: Callable[[int], str] = mirrored
hooks.load_sync("myfaas")["some-function"](1)
waits: Callable[[list[int]], Awaitable[float]] = later

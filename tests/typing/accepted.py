"""What a type checker must accept, with the types that it must see. Never run."""

from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import Future
from typing import Any, assert_type

from away import Executor, FaasConnection, RemoteFunction, builder, hooks
from away.connection import FunctionInfo
from away.connection.logs import LogLine
from away.hooks.modules import GatewayModule
from away.remote import anything_else
from away.remote.local import whatever
from away.responses import Response

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


@builder.publish(faas)
def counted(n: int) -> Iterator[int]:
    yield from range(n)


# In hand: futures, responses and the async face know what the function gives.
assert_type(add.submit(1), Future[int])
assert_type(later.submit([1]), Future[float])
assert_type(add.with_response(1).value, int)
assert_type(add.with_response(1), Response[int])
assert_type(add.options(headers={"X-Tenant": "7"})(1), int)
assert_type(add.url, str)
assert_type(add.info(), FunctionInfo)
assert_type(add.logs(tail=3), list[LogLine])


async def in_hand() -> None:
    assert_type(await add.aio(1), int)
    assert_type(await later.aio([1]), float)
    assert_type(await add.aio.with_response(1), Response[int])
    assert_type(await later.with_response([1]), Response[float])
    assert_type([each async for each in counted.aio(3)], list[int])
    assert_type(await add.aio.info(), FunctionInfo)
    assert_type([line async for line in add.aio.logs(follow=True)], list[LogLine])


with Executor(faas, 4, remove=True, timeout=30) as executor:
    assert_type(executor.submit(local, 1), Future[str])
    assert_type(executor.map(local, [1, 2]), Iterator[str])
as_executor: StandardExecutor = executor


class Calculator:
    @builder.faas_function(faas)
    def add(self, a: int, b: int = 0) -> int:
        raise NotImplementedError

    @builder.faas_function(faas)
    async def later(self, a: int) -> str:
        raise NotImplementedError

    @staticmethod
    @builder.faas_function(faas)
    def outside(a: int) -> int:
        raise NotImplementedError

    @classmethod
    @builder.faas_function(faas)
    def of_class(cls, a: int) -> int:
        raise NotImplementedError

    imported = whatever


async def use_methods(one: Calculator) -> None:
    # Of what is bound checkers know nothing: with types for it mypy refuses static methods.
    one.add(1, b=2)
    Calculator.add(one, 1)
    await one.later(1)
    one.add.options(timeout=2)(1)
    one.outside(1)
    Calculator.of_class(1)
    one.imported(1, 2)


# A map gives what the function does, and an exception in its place only where that is asked for.
assert_type(add.map([1, 2], concurrency=3), Iterator[int])
assert_type(add.starmap([(1, 2)], on_error="skip"), Iterator[int])
assert_type(later.map([[1]]), Iterator[float])
assert_type(add.map([1], on_error="return"), Iterator[Any])


async def mapped() -> None:
    assert_type([each async for each in add.aio.map([1])], list[int])
    assert_type([each async for each in later.aio.starmap([([1],)])], list[float])


@builder.publish(faas)
def of_unknown(a: Any, b: Any = 1) -> Any:
    return a + b


# What gives nobody knows what may be of any kind, as all that is imported from `local`.
assert_type(of_unknown(1, b=2), Any)
print(of_unknown.with_response(1).value, of_unknown.submit(1).result() + 1)
print(whatever.with_response(1).value, whatever.submit(1).result() + 1)
print([each + 1 for each in whatever(3)], [each + 1 for each in whatever.map([1])])
print([each.value for each in (whatever.options(timeout=3).with_response(1),)])


async def of_unknown_kind() -> None:
    print(await of_unknown.aio(1), (await of_unknown.aio.with_response(1)).value)
    print(await whatever(1), (await whatever.with_response(1)).value)
    print(await whatever.aio(1), (await whatever.aio.with_response(1)).value)
    print([each async for each in whatever(3)], [each async for each in whatever.aio(3)])
    print([each async for each in whatever.aio.map([1])])

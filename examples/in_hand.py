"""A remote function in hand: futures, responses, await; and callables at a gateway by an Executor."""

import asyncio
import concurrent.futures

import away
from away import builder


def main() -> None:
    with away.gateway.run() as faas:

        @builder.publish(faas, verbose=False)
        def add(a: int, b: int) -> int:
            return a + b

        futures = [add.submit(n, n) for n in range(5)]
        print("futures:", [each.result() for each in futures])

        response = add.with_response(1, 2)
        print(f"a response: {response.value} with status {response.status}")
        print(f"  of {1000 * response.duration:.1f} ms, ", end="")
        print(f"{1000 * (response.function_duration or 0):.3f} ms were the function's")

        tenant = add.options(timeout=5, headers={"X-Tenant": "seven"})
        print("awaited:", asyncio.run(both(tenant)))

        factor = 3
        with away.Executor(faas, remove=True) as executor:
            print("an executor:", list(executor.map(lambda n: factor * n, range(5))))
            print(
                "of the standard library's kind:", isinstance(executor, concurrent.futures.Executor)
            )
        print("functions that stay:", [info.name for info in faas.functions(fresh=True)])


async def both(add):
    results = await asyncio.gather(add.aio(1, 2), add.aio(3, 4))
    await add.connection.aio.close()
    return results


if __name__ == "__main__":
    main()

"""Many calls in flight at once: an async function, published, and asyncio.gather."""

import asyncio

import away
from away import builder


async def main() -> None:
    with away.gateway.run() as faas:

        @builder.publish(faas, verbose=False)
        async def slow_square(n: int) -> int:
            import asyncio

            await asyncio.sleep(0.2)
            return n * n

        squares = await asyncio.gather(*(slow_square(n) for n in range(50)))
        print(f"50 calls of 0.2 s each, side by side: {sum(squares)}")
        await faas.aio.close()


if __name__ == "__main__":
    asyncio.run(main())

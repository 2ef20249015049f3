"""The main job in one file: call, publish and import functions on a gateway of its own.

Run it with nothing but Python: it starts the embedded gateway and stops it at the end.
"""

import asyncio

import away
from away import FaasConnection, builder


def main() -> None:
    print("starting a gateway on this machine …")
    with away.gateway.run() as faas:
        print(f"  {faas.url} speaks OpenFaaS's API\n")
        call_one_that_exists(faas)
        publish_one(faas)
        import_one(faas)
        print("the gateway stops, and its functions with it")


def call_one_that_exists(faas: FaasConnection) -> None:
    print("call: a function that Away did not build (a command that runs once a request)")
    faas.deploy({"service": "shasum", "image": "process", "envProcess": "sha256sum"})

    @builder.faas_function(faas)
    def shasum(text: str) -> str: ...

    print(f"  shasum('hello') → {shasum('hello')[:16]}…\n")


def publish_one(faas: FaasConnection) -> None:
    print("publish: a local function becomes a remote one")
    factor = 3

    @builder.publish(faas, verbose=False)
    def scale(numbers: list[float], by: float = factor) -> list[float]:
        """Multiply every number."""
        return [number * by for number in numbers]

    @builder.publish(faas, verbose=False)
    async def fibonacci(n: int) -> int:
        a, b = 0, 1
        for _ in range(n):
            a, b = b, a + b
        return a

    print(f"  scale([1, 2, 3]) → {scale([1, 2, 3])}")
    print(f"  await fibonacci(10) → {asyncio.run(fibonacci(10))}")
    try:
        scale([1, None])  # type: ignore[list-item]  # wrong on purpose: the error is the function's
    except TypeError as error:
        print(f"  scale([1, None]) → TypeError: {error}\n")


def import_one(faas: FaasConnection) -> None:
    print("import: the gateway's functions are a module")
    away.configure("laptop", url=faas.url, user=faas.user, password=faas.password)

    import away.remote.laptop as laptop
    from away.remote.laptop import scale

    print(f"  dir(laptop) → {[n for n in dir(laptop) if n[0] != '_']}")
    print(f"  scale([0.5], by=10) → {scale([0.5], by=10)}")
    try:
        from away.remote.laptop import scael  # noqa: F401
    except ImportError as error:
        print(f"  from away.remote.laptop import scael → ImportError: {error}\n")


if __name__ == "__main__":
    main()

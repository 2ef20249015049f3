"""What a type checker must refuse: each line is ignored by the code of its error. Never run.

An ignore that nothing needs is an error of its own, so each of these lines has to be wrong.
"""

from away import FaasConnection, builder
from away.remote.local import whatever

faas = FaasConnection("my-faas-server.com", prot=8080)  # type: ignore[call-arg]


@builder.publish(faas)
def add(a: int, b: int = 1) -> int:
    return a + b


add("one")  # type: ignore[arg-type]
add(1, 2, 3)  # type: ignore[call-arg]
add(c=1)  # type: ignore[call-arg]
text: str = add(1)  # type: ignore[assignment]


@builder.publish(faas)
async def later(a: int) -> int:
    return a


number: int = later(1)  # type: ignore[assignment]


@builder.publish(faas, nmae="x")  # type: ignore[call-overload, untyped-decorator]
def misspelt() -> None: ...


whatever.function_nmae  # type: ignore[attr-defined]
FaasConnection.named(1)  # type: ignore[arg-type]


async def publish_later() -> None:
    far = await builder.publish_async(len, faas)
    far(5)  # type: ignore[arg-type]
    await builder.publish_async(len, faas, nmae="x")  # type: ignore[call-arg]

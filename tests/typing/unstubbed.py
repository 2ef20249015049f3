"""What mypy must accept where no stub file says what a gateway has. Never run.

pyright cannot: it takes such an import for one of a module that is not there.
"""

import away.remote.anything
from away.remote.aio.somewhere import fibonacci as awaited
from away.remote.somewhere import fibonacci

# What is imported from a gateway is known when the program runs.
fibonacci(10)
away.remote.anything.fibonacci(10)


async def use() -> None:
    await awaited(10)

from typing import Any

# A gateway is known when the program runs: type checkers take whatever is imported from one.
def __getattr__(name: str) -> Any: ...

from typing import Any

from away.functions import RemoteFunction

# The embedded gateway: whatever is deployed there, with the values of the user's own functions.
def __getattr__(name: str) -> RemoteFunction[..., Any]: ...

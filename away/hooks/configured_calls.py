"""What the configuration says of calls of single functions, as options of their proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from away.config.call_settings import CallSettings, renames, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.connection.catalogue import FunctionInfo

__all__ = ["options_of", "renames"]


def options_of(calls: Mapping[str, CallSettings], info: FunctionInfo) -> dict[str, Any]:
    """Return the options of a function's proxy.

    Args:
        calls: What is configured for functions of the gateway.
        info: The function as the gateway lists it.
    """
    said = settings_of(calls, info.name)
    if said is None:
        return {}
    found: dict[str, Any] = {"idempotent": said.idempotent, "dialect": said.protocol}
    if said.pack_args is not None:
        found |= {"pack": said.pack_args, "unpack": said.unpack_args, "dialect": "auto"}
    # One that was published with the same option already waits so long, and for the way there.
    published = info.description.timeout if info.description else None
    if said.timeout != published:
        found["timeout"] = said.timeout
    return {key: value for key, value in found.items() if value is not None}

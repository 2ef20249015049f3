"""What is known of a function, as a record: of it itself, and of how it was deployed.

The gateway's answer has no limits, and its variables may be secrets. Away keeps the deploy request
beside a function that it published, and of the variables of any function only their names are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.connection.catalogue import FunctionInfo
    from away.signatures import Description

__all__ = ["deployed_record", "record", "signature_text"]


def record(info: FunctionInfo) -> dict[str, Any]:
    """Return what a gateway's list says of a function."""
    description = info.description
    return {
        "name": info.name,
        "namespace": info.namespace,
        "image": info.image,
        "kind": description.kind if description else None,
        "signature": signature_text(info) or None,
        "doc": description.doc if description else "",
        "functions": _functions(info),
        "entry": description.entry if description else None,
        "digest": description.digest if description else None,
        "safe": description.safe if description else None,
        "replicas": info.replicas,
        "available_replicas": info.available_replicas,
        "invocation_count": info.invocation_count,
        "created_at": info.created_at,
        "secrets": list(info.secrets),
        "labels": dict(info.labels),
        "annotations": {
            key: value
            for key, value in info.annotations.items()
            if not key.startswith("away.") and key != "built-with"
        },
    }


def _functions(info: FunctionInfo) -> dict[str, dict[str, str]] | None:
    """Return the functions of a module that was published whole; None for one function."""
    if info.module is None:
        return None
    return {
        name: {"signature": _shown(name, each), "kind": each.kind, "doc": each.doc}
        for name, each in sorted(info.module.functions.items())
    }


def deployed_record(info: FunctionInfo) -> dict[str, Any]:
    """Return how a function was deployed; what nobody kept is None.

    Returns:
        ``limits``, ``requests``, ``constraints``, ``read_only_root``, the ``timeout`` of one call in
        seconds, and ``environment``, the names of its variables.
    """
    from away.publish.deployment import kept_request

    kept = kept_request(info.annotations)
    request: Mapping[str, Any] = kept or {}
    timeout = info.description.timeout if info.description else None
    # The gateway may count the image's own among them, where the request does not.
    variables = _mapping(request.get("envVars")) if kept else info.env_vars
    constraints = request.get("constraints")
    return {
        "limits": _mapping(request.get("limits")) if kept else None,
        "requests": _mapping(request.get("requests")) if kept else None,
        "constraints": (constraints if isinstance(constraints, list) else []) if kept else None,
        "read_only_root": request.get("readOnlyRootFilesystem") is True if kept else None,
        "timeout": timeout,
        "environment": sorted(variables),
    }


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def signature_text(info: FunctionInfo) -> str:
    """Return how a function is called, as Python writes it; nothing if Away does not know."""
    from away.names import python_name

    description = info.description
    if info.module is not None:
        return f"{python_name(info.name)}: a module of {len(info.module.functions)} functions"
    if description is None or description.parameters is None:
        return ""
    return _shown(python_name(info.name), description)


def _shown(name: str, description: Description) -> str:
    from away.signatures import signature

    before = "async " if description.kind.startswith("async") else ""
    return f"{before}{name}{signature(description)}"

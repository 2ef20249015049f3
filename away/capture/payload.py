r"""The payload: one file with a readable header and a function.

The first line is a JSON object, the header; the rest is the body. The header tells which Python
the body was made by and the digest of every packed file, so that a mismatch is told in words before
anything of the body is used::

    {"away": "0.1.0", "format": 1, "form": "import", "entry": "tools:double", …}\n
    {"module": "tools", "qualname": "double"}

The body of the forms ``import`` and ``module`` is JSON; that of the form ``dill`` is a pickle, loaded
by dill.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from away.capture.modules import PackedFile
    from away.requirements import Requirement

__all__ = ["FORMAT", "Form", "header", "import_body", "module_body", "split", "write"]

FORMAT = 1

Form = Literal["import", "dill", "module"]


def header(
    *,
    form: Form,
    entry: str,
    name: str,
    kind: str,
    safe: bool,
    client: bool,
    files: Iterable[PackedFile],
    requirements: Iterable[Requirement],
    sources: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Make a header without the digests of the body, which :func:`write` adds.

    It states a Python only where the payload needs it: a pickle has bytecode, as may the arguments
    that a function takes as pickles, and a module's source is for any.
    """
    bound = form == "dill" or not safe
    return {
        "away": _version(),
        "format": FORMAT,
        "form": form,
        "entry": entry,
        "name": name,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}" if bound else "",
        "cache_tag": sys.implementation.cache_tag if bound else "",
        "magic": importlib.util.MAGIC_NUMBER.hex() if bound else "",
        "dill": _dill_version() if form == "dill" else "",
        "safe": safe,
        "kind": kind,
        "client": client,
        "files": [[file.path, _sha256(file.data)] for file in files],
        "requirements": [each.spec for each in requirements],
        "sources": sources,
    }


def import_body(module: str, qualname: str) -> bytes:
    """Write the body of the form ``import``."""
    return _json({"module": module, "qualname": qualname})


def module_body(module: str, functions: Iterable[str]) -> bytes:
    """Write the body of the form ``module``: the module, and the functions that may be called."""
    return _json({"module": module, "functions": sorted(functions)})


def write(head: Mapping[str, Any], body: bytes, identity_body: bytes) -> tuple[bytes, str]:
    """Join header and body.

    Args:
        head: The header as :func:`header` makes it.
        body: What is loaded.
        identity_body: What stands for it in the identity: the same for a function that only moved.

    Returns:
        The payload, and its identity: a digest of everything that changes what the function does.
    """
    # Where a line stands, and a comment on it, are for tracebacks and change nothing.
    decisive = {key: value for key, value in head.items() if key != "sources"}
    identity = _sha256(_json({**decisive, "body_sha256": _sha256(identity_body)}))
    full = {**head, "body_sha256": _sha256(body), "digest": identity}
    return _json(full) + b"\n" + body, identity


def split(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the body of a payload."""
    line, _, body = payload.partition(b"\n")
    return json.loads(line), body


def _version() -> str:
    return str(getattr(sys.modules["away"], "__version__", ""))


def _json(value: object) -> bytes:
    # ASCII only, so that the line has no break but its last.
    return json.dumps(value, separators=(",", ":")).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _dill_version() -> str:
    import dill

    return str(dill.__version__)

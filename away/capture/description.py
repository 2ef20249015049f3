"""What a description must not tell: it stands in clear in the annotations of the deployment."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from away.capture.leaks import holds_secret, is_credential, redacted
from away.capture.suspects import suspicion
from away.exceptions import CaptureRefused
from away.secret_texts import declared
from away.signatures import Opaque

if TYPE_CHECKING:
    from collections.abc import Collection

    from away.signatures import Description, Parameter

__all__ = ["refuse_secret_constant", "refuse_secrets_in", "without_suspects"]

_FIELD = re.compile(r"""(\w+)=['"]([^'"]*)""")
# Values may be parts of themselves.
_DEEPEST = 10


def refuse_secrets_in(description: Description, function: str, secrets: Collection[str]) -> None:
    """Refuse a signature or docstring with a secret that this process knows.

    Args:
        description: What will be published of the function.
        function: The function's name, for the message.
        secrets: The secrets.

    Raises:
        CaptureRefused: One stands in a default, an annotation or the docstring.
    """
    if not secrets:
        return
    # A default that is no text is shown by its repr, escapes and all.
    secrets = {*secrets, *(repr(each)[1:-1] for each in secrets)}
    if holds_secret(description.doc, secrets):
        raise _refused(function, "the docstring", function, description.doc)
    if _tells(description.returns, secrets):
        where = "the annotation of what it returns"
        raise _refused(function, where, f"{function} → return", description.returns)
    for each in description.parameters or ():
        path = f"{function} → {each.name}"
        if _tells(each.annotation, secrets):
            raise _refused(function, f"the annotation of `{each.name}`", path, each.annotation)
        if each.has_default and (
            _shows(each.default, secrets) or is_credential(each.name, each.default, secrets)
        ):
            raise _refused(function, f"the default of `{each.name}`", path, each.default)


def without_suspects(description: Description) -> Description:
    """Leave out of a description the defaults that look like secrets: that there is one is still told."""
    if description.parameters is None:
        return description
    parameters = tuple(
        each._replace(default=Opaque("…")) if _is_suspect(each) else each
        for each in description.parameters
    )
    return description._replace(parameters=parameters)


def _is_suspect(parameter: Parameter) -> bool:
    default = parameter.default
    if not parameter.has_default:
        return False
    if suspicion(parameter.name, default):
        return True
    try:
        text = repr(default)
    except Exception:  # a repr of the user's own, which may do anything
        return False
    # What a repr of other types tells of their fields: Config(password='…').
    fields = () if isinstance(default, str | bytes) else _FIELD.findall(text)
    return any(suspicion(name, value) for name, value in fields)


def refuse_secret_constant(name: str, value: Any, module: str, secrets: Collection[str]) -> None:
    """Refuse a public constant of a module that is or holds a secret which this process knows.

    Raises:
        CaptureRefused: It does.
    """
    secrets = {*secrets, *(repr(each)[1:-1] for each in secrets)}
    if secrets and (_shows(value, secrets) or is_credential(name, value, secrets)):
        raise _refused(module, f"the constant `{name}`", f"{module} → {name}", value)


def _tells(text: str, secrets: Collection[str]) -> bool:
    return holds_secret(text, secrets) or redacted(text, secrets) != text


def _shows(value: Any, secrets: Collection[str], depth: int = 0) -> bool:
    """Tell whether a default, as it will be shown, is or holds one of the secrets."""
    if isinstance(value, str):
        return _tells(value, secrets)
    if isinstance(value, dict | list | tuple | set | frozenset) and depth < _DEEPEST:
        parts = (*value, *value.values()) if isinstance(value, dict) else value
        return any(_shows(each, secrets, depth + 1) for each in parts)
    try:
        text = repr(value)
    except Exception:  # a repr of the user's own, which may do anything
        return False
    return redacted(text, secrets) != text


def _refused(function: str, where: str, path: str, value: object) -> CaptureRefused:
    place = ""
    with suppress(Exception):  # a repr of the user's own
        place = declared(value if isinstance(value, str) else repr(value))
    return CaptureRefused(
        f"{where} of `{function}` holds a password or token that this process knows{place}, and"
        " would stand in clear at the gateway; read it inside the function with away.secret('NAME'),"
        " published with secrets=['NAME']",
        path=path,
    )

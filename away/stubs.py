"""Stubs: remote functions of which this program says what they are called and how.

A stub is a function whose body never runs, or a name alone. The decorators that users write are
:mod:`away.builder`'s; where a stub stands and what its annotations mean is :mod:`away.decorated`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

import away.decorated as decorated
import away.names as names
import away.signatures as signatures
from away.functions import RemoteFunction
from away.user_lines import user_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from away.connection import FaasConnection

__all__ = ["StubOptions", "by_name", "check_options", "made_of"]

P = ParamSpec("P")
R = TypeVar("R")


class StubOptions(TypedDict, total=False):
    """What a stub can be told; :func:`faas_function` says what each means."""

    name: str
    pack_args: Callable[[Iterable[Any]], str] | None
    unpack_args: Callable[[str], Any] | None
    implicit_exception_handling: bool
    namespace: str
    safe_args: bool
    timeout: float | None
    idempotent: bool
    verbose: bool


# Options that the project of 2023 had, and what has come of each.
_GONE = {
    "replace_underscore": "is not needed any more: both spellings of a name are found",
    "ensure_present": "is not needed any more: a call of a function that is not there says so",
}


def check_options(decorator: str, options: Mapping[str, Any], known: type) -> None:
    """Refuse an option that does not exist as Python refuses a keyword, with the nearest name."""
    for each in options:
        if each not in known.__annotations__:
            nearest = names.nearest(each, known.__annotations__, most=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            if each in _GONE:
                hint = f", which {_GONE[each]}"
            raise TypeError(f"{decorator}() got an unexpected keyword argument {each!r}{hint}")


def made_of(
    stub: Callable[P, R],
    faas: FaasConnection,
    *,
    name: str | None = None,
    pack_args: Callable[[Iterable[Any]], str] | None = None,
    unpack_args: Callable[[str], Any] | None = None,
    namespace: str = "",
    dialect: str = "auto",
    implicit_exception_handling: bool = True,
    safe_args: bool = True,
    timeout: float | None = None,
    idempotent: bool = False,
    verbose: bool = False,  # noqa: ARG001 - taken for the sake of code written for the original
) -> RemoteFunction[P, R]:
    """Make a remote function of a stub, to be left in its place."""
    function, form = decorated.taken_apart(stub)
    local = decorated.bound(function, form)
    python_name = getattr(function, "__name__", type(function).__name__)
    description = signatures.describe(local)
    made = RemoteFunction[P, R](
        faas,
        name or python_name,
        namespace=namespace or faas.namespace,
        kind=description.kind,
        description=description,
        python_name=python_name,
        dialect=dialect,
        pack=pack_args,
        unpack=unpack_args,
        safe_args=safe_args,
        implicit_exception_handling=implicit_exception_handling,
        timeout=timeout,
        idempotent=idempotent,
        local=local,
        types=decorated.annotations_of(function, python_name, description, _names_around()),
    )
    placed: RemoteFunction[P, R] = decorated.placed(made, function, form)
    return placed


def _names_around() -> Mapping[str, Any]:
    """Return the local names where a decorator stands."""
    frame = user_frame()
    return {} if frame is None or frame.f_locals is frame.f_globals else frame.f_locals


def by_name(
    function_name: str,
    faas: FaasConnection,
    kind: signatures.Kind,
    dialect: str,
    options: Mapping[str, Any],
) -> RemoteFunction[..., Any]:
    """Make a function of a name; the options are those of a stub."""
    given = dict(options)
    given.pop("verbose", None)
    renamed = {
        "namespace": given.pop("namespace", "") or faas.namespace,
        "pack": given.pop("pack_args", None),
        "unpack": given.pop("unpack_args", None),
    }
    return RemoteFunction(
        faas, given.pop("name", function_name), kind=kind, dialect=dialect, **renamed, **given
    )

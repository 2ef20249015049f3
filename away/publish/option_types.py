"""The types of a publish's options, looked at before anything else is done with them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from away.exceptions import PublishFailed
from away.publish.timeouts import check_timeout

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_types", "paths", "texts"]

# The longest that any system's clock lets one wait for.
LONGEST = 7 * 86_400.0
MOST_INFLIGHT = 2**31 - 1
_SHOWN = 40


def check_types(given: Mapping[str, Any]) -> None:
    """Refuse options of types that none can have; what is left out or None is not looked at.

    Args:
        given: The options by their names, of which the values are as the user gave them.

    Raises:
        TypeError: One is of another type than it has to be.
        PublishFailed: A number of seconds or calls is none.
    """
    for name, value in given.items():
        check = _CHECKS.get(name)
        if check is not None and value is not None:
            check(name, value)


def texts(name: str, value: object) -> tuple[str, ...]:
    """Take one text or several; a text is an iterable too, and never meant as one here.

    Raises:
        TypeError: It is something else.
    """
    return tuple(_several(name, value, str, "a text or several"))


def paths(name: str, value: object) -> tuple[str | PathLike[str], ...]:
    """Take one path or several, as texts or as :class:`~pathlib.Path`.

    Raises:
        TypeError: It is something else.
    """
    found = _several(name, value, (str, PathLike), "a path or several")
    for each in found:
        _path(name, each)
    return found


def _several(name: str, value: Any, kinds: Any, what: str) -> tuple[Any, ...]:
    if isinstance(value, kinds):
        return (value,)
    # Bytes are numbers, and a mapping's values would be lost.
    if isinstance(value, bytes | bytearray | Mapping):
        raise _wrong(name, what, value)
    try:
        found = tuple(value)
    except TypeError:
        raise _wrong(name, what, value) from None
    for each in found:
        if not isinstance(each, kinds):
            raise _wrong(name, what, each)
    return found


def _text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong(name, "a text", value)


def _path(name: str, value: object) -> None:
    if not isinstance(value, str | PathLike) or not isinstance(os.fspath(value), str):
        raise _wrong(name, "a path", value)


def _flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _wrong(name, "True or False", value)


def _mapping(name: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(name, "a mapping of texts to texts", value)


def _calls(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a whole number of calls", value)
    if not 1 <= value <= MOST_INFLIGHT:
        why = "lets no call in" if value < 1 else "is more than can be counted"
        raise PublishFailed(
            f"{name}={_short(value)} {why}; take a number from 1 to {MOST_INFLIGHT}", step="checks"
        )


def _call_seconds(_: str, value: object) -> None:
    check_timeout(value)


def _seconds(name: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    number = value if is_number else math.nan
    if not 0 <= number <= LONGEST:  # type: ignore[operator]  # a number by now
        raise PublishFailed(
            f"{name}={_short(value)} is no number of seconds from 0 to {LONGEST:g} that the whole publish"
            " may take",
            step="checks",
        )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _wrong(name: str, what: str, value: object) -> TypeError:
    return TypeError(f"{name} takes {what}, not {type(value).__name__}")


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    **dict.fromkeys(
        ("name", "namespace", "image_builder", "base_image", "platform", "python", "registry"),
        _text,
    ),
    **dict.fromkeys(("inside_registry", "registry_prefix"), _text),
    **dict.fromkeys(("safe_args", "overwrite", "compile", "enable_dev_building"), _flag),
    **dict.fromkeys(("read_only_root", "check"), _flag),
    **dict.fromkeys(("env", "labels", "annotations", "limits", "requests"), _mapping),
    "dockerfile": _path,
    "timeout": _call_seconds,
    "publish_timeout": _seconds,
    "max_inflight": _calls,
}

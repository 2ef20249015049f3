"""Which of a gateway's functions a mount has: by patterns of their names, and by their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from away.exceptions import ConfigError
from away.names import python_name

if TYPE_CHECKING:
    from away.connection.catalogue import FunctionInfo

__all__ = ["Selection", "selection_of"]


class Selection:
    """Which of a gateway's functions a mount has: all conditions hold, and empty ones say nothing.

    Args:
        functions: Patterns as a shell has them; one of them fits the name, in either spelling.
        labels: Labels that the function has with these values.
    """

    def __init__(
        self, functions: Iterable[str] = (), labels: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.functions = tuple(functions)
        self.labels = tuple(labels)

    def __bool__(self) -> bool:
        return bool(self.functions or self.labels)

    def __call__(self, info: FunctionInfo) -> bool:
        """Tell whether a function is one of these."""
        return self.fits(info.name) and all(
            info.labels.get(key) == value for key, value in self.labels
        )

    def fits(self, name: str) -> bool:
        """Tell whether a name is one of these."""
        from fnmatch import fnmatchcase

        spellings = (name, python_name(name))
        return not self.functions or any(
            fnmatchcase(spelling, pattern) for pattern in self.functions for spelling in spellings
        )

    def __str__(self) -> str:
        said = [f"functions={'|'.join(self.functions)!r}"] if self.functions else []
        labels = ",".join(f"{key}={value}" for key, value in self.labels)
        return " and ".join([*said, *([f"labels={labels!r}"] if labels else [])])


def selection_of(
    functions: str | Iterable[str] | None, labels: Mapping[str, str] | str | None
) -> Selection:
    """Return the selection that options of a mount describe.

    Args:
        functions: A pattern, or several; None for all.
        labels: A mapping, or a text such as ``team=ml,tier=gold``; None for all.

    Raises:
        ConfigError: They are not of these kinds, or empty.
    """
    return Selection(_patterns(functions), _pairs(labels))


def _patterns(functions: str | Iterable[str] | None) -> tuple[str, ...]:
    if functions is None:
        return ()
    given = (functions,) if isinstance(functions, str) else functions
    given = tuple(given) if isinstance(given, Iterable) else ()
    if not given or not all(isinstance(each, str) and each for each in given):
        raise ConfigError(f"functions= is a pattern such as 'model_*', or some, not {functions!r}")
    return given


def _pairs(labels: Mapping[str, str] | str | None) -> tuple[tuple[str, str], ...]:
    if labels is None:
        return ()
    if isinstance(labels, str):
        pairs = tuple(_parts_of(labels))
    else:
        pairs = tuple(labels.items()) if isinstance(labels, Mapping) else ()
    if not pairs or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise ConfigError(f"labels= is a mapping of texts, or 'team=ml,tier=gold', not {labels!r}")
    return tuple(sorted(pairs))


def _parts_of(labels: str) -> Iterator[tuple[str, str]]:
    for each in labels.split(","):
        key, mark, value = each.partition("=")
        if not mark or not key.strip():
            raise ConfigError(f"labels= is written 'team=ml,tier=gold', not {labels!r}")
        yield key.strip(), value.strip()

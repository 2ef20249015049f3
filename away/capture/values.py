"""What capturing a function by value goes by, and what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["CapturedValue", "Pickled", "Reference", "Settings"]


class CapturedValue(NamedTuple):
    """A value that goes along with a function.

    Attributes:
        name: Its variable.
        type_name: Its type.
        size: Its size in bytes, pickled.
        suspicion: What makes it look like a secret, as a clause; an empty text where nothing does.
    """

    name: str
    type_name: str
    size: int
    suspicion: str = ""


class Reference(NamedTuple):
    """Another remote function that a function calls, and how: awaited or not.

    ``path`` is its name in a module that was published whole.
    """

    url: str
    namespace: str
    name: str
    kind: str = "sync"
    path: str = ""

    @property
    def place(self) -> str:
        """The function's name at its gateway, with the path below it."""
        return f"{self.name}/{self.path}" if self.path else self.name

    @classmethod
    def to(cls, proxy: Any) -> Reference | None:
        """Return the reference that a proxy stands for, if it is of a function at a gateway."""
        found = proxy.__away_reference__()
        if found is None:
            return None
        url, namespace, name = found
        path = getattr(proxy, "path", "")
        return cls(url, namespace, name, getattr(proxy, "kind", "sync"), path)


class Pickled(NamedTuple):
    """A function by value.

    Attributes:
        body: Its pickle.
        identity_body: The same as if all code stood in line 1 of no file; for the identity only.
        values: The values that go along.
        modules: Modules that are needed, each with a clause that says by what.
        sources: Lines of source by file and number, for tracebacks there.
        named: The user's own functions and classes of which only the name goes.
        references: Other remote functions that are called.
        warnings: What the user may want to know.
        texts: The texts that go along, names among them.
    """

    body: bytes
    identity_body: bytes
    values: tuple[CapturedValue, ...]
    modules: dict[str, str]
    sources: dict[str, dict[int, str]]
    named: tuple[Any, ...]
    references: tuple[Reference, ...]
    warnings: tuple[str, ...]
    texts: tuple[object, ...] = ()

    def __repr__(self) -> str:
        return f"<Pickled, {len(self.body)} bytes>"


class Settings(NamedTuple):
    """What capturing one function goes by.

    Attributes:
        function: The function, or another callable.
        name: What to call it in messages.
        root: The folder of its project, to which file names are made relative.
        max_value_bytes: The most that one captured value may have.
        secrets: Texts that no captured value may be or contain.
        importable: Tells whether a module will be found by its name where the function runs.
        modules_root: The folder below which listed files keep their places; that of the file itself
            is told from it, so that it leads to them.
    """

    function: Any
    name: str
    root: Path | None
    max_value_bytes: int
    secrets: tuple[str, ...]
    importable: Callable[[str], bool]
    modules_root: Path | None = None

    def __repr__(self) -> str:
        return f"<Settings of {self.name}>"

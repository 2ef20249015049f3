"""The way that a pickler went to where it is, so that a refusal can name the variable.

A pickler walks objects; people know variables. The trail keeps the objects that are in the making,
and for functions, cells and the values that functions hold the names by which they are reached.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from away.capture.leaks import redacted
from away.capture.refusals import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Frame", "Globals", "Trail"]


class Globals(dict[str, Any]):
    """The globals that one function adds to those of its module."""


class Frame:
    """An object in the making: how many of its parts have begun, and a dict's present key."""

    __slots__ = ("count", "key", "obj")

    def __init__(self, obj: object) -> None:
        self.obj = obj
        self.count = 0
        self.key: object = None

    def begin(self, part: object) -> None:
        """Note that a part begins; a dict's parts are its keys and values by turns."""
        self.count += 1
        if self.count % 2 and isinstance(self.obj, dict):
            self.key = part

    @property
    def at_value(self) -> bool:
        """Whether the part that has begun is a value of a dict."""
        return isinstance(self.obj, dict) and self.count % 2 == 0


class Trail:
    """The objects in the making, from the captured function to the present one."""

    def __init__(self, name: str, secrets: Sequence[str] = ()) -> None:
        self.secrets = secrets
        self.start = [Step("function", name)]
        self.frames: list[Frame] = []
        # Places by id; whatever has one is kept alive, so that the id stays its own.
        self._places: dict[int, list[Step]] = {}
        self._named: dict[int, Sequence[str]] = {}
        self._kept: list[object] = []

    def place(self, obj: object, steps: list[Step]) -> None:
        """Note how an object is reached, wherever it is pickled later."""
        self._places.setdefault(id(obj), steps)
        self._kept.append(obj)

    def name_parts(self, obj: object, names: Sequence[str], steps: list[Step]) -> None:
        """Note the parameters whose defaults a tuple or dict holds."""
        self.place(obj, steps)
        self._named[id(obj)] = names

    def path(self, *, ahead: bool = False) -> list[Step]:
        """Say how the present object is reached; ``ahead``: a part of it that has begun."""
        steps = list(self.start)
        last = len(self.frames) if ahead else len(self.frames) - 1
        for index, frame in enumerate(self.frames):
            known = self._places.get(id(frame.obj))
            if known is not None:
                steps = list(known)
            if index < last:
                steps = self._extended(steps, index)
        return steps

    def variable(self) -> list[Step] | None:
        """Return the path to the part that has begun in the last frame, if it is a variable."""
        if not self.frames:
            return None
        index = len(self.frames) - 1
        frame = self.frames[index]
        kind = self._variable_kind(frame, index)
        return None if kind is None else self.path(ahead=True)

    def _variable_kind(self, frame: Frame, index: int) -> str | None:
        whole = frame.obj
        if isinstance(whole, Globals):
            return "global" if frame.at_value else None
        if id(whole) in self._named:
            return "default" if frame.at_value or isinstance(whole, tuple) else None
        if type(whole) is tuple and self._cell_of(whole, frame, index) is not None:
            return "cell"
        return None

    def _cell_of(self, whole: tuple[Any, ...], frame: Frame, index: int) -> object | None:
        """Find the cell whose contents come next: of a cell in the making, or one filled later."""
        if len(whole) == 3 and isinstance(whole[0], types.CellType) and frame.count == 3:
            return whole[0]
        above = self.frames[index - 1].obj if index else None
        # None stands in a cell that is filled later.
        filled = len(whole) == 1 and whole[0] is not None
        return above if filled and isinstance(above, types.CellType) else None

    def _extended(self, steps: list[Step], index: int) -> list[Step]:
        frame = self.frames[index]
        whole = frame.obj
        kind = self._variable_kind(frame, index)
        if kind == "global":
            return [*steps, Step("global", str(frame.key))]
        if kind == "default":
            names = self._named[id(whole)]
            name = str(frame.key) if isinstance(whole, dict) else names[frame.count - 1]
            return [*steps, Step("default", name)]
        if kind == "cell" and isinstance(whole, tuple):
            return list(self._places.get(id(self._cell_of(whole, frame, index)), steps))
        if isinstance(whole, dict):
            if self.holds_attributes(whole):
                return [*steps, Step("inside", f".{frame.key}")]
            return [*steps, Step("inside", f"[{redacted(_short(frame.key), self.secrets)}]")]
        if type(whole) is list or (type(whole) is tuple and self._is_users(index)):
            return [*steps, Step("inside", f"[{frame.count - 1}]")]
        return steps

    def holds_attributes(self, mapping: dict[Any, Any]) -> bool:
        """Tell whether a dict has the attributes of an instance or class that is in the making."""
        return any(
            getattr(frame.obj, "__dict__", None) is mapping
            or (isinstance(frame.obj, type) and "__module__" in mapping)
            for frame in self.frames
        )

    def _is_users(self, index: int) -> bool:
        """Tell a tuple of the user's from one of the pickler's own making."""
        frame = self.frames[index - 1] if index else None
        if frame is None:
            return False
        return isinstance(frame.obj, dict | list) or (
            type(frame.obj) is tuple and self._is_users(index - 1)
        )


def _short(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 40 else f"{text[:37]}…"

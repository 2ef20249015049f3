"""What every map can be told beside what an error does, for checkers of types."""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["MapSettings"]


class MapSettings(TypedDict, total=False):
    """Keywords of ``f.map`` and ``f.starmap``; :meth:`RemoteFunction.map` says what each means."""

    concurrency: int
    ordered: bool
    batch: Literal["auto"] | bool | int
    progress: bool | None

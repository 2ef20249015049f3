"""The table that the benchmarks print: a line as soon as it is measured, met or missed."""

from __future__ import annotations

ROUNDS = 9
rows: list[tuple[str, str, str, bool]] = []


def row(what: str, value: float, unit: str, target: float, *, least: bool = False) -> None:
    met = value >= target if least else value <= target
    sign = "≥" if least else "≤"
    rows.append((what, f"{value:.3g}{unit}", f"{sign} {target:g}{unit}", met))
    print(
        f"  {what:<76} {value:>8.3g}{unit}  {sign} {target:g}{unit}{'' if met else '  MISSED'}",
        flush=True,
    )


def note(what: str, value: float, unit: str) -> None:
    print(f"  {what:<76} {value:>8.3g}{unit}", flush=True)

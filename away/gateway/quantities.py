"""Kubernetes' quantities, by which OpenFaaS states limits: ``128Mi``, ``0.5``, ``250m``, ``1e9``.

The grammar is that of Kubernetes' "resource.Quantity": a decimal number and a suffix, which is a
power of 1024 (``Ki`` to ``Ei``), one of 1000 (``n`` to ``E``) or a decimal exponent. Like there, a
fraction of the smallest unit counts as one. Values in, values out.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

__all__ = ["Unreadable", "memory_bytes", "nano_cpus"]

_QUANTITY = re.compile(
    r"\+?([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2}|[A-Za-z]{0,2})"
)
_SUFFIXES = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
_SUFFIXES |= {letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)}
_SUFFIXES |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
# The most that Kubernetes and the container engine hold, in 63 bits.
_MOST = 2**63 - 1


class Unreadable(ValueError):
    """A text that is no quantity; the message says what one looks like."""


def memory_bytes(text: str) -> int:
    """Read a quantity of memory as bytes, rounded up.

    Raises:
        Unreadable: It is none, negative, or out of all measure.

    Example:
        >>> memory_bytes("128Mi"), memory_bytes("1.5k")
        (134217728, 1500)
    """
    return _scaled(text, Decimal(1), "64Mi or 1G")


def nano_cpus(text: str) -> int:
    """Read a quantity of processors as billionths of one, rounded up.

    Raises:
        Unreadable: It is none, negative, or out of all measure.

    Example:
        >>> nano_cpus("250m"), nano_cpus("2")
        (250000000, 2000000000)
    """
    return _scaled(text, Decimal(10) ** 9, "250m or 0.5")


def _scaled(text: str, unit: Decimal, example: str) -> int:
    found = _QUANTITY.fullmatch(text.strip())
    scale = _scale(found[2]) if found else None
    if found is None or scale is None:
        raise Unreadable(
            f"{text[:60]!r} is no quantity as Kubernetes writes them, such as {example}"
        )
    value = (Decimal(found[1]) * scale * unit).to_integral_value(ROUND_CEILING)
    if value > _MOST:
        raise Unreadable(f"{text[:60]!r} is more than any machine has")
    return int(value)


def _scale(suffix: str) -> Decimal | None:
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix[:1] in ("e", "E") and suffix[1:].lstrip("+-").isdecimal():
        return Decimal(10) ** int(suffix[1:])
    return None

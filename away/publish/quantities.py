"""Amounts of memory and processor as Kubernetes writes them, read before anything is sent.

The grammar is that of Kubernetes' resource quantities
(https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/): a decimal number
with a suffix of 2^10 (``Ki`` to ``Ei``), of 10^3 (``n``, ``u``, ``m``, none, ``k`` to ``E``) or a
decimal exponent. faasd reads them by the same library, and deploys without a limit what it cannot read.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.names import nearest, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_resources", "read_quantity"]

RESOURCES = ("cpu", "memory")
# An exponent has three digits at most here: a thousand digits of zeroes is nobody's amount.
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?P<suffix>Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]{1,3}|)\Z"
)
_SCALES = {
    **{f"{letter}i": Decimal(1024**power) for power, letter in enumerate("KMGTPE", 1)},
    **{
        letter: Decimal(10) ** (3 * power)
        for power, letter in zip(range(-3, 7), ["n", "u", "m", "", "k", *"MGTPE"], strict=True)
    },
}
# Kubernetes keeps an amount in 64 bits; a longer number is no amount of anything.
_LARGEST = Decimal(2**63 - 1)
_MOST_CHARACTERS = 64
# Below it runc refuses to start a container, and the record of a dead one stays.
LEAST_MEMORY_BYTES = 6 * 1024 * 1024
# Kubernetes: "Precision finer than 1m is not allowed".
LEAST_CPU = Decimal("0.001")


def read_quantity(text: str) -> Decimal | None:
    """Return the number that a quantity stands for; None if it is none.

    >>> read_quantity("128Mi"), read_quantity("500m"), read_quantity("128MB")
    (Decimal('134217728'), Decimal('0.500'), None)
    """
    match = _QUANTITY.match(text) if len(text) <= _MOST_CHARACTERS else None
    if match is None:
        return None
    number, suffix = Decimal(match["number"]), match["suffix"]
    scale = _SCALES.get(suffix)
    value = number * scale if scale is not None else Decimal(f"{match['number']}{suffix}")
    return value if abs(value) <= _LARGEST else None


def check_resources(limits: Mapping[str, str], requests: Mapping[str, str]) -> None:
    """Refuse limits and requests that no provider could honour.

    Raises:
        PublishFailed: An amount is none, of something unknown, too small to start with, or reserved
            beyond its limit.
    """
    read = {
        what: {key: _amount(what, key, text) for key, text in mapping.items()}
        for what, mapping in (("limits", limits), ("requests", requests))
    }
    for key, wanted in read["requests"].items():
        limit = read["limits"].get(key)
        if limit is not None and wanted > limit:
            raise _refused(
                f"requests[{key!r}] is {requests[key]} and limits[{key!r}] is {limits[key]}, which is"
                " less; nothing can be reserved beyond its limit"
            )


def _amount(what: str, key: str, text: str) -> Decimal:
    if key not in RESOURCES:
        near = nearest(str(key), RESOURCES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise _refused(
            f"{what}[{printable(str(key))!r}] is nothing that can be limited, only cpu and memory"
            f" are{hint}"
        )
    value = read_quantity(text)
    example = "'128Mi'" if key == "memory" else "'500m' or '0.5'"
    if value is None:
        shown = printable(text[:_MOST_CHARACTERS])
        raise _refused(f"{what}[{key!r}] is {shown!r}, which is no amount; write {example}")
    if key == "memory" and what == "limits" and value < LEAST_MEMORY_BYTES:
        raise _refused(_too_little_memory(text, value))
    least = LEAST_CPU if key == "cpu" else Decimal(1)
    if value < least:
        raise _refused(f"{what}[{key!r}] is {text}, and the least is {least}; write {example}")
    return value


def _too_little_memory(text: str, value: Decimal) -> str:
    # The classic mistake: a small m is a thousandth.
    hint = (
        f"; a small m is a thousandth: did you mean {text[:-1] + 'Mi'!r}?"
        if text.endswith("m") and read_quantity(f"{text[:-1]}Mi") is not None
        else "; Python alone takes some 20Mi"
    )
    return (
        f"limits['memory'] is {text}, {value:f} bytes, and no container starts with less than"
        f" {LEAST_MEMORY_BYTES}{hint}"
    )


def _refused(message: str) -> PublishFailed:
    return PublishFailed(message, step="checks")

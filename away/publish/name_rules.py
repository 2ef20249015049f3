"""Names and labels that a provider refuses, so that they are refused here before anything is sent.

Kubernetes' are those of its documentation ("Object Names and IDs", "Labels and Selectors",
"Annotations"); its Community Edition's are those of faas-netes (pkg/handlers/validate.go, deploy.go).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from away.exceptions import NameRefused, PublishFailed
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from away.publish.options import Options
    from away.publish.target import Target

__all__ = ["check_names", "check_scaling"]

# A Service's name begins with a letter (RFC 1035), and so has to a function's.
_SERVICE = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
_VARIABLE = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*\Z")
# What every provider stores as one file's name.
_SECRET = re.compile(r"[A-Za-z0-9_-]([A-Za-z0-9_.-]*)\Z")
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(h|m|s|ms))+\Z")
_LONGEST_LABEL, _LONGEST_SUBDOMAIN = 63, 253
_ALL_ANNOTATIONS_BYTES = 256 * 1024
# The most replicas that OpenFaaS's Community Edition runs of one function.
_MOST_REPLICAS = 5

_SCALE = "com.openfaas.scale."
_PAID = ("zero-duration", "target", "type")


def check_scaling(labels: Mapping[str, str]) -> None:
    """Refuse scaling labels that are no numbers: a gateway would take its defaults silently.

    They are those of https://docs.openfaas.com/architecture/autoscaling/.

    Raises:
        PublishFailed: One of them is not what it has to be, or the least is more than the most.
    """
    found = {key.removeprefix(_SCALE): key for key in labels if key.startswith(_SCALE)}
    for name, key in found.items():
        value = labels[key]
        if name in ("min", "max", "factor", "target") and not _is_number(value):
            raise _refused(f"labels[{key!r}] is {_shown(value)} and has to be a whole number")
        if name == "target-proportion" and not re.fullmatch(r"[0-9]*\.?[0-9]+", value):
            raise _refused(
                f"labels[{key!r}] is {_shown(value)} and has to be a number such as '0.9'"
            )
        if name == "zero" and value not in ("true", "false"):
            raise _refused(f"labels[{key!r}] is {_shown(value)} and can be 'true' or 'false'")
        if name == "zero-duration" and not _DURATION.match(value):
            raise _refused(
                f"labels[{key!r}] is {_shown(value)} and has to be a duration such as '15m'"
            )
    if {"min", "max"} <= found.keys():
        least, most = int(labels[found["min"]]), int(labels[found["max"]])
        if least > most:
            raise _refused(f"labels say {least} replicas at least and {most} at most; correct one")


def check_names(name: str, secrets: Iterable[str], options: Options, target: Target) -> None:
    """Refuse names that the gateway's provider would refuse.

    Args:
        name: The function's name.
        secrets: Names of secrets.
        options: What the user asks for.
        target: What the gateway is.

    Raises:
        NameRefused: The function cannot have that name there.
        PublishFailed: A secret, label, annotation or variable cannot.
    """
    for secret in secrets:
        if not _SECRET.match(secret) or ".." in secret or len(secret) > _LONGEST_SUBDOMAIN:
            raise _refused(
                f"secrets has {_shown(secret)}, which cannot be a secret's name: it has letters,"
                " digits, '-', '_' and '.'"
            )
    if target.family != "kubernetes":
        return
    if not _SERVICE.match(name):
        raise NameRefused(
            f"{printable(name)!r} cannot be the name of a function on Kubernetes, which begins with a"
            " letter and has lower case letters, digits and '-'; pass another name=",
            function=name,
        )
    for secret in secrets:
        if not _SUBDOMAIN.match(secret):
            raise _refused(
                f"secrets has {_shown(secret)}, and on Kubernetes a secret's name has lower case"
                " letters, digits, '-' and '.'; store it under another name"
            )
    _check_maps(options)
    if target.is_community:
        _check_community(options)


def _check_maps(options: Options) -> None:
    for what, mapping in (("labels", options.labels), ("annotations", options.annotations)):
        for key in mapping:
            prefix, slash, word = key.rpartition("/")
            sound = not slash or (_SUBDOMAIN.match(prefix) and len(prefix) <= _LONGEST_SUBDOMAIN)
            if not sound or not _is_word(word):
                raise _refused(
                    f"{what} has the key {_shown(key)}, and on Kubernetes a key is [DOMAIN/]NAME,"
                    " where NAME has at most 63 letters, digits, '-', '_' and '.'"
                )
    for key, value in options.labels.items():
        if value and not _is_word(value):
            raise _refused(
                f"labels[{key!r}] is {_shown(value)}, and on Kubernetes a label's value has at most 63"
                " letters, digits, '-', '_' and '.'; annotations= takes any text"
            )
    for key in options.env:
        if not _VARIABLE.match(key) or key.startswith(".."):
            raise _refused(
                f"env has {_shown(key)}, and on Kubernetes a variable's name has letters, digits, '-',"
                " '_' and '.' and begins with no digit"
            )
    size = sum(len(f"{key}{value}".encode()) for key, value in options.annotations.items())
    if size > _ALL_ANNOTATIONS_BYTES:
        raise _refused(
            f"annotations have {size} bytes in all and Kubernetes takes {_ALL_ANNOTATIONS_BYTES};"
            " shorten them"
        )


def _check_community(options: Options) -> None:
    for key, value in options.labels.items():
        name = key.removeprefix(_SCALE)
        if not key.startswith(_SCALE):
            continue
        if name in _PAID or (name == "zero" and value == "true"):
            raise _refused(
                f"labels[{key!r}] is refused by OpenFaaS's Community Edition; leave it out"
            )
        if name in ("min", "max") and int(value) > _MOST_REPLICAS:
            raise _refused(
                f"labels[{key!r}] is {value} and OpenFaaS's Community Edition runs {_MOST_REPLICAS}"
                " replicas at most; lower it"
            )
    for key, value in options.annotations.items():
        if "amazonaws.com" in key or "gke.io" in key or (key == "topic" and "," in value):
            raise _refused(
                f"annotations[{key!r}] is refused by OpenFaaS's Community Edition; leave it out"
            )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _is_word(text: str) -> bool:
    return _WORD.match(text) is not None and len(text) <= _LONGEST_LABEL


def _shown(text: str) -> str:
    return repr(printable(text[:80]))


def _refused(message: str) -> PublishFailed:
    return PublishFailed(message, step="checks")

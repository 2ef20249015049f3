"""Dockerfiles that Away writes: text that a person can read, of names whose grammar was checked.

Pure: values come in, text goes out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from away.publish.builders.order import Settings

__all__ = [
    "BUILT_LABEL",
    "MANAGERS",
    "arguments_of",
    "check_packages",
    "compilers",
    "function_image",
    "images_below",
    "install",
    "requirements_stage",
    "with_packages",
]

# What the engine's images that Away made are found by.
BUILT_LABEL = "away.builder"

# How each package manager installs, in steps of one RUN.
_INSTALL = {
    "apt-get": (
        "apt-get update",
        "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {}",
        "rm -rf /var/lib/apt/lists/*",
    ),
    "apk": ("apk add --no-cache {}",),
    "dnf": ("dnf install --assumeyes --setopt=install_weak_deps=False {}", "dnf clean all"),
    "microdnf": ("microdnf install --assumeyes {}", "microdnf clean all"),
}
MANAGERS = tuple(_INSTALL)
_COMPILERS = {
    # Not build-essential, half of which is for making Debian's own packages.
    "apt-get": ("gcc", "g++", "make"),
    "apk": ("build-base",),
    "dnf": ("gcc", "gcc-c++", "make"),
    "microdnf": ("gcc", "gcc-c++", "make"),
}
_HEADERS = {
    "apt-get": "python3-dev",
    "apk": "python3-dev",
    "dnf": "python3-devel",
    "microdnf": "python3-devel",
}
# Names as Debian, Alpine and Fedora write them, with an architecture or a version. None begins with a
# dash, which would be an option, and none ends with one: to apt-get that says "remove it".
_PACKAGE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9+._-]*(?<!-)(?::[a-z0-9]+)?(?:(?:==|=|~=|~)[A-Za-z0-9][A-Za-z0-9+.:~_-]*)?\Z"
)
_MAX_PACKAGE = 200
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*\Z")


def check_packages(names: Iterable[str]) -> None:
    """Refuse what is no package's name: names become words of a shell's line.

    Raises:
        PublishFailed: One of them is none.
    """
    for each in names:
        if not _PACKAGE.match(each) or len(each) > _MAX_PACKAGE:
            raise PublishFailed(
                f"system_packages has {printable(repr(each[:100]))}, which is no package's name;"
                " write NAME or NAME=VERSION, each package as a text of its own",
                step="options",
            )


def install(manager: str, names: Sequence[str]) -> str:
    """Return the instruction that installs packages of the image's system."""
    check_packages(names)
    steps = [each.format(" ".join(names)) for each in _INSTALL[manager]]
    return "RUN " + " \\\n && ".join(steps)


def compilers(manager: str, *, headers: bool) -> tuple[str, ...]:
    """Return the packages that compile C: with Python's headers where the image has none."""
    return _COMPILERS[manager] + (() if headers else (_HEADERS[manager],))


def with_packages(base: str, described: str, manager: str, names: Sequence[str], user: str) -> str:
    """Write the Dockerfile that installs packages on a base.

    Args:
        base: The base's identity in the engine.
        described: What to call it.
        manager: Which program installs.
        names: The packages.
        user: As whom the base runs; nothing for root.
    """
    lines = [comment(f"{described} with packages of its system"), f"FROM {base}"]
    lines += as_root([install(manager, names)], user)
    return "\n".join(lines) + "\n"


def as_root(lines: list[str], user: str) -> list[str]:
    """Return instructions that are carried out as root, on an image that runs as another."""
    if user in ("", "0", "root"):
        return lines
    if not _USER.match(user):
        raise PublishFailed(
            f"the base image runs as the user {printable(repr(user[:50]))}, which cannot be"
            " written into a Dockerfile; pass another base_image=",
            step="base image",
        )
    return ["USER root", *lines, f"USER {user}"]


def requirements_stage(base: str, manager: str, packages: Sequence[str], folder: str) -> list[str]:
    """Write the stage in which requirements are built; nothing of it but their folder is kept.

    Args:
        base: The base's identity in the engine.
        manager: Which program installs compilers.
        packages: The compilers.
        folder: Where requirements go.
    """
    return [
        comment("requirements, built where there are compilers: only their folder is kept"),
        f"FROM {base} AS requirements",
        f"LABEL {BUILT_LABEL}=requirements",
        "USER root",
        install(manager, packages),
        "COPY requirements.txt constraints.txt /tmp/away/",
        "RUN python3 -m pip install --no-cache-dir --disable-pip-version-check \\",
        f"      --target /{folder} \\",
        "      --constraint /tmp/away/constraints.txt --requirement /tmp/away/requirements.txt",
        "",
    ]


def function_image(
    base: str,
    described: str,
    layers: Sequence[tuple[str, str]],
    settings: Settings,
    *,
    stage: Sequence[str] = (),
    copied: str = "",
) -> str:
    """Write a function's Dockerfile.

    Args:
        base: The base's identity in the engine.
        described: What to call it.
        layers: Archives in the context with what they hold, the lowest first.
        settings: What the image says beside them.
        stage: The lines of the stage that builds requirements, if there is one.
        copied: The folder that is taken over from that stage.
    """
    lines = [comment("written by Away, for one function"), *stage]
    lines += [comment(described), f"FROM {base}"]
    # What is the same for all functions comes first: the engine does it once, and remembers.
    lines += pairs("LABEL", {BUILT_LABEL: "docker", **settings.labels})
    lines += pairs("ENV", settings.environment)
    # Together, entry point and command would be one command line.
    lines += ["EXPOSE 8080", "ENTRYPOINT []", f"CMD {json.dumps(settings.command)}"]
    lines.append(f"WORKDIR {settings.working_folder}")
    if copied:
        lines.append(f"COPY --from=requirements /{copied} /{copied}")
    for file, what in layers:
        lines += [comment(what), f"ADD {file} /"]
    return "\n".join(lines) + "\n"


def pairs(instruction: str, values: Mapping[str, str]) -> list[str]:
    """Write the values of one ENV or LABEL, each on a line of its own."""
    if not values:
        return []
    lines = [f"{name}={quoted(text)}" for name, text in sorted(values.items())]
    return [f"{instruction} " + f" \\\n{' ' * (len(instruction) + 1)}".join(lines)]


def quoted(text: str) -> str:
    """Write a value so that it is taken literally (Dockerfile reference, "Environment replacement")."""
    assert "\n" not in text, "a Dockerfile's value is one line"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def comment(text: str) -> str:
    """Write a comment of one line."""
    return f"# {printable(text)}"


# ---------------------------------------------------------------- reading a user's

_FROM = re.compile(r"\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_ARGUMENT = re.compile(r"\s*ARG\s+([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE)
# "Parser directives" and "Here-documents" of the Dockerfile reference.
_ESCAPE = re.compile(r"\s*#\s*escape\s*=\s*([`\\])\s*\Z", re.IGNORECASE)
_DIRECTIVE = re.compile(r"\s*#\s*[A-Za-z][A-Za-z0-9]*\s*=")
_TAKES_DOCUMENTS = re.compile(r"\s*(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\s", re.IGNORECASE)
_DOCUMENT = re.compile(r"(?<!\S)\d*<<(-?)([\"']?)([A-Za-z0-9_][^\s<\"']*)\2(?!\S)")


def instructions(text: str) -> Iterator[str]:
    """Give a Dockerfile's instructions, each as one line, without comments and here-documents."""
    lines = iter(text.removeprefix("\ufeff").splitlines())
    escape, directives, joined = "\\", True, ""
    for line in lines:
        if directives and (found := _ESCAPE.match(line)):
            escape = found[1]
        directives = directives and _DIRECTIVE.match(line) is not None
        if not line.strip() or line.lstrip().startswith("#"):
            continue  # in the middle of an instruction too
        rest = line.rstrip(" \t")
        if rest.endswith(escape):
            joined += rest.removesuffix(escape)
            continue
        whole, joined = joined + line, ""
        yield whole
        if _TAKES_DOCUMENTS.match(whole):
            for tabs, _, end in _DOCUMENT.findall(whole):
                skip_document(lines, end, tabs=bool(tabs))
    if joined:
        yield joined


def skip_document(lines: Iterator[str], end: str, *, tabs: bool) -> None:
    """Leave out the lines of a here-document."""
    for line in lines:
        if (line.lstrip("\t") if tabs else line) == end:
            return


def images_below(text: str) -> list[str]:
    """Return the images that a Dockerfile builds on, as far as they are named without a variable."""
    stages: set[str] = set()
    found: dict[str, None] = {}
    for line in instructions(text):
        if (match := _FROM.match(line)) is None:
            continue
        name, stage = match.groups()
        if name.lower() not in stages and name != "scratch" and "$" not in name:
            found[name] = None
        if stage:
            stages.add(stage.lower())
    return list(found)


def arguments_of(text: str) -> set[str]:
    """Return the names of a Dockerfile's build arguments."""
    return {match[1] for line in instructions(text) if (match := _ARGUMENT.match(line))}

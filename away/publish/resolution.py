"""Which wheels a set of requirements comes to on some Python and platform, and fetching them.

It is pip that resolves and fetches: ``pip download`` and nothing else, since it runs no code of
what it fetches, and since ``pip install`` for another Python obeyed the running one's limits for
years. What pip takes from the running Python all the same, the environment of markers (PEP 508), is
put right here.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from away.exceptions import PublishFailed
from away.names import printable
from away.publish.compiled import MINOR
from away.publish.pins import normal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from away.publish.pins import Pin

__all__ = [
    "Target",
    "download",
    "installed_versions",
    "no_wheel",
    "platform_options",
    "refuse_local_versions",
]

_EXACT = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!_-]+\Z")
# The glibc to take where the base does not say which it has: that of the oldest systems in use.
_GLIBC = (2, 28)
_OLDEST_MINOR = 5
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_MUSL_MINORS = (2, 1, 0)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "arm": "armv7l", "386": "i686"}
_PIP_SECONDS = 300.0

# Runs pip with the markers of the target. Its arguments: a wheel of pip to run, if there is none
# installed, and what to change in the environment that markers are judged by. Other programs are not
# started: a wheel that names an address among its own needs would have pip run what lies there,
# whatever --only-binary says. A keyring that the user configured for an index is.
_PIP = """
import json, os, runpy, sys
wheel, environment = json.loads(sys.argv.pop(1))
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
          "os.forkpty")
def refuse(event, arguments):
    if event in STARTS:
        name = os.path.basename(str(arguments[0])) if arguments else ""
        if event != "subprocess.Popen" or name not in ("keyring", "keyring.exe"):
            raise PermissionError(f"a wheel needs no other program, such as {name or event}")
sys.addaudithook(refuse)
if wheel:
    sys.path.insert(0, wheel)
if environment:
    from pip._vendor.packaging import markers
    own = markers.default_environment
    markers.default_environment = lambda: {**own(), **environment}
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


class Target(NamedTuple):
    """What wheels are for.

    Attributes:
        architecture: The processor, by Go's name or by the kernel's.
        python: The minor version of Python, as ``3.11``.
        glibc: Major and minor version of its C library; None where that is not known, and zeros
            for musl.
        here: True for this very machine and interpreter.
    """

    architecture: str
    python: str = MINOR
    glibc: tuple[int, int] | None = None
    here: bool = False

    @property
    def machine(self) -> str:
        """The processor by the kernel's name, as wheels have it."""
        return _MACHINES.get(self.architecture, self.architecture)

    @property
    def is_musl(self) -> bool:
        """Whether its C library is musl, as Alpine's is."""
        return self.glibc is not None and self.glibc[0] == 0

    def __str__(self) -> str:
        if self.here:
            return f"Python {self.python}"
        glibc = self.glibc or _GLIBC
        library = "musl" if self.is_musl else f"glibc {glibc[0]}.{glibc[1]}"
        return f"Python {self.python} on linux/{self.architecture} with {library}"


def installed_versions(names: Iterable[str] | None = None) -> dict[str, str | None]:
    """Return what is installed here from an index, versions by normal names.

    Args:
        names: Ask for these alone, which is much quicker; those that are not here have None then.
    """
    import importlib.metadata

    if names is not None:
        return {name: installed_version(name) for name in names}
    found: dict[str, str | None] = {}
    for each in importlib.metadata.distributions():
        name = each.metadata["Name"]
        # The first of a name on the path is the one that is imported.
        if name and _EXACT.match(f"{name}=={each.version}"):
            found.setdefault(normal_name(name), each.version)
    return dict(sorted(found.items()))


def installed_version(name: str) -> str | None:
    """Return the version of a distribution that is installed here from an index."""
    import importlib.metadata

    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return version if _EXACT.match(f"{name}=={version}") else None


def refuse_local_versions(
    pins: Iterable[Pin], target: Target, reasons: Mapping[str, str] | None = None
) -> None:
    """Refuse versions that no index has: ``1.2+local`` was built on somebody's machine (PEP 440)."""
    for each in pins:
        if "+" in each.version:
            why = f"is a local version that no package index has, so it has no wheel for {target}"
            raise no_wheel(str(each), why, (reasons or {}).get(each.name, ""))


def no_wheel(requirement: str, why: str, reason: str = "") -> PublishFailed:
    """Make the one error that says which requirement cannot be packed, and the ways out."""
    # A clause of the user's code, or one of an error of pip's.
    needed = f" ({printable(reason)})" if reason else ""
    return PublishFailed(
        f"the requirement {printable(requirement)}{needed} {why}, and the base image does not have"
        " it; list another version of it in requirements=, take a base_image= that has it, or have"
        " it built in the image with image_builder='docker', enable_dev_building=True",
        step="requirements",
        hint="list another version in requirements=, or take a base_image= that has it",
    )


def no_such_name(requirement: str, reason: str) -> PublishFailed:
    """Make the error for a requirement that the index has nothing of."""
    needed = f" ({printable(reason)})" if reason else ""
    return PublishFailed(
        f"the requirement {printable(requirement)}{needed} is not in the package index, which has"
        " none of that name, and the base image does not have it; correct the name, list what"
        " provides it in requirements=, or take a base_image= that has it",
        step="requirements",
        hint="correct the name, or list what provides it in requirements=",
    )


# ---------------------------------------------------------------- pip


def download(
    pins: tuple[Pin, ...],
    versions: Mapping[str, str | None],
    target: Target,
    folder: Path,
    reasons: Mapping[str, str],
) -> None:
    """Have pip fetch wheels, those that are needed in turn included.

    Args:
        pins: What is wanted.
        versions: The versions to take of what is needed in turn, where one of these can be had.
        target: What they are for.
        folder: Where they are put.
        reasons: What needs each of the pins, for errors.

    Raises:
        PublishFailed: There is no pip, or no wheel of one of them for the target.
    """
    wanted = {each.name for each in pins}
    others = [f"{name}=={have}" for name, have in versions.items() if have and name not in wanted]
    failed = run_pip(pins, others, target, folder)
    if failed and others and culprit_of(pins, failed) is None:
        # What is installed here need not exist for the target, and its own needs are then others.
        failed = run_pip(pins, [], target, folder) and failed
    if failed:
        unknown = unknown_name(failed, folder)
        raise explained(pins, target, failed, reasons, unknown=unknown)


def unknown_name(said: str, folder: Path) -> bool:
    """Tell whether the index has nothing at all of the name that pip found no version of.

    pip says the same of a name that there is not and of one without a wheel; what it met on its way
    is in what it says at length.
    """
    found = _NOT_FOUND.search(said)
    name = re.match(r"[A-Za-z0-9._-]+", found["spec"]) if found else None
    if found is None or name is None or found["versions"] != "none" or "@" in found["spec"]:
        return False
    command = [sys.executable, "-P", "-c", _PIP, json.dumps([bundled_pip(), {}]), "download", "-vv"]
    command += ["--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--no-deps"]
    command += ["--no-cache-dir", "--dest", str(folder), name[0]]
    try:
        told = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_NAME_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    text = told.stdout.decode("utf-8", "replace")
    return bool(
        told.returncode
        and "Could not find" in text + told.stderr.decode("utf-8", "replace")
        and not _OF_THAT_NAME.search(text)
    )


def run_pip(
    pins: Iterable[Pin],
    constraints: list[str],
    target: Target,
    folder: Path,
    *,
    started: Callable[[subprocess.Popen[str]], None] | None = None,
) -> str:
    """Fetch wheels; return what pip said if it failed.

    Args:
        pins: What is wanted.
        constraints: The versions to take of what is needed in turn.
        target: What they are for.
        folder: Where they are put.
        started: Is given the process, in order to stop it.
    """
    file = folder / "constraints.txt"
    file.write_text("\n".join(constraints))
    markers = {} if target.here else marker_environment(target)
    command = [sys.executable, "-P", "-c", _PIP, json.dumps([bundled_pip(), markers])]
    command += ["download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--only-binary=:all:", "--dest", str(folder), "--constraint", str(file)]
    command += [*platform_options(target), *map(str, pins)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        if started is not None:
            started(process)
        try:
            _, said = process.communicate(timeout=_PIP_SECONDS)
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                return f"ERROR: nothing was downloaded within {_PIP_SECONDS:g} seconds"
            raise
    return (said or "ERROR: pip failed") if process.returncode else ""


def bundled_pip() -> str:
    """Return the wheel of pip that comes with Python, where none is installed (as in uv's venvs)."""
    if find_spec("pip") is not None:
        return ""
    spec = find_spec("ensurepip")
    folders = [Path(spec.origin).parent / "_bundled"] if spec and spec.origin else []
    # Where distributions such as Debian keep it instead (configure's --with-wheel-pkg-dir).
    if elsewhere := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.append(Path(elsewhere))
    wheels = [wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl"))]
    return str(wheels[-1]) if wheels else ""


def marker_environment(target: Target) -> dict[str, str]:
    """Return what markers say on the target (PEP 508), where that differs from machine to machine."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{target.python}.0",
        "os_name": "posix",
        "platform_machine": target.machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full_version(target),
        "python_version": target.python,
        "sys_platform": "linux",
    }


def full_version(target: Target) -> str:
    """Return the target's version in full: of the client's own minor the client's, else the first."""
    return platform.python_version() if target.python == MINOR else f"{target.python}.0"


def platform_options(target: Target) -> list[str]:
    """Return the options that make pip look for another platform than its own."""
    if target.here:
        return []
    options = ["--implementation", "cp", "--python-version", target.python]
    for each in platforms(target):
        options += ["--platform", each]
    compact = target.python.replace(".", "")
    return [*options, "--abi", f"cp{compact}", "--abi", "abi3", "--abi", "none"]


def platforms(target: Target) -> list[str]:
    """Return the platforms whose wheels run on the target, the best first.

    pip does not expand a platform to those it includes: every one from the target's own C library
    down is named (PEP 600 for glibc, PEP 656 for musl).
    """
    machine = target.machine
    if target.is_musl:
        return [f"musllinux_1_{minor}_{machine}" for minor in _MUSL_MINORS]
    found = []
    major, newest = target.glibc or _GLIBC
    for minor in range(newest, _OLDEST_MINOR - 1, -1):
        found.append(f"manylinux_{major}_{minor}_{machine}")
        if minor in _OLD_NAMES:
            found.append(f"{_OLD_NAMES[minor]}_{machine}")
    return found


# ---------------------------------------------------------------- what pip said

_NOT_FOUND = re.compile(
    r"satisfies the requirement (?P<spec>.+?)(?: \(from (?!versions:)(?P<by>[^)]*)\))?"
    r" \(from versions: (?P<versions>[^)]*)\)"
)
# What pip says at length of a link to a file that is of the name, whether it can be used or not.
_OF_THAT_NAME = re.compile(r"Found link |Skipping link: (?!not a file|wrong project name)")
# How long it may take to find out that there is no such name, which only makes an error clearer.
_NAME_SECONDS = 30.0
# Why an index was not reached, in the words of pip's HTTP library.
_UNREACHED = re.compile(
    r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|NameResolutionError|ProxyError|SSLError"
    r"|Connection refused|Connection reset|Temporary failure in name resolution"
)
# How many versions that there are wheels of a message names.
_SHOWN = 3


def culprit_of(pins: Iterable[Pin], said: str) -> Pin | None:
    """Return the pin that pip found nothing for, if it was one of them."""
    found = _NOT_FOUND.search(said)
    if found is None:
        return None
    named = re.match(r"[A-Za-z0-9._-]+", found["spec"])
    name = normal_name(named[0]) if named else ""
    return next((each for each in pins if each.name == name), None)


def explained(
    pins: tuple[Pin, ...],
    target: Target,
    said: str,
    reasons: Mapping[str, str],
    *,
    unknown: bool = False,
) -> PublishFailed:
    """Turn what pip said into one sentence that names the requirement.

    Args:
        pins: What was wanted.
        target: What it is for.
        said: What pip said.
        reasons: What needs each of the pins.
        unknown: Whether the index has nothing of that name.
    """
    if "No module named" in said and "pip" in said:
        return PublishFailed(
            f"the requirement {pins[0]} cannot be fetched: {sys.executable} has no pip; install it"
            " with `python -m ensurepip`, or take a base_image= that has the requirement",
            step="requirements",
        )
    if (lost := _UNREACHED.search(said)) is not None:
        # pip then says that nothing was found, which is true and no help.
        names = ", ".join(map(str, pins))
        return PublishFailed(
            f"the requirement {printable(names)} cannot be fetched: the package index that pip asks"
            f" cannot be reached ({lost[0]}); try again with a network, or correct pip's"
            " configuration (pip config list)",
            step="requirements",
        )
    found = _NOT_FOUND.search(said)
    if found is None:
        lines = [line for line in said.splitlines() if line.startswith("ERROR:")]
        last = lines[-1].removeprefix("ERROR:").strip() if lines else "pip failed"
        first = next((line for line in lines if "because" in line), "").removeprefix("ERROR:")
        text = printable((first.strip() or last)[:300]).rstrip(". ")
        names = ", ".join(map(str, pins))
        return no_wheel(
            names, f"cannot be packed for {target}: {text}", reason_of(pins[0], reasons)
        )
    culprit = culprit_of(pins, said)
    others = [each for each in found["versions"].split(", ") if each not in ("", "none")]
    has = f" (it has {', '.join(others[-_SHOWN:])})" if others else ""
    why = f"has no wheel for {target} in the package index{has}"
    if culprit is not None:
        spec, reason = str(culprit), reason_of(culprit, reasons)
    else:
        by = found["by"] or str(pins[0])
        name = normal_name(re.split(r"[=<>!~ ]", by)[0])
        through = reasons.get(name) if any(pin.name == name for pin in pins) else ""
        spec, reason = found["spec"], f"{by} needs it" + (f": {through}" if through else "")
    return no_such_name(spec, reason) if unknown else no_wheel(spec, why, reason)


def reason_of(pin: Pin, reasons: Mapping[str, str]) -> str:
    """Return what needs a pin, where that is known."""
    return reasons.get(pin.name, "")

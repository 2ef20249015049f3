"""Export: functions as an OpenFaaS template project, for those whose pipeline is ``faas-cli up``.

The folder builds where Away is not installed, and what it deploys has the annotations by which imports
and signatures work. Nothing is sent, and nothing secret is written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from away.capture.leaks import holds_secret
from away.exceptions import PublishFailed
from away.names import printable
from away.publish.capturing import captured_by
from away.publish.deployment import check_options, check_sizes, is_loopback, with_own_annotations
from away.publish.keywords import know_secrets, options_for
from away.publish.pins import Pin, normal_name
from away.publish.preparation import SETTINGS
from away.publish.progress import Progress
from away.publish.project_folder import ProjectFolder
from away.publish.project_readme import readme_text
from away.publish.stack_file import functions_in, stack_entry, stack_text
from away.publish.steps import Publisher
from away.publish.target import Target
from away.publish.template import (
    PAYLOAD,
    REQUIREMENTS,
    TEMPLATE,
    plain_dockerfile,
    template_files,
)
from away.secret_texts import declared, known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike
    from typing import Unpack

    from away.capture import Captured
    from away.connection import FaasConnection
    from away.publish.options import Keywords, Options

__all__ = ["Exported", "export", "export_together"]

STACK = "stack.yml"
MODULES = "modules"
# Folders of a function that faas-cli does not copy, or that a project has for something else.
TAKEN = ("build", "template")
# A gateway that nobody has asked: what holds for any OpenFaaS.
ANY = Target("", "", "", "")
_LOGIN = re.compile(r"://[^/\s@]*@")


class Exported(NamedTuple):
    """What was written.

    Attributes:
        folder: The project's folder.
        functions: The functions' names at the gateway.
        images: The images that faas-cli will build, in the same order.
    """

    folder: Path
    functions: tuple[str, ...]
    images: tuple[str, ...]


class Item(NamedTuple):
    """One function of a project: its entry in stack.yml and its files."""

    name: str
    handler: str
    base: str
    entry: dict[str, Any]
    files: dict[str, bytes]

    def __repr__(self) -> str:
        return f"<Item {self.name}: {len(self.files)} files>"


def export(
    function: Callable[..., Any],
    connection: FaasConnection,
    folder: str | PathLike[str],
    *,
    force: bool = False,
    **options: Unpack[Keywords],
) -> Exported:
    """Write a function as an OpenFaaS template project.

    Args:
        function: The function.
        connection: The gateway that it is for; nothing is asked of it.
        folder: Where to write.
        force: True to replace what an earlier export wrote there; anything else is left alone.
        **options: Those of :func:`away.publish.publish`.

    Returns:
        What was written.

    Raises:
        CaptureRefused, NameRefused: As :func:`away.publish.publish` does.
        PublishFailed: It cannot be exported, or the folder holds something else.

    Example::

        export(sum_two_numbers, faas, "project", registry="registry.example.com")
    """
    return export_together([(function, connection, options)], folder, force=force)


def export_together(
    functions: Iterable[tuple[Callable[..., Any], FaasConnection, Mapping[str, Any]]],
    folder: str | PathLike[str],
    *,
    force: bool = False,
) -> Exported:
    """Write several functions as one project; each with its gateway and options.

    Raises:
        PublishFailed: As :func:`export` does; also where they are for several gateways.
    """
    given = list(functions)
    gateways = sorted({connection.url for _, connection, _ in given})
    if len(gateways) != 1:
        raise refused(
            f"a project is for one gateway and the functions are for {', '.join(gateways) or 'none'};"
            " export them one by one, each to a folder of its own"
        )
    project = ProjectFolder(Path(folder), force=force)
    know_secrets(given)
    items = [item_of(*each) for each in given]
    files: dict[str, bytes] = {}
    for each in items:
        files |= {f"{each.handler}/{path}": data for path, data in each.files.items()}
    last, command = items[-1], json.dumps(SETTINGS.command)
    template = template_files(last.base, SETTINGS.environment, command)
    files |= {f"template/{TEMPLATE}/{path}": data for path, data in template.items()}
    entries = functions_in(project.read(STACK) or b"")
    entries |= {each.name: each.entry for each in items}
    files[STACK] = stack_text(gateways[0], entries).encode()
    plain = plain_dockerfile(last.base, SETTINGS.environment, command, last.handler)
    files["Dockerfile"] = plain.encode()
    files["README.md"] = readme_text(gateways[0], entries).encode()
    refuse_secrets(files)
    project.write(files, kept=tuple(handlers_of(entries, items)))
    images = tuple(str(each.entry["image"]) for each in items)
    return Exported(project.folder, tuple(each.name for each in items), images)


def handlers_of(entries: Mapping[str, Any], items: Iterable[Item]) -> Iterator[str]:
    """Give the folders of functions that were exported before and are not now."""
    mine = {each.name for each in items}
    for name, entry in entries.items():
        if name not in mine:
            yield str(entry.get("handler", "")).removeprefix("./").rstrip("/") + "/"


# ---------------------------------------------------------------- one function


def item_of(
    function: Callable[..., Any], connection: FaasConnection, given: Mapping[str, Any]
) -> Item:
    """Capture a function and decide on all that is written of it."""
    stated = {key: value for key, value in given.items() if key != "verbose"}
    options = options_for(function, connection, stated)
    if options.dockerfile is not None:
        raise refused("dockerfile= is not exported; build that image, and name it by base_image=")
    options = with_registry(options, connection)
    captured = captured_by(options, function)
    publisher = Publisher(captured, connection, options, Progress())
    publisher.target = ANY
    publisher.settle()
    check_options(publisher.options)
    base = base_of(publisher)
    load(publisher)
    request = with_own_annotations(publisher.plan.request, publisher.plan.annotations)
    check_sizes(request)
    name = publisher.plan.name
    handler = f"{name}-function" if name in TAKEN else name
    entry = stack_entry(request, TEMPLATE, f"./{handler}", build_arguments(base, options))
    return Item(name, handler, base, entry, function_files(captured, publisher.pins))


def with_registry(options: Options, connection: FaasConnection) -> Options:
    """Settle where ``faas-cli push`` takes the image.

    Raises:
        PublishFailed: Nobody says.
    """
    if options.registry or connection.registry or is_loopback(connection.url):
        return options
    if options.registry_prefix:
        return options._replace(registry="docker.io")
    raise refused(
        "nothing says which registry the image is pushed to; name it by --registry (registry=), or"
        " by 'registry' in the gateway's configuration"
    )


def base_of(publisher: Publisher) -> str:
    """Return the image to build on, as ``docker build`` is to understand it.

    Raises:
        PublishFailed: It is the one of the embedded gateway, which is no image.
    """
    # A name without a host stays one: an image of the engine that builds, or of Docker Hub.
    name = publisher.base_name
    if not name.host and name.repository.startswith("away/"):
        raise refused(
            f"the base image {name} is only known to an embedded gateway; name a real one by"
            " base_image="
        )
    return str(name)


def build_arguments(base: str, options: Options) -> dict[str, str]:
    """Return what the template's Dockerfile is told for one function."""
    from away.publish.builders.dockerfile import check_packages

    check_packages(options.system_packages)
    found = {"BASE_IMAGE": base}
    if options.system_packages:
        found["ADDITIONAL_PACKAGE"] = " ".join(options.system_packages)
    if options.enable_dev_building:
        found["DEV_BUILDING"] = "1"
    return found


def load(publisher: Publisher) -> None:
    """Load the payload in a clean interpreter, as a publish does before it deploys."""
    if not publisher.options.check or publisher.cache is None:
        return
    from away.capture import verify
    from away.publish.cache import unpacked
    from away.publish.verification import installed_here

    library = unpacked(publisher.parts, publisher.cache)
    names = [each.name for each in publisher.pins]
    variables = publisher.plan.request.get("envVars", {})
    with installed_here(names, publisher.cache) as site:
        verify(publisher.captured, [library, site], environment=variables)


def function_files(captured: Captured, pins: Iterable[Pin]) -> dict[str, bytes]:
    """Return the files of a function's folder."""
    files = {PAYLOAD: captured.payload, REQUIREMENTS: requirements_text(pins).encode()}
    return files | {f"{MODULES}/{each.path}": each.data for each in captured.files}


# ---------------------------------------------------------------- requirements


def requirements_text(pins: Iterable[Pin]) -> str:
    """Write requirements.txt: what is needed, and what that needs in the versions tried here.

    Raises:
        PublishFailed: One of them is in no package index, or says a login.
    """
    wanted = {each.name: each for each in pins}
    lines = {name: pinned(each) for name, each in wanted.items()}
    for name, version in with_needs(each for each in wanted.values() if is_installed(each)):
        if name not in lines and "+" not in version:
            lines[name] = f"{name}=={version}"
    head = "# Written by `away export`: what the function was tried with.\n"
    return head + "".join(f"{lines[name]}\n" for name in sorted(lines))


def pinned(pin: Pin) -> str:
    """Return a requirement as pip takes it, exact wherever a version is known."""
    if "+" in pin.version:
        raise refused(
            f"the requirement {printable(str(pin))} is a local version that no package index has;"
            " take another version, or a base_image= that has it"
        )
    if _LOGIN.search(pin.spec):
        raise refused(
            f"the requirement {printable(pin.name)} is an address with a login, which would stand in"
            " the project; take the login out, and give it to pip where it builds"
        )
    if pin.spec or pin.version:
        return pin.spec or f"{pin.name}=={pin.version}"
    version = installed_version(pin.name)
    return f"{pin.name}=={version}" if version else pin.name


def is_installed(pin: Pin) -> bool:
    """Tell whether what is installed here is what a pin asks for, so that its needs are known."""
    version = installed_version(pin.name)
    return version is not None and (version == pin.version or not (pin.version or pin.spec))


def installed_version(name: str) -> str | None:
    """Return the version of a distribution that is installed here."""
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# Needs of another system than the one that images have.
_ELSEWHERE = re.compile(r"""==\s*['"](?:win32|Windows|nt|darwin|Darwin|cygwin)['"]""")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def with_needs(pins: Iterable[Pin]) -> Iterator[tuple[str, str]]:
    """Give what distributions need in their turn, as it is installed here: names and versions."""
    import importlib.metadata

    todo, seen = [each.name for each in pins], set()
    while todo:
        name = normal_name(todo.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield name, found.version
        for need in found.requires or ():
            # Extras are left out: they would bring half of what is installed, test tools first.
            match = _NAME.match(need)
            if match and "extra ==" not in need and not _ELSEWHERE.search(need):
                todo.append(match.group())


# ---------------------------------------------------------------- refusals


def refuse_secrets(files: Mapping[str, bytes]) -> None:
    """Refuse to write a password or token that this process knows.

    Raises:
        PublishFailed: A file would hold one.
    """
    secrets = [each for each in known() if len(each) >= 8]
    # Away's own sources are everybody's: a password that is a word of theirs is no leak there.
    own = f"template/{TEMPLATE}/"
    for path, data in files.items():
        if not path.startswith(own) and holds_secret(data, secrets):
            raise refused(
                f"{printable(path)} would hold a password or token that this process knows{declared(data)};"
                " take it out of the function, or read it inside with away.secret('NAME')"
            )


def refused(message: str) -> PublishFailed:
    """Make the error of an export; nothing was written when it is raised."""
    return PublishFailed(message, step="export")

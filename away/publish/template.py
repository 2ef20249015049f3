"""The OpenFaaS template ``away-python3``: what faas-cli builds an exported function with.

Everything that a function of Away's needs beside itself, as plain files, so that the folder builds where
Away is not installed. The format is that of faas-cli: ``template/NAME`` is copied to ``build/FUNCTION``,
the function's folder into ``function`` below it, and ``docker build`` runs there
(https://docs.openfaas.com/languages/custom/).
"""

from __future__ import annotations

import re
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from away.exceptions import PublishFailed
from away.publish.layers import FUNCTION_FOLDER, LIBRARY_FOLDER, MODULES_FOLDER, REQUIREMENTS_FOLDER
from away.publish.parts import client_part, dill_part, runtime_part, yaml_part

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TEMPLATE", "plain_dockerfile", "template_files"]

TEMPLATE = "away-python3"
PAYLOAD = "payload.away"
REQUIREMENTS = "requirements.txt"

_DOCKERFILE = """\
# Written by `away export`: a function that Away packed, on an image that has Python.
# Build arguments, all of which stack.yml sets where they are needed:
#   BASE_IMAGE          an image with Python, and pip where the function has requirements
#   ADDITIONAL_PACKAGE  packages of the image's system, by apt-get, apk or dnf
#   DEV_BUILDING        anything to have compilers where requirements are installed
{heading}ARG BASE_IMAGE={base}
FROM ${{BASE_IMAGE}} AS system
ARG ADDITIONAL_PACKAGE
COPY {template}install.sh /tmp/away/
RUN if [ -n "$ADDITIONAL_PACKAGE" ]; then sh /tmp/away/install.sh $ADDITIONAL_PACKAGE; fi \\
 && rm -r /tmp/away

# Nothing of this stage is kept but the folder of requirements.
FROM system AS requirements
ARG DEV_BUILDING
{argument}COPY {template}install.sh {template}check.py {folder}/{payload} {folder}/{requirements} /tmp/away/
RUN python3 /tmp/away/check.py /tmp/away/{payload}
RUN if [ -n "$DEV_BUILDING" ]; then sh /tmp/away/install.sh --compilers; fi
RUN mkdir -p /{requirements_folder} \\
 && if grep -q '^[^#]' /tmp/away/{requirements}; then \\
      python3 -m pip install --no-cache-dir --disable-pip-version-check \\
        --target /{requirements_folder} --requirement /tmp/away/{requirements}; \\
    fi

FROM system
{argument}COPY {template}licences/ /opt/away/licences/
COPY {template}lib/ /{library}/
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /{library}
COPY --from=requirements /{requirements_folder} /{requirements_folder}
COPY {folder}/ /{function}/
ENV {environment}
EXPOSE 8080
ENTRYPOINT []
CMD {command}
# Made where the function has no module of its own.
WORKDIR /{modules}
"""

_INSTALL = """\
#!/bin/sh
# Install packages of this system: install.sh PACKAGE... or install.sh --compilers
set -eu
headers=$(python3 -c 'import os, sysconfig
path = os.path.join(sysconfig.get_path("include"), "Python.h")
print("" if os.path.exists(path) else "needed")' 2>/dev/null || true)
if command -v apt-get >/dev/null; then
  [ "$1" != --compilers ] || set -- gcc g++ make ${headers:+python3-dev}
  apt-get update
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
  rm -rf /var/lib/apt/lists/*
elif command -v apk >/dev/null; then
  [ "$1" != --compilers ] || set -- build-base ${headers:+python3-dev}
  apk add --no-cache "$@"
elif command -v dnf >/dev/null || command -v microdnf >/dev/null; then
  dnf=$(command -v dnf || command -v microdnf)
  [ "$1" != --compilers ] || set -- gcc gcc-c++ make ${headers:+python3-devel}
  "$dnf" install -y "$@"
  "$dnf" clean all
else
  echo "this image has neither apt-get nor apk nor dnf: build on one that has, by BASE_IMAGE" >&2
  exit 1
fi
"""

_CHECK = '''\
"""Refuse an image whose Python cannot run the function: check.py PAYLOAD."""

import json
import sys

with open(sys.argv[1], "rb") as file:
    wanted = json.loads(file.readline()).get("python") or ""
here = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11):
    sys.exit("this image has Python %s and functions of Away need 3.11 or later: set BASE_IMAGE" % here)
if wanted not in ("", here):
    sys.exit("the function is for Python %s and this image has %s: set BASE_IMAGE" % (wanted, here))
'''

_ABOUT = f"""\
language: {TEMPLATE}
handler_folder: function
welcome_message: |
  This template builds functions that `away export` wrote; it has no handler to begin with.
"""

# A package's licence by the names that its files have.
_LICENCE = re.compile(r"(LICEN[CS]E|COPYING|NOTICE)", re.IGNORECASE)


def template_files(base: str, settings: Mapping[str, str], command: str) -> dict[str, bytes]:
    """Return the template's files by their paths in its folder.

    Args:
        base: The image to stand on where nothing else is said.
        settings: The environment of every function.
        command: What runs, as a Dockerfile's CMD has it.

    Raises:
        PublishFailed: A package that goes along is not installed here with its licence.
    """
    texts = {
        "template.yml": _ABOUT,
        "Dockerfile": dockerfile_text(base, settings, command, folder="function"),
        "install.sh": _INSTALL,
        "check.py": _CHECK,
    }
    files = {path: text.encode() for path, text in texts.items()}
    # The client goes along for all: which functions of a project call others may change.
    for part in (runtime_part(), yaml_part(), dill_part(), client_part()):
        files |= {f"lib/{path}": data for path, data in part.files}
    for distribution, package in (("away", "away"), ("PyYAML", "yaml"), ("dill", "dill")):
        files |= licences(distribution, package)
    return files


def plain_dockerfile(base: str, settings: Mapping[str, str], command: str, function: str) -> str:
    """Write the Dockerfile that builds in the project's own folder, where faas-cli copies nothing.

    Args:
        base: The image to stand on where nothing else is said.
        settings: The environment of every function.
        command: What runs, as a Dockerfile's CMD has it.
        function: The folder of the function that is built where no other is named.
    """
    heading = "#   FUNCTION            the folder of the function that is built\n"
    return dockerfile_text(
        base,
        settings,
        command,
        folder="${FUNCTION}",
        template=f"template/{TEMPLATE}/",
        argument=f"ARG FUNCTION={function}\n",
        heading=heading,
    )


def dockerfile_text(
    base: str,
    settings: Mapping[str, str],
    command: str,
    *,
    folder: str,
    template: str = "",
    argument: str = "",
    heading: str = "",
) -> str:
    """Write the Dockerfile for a function's and the template's files at some places."""
    return _DOCKERFILE.format(
        base=base,
        payload=PAYLOAD,
        requirements=REQUIREMENTS,
        requirements_folder=REQUIREMENTS_FOLDER,
        library=LIBRARY_FOLDER,
        function=FUNCTION_FOLDER,
        modules=MODULES_FOLDER,
        environment=" \\\n    ".join(f'{key}="{text}"' for key, text in sorted(settings.items())),
        command=command,
        folder=folder,
        template=template,
        argument=argument,
        heading=heading,
    )


def licences(distribution: str, package: str) -> dict[str, bytes]:
    """Return a distribution's licences, with which its files have to be passed on.

    Raises:
        PublishFailed: It has none that could be found.
    """
    import importlib.metadata

    found: dict[str, bytes] = {}
    try:
        listed = importlib.metadata.distribution(distribution).files or []
    except importlib.metadata.PackageNotFoundError:
        listed = []
    for each in listed:
        path = Path(str(each.locate()))
        if _LICENCE.match(each.name) and path.is_file():
            found[f"licences/{distribution}/{each.name}"] = path.read_bytes()
    near = beside(package) if not found else None
    if near is not None:
        found[f"licences/{distribution}/{near.name}"] = near.read_bytes()
    if not found:
        raise PublishFailed(
            f"the licence of {distribution} goes along with its files and is not installed here;"
            f" install {distribution} by pip",
            step="export",
        )
    return found


def beside(package: str) -> Path | None:
    """Return the licence that lies beside a package's folder, as in a project's own."""
    spec = PathFinder.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent.parent
    return next((each for each in sorted(root.glob("LICEN[CS]E*")) if each.is_file()), None)

"""The README.md of an exported project: how its functions are built and deployed, to copy.

Pure: the entries of ``stack.yml`` come in, text goes out.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["readme_text"]

_HEAD = """\
# Functions for OpenFaaS

Written by `away export`, which replaces this file. Away is not needed to build what is here; docker is,
and faas-cli.

## With faas-cli

```sh
faas-cli login --gateway {gateway}        # --username and --password-stdin, as your gateway asks
faas-cli up -f stack.yml{padding}          # builds, pushes and deploys all of them
```

The push needs `docker login` where the registry asks for one, and the cluster a login of its own for
the pull: `faas-cli registry-login` with faasd, an image pull secret with Kubernetes.
{secrets}
## With docker alone

The Dockerfile beside this file builds one function of the folder, without faas-cli's template:

```sh
{builds}
```

`faas-cli deploy -f stack.yml` then deploys what was pushed, with the annotations by which it is imported.

## Requirements

`NAME/requirements.txt` has what a function was tried with, in exact versions. pip installs them as the
image is built, so BASE_IMAGE needs pip where that file lists anything; for what has no wheel,
`--build-arg DEV_BUILDING=1` installs compilers for that step. The Python of BASE_IMAGE has to be the
one that the function was exported with, or the build says so.
"""

_SECRETS = """
The gateway has to have these secrets first (`faas-cli secret create NAME --from-file FILE`):
{names}.
"""


def readme_text(gateway: str, functions: Mapping[str, Any]) -> str:
    """Write the file.

    Args:
        gateway: The gateway's URL.
        functions: The entries of ``stack.yml`` by the functions' names.
    """
    names = sorted({str(each) for entry in functions.values() for each in entry.get("secrets", ())})
    builds = [line for _, entry in sorted(functions.items()) for line in build_lines(entry)]
    return _HEAD.format(
        gateway=shlex.quote(gateway),
        padding=" " * (len(shlex.quote(gateway)) - 1),
        secrets=_SECRETS.format(names=", ".join(f"`{each}`" for each in names)) if names else "",
        builds="\n".join(builds),
    )


def build_lines(entry: Mapping[str, Any]) -> list[str]:
    """Return the commands that build and push one function."""
    folder = str(entry.get("handler", "")).removeprefix("./").rstrip("/")
    image = shlex.quote(str(entry.get("image", "")))
    arguments = {"FUNCTION": folder, **entry.get("build_args", {})}
    words = [f"  --build-arg {shlex.quote(f'{key}={text}')} \\" for key, text in arguments.items()]
    return ["docker build \\", *words, f"  --tag {image} .", f"docker push {image}"]

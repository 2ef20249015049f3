"""Who this user is at a registry, as ``docker login`` keeps it, for the engine's pulls.

Read anew at each pull from ``config.json`` in DOCKER_CONFIG or ``~/.docker``: a credential helper for
the registry, else the store of all, else what the file itself has (docker/cli, "config.json"). What
cannot be read is as good as none: the registry then says that it wants a password.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
from pathlib import Path
from typing import Any

__all__ = ["credentials_for"]

# The name under which Docker keeps what is for Docker Hub.
HUB = "https://index.docker.io/v1/"
# What a helper may take: some ask their user.
HELPER_SECONDS = 30.0
# A helper is a program of this name's end on the path; a slash would make it any file.
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# By this user name a helper says that it has a token.
TOKEN = "<token>"  # noqa: S105 - no token, the word for one


async def credentials_for(host: str) -> dict[str, str] | None:
    """Return what the engine is to say at a registry, or None where nothing is kept for it.

    Args:
        host: The registry's host, with its port if it has one.
    """
    settings = await asyncio.to_thread(_settings)
    name = HUB if host == "docker.io" else host
    helper = _part(settings, "credHelpers").get(name) or settings.get("credsStore")
    usable = isinstance(helper, str) and _HELPER.fullmatch(helper) is not None
    if usable and (found := await _ask(str(helper), name)):
        return found
    auths = _part(settings, "auths")
    # Older versions of Docker wrote the scheme and the path as well.
    kept = auths.get(name) or auths.get(f"https://{name}") or auths.get(f"https://{name}/v1/")
    return _kept(kept) if isinstance(kept, dict) else None


def _settings() -> dict[str, Any]:
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        found = json.loads(Path(folder, "config.json").read_bytes())
    except (OSError, ValueError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _kept(fields: dict[str, Any]) -> dict[str, str] | None:
    token = fields.get("identitytoken")
    if isinstance(token, str) and token:
        return {"identitytoken": token}
    try:
        text = base64.b64decode(str(fields.get("auth") or ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    return {"username": user, "password": password.strip("\0")} if colon else None


async def _ask(helper: str, name: str) -> dict[str, str] | None:
    """Ask a helper by its protocol (docker/docker-credential-helpers): the name in, JSON out."""
    try:
        process = await asyncio.create_subprocess_exec(
            f"docker-credential-{helper}",
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(HELPER_SECONDS):
            answer, _ = await process.communicate(name.encode())
        found = json.loads(answer)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (TimeoutError, OSError, ValueError, KeyError, TypeError):
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if user == TOKEN:
        return {"identitytoken": secret}
    return {"username": user, "password": secret} if secret else None

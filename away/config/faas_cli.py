"""What ``faas-cli login`` stored: credentials by URL, in its config.yml.

The file is ``$OPENFAAS_CONFIG/config.yml`` or else ``~/.openfaas/config.yml``; with CI=true or CI=1
the CLI writes ``./.openfaas/config.yml`` instead (faas-cli, config/config_file.go). Where CI is set
both are looked at, since the log-in may be older than the variable. The file names no gateway.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from away.config.files import home, remembered
from away.config.secret import Login, Secret
from away.config.settings import USER
from away.config.urls import parse_url
from away.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.config.urls import GatewayURL

__all__ = ["config_files", "logged_in"]


def config_files(environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """List where faas-cli may have stored log-ins, the place that it would use itself first."""
    folders = []
    if chosen := environ.get("OPENFAAS_CONFIG"):
        folders.append(cwd / _expand(chosen, environ))
    if environ.get("CI") in ("true", "1"):
        folders.append(cwd / ".openfaas")
    if not chosen and (at_home := home(environ)):
        folders.append(at_home / ".openfaas")
    return [folder / "config.yml" for folder in folders]


def logged_in(url: GatewayURL, environ: Mapping[str, str], cwd: Path) -> Login | None:
    """Return what faas-cli stored for exactly a URL.

    Raises:
        ConfigError: A config.yml cannot be read, or its entry for the URL makes no sense.
    """
    for path in config_files(environ, cwd):
        entries = remembered(path, lambda data, path=path: _parse(path, data))  # type: ignore[misc]
        for entry in entries or ():
            if _is_for(entry, url):
                return _read_entry(entry, f"{path} of faas-cli")
    return None


def _expand(text: str, environ: Mapping[str, str]) -> Path:
    folder = home(environ)
    return folder / text[2:] if text.startswith("~/") and folder else Path(text)


def _parse(path: Path, data: bytes) -> list[dict[str, Any]]:
    import yaml

    # The C loader where PyYAML was built with it: twenty times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # A safe loader of PyYAML's, whichever of the two.
        content = yaml.load(data, Loader=loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path}{line} is not YAML: {error.problem}; log in anew") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise ConfigError(f"{path} is not YAML; log in anew with faas-cli login") from None
    auths = content.get("auths") if isinstance(content, dict) else None
    return (
        [each for each in auths or () if isinstance(each, dict)] if isinstance(auths, list) else []
    )


def _is_for(entry: dict[str, Any], url: GatewayURL) -> bool:
    try:
        return parse_url(entry.get("gateway", "")).place == url.place
    except ConfigError:
        return False


def _read_entry(entry: dict[str, Any], where: str) -> Login | None:
    auth, token = entry.get("auth", "basic"), entry.get("token")
    if not isinstance(token, str) or not token:
        return None
    if auth == "oauth2":
        return Login("token", Secret(token), where, USER, looked_up=True)
    if auth != "basic":
        return None
    import base64
    import binascii

    try:
        user, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise ConfigError(
            f"{where} holds a log-in that cannot be read for gateway {entry['gateway']};"
            " log in anew with faas-cli login"
        ) from None
    return Login("password", Secret(password), where, USER, user, looked_up=True)

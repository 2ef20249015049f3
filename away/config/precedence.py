"""Several sources, one gateway: what a later source says beats what an earlier one said.

Credentials belong to the source that gave the URL. What binds the two:

- A source that names another scheme, host or port drops the earlier credentials (and CA bundle).
- Credentials without a URL beside them are for the gateway as it is without the project's file: one
  that moves it to another server is an error. Where there would be no such gateway, a password in
  the environment is for the project's, and one in the user's file, which names a server of theirs
  that it does not tell, is an error. Silence would send a password to a server that the project
  chose, or a call without one.
- A project's CA bundle does not decide who gets credentials of the user's, whoever named the URL.
- A project's file names no file outside its folder, symbolic links followed, and no environment
  variable but those that begin with AWAY_ and are not Away's own. Whoever sets such a variable sets
  it for projects to ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.config.files import home, read_secret
from away.config.secret import Login, Secret
from away.config.settings import (
    CREDENTIALS,
    KEYS,
    PROJECT,
    SECRETS,
    Setting,
    Source,
    check,
)
from away.config.urls import GatewayURL, parse_url
from away.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "check_ca_bundle",
    "find_file",
    "gather",
    "login",
    "overlay",
    "refuse_a_projects_word",
    "refuse_addresses_of_a_project",
    "refuse_secrets_for_a_project",
    "refuse_two_secrets",
    "refuse_values_for_a_project",
    "url_of",
]

_FOR_PROJECTS = "AWAY_"
# Read by Away itself: another gateway's password, and the registries' to come.
_NOT_FOR_PROJECTS = ("AWAY_GATEWAY_", "AWAY_REGISTRY_")


def gather(name: str, sources: Iterable[Source]) -> dict[str, Setting]:
    """Return a gateway's settings by key, the latest source's each.

    Args:
        name: The gateway.
        sources: The earliest, weakest one first.

    Raises:
        ConfigError: A URL that is none, two secrets in one source, or secrets and a URL of sources
            that do not belong together.
    """
    merged: dict[str, Setting] = {}
    own_url: Setting | None = None
    for source in sources:
        given = source.gateways.get(name)
        if not given:
            continue
        refuse_two_secrets(name, given)
        url = given.get("url")
        if url is not None and url.trust == PROJECT:
            _refuse_a_server_for(name, merged, url)
        if url is not None and url.trust != PROJECT:
            own_url = url
        if url is None and own_url is not None:
            _refuse_a_moved_server(name, given, own_url, merged["url"])
        merged = overlay(name, merged, given)
    return merged


def overlay(
    name: str, before: Mapping[str, Setting], given: Mapping[str, Setting]
) -> dict[str, Setting]:
    """Lay what a later source gives over what earlier ones gave."""
    dropped: set[str] = set()
    both = "url" in given and "url" in before
    if both and url_of(name, given).server != url_of(name, before).server:
        dropped.update(CREDENTIALS)
    if _secrets_in(given):
        dropped.update(SECRETS)
    return {key: each for key, each in before.items() if key not in dropped} | dict(given)


def url_of(name: str, settings: Mapping[str, Setting]) -> GatewayURL:
    """Return the URL among a gateway's settings, where there is one."""
    return parse_url(str(check("url", settings["url"], name)))


def login(name: str, settings: Mapping[str, Setting], environ: Mapping[str, str]) -> Login | None:
    """Return the secret among a gateway's settings, from the file or variable that they name.

    Raises:
        ConfigError: The file or variable is not there, or a project's file may not name it.
    """
    for key in _secrets_in(settings):
        setting = settings[key]
        field, _, way = key.partition("_")
        value = check(key, setting, name)
        where = setting.where
        if way == "file":
            meaning = f"{key} of gateway {name!r} ({where})"
            value = Secret(read_secret(find_file(name, key, setting, environ), meaning))
        elif way == "env":
            where = f"environment {value}, named by {where}"
            value = _read_variable(name, key, setting, environ)
        assert isinstance(value, Secret), "a secret is checked to be one"
        return Login(field, value, where, setting.trust)
    return None


def find_file(name: str, key: str, setting: Setting, environ: Mapping[str, str]) -> Path:
    """Return the path of a file that a setting names, absolute.

    Raises:
        ConfigError: A project's file names a file outside the project's folder.
    """
    # Files that options of publishing name have been checked as what they are.
    text = str(check(key, setting, name) if key in KEYS else setting.value)
    at_home = home(environ)
    if text.startswith("~/") and at_home:
        path = at_home / text[2:]
    else:
        path = setting.folder / text
    if setting.trust != PROJECT:
        return path
    try:
        real = path.resolve()
        inside = real.is_relative_to(setting.folder.resolve())
    except (OSError, RuntimeError):
        # A loop of symbolic links leads nowhere, so not into the project either.
        inside = False
    if not inside:
        raise ConfigError(
            f"{key} of gateway {name!r} names a file outside {setting.folder}, and a project's file"
            f" can name only files of its own; name it in your own config.toml or in the"
            f" environment ({setting.where})"
        )
    return real


def check_ca_bundle(
    name: str,
    settings: Mapping[str, Setting],
    found: Login | None,
    environ: Mapping[str, str],
) -> Path | None:
    """Return the path of the CA bundle, if there is one.

    Args:
        name: The gateway.
        settings: Its settings.
        found: The secret that it will be sent.
        environ: The environment.

    Raises:
        ConfigError: It is no file, or a project's file chose it for the user's credentials.
    """
    setting = settings.get("ca_bundle")
    if setting is None:
        return None
    path = find_file(name, "ca_bundle", setting, environ)
    if not path.is_file():
        raise ConfigError(
            f"ca_bundle of gateway {name!r} names {path}, which is not there or no file"
            f" ({setting.where})"
        )
    if found is not None and found.trust != PROJECT and setting.trust == PROJECT:
        raise ConfigError(
            f"ca_bundle of gateway {name!r} comes from the project ({setting.where}) and would"
            f" decide who is sent the {found.field} from {found.where}; set the ca_bundle there,"
            f" or AWAY_GATEWAY_{name.upper()}_CA_BUNDLE"
        )
    return path


def refuse_two_secrets(name: str, given: Mapping[str, Setting]) -> None:
    """Refuse a source that gives more than one secret, since only one can be sent."""
    keys = _secrets_in(given)
    if len(keys) > 1:
        both = " and ".join(f"{key} ({given[key].where})" for key in keys[:2])
        raise ConfigError(f"gateway {name!r} has two secrets, {both}; give one of them")


def refuse_a_projects_word(name: str, key: str, settings: Mapping[str, Setting]) -> None:
    """Refuse a setting that decides how the user's credentials travel, from a project's file.

    Raises:
        ConfigError: A project's file gives it.
    """
    setting = settings.get(key)
    if setting is not None and setting.trust == PROJECT:
        raise ConfigError(
            f"{key} of gateway {name!r} comes from the project and would let passwords travel in"
            f" clear; set it in your own config.toml, or AWAY_GATEWAY_{name.upper()}_{key.upper()}"
            f" ({setting.where})"
        )


def refuse_secrets_for_a_project(
    name: str, secrets: Setting, settings: Mapping[str, Setting]
) -> None:
    """Refuse to create the user's secrets at a server that a project's file chose.

    Raises:
        ConfigError: It would do so.
    """
    url = settings.get("url")
    has_files = isinstance(secrets.value, dict)
    if has_files and secrets.trust != PROJECT and url is not None and url.trust == PROJECT:
        raise ConfigError(
            f"secrets of gateway {name!r} ({secrets.where}) would be created at the server that the"
            f" project chose ({url.where}); write the url beside them"
        )


def refuse_values_for_a_project(
    name: str, options: Mapping[str, Setting], settings: Mapping[str, Setting]
) -> None:
    """Refuse to send the user's variables, labels and annotations to a server that a project chose.

    Args:
        name: The gateway.
        options: What one source says of publishing there.
        settings: The gateway's settings.

    Raises:
        ConfigError: It would do so.
    """
    url = settings.get("url")
    if url is None or url.trust != PROJECT:
        return
    for key in ("env", "labels", "annotations"):
        if key in options and options[key].trust != PROJECT:
            raise ConfigError(
                f"{key} of gateway {name!r} ({options[key].where}) would be sent to the server that"
                f" the project chose ({url.where}); write the url beside it"
            )


def refuse_addresses_of_a_project(name: str, key: str, setting: Setting) -> None:
    """Refuse a requirement with an address from a project's file: this machine would fetch from there.

    Raises:
        ConfigError: There is one.
    """
    if setting.trust != PROJECT or key != "requirements" or not isinstance(setting.value, tuple):
        return
    if any("@" in each or "://" in each for each in setting.value):
        raise ConfigError(
            f"requirements of gateway {name!r} come from the project and have an address, which only"
            f" code and your own config.toml can give; write 'NAME==VERSION' ({setting.where})"
        )


def _secrets_in(settings: Mapping[str, Setting]) -> list[str]:
    return [key for key in SECRETS if key in settings]


def _refuse_a_server_for(name: str, before: Mapping[str, Setting], url: Setting) -> None:
    """Refuse a project's URL for a secret of the user's that has none."""
    keys = _secrets_in(before)
    if keys and "url" not in before:
        raise ConfigError(
            f"{keys[0]} of gateway {name!r} stands without a url ({before[keys[0]].where}), and the"
            f" project would choose who is sent it ({url.where}); write the url beside it"
        )


def _refuse_a_moved_server(
    name: str, given: Mapping[str, Setting], own: Setting, now: Setting
) -> None:
    """Refuse a secret without a URL where a project moved the gateway from where it was."""
    keys = _secrets_in(given)
    if not keys or now.trust != PROJECT or given[keys[0]].trust == PROJECT:
        return
    before, after = url_of(name, {"url": own}), url_of(name, {"url": now})
    if before.server != after.server:
        raise ConfigError(
            f"{keys[0]} of gateway {name!r} ({given[keys[0]].where}) could be meant for {before}"
            f" ({own.where}) or for {after} ({now.where}); give the url beside it"
        )


def _read_variable(name: str, key: str, setting: Setting, environ: Mapping[str, str]) -> Secret:
    variable = str(check(key, setting, name))
    allowed = variable.startswith(_FOR_PROJECTS) and not variable.startswith(_NOT_FOR_PROJECTS)
    if setting.trust == PROJECT and not allowed:
        raise ConfigError(
            f"{key} of gateway {name!r} names a variable that a project's file cannot ask for: only"
            f" those that begin with {_FOR_PROJECTS}, without"
            f" {' and '.join(_NOT_FOR_PROJECTS)} ({setting.where})"
        )
    text = environ.get(variable)
    if not text:
        # Somebody may have put the password itself there.
        shown = (
            f"the environment variable {variable}, which"
            if variable.isupper()
            else ("an environment variable that")
        )
        raise ConfigError(f"{key} of gateway {name!r} names {shown} is not set ({setting.where})")
    return Secret(text)

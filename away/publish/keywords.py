"""From keywords and files of configuration to options: what was said where, and what counts.

What stands in the code that publishes is strongest, then what a file says of the function, then what it
says of the gateway. Mappings add up key by key; of anything else the strongest counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from away.capture.declared_secrets import know_file
from away.exceptions import AwayError, ConfigError, NameRefused
from away.names import function_name, nearest
from away.publish.deployment import check_options
from away.publish.option_types import check_types, paths, texts
from away.publish.options import Options
from away.publish.secret_values import sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from away.config.secret import Secret
    from away.connection import FaasConnection

__all__ = ["know_secrets", "options_for", "read_options"]

# Options that the project of 2023 had, and what has come of each.
GONE = {
    "server_pack_args": "is not needed any more: results travel by protocol, or see safe_args=",
    "server_unpack_args": "is not needed any more: arguments travel by protocol, or see safe_args=",
}
# Options that are one text or several, and those that are a mapping.
TEXTS = ("requirements", "module_imports", "system_packages", "secrets", "constraints")
MAPPINGS = ("env", "labels", "annotations", "limits", "requests")


def options_for(
    function: Callable[..., Any],
    connection: FaasConnection,
    given: Mapping[str, Any],
    *,
    values: bool = True,
) -> Options:
    """Make the options of one function's publish: the keywords, over what is configured for it.

    Args:
        function: The function.
        connection: The gateway; one that was made by name has configured options.
        given: The keywords.
        values: False to leave the values of secrets unread.

    Raises:
        TypeError: A keyword is unknown, or of a wrong type.
        ConfigError: What is configured, or a secret's file, cannot be used.
    """
    check_keywords(given)
    if connection.name is None:
        return read_options(given, values=values, function=function)
    from away.config import publish_options, secret_files

    try:
        name = function_name(str(given.get("name") or getattr(function, "__name__", "")))
    except NameRefused:
        name = ""  # capture says what it needs
    if values:
        # Those of other functions too: their files may lie among what this one packs.
        for secret, file in secret_files(connection.name).items():
            know_file(file, secret)
    configured = publish_options(connection.name, name)
    for key, setting in configured.items():
        check_configured(key, setting.value, setting.where)
    merged: dict[str, Any] = {key: each.value for key, each in configured.items()}
    for key, value in given.items():
        if value is None:
            continue
        both = key in MAPPINGS and isinstance(value, Mapping)
        merged[key] = {**merged.get(key, {}), **value} if both else value
    return read_options(merged, values=values, function=function)


def know_secrets(
    publishes: Iterable[tuple[Callable[..., Any], FaasConnection, Mapping[str, Any]]],
) -> None:
    """Read the secrets of several publishes, so that all are known before one of them is captured.

    What is wrong with the options of one is said when its turn comes.

    Args:
        publishes: The functions, each with its gateway and its keywords.
    """
    for function, connection, given in publishes:
        stated = {key: value for key, value in given.items() if key != "verbose"}
        with contextlib.suppress(Exception):
            options_for(function, connection, stated)


def check_configured(key: str, value: Any, where: str) -> None:
    """Check a configured option by itself, so that what is wrong with it names file and line.

    Raises:
        ConfigError: No publish could use it.
    """
    if key == "secrets":
        return  # its files are read when it is clear that they are wanted
    try:
        check_options(Options(**{key: value}))
    except AwayError as error:
        raise ConfigError(f"{error} ({where})") from None


def check_keywords(given: Mapping[str, Any]) -> None:
    """Refuse an unknown keyword as any call does, with the nearest one.

    Raises:
        TypeError: There is one.
    """
    unknown = [key for key in given if key not in Options._fields]
    if unknown:
        near = nearest(unknown[0], Options._fields, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if unknown[0] in GONE:
            hint = f", which {GONE[unknown[0]]}"
        raise TypeError(f"publish() got an unexpected keyword argument '{unknown[0]}'{hint}")


def read_options(
    given: Mapping[str, Any],
    *,
    values: bool = True,
    function: Callable[..., Any] | None = None,
) -> Options:
    """Make options of keywords; an unknown one is the TypeError of any call.

    A decorator's keywords may say None where they mean the default. Secrets are read here, and known
    as such from then on, before anything of the function is looked at.

    Args:
        given: The keywords.
        values: False to leave the values of secrets unread, where only their names count.
        function: The function, whose folder the paths of secrets' files start from.

    Raises:
        TypeError: A keyword is unknown, or of a wrong type.
        PublishFailed: A number of seconds or calls is none.
        ConfigError: A secret's file cannot be used, or ``registry_auth`` is no login.
    """

    def folder() -> Path:
        from away.capture.included import place_of

        return place_of(function).folder if function is not None else Path.cwd()

    check_keywords(given)
    check_types(given)
    stated = {key: value for key, value in given.items() if value is not None}
    for key in TEXTS:
        if key in stated and not (key == "secrets" and isinstance(stated[key], Mapping)):
            stated[key] = texts(key, stated[key])
    if "include" in stated:
        stated["include"] = paths("include", stated["include"])
    if "secrets" in stated:
        given_secrets = stated["secrets"]
        stated["secrets"] = sealed(given_secrets, folder) if values else tuple(given_secrets)
    if "registry_auth" in stated:
        stated["registry_auth"] = login(stated["registry_auth"])
    return Options(**stated)


def login(given: object) -> tuple[str, Secret]:
    """Take a user and password apart and hide the password.

    Raises:
        ConfigError: It is neither a pair of texts nor ``USER:PASSWORD``.
    """
    from away.config.secret import Secret

    user, password = "", ""
    if isinstance(given, str):
        user, _, password = given.partition(":")
    elif isinstance(given, tuple | list) and len(given) == 2:
        user, password = given
    if not (isinstance(user, str) and isinstance(password, str | Secret) and user and password):
        raise ConfigError("registry_auth is a pair of user and password, or 'USER:PASSWORD'")
    return user, password if isinstance(password, Secret) else Secret(password)

"""Which gateways there are, where each value came from, and what opens them.

Sources, later beats earlier:

1. the user's ``away/config.toml``, in the platform's folder for configuration: ``[gateways.NAME]``;
2. the nearest project's ``pyproject.toml``, ``[tool.away.gateways.NAME]``, then its ``away.toml``,
   ``[gateways.NAME]`` (:mod:`away.config.toml_sources` says what nearest means);
3. the environment: ``AWAY_GATEWAY_<NAME>_<KEY>``, and OPENFAAS_URL for the gateway ``default``;
4. :func:`configure`, in the running program.

A project's file may name the URL and the environment the password: whoever exports
``AWAY_GATEWAY_<NAME>_PASSWORD`` alone gives it to the server that the project around the working
folder names for NAME. ``AWAY_GATEWAY_<NAME>_URL`` beside it settles where it goes.

Before all of them stands what ``faas-cli login`` stored: it names no gateway, and gives credentials
to a URL that no other source gives some. ``default`` without a URL is the running embedded gateway,
else http://127.0.0.1:8080; ``local`` is always the running embedded gateway.

The keys are url, user, password, password_file, password_env, token, token_file, token_env,
timeout, connect_timeout, ca_bundle, registry, inside_registry, insecure_registries, base_image,
image_builder, namespace, inside_url, catalogue and catalogue_max_age; ``AWAY_CATALOGUE`` and
``AWAY_CATALOGUE_MAX_AGE`` say the last two of all gateways, over what files say of one.
``[gateways.NAME.publish]`` has options for all that is published there,
``[gateways.NAME.functions.FUNCTION]`` those of one function.
``[mounts]`` names modules of the user's own that stand for a gateway's functions.
:mod:`away.config.precedence` says which credentials go with which URL.

This room must not know how a gateway is spoken to.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from away.config.files import forget_files
from away.config.precedence import overlay, refuse_two_secrets
from away.config.reading import GatewayConfig, Reading
from away.config.secret import Secret
from away.config.settings import USER, Setting, Source, check, check_name, suggestion
from away.config.urls import normal_url, parse_url
from away.exceptions import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from typing import Never

    from away.config.mount_settings import MountSettings
    from away.config.secret import Login

__all__ = [
    "GatewayConfig",
    "Secret",
    "configure",
    "configured",
    "credentials_for",
    "forget",
    "invalidate",
    "mounts",
    "names",
    "normal_url",
    "publish_options",
    "publish_sections",
    "resolve",
    "secret_files",
]

# What configure() was told, by name and key.
_told: dict[str, dict[str, Setting]] = {}
_told_lock = threading.Lock()


def resolve(
    name: str,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> GatewayConfig:
    """Return a gateway's configuration.

    Args:
        name: Its name; ``local`` is the running embedded gateway.
        environ: The environment, if not this process's.
        cwd: The working folder, if not this process's.

    Raises:
        UnknownGateway: No source configures it; the message names the nearest known one.
        ConfigError: What a source says cannot be used; the message names the source and its line.
    """
    return _read(environ, cwd).resolve(name)


def configured(
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> list[GatewayConfig]:
    """Return all gateways by name, ``default`` and a running ``local`` among them.

    A secret that cannot be read is none, and its origin says why: one missing file does not hide
    the other gateways.

    Raises:
        ConfigError: What a source says cannot be used otherwise.
    """
    reading = _read(environ, cwd)
    return [reading.resolve(name, strict=False) for name in reading.names()]


def names(
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Return the names of all gateways, sorted, without a look at their values."""
    return _read(environ, cwd).names()


def credentials_for(
    url: str,
    *,
    user: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> tuple[str, Secret] | None:
    """Return the user and password that some source holds for exactly a URL, or None.

    The running embedded gateway is asked first, since it cannot be mistaken about its own password;
    then the named gateways, the latest source's first; then the log-ins of faas-cli.

    Args:
        url: The gateway's URL; localhost is 127.0.0.1.
        user: Only this user's.
        environ: The environment, if not this process's.
        cwd: The working folder, if not this process's.

    Raises:
        ConfigError: The URL is none, or a file of configuration cannot be read.
    """
    found = login_at(url, user=user, environ=environ, cwd=cwd)
    return (found.user, found.secret) if found and found.field == "password" else None


def login_at(
    url: str,
    *,
    user: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> Login | None:
    """Return what :func:`credentials_for` returns, token or password, with its origin."""
    return _read(environ, cwd).look_up(parse_url(url), user)


def configure(
    name: str,
    *,
    url: str | None = None,
    user: str | None = None,
    password: str | int | Secret | None = None,
    password_file: str | os.PathLike[str] | None = None,
    token: str | Secret | None = None,
    token_file: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
    connect_timeout: float | None = None,
    ca_bundle: str | os.PathLike[str] | None = None,
    registry: str | None = None,
    inside_registry: str | None = None,
    insecure_registries: Iterable[str] | None = None,
    base_image: str | None = None,
    image_builder: str | None = None,
    namespace: str | None = None,
    inside_url: str | None = None,
    catalogue: str | None = None,
    catalogue_max_age: float | None = None,
    **unknown: Never,
) -> None:
    """Configure a gateway in this process, stronger than any other source.

    A further call adds to earlier ones; one that names another server drops their credentials.

    Args:
        name: The gateway's name, an identifier in lower case.
        url: Where it is, with http:// or https://.
        user: Whom the password belongs to; ``admin`` if nothing says otherwise.
        password: The password itself; a number is taken as text.
        password_file: A file that holds it.
        token: A bearer token, instead of a password.
        token_file: A file that holds it.
        timeout: Seconds that a whole call may take.
        connect_timeout: Seconds that connecting may take.
        ca_bundle: A file of certificates to trust for https.
        registry: Where published images go, such as ``ghcr.io/me``.
        inside_registry: The same registry as the gateway pulls from it, where that differs.
        insecure_registries: Registries that are spoken to by plain http.
        base_image: What published images stand on.
        image_builder: Who makes images, ``registry`` or ``docker``.
        namespace: Where its functions are.
        inside_url: The gateway's URL as its functions reach it.
        catalogue: Which list of functions imports believe: ``cached``, ``fresh`` or ``auto``.
        catalogue_max_age: Seconds for which ``auto`` believes a list that is kept on disk.
        unknown: Nothing; a misspelt name is told the nearest one.

    Raises:
        ConfigError: The name or a value is not one that a gateway can have.
    """
    where = f"configure({name!r})"
    check_name(name, where)
    values = {
        "url": url,
        "user": user,
        "password": password,
        "password_file": password_file,
        "token": token,
        "token_file": token_file,
        "timeout": timeout,
        "connect_timeout": connect_timeout,
        "ca_bundle": ca_bundle,
        "registry": registry,
        "inside_registry": inside_registry,
        "insecure_registries": _listed(insecure_registries),
        "base_image": base_image,
        "image_builder": image_builder,
        "namespace": namespace,
        "inside_url": inside_url,
        "catalogue": catalogue,
        "catalogue_max_age": catalogue_max_age,
    }
    for key in unknown:
        raise ConfigError(f"{where} knows no {key}=; {suggestion(key, values)}")
    given: dict[str, Setting] = {}
    for key, value in values.items():
        if value is not None:
            setting = Setting(value, where, USER, Path().absolute())
            given[key] = setting._replace(value=check(key, setting, name))
    if not given:
        raise ConfigError(f"{where} sets nothing; give url=, or forget({name!r})")
    refuse_two_secrets(name, given)
    with _told_lock:
        _told[name] = overlay(name, _told.get(name, {}), given)


def _listed(given: Iterable[str] | None) -> object:
    return given if given is None or isinstance(given, str) else list(given)


def mounts(
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> list[MountSettings]:
    """Return what the files say is mounted, by name; see :func:`away.hooks.mount_configured`.

    Raises:
        ConfigError: What a file says of a mount cannot be used.
    """
    return _read(environ, cwd).mounts()


def publish_options(
    name: str,
    function: str,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> dict[str, Setting]:
    """Return the options that are configured for publishing a function, with where each stands.

    Args:
        name: The gateway.
        function: The function's name there.
        environ: The environment, if not this process's.
        cwd: The working folder, if not this process's.

    Raises:
        ConfigError: A value cannot be used, or a project's file would send a secret elsewhere.
    """
    return _read(environ, cwd).publish_options(name, function)


def secret_files(
    name: str,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> dict[str, Path]:
    """Return the files that secrets of any function of a gateway are made of, by the secrets' names.

    Args:
        name: The gateway.
        environ: The environment, if not this process's.
        cwd: The working folder, if not this process's.
    """
    return _read(environ, cwd).secret_files(name)


def publish_sections(
    name: str,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> dict[str, str]:
    """Return the functions of a gateway that options of publishing are configured for, and where.

    Args:
        name: The gateway.
        environ: The environment, if not this process's.
        cwd: The working folder, if not this process's.
    """
    return _read(environ, cwd).publish_sections(name)


def forget(name: str) -> None:
    """Forget what :func:`configure` was told of a gateway."""
    with _told_lock:
        _told.pop(name, None)


def invalidate() -> None:
    """Read every file of configuration anew the next time, even if it looks unchanged."""
    forget_files()


def _read(environ: Mapping[str, str] | None, cwd: str | os.PathLike[str] | None) -> Reading:
    with _told_lock:
        told = dict(_told)
    return Reading(Source(told, {name: f"configure({name!r})" for name in told}), environ, cwd)

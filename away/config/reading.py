"""One reading of all sources: the gateways as they stand at one moment, each with its origins."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from away.config.call_settings import CallSettings, joined
from away.config.environment import PREFIX, environment_source, said_of_all
from away.config.faas_cli import logged_in
from away.config.files import path_of
from away.config.mount_settings import MountSettings, mount_settings
from away.config.precedence import (
    check_ca_bundle,
    find_file,
    gather,
    login,
    refuse_a_projects_word,
    refuse_addresses_of_a_project,
    refuse_secrets_for_a_project,
    refuse_values_for_a_project,
    url_of,
)
from away.config.publish_settings import laid_over, option_value
from away.config.secret import Login, Secret
from away.config.settings import (
    DEFAULTS,
    EMBEDDED,
    PROJECT,
    RESERVED,
    SUPPLIED,
    USER,
    ProjectText,
    Setting,
    Source,
    check,
    is_name,
    suggestion,
)
from away.config.toml_sources import project_sources, user_file, user_source
from away.config.urls import GatewayURL, is_loopback, parse_url
from away.exceptions import ConfigError, UnknownGateway
from away.names import nearest, printable, python_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.gateway.announcement import Announcement

__all__ = ["GatewayConfig", "Reading"]

# Where OpenFaaS's own gateway listens, and where faas-cli looks for it when told nothing.
_OPENFAAS = "http://127.0.0.1:8080"


class GatewayConfig(NamedTuple):
    """All that is known of one gateway; ``origins`` says for each field where it came from."""

    name: str
    url: str
    user: str
    password: Secret | None
    token: Secret | None
    timeout: float
    connect_timeout: float
    ca_bundle: Path | None
    registry: str | None
    base_image: str | None
    namespace: str
    inside_url: str | None
    origins: Mapping[str, str]
    image_builder: str | None = None
    inside_registry: str | None = None
    insecure_registries: tuple[str, ...] = ()
    publish: Mapping[str, object] = {}
    """Options for all functions that are published there."""
    functions: Mapping[str, Mapping[str, object]] = {}
    """Options for single functions, by their names at the gateway."""
    catalogue: str = "auto"
    """Which list of functions an import believes: ``cached``, ``fresh``, or by its age ``auto``."""
    catalogue_max_age: float = 3600.0
    """How old in seconds a list may be that ``auto`` believes."""
    calls: Mapping[str, CallSettings] = {}
    """How calls of single functions are made, by the names that the files have for them."""


class Reading:
    """The sources, read once.

    Args:
        told: What the program itself configured, the strongest source.
        environ: The environment, if not this process's.
        cwd: The working folder, if not this process's.

    Raises:
        ConfigError: A file that cannot be read, or that says what Away does not know.
    """

    def __init__(
        self,
        told: Source,
        environ: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._cwd = _folder(cwd)
        # Inside a published function the image's files are nobody's configuration: what holds there
        # is the environment of its deployment.
        self._inside = self._environ.get("AWAY_RUNTIME") == "1"
        files = [] if self._inside else [*user_source(self._environ), *project_sources(self._cwd)]
        self._sources = [*files, environment_source(self._environ, self._cwd), told]
        # What is said of this run comes over what files say, and under what is said of one gateway.
        self._of_run = self._sources[len(files) :]
        self._of_all = said_of_all(self._environ, self._cwd)

    def names(self) -> list[str]:
        """Return the names of all gateways, sorted."""
        found = {"default", *self._where()}
        if self._announced():
            found.add("local")
        return sorted(found)

    def resolve(self, name: str, *, strict: bool = True) -> GatewayConfig:
        """Return one gateway's configuration.

        Args:
            name: The gateway.
            strict: Raise for a secret or CA bundle that cannot be read; else its origin says so.

        Raises:
            UnknownGateway: No source configures it.
            ConfigError: What a source says of it cannot be used.
        """
        settings = self._gather(name)
        known = self._where()
        if not settings and (name not in known or name in RESERVED):
            raise self._unknown(name)
        if "url" not in settings:
            where = next(iter(settings.values())).where if settings else known[name]
            raise ConfigError(f"gateway {name!r} has no url; give one beside what is set ({where})")
        settings = {**settings, **self._said_of_all_but(name)}
        origins = {key: where for key in GatewayConfig._fields if (where := _origin(key, settings))}
        found = bundle = None
        try:
            if found := self._login(name, settings):
                origins[found.field] = found.where
                if found.trust == USER and settings["url"].trust == PROJECT and not found.looked_up:
                    # The user gave it for this name; where that leads, the project says.
                    origins[found.field] += f", sent to the url of {settings['url'].where}"
                origins["user"] = found.where if found.user else origins["user"]
        except ConfigError as error:
            if strict:
                raise
            origins["password"] = str(error)
        try:
            bundle = check_ca_bundle(name, settings, found, self._environ)
        except ConfigError as error:
            if strict:
                raise
            origins["ca_bundle"] = str(error)
        refuse_a_projects_word(name, "insecure_registries", settings)
        gateway = _gateway(name, settings, found, bundle, origins)
        return self._with_options(self._with_calls(gateway, strict=strict), strict=strict)

    def _said_of_all_but(self, name: str) -> dict[str, Setting]:
        """Return what the environment says of all gateways and nothing as near says of this one."""
        own = {key for source in self._of_run for key in source.gateways.get(name, {})}
        return {key: each for key, each in self._of_all.items() if key not in own}

    def publish_options(self, name: str, function: str) -> dict[str, Setting]:
        """Return the options of publishing that are configured for one function, with their origins.

        Args:
            name: The gateway.
            function: The function's name there; an empty text for what holds for all of them.

        Raises:
            ConfigError: A value cannot be used, or a project's file would send a secret elsewhere.
        """
        # What is said of one function is stronger than what is said of all, whoever says it.
        tables = [self._own_options(name, place) for place in dict.fromkeys(("", function))]
        return laid_over(tables)

    def mounts(self) -> list[MountSettings]:
        """Return what is mounted, the outer names first; a later source's word for a name counts.

        Raises:
            ConfigError: What a source says of a mount cannot be used.
        """
        found = {name: each for source in self._sources for name, each in source.mounts.items()}
        return [mount_settings(name, found[name]) for name in sorted(found)]

    def publish_sections(self, name: str) -> dict[str, str]:
        """Return the functions that a gateway has options of publishing for, and where they begin."""
        return {
            function: next(iter(options.values())).where
            for source in self._sources
            for function, options in source.publish.get(name, {}).items()
            if function
        }

    def secret_files(self, name: str) -> dict[str, Path]:
        """Return the files that secrets of any function of a gateway are made of, by their names.

        One of which a file says something wrong is left out: the publish of its function says so.
        """
        found: dict[str, Path] = {}
        for place in {each for source in self._sources for each in source.publish.get(name, {})}:
            with contextlib.suppress(ConfigError):
                secrets = self._own_options(name, place).get("secrets")
                if secrets is not None and isinstance(secrets.value, dict):
                    found |= secrets.value
        return found

    def _own_options(self, name: str, place: str) -> dict[str, Setting]:
        """Return what is said of one function itself, or with an empty name of all of them."""
        of = f"function {place!r} of gateway {name!r}" if place else f"gateway {name!r}"
        tables = []
        for source in self._sources:
            given = source.publish.get(name, {}).get(place, {})
            if given:
                # Before they are joined with others', whose word they would be then.
                refuse_values_for_a_project(name, given, self._gather(name))
            tables.append({key: self._option(key, each, name, of) for key, each in given.items()})
        options = laid_over(tables)
        if "secrets" in options:
            refuse_secrets_for_a_project(name, options["secrets"], self._gather(name))
        return options

    def _option(self, key: str, setting: Setting, name: str, of: str) -> Setting:
        def find(what: str, path: str) -> Path:
            return find_file(name, what, setting._replace(value=path), self._environ)

        value = option_value(key, setting, of, find)
        if key == "registry" and setting.trust == PROJECT:
            value = ProjectText(str(value), setting.where)
        found = setting._replace(value=value)
        refuse_addresses_of_a_project(name, key, found)
        return found

    def _with_calls(self, gateway: GatewayConfig, *, strict: bool) -> GatewayConfig:
        """Add how calls of single functions are made."""
        tables: dict[str, list[Mapping[str, Setting]]] = {}
        for source in self._sources:
            for function, table in source.calls.get(gateway.name, {}).items():
                tables.setdefault(python_name(function), []).append(table)
        if not tables:
            return gateway
        try:
            calls = {key: joined(key, gateway.name, each) for key, each in tables.items()}
            where = ", ".join(sorted({each.where for each in calls.values()}))
        except ConfigError as error:
            if strict:
                raise
            calls, where = {}, str(error)
        return gateway._replace(calls=calls, origins={**gateway.origins, "calls": where})

    def _with_options(self, gateway: GatewayConfig, *, strict: bool) -> GatewayConfig:
        """Add what is configured for publishing there, for people to see."""
        named = {
            function
            for source in self._sources
            for function in source.publish.get(gateway.name, {})
        }
        found: dict[str, dict[str, object]] = {}
        where: dict[str, set[str]] = {}
        for function in sorted(named):
            what = "functions" if function else "publish"
            try:
                options = self._own_options(gateway.name, function)
            except ConfigError as error:
                # It is said when something is published there, which calls do not wait for.
                if not strict:
                    where.setdefault(what, set()).add(str(error))
                continue
            found[function] = {key: each.value for key, each in options.items()}
            where.setdefault(what, set()).update(each.where for each in options.values())
        origins = {
            **gateway.origins,
            **{key: ", ".join(sorted(each)) for key, each in where.items()},
        }
        return gateway._replace(publish=found.pop("", {}), functions=found, origins=origins)

    def look_up(self, url: GatewayURL, user: str | None) -> Login | None:
        """Return what opens exactly a URL, for a user if one is given; ``user`` of it is set.

        The running embedded gateway comes first, since it cannot be mistaken about its password;
        then the gateways of the other sources, the latest source first; then faas-cli's log-ins.

        Raises:
            ConfigError: What should open it cannot be read.
        """
        for login_ in (self._embedded_login(url), self._named_login(url, user)):
            if login_ is not None and user in (None, login_.user):
                return login_
        stored = None if self._inside else logged_in(url, self._environ, self._cwd)
        if stored is None or user not in (None, stored.user):
            return None
        return stored

    def _login(self, name: str, settings: Mapping[str, Setting]) -> Login | None:
        """Return what a gateway is sent: its own secret, else what opens its URL."""
        own = login(name, settings, self._environ)
        if own is not None:
            return own
        user = settings.get("user")
        return self.look_up(
            url_of(name, settings), None if user is None else str(check("user", user, name))
        )

    def _embedded_login(self, url: GatewayURL) -> Login | None:
        running = self._announced() if is_loopback(url) else None
        if running is None or parse_url(running.url).place != url.place:
            return None
        return Login("password", Secret(running.password), EMBEDDED, SUPPLIED, running.user, True)

    def _named_login(self, url: GatewayURL, user: str | None) -> Login | None:
        seen: set[str] = set()
        for name in (name for source in reversed(self._sources) for name in source.gateways):
            if name in seen:
                continue
            seen.add(name)
            try:
                settings = self._gather(name)
                matches = "url" in settings and url_of(name, settings).place == url.place
                whose = str(_value("user", name, settings))
            except ConfigError:
                # What is wrong with a gateway is said when that gateway is used.
                continue
            if matches and user in (None, whose):
                found = login(name, settings, self._environ)
                if found is not None:
                    return found._replace(user=whose, looked_up=True)
        return None

    def _gather(self, name: str) -> dict[str, Setting]:
        if name == "local" and not any(name in source.gateways for source in self._sources):
            running = self._announced()
            return self._embedded(running) if running else {}
        supplied = [self._supplied()] if name == "default" else []
        return gather(name, [*supplied, *self._sources])

    def _supplied(self) -> Source:
        """Return what ``default`` is as long as no source says otherwise."""
        inside = self._environ.get("AWAY_INSIDE_URL") if self._inside else None
        if inside:
            settings = {"url": self._setting(inside, "environment AWAY_INSIDE_URL")}
        elif running := self._announced():
            settings = self._embedded(running)
        else:
            settings = {"url": self._setting(_OPENFAAS, "default")}
        return Source({"default": settings}, {})

    def _embedded(self, running: Announcement) -> dict[str, Setting]:
        return {
            "url": self._setting(running.url, EMBEDDED),
            "user": self._setting(running.user, EMBEDDED),
            "password": self._setting(Secret(running.password), EMBEDDED),
        }

    def _setting(self, value: object, where: str) -> Setting:
        return Setting(value, where, SUPPLIED, self._cwd)

    def _announced(self) -> Announcement | None:
        if self._inside:
            return None
        # Late for its weight: most programs name a gateway that is not the embedded one.
        from away.gateway.announcement import announced

        return announced()

    def _where(self) -> dict[str, str]:
        return {name: where for source in self._sources for name, where in source.where.items()}

    def _unknown(self, name: str) -> UnknownGateway:
        shown, where = repr(printable(name[:60])), self._where()
        near = [] if name in RESERVED else nearest(name, self.names())
        if self._inside and is_name(name) and name != "aio":
            text = (
                f"no gateway is called {shown} inside this function;"
                f" {suggestion(name, self.names())}; publish it again with"
                f" env={{'{PREFIX}{name.upper()}_URL': …}}"
            )
        elif name == "local":
            text = (
                "no embedded gateway is running, so there is no gateway 'local'; start one with"
                " 'away up'"
            )
        elif near:
            place = f" ({where[near[0]]})" if near[0] in where else ""
            text = f"no gateway is called {shown}; the nearest known is {near[0]!r}{place}"
        elif is_name(name) and name not in RESERVED:
            file = user_file(self._environ) or "away.toml"
            text = (
                f"no gateway is called {shown}; {suggestion(name, self.names())}; set"
                f" {PREFIX}{name.upper()}_URL, or url under [gateways.{name}] in {file}"
            )
        else:
            kept = " other than 'local' and 'aio'" if name in RESERVED else ""
            text = f"{shown} cannot be a gateway's name, which is an identifier in lower case{kept}"
        return UnknownGateway(text, name=name, nearest=tuple(near))


def _gateway(
    name: str,
    settings: Mapping[str, Setting],
    found: Login | None,
    bundle: Path | None,
    origins: Mapping[str, str],
) -> GatewayConfig:
    def value(key: str) -> object:
        return _value(key, name, settings)

    return GatewayConfig(
        name=name,
        url=str(value("url")),
        user=(found.user if found else "") or str(value("user")),
        password=found.secret if found and found.field == "password" else None,
        token=found.secret if found and found.field == "token" else None,
        timeout=cast("float", value("timeout")),
        connect_timeout=cast("float", value("connect_timeout")),
        ca_bundle=bundle,
        registry=_registry(name, settings),
        base_image=cast("str | None", value("base_image")),
        namespace=str(value("namespace")),
        inside_url=cast("str | None", value("inside_url")),
        image_builder=cast("str | None", value("image_builder")),
        inside_registry=cast("str | None", value("inside_registry")),
        insecure_registries=cast("tuple[str, ...]", value("insecure_registries") or ()),
        catalogue=str(value("catalogue")),
        catalogue_max_age=cast("float", value("catalogue_max_age")),
        origins=origins,
    )


def _registry(name: str, settings: Mapping[str, Setting]) -> str | None:
    """Return the registry, marked where a project's file chose it: the user's login is not for it."""
    found = cast("str | None", _value("registry", name, settings))
    if found is None or settings["registry"].trust != PROJECT:
        return found
    return ProjectText(found, settings["registry"].where)


def _value(key: str, name: str, settings: Mapping[str, Setting]) -> object:
    setting = settings.get(key)
    return DEFAULTS.get(key) if setting is None else check(key, setting, name)


def _origin(key: str, settings: Mapping[str, Setting]) -> str:
    if key in settings:
        return settings[key].where
    return "default" if key in DEFAULTS else ""


def _folder(cwd: str | os.PathLike[str] | None) -> Path:
    try:
        return Path(cwd).absolute() if cwd else path_of(os.getcwd())  # noqa: PTH109 - quick
    except FileNotFoundError:
        # The working folder was removed: nothing of a project is around it.
        return Path(os.sep)

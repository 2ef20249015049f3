"""Which list of a gateway's functions serves an import: the one kept on disk, or a new one.

``catalogue`` in the configuration says it, ``AWAY_CATALOGUE`` for one run of a program. ``auto`` believes
a list younger than ``catalogue_max_age``, and an older one where the gateway cannot be reached. ``cached``
asks for no list that is there, however old; ``fresh`` looks at none that is kept.

Pure but for the clocks: lists come in, and the one to take goes out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from away.user_lines import warn_at_user_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.config import GatewayConfig
    from away.connection.catalogue import FunctionInfo
    from away.connection.catalogue_file import KeptList

__all__ = ["Freshness", "OldList", "age_text"]

# How long a gateway that could not be reached is left alone, so that imports that follow are quick.
LEFT_ALONE_SECONDS = 30.0


class OldList(NamedTuple):
    """A list that was fetched before: the functions, and when."""

    infos: list[FunctionInfo]
    at: float

    def age(self, now: float) -> float:
        """Return its age in seconds."""
        return now - self.at


class Freshness:
    """What one gateway module knows of the age of its lists.

    Args:
        gateway: The gateway's configured name.
    """

    def __init__(self, gateway: str) -> None:
        self.gateway = gateway
        # The list in use, where this process did not just get it from the gateway.
        self.old: OldList | None = None
        self._last: OldList | None = None
        self._read: tuple[KeptList, OldList] | None = None
        self._left_alone_until = float("-inf")
        self._warned = False

    def fetched(self, infos: list[FunctionInfo] | None) -> None:
        """Take note of a list that the gateway gave just now; None for one not to be kept to."""
        self.old, self._last = None, None if infos is None else OldList(infos, time.time())
        self._left_alone_until, self._warned = float("-inf"), False

    def usable(self, settings: GatewayConfig, kept: KeptList | None) -> OldList | None:
        """Return the list that serves without a request, if there is one.

        Args:
            settings: What is configured of the gateway.
            kept: The list on disk, however old.
        """
        if settings.catalogue == "fresh":
            return None
        found = self._newest(kept)
        if found is None:
            return None
        alone = time.monotonic() < self._left_alone_until
        young = kept is not None and kept.age(time.time()) < settings.catalogue_max_age
        return found if alone or young or settings.catalogue == "cached" else None

    def without_gateway(
        self, settings: GatewayConfig, kept: KeptList | None, error: Exception
    ) -> OldList | None:
        """Return the list that serves as the gateway cannot be reached, and warn of its age.

        Args:
            settings: What is configured of the gateway.
            kept: The list on disk, however old.
            error: Why there is no newer one.
        """
        found = self._newest(kept) if self.can_stand_in(settings, kept) else None
        if found is None:
            return None
        self._left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
        if not self._warned:
            self._warned = True
            age = age_text(_age(found, kept))
            text = f"{error}; functions are imported from its list of {age}"
            warn_at_user_line(text, RuntimeWarning)
        return found

    def can_stand_in(self, settings: GatewayConfig, kept: KeptList | None) -> bool:
        """Tell whether there is a list for when the gateway cannot be reached, however old."""
        return settings.catalogue != "fresh" and self._newest(kept) is not None

    def never_asks(self, settings: GatewayConfig) -> bool:
        """Tell whether no import asks the gateway as long as there is any list."""
        return settings.catalogue == "cached"

    def keeps_to(self, settings: GatewayConfig) -> bool:
        """Tell whether the list in use stands, although it lacks a name."""
        return self.never_asks(settings) and (self.old or self._last) is not None

    def lacking(self, name: str) -> str:
        """Return the end of an error that says what the list in use says of a name."""
        if self.old is None:
            return ""
        return f"; its list of {age_text(self.old.age(time.time()))} has no function {name!r}"

    def none_kept(self, settings: GatewayConfig) -> str:
        """Return the end of an error that says that there is no list to go by, where one is wanted."""
        if not self.never_asks(settings) or self._last is not None:
            return ""
        return (
            f"; no list of it is kept, which {_configured(settings)} wants: 'away list -g"
            f" {self.gateway}' keeps one while it can be reached"
        )

    def warn_of_none(self, settings: GatewayConfig) -> None:
        """Say that the gateway has to be asked in spite of what is configured."""
        if self.never_asks(settings) and self._last is None:
            warn_at_user_line(
                f"no list of the gateway {self.gateway!r} is kept yet, so it is asked for one in spite"
                f" of {_configured(settings)}",
                RuntimeWarning,
            )

    def footnote(self, settings: GatewayConfig) -> str:
        """Return what an error says of a name that is not on the list that is kept to."""
        listed = self.old or self._last
        if listed is None or not self.never_asks(settings):
            return ""
        return (
            f"; this is its list of {age_text(listed.age(time.time()))}, and {_configured(settings)}"
            f" asks for no newer one: refresh it by 'away list -g {self.gateway}'"
        )

    def _newest(self, kept: KeptList | None) -> OldList | None:
        """Return the younger one of the list on disk and the last one of this process."""
        last = self._last
        if kept is None or (last is not None and last.at >= kept.at):
            return last
        if self._read is None or self._read[0] is not kept:
            self._read = kept, OldList(_infos(kept.functions), kept.at)
        return self._read[1]


def _infos(functions: tuple[Mapping[str, object], ...]) -> list[FunctionInfo]:
    from away.connection.catalogue import FunctionInfo

    found = [FunctionInfo.from_json(each) for each in functions]
    return sorted((each for each in found if each is not None), key=lambda info: info.name)


def _age(found: OldList, kept: KeptList | None) -> float:
    now = time.time()
    return kept.age(now) if kept is not None and kept.at == found.at else found.age(now)


def _configured(settings: GatewayConfig) -> str:
    origin = settings.origins.get("catalogue") or "default"
    return f"catalogue={settings.catalogue!r} ({origin})"


def age_text(seconds: float) -> str:
    """Say how long ago something was, in one unit.

    >>> age_text(7300)
    '2 hours ago'
    """
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if length <= seconds < float("inf"):
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "an unknown time" if seconds == float("inf") else "less than a minute ago"

"""What a gateway has: the list of its functions, kept for some seconds and shared by its users.

One list serves all connections of a process to one gateway with one login. Nothing is sent under a
lock: who fetches the list leaves a claim with an end, others look again until the list is there.
The last list is kept on disk as well (:mod:`away.connection.catalogue_file`), where only imports look,
and goes with every change that this process makes at the gateway.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import away.connection.stand_ins as stand_ins
import away.names as names
from away.connection.conversations import Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from away.connection.catalogue_file import KeptList, ListFiles
    from away.connection.conversations import Conversation, Deadline
    from away.module_descriptions import ModuleDescription
    from away.signatures import Description

__all__ = ["KEPT_SECONDS", "Catalogue", "FunctionInfo", "drop_all", "find", "shared"]

# Long enough for all imports of a program's start, short enough for a person who deployed meanwhile.
KEPT_SECONDS = 10.0
# How long after an update a call may still meet a gateway that does not know the function.
AFTER_UPDATE_SECONDS = 5.0
CLAIM_SECONDS = 30.0
_PAUSES = (0.002, 0.005, 0.01, 0.02, 0.05)


class FunctionInfo:
    """One function as the gateway describes it.

    Everything here is others' data. What a gateway leaves out, as OpenFaaS does with zeroes and
    empty lists, has its zero here. What it was not asked for is None: ``available_replicas`` in a
    list, ``invocation_count`` of a function asked for alone.
    """

    __slots__ = (
        "_description",
        "_module",
        "annotations",
        "available_replicas",
        "created_at",
        "env_process",
        "env_vars",
        "image",
        "invocation_count",
        "labels",
        "name",
        "namespace",
        "replicas",
        "secrets",
    )

    def __init__(
        self,
        name: str,
        namespace: str = "",
        image: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        replicas: int = 0,
        available_replicas: int | None = None,
        invocation_count: int | None = None,
        created_at: str = "",
        secrets: Iterable[str] = (),
        env_process: str = "",
        env_vars: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.image = image
        self.labels = dict(labels or {})
        self.annotations = dict(annotations or {})
        self.replicas = replicas
        self.available_replicas = available_replicas
        self.invocation_count = invocation_count
        self.created_at = created_at
        self.secrets = tuple(secrets)
        self.env_process = env_process
        self.env_vars = dict(env_vars or {})
        self._description: tuple[Description | None] | None = None
        self._module: tuple[ModuleDescription | None] | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, listed: bool = True) -> FunctionInfo | None:
        """Read one item of the gateway's list, or a function alone; None where it has no name."""
        name = data.get("name")
        if not isinstance(name, str) or not name:
            return None
        secrets = data.get("secrets")
        return cls(
            name,
            _text(data.get("namespace")),
            _text(data.get("image")),
            labels=_texts(data.get("labels")),
            annotations=_texts(data.get("annotations")),
            replicas=_count(data.get("replicas")),
            # OpenFaaS leaves out zeroes, and has each of the two in one of the answers only.
            available_replicas=_stated(data.get("availableReplicas"), may_lack=listed),
            invocation_count=_stated(data.get("invocationCount"), may_lack=not listed),
            created_at=_text(data.get("createdAt")),
            secrets=[_text(each) for each in secrets] if isinstance(secrets, list) else (),
            env_process=_text(data.get("envProcess")),
            env_vars=_texts(data.get("envVars")),
        )

    @property
    def description(self) -> Description | None:
        """Signature, docstring and kind, where Away published the function."""
        if self._description is None:
            from away.signatures import from_annotations

            self._description = (from_annotations(self.annotations),)
        return self._description[0]

    @property
    def module(self) -> ModuleDescription | None:
        """What it has, where it is a module that Away published whole; None for a function."""
        if "away.module" not in self.annotations:
            return None
        if self._module is None:
            from away.module_descriptions import module_from_annotations

            self._module = (module_from_annotations(self.annotations),)
        return self._module[0]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FunctionInfo):
            return NotImplemented
        return all(getattr(self, each) == getattr(other, each) for each in self.__slots__[2:])

    __hash__ = None  # type: ignore[assignment]  # it holds dictionaries

    def __repr__(self) -> str:
        place = f"{self.name}.{self.namespace}" if self.namespace else self.name
        counts = f"{self.replicas} replica{'' if self.replicas == 1 else 's'}"
        if self.available_replicas is not None:
            counts += f" ({self.available_replicas} available)"
        if self.invocation_count is not None:
            counts += f", {self.invocation_count} call{'' if self.invocation_count == 1 else 's'}"
        image = f"{names.printable(self.image)}, " if self.image else ""
        return f"<FunctionInfo {names.printable(place)}: {image}{counts}>"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
    return int(number) if -1e15 < number < 1e15 else 0


def _stated(value: object, *, may_lack: bool) -> int | None:
    return None if value is None and may_lack else _count(value)


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}


def find(infos: Iterable[FunctionInfo], name: str) -> FunctionInfo | None:
    """Find a function by its own name or by the Python name that it is imported by.

    The exact name comes first, then the spellings of :func:`away.names.candidates`.
    """
    by_name = {info.name: info for info in infos}
    for spelling in names.candidates(name):
        if spelling in by_name:
            return by_name[spelling]
    spelt = [info for own, info in sorted(by_name.items()) if names.python_name(own) == name]
    return spelt[0] if len(spelt) == 1 else None


class Follower(Protocol):
    """Who goes by a list and wants to hear of changes (:mod:`away.hooks.gateway_list`)."""

    def gateway_changed(self) -> None:
        """Look at what the catalogue has now: a list from after the change, or none."""

    def function_removed(self, namespace: str, name: str) -> None:
        """Let go of a function that is not there any more."""


class Catalogue:
    """The lists of one gateway's functions, by namespace, and what is being updated there.

    Args:
        files: Where the last list is kept for other processes, if it is.
        clock: What tells the time; it only has to go forwards.
    """

    def __init__(
        self, files: ListFiles | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.files = files
        self._clock = clock
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()
        self.renew()

    def renew(self) -> None:
        """Begin empty; in a forked child also with a lock that nobody holds."""
        # Guards all below, for an instant each. Taken by a bare with statement, between which and its
        # body no interrupt comes, and re-entrant for signal handlers that import.
        self._lock = threading.RLock()
        self._lists: dict[str, tuple[float, list[FunctionInfo]]] = {}
        self._claims: dict[str, float] = {}
        self._generation = 0
        # (namespace, name) → how many updates of it run, and until when it counts as updated
        self._updates: dict[tuple[str, str], tuple[int, float]] = {}
        # (namespace, name) → how many updates run that lose the calls sent meanwhile
        self._holds: dict[tuple[str, str], int] = {}
        # (namespace, name) → when its last update ended, or that one runs (infinity)
        self._updated: dict[tuple[str, str], float] = {}
        # what was removed while an update of it ran: the end of that one brings nothing back
        self._removed: set[tuple[str, str]] = set()

    def forget(self) -> None:
        """Forget all lists in memory, also those that are on their way."""
        with self._lock:
            self._lists.clear()
            self._claims.clear()
            self._generation += 1

    def drop(self) -> None:
        """Forget all lists, those on disk too: something was changed at the gateway."""
        self.forget()
        files = self._on_disk()
        if files is not None:
            files.drop()
        self.tell_followers()

    def follow(self, follower: Follower) -> None:
        """Tell somebody of each change that this process makes at the gateway."""
        with self._lock:
            self._followers.add(follower)

    def tell_followers(self) -> None:
        """Let those who go by a list look at what is known now."""
        for each in self._all_followers():
            # Whatever goes wrong there: the change is made, and the next import says so.
            with contextlib.suppress(Exception):
                each.gateway_changed()

    def _all_followers(self) -> list[Follower]:
        with self._lock:
            return list(self._followers)

    def kept(self, namespace: str = "") -> KeptList | None:
        """Return the last list that some process kept on disk, however old it is."""
        files = self._on_disk()
        return None if files is None else files.read(namespace)

    def can_keep(self, namespace: str = "") -> bool:
        """Tell whether a list could be kept on disk, as far as is known before there is one."""
        files = self._on_disk()
        return files is not None and files.can_write(namespace)

    def _on_disk(self) -> ListFiles | None:
        # What a test's fake lists is no gateway's, and nothing that a gateway lists is the fake's.
        return None if stand_ins.now is not None else self.files

    def cached(self, namespace: str = "") -> list[FunctionInfo] | None:
        """Return the list if it is there and fresh."""
        with self._lock:
            return self._fresh(namespace)

    def _fresh(self, namespace: str, seconds: float = KEPT_SECONDS) -> list[FunctionInfo] | None:
        at, infos = self._lists.get(namespace, (float("-inf"), []))
        return list(infos) if self._clock() - at < seconds else None

    def listing(
        self,
        fetch: Callable[[], Conversation[list[FunctionInfo]]],
        namespace: str,
        deadline: Deadline,
        *,
        fresh: bool = False,
        seconds: float = KEPT_SECONDS,
    ) -> Conversation[list[FunctionInfo]]:
        """Give the list: the kept one, one that another call fetches just now, or a new one.

        Args:
            fetch: Makes the conversation that asks the gateway.
            namespace: Whose functions, or an empty text for the gateway's default.
            deadline: Until when.
            fresh: Whether the kept one will not do.
            seconds: How old the kept one may be, if it will.
        """
        turn = 0
        while True:
            with self._lock:
                kept = None if fresh else self._fresh(namespace, seconds)
                if kept is not None:
                    return kept
                now = self._clock()
                # Another thread or task may be fetching it; as that may end, its claim has an end.
                if fresh or self._claims.get(namespace, 0.0) <= now or not deadline.remaining():
                    generation = self._generation
                    claim = now + min(deadline.remaining(), CLAIM_SECONDS)
                    self._claims[namespace] = claim
                    break
            yield Wait(_PAUSES[min(turn, len(_PAUSES) - 1)])
            turn += 1
        try:
            infos = yield from fetch()
        finally:
            with self._lock:
                if self._claims.get(namespace) == claim:
                    del self._claims[namespace]
        with self._lock:
            current = generation == self._generation
            if current:
                self._lists[namespace] = (self._clock(), infos)
        files = self._on_disk() if current else None
        if files is not None:
            files.write(namespace, infos)
        return list(infos)

    @contextlib.contextmanager
    def updating(self, namespace: str, name: str, *, hold: bool = False) -> Iterator[None]:
        """Let calls of a function expect that the gateway does not know it for a while.

        Args:
            namespace: Of the function, or an empty text for the gateway's default.
            name: The function.
            hold: Whether calls that begin meanwhile wait, since the gateway would lose them.
        """
        self._count(namespace, name, 1, hold=hold)
        try:
            yield
        finally:
            self._count(namespace, name, -1, hold=hold)

    def _count(self, namespace: str, name: str, by: int, *, hold: bool) -> None:
        with self._lock:
            now = self._clock()
            if hold:
                holds = self._holds.pop((namespace, name), 0) + by
                if holds > 0:
                    self._holds[namespace, name] = holds
            count = self._updates.get((namespace, name), (0, now))[0] + by
            self._updated[namespace, name] = now if count == 0 else float("inf")
            self._updates = {
                key: (running, until)
                for key, (running, until) in self._updates.items()
                if running or until > now
            }
            if by > 0:
                self._removed.discard((namespace, name))
            if count == 0 and (namespace, name) in self._removed:
                self._removed.discard((namespace, name))
                self._updates.pop((namespace, name), None)
            else:
                self._updates[namespace, name] = (count, now + AFTER_UPDATE_SECONDS)

    def removed(self, namespace: str, name: str) -> None:
        """Forget all lists, and expect no longer that the function comes back by itself."""
        self.drop()
        for each in self._all_followers():
            with contextlib.suppress(Exception):
                each.function_removed(namespace, name)
        with self._lock:
            if self._updates.get((namespace, name), (0, 0.0))[0] == 0:
                self._updates.pop((namespace, name), None)
            else:
                self._removed.add((namespace, name))

    def updates_of(self, namespace: str, name: str) -> UpdatesOf:
        """Return what calls of a function ask about its updates."""
        return UpdatesOf(self, namespace, name)

    def is_holding(self, namespace: str, name: str) -> bool:
        """Tell whether calls of a function wait for the end of its update."""
        # Read without the lock, as every call does: one key of a dictionary.
        return bool(self._holds) and (namespace, name) in self._holds

    def was_updated(self, namespace: str, name: str, seconds: float) -> bool:
        """Tell whether this process updated a function within the last so many seconds."""
        if not self._updated:
            return False
        with self._lock:
            ended = self._updated.get((namespace, name), float("-inf"))
            return ended >= self._clock() - seconds

    def is_updating(self, namespace: str, name: str) -> bool:
        """Tell whether this process updates a function, or did so a moment ago."""
        if not self._updates:
            return False
        with self._lock:
            running, until = self._updates.get((namespace, name), (0, float("-inf")))
            return running > 0 or self._clock() < until


class UpdatesOf(NamedTuple):
    """This process's updates of one function (:class:`away.connection.conversations.Updates`)."""

    catalogue: Catalogue
    namespace: str
    name: str

    def running(self) -> bool:
        """Whether one runs, or ended a moment ago."""
        return self.catalogue.is_updating(self.namespace, self.name)

    def holding(self) -> bool:
        """Whether one runs at a gateway that loses what is sent meanwhile."""
        return self.catalogue.is_holding(self.namespace, self.name)

    def happened_within(self, seconds: float) -> bool:
        """Whether one ran at any moment of the last so many seconds."""
        return self.catalogue.was_updated(self.namespace, self.name, seconds)


_shared: weakref.WeakValueDictionary[object, Catalogue] = weakref.WeakValueDictionary()
_sharing = threading.Lock()  # guards _shared


def shared(key: object, files: ListFiles | None = None) -> Catalogue:
    """Return the one catalogue for a key (URL and login) that is in use somewhere.

    Args:
        key: Says which gateway and login it is.
        files: Where a new one keeps its lists on disk.
    """
    with _sharing:
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = Catalogue(files)
        return found


def drop_all() -> None:
    """Forget all lists of all gateways in memory, as a test does that changes what they have."""
    for catalogue in list(_shared.values()):
        catalogue.forget()


def renew_after_fork() -> None:
    """Begin anew in a forked child: locks may have been held by threads that are not here."""
    global _sharing  # the lock itself has to be replaced
    _sharing = threading.Lock()
    for catalogue in list(_shared.values()):
        catalogue.renew()

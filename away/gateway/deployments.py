"""The functions that are deployed, and the life of each: started, replaced, restarted, removed.

Unlike faasd, a failed update leaves what ran: the new instance must listen before the old one is let
go, and the old one finishes the calls that it has.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from away.gateway.addresses import moved
from away.gateway.collection import collect
from away.gateway.deploy_request import Deployment, Refused
from away.gateway.durations import call_seconds
from away.gateway.logs import Log
from away.gateway.providers import StartRefused
from away.gateway.references import parse, with_host, with_tag
from away.gateway.upstream import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from away.gateway.providers import Instance, Provider
    from away.gateway.references import Reference
    from away.gateway.store import Store

__all__ = ["CannotStart", "Deployments", "Function", "Running"]

# A function that imports a large library takes its time.
START_SECONDS = 60.0
# POST answers also for what never listens, as faasd does; it waits this long to answer for what will.
FIRST_START_SECONDS = 10.0
# How long calls in flight may go on in an instance that is to be stopped.
DRAIN_SECONDS = 30.0
# From SIGTERM to SIGKILL; faasd gives 30.
STOP_GRACE_SECONDS = 10.0
# How many lines of a function that does not come up are told to whoever updates it.
LAST_LINES = 30
# How many functions are started at once when the gateway starts.
RESTORED_AT_ONCE = 4
# How often what nothing refers to any more is removed.
COLLECT_SECONDS = 600.0
# A function that fails to start this often in a row is started again only after a pause, which
# doubles; failures further apart than the last of these are not in a row.
FAILED_STARTS = 3
FIRST_PAUSE_SECONDS = 1.0
LAST_PAUSE_SECONDS = 8.0
IN_A_ROW_SECONDS = 60.0


class CannotStart(Exception):
    """A function that does not come up; the text says what was seen, and ends with its last lines.

    Args:
        seen: What was seen.
        lines: The end of what it printed.
    """

    def __init__(self, seen: str, lines: Sequence[str] = ()) -> None:
        last = " | ".join(lines[-3:])
        super().__init__(f"{seen}: {last}" if last else seen)
        self.seen = seen
        self.lines = tuple(lines)


class Running:
    """One instance, the connections to it, and how many calls it has.

    Args:
        instance: The instance.
        call_seconds: How long one call may take by its deployment; 0.0 where that does not say.
    """

    def __init__(self, instance: Instance, call_seconds: float = 0.0) -> None:
        self.instance = instance
        self.call_seconds = call_seconds
        self.pool = Pool(instance.host, instance.port)
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        self._calls += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    async def drained(self, seconds: float) -> None:
        """Wait until no call is in flight, for so many seconds at most."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            pass


class Starts:
    """How the latest starts of a function went, and so whether it is started again by now."""

    def __init__(self) -> None:
        self._failures = 0
        self._failed_at = 0.0
        self._reason = ""

    def check(self) -> None:
        """See that it may be started.

        Raises:
            CannotStart: It has failed too often just now; the text is that of the last time.
        """
        pause = self._pause()
        if pause and time.monotonic() < self._failed_at + pause:
            raise CannotStart(self._reason)

    def failed(self, error: CannotStart) -> None:
        """Count a start after which it did not listen."""
        now = time.monotonic()
        if now > self._failed_at + self._pause() + IN_A_ROW_SECONDS:
            self._failures = 0
        self._failures += 1
        self._failed_at, self._reason = now, str(error)

    def _pause(self) -> float:
        if self._failures < FAILED_STARTS:
            return 0.0
        # The exponent stays small for a function that fails for days.
        doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - FAILED_STARTS, 10)
        return min(doubled, LAST_PAUSE_SECONDS)


class Function:
    """A deployed function."""

    def __init__(self, deployment: Deployment, provider: Provider, log: Log) -> None:
        self.deployment = deployment
        self.log = log
        self.invocations = 0
        self._provider = provider
        self._current: Running | None = None
        self._reviving: asyncio.Task[Running] | None = None
        self._retiring: set[Running] = set()
        self._removed = False
        self._starts = Starts()

    @property
    def available(self) -> bool:
        """Whether it runs, as far as is known."""
        return self._current is not None and self._current.instance.alive

    @property
    def replicas(self) -> int:
        """One while it runs or is on its way; none when it ended and nobody has called it since."""
        return int(self.available or self._reviving is not None)

    async def running(self) -> Running:
        """Return the running instance; one that ended is started anew, for all callers at once.

        Raises:
            CannotStart: It does not come up.
        """
        return await self.revive(START_SECONDS)

    async def revive(self, seconds: float) -> Running:
        """Start it if it does not run, and wait until it listens.

        Raises:
            CannotStart: It ended again, does not listen in time, or did so too often just now; or
                it was removed.
        """
        if self._removed:
            raise CannotStart("it was removed")
        if self._current is not None and self._current.instance.alive:
            return self._current
        if self._reviving is None:
            self._starts.check()
            self._reviving = asyncio.create_task(self._revive(seconds))
            self._reviving.add_done_callback(self._revived)
        task = self._reviving
        try:
            # One caller that goes away must not take the start from the others.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
        # An update or a removal came between.
        if self._current is not None and self._current.instance.alive:
            return self._current
        raise CannotStart("it was replaced or removed while it came up")

    async def replace_by(self, deployment: Deployment) -> Running | None:
        """Switch to another deployment once that listens, and return what ran before.

        Raises:
            CannotStart: The new one does not come up; the old one goes on.
        """
        running = await self._start(deployment, START_SECONDS)
        before, self._current = self._current, running
        self.deployment = deployment
        self._starts = Starts()
        # What it replaces may have ended and be on its way back.
        self._stop_reviving()
        return before

    def taken_out(self) -> Running | None:
        """Return what runs, which is the caller's to stop; nothing is started from now on."""
        self._removed = True
        before, self._current = self._current, None
        self._stop_reviving()
        return before

    async def remove(self) -> None:
        """Stop all that there is of it: what runs, what an update left behind, what comes up."""
        left = {self.taken_out(), *self._retiring}
        await asyncio.gather(*(self.retire(each, at_most=DRAIN_SECONDS) for each in left))
        if self._reviving is not None:
            await asyncio.wait({self._reviving})

    async def retire(self, running: Running | None, *, at_most: float | None = None) -> None:
        """Let an instance finish its calls, then stop it."""
        if running is None:
            return
        seconds = max(DRAIN_SECONDS, running.call_seconds)
        self._retiring.add(running)
        try:
            await running.drained(seconds if at_most is None else at_most)
            running.pool.close()
            await self._provider.stop(running.instance, STOP_GRACE_SECONDS)
        finally:
            self._retiring.discard(running)

    def drop_old_connections(self) -> None:
        """Close connections that have been idle for too long."""
        if self._current is not None:
            self._current.pool.drop_old()

    async def _revive(self, seconds: float) -> Running:
        if self._current is not None:
            self._current.pool.close()
        starts = self._starts
        try:
            self._current = await self._start(self.deployment, seconds)
        except CannotStart as error:
            starts.failed(error)
            raise
        self._starts = Starts()
        return self._current

    def _revived(self, task: asyncio.Task[Running]) -> None:
        self._reviving = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have

    def _stop_reviving(self) -> None:
        # Once: a second time would take it from stopping what it has started.
        if self._reviving is not None and not self._reviving.cancelling():
            self._reviving.cancel()

    async def _start(self, deployment: Deployment, seconds: float) -> Running:
        starting = asyncio.create_task(self._provider.start(deployment, self.log))
        try:
            instance = await asyncio.shield(starting)
            if await instance.listening(seconds):
                return Running(instance, call_seconds(deployment.env_vars))
            why_not = await self._why_not(instance, seconds)
        except BaseException as error:
            # Whatever has come of it by now, it must not stay behind.
            await asyncio.shield(self._abandon(starting))
            if isinstance(error, (StartRefused, OSError)):
                raise CannotStart(str(error)) from error
            raise
        raise why_not

    async def _abandon(self, starting: asyncio.Task[Instance]) -> None:
        try:
            await self._provider.stop(await starting, 0.0)
        except (StartRefused, OSError):
            pass  # it was not started, or its warden has ended with all that it had

    async def _why_not(self, instance: Instance, seconds: float) -> CannotStart:
        where = self._provider.listens_on
        seen = f"it ended before it listened on {where}"
        if not await instance.ended(0.0 if instance.alive else 1.0):
            await self._provider.stop(instance, 0.0)
            seen = f"it does not listen on {where} after {seconds:.0f} s"
        own = [line.text for line in self.log.lines() if line.instance == instance.name]
        return CannotStart(seen, own[-LAST_LINES:])


class Deployments:
    """All functions, and what the API does with them.

    Args:
        store: Where they are kept.
        provider: Where they run.
        is_ours: Tells whether an image's name means this gateway's registry.
        url: The gateway's own URL.
        inside_host: The host under which functions know the gateway, where that is another.
    """

    def __init__(
        self,
        store: Store,
        provider: Provider,
        is_ours: Callable[[Reference], bool],
        url: str,
        inside_host: str = "",
    ) -> None:
        self._url = url
        self._inside_host = inside_host
        self._store = store
        self._provider = provider
        self._is_ours = is_ours
        self._functions: dict[str, Function] = {}
        self._changing: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # Looking

    @property
    def orchestration(self) -> str:
        """What the functions are run by."""
        return self._provider.name

    def get(self, name: str) -> Function | None:
        """Return a function by its name."""
        return self._functions.get(name)

    def all(self) -> list[Function]:
        """Return all functions."""
        return list(self._functions.values())

    # Changing

    async def create(self, deployment: Deployment) -> None:
        """Deploy a new function.

        Raises:
            Refused: The name is taken, a secret or the image is not there, or it cannot run here.
        """
        async with self._lock(deployment.name):
            if deployment.name in self._functions:
                name = deployment.name
                raise Refused(
                    400,
                    f"unable to create container: {name}, error: snapshot"
                    f' "{name}-snapshot": already exists',
                )
            found = await self._prepared(deployment, 400)
            function = Function(found, self._provider, Log())
            self._store.save(found)
            self._functions[found.name] = function
            await _come_up(function, FIRST_START_SECONDS)

    async def update(self, deployment: Deployment) -> None:
        """Deploy a function anew; what ran goes on unless the new one is up.

        Raises:
            Refused: There is no such function, or as :meth:`create`, or it does not come up.
        """
        async with self._lock(deployment.name):
            function = self._functions.get(deployment.name)
            if function is None:
                raise Refused(404, f"service {deployment.name} not found")
            found = await self._prepared(deployment, 500)
            try:
                before = await function.replace_by(found)
            except CannotStart as error:
                log = "\n".join(["; its log ends with", *error.lines]) if error.lines else ""
                raise Refused(
                    500,
                    f"unable to start task: {found.name}: {error.seen}; what ran before goes on{log}",
                ) from error
            self._store.save(found)
            self._in_background(function.retire(before))

    async def remove(self, name: str) -> None:
        """Stop a function and forget it.

        Raises:
            Refused: There is no such function.
        """
        async with self._lock(name):
            function = self._functions.pop(name, None)
            if function is None:
                raise Refused(404, f"service {name} not found")
            self._store.delete(function.deployment.namespace, name)
            function.log.close()
            # Whoever removes it waits for this.
            await function.remove()
            await self._provider.forget(name)

    async def wake(self, name: str) -> None:
        """See that a function has its one replica.

        Raises:
            Refused: There is no such function.
        """
        function = self._functions.get(name)
        if function is None:
            raise Refused(404, f"service {name} not found")
        await _come_up(function, FIRST_START_SECONDS)

    # The gateway's own life

    def restore(self) -> None:
        """Take up what the store has; the processes are started in the background."""
        for kept in self._store.functions():
            deployment = moved(kept, self._url, self._inside_host)
            self._functions[deployment.name] = Function(deployment, self._provider, Log())
        self._in_background(self._start_all())
        self._in_background(self._drop_old_connections())
        self._in_background(self._collect())

    async def close(self) -> None:
        """Give up the background's work, and stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for function in self._functions.values():
            running = function.taken_out()
            if running is not None:
                running.pool.close()
        await self._provider.close()

    async def _start_all(self) -> None:
        few = asyncio.Semaphore(RESTORED_AT_ONCE)

        async def start(function: Function) -> None:
            async with few:
                await _come_up(function, START_SECONDS)

        await asyncio.gather(*(start(each) for each in self.all()))

    async def _drop_old_connections(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for function in self.all():
                function.drop_old_connections()

    async def _collect(self) -> None:
        while True:
            try:
                await collect(self._store)
            except OSError:
                pass  # what cannot be removed now is left for the next time
            await asyncio.sleep(COLLECT_SECONDS)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._changing.setdefault(name, asyncio.Lock())

    # Checking

    async def _prepared(self, deployment: Deployment, status: int) -> Deployment:
        """Find the image by its digest and check all that can be checked before anything runs."""
        known = set(self._store.secrets.names())
        for name in deployment.secrets:
            if name not in known:
                raise Refused(400, f"unable to find secret: {name}")
        image, digest = self._resolve(deployment.image, status)
        found = replace(deployment, image=image, digest=digest, created_at=_now())
        try:
            prepared = await self._provider.prepare(found)
        except StartRefused as error:
            raise Refused(status, f"unable to pull image {found.image}: {error}") from error
        return replace(
            found,
            image_env=dict(prepared.image_env),
            image_id=prepared.image_id,
            gateway_url=self._url,
        )

    def _resolve(self, image: str, status: int) -> tuple[str, str]:
        """Return an image's whole name, and its manifest's digest if it is the gateway's own."""
        reference = parse(image)
        if reference is None:
            raise Refused(400, "invalid reference format")
        if reference.repository == "process" and not reference.host:
            return with_tag(image), ""
        ours = self._is_ours(reference)
        if self._provider.pulls and self._is_elsewhere(reference, ours):
            return with_host(reference), ""
        start = (
            f'unable to pull image {image}: cannot pull: failed to resolve reference "{image}": '
        )
        if not ours:
            raise Refused(
                status,
                f"{start}this gateway takes images from its own registry only, and"
                f" {reference.host} is another",
            )
        wanted = reference.digest or reference.tag or "latest"
        found = self._store.manifest(reference.repository, wanted)
        if found is None:
            raise Refused(status, f"{start}{image}: not found")
        return with_tag(image), found[0]

    def _is_elsewhere(self, reference: Reference, ours: bool) -> bool:
        """Tell whether a name means another registry: without a host, one that this one lacks."""
        if reference.host:
            return not ours
        return self._store.tags(reference.repository) is None


async def _come_up(function: Function, seconds: float) -> None:
    """Wait for a function; that it does not come up is for its callers and its log to say."""
    try:
        async with asyncio.timeout(seconds):
            await function.revive(START_SECONDS)
    except (CannotStart, TimeoutError):
        pass


def _now() -> str:
    """Return the time as Go writes it: RFC 3339 with nanoseconds."""
    nanoseconds = time.time_ns()
    moment = datetime.fromtimestamp(nanoseconds // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09d}Z"

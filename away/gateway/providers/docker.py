"""Functions as containers of this machine's engine, by its API.

The same images that OpenFaaS runs, of any language and template, pulled by the engine from wherever
they are; those of the gateway's own registry come from there. Beside the gateway's process a warden
sees to it that no container outlives the gateway, however that ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from away.gateway.addresses import inside
from away.gateway.deploy_request import Refused
from away.gateway.providers import Prepared, StartRefused
from away.gateway.providers.container import AGAIN_SECONDS, FAILURES, Container
from away.gateway.providers.container_warden import is_ours
from away.gateway.providers.containers import configuration, read_limits
from away.gateway.providers.engine import BRIDGE, reason
from away.gateway.providers.engine_images import EngineImages

if TYPE_CHECKING:
    from aiodocker.containers import DockerContainer
    from aiodocker.stream import Stream

    from away.gateway.deploy_request import Deployment
    from away.gateway.logs import Log
    from away.gateway.providers import Instance
    from away.gateway.providers.engine import Engine
    from away.gateway.providers.engine_images import Own
    from away.gateway.store import Store

__all__ = ["DockerProvider"]

# Labels of every container: the state that it belongs to, the gateway's process, the function.
STATE_LABEL = "away.gateway"
RUN_LABEL = "away.gateway.run"
FUNCTION_LABEL = "away.function"
WARDEN = Path(__file__).with_name("container_warden.py")
# How long a function gets to end by itself when the gateway does.
CLOSING_GRACE = 2.0
# How long the engine may take to remove what it was asked to remove.
REMOVAL_SECONDS = 20.0


class DockerProvider:
    """Starts functions as containers.

    Args:
        store: Where secrets are, and by whose folder leftovers are known.
        engine: The container engine; closed with the provider.
        own: The gateway.
    """

    name = "docker"
    pulls = True
    listens_on = "port 8080 of its container"

    def __init__(self, store: Store, engine: Engine, own: Own) -> None:
        self._store = store
        self._engine = engine
        self._docker = engine.docker
        self._own = own
        # Two gateways have two folders, and one folder has one gateway at a time.
        place = str(store.folder.resolve()).encode()
        self._state = hashlib.sha256(place).hexdigest()[:16]
        self._run = secrets.token_hex(8)
        self._running: dict[str, Container] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting: set[asyncio.Task[Container]] = set()
        self._images = EngineImages(engine, own)
        self._warden: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Remove what a gateway with the same state left behind, and start the warden."""
        await self._remove_all(STATE_LABEL, self._state)
        await asyncio.to_thread(self._store.secrets.drop_containers)
        self._task(self._guarding(await self._new_warden()))

    async def prepare(self, deployment: Deployment) -> Prepared:
        """Have the engine pull the image and see that it can run.

        Raises:
            StartRefused: It cannot be had, or is none that a container can run.
            Refused: A limit cannot be read or given.
        """
        read_limits(deployment, self._engine.processors)
        try:
            found = await self._images.checked(deployment)
        except StartRefused:
            # It may have been pulled before it was found to be of the wrong kind.
            await self._drop_images()
            raise
        pairs = (each.partition("=") for each in found["Config"].get("Env") or ())
        return Prepared({name: value for name, _, value in pairs}, found["Id"])

    async def start(self, deployment: Deployment, log: Log) -> Instance:
        """Start a container for a prepared deployment.

        Raises:
            StartRefused: The engine did not start it.
        """
        starting = self._task(self._start(deployment, log))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._abandon)
            raise

    async def stop(self, instance: Instance, grace: float) -> None:
        """Stop a container by SIGTERM, after its grace by SIGKILL, and remove it."""
        assert isinstance(instance, Container)
        instance.stopping = True
        if instance.alive:
            try:
                await instance.container.stop(t=math.ceil(grace))
            except FAILURES:
                await instance.remove()
        try:
            await asyncio.wait_for(instance.gone.wait(), REMOVAL_SECONDS)
        except TimeoutError:
            pass  # the warden tries again
        await self._drop_images()

    async def forget(self, name: str) -> None:
        """Remove a function's folder, and its image unless another function has it."""
        self._images.unwant(name)
        await asyncio.to_thread(self._store.secrets.drop_function, name)
        await self._drop_images()

    async def close(self) -> None:
        """Stop and remove all containers, then let the warden see that none is left."""
        if self._starting:
            # What the engine was asked for comes, whether or not we wait for it.
            await asyncio.wait(self._starting, timeout=REMOVAL_SECONDS)
        sure = not self._starting
        stops = [self.stop(each, CLOSING_GRACE) for each in self._running.values()]
        try:
            async with asyncio.timeout(CLOSING_GRACE + REMOVAL_SECONDS):
                await asyncio.gather(*stops, return_exceptions=True)
        except TimeoutError:
            pass
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._own.temporary:
            self._images.unwant()
            await self._drop_images()
        done = await self._remove_all(RUN_LABEL, self._run)
        await self._engine.close()
        warden = self._warden
        if warden is not None:
            assert warden.stdin is not None
            if done and sure:
                warden.stdin.write(b".")
            warden.stdin.close()
            await warden.wait()

    # Containers

    async def _start(self, deployment: Deployment, log: Log) -> Container:
        identity = f"away-{deployment.name}-{secrets.token_hex(4)}"
        try:
            created, image_id = await self._created(deployment, identity)
            container = Container(created, deployment.name, image_id, log)
            stream = await _begin(container)
        except (*FAILURES, StartRefused, Refused) as error:
            self._store.secrets.drop_container(deployment.name, identity)
            text = reason(error)
            if isinstance(error, FAILURES):
                text = f"the container engine did not start it: {text}"
            # Nothing else is printed by what was never there.
            log.add(identity, text.encode("utf-8", "replace"), datetime.now(UTC))
            raise StartRefused(text) from error
        self._running[container.identity] = container
        self._task(self._watch(container, stream, identity))
        return container

    async def _created(self, deployment: Deployment, identity: str) -> tuple[DockerContainer, str]:
        """Create a container; its image is fetched again where the engine has lost it."""
        # Without one it was deployed on another provider, with which the state was used before.
        image = deployment.image_id or (await self.prepare(deployment)).image_id
        self._images.want(deployment, image)
        limits = read_limits(deployment, self._engine.processors)
        folder = self._store.secrets.folder_for_container(
            deployment.name, identity, deployment.secrets
        )
        variables = inside(deployment.env_vars, self._own.url, self._own.inside_url)
        labels = {STATE_LABEL: self._state, RUN_LABEL: self._run, FUNCTION_LABEL: deployment.name}
        wanted = configuration(deployment, image, limits, variables, labels, folder)
        create = self._docker.containers.create
        try:
            return await create(wanted, name=identity), image
        except DockerError as error:
            if error.status != 404:
                raise
        image = (await self._images.found(deployment))["Id"]
        return await create(wanted | {"Image": image}, name=identity), image

    async def _watch(self, container: Container, stream: Stream, identity: str) -> None:
        try:
            await container.watch(stream)
        finally:
            self._running.pop(container.identity, None)
            self._store.secrets.drop_container(container.function, identity)

    async def _drop_images(self) -> None:
        await self._images.drop_unused(each.image_id for each in self._running.values())

    def _abandon(self, starting: asyncio.Task[Container]) -> None:
        """Stop what was started for someone who no longer waits for it."""
        if not starting.cancelled() and starting.exception() is None:
            self._task(self.stop(starting.result(), 0.0))

    async def _remove_all(self, label: str, value: str) -> bool:
        """Remove all of our containers with a label; say whether the engine has none by now."""
        filters = json.dumps({"label": [f"{label}={value}"]})
        try:
            async with asyncio.timeout(REMOVAL_SECONDS):
                while found := [
                    each
                    for each in await self._docker.containers.list(all=True, filters=filters)
                    if is_ours(each["Names"])
                ]:
                    await asyncio.gather(*(_remove(each) for each in found))
        except FAILURES:
            return False
        return True

    def _task(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarding(self, warden: asyncio.subprocess.Process) -> None:
        """Replace a warden that ended, which nobody but its killer wanted."""
        while True:
            await warden.wait()
            await asyncio.sleep(AGAIN_SECONDS)
            warden = await self._new_warden()

    async def _new_warden(self) -> asyncio.subprocess.Process:
        """Start a warden, which waits for the end of a pipe that only we hold."""
        self._warden = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(WARDEN), self._engine.where, f"{RUN_LABEL}={self._run}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env={},
            # Ctrl-C at the terminal is the gateway's to handle.
            start_new_session=True,
        )
        return self._warden


async def _begin(container: Container) -> Stream:
    """Start a created container, connected to what it prints from its first line on."""
    engines = container.container
    stream = engines.attach(stdout=True, stderr=True)
    try:
        await stream.__aenter__()
        await engines.start()
        container.host = _address(await engines.show())
    except BaseException:
        await stream.close()
        await container.remove()
        raise
    return stream


async def _remove(container: DockerContainer) -> None:
    try:
        await container.delete(force=True, v=True)
    except FAILURES:
        await asyncio.sleep(0.1)  # it is being removed already, or the engine is busy


def _address(found: dict[str, Any]) -> str:
    """Return a container's address on the bridge; empty when it has ended already."""
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    return str((networks.get(BRIDGE) or {}).get("IPAddress") or "")

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

from away.gateway.access import host_name, is_loopback
from away.gateway.addresses import inside
from away.gateway.base_image import MARKERS
from away.gateway.deploy_request import Refused
from away.gateway.providers import PROCESS_IMAGES, Prepared, StartRefused
from away.gateway.providers.container import AGAIN_SECONDS, FAILURES, Container
from away.gateway.providers.containers import configuration, read_limits
from away.gateway.providers.engine import BRIDGE, reason
from away.gateway.providers.pull_credentials import credentials_for
from away.gateway.references import parse, with_host

if TYPE_CHECKING:
    from aiodocker.containers import DockerContainer
    from aiodocker.stream import Stream

    from away.gateway.deploy_request import Deployment
    from away.gateway.logs import Log
    from away.gateway.providers import Instance
    from away.gateway.providers.engine import Engine
    from away.gateway.references import Reference
    from away.gateway.store import Store

__all__ = ["DockerProvider", "Own"]

# Labels of every container: the state that it belongs to, the gateway's process, the function.
STATE_LABEL = "away.gateway"
RUN_LABEL = "away.gateway.run"
FUNCTION_LABEL = "away.function"
WARDEN = Path(__file__).with_name("container_warden.py")
# How long a function gets to end by itself when the gateway does.
CLOSING_GRACE = 2.0
# How long the engine may take to remove what it was asked to remove.
REMOVAL_SECONDS = 20.0


class Own:
    """The gateway as its functions and its engine see it.

    Args:
        url: Its URL for this machine, ``http://127.0.0.1:PORT``.
        inside_url: Its URL for containers.
        user: Who may pull from its registry.
        password: With which password.
        temporary: Whether nothing of it is to stay after it.
    """

    def __init__(
        self, url: str, inside_url: str, user: str, password: str, *, temporary: bool = False
    ) -> None:
        self.url = url
        self.inside_url = inside_url
        self.registry = url.partition("://")[2]
        self.credentials = {"username": user, "password": password}
        self.temporary = temporary

    def __repr__(self) -> str:
        return f"Own(url={self.url!r}, inside_url={self.inside_url!r})"


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
        # Of the gateway's own registry: repository and digest, by what the engine has the image by.
        self._pulled: dict[str, set[tuple[str, str]]] = {}
        self._latest: dict[str, str] = {}
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
        if deployment.image in PROCESS_IMAGES:
            raise StartRefused(
                "the image 'process' runs commands of this machine, which this gateway does not do"
                " since it runs functions as containers; name a real image, or start the gateway"
                " without --provider docker"
            )
        read_limits(deployment, self._engine.processors)
        found = await self._image(deployment)
        try:
            _check_image(found)
        except StartRefused:
            await self._drop_images()
            raise
        self._latest[deployment.name] = found["Id"]
        pairs = (each.partition("=") for each in found["Config"].get("Env") or ())
        return Prepared({name: value for name, _, value in pairs}, found["Id"])

    async def start(self, deployment: Deployment, log: Log) -> Instance:
        """Start a container for a prepared deployment.

        Raises:
            StartRefused: The engine did not start it.
        """
        starting = self._task(self._start(deployment, log))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._abandon)
            raise

    async def stop(self, instance: Instance, grace: float) -> None:
        """Stop a container by SIGTERM, after its grace by SIGKILL, and remove it."""
        assert isinstance(instance, Container)
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
        self._latest.pop(name, None)
        await asyncio.to_thread(self._store.secrets.drop_function, name)
        await self._drop_images()

    async def close(self) -> None:
        """Stop and remove all containers, then let the warden see that none is left."""
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
            self._latest.clear()
            await self._drop_images()
        done = await self._remove_all(RUN_LABEL, self._run)
        await self._engine.close()
        warden = self._warden
        if warden is not None:
            assert warden.stdin is not None
            if done:
                warden.stdin.write(b".")
            warden.stdin.close()
            await warden.wait()

    # Images

    async def _image(self, deployment: Deployment) -> dict[str, Any]:
        """Return the engine's description of a deployment's image, pulled if need be."""
        reference = self._reference(deployment)
        here = await self._described(reference)
        # A digest is what it is, and what was built here is nowhere else; a tag may have moved.
        if here is None or not (deployment.digest or _built_here(here, reference)):
            here = await self._pull(deployment, reference, here)
        if here is None:
            raise StartRefused(f"the engine pulled {deployment.image} and does not have it")
        self._note(deployment, here["Id"])
        return here

    async def _pull(
        self, deployment: Deployment, reference: str, here: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Pull an image; one that its registry does not know can only be the engine's own."""
        try:
            credentials = await self._credentials(deployment)
            await self._docker.images.pull(reference, auth=credentials)
        except FAILURES as error:
            missing = _is_missing(error)
            if here is not None and missing:
                return here
            start = f'cannot pull: failed to resolve reference "{deployment.image}": '
            why = f"{deployment.image}: not found" if missing else reason(error)
            raise StartRefused(start + why) from error
        return await self._described(reference)

    async def _credentials(self, deployment: Deployment) -> dict[str, str] | None:
        if deployment.digest:
            return self._own.credentials
        found = parse(deployment.image)
        return await credentials_for(found.host) if found is not None and found.host else None

    def _reference(self, deployment: Deployment) -> str:
        """Return the name by which the engine is to pull an image."""
        own = parse(deployment.image)
        if not deployment.digest or own is None:
            return deployment.image
        return f"{self._own.registry}/{own.repository}@{deployment.digest}"

    async def _described(self, reference: str) -> dict[str, Any] | None:
        try:
            return dict(await self._docker.images.inspect(reference))
        except DockerError as error:
            if error.status == 404:
                return None
            raise StartRefused(self._no_engine(error)) from error
        except FAILURES as error:
            raise StartRefused(self._no_engine(error)) from error

    def _no_engine(self, error: BaseException) -> str:
        return f"the container engine at {self._engine.where} failed: {reason(error)}"

    def _note(self, deployment: Deployment, image_id: str) -> None:
        """Remember an image of the gateway's own registry, which the engine is not to keep for ever."""
        own = parse(deployment.image)
        if deployment.digest and own is not None:
            found = self._pulled.setdefault(image_id, set())
            found.add((own.repository, deployment.digest))

    async def _drop_images(self) -> None:
        """Remove images of the gateway's registry from the engine that no function has."""
        used = {*self._latest.values(), *(each.image_id for each in self._running.values())}
        for image_id in [each for each in self._pulled if each not in used]:
            own = self._pulled.pop(image_id)
            try:
                found = await self._docker.images.inspect(image_id)
                for name in found.get("RepoDigests") or ():
                    # Also under the port that the gateway had before.
                    if _is_own(name, own):
                        await self._docker.images.delete(name)
            except FAILURES:
                pass  # someone else uses it too, or has removed it

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
        self._latest[deployment.name] = image
        self._note(deployment, image)
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
        image = (await self._image(deployment))["Id"]
        return await create(wanted | {"Image": image}, name=identity), image

    async def _watch(self, container: Container, stream: Stream, identity: str) -> None:
        try:
            await container.watch(stream)
        finally:
            self._running.pop(container.identity, None)
            self._store.secrets.drop_container(container.function, identity)

    def _abandon(self, starting: asyncio.Task[Container]) -> None:
        """Stop what was started for someone who no longer waits for it."""
        if not starting.cancelled() and starting.exception() is None:
            self._task(self.stop(starting.result(), 0.0))

    async def _remove_all(self, label: str, value: str) -> bool:
        """Remove all containers with a label; say whether the engine has none by now."""
        filters = json.dumps({"label": [f"{label}={value}"]})
        try:
            async with asyncio.timeout(REMOVAL_SECONDS):
                while found := await self._docker.containers.list(all=True, filters=filters):
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


def _check_image(found: dict[str, Any]) -> None:
    """See that an image is one that a container can run.

    Raises:
        StartRefused: It is not.
    """
    layers = (found.get("RootFS") or {}).get("Layers") or [""]
    minor = MARKERS.get(layers[0])
    if minor is not None:
        raise StartRefused(
            f"the image stands on away/python:{minor}, which is empty and only for a gateway that"
            " runs processes, and this one runs containers; publish with a base_image that is a"
            f" real image, such as docker.io/library/python:{minor}-slim"
        )
    settings = found.get("Config") or {}
    if not (settings.get("Cmd") or settings.get("Entrypoint")):
        raise StartRefused("the image has no command; give it a CMD or an ENTRYPOINT")


def _built_here(found: dict[str, Any], reference: str) -> bool:
    """Tell whether an image was built or loaded under this name, and never pulled or pushed by it."""
    wanted = parse(reference)
    names = [parse(each) for each in found.get("RepoDigests") or ()]
    same = [_repository(each) for each in names if each is not None]
    return wanted is not None and not wanted.digest and _repository(wanted) not in same


def _is_own(name: str, own: set[tuple[str, str]]) -> bool:
    found = parse(name)
    return (
        found is not None
        and is_loopback(host_name(found.host))
        and (found.repository, found.digest) in own
    )


def _repository(reference: Reference) -> str:
    return with_host(reference._replace(tag="", digest="")).rpartition(":")[0]


def _is_missing(error: BaseException) -> bool:
    """Tell whether a registry answered that it has no such image, or none for us."""
    text = reason(error).lower()
    signs = ("manifest unknown", "not found", "does not exist", "name unknown")
    unreachable = ("no such host", "dial tcp", "lookup ")
    return any(each in text for each in signs) and not any(each in text for each in unreachable)

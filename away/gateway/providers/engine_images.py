"""Images in the engine: found, pulled, checked, and removed when no function has them any more.

Pulled is from wherever an image is; one of the gateway's own registry by its digest and with the
gateway's password, and only those are removed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from away.gateway.access import host_name, is_loopback
from away.gateway.base_image import MARKERS
from away.gateway.providers import PROCESS_IMAGES, StartRefused
from away.gateway.providers.container import FAILURES
from away.gateway.providers.engine import reason
from away.gateway.providers.pull_credentials import credentials_for
from away.gateway.references import parse, with_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from away.gateway.deploy_request import Deployment
    from away.gateway.providers.engine import Engine
    from away.gateway.references import Reference

__all__ = ["EngineImages", "Own"]


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


class EngineImages:
    """The images of one gateway's functions.

    Args:
        engine: The container engine.
        own: The gateway.
    """

    def __init__(self, engine: Engine, own: Own) -> None:
        self._images = engine.docker.images
        self._where = engine.where
        self._own = own
        # Of the gateway's own registry: repository and digest, by what the engine has the image by.
        self._pulled: dict[str, set[tuple[str, str]]] = {}
        # What each function's next container is made of.
        self._wanted: dict[str, str] = {}

    async def checked(self, deployment: Deployment) -> dict[str, Any]:
        """Return the engine's description of an image that can run, pulled if need be.

        Raises:
            StartRefused: It cannot be had, or is none that a container can run.
        """
        if deployment.image in PROCESS_IMAGES:
            raise StartRefused(
                "the image 'process' runs commands of this machine, which this gateway does not do"
                " since it runs functions as containers; name a real image, or start the gateway"
                " without --provider docker"
            )
        found = await self.found(deployment)
        _check_image(found)
        self.want(deployment, found["Id"])
        return found

    async def found(self, deployment: Deployment) -> dict[str, Any]:
        """Return the engine's description of a deployment's image, pulled if need be.

        Raises:
            StartRefused: It cannot be had.
        """
        reference = self._reference(deployment)
        here = await self._described(reference)
        # A digest is what it is, and what was built here is nowhere else; a tag may have moved.
        if here is None or not (deployment.digest or _built_here(here, reference)):
            here = await self._pull(deployment, reference, here)
        if here is None:
            raise StartRefused(f"the engine pulled {deployment.image} and does not have it")
        self._note(deployment, here["Id"])
        return here

    def want(self, deployment: Deployment, image_id: str) -> None:
        """Keep an image for a function, in place of the one that was kept for it."""
        self._wanted[deployment.name] = image_id
        self._note(deployment, image_id)

    def unwant(self, function: str | None = None) -> None:
        """Keep no image any more for a function, or for any."""
        if function is None:
            self._wanted.clear()
        else:
            self._wanted.pop(function, None)

    async def drop_unused(self, running: Iterable[str]) -> None:
        """Remove the own registry's images from the engine that no function has.

        Args:
            running: What the engine has the images of running containers by.
        """
        used = {*self._wanted.values(), *running}
        for image_id in [each for each in self._pulled if each not in used]:
            own = self._pulled.pop(image_id)
            try:
                found = await self._images.inspect(image_id)
                for name in found.get("RepoDigests") or ():
                    # Also under the port that the gateway had before.
                    if _is_own(name, own):
                        await self._images.delete(name)
            except FAILURES:
                pass  # someone else uses it too, or has removed it

    async def _pull(
        self, deployment: Deployment, reference: str, here: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """Pull an image; one that its registry does not know can only be the engine's own."""
        try:
            credentials = await self._credentials(deployment)
            await self._images.pull(reference, auth=credentials)
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
            return dict(await self._images.inspect(reference))
        except DockerError as error:
            if error.status == 404:
                return None
            raise StartRefused(self._no_engine(error)) from error
        except FAILURES as error:
            raise StartRefused(self._no_engine(error)) from error

    def _no_engine(self, error: BaseException) -> str:
        return f"the container engine at {self._where} failed: {reason(error)}"

    def _note(self, deployment: Deployment, image_id: str) -> None:
        """Remember an image of the gateway's own registry, which the engine is not to keep for ever."""
        own = parse(deployment.image)
        if deployment.digest and own is not None:
            found = self._pulled.setdefault(image_id, set())
            found.add((own.repository, deployment.digest))


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

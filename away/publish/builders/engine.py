"""A container engine as the ``docker`` builder uses it: inspect, pull, build, run, push.

All of it goes through aiodocker, on an event loop of its own beside the conversation of a publish, so
that sync and async callers are served alike. It knows images and nothing of functions.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from away.exceptions import AuthenticationRefused, PublishFailed
from away.names import printable
from away.publish.beside import Beside
from away.publish.builders.transcript import Pushed, Transcript
from away.secret_texts import hidden

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    import aiohttp

    from away.connection.conversations import Conversation, Deadline
    from away.publish.credentials import RegistryLogin
    from away.publish.progress import Progress

__all__ = ["Engine", "LocalImage", "engine_place", "with_engine"]

SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "~/.docker/run/docker.sock")
# An engine that stands on this machine answers at once; one far away by ssh takes its time.
ANSWER_SECONDS = 20.0
# What a cancelled build is given to take its containers away.
CANCEL_SECONDS = 5.0
WITHOUT = "leave image_builder= out, or say image_builder='registry', which needs no Docker"

# How an engine says that a step's program failed.
_ENDED = re.compile(r"The command '.*' returned a non-zero code: (\d+)", re.DOTALL)

T = TypeVar("T")


class LocalImage(NamedTuple):
    """An image that the engine has.

    Attributes:
        identity: Its ID, ``sha256:…``.
        architecture: Its processor, by Go's names.
        system: ``linux``.
        user: As whom it runs; an empty text for root.
    """

    identity: str
    architecture: str
    system: str
    user: str


def engine_place() -> str:
    """Say where the engine is looked for, without a login that the address may have."""
    if host := os.environ.get("DOCKER_HOST"):
        scheme, separator, rest = host.partition("://")
        return f"DOCKER_HOST={scheme}{separator}{rest.rpartition('@')[2]}"
    if context := os.environ.get("DOCKER_CONTEXT"):
        return f"DOCKER_CONTEXT={context}"
    paths = [Path(each).expanduser() for each in SOCKETS]
    found = next((each for each in paths if each.is_socket()), paths[1])
    return f"unix://{found}"


# ---------------------------------------------------------------- beside a conversation


class Errand(Generic[T]):
    """Work with an engine on an event loop of its own.

    Args:
        work: What to do with the engine.
        progress: Is told what the engine prints.
        deadline: Until when it may take.
    """

    def __init__(
        self,
        work: Callable[[Engine], Awaitable[T]],
        progress: Progress,
        deadline: Deadline | None,
    ) -> None:
        self.work = work
        self.progress = progress
        self.deadline = deadline
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[T] | None = None

    def run(self) -> T:
        """Do it; called in a thread of its own."""
        return asyncio.run(self.main())

    async def main(self) -> T:
        """Connect, work, and disconnect, within the time that is left."""
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        limit = self.deadline
        left = None if limit is None or limit.seconds == float("inf") else limit.remaining()
        try:
            async with asyncio.timeout(left), connected(self.progress) as engine:
                return await self.work(engine)
        except TimeoutError as error:
            assert limit is not None, "there is a limit that passed"
            raise PublishFailed(
                f"the container engine was not done within the {limit.seconds:g} seconds of"
                f" publish_timeout while it was {self.progress.now()}; give it more, and the same"
                " command again goes on from there",
                step=self.progress.current,
            ) from error

    def cancel(self) -> None:
        """End it from another thread."""
        loop, task = self.loop, self.task
        if loop is not None and task is not None:
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                pass  # it has ended already


def with_engine(
    work: Callable[[Engine], Awaitable[T]], progress: Progress, deadline: Deadline | None = None
) -> Conversation[T]:
    """Do something with the engine; a conversation that is given up ends the work too."""
    errand = Errand(work, progress, deadline)
    beside = Beside(errand.run)
    try:
        return (yield from beside.result())
    except BaseException:
        if beside.thread.is_alive():
            errand.cancel()
            beside.thread.join(CANCEL_SECONDS)
        raise


@asynccontextmanager
async def connected(progress: Progress) -> AsyncIterator[Engine]:
    """Connect to the engine that the environment names.

    Raises:
        PublishFailed: There is none that answers.
    """
    import aiodocker
    from aiodocker.exceptions import DockerContextError

    place = engine_place()
    try:
        docker = aiodocker.Docker(os.environ.get("DOCKER_HOST") or None)
    except (AssertionError, ValueError, OSError, ImportError, DockerContextError) as error:
        # aiodocker says by an assertion that it found no socket.
        raise absent(place, str(error) or "there is no such socket") from error
    answers = noted_answers(docker.session)
    try:
        yield Engine(docker, place, progress)
    finally:
        for each in answers:
            each.close()
        await docker.close()


def noted_answers(session: aiohttp.ClientSession) -> list[aiohttp.ClientResponse]:
    """Return a list that gets all answers of a session: aiodocker closes none that breaks off."""
    import aiohttp

    answers: list[aiohttp.ClientResponse] = []

    async def note(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
        answers.append(end.response)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    trace.freeze()
    session.trace_configs.append(trace)
    return answers


def absent(place: str, why: str) -> PublishFailed:
    """Make the error for an engine that does not answer."""
    # aiodocker's texts repeat the address, which may have a login.
    short = printable(hidden(re.sub(r"\S+@", "…@", why)))[:200]
    return PublishFailed(
        f"no container engine answers at {place} ({short}); start Docker, or name another engine by"
        f" DOCKER_HOST, or {WITHOUT}",
        step="engine",
    )


# ---------------------------------------------------------------- the engine


class Engine:
    """A container engine.

    Args:
        docker: The connection.
        place: Where it is, for errors.
        progress: Is told what it prints.
    """

    def __init__(self, docker: Any, place: str, progress: Progress) -> None:
        self.docker = docker
        self.place = place
        self.progress = progress

    async def check(self) -> None:
        """See that the engine answers.

        Raises:
            PublishFailed: It does not.
        """
        from aiodocker.exceptions import DockerError

        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.docker.version()
        except TimeoutError as error:
            raise absent(self.place, f"no answer within {ANSWER_SECONDS:g} s") from error
        except (DockerError, OSError, ValueError, KeyError) as error:
            raise absent(self.place, said(error)) from error

    async def image(self, name: str) -> LocalImage | None:
        """Return what the engine has under a name or ID; None where it has nothing."""
        from aiodocker.exceptions import DockerError

        try:
            found = await self.docker.images.inspect(name)
        except DockerError as error:
            if error.status == 404:
                return None
            raise self.failed(f"the engine cannot look up {name}", error, "base image") from error
        config = found.get("Config") or {}
        return LocalImage(
            str(found.get("Id") or ""),
            str(found.get("Architecture") or ""),
            str(found.get("Os") or "linux"),
            str(config.get("User") or ""),
        )

    async def pull(self, name: str, login: RegistryLogin | None, platform: str | None) -> None:
        """Have the engine pull an image.

        Args:
            name: With its registry's host.
            login: Who we are there.
            platform: For which machine; the engine's own if None.

        Raises:
            PullFailed: It could not.
        """
        from aiodocker.exceptions import DockerError

        transcript = Transcript(self.progress)
        options: dict[str, Any] = {"platform": platform} if platform else {}
        if login is not None:
            options["auth"] = header_fields(login)
        try:
            async for each in self.docker.images.pull(name, stream=True, **options):
                transcript.note(each)
        except (DockerError, OSError, ValueError) as error:
            raise PullFailed(said(error)) from error

    async def build(
        self,
        context: IO[bytes],
        doing: str,
        *,
        dockerfile: str = "Dockerfile",
        tag: str | None = None,
        labels: Mapping[str, str] | None = None,
        arguments: Mapping[str, str] | None = None,
        platform: str | None = None,
    ) -> str:
        """Build an image and return its ID; of one that fails nothing is left.

        Args:
            context: The archive with the Dockerfile, from its beginning.
            doing: What is built, for errors.
            dockerfile: The Dockerfile's path in it.
            tag: What to call the image.
            labels: Labels beside those of the Dockerfile.
            arguments: Build arguments.
            platform: For which machine; the base's own if None.

        Raises:
            PublishFailed: A step failed; the sentence has its last lines.
        """
        from aiodocker.exceptions import DockerError

        transcript = Transcript(self.progress)
        try:
            async for each in self.docker.images.build(
                fileobj=context,
                encoding="identity",
                path_dockerfile=dockerfile,
                tag=tag,
                rm=True,
                forcerm=True,
                labels=labels,
                buildargs=arguments,
                platform=platform,
                stream=True,
            ):
                transcript.note(each)
            if not transcript.identity:
                raise OSError("its answer ended before the image was there")
        except (DockerError, OSError, ValueError) as error:
            await self.clear(transcript.made)
            raise self.failed(doing, error, "build", transcript) from error
        except asyncio.CancelledError:
            await asyncio.shield(self.clear(transcript.made))
            raise
        return transcript.identity

    async def clear(self, identities: list[str]) -> None:
        """Remove what a failed build left: images of its steps that nothing else stands on."""
        from aiodocker.exceptions import DockerError

        for each in reversed(identities):
            try:
                await self.docker.images.delete(each, noprune=True)
            except (DockerError, OSError):
                continue  # in use by someone, or never there

    async def run(self, image: str, command: list[str]) -> tuple[int | None, str]:
        """Run a program in an image, without network, and take the container away.

        Returns:
            Its exit status and what it printed; None and the reason where it could not be started.
        """
        from aiodocker.exceptions import DockerError

        config = {
            "Image": image,
            "Entrypoint": command[:1],
            "Cmd": command[1:],
            "User": "0",
            "HostConfig": {"NetworkMode": "none"},
        }
        try:
            container = await self.docker.containers.create(config)
        except DockerError as error:
            raise self.failed(f"the engine cannot run {image[:19]}", error, "base image") from error
        try:
            await container.start()
            ended = await container.wait()
            lines = await container.log(stdout=True, stderr=ended["StatusCode"] != 0)
            return int(ended["StatusCode"]), "".join(lines)
        except DockerError as error:
            return None, said(error)
        finally:
            await asyncio.shield(container.delete(force=True, v=True))

    async def push(self, name: str, tag: str, login: RegistryLogin | None) -> str:
        """Have the engine push an image, and return the digest of its manifest.

        Args:
            name: Without its tag, and with its registry's host.
            tag: Its tag.
            login: Who we are there.

        Raises:
            AuthenticationRefused: The registry wants another login.
            PublishFailed: It could not be pushed.
        """
        from aiodocker.exceptions import DockerError

        pushed = Pushed(self.progress)
        auth = {"auth": header_fields(login)} if login is not None else {}
        try:
            async for each in self.docker.images.push(name, tag=tag, stream=True, **auth):
                pushed.note(each)
        except (DockerError, OSError, ValueError) as error:
            raise self.refused(name, login, error) from error
        if not pushed.digest:
            raise PublishFailed(
                f"the push of {name} ended before all of it was at the registry; the same command"
                " again goes on from there",
                step="push",
            )
        return pushed.digest

    # ------------------------------------------------------------ errors

    def refused(self, name: str, login: RegistryLogin | None, error: BaseException) -> Exception:
        """Make the error for a push that failed."""
        registry = name.partition("/")[0]
        why = said(error)
        if is_denied(why):
            sent = login.who if login is not None else "no login, for none is known here"
            return AuthenticationRefused(
                f"the registry {registry} refused {sent} when the container engine pushed to it"
                f" ({why}); log in by 'docker login {registry}', or give registry_auth=(user,"
                " password)",
                hint=f"log in by 'docker login {registry}'",
            )
        if "HTTP response to HTTPS client" in why:
            return PublishFailed(
                f"the container engine asks the registry {registry} by https and it speaks http:"
                " list it under insecure-registries in the engine's daemon.json, or give it https",
                step="push",
            )
        return self.failed(f"the engine could not push {name}", error, "push")

    def failed(
        self,
        doing: str,
        error: BaseException,
        step: str,
        transcript: Transcript | None = None,
    ) -> PublishFailed:
        """Make the error for what the engine could not do."""
        # A step is named already, with the command that the engine repeats.
        why = _ENDED.sub(r"it returned a non-zero code: \1", said(error))
        at = f" at {transcript.step!r}" if transcript and transcript.step else ""
        lines = transcript.last_lines() if transcript else ""
        if "no space left on device" in f"{why} {lines}".lower():
            return PublishFailed(
                f"{doing} failed{at}: the disk of the container engine at {self.place} is full; free"
                " some by 'docker system prune'",
                step=step,
            )
        if "exec format error" in f"{why} {lines}":
            return PublishFailed(
                f"{doing} failed{at}: the container engine at {self.place} cannot run programs of"
                " that platform; install QEMU's binfmt handlers, or leave platform= out",
                step=step,
            )
        ends = f"; its last lines are: {lines}" if lines else ""
        return PublishFailed(f"{doing} failed{at}: {why}{ends}", step=step)


class PullFailed(Exception):
    """An image could not be pulled; the text is the engine's, without secrets."""

    @property
    def denied(self) -> bool:
        """Whether the registry wants another login, as some also say of what they do not have."""
        return is_denied(str(self))


def header_fields(login: RegistryLogin) -> dict[str, str]:
    """Return a login as the engine takes it (Engine API, "Authentication")."""
    if login.token is not None:
        return {"registrytoken": login.token.reveal()}
    if login.identity is not None:
        return {"identitytoken": login.identity.reveal()}
    password = login.password.reveal() if login.password else ""
    return {"username": login.user, "password": password}


def said(error: BaseException) -> str:
    """Return what the engine said, for people: one line, without secrets."""
    text = str(getattr(error, "message", "") or error or type(error).__name__)
    return printable(hidden(" ".join(text.split())))[:500]


def is_denied(text: str) -> bool:
    """Tell whether an engine's words mean that a registry wants another login."""
    lowered = text.lower()
    signs = ("unauthorized", "authentication required", "no basic auth credentials", "denied")
    return any(sign in lowered for sign in signs)

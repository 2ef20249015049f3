"""Functions as processes of this machine, all of them below one warden.

An image that stands on ``away/python:<minor>`` is unpacked and its Python command is run by the
gateway's interpreter through the launcher; the reserved image ``process`` runs a command once a
request through the watchdog. A process gets its own environment and nothing of the gateway's but PATH.
"""

from __future__ import annotations

import asyncio
import json
import os
import posixpath
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from away.gateway.base_image import MARKERS, MINOR
from away.gateway.images import Image, ImageRefused, Images
from away.gateway.providers import PROCESS_IMAGES, Prepared, StartRefused, launcher
from away.gateway.providers.ports import answering
from away.gateway.providers.warden import adopt_orphans, sweep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from away.gateway.deploy_request import Deployment
    from away.gateway.logs import Feed, Log
    from away.gateway.providers import Instance
    from away.gateway.store import Store

__all__ = ["ProcessProvider"]

# Below the range from which Linux and macOS take ports for outgoing connections.
PORTS = range(20_000, 32_768)
HERE = Path(__file__).parent
# How long a function gets to end by itself when the gateway does.
CLOSING_GRACE = 2.0


class Process:
    """One running function."""

    host = "127.0.0.1"

    def __init__(self, identity: str, port: int, scratch: str, feed: Feed) -> None:
        self.identity = identity
        self.port = port
        self.scratch = scratch
        self.pid = 0
        self.feed = feed
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[int] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.exit_status: int | None = None
        self._ended = asyncio.Event()

    @property
    def name(self) -> str:
        """Its number, which its log lines stand under."""
        return str(self.pid)

    @property
    def alive(self) -> bool:
        """False from the moment that its end was reported."""
        return not self._ended.is_set()

    def has_ended(self, status: int | None) -> None:
        """Take the report of its end."""
        self.exit_status = status
        self._ended.set()

    async def ended(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait for the report of its end, and for its last lines of output."""
        try:
            await asyncio.wait_for(self._ended.wait(), timeout)
            await asyncio.wait({self.feed.ended}, timeout=0.2)
        except TimeoutError:
            return False
        return True

    async def listening(self, timeout: float) -> bool:  # noqa: ASYNC109 - a deadline passed on
        """Wait until its port answers; False when it ended, or has not by then."""
        return await answering(self.host, self.port, self._ended, timeout)


class ProcessProvider:
    """Starts functions as processes.

    Args:
        store: Where blobs and secrets are.
        python: The interpreter for functions.
        extra_path: Folders of the gateway that its interpreter does not find in isolated mode.
    """

    name = "process"
    pulls = False
    listens_on = "the port in PORT"

    def __init__(self, store: Store, python: str, extra_path: tuple[str, ...] = ()) -> None:
        self._store = store
        self._python = python
        self._extra_path = os.pathsep.join(extra_path)
        self._images = Images(store.blobs, store.folder)
        self._warden: Warden | None = None
        self._starting = asyncio.Lock()

    async def prepare(self, deployment: Deployment) -> Prepared:
        """Unpack the image and see that its command can run here; return its environment.

        Raises:
            StartRefused: It cannot, and the text says why.
        """
        if deployment.image in PROCESS_IMAGES:
            if not deployment.env_process.strip():
                raise StartRefused(
                    "the image 'process' runs the deployment's envProcess, which is empty"
                )
            return Prepared({})
        image = self._read(deployment)
        self._python_command(image)
        await self._root(image)
        return Prepared(image.env)

    async def start(self, deployment: Deployment, log: Log) -> Instance:
        """Start a process for a prepared deployment.

        Raises:
            StartRefused: The warden could not start it.
        """
        port = free_port()
        scratch = await asyncio.to_thread(tempfile.mkdtemp, prefix="away-")
        if deployment.image in PROCESS_IMAGES:
            argv = [self._python, "-I", "-S", str(HERE / "watchdog.py")]
            folder, image_env = Path(scratch), {}
        else:
            image = self._read(deployment)
            root = await self._root(image)
            argv, image_env = self._argv(image, root), image.env
            # Normalised below a slash, ".." leads nowhere.
            folder = root / posixpath.normpath("/" + image.working_folder).lstrip("/")
            if not folder.resolve().is_relative_to(root.resolve()):
                raise StartRefused("the image's working folder leads out of the image")
            folder.mkdir(parents=True, exist_ok=True)
        environment = self._environment(deployment, image_env, port, scratch)
        warden = await self._running_warden()
        return await warden.start(argv, environment, folder, scratch, port, log)

    async def stop(self, instance: Instance, grace: float) -> None:
        """Stop a process with all that it started."""
        assert isinstance(instance, Process)
        if self._warden is not None and not instance.gone.done():
            await self._warden.stop(instance, grace)

    async def forget(self, name: str) -> None:
        """Remove a function's folder."""
        folder = self._store.folder / "functions" / name
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def close(self) -> None:
        """Stop all processes and the warden."""
        if self._warden is not None:
            await self._warden.close()
            adopt_orphans(False)

    def _read(self, deployment: Deployment) -> Image:
        try:
            return self._images.read(deployment.digest)
        except ImageRefused as error:
            raise StartRefused(str(error)) from error

    async def _root(self, image: Image) -> Path:
        try:
            return await self._images.root(image)
        except ImageRefused as error:
            raise StartRefused(str(error)) from error

    def _argv(self, image: Image, root: Path) -> list[str]:
        command = self._python_command(image)
        options = list(command.options)
        if image.env.get("PYTHONUNBUFFERED") and not command.ignores_environment:
            # Isolated mode ignores the variable, and lines would reach the log in blocks.
            options.append("-u")
        script = str(HERE / "launcher.py")
        arguments = [str(root), self._extra_path, *image.command[1:]]
        return [self._python, "-I", *options, script, *arguments]

    def _python_command(self, image: Image) -> launcher.Command:
        _check_base(image)
        program = Path(image.command[0]).name if image.command else ""
        if program not in ("python", "python3", f"python{MINOR}"):
            raise StartRefused(
                f"this gateway runs images whose command starts with python3, and the image's"
                f" starts with {program!r}"
            )
        try:
            return launcher.take_apart(list(image.command[1:]))
        except ValueError as error:
            raise StartRefused(str(error)) from error

    def _environment(
        self, deployment: Deployment, image_env: Mapping[str, str], port: int, scratch: str
    ) -> dict[str, str]:
        own = self._store.secrets.folder_for(deployment.name, deployment.secrets)
        process = {"fprocess": deployment.env_process} if deployment.env_process else {}
        image_env = {name: value for name, value in image_env.items() if name != "PATH"}
        return {
            # The image's PATH names folders that are not there; programs are this machine's.
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": scratch,
            "TMPDIR": scratch,
            **image_env,
            **deployment.env_vars,
            **process,
            "PORT": str(port),
            "AWAY_SECRETS_DIR": str(own),
        }

    async def _running_warden(self) -> Warden:
        async with self._starting:
            if self._warden is None or self._warden.lost:
                self._warden = await Warden.run(self._python)
            return self._warden


class Warden:
    """The gateway's end of the socket to the warden's process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        control: socket.socket,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._process = process
        self._control = control
        self._reader, self._writer = streams
        self._functions: dict[str, Process] = {}
        self._sending = asyncio.Lock()
        self._stopping: set[asyncio.Future[None]] = set()
        self.lost = False
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def run(cls, python: str) -> Warden:
        """Start the warden's process, whose functions become ours if it is killed."""
        adopt_orphans(True)
        ours, theirs = socket.socketpair()
        with theirs:
            process = _spawn_warden(python, theirs)
        ours.setblocking(False)
        # Descriptors can only be sent on the socket itself, beside the streams.
        control = ours.dup()
        return cls(process, control, await asyncio.open_connection(sock=ours))

    async def start(
        self,
        argv: list[str],
        environment: dict[str, str],
        folder: Path,
        scratch: str,
        port: int,
        log: Log,
    ) -> Process:
        """Start a process and wait until the system has it."""
        feed = log.feed("")
        identity = secrets.token_hex(8)
        process = self._functions[identity] = Process(identity, port, scratch, feed)
        message: dict[str, object] = {
            "do": "start",
            "id": identity,
            "argv": argv,
            "env": environment,
            "cwd": str(folder),
            "scratch": scratch,
        }
        reading, writing = os.pipe()
        # Read only once the number is known that its lines stand under.
        with os.fdopen(writing, "wb"), os.fdopen(reading, "rb", 0) as output:
            await self._send(message, writing)
            process.pid = await self._started(process)
            feed.instance = str(process.pid)
            pipe = os.fdopen(os.dup(output.fileno()), "rb", 0)
            await asyncio.get_running_loop().connect_read_pipe(lambda: feed, pipe)
        return process

    async def _started(self, process: Process) -> int:
        """Wait for a process's number; if nobody waits any more, stop it as soon as it is there."""
        try:
            return await asyncio.shield(process.started)
        except asyncio.CancelledError:
            process.started.add_done_callback(lambda _: self._abandon(process))
            raise

    def _abandon(self, process: Process) -> None:
        if process.started.exception() is None:
            task = asyncio.ensure_future(self.stop(process, 0.0))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def stop(self, process: Process, grace: float) -> None:
        """Stop a process and wait until nothing of it is left."""
        if process.gone.done():
            return
        await self._send({"do": "stop", "id": process.identity, "grace": grace})
        await asyncio.shield(process.gone)

    async def close(self) -> None:
        """Stop every function, then let the warden go, which ends whatever is left."""
        running = [each for each in self._functions.values() if each.alive]
        stops = (self.stop(each, CLOSING_GRACE) for each in running)
        try:
            async with asyncio.timeout(CLOSING_GRACE + 3):
                await asyncio.gather(*stops, return_exceptions=True)
        except TimeoutError:
            pass
        self._control.close()
        self._writer.close()
        await self._listener

    async def _send(self, message: dict[str, object], descriptor: int | None = None) -> None:
        data = json.dumps(message).encode() + b"\n"
        async with self._sending:
            if self.lost:
                raise StartRefused("the warden of the gateway's processes has ended; try again")
            if descriptor is not None:
                await self._send_descriptor(data[:1], descriptor)
                data = data[1:]
            self._writer.write(data)
            await self._writer.drain()

    async def _send_descriptor(self, first: bytes, descriptor: int) -> None:
        # What was written before must be on its way first, or the two would change places.
        transport = self._writer.transport
        while transport.get_write_buffer_size():  # noqa: ASYNC110 - a handful of bytes, rarely
            await asyncio.sleep(0.001)
        while True:
            try:
                socket.send_fds(self._control, [first], [descriptor])
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except OSError as error:
                raise StartRefused("the warden of the gateway's processes has ended") from error
            else:
                return

    async def _listen(self) -> None:
        """Take the warden's reports until its socket ends."""
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except (ConnectionError, ValueError):
            pass
        identities = list(self._functions)
        self._warden_ended()
        await asyncio.to_thread(self._process.wait)
        # What a warden that was killed left behind; one that ended by itself leaves nothing.
        await asyncio.to_thread(sweep, identities)

    def _take(self, report: dict[str, object]) -> None:
        process = self._functions.get(str(report["id"]))
        if process is None:
            return
        if "pid" in report:
            process.started.set_result(int(str(report["pid"])))
        elif "failed" in report:
            process.has_ended(None)
            process.started.set_exception(StartRefused(str(report["failed"])))
            self._forget(process)
        elif "exit" in report:
            process.has_ended(int(str(report["exit"])))
        elif "gone" in report:
            self._forget(process)

    def _forget(self, process: Process) -> None:
        self._functions.pop(process.identity, None)
        if not process.gone.done():
            process.gone.set_result(None)

    def _warden_ended(self) -> None:
        """Take all functions for dead; kill what a warden that was killed itself left behind."""
        self.lost = True
        self._writer.close()
        for process in list(self._functions.values()):
            if process.alive:
                if process.pid:
                    kill_group(process.pid)
                process.has_ended(None)
            shutil.rmtree(process.scratch, ignore_errors=True)
            if not process.started.done():
                process.started.set_exception(StartRefused("the warden ended"))
                process.started.exception()  # its waiter may be gone
            self._forget(process)


def kill_group(pid: int) -> None:
    """Kill a process group that may be gone."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def free_port() -> int:
    """Return a port on which nothing listens at this moment.

    Raises:
        StartRefused: A hundred ports in a row were taken.
    """
    for _ in range(100):
        port = random.choice(PORTS)  # noqa: S311 - to be spread, not to be secret
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104 - to see that no address has it
            except OSError:
                continue
            return port
    raise StartRefused("no free port was found for the function; stop other programs and try again")


def _spawn_warden(python: str, control: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [python, "-I", "-S", str(HERE / "warden.py")],
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        env={},
        # Ctrl-C at the terminal is the gateway's to handle.
        start_new_session=True,
    )


def _check_base(image: Image) -> None:
    first = image.layers[0][2] if image.layers else ""
    minor = MARKERS.get(first)
    if minor is None:
        raise StartRefused(
            f"the image does not stand on away/python:{MINOR}, and this gateway, which has no"
            " containers, runs only images that do"
        )
    if minor != MINOR:
        raise StartRefused(
            f"the image stands on away/python:{minor} and this gateway runs Python {MINOR};"
            f" publish with Python {MINOR}, or start the gateway with Python {minor}"
        )

"""The container engine as the tests use it: by the ``docker`` command, which is no part of Away."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = f"away-test/python:{MINOR}-slim"
LABEL = "away-test-session"
PREPARE = "run .ci/containers as root to install and start what these tests need"


class NoDocker(Exception):
    """What the container tests need is not there; the text says what, and how to get it."""


def docker(*arguments: str, stdin: bytes | None = None, timeout: float = 120) -> str:
    """Run one ``docker`` command and give what it printed.

    Raises:
        subprocess.CalledProcessError: The command failed; its stderr is in the note.
    """
    command = ["docker", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(done.stderr.decode(errors="replace").strip())
        raise error
    return done.stdout.decode().strip()


def check_engine() -> None:
    """Make sure that an engine answers, or raise `NoDocker`."""
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout=20)
    except FileNotFoundError:
        raise NoDocker(f"the command docker is not on the path; {PREPARE}") from None
    except subprocess.TimeoutExpired:
        raise NoDocker(f"the engine does not answer; {PREPARE}") from None
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NoDocker(f"{' '.join(why) or 'docker version failed'}; {PREPARE}") from None


def find_base() -> str:
    """Give the name of the base image for this Python's minor version, or raise `NoDocker`."""
    if not docker("images", "--quiet", BASE):
        raise NoDocker(f"the engine has no image {BASE}; {PREPARE}")
    return BASE


@dataclass
class Container:
    """A running container that listens on a free port of 127.0.0.1."""

    id: str
    url: str

    def logs(self) -> str:
        """Give what it printed so far, both streams."""
        done = subprocess.run(
            ["docker", "logs", self.id],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
        )
        return done.stdout.decode(errors="replace")

    def run(self, *command: str) -> str:
        """Run a command inside, and give what it printed."""
        return docker("exec", self.id, *command)

    def remove(self) -> None:
        """End it and take it away."""
        docker("rm", "--force", "--volumes", self.id)


@dataclass
class Engine:
    """One session's view of the engine: what it starts carries its label, and ends with it."""

    session: str = field(default_factory=lambda: f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
    registries: list[str] = field(default_factory=list)

    def start(self, image: str, *options: str, port: int = 8080, command: tuple[str, ...] = ()):
        """Run an image detached, with ``port`` published on 127.0.0.1, and give the `Container`."""
        identity = docker(
            "run", "--detach", "--label", f"{LABEL}={self.session}",
            "--publish", f"127.0.0.1::{port}", *options, image, *command,
        )  # fmt: skip
        address = docker("port", identity, str(port)).splitlines()[0]
        return Container(identity, f"http://{address}")

    def clear(self) -> None:
        """Remove this session's containers, and the images that came from its registries."""
        if containers := docker(
            "ps", "--all", "--quiet", "--filter", f"label={LABEL}={self.session}"
        ):
            docker("rm", "--force", "--volumes", *containers.split())
        for host in self.registries:
            self.forget(host)

    def forget(self, host: str) -> None:
        """Remove every image of one registry from the engine."""
        listed = docker(
            "images", "--format", "{{.Repository}} {{.ID}} {{.Digest}} {{.Tag}}", "--digests"
        )
        for line in listed.splitlines():
            repository, identity, digest, tag = line.split()
            if repository.startswith(f"{host}/"):
                name = f"{repository}:{tag}" if tag != "<none>" else f"{repository}@{digest}"
                reference = name if digest != "<none>" or tag != "<none>" else identity
                # A container of someone else's may still use it: then it is theirs to remove.
                subprocess.run(["docker", "rmi", reference], capture_output=True, check=False)

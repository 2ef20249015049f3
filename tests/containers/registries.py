"""Real registries for the tests: Debian's docker-registry, each on a free port with its own folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tests.containers.engine import MINOR, PREPARE, NoDocker, docker

# Read at import: each test has a home of its own, and this cache is the machine's.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "away-ci"
REPOSITORY = "python"
TAG = f"{MINOR}-slim"


@dataclass(frozen=True)
class Locked:
    """A registry that asks for a password."""

    host: str
    user: str
    password: str = field(repr=False)


def check_registry() -> None:
    """Make sure that the registry's program is there, or raise `NoDocker`."""
    for program, package in {
        "docker-registry": "docker-registry",
        "htpasswd": "apache2-utils",
    }.items():
        if shutil.which(program) is None:
            raise NoDocker(f"{program} (Debian's package {package}) is not installed; {PREPARE}")


@contextlib.contextmanager
def serve(
    storage: Path, *, port: int = 0, users: dict[str, str] | None = None, read_only: bool = False
) -> Iterator[str]:
    """Run a registry on 127.0.0.1 for the length of a ``with`` block, and give its HOST:PORT.

    Args:
        storage: The folder that holds its blobs; it is left as it is afterwards.
        port: The port; a free one if 0.
        users: Names and passwords that it asks for; None for an open registry.
        read_only: Whether it refuses every push.
    """
    with tempfile.TemporaryDirectory(prefix="away-registry-") as folder:
        settings = Path(folder) / "registry.json"
        settings.write_text(json.dumps(_settings(storage, port, users, read_only, Path(folder))))
        # The registry ends with the process that started it, even where that one is killed.
        tie = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        process = subprocess.Popen(
            [*tie, "docker-registry", "serve", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        try:
            port = _listening_port(process.stdout)
            # Its log is read on, so that it never stands still on a full pipe.
            reader = threading.Thread(target=process.stdout.read)
            reader.start()
            try:
                yield f"127.0.0.1:{port}"
            finally:
                process.kill()
                reader.join()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _settings(
    storage: Path, port: int, users: dict[str, str] | None, read_only: bool, folder: Path
) -> dict[str, object]:
    # YAML's JSON subset: https://distribution.github.io/distribution/about/configuration/
    maintenance = {"uploadpurging": {"enabled": False}, "readonly": {"enabled": read_only}}
    settings: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "maintenance": maintenance,
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of-these-tests"},
    }
    if users:
        path = folder / "htpasswd"
        path.touch()
        for user, password in users.items():
            subprocess.run(
                ["htpasswd", "-iB", str(path), user],
                input=password.encode(), capture_output=True, check=True,
            )  # fmt: skip
        settings["auth"] = {"htpasswd": {"realm": "away tests", "path": str(path)}}
    return settings


def _listening_port(log: TextIO) -> int:
    seen = []
    for line in log:
        seen.append(line)
        if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise RuntimeError(f"docker-registry ended at its start: {''.join(seen)}")


def with_base(base_image: str, folder: Path) -> Path:
    """Make a registry's folder that holds the base image as ``python:3.x-slim``, quickly.

    The engine compresses the image at a push, which takes seconds. So it is pushed once per machine,
    and the folder that this gives is a copy of what was kept then.
    """
    identity = docker("image", "inspect", "--format", "{{.Id}}", base_image).removeprefix("sha256:")
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = CACHE / f"registry-{MINOR}-{identity[:16]}"
    with (CACHE / "registry.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for old in CACHE.glob(f"registry-{MINOR}-*"):
                shutil.rmtree(old)
            _push_base(base_image, kept)
        return Path(shutil.copytree(kept, folder))


def _push_base(base_image: str, kept: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(dir=CACHE, prefix="unfinished-"))
    try:
        with serve(unfinished) as host:
            name = f"{host}/{REPOSITORY}:{TAG}"
            docker("tag", base_image, name)
            try:
                docker("push", name, timeout=300)
            finally:
                docker("rmi", name)
        unfinished.rename(kept)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)

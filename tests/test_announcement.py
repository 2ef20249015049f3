"""A running gateway is found by its user's other processes, and by nobody else's trick."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import away.gateway
from away.gateway import announcement
from away.gateway.announcement import FILE, AlreadyRunning, Announcement, announce, announced, read


@pytest.fixture
def ours():
    return Announcement("http://127.0.0.1:1", "admin", "a-password", os.getpid(), "/state")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    folder = tmp_path / "run"
    monkeypatch.setenv("AWAY_RUNTIME_DIR", str(folder))
    return folder


def test_a_gateway_is_found_while_it_holds_its_lock_and_not_after(ours, folder):
    assert announced() is None
    with announce(ours, announcement.folder()):
        found = announced()
        assert (found.url, found.user, found.password) == (ours.url, ours.user, ours.password)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
        text = (folder / FILE).read_text()
    assert announced() is None
    assert not (folder / FILE).exists()
    # What a killed gateway leaves behind is not believed: its port may be another's by now.
    (folder / FILE).write_text(text)
    (folder / FILE).chmod(0o600)
    assert announced() is None


def test_a_lock_is_gone_with_its_process(ours, folder):
    code = (
        "import os, time\n"
        "from away.gateway.announcement import *\n"
        "with announce(Announcement('http://127.0.0.1:1', 'u', 'p', os.getpid(), '/s'), folder()):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert announced().pid == process.pid
        with pytest.raises(AlreadyRunning) as caught, announce(ours, folder):
            pass
        assert caught.value.by.pid == process.pid
        process.kill()
    assert (folder / FILE).exists()
    assert announced() is None
    with announce(ours, folder):
        assert announced().pid == os.getpid()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: folder.chmod(0o755),
        lambda folder: folder.chmod(0o770),
        lambda folder: (folder / FILE).chmod(0o640),
        lambda folder: (folder / FILE).chmod(0o604),
        lambda folder: (folder / FILE).write_text("{"),
        lambda folder: (folder / FILE).write_text('{"url": "http://x"}'),
        lambda folder: (folder / FILE).write_text("[]"),
        lambda folder: (folder / FILE).write_bytes(b"\xff" * 100_000),
    ],
    ids=range(8),
)
def test_an_announcement_that_is_not_ours_alone_or_not_whole_is_not_believed(ours, folder, spoil):
    with announce(ours, folder):
        spoil(folder)
        assert announced() is None
        folder.chmod(0o700)


def test_no_link_is_followed_to_an_announcement(ours, tmp_path, monkeypatch):
    real = tmp_path / "real"
    with announce(ours, real):
        (tmp_path / "linked").symlink_to(real)
        assert read(tmp_path / "linked") is None
        (tmp_path / "own").mkdir(mode=0o700)
        (tmp_path / "own" / FILE).symlink_to(real / FILE)
        assert read(tmp_path / "own") is None
        with pytest.raises(OSError, match="symbolic"), announce(ours, tmp_path / "own"):
            pass
        with pytest.raises(OSError, match="not a folder"), announce(ours, tmp_path / "linked"):
            pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_another_users_announcement_is_not_believed(ours, folder):
    with announce(ours, folder):
        os.chown(folder / FILE, 12345, 12345)
        assert announced() is None
        os.chown(folder / FILE, 0, 0)
        os.chown(folder, 12345, 12345)
        assert announced() is None
        os.chown(folder, 0, 0)
        assert announced() is not None


def test_a_folder_is_found_where_home_is_unset_or_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.delenv("AWAY_RUNTIME_DIR")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HOME", "/proc/nothing")
    assert announcement.folder() == tmp_path / f"away-{os.getuid()}"
    monkeypatch.delenv("HOME")
    assert announcement.folders()[-1] == tmp_path / f"away-{os.getuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    assert announcement.folder() == tmp_path / "run" / "away"


def test_the_password_is_in_no_repr_and_no_pickle(ours):
    assert "a-password" not in repr(ours)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ours)


def test_a_running_gateway_is_found_in_this_process_and_in_others(folder):
    code = "from away.gateway.announcement import announced; print(announced().url)"
    with away.gateway.run() as faas:
        assert announced().url == faas.url
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == faas.url
        with away.gateway.run() as inner:
            # The inner block's own, here; the one that was announced first, elsewhere.
            assert announced().url == inner.url
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            assert done.stdout.strip() == faas.url
        assert announced().url == faas.url
    assert announced() is None
    assert not list(Path(folder).iterdir())


def test_importing_the_gateway_is_cheap():
    code = (
        "import sys, away.gateway, away.gateway.announcement\n"
        "heavy = {'aiohttp', 'asyncio', 'sqlite3', 'requests', 'yaml', 'dill', 'inspect',"
        " 'dataclasses', 'subprocess'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"

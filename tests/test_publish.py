"""Publishing: what is packed, pushed, checked, deployed, awaited, and put back when it fails."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away.exceptions import PublishFailed
from away.publish import layers
from away.publish.lock import PublishLock
from away.publish.progress import Progress, shown
from away.publish.wheels import (
    Pin,
    Target,
    lacking,
    normal_name,
    parse_pin,
    place_of,
    platform_options,
    requirements_layer,
)

HERE = Target("amd64", here=True)


# ---------------------------------------------------------------- requirements


def wheel(folder: Path, name: str, version: str, needs: str = "") -> Path:
    """Write a small wheel, as a package index has it."""
    stem = f"{name}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {needs}"] if needs else []
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{stem}.data/scripts/tool": "#!/home/someone/python\n",
        f"{stem}.data/purelib/{name}_more.py": "X = 1\n",
        f"{stem}.dist-info/METADATA": "\n".join([*lines, "", ""]),
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
        record = "".join(f"{member},,\n" for member in files)
        archive.writestr(f"{stem}.dist-info/RECORD", record)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that pip takes for the whole package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def names_in(layer) -> list[str]:
    with tarfile.open(layer.data) as archive:
        return [each.name for each in archive if each.isfile()]


def test_a_requirement_is_unpacked_from_wheels_with_what_it_needs(index, tmp_path):
    wheel(index, "awaytestone", "1.0", needs="awaytesttwo")
    wheel(index, "awaytesttwo", "2.0")
    layer = requirements_layer((parse_pin("awaytestone==1.0"),), HERE, tmp_path, docker=False)
    assert names_in(layer) == [
        "opt/away/requirements/awaytestone-1.0.dist-info/METADATA",
        "opt/away/requirements/awaytestone-1.0.dist-info/RECORD",
        "opt/away/requirements/awaytestone-1.0.dist-info/WHEEL",
        "opt/away/requirements/awaytestone.py",
        "opt/away/requirements/awaytestone_more.py",
        "opt/away/requirements/awaytesttwo-2.0.dist-info/METADATA",
        "opt/away/requirements/awaytesttwo-2.0.dist-info/RECORD",
        "opt/away/requirements/awaytesttwo-2.0.dist-info/WHEEL",
        "opt/away/requirements/awaytesttwo.py",
        "opt/away/requirements/awaytesttwo_more.py",
    ]


def test_a_requirements_layer_is_made_once_and_the_same_again(index, tmp_path):
    source = wheel(index, "awaytestone", "1.0")
    pins = (parse_pin("awaytestone==1.0"),)
    first = requirements_layer(pins, HERE, tmp_path, docker=False)
    (tmp_path / "other").mkdir()
    again = requirements_layer(pins, HERE, tmp_path / "other", docker=False)
    assert again.digest == first.digest
    source.unlink()
    assert requirements_layer(pins, HERE, tmp_path, docker=False) == first


def test_a_requirement_without_a_wheel_is_one_error_that_names_it(index, tmp_path):
    with pytest.raises(
        PublishFailed, match=r"awaytestnone==1\.0 has no wheel for Python 3"
    ) as caught:
        requirements_layer((parse_pin("awaytestnone==1.0"),), HERE, tmp_path, docker=False)
    assert caught.value.step == "requirements"
    assert "\n" not in str(caught.value)


def test_a_version_that_was_built_locally_is_refused_before_anything_is_asked(tmp_path):
    pin = Pin("mine", "1.0+local.7", "mine==1.0+local.7")
    with pytest.raises(PublishFailed, match="local version that no package index has"):
        requirements_layer((pin,), HERE, tmp_path, docker=False)


def test_what_the_base_has_exactly_is_not_packed():
    environment = {"NumPy": "2.0", "attrs": "25.1", "requests": "2.1"}
    pins = [
        Pin("numpy", "2.0", "numpy==2.0"),
        Pin("attrs", "26.1", "attrs==26.1"),
        Pin("requests"),
        Pin("absent", "1", "absent==1"),
        Pin("ranged", "", "ranged>=1"),
    ]
    assert [each.name for each in lacking(pins, environment)] == ["absent", "attrs", "ranged"]


def test_a_requirement_may_name_what_is_installed_here():
    assert parse_pin("pytest") == Pin("pytest", pytest.__version__, f"pytest=={pytest.__version__}")
    assert parse_pin(" My_Pkg.x == 1.2.3 ").spec == "My_Pkg.x==1.2.3"
    assert normal_name("My_Pkg.x") == "my-pkg-x"


@pytest.mark.parametrize("text", ["", "--index-url=x", "a b", "a==", "awaytestnone", "a;b", "-r x"])
def test_a_requirement_that_says_no_version_is_refused(text):
    with pytest.raises(PublishFailed, match="requirement"):
        parse_pin(text)


def test_another_platform_is_spelt_out_down_to_the_oldest_glibc():
    options = platform_options(Target("arm64", here=False))
    assert "manylinux_2_28_aarch64" in options
    assert "manylinux2014_aarch64" in options
    assert f"cp3{sys.version_info.minor}" in options


@given(st.text(alphabet="a./\\ ", max_size=12) | st.text(max_size=12))
def test_no_member_of_a_wheel_leads_out_of_its_folder(member):
    place = place_of(member)
    assert not place.startswith("/")
    assert ".." not in place.split("/")


# ---------------------------------------------------------------- shared layers


def test_the_shared_layers_hold_no_compiled_file_and_no_test():
    for part in (
        layers.runtime_part(),
        layers.yaml_part(),
        layers.dill_part(),
        layers.client_part(),
    ):
        names = [path for path, _ in part.files]
        assert all(path.endswith(".py") for path in names)
        assert not any("/tests/" in path for path in names)
    assert "yaml/__init__.py" in dict(layers.yaml_part().files)
    assert "dill/_dill.py" in dict(layers.dill_part().files)


def test_the_client_and_the_runtime_do_not_overlap_and_leave_the_users_machine_out():
    runtime = dict(layers.runtime_part().files)
    client = dict(layers.client_part().files)
    assert not set(runtime) & set(client)
    assert "away/runtime/__main__.py" in runtime
    assert {"away/functions.py", "away/gateway/announcement.py"} <= set(client)
    for path in ("away/gateway/app.py", "away/publish/steps.py", "away/cli.py"):
        assert path not in client


def test_a_shared_layer_is_made_once():
    part = layers.yaml_part()
    assert layers.shared_layer(part, docker=False) is layers.shared_layer(part, docker=False)


# ---------------------------------------------------------------- folders and the lock


@pytest.mark.parametrize("kind", ["missing home", "read-only home", "home is a file"])
def test_without_a_usable_home_there_is_still_a_folder(tmp_path, monkeypatch, kind):
    home = tmp_path / "home"
    if kind == "home is a file":
        home.write_text("")
    elif kind == "read-only home":
        home.mkdir(mode=0o500)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere" if kind == "missing home" else str(home))
    folder = layers.cache_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_others_can_write_to_is_not_taken(tmp_path):
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    assert not layers.private_folder(open_folder)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert not layers.private_folder(tmp_path / "link")


def test_two_never_hold_the_lock_of_one_name(tmp_path):
    first, second = PublishLock(tmp_path, "gateway name"), PublishLock(tmp_path, "gateway name")
    other = PublishLock(tmp_path, "gateway other")
    assert first.try_once()
    assert not second.try_once()
    assert other.try_once()
    first.release()
    assert second.try_once()
    second.release()
    other.release()


def test_a_lock_ends_with_the_process_that_held_it(tmp_path):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path;"
        "from away.publish.lock import PublishLock;"
        "assert PublishLock(Path(sys.argv[1]), 'x').try_once(); print('held', flush=True);"
        "sys.stdin.read()"
    )
    root = str(Path(__file__).resolve().parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout.readline() == b"held\n"
        lock = PublishLock(tmp_path, "x")
        assert not lock.try_once()
        child.kill()
        child.wait()
        assert lock.try_once()
        lock.release()


def test_without_a_folder_publishing_goes_on_unlocked():
    assert PublishLock(None, "x").try_once()


# ---------------------------------------------------------------- what a person sees


def test_steps_are_plain_lines_in_a_pipe():
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=True, stream=stream)
    with display as progress:
        with progress.step("capture"), progress.step("compare"):
            pass
        with progress.step("push"):
            pass
    display.verdict("created f")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "publishing f on http://gw"
    assert lines[1].startswith("  push 0.")
    assert lines[2:] == ["created f"]
    assert [each.name for each in progress.steps] == ["compare", "capture", "push"]


def test_nothing_is_shown_when_silence_was_asked_for():
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=False, stream=stream)
    with display as progress, progress.step("push"):
        pass
    display.verdict("created f")
    assert stream.getvalue() == ""


def test_the_step_that_failed_is_named():
    stream = io.StringIO()
    display = shown("f", "http://gw", verbose=True, stream=stream)
    with pytest.raises(ZeroDivisionError), display as progress, progress.step("push"):
        raise ZeroDivisionError
    assert stream.getvalue().splitlines()[-1] == "  push: failed"


def test_a_stream_that_is_closed_does_not_end_a_publish():
    stream = io.StringIO()
    stream.close()
    with shown("f", "http://gw", verbose=True, stream=stream) as progress, progress.step("push"):
        pass


def test_seconds_come_from_the_clock_that_was_given():
    ticks = iter([1.0, 3.5])
    progress = Progress(clock=lambda: next(ticks))
    with progress.step("push"):
        pass
    assert progress.steps[0].seconds == 2.5

"""Requirements as layers: wheels for the image's Python and platform, fetched once and never installed."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tarfile
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from away.exceptions import PublishFailed
from away.publish.pins import Pin
from away.publish.verification import installed_here
from away.publish.wheels import Target, requirements_layer, stream_of

ROOT = Path(__file__).parent.parent
BOOKWORM = Target("amd64", "3.11", (2, 36))


def wheel(folder: Path, name: str, version: str, tag: str = "py3-none-any", *needs: str) -> Path:
    """Write a small wheel whose module says which wheel it was."""
    folder.mkdir(exist_ok=True)
    stem = f"{name}-{version}"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {each}" for each in needs]
    files = {
        f"{name}.py": f"VERSION, TAG = {version!r}, {tag!r}\n",
        f"{stem}.dist-info/METADATA": "\n".join([*lines, "", ""]),
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
        archive.writestr(f"{stem}.dist-info/RECORD", "".join(f"{each},,\n" for each in files))
    return path


def environment(index: Path) -> dict[str, str]:
    """Make a folder of wheels the whole package index of pip."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": "/dev/null"}


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def pin(name: str, version: str = "1.0") -> Pin:
    return Pin(name, version, f"{name}=={version}")


def contents(layer) -> dict[str, bytes]:
    start = "opt/away/requirements/"
    with tarfile.open(layer.data) as archive:
        return {
            each.name.removeprefix(start): archive.extractfile(each).read()
            for each in archive
            if each.isfile()
        }


def made(cache: Path, *pins: Pin, target: Target = BOOKWORM, **options):
    return requirements_layer(tuple(pins), target, cache, docker=False, **options)


def modules_of(layer) -> list[str]:
    return sorted(name for name in contents(layer) if name.endswith(".py"))


# ---------------------------------------------------------------- which wheel

TAGS = (
    "cp311-cp311-manylinux_2_34_x86_64",
    "cp311-cp311-manylinux_2_17_x86_64",
    "cp312-cp312-manylinux2014_x86_64",
    "cp311-cp311-manylinux_2_28_aarch64",
    "cp311-cp311-musllinux_1_2_x86_64",
    "cp39-abi3-manylinux2010_x86_64",
    "py3-none-win_amd64",
)


@pytest.mark.parametrize(
    ("target", "tag"),
    [
        (Target("amd64", "3.11", (2, 36)), "cp311-cp311-manylinux_2_34_x86_64"),
        (Target("amd64", "3.11", (2, 31)), "cp311-cp311-manylinux_2_17_x86_64"),
        (Target("amd64", "3.11", (2, 12)), "cp39-abi3-manylinux2010_x86_64"),
        (Target("amd64", "3.12", (2, 36)), "cp312-cp312-manylinux2014_x86_64"),
        (Target("amd64", "3.13", (2, 36)), "cp39-abi3-manylinux2010_x86_64"),
        (Target("x86_64", "3.11"), "cp311-cp311-manylinux_2_17_x86_64"),
        (Target("arm64", "3.11", (2, 28)), "cp311-cp311-manylinux_2_28_aarch64"),
        (Target("amd64", "3.11", (0, 0)), "cp311-cp311-musllinux_1_2_x86_64"),
    ],
    ids=str,
)
def test_a_wheel_is_taken_for_the_images_python_and_c_library(index, cache, target, tag):
    for each in TAGS:
        wheel(index, "away_built", "1.0", each)
    found = contents(made(cache, pin("away-built"), target=target))
    assert f"TAG = '1.0', '{tag}'" in found["away_built.py"].decode()


@pytest.mark.parametrize(
    "target",
    [Target("arm64", "3.11", (2, 17)), Target("amd64", "3.13", (0, 0))],
    ids=["glibc too old", "no wheel for musl"],
)
def test_what_has_no_wheel_for_the_target_is_named_with_the_ways_out(index, cache, target):
    for each in TAGS:
        wheel(index, "away_built", "1.0", each)
    with pytest.raises(PublishFailed) as caught:
        made(
            cache, pin("away-built"), target=target, reasons={"away-built": "`f` uses `away_built`"}
        )
    said = str(caught.value)
    assert said.startswith(
        f"the requirement away-built==1.0 (`f` uses `away_built`) has no wheel for {target}"
    )
    for way in ("requirements=", "base_image=", "image_builder='docker'", "enable_dev_building"):
        assert way in said
    assert "\n" not in said
    assert caught.value.step == "requirements"
    assert not any(cache.iterdir())


def test_markers_are_judged_for_the_target_and_not_for_this_python(index, cache):
    needs = (
        "away_old; python_version < '3.13'",
        "away_new; python_version >= '3.13'",
        "away_arm; platform_machine == 'aarch64'",
        "away_windows; sys_platform == 'win32'",
    )
    wheel(index, "away_top", "1.0", "py3-none-any", *needs)
    for each in ("away_old", "away_new", "away_arm", "away_windows"):
        wheel(index, each, "1.0")
    old = made(cache, pin("away-top"), target=Target("amd64", "3.12", (2, 36)))
    new = made(cache, pin("away-top"), target=Target("arm64", "3.13", (2, 36)))
    assert modules_of(old) == ["away_old.py", "away_top.py"]
    assert modules_of(new) == ["away_arm.py", "away_new.py", "away_top.py"]


# ---------------------------------------------------------------- what cannot be had


def test_a_need_without_a_wheel_is_named_with_what_needs_it(index, cache):
    wheel(index, "away_top", "1.0", "py3-none-any", "away_gone>=2")
    with pytest.raises(PublishFailed) as caught:
        made(cache, pin("away-top"), reasons={"away-top": "`f` uses `away_top`"})
    who = "the requirement away_gone>=2 (away-top needs it: `f` uses `away_top`)"
    assert str(caught.value).startswith(f"{who} is not in the package index, which has none of")
    wheel(index, "away_gone", "2.0", "cp311-cp311-win_amd64")
    with pytest.raises(PublishFailed) as caught:
        made(cache, pin("away-top"), reasons={"away-top": "`f` uses `away_top`"})
    assert str(caught.value).startswith(
        f"{who} has no wheel for Python 3.11 on linux/amd64 with glibc 2.36"
    )


def test_only_a_source_distribution_is_none_and_nothing_of_it_is_run(index, cache, tmp_path):
    mark = tmp_path / "ran"
    source = index / "away_source-1.0.tar.gz"
    (tmp_path / "setup.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with tarfile.open(source, "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "away_source-1.0/setup.py")
    with pytest.raises(PublishFailed, match=r"away-source==1\.0 has no wheel"):
        made(cache, pin("away-source"))
    assert not mark.exists()


def test_a_name_that_the_index_does_not_have_is_told_from_one_without_a_wheel(index, cache):
    wheel(index, "away_one", "1.1")
    with pytest.raises(PublishFailed, match="which has none of that name") as caught:
        made(cache, pin("away-onne"))
    assert "has no wheel" not in str(caught.value)
    wheel(index, "away_built", "1.0", "cp311-cp311-win_amd64")
    with pytest.raises(PublishFailed, match=r"away-built==1\.0 has no wheel for"):
        made(cache, pin("away-built"))


def test_a_version_that_the_index_lacks_is_told_with_those_that_it_has(index, cache):
    wheel(index, "away_one", "1.1")
    wheel(index, "away_one", "1.2")
    with pytest.raises(
        PublishFailed, match=r"away-one==9\.9 has no wheel .* \(it has 1\.1, 1\.2\)"
    ):
        made(cache, pin("away-one", "9.9"))


def test_a_local_version_is_refused_and_says_what_needs_it(cache):
    with pytest.raises(PublishFailed) as caught:
        made(cache, pin("mine", "1.0+local.7"), reasons={"mine": "`f` uses `mine`"})
    assert "mine==1.0+local.7 (`f` uses `mine`) is a local version" in str(caught.value)


def test_requirements_that_exclude_each_other_are_told_in_one_sentence(index, cache):
    wheel(index, "away_top", "1.0", "py3-none-any", "away_one<1")
    wheel(index, "away_one", "1.0")
    with pytest.raises(PublishFailed, match=r"away-top==1\.0.*away-one==1\.0") as caught:
        made(cache, pin("away-top"), pin("away-one"))
    assert "conflict" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_index_that_cannot_be_reached_is_told_as_such(cache, monkeypatch):
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
        "PIP_RETRIES": "1",
        "PIP_TIMEOUT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(PublishFailed, match="index that pip asks cannot be reached") as caught:
        made(cache, pin("away-top"))
    assert "no wheel" not in str(caught.value)


# ---------------------------------------------------------------- the second time

# Makes the layer of one pin in a process that may start no other; argv: cache, name, version.
SECOND = """
import json, sys
from away.publish.wheels import Target, requirements_layer
from away.publish.pins import Pin
forbidden = {"subprocess.Popen", "os.posix_spawn", "os.fork", "socket.connect"}
def audit(event, arguments):
    if event in forbidden and sys.argv[4] == "quiet":
        raise RuntimeError(f"{event} {arguments}")
sys.addaudithook(audit)
from pathlib import Path
pin = Pin(sys.argv[2], sys.argv[3], f"{sys.argv[2]}=={sys.argv[3]}")
layer = requirements_layer((pin,), Target("amd64", "3.11", (2, 36)), Path(sys.argv[1]), docker=False)
print(json.dumps([layer.digest, str(layer.data), layer.size]))
"""


def in_another_process(cache: Path, index: Path, *path: Path, quiet: bool = True) -> str:
    variables = {**os.environ, **environment(index), "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [
            *(sys.executable, "-c", SECOND, str(cache), "away-top", "1.0"),
            "quiet" if quiet else "loud",
        ],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0]


def install(site: Path, name: str, version: str) -> Path:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return site


def test_the_same_set_starts_no_process_the_next_time_whatever_else_is_installed(
    index, cache, tmp_path
):
    wheel(index, "away_top", "1.0", "py3-none-any", "away_need")
    wheel(index, "away_need", "1.0")
    wheel(index, "away_need", "2.0")
    first = made(cache, pin("away-top"))
    assert "VERSION, TAG = '2.0'" in contents(first)["away_need.py"].decode()
    unrelated = install(tmp_path / "unrelated", "something", "3.0")
    assert in_another_process(cache, index, unrelated) == first.digest
    # Of what the set consists of, another version here makes it another set.
    related = install(tmp_path / "related", "away_need", "1.0")
    other = in_another_process(cache, index, related, quiet=False)
    assert other != first.digest
    assert in_another_process(cache, index, related) == other
    assert in_another_process(cache, index) == first.digest


def test_a_version_here_that_the_target_cannot_have_is_let_go(index, cache, tmp_path):
    wheel(index, "away_top", "1.0", "py3-none-any", "away_need")
    wheel(index, "away_need", "2.0")
    here = install(tmp_path / "here", "away_need", "1.0")
    digest = in_another_process(cache, index, here, quiet=False)
    assert digest == made(cache, pin("away-top")).digest


@pytest.mark.parametrize("how", ["cut", "changed", "gone", "record cut", "record of lists"])
def test_what_is_damaged_in_the_cache_is_noticed_and_made_again(index, cache, how):
    wheel(index, "away_top", "1.0", "py3-none-any", "away_need")
    wheel(index, "away_need", "1.0")
    first = made(cache, pin("away-top"))
    # The index has moved on; a layer that is only lost is made as it was.
    wheel(index, "away_need", "2.0")
    data, (record,) = first.data.read_bytes(), cache.glob("requirements-*.json")
    if how == "cut":
        first.data.write_bytes(data[:-1])
    elif how == "changed":
        first.data.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif how == "gone":
        first.data.unlink()
    else:
        record.write_text(
            record.read_text()[:40] if how == "record cut" else '{"choices": [[], 1]}'
        )
    again = made(cache, pin("away-top"))
    assert (again == first) is (not how.startswith("record"))
    assert set(contents(again)) == set(contents(first)) or how.startswith("record")
    assert in_another_process(cache, index) == again.digest


def test_processes_that_make_one_set_at_once_all_get_it_whole(index, cache):
    wheel(index, "away_top", "1.0", "py3-none-any", "away_need")
    wheel(index, "away_need", "1.0")
    with ThreadPoolExecutor(4) as threads:
        work = [threads.submit(in_another_process, cache, index, quiet=False) for _ in range(4)]
        digests = {each.result() for each in work}
    assert len(digests) == 1
    assert {made(cache, pin("away-top")).digest} == digests
    assert [each.name for each in cache.iterdir() if each.is_dir()] == []


def test_threads_that_make_one_set_ask_for_it_once(index, cache):
    wheel(index, "away_top", "1.0")
    with ThreadPoolExecutor(4) as threads:
        layers = list(threads.map(lambda _: made(cache, pin("away-top")), range(4)))
    assert len(set(layers)) == 1


def test_the_digests_of_the_wheels_are_kept_with_the_layer(index, cache):
    import hashlib

    path = wheel(index, "away_top", "1.0")
    made(cache, pin("away-top"))
    (record,) = (json.loads(each.read_text()) for each in cache.glob("requirements-*.json"))
    assert record["choices"][0]["wheels"] == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
    }


def test_pip_need_not_be_installed(index, cache, tmp_path):
    wheel(index, "away_top", "1.0", "py3-none-any", "away_old; python_version < '3.13'")
    wheel(index, "away_old", "1.0")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    needed = ("requests", "aiohttp", "platformdirs", "pyyaml", "dill", "importlib-metadata")
    with installed_here(needed, tmp_path) as site:
        done = subprocess.run(
            [str(bare / "bin/python"), "-c", SECOND, str(cache), "away-top", "1.0", "loud"],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == made(cache, pin("away-top")).digest


# ---------------------------------------------------------------- compiled files


def test_wheels_are_compiled_where_it_is_asked_for_and_the_python_is_this_one(index, cache):
    wheel(index, "away_top", "1.0")
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = f"__pycache__/away_top.{sys.implementation.cache_tag}.pyc"
    mine, other = Target("amd64", minor, (2, 36)), Target("amd64", "3.99", (2, 36))
    assert name not in contents(made(cache, pin("away-top"), target=mine))
    assert name in contents(made(cache, pin("away-top"), target=mine, compile=True))
    assert name not in contents(made(cache, pin("away-top"), target=other, compile=True))


# ---------------------------------------------------------------- how files are taken over


def test_large_and_small_stored_and_deflated_files_all_arrive_as_they_are(index, cache):
    path = wheel(index, "away_large", "1.0")
    rng = random.Random(7)
    noise = rng.randbytes(300_000)
    files = {
        "away_large/noise.bin": (noise, zipfile.ZIP_STORED),
        "away_large/deflated.bin": (noise, zipfile.ZIP_DEFLATED),
        "away_large/text.txt": (b"a line\n" * 400_000, zipfile.ZIP_DEFLATED),
        "away_large/nothing.txt": (b"", zipfile.ZIP_DEFLATED),
        "away_large/packed.bin": (noise[:70_000], zipfile.ZIP_LZMA),
    }
    with zipfile.ZipFile(path, "a") as archive:
        for member, (data, kind) in files.items():
            entry = zipfile.ZipInfo(member)
            # What only the file's own header has moves where its contents begin.
            entry.extra = b"\xfe\xca\x08\x00whatever"
            entry.compress_type = kind
            archive.writestr(entry, data)
    layer = made(cache, pin("away-large"))
    found = contents(layer)
    assert {name: found[name] for name in files} == {
        name: data for name, (data, _) in files.items()
    }
    assert gzip.decompress(layer.data.read_bytes()).startswith(b"opt")
    # The deflated noise is taken over as it is: it is nowhere compressed anew.
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        member = archive.getinfo("away_large/deflated.bin")
        assert stream_of(file, member) in layer.data.read_bytes()
        assert zlib.decompress(stream_of(file, member), -15) == noise


# ---------------------------------------------------------------- addresses


def trap(folder: Path) -> Path:
    """Make a project whose own build backend (PEP 517) leaves a mark when it is run."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(f"open({str(folder / 'MARK')!r}, 'w').close()\n")
    return folder


def test_an_address_among_the_needs_of_a_wheel_runs_nothing_here(index, cache, tmp_path):
    evil = trap(tmp_path / "evil")
    wheel(index, "one", "1.0", "py3-none-any", f"evil @ file://{evil}")
    with pytest.raises(PublishFailed) as caught:
        made(cache, pin("one"))
    assert not (evil / "MARK").exists()
    assert caught.value.step == "requirements"


def test_a_requirement_that_came_as_no_wheel_is_an_error(index, cache):
    wheel(index, "other", "1.0")
    with pytest.raises(PublishFailed, match="came as no wheel for Python"):
        made(cache, Pin("one", "", "other==1.0"))
    assert not list(cache.glob("*.layer"))
    # A marker may say that the target needs none.
    away = made(cache, Pin("one", "", "one==1.0; sys_platform == 'win32'"), pin("other"))
    assert modules_of(away) == ["other.py"]


def test_what_an_image_says_of_its_layer_has_names_and_versions_and_no_address(index, cache):
    path = wheel(index, "one", "1.0")
    layer = made(cache, Pin("one", "", f"one @ file://{path}"))
    assert layer.comment == "requirements one==1.0"

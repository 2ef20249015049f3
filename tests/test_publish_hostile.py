"""What a folder, a file or an option of bad will cannot do to who publishes from it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import FaasConnection
from away.exceptions import ConfigError, PublishFailed
from away.publish import Options, preview, publish, transfer
from away.publish.builders.context import read_context
from away.publish.builders.dockerfile import images_below
from away.publish.cache import remove_left, remove_unused
from away.publish.deployment import check_options
from away.publish.export import export
from away.publish.keywords import read_options

REGISTRY = "registry.example.com"


@pytest.fixture
def faas():
    with FaasConnection("https://faas.example.com") as made:
        yield made


@pytest.fixture
def add():
    def add(a: int, b: int = 2) -> int:
        return a + b

    return add


# ---------------------------------------------------------------- a folder to export into


@pytest.mark.parametrize("depth", ["link", "deep/link"])
def test_an_exports_list_removes_nothing_through_a_linked_folder(tmp_path, faas, add, depth):
    victim, folder = tmp_path / "victim", tmp_path / "project"
    victim.mkdir()
    (victim / "known.txt").write_text("user=ada\n")
    link = folder / depth
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    digest = hashlib.sha256(b"user=ada\n").hexdigest()
    listed = {"files": {f"{depth}/known.txt": digest}}
    (folder / ".away-export.json").write_text(json.dumps(listed))
    export(add, faas, folder, force=True, registry=REGISTRY)
    assert (victim / "known.txt").read_text() == "user=ada\n"


# ---------------------------------------------------------------- a Dockerfile and its folder


def test_a_dockerfile_that_is_a_link_out_of_its_folder_is_refused(tmp_path):
    folder, other = tmp_path / "images", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "Dockerfile").write_text("FROM scratch\nCOPY . /app\n")
    (other / "private").write_text("of another project")
    (folder / "Dockerfile").symlink_to(other / "Dockerfile")
    for path in (folder, folder / "Dockerfile"):
        with pytest.raises(PublishFailed, match="is a link that leads out of its folder"):
            read_context(path)


def test_a_dockerfile_that_is_a_link_within_its_folder_is_sent_with_that_folder(tmp_path):
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "prod").write_text("FROM scratch\n")
    (tmp_path / "Dockerfile").symlink_to("docker/prod")
    (tmp_path / ".dockerignore").write_text("docker\n")
    found = read_context(tmp_path)
    assert (found.folder, found.dockerfile) == (tmp_path.resolve(), "docker/prod")
    assert {"docker/prod", "Dockerfile"} <= {each.path for each in found.entries}


def test_a_dockerfile_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "Dockerfile")
    with pytest.raises(PublishFailed, match="it is no regular file"):
        read_context(tmp_path)


PEM = "-----BEGIN {} KEY-----\nabc\n"
KEYS = {
    ".env": "API=shh",
    "app/.env.production": "API=shh",
    ".ssh/config": "Host x",
    ".aws/credentials": "[default]",
    ".netrc": "machine x",
    ".docker/config.json": "{}",
    "id_ed25519": "x",
    "secrets.yaml": "a: b",
    "terraform.tfstate": "{}",
    "notes.txt": "\n" + PEM.format("OPENSSH PRIVATE"),
    ".git/config": "[remote]\nurl = https://u:p@h/x\n",
}


@pytest.mark.parametrize("path", KEYS)
def test_a_key_beside_the_dockerfile_is_sent_only_where_it_is_meant(tmp_path, path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(KEYS[path])
    with pytest.raises(PublishFailed, match=rf"{re.escape(path)} beside the Dockerfile looks like"):
        read_context(tmp_path)
    (tmp_path / ".dockerignore").write_text(f"{path}\n")
    assert path not in {each.path for each in read_context(tmp_path).entries}
    # A folder that is kept says nothing of the keys in it.
    (tmp_path / ".dockerignore").write_text(f"*\n!{path.split('/')[0]}\n")
    if "/" in path:
        with pytest.raises(PublishFailed, match="looks like a key"):
            read_context(tmp_path)
    (tmp_path / ".dockerignore").write_text(f"!{path}\n")
    assert path in {each.path for each in read_context(tmp_path).entries}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".git/config", "[remote]\nurl = git@example.com:a/b\n"),
        (".env.example", "API=\n"),
        ("credentials.py", "class Login: ...\n"),
        ("keys.py", PEM.format("RSA PRIVATE")),
        ("public.txt", PEM.format("PUBLIC")),
        ("environment.yml", "a: b\n"),
    ],
)
def test_what_is_no_key_is_sent(tmp_path, path, text):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text)
    assert path in {each.path for each in read_context(tmp_path).entries}


DOCKERFILES = {
    "a continued line": (
        "FROM a\nRUN echo 'select 1 \\\n  FROM t' \\\n# FROM c\n\nFROM u\n",
        ["a"],
    ),
    "after it": ("FROM a\nRUN one \\\n two\nFROM b\n", ["a", "b"]),
    "another escape": ("# escape=`\nFROM a\nRUN dir c:\\\nFROM b\nRUN x `\nFROM c\n", ["a", "b"]),
    "a document": ("FROM a\nCOPY <<EOF /q.sql\nFROM t\nEOF\nFROM b\n", ["a", "b"]),
    "a quoted one": ("FROM a\nRUN <<'END' sh\nFROM t\n END\nEND\nFROM b\n", ["a", "b"]),
    "with tabs": ("FROM a\nRUN sh <<-E\n\tFROM t\n\tE\nFROM b\n", ["a", "b"]),
    "two of them": ("FROM a\nCOPY <<A <<B /\nFROM t\nA\nFROM u\nB\nFROM b\n", ["a", "b"]),
    "no document": ("FROM a\nRUN echo $((1<<2))\nFROM b\n", ["a", "b"]),
    "a split FROM": ("FROM \\\n  a \\\n  AS x\nFROM x\n", ["a"]),
}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_only_an_instruction_names_an_image_to_build_on(name):
    text, images = DOCKERFILES[name]
    assert images_below(text) == images


@given(st.text())
def test_no_text_of_a_dockerfile_breaks_the_reading(text):
    assert isinstance(images_below(text), list)


# ---------------------------------------------------------------- options


WRONG = {
    **dict.fromkeys(
        ("name", "namespace", "image_builder", "base_image", "platform", "python", "registry"),
        (5, b"x", ["x"], {}),
    ),
    **dict.fromkeys(("inside_registry", "registry_prefix"), (5, b"x", ["x"])),
    **dict.fromkeys(("safe_args", "overwrite", "compile", "enable_dev_building"), (1, "yes", [])),
    **dict.fromkeys(("read_only_root", "check"), ("no", 0)),
    **dict.fromkeys(
        ("requirements", "module_imports", "system_packages", "constraints"),
        (5, [5], {"a": "b"}, b"x", [None]),
    ),
    "include": (5, [5], {"a": "b"}, b"x"),
    "secrets": (5, [5], {1: "x" * 9}, {"a": 5}, b"x"),
    **dict.fromkeys(("env", "labels", "annotations"), ("x", 5, ["a"], {1: 2}, {"a": 1})),
    **dict.fromkeys(("limits", "requests"), ("x", 5, {"memory": 5}, {1: "5Mi"})),
    "dockerfile": (5, b"x", ["x"]),
    "registry_auth": (5, ("a", 5), ("a",), "a"),
    "timeout": ("x", [1], math.nan, math.inf, True, 0, -1, 10**400),
    "publish_timeout": ("x", [1], math.nan, math.inf, True, -1, 10**400),
    "max_inflight": ("3", 1.5, True, 0, 10**30, 10**400, math.nan),
}


def test_every_option_is_tried_with_wrong_types():
    assert set(WRONG) == set(Options._fields)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_an_option_of_a_wrong_type_is_one_sentence_before_anything_is_sent(add, name, value):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        with (
            FaasConnection("127.0.0.1", port=server.getsockname()[1]) as faas,
            pytest.raises((PublishFailed, ConfigError, TypeError)) as told,
        ):
            publish(add, faas, **{"publish_timeout": 5, name: value})
        with pytest.raises(BlockingIOError):
            server.accept()
    said = str(told.value)
    assert name in said
    assert "\n" not in said
    assert "unsupported operand" not in said
    assert "object" not in said


BAD_TEXTS = {
    "a path": ({"env": {"PYTHONPATH": "/x"}}, "finds Away and the function's modules"),
    "safe path": ({"env": {"PYTHONSAFEPATH": ""}}, "finds Away and the function's modules"),
    "runtime": ({"env": {"AWAY_RUNTIME": "0"}}, "finds Away and the function's modules"),
    "home": ({"env": {"PYTHONHOME": "/x"}}, "finds Away and the function's modules"),
    "a line in a name": ({"env": {"A\n": "x"}}, "cannot be the name of a variable"),
    "a constraint": ({"constraints": ["a\nb"]}, "constraints has 'a\\nb', with a control"),
    "an annotation": ({"annotations": {"a": "x\0"}}, "annotations has 'x\\x00', with a control"),
    "its key": ({"annotations": {"a\n": "x"}}, "annotations has 'a\\n', with a control"),
    "a label": ({"labels": {"a": "x\n"}}, "labels has 'x\\n', with a control"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_texts_that_no_deployment_can_have_are_refused(add, faas, name):
    options, words = BAD_TEXTS[name]
    with pytest.raises(PublishFailed) as told:
        preview(add, faas, **options)
    assert words in str(told.value)
    assert str(told.value).isprintable()


def test_an_annotation_of_several_lines_is_one():
    check_options(Options(annotations={"a": "one\n\ttwo\r\n"}, env={"A": "one\ntwo"}))


# ---------------------------------------------------------------- files of secrets


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "device", "NUL", "surrogate"])
def test_a_secrets_file_that_is_none_is_told_once_and_not_waited_for(tmp_path, kind):
    pipe, link = tmp_path / "pipe\x1b[31m", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    path, words = {
        "pipe": (pipe, "which is no regular file"),
        "link to a pipe": (link, "which is no regular file"),
        "folder": (tmp_path, "which is no regular file"),
        "device": (Path("/dev/zero"), "which is no regular file"),
        "NUL": (Path("a\0b"), "which cannot be"),
        "surrogate": (Path("a\ud800b"), "which cannot be"),
    }[kind]
    with pytest.raises(ConfigError, match=words) as told:
        read_options({"secrets": {"t": path}})
    assert str(told.value).count(" names ") == 1
    assert str(told.value).isprintable()


@pytest.mark.skipif(not os.access("/proc/kmsg", os.R_OK), reason="only root may read /proc/kmsg")
def test_a_regular_file_that_never_ends_is_not_waited_for():
    program = (
        "import os, pathlib\n"
        "from away.publish.secret_values import sealed\n"
        "try: sealed({'t': pathlib.Path('/proc/kmsg')})\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert done.stderr == b""


# ---------------------------------------------------------------- what is left in the cache


def test_what_interrupted_publishes_left_is_removed_after_a_day_and_nothing_that_is_written(
    tmp_path,
):
    old = time.time() - 25 * 3600
    kept = ["wheels-runs/layer", "new-runs/a.py", "bases/tmpruns", "bases/aa.layer", "other/file"]
    left = ["wheels-old/a.whl", "new-old/in/a.py", "site-old/x", "bases/tmpold", "bases/bb.layer"]
    for each in (*kept, *left):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text("x")
    victim = tmp_path / "other"
    (tmp_path / "new-link").symlink_to(victim)
    for each in (*tmp_path.rglob("*"),):
        os.utime(each, (old, old), follow_symlinks=False)
    for each in kept:
        os.utime(tmp_path / each)
    # Of a running one, what a wheel brings may be of 1970; its folder is written to.
    os.utime(tmp_path / "new-runs" / "a.py", (1, 1))
    os.utime(tmp_path / "new-runs")
    remove_unused(tmp_path)
    there = {each.relative_to(tmp_path).as_posix() for each in tmp_path.rglob("*")}
    assert set(kept) <= there
    assert not {each for each in there if "old" in each or "bb" in each}


def test_folders_that_go_while_they_are_looked_at_disturb_no_publish(tmp_path):
    # As another publish leaves them that ends at this moment.
    stopping = threading.Event()
    made = []

    def others():
        while not stopping.is_set():
            folder = Path(tempfile.mkdtemp(dir=tmp_path, prefix="new-"))
            for number in range(20):
                (folder / f"away{number}" / "protocol").mkdir(parents=True)
            shutil.rmtree(folder)
            made.append(folder)

    thread = threading.Thread(target=others)
    thread.start()
    try:
        while len(made) < 200:
            remove_left(tmp_path)
    finally:
        stopping.set()
        thread.join()
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_is_taken_up_again_is_no_leftover(tmp_path):
    data = b"layer"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    place = transfer.place_of(tmp_path, digest)
    place.parent.mkdir()
    place.write_bytes(data)
    os.utime(place, (1, 1))
    assert transfer.kept(tmp_path, digest) == place
    with transfer.keeper(tmp_path, f"sha256:{'0' * 64}"):
        assert place.exists()
    os.utime(place, (1, 1))
    with transfer.keeper(tmp_path, f"sha256:{'1' * 64}"):
        assert not place.exists()

"""What a folder, a file or an option of bad will cannot do to who publishes from it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import FaasConnection
from away.exceptions import ConfigError, PublishFailed
from away.publish import Options, preview, publish
from away.publish.builders.context import read_context
from away.publish.builders.dockerfile import images_below
from away.publish.deployment import check_options
from away.publish.export import export

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

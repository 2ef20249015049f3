"""Layers, configuration and manifest: the same bytes everywhere, and what engines can run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from away.exceptions import PublishFailed
from away.publish.image import (
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_LAYER,
    OCI_MANIFEST,
    Inflated,
    assemble,
    digest_of,
    make_layer,
    make_layer_file,
    read_base,
    tar,
)
from away.publish.manifests import layers_of

FILES = [
    ("opt/away/function/payload.away", b"{}\nbody"),
    ("opt/away/lib/é/" + "long" * 40 + ".py", b"x = 1\n"),
    ("opt/away/lib/a.py", bytes(range(256)) * 50),
]

# Built by another process: everything that a Python or a hash seed could change is in it.
PROBE = """
import sys, types
sys.path.insert(0, {root!r})
from away.publish.image import *
files = [("opt/away/b/é" + "n" * 130 + ".py", b"b"), ("opt/a.py", bytes(range(256)) * 90)]
wanted = {{name: name.encode() for name in {{"one", "two", "three", "four"}}}}
files += [("opt/" + name, data) for name, data in wanted.items()]
layers = [make_layer(files, comment="x"), make_layer(files, docker=True)]
manifest = b'{{"config": {{}}, "layers": []}}'
config = b'{{"rootfs": {{"diff_ids": []}}, "config": {{"Env": ["A=1"], "User": "u"}}}}'
base = read_base("b", "sha256:0", OCI_MANIFEST, manifest, config)
image = assemble(base, layers, command=["python3"], environment={{"X": "1", "B": "2"}},
    working_folder="/w", labels={{}})
print(image.digest, image.config_digest, *[each.digest for each in layers])
"""


def base(docker: bool = False, **config: object):
    layer = {"mediaType": DOCKER_LAYER if docker else f"{OCI_LAYER}+gzip", "size": 3}
    manifest = {
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": {},
        "layers": [{**layer, "digest": "sha256:" + "a" * 64, "annotations": {"x": "y"}}],
    }
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "PYTHONPATH=/theirs"], "User": "app", **config},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "b" * 64]},
        "history": [{"created_by": "them"}],
    }
    kind = DOCKER_MANIFEST if docker else OCI_MANIFEST
    return read_base(
        "python",
        "sha256:" + "c" * 64,
        kind,
        json.dumps(manifest).encode(),
        json.dumps(settings).encode(),
    )


def image_on(bottom, layers=()):
    return assemble(
        bottom,
        layers,
        command=["python3", "-m", "away.runtime"],
        environment={"PYTHONPATH": "/opt/away/lib"},
        working_folder="/opt",
        labels={"built-with": "away"},
    )


def test_an_image_says_where_programs_are_also_where_its_base_does_not():
    # What `docker import` makes of a file system has no PATH, and containerd supplies none.
    run = json.loads(image_on(base(Env=None)).config)["config"]
    paths = [each for each in run["Env"] if each.startswith("PATH=")]
    assert paths == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    run = json.loads(image_on(base()).config)["config"]
    assert [each for each in run["Env"] if each.startswith("PATH=")] == ["PATH=/bin"]


def test_an_archive_depends_on_names_and_contents_alone():
    assert tar(FILES) == tar(reversed(FILES))
    with tarfile.open(fileobj=io.BytesIO(tar(FILES))) as archive:
        entries = archive.getmembers()
    assert [each.name for each in entries if each.isfile()] == sorted(name for name, _ in FILES)
    assert {(each.uid, each.gid, each.uname, each.gname) for each in entries} == {(0, 0, "", "")}
    assert {each.mode for each in entries if each.isdir()} == {0o755}
    assert {each.mode for each in entries if each.isfile()} == {0o644}
    assert len({each.mtime for each in entries}) == 1


def test_each_folder_comes_before_what_is_in_it_and_once():
    with tarfile.open(fileobj=io.BytesIO(tar(FILES, ["opt/empty"]))) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    assert "opt/empty" in names
    for position, name in enumerate(names):
        above = name.rpartition("/")[0]
        assert not above or above in names[:position]


@given(
    st.dictionaries(
        st.from_regex(r"[a-zé ]{1,20}(/[a-z.]{1,120}x){0,3}", fullmatch=True),
        st.binary(max_size=50),
        max_size=5,
    )
)
def test_an_archive_gives_back_what_went_in(files):
    # A path cannot be a file and a folder at once.
    names = list(files)
    files = {n: d for n, d in files.items() if not any(o.startswith(f"{n}/") for o in names)}
    with tarfile.open(fileobj=io.BytesIO(tar(list(files.items())))) as archive:
        found = {e.name: archive.extractfile(e).read() for e in archive if e.isfile()}
    assert found == files


def test_a_small_layer_is_plain_and_a_large_one_or_one_for_docker_is_gzip():
    small, large = make_layer(FILES), make_layer([("big", bytes(1_200_000))])
    docker = make_layer(FILES, docker=True)
    assert (small.media_type, large.media_type) == (OCI_LAYER, f"{OCI_LAYER}+gzip")
    assert docker.media_type == DOCKER_LAYER
    assert small.digest == small.diff_id == docker.diff_id != docker.digest
    assert digest_of(gzip.decompress(large.data)) == large.diff_id


def test_a_layer_in_a_file_is_what_it_says_it_is(tmp_path):
    layer = make_layer_file(tmp_path / "layer", sorted(FILES), comment="wheels")
    data = layer.data.read_bytes()
    assert (digest_of(data), len(data)) == (layer.digest, layer.size)
    assert gzip.decompress(data) == tar(FILES)
    assert layer.diff_id == digest_of(tar(FILES))


def other_pythons() -> list[str]:
    found = [sys.executable]
    roots = [Path("/tmp"), Path.home() / ".pyenv" / "versions"]
    for minor in ("3.12", "3.13"):
        compact = minor.replace(".", "")
        places = [roots[0] / f"venv{compact}/bin/python", *roots[1].glob(f"{minor}.*/bin/python")]
        named = shutil.which(f"python{minor}")
        places += [Path(named)] if named and "shims" not in named else []
        found += [str(place) for place in places if place.exists()][:1]
    return found


def test_an_image_has_the_same_bytes_on_every_python_and_hash_seed():
    root = str(Path(__file__).resolve().parents[1])
    printed = set()
    for python in other_pythons():
        for seed in ("0", "1", "77"):
            done = subprocess.run(
                [python, "-c", PROBE.format(root=root)],
                capture_output=True,
                text=True,
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
                check=True,
            )
            printed.add(done.stdout)
    assert len(printed) == 1


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_the_media_types_of_the_base_are_kept(docker):
    layer = make_layer(FILES, docker=docker)
    image = image_on(base(docker), [layer])
    manifest = json.loads(image.manifest)
    assert (
        image.media_type == manifest["mediaType"] == (DOCKER_MANIFEST if docker else OCI_MANIFEST)
    )
    types = {manifest["config"]["mediaType"], *(each["mediaType"] for each in manifest["layers"])}
    assert all(("docker" in each) is docker for each in types)


def test_user_and_environment_of_the_base_stay_and_its_command_goes():
    image = image_on(base(Entrypoint=["/init"], Cmd=["bash"], Labels={"a": "b"}))
    run = json.loads(image.config)["config"]
    assert run["User"] == "app"
    assert run["Env"] == ["PATH=/bin", "PYTHONPATH=/opt/away/lib"]
    assert run["Cmd"] == ["python3", "-m", "away.runtime"]
    assert "Entrypoint" not in run
    assert run["Labels"] == {"a": "b", "built-with": "away"}
    assert run["ExposedPorts"] == {"8080/tcp": {}}


def test_layers_lie_on_the_bases_own_in_the_manifest_and_in_the_configuration():
    layers = [make_layer(FILES, comment="one"), make_layer([("b", b"b")], comment="two")]
    image = image_on(base(), layers)
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert [each["digest"] for each in manifest["layers"]][1:] == [each.digest for each in layers]
    assert config["rootfs"]["diff_ids"][1:] == [each.diff_id for each in layers]
    assert len(config["history"]) == 3
    assert config["created"] == "1970-01-01T00:00:00Z"
    assert set(manifest["layers"][0]) == {"mediaType", "size", "digest"}
    assert manifest["config"]["digest"] == digest_of(image.config) == image.config_digest
    assert image.digest == f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"


@pytest.mark.parametrize(
    ("manifest", "config"),
    [
        (b"", b"{}"),
        (b"[]", b"{}"),
        (b"{}", b"{}"),
        (b'{"layers": []}', b"not json"),
        (b'{"layers": [], "config": {}}', b'{"rootfs": {"diff_ids": ["sha256:1"]}}'),
        (b'{"layers": [{"urls": ["x"]}], "config": {}}', b'{"rootfs": {"diff_ids": ["a"]}}'),
        (b'{"layers": [1], "config": {}}', b'{"rootfs": {"diff_ids": ["a"]}}'),
    ],
)
def test_a_base_that_is_none_is_refused_in_words(manifest, config):
    with pytest.raises(PublishFailed, match=r"base image away/python .*base_image=") as caught:
        read_base("away/python", "sha256:0", OCI_MANIFEST, manifest, config)
    assert caught.value.step == "base image"


MANIFEST = {
    "layers": [{"mediaType": "x", "size": 1, "digest": "sha256:" + "0" * 64}],
    "config": {"digest": "sha256:" + "1" * 64},
}
CONFIG = {
    "architecture": "amd64",
    "config": {"Env": ["PATH=/x"], "Labels": {"a": "b"}, "ExposedPorts": {}},
    "rootfs": {"diff_ids": ["sha256:1"]},
    "history": [{}],
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def places_in(value, path=()):
    """Give the path of everything in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, each in inner:
        yield from places_in(each, (*path, key))


def put(value, path, other):
    """Return a JSON value with something else in one place."""
    if not path:
        return other
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = put(value[path[0]], path[1:], other)
    return changed


@settings(max_examples=400)
@given(st.data(), ANYTHING)
def test_whatever_an_image_says_it_is_built_on_or_refused_in_words(data, other):
    documents = [MANIFEST, CONFIG]
    at = data.draw(st.integers(0, 1))
    path = data.draw(st.sampled_from(list(places_in(documents[at]))))
    documents[at] = put(documents[at], path, other)
    manifest, config = (json.dumps(each).encode() for each in documents)
    try:
        found = read_base("t/base", "sha256:0", OCI_MANIFEST, manifest, config)
        layers_of(found.manifest, "t/base")
    except PublishFailed:
        return
    assert isinstance(found.variable("PATH"), str)
    assert isinstance(found.architecture, str)
    assert all(isinstance(each, str) for each in found.labels.values())
    image = image_on(found, [make_layer(FILES)])
    json.loads(image.config, parse_constant=pytest.fail)


@pytest.mark.parametrize("config", [b"[" * 100_000, b'{"a":' * 400 + b"1" + b"}" * 400, b"NaN"])
def test_json_that_others_would_not_read_is_refused(config):
    manifest = json.dumps(MANIFEST).encode()
    with pytest.raises(PublishFailed, match="is not a manifest with its configuration"):
        read_base("t/base", "sha256:0", OCI_MANIFEST, manifest, config)
    with pytest.raises(PublishFailed, match="is not a manifest with its configuration"):
        read_base("t/base", "sha256:0", OCI_MANIFEST, config, json.dumps(CONFIG).encode())


def deflated(data: bytes, level: int = 9) -> bytes:
    made = zlib.compressobj(level, zlib.DEFLATED, -15)
    return made.compress(data) + made.flush()


@given(
    st.lists(st.tuples(st.binary(max_size=2_000), st.booleans()), max_size=12),
    st.integers(1, 3_000),
)
def test_a_layer_of_deflated_files_holds_the_same_as_one_of_plain_ones(contents, repeated):
    plain = [(f"f/{index:02}", data * repeated) for index, (data, _) in enumerate(contents)]
    files = [
        (path, Inflated(data, deflated(data)) if comes_deflated else data)
        for (path, data), (_, comes_deflated) in zip(plain, contents, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        layer = make_layer_file(Path(folder) / "layer", files)
        data = layer.data.read_bytes()
    assert (digest_of(data), len(data)) == (layer.digest, layer.size)
    assert gzip.decompress(data) == tar(plain)
    assert layer.diff_id == digest_of(tar(plain))

"""What functions stand on, through publish: the machine an image is for, its kind, and where it lies."""

from __future__ import annotations

import importlib
import json
import sys

import pytest

from away import FaasConnection
from away.exceptions import PublishFailed
from away.publish import preview, publish
from tests.faasd_double import PASSWORD, base_layer, faasd
from tests.token_registry import (
    DOCKER_KINDS,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    TokenRegistry,
    digest_of,
    open_registry,
)


@pytest.fixture
def registry():
    with open_registry() as running:
        yield running


@pytest.fixture
def double(tmp_path):
    with faasd(tmp_path / "double") as running:
        yield running


@pytest.fixture
def function(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (folder / "standing.py").write_text("def standing():\n    return 1\n")
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "standing", raising=False)
    return importlib.import_module("standing").standing


@pytest.fixture
def send(double, registry, function):
    """Publish the function on a base, with any options."""

    def send(base="python:3", *, settings=(), **options):
        given = {"registry": registry.host, "base_image": base, "timeout": 30, **dict(settings)}
        connection = FaasConnection(double.url, password=PASSWORD, verbose=False, **given)
        return publish(function, connection, check=False, **options)

    return send


@pytest.fixture
def look(double, registry, function):
    """Find out what publishing the function would do; nothing may be changed by that."""

    def look(**settings):
        given = {"registry": registry.host, "base_image": "python:3", "timeout": 30, **settings}
        connection = FaasConnection(double.url, password=PASSWORD, verbose=False, **given)
        found = preview(function, connection)
        methods = {seen.method for seen in [*registry.requests, *double.server.requests]}
        assert methods <= {"GET", "HEAD"}
        return found

    return look


@pytest.fixture
def refused(double, registry, send):
    """Publish, and expect a refusal before anything was pushed or deployed."""

    def refused(message, base="python:3", **options):
        with pytest.raises(PublishFailed, match=message) as caught:
            send(base, **options)
        assert not registry.asked("PUT") + registry.asked("POST")
        assert not double.changes
        assert "\n" not in str(caught.value)

    return refused


def pushed(registry: TokenRegistry, published) -> tuple[str, dict, dict]:
    """Return the type, the manifest and the configuration of what was published."""
    held = registry.store.manifests["away/standing"]
    kind, data = held[published.image.rpartition("@")[2]]
    manifest = json.loads(data)
    config = registry.store.blobs["away/standing"][manifest["config"]["digest"]]
    return kind, manifest, json.loads(config)


# ---------------------------------------------------------------- which machine

NO_PLATFORMS = {
    "foo": "names no processor that images are for: there are 386, amd64",
    "linux/amd46": "did you mean linux/amd64",
    "windows/amd64": "is of another system, and functions run on Linux; write linux/amd64",
    "/amd64": "is of another system",
    "linux/": "is none; write OS/PROCESSOR",
    "linux/arm/v7/more": "is none; write OS/PROCESSOR",
    "linux arm64": "is none; write OS/PROCESSOR",
}


@pytest.mark.parametrize("text", NO_PLATFORMS)
def test_a_platform_that_is_none_is_refused_before_anybody_is_asked(
    refused, registry, double, text
):
    refused(NO_PLATFORMS[text], platform=text)
    assert not registry.requests + double.server.requests


MISFITS = {
    "another processor": ({}, "linux/arm64", "linux/amd64 and platform= asks for linux/arm64"),
    "another system": ({"os": "windows"}, None, "windows/amd64 and functions run on linux/amd64"),
    "another system than asked": (
        {"os": "windows"},
        "linux/amd64",
        "windows/amd64 and platform= asks for linux/amd64",
    ),
    "a newer variant": (
        {"architecture": "arm", "variant": "v7"},
        "linux/arm/v6",
        "linux/arm/v7 and platform= asks for linux/arm/v6",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_base_for_another_machine_than_asked_for_is_refused(registry, refused, case):
    said, platform, message = MISFITS[case]
    registry.store.add_image("python", "3", [base_layer()], **said)
    refused(rf"the base image python:3 is for {message}; pass a base_image=", platform=platform)


FITS = {
    "by uname's word": ({}, "x86_64"),
    "an older variant": ({"architecture": "arm", "variant": "v6"}, "linux/arm/v7"),
    "no variant": ({"architecture": "arm"}, "linux/arm/v6"),
    "what the user knows better than the gateway": ({"architecture": "arm64"}, "linux/arm64"),
}


@pytest.mark.parametrize("case", FITS)
def test_a_base_for_the_machine_that_is_asked_for_is_taken(registry, double, send, case):
    said, platform = FITS[case]
    double.arch = "x86_64"
    registry.store.add_image("python", "3", [base_layer()], **said)
    published = send(platform=platform)
    assert published.action == "created"
    assert pushed(registry, published)[2]["architecture"] == said.get("architecture", "amd64")


def add_both(registry: TokenRegistry) -> None:
    """Put an index of two images there, of which neither is the first by chance."""
    entries = [
        registry.store.add_image("python", f"3-{each}", [base_layer()], architecture=each)
        for each in ("s390x", "amd64", "arm64")
    ]
    registry.store.add_index("python", "3", entries)


CHOICES = {
    "by what the gateway runs on": ("aarch64", None, "arm64"),
    "by another gateway": ("x86_64", None, "amd64"),
    "by the option": ("", "linux/arm64", "arm64"),
    "by the option, not the gateway": ("x86_64", "linux/s390x", "s390x"),
    "by what is usual": ("", None, "amd64"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_of_an_index_the_image_for_the_machine_is_taken(registry, double, send, case):
    double.arch, platform, wanted = CHOICES[case]
    add_both(registry)
    assert pushed(registry, send(platform=platform))[2]["architecture"] == wanted


def test_an_index_without_the_machine_is_refused(registry, double, refused):
    double.arch = "riscv64"
    add_both(registry)
    refused(r"has no linux/riscv64, .*: it has linux/amd64, linux/arm64, linux/s390x")


# ---------------------------------------------------------------- which kind


def test_what_stands_on_an_image_of_dockers_kind_is_of_it_throughout(registry, send):
    registry.store.add_image("python", "3", [base_layer()], docker=True)
    published = send()
    kind, manifest, config = pushed(registry, published)
    assert (kind, manifest["mediaType"], manifest["config"]["mediaType"]) == (
        DOCKER_KINDS[0],
        *DOCKER_KINDS[:2],
    )
    assert len(manifest["layers"]) > 2
    assert {each["mediaType"] for each in manifest["layers"]} == {DOCKER_KINDS[2]}
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
    held = registry.store.blobs["away/standing"]
    for each in manifest["layers"]:
        assert held[each["digest"]][:2] == b"\x1f\x8b"
    assert "annotations" not in manifest


def test_what_stands_on_an_image_of_ocis_kind_is_of_it_throughout(registry, send):
    registry.store.add_image("python", "3", [base_layer()])
    kind, manifest, _ = pushed(registry, send())
    assert (kind, manifest["mediaType"], manifest["config"]["mediaType"]) == (
        OCI_MANIFEST,
        OCI_MANIFEST,
        OCI_CONFIG,
    )
    assert len(manifest["layers"]) > 2
    kinds = {each["mediaType"] for each in manifest["layers"]}
    assert OCI_LAYER in kinds
    assert kinds <= {OCI_LAYER, f"{OCI_LAYER}+gzip"}


STANDS_ON = "org.opencontainers.image.base"


def test_an_image_says_which_one_it_stands_on_wherever_it_is_pushed(registry, send):
    entry = registry.store.add_image("python", "3", [base_layer()])
    registry.store.add_index("python", "both", [entry])
    digest = {f"{STANDS_ON}.digest": entry["digest"]}
    for name in ("python:3", "python:both"):
        assert pushed(registry, send(name))[1]["annotations"] == digest
    # A name that means the same everywhere is said too; one without a host is not such.
    whole = f"{registry.host}/python:3"
    images = []
    for prefix in ("one", "two"):
        published = send(whole, registry_prefix=prefix)
        images.append(published.image.rpartition("@")[2])
        manifest = json.loads(registry.store.manifests[f"{prefix}/standing"][images[-1]][1])
        assert manifest["annotations"] == {**digest, f"{STANDS_ON}.name": whole}
    assert images[0] == images[1]


# ---------------------------------------------------------------- by plain http


def by_another_name(registry: TokenRegistry) -> str:
    """Name a registry of this machine otherwise than by the names of loopback: an old short form."""
    return f"127.1:{registry.server.port}"


def test_a_registry_is_spoken_to_by_plain_http_if_the_user_said_so(registry, send):
    host = by_another_name(registry)
    registry.store.add_image("python", "3", [base_layer()])
    published = send(settings={"registry": host, "insecure_registries": [host]})
    assert published.image.startswith(f"{host}/away/standing:")
    assert "away/standing" in registry.store.manifests


def test_a_registry_that_nobody_named_insecure_is_spoken_to_by_tls_alone(registry, refused):
    host = by_another_name(registry)
    registry.store.add_image("python", "3", [base_layer()])
    refused(
        rf"the registry https://{host} cannot be reached.*name it in insecure_registries",
        settings={"registry": host, "insecure_registries": [f"127.1:{registry.server.port + 1}"]},
    )
    assert not [seen for seen in registry.requests if seen.path.startswith("/v2")]


def test_a_base_comes_by_plain_http_if_the_user_said_so(registry, send):
    with open_registry() as other:
        other.store.add_image("team/python", "3", [base_layer()])
        host = by_another_name(other)
        published = send(f"{host}/team/python:3", settings={"insecure_registries": [host]})
        assert published.action == "created"
        lowest = pushed(registry, published)[1]["layers"][0]
        assert lowest["digest"] == digest_of(base_layer())
        assert not other.asked("PUT") + other.asked("POST")


def test_a_base_in_a_registry_that_nobody_named_insecure_comes_by_tls_alone(registry, refused):
    with open_registry() as other:
        other.store.add_image("team/python", "3", [base_layer()])
        host = by_another_name(other)
        refused(rf"https://{host}.*insecure_registries", base=f"{host}/team/python:3")
        assert not [seen for seen in other.requests if seen.path.startswith("/v2")]


# ---------------------------------------------------------------- as a dry run says it


@pytest.mark.parametrize("base", ["python:3", "elsewhere"])
def test_a_dry_run_says_that_the_gateway_has_no_registry(registry, look, function, double, base):
    registry.store.add_image("python", "3", [base_layer()])
    name = f"{registry.host}/python:3" if base == "elsewhere" else base
    connection = FaasConnection(double.url, password=PASSWORD, base_image=name, verbose=False)
    with pytest.raises(PublishFailed, match="has no registry of its own") as caught:
        publish(function, connection, check=False)
    _, _, said = str(caught.value).partition("(registry): ")
    report = look(registry=None, base_image=name)
    found = [note for note in report.notes if "no registry of its own" in note]
    assert found == [f"it would be refused: {said.partition(';')[0]}"]
    # What the image elsewhere has is known all the same.
    assert bool(report.below) is (base == "elsewhere")


def test_layers_are_told_as_gzip_where_the_base_is_not_known(registry, look):
    unknown = {each.part: each.size for each in look(base_image="absent:1").layers}
    registry.store.add_image("python", "3", [base_layer()], docker=True)
    known = look()
    assert known.below
    assert {each.part: each.size for each in known.layers} == unknown

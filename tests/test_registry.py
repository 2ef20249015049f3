"""The OCI distribution API, spoken to the embedded gateway's registry."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import gateway
from away.connection.conversations import Deadline
from away.exceptions import AuthenticationRefused, PublishFailed
from away.publish.image import assemble, digest_of, make_layer, make_layer_file
from away.publish.references import ImageName, parse_image, registry_url
from away.publish.registry import ManifestRefused, Memory, Registry

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def faas(tmp_path_factory):
    with gateway.run(state=tmp_path_factory.mktemp("state"), announce=False) as connection:
        yield connection


def registry_of(connection, memory=None) -> Registry:
    def ask(request):
        return connection.conversation_request(request, deadline=Deadline(20))

    return Registry(ask, connection.url, own=True, user=connection.user, memory=memory or Memory())


@pytest.fixture
def registry(faas):
    return registry_of(faas)


def fresh_layer(size: int = 2000):
    return make_layer([("opt/x", os.urandom(size))])


# ---------------------------------------------------------------- conversations


def test_a_layer_is_pushed_once_and_mounted_elsewhere(faas, registry):
    layer = fresh_layer()
    answers = [
        faas.run(registry.push(layer, repository)) for repository in ("t/one", "t/one", "t/two")
    ]
    assert answers == ["pushed", "there", "mounted"]
    assert faas.run(registry.blob("t/two", layer.digest)) == layer.data


def test_a_process_that_knows_nothing_finds_what_is_there(faas, registry):
    layer = fresh_layer()
    faas.run(registry.push(layer, "t/one"))
    assert faas.run(registry_of(faas).push(layer, "t/one")) == "there"


def test_a_layer_in_a_file_is_sent_piece_by_piece(faas, registry, tmp_path):
    layer = make_layer_file(tmp_path / "layer", [("opt/big", os.urandom(3_000_000))])
    assert faas.run(registry.push(layer, "t/file")) == "pushed"
    assert digest_of(faas.run(registry.blob("t/file", layer.digest))) == layer.digest


def test_a_blob_is_not_mounted_from_where_it_is_not(faas, registry):
    layer = fresh_layer()
    assert faas.run(registry.mount(layer.digest, "t/nowhere", "t/three")) is False
    assert faas.run(registry.push(layer, "t/three")) == "pushed"


def test_the_base_image_says_what_the_gateways_python_has(faas, registry):
    base = faas.run(registry.base(parse_image(f"away/python:{MINOR}"), "amd64"))
    assert base.labels["away.python"].startswith(f"{MINOR}.")
    assert "aiohttp" in base.labels["away.environment"]
    assert not base.docker
    assert len(base.layers) == 1


def test_a_base_image_that_is_not_there_is_an_error_that_names_the_option(faas, registry):
    with pytest.raises(PublishFailed, match=r"no base image nobody/has:1; pass base_image="):
        faas.run(registry.base(parse_image("nobody/has:1"), "amd64"))


def image_on_base(faas, registry, layers):
    base = faas.run(registry.base(parse_image(f"away/python:{MINOR}"), "amd64"))
    image = assemble(
        base,
        layers,
        command=["python3"],
        environment={},
        working_folder="/",
        labels={"seed": os.urandom(4).hex()},
    )
    return base, image


def test_a_manifest_comes_last_or_not_at_all(faas, registry):
    layer = fresh_layer()
    base, image = image_on_base(faas, registry, [layer])
    with pytest.raises(ManifestRefused):
        faas.run(registry.put_manifest(image, "t/whole", "1"))
    assert faas.run(registry.has_manifest("t/whole", image.digest)) is False
    for each in base.layers:
        assert faas.run(registry.mount(each["digest"], "away/python", "t/whole"))
    faas.run(registry.push(layer, "t/whole"))
    faas.run(registry.upload(image.config_digest, image.config, "t/whole"))
    faas.run(registry.put_manifest(image, "t/whole", "1"))
    assert faas.run(registry.has_manifest("t/whole", image.digest)) is True


def test_the_wrong_password_is_named_by_its_user_and_never_shown(faas):
    from away import FaasConnection

    with FaasConnection(faas.url, user="admin", password="hunter-two") as other:
        with pytest.raises(AuthenticationRefused, match="password of 'admin'") as caught:
            other.run(registry_of(other).check())
    assert "hunter" not in str(caught.value) + repr(caught.value.__dict__)


def test_the_registry_is_asked_for_once(faas):
    memory = Memory()
    faas.run(registry_of(faas, memory).check())
    assert memory.answering == {faas.url}
    assert list(registry_of(faas, memory).check()) == []


# ---------------------------------------------------------------- names and places


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("python", ImageName("", "python", "", "")),
        ("away/python:3.11", ImageName("", "away/python", "3.11", "")),
        ("localhost/x", ImageName("localhost", "x", "", "")),
        ("host:5000/a/b:t", ImageName("host:5000", "a/b", "t", "")),
        ("docker.io/library/python", ImageName("docker.io", "library/python", "", "")),
        ("[::1]:5000/x", ImageName("[::1]:5000", "x", "", "")),
        (f"x@sha256:{'a' * 64}", ImageName("", "x", "", f"sha256:{'a' * 64}")),
    ],
)
def test_an_image_name_is_read_as_docker_reads_it(text, name):
    assert parse_image(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Upper/x",
        "-a",
        "a//b",
        "a/",
        "/a",
        "x:",
        "x@",
        "x@sha256:1",
        "x:a b",
        "a" * 256,
        "http://h/x",
    ],
)
def test_what_is_no_image_name_is_refused_before_anything_is_sent(text):
    with pytest.raises(PublishFailed, match="is no image name"):
        parse_image(text)


@given(st.text(max_size=40))
def test_reading_a_name_gives_it_back_or_refuses_it(text):
    try:
        name = parse_image(text)
    except PublishFailed:
        return
    assert str(name) == text


def test_only_a_loopback_registry_is_spoken_to_in_plain_http():
    assert registry_url("localhost:5000") == "http://localhost:5000"
    assert registry_url("127.0.0.1") == "http://127.0.0.1"
    assert registry_url("[::1]:5000") == "http://[::1]:5000"
    assert registry_url("registry.example") == "https://registry.example"
    assert registry_url("localhost.evil.example") == "https://localhost.evil.example"
    for wrong in ("http://x", "user:secret@host", "a b", ""):
        with pytest.raises(PublishFailed, match="is no registry") as caught:
            registry_url(wrong)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x/blobs/uploads/1?a=b", "/v2/x/blobs/uploads/1?a=b"),
        ("http://gw/openfaas/v2/x/1", "/v2/x/1"),
        ("/openfaas/v2/x/1", "/v2/x/1"),
        ("http://elsewhere/x?a", "http://elsewhere/x?a"),
        ("https://gw/openfaas/v2/x", "https://gw/openfaas/v2/x"),
        ("1?a=b", "/v2/x/blobs/uploads/1?a=b"),
    ],
)
def test_a_place_to_upload_to_is_below_the_registry_or_elsewhere(location, expected):
    registry = Registry(lambda request: iter(()), "http://gw/openfaas", own=True)
    assert registry.location("/v2/x/blobs/uploads/", location) == expected


@pytest.mark.parametrize(
    "location",
    ["ftp://gw/x", "https:///x", "http://gw:99999/x", "/v2/\u00e9", "http://[::1/x", "/v2/a b"],
)
def test_a_place_that_nothing_can_be_sent_to_is_refused_in_one_sentence(location):
    registry = Registry(lambda request: iter(()), "http://gw/openfaas", own=True)
    with pytest.raises(PublishFailed) as caught:
        registry.location("/v2/x/blobs/uploads/", location)
    assert "names no place for an upload that could be reached by HTTP" in str(caught.value)

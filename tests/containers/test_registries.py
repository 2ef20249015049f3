"""Away's registry client against real registries: open ones, one with a password, and two at once."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import textwrap
import urllib.request

import pytest

from away import FaasConnection
from away.connection.conversations import Deadline
from away.exceptions import AuthenticationRefused, PublishFailed
from away.publish.base_scan import Scan, scan
from away.publish.credentials import Credentials
from away.publish.image import assemble, digest_of, make_layer, make_layer_file
from away.publish.references import parse_image
from away.publish.registry import Memory, Registry, find_base
from tests.containers import engine, registries
from tests.token_registry import token_registry

BASE = f"{registries.REPOSITORY}:{registries.TAG}"
SETTINGS = {
    "command": ["python3", "-c", "print('hello from a layer')"],
    "environment": {"SAID": "yes"},
    "working_folder": "/",
    "labels": {"of": "these-tests"},
}


@pytest.fixture
def faas():
    with FaasConnection("http://127.0.0.1:9", password="no-gateway") as connection:
        yield connection


@pytest.fixture
def target(tmp_path):
    """Another open registry, which is empty."""
    (tmp_path / "store").mkdir()
    with registries.serve(tmp_path / "store") as host:
        yield host


def client_of(faas, host, *, given=None, environ=None, **options) -> Registry:
    def ask(request):
        return faas.conversation_request(request, deadline=Deadline(60))

    credentials = Credentials(
        host, given=given, pushed=True, environ=environ or {"HOME": "/nowhere"}
    )
    options.setdefault("memory", Memory())
    return Registry(ask, f"http://{host}", own=False, credentials=credentials, **options)


def published(faas, client, source, repository, *, layer=None):
    """Put a layer on the base, bring all to the registry, and return the image."""
    base = faas.run(source.base(parse_image(BASE), "amd64"))
    layer = layer or make_layer([("opt/x", b"a layer of a test")], docker=base.docker)
    image = assemble(base, [layer], **SETTINGS)
    for each in base.layers:
        faas.run(client.carry(each, source, base.repository, repository))
    faas.run(client.push(layer, repository))
    faas.run(client.upload(image.config_digest, image.config, repository))
    faas.run(client.put_manifest(image, repository, "1"))
    return base, image


def raw_manifest(host, repository, reference, login=None) -> tuple[bytes, str]:
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{reference}")
    kinds = ("docker.distribution.manifest.v2", "oci.image.manifest.v1")
    request.add_header("Accept", ", ".join(f"application/vnd.{kind}+json" for kind in kinds))
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(request) as reply:
        return reply.read(), reply.headers["Content-Type"]


def test_the_base_of_the_tests_says_nothing_and_is_read(faas, registry, tmp_path):
    client = client_of(faas, registry)
    base = faas.run(client.base(parse_image(BASE), ""))
    assert base.variable("PYTHON_VERSION") == ""
    assert base.labels.get("away.python") is None
    found = faas.run(scan(client, base, tmp_path))
    assert found == Scan(f"{sys.version_info.major}.{sys.version_info.minor}", (2, 36))
    # By the second publish nobody is asked any more.
    assert list(scan(client, base, tmp_path)) == []


def test_an_image_runs_whose_layers_were_mounted_and_pushed(faas, registry, docker):
    client = client_of(faas, registry)
    base, image = published(faas, client, client, "t/mounted")
    data, kind = raw_manifest(registry, "t/mounted", "1")
    assert data == image.manifest
    assert digest_of(data) == image.digest
    # What the base was is what comes out: Docker's kind stays Docker's.
    assert base.docker
    assert kind == "application/vnd.docker.distribution.manifest.v2+json"
    assert b"oci" not in data
    name = f"{registry}/t/mounted@{image.digest}"
    try:
        assert engine.docker("run", "--rm", name).strip() == "hello from a layer"
    finally:
        engine.docker("rmi", name)


def test_a_base_in_another_registry_is_carried_over_once(faas, registry, target):
    source, client = client_of(faas, registry), client_of(faas, target)
    found, _ = faas.run(find_base(parse_image(f"{registry}/{BASE}"), "", client, lambda _: source))
    assert found is source
    published(faas, client, source, "t/one")
    assert faas.run(client.has_manifest("t/one", "1"))
    # Another process that knows nothing uploads no layer of the base again.
    sent: list[int] = []
    later = client_of(faas, target, sent=sent.append)
    layer = make_layer([("opt/y", b"another layer")], docker=True)
    published(faas, later, source, "t/one", layer=layer)
    assert 0 < sum(sent) < 20_000


def test_a_locked_registry_takes_the_right_login_alone(faas, registry, locked_registry, tmp_path):
    host, user, password = locked_registry.host, locked_registry.user, locked_registry.password
    source = client_of(faas, registry)
    published(faas, client_of(faas, host, given=(user, password)), source, "t/given")
    environ = {"AWAY_REGISTRY_USER": user, "AWAY_REGISTRY_PASSWORD": password}
    published(faas, client_of(faas, host, environ=environ), source, "t/environ")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": pair}}}))
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    published(faas, client_of(faas, host, environ=environ), source, "t/docker")
    for name in ("given", "environ", "docker"):
        assert raw_manifest(host, f"t/{name}", "1", f"{user}:{password}")
    for given, sent in (((user, "wrong-" + password), f"the login of {user}"), (None, "no cred")):
        with pytest.raises(AuthenticationRefused, match=f"answered 401 to {sent}") as caught:
            faas.run(client_of(faas, host, given=given).check())
        assert password not in str(caught.value) + repr(caught.value.__dict__)


def test_a_locked_registry_as_the_base_is_not_sent_the_targets_login(
    faas, registry, locked_registry
):
    def ask(request):
        return faas.conversation_request(request, deadline=Deadline(10))

    environ = {"AWAY_REGISTRY_USER": "ada", "AWAY_REGISTRY_PASSWORD": locked_registry.password}
    credentials = Credentials(locked_registry.host, environ=environ)
    url = f"http://{locked_registry.host}"
    source = Registry(ask, url, own=False, memory=Memory(), credentials=credentials)
    with pytest.raises(AuthenticationRefused, match="to no credentials"):
        faas.run(source.base(parse_image(BASE), ""))


def test_a_wrong_digest_and_a_missing_base_are_one_sentence(faas, registry):
    client = client_of(faas, registry)
    with pytest.raises(PublishFailed, match=r"400 to the blob .*DIGEST_INVALID.* same command"):
        faas.run(client.send_up(digest_of(b"other"), b"bytes", "t/wrong"))
    with pytest.raises(PublishFailed, match="has no base image t/none:1; pass base_image="):
        faas.run(client.base(parse_image("t/none:1"), ""))


def test_a_read_only_registry_says_so(faas, tmp_path):
    with registries.serve(tmp_path, read_only=True) as host:
        client = client_of(faas, host)
        with pytest.raises(PublishFailed, match=r"answered 405 to an upload to t/x: .*not take pu"):
            faas.run(client.push(make_layer([("x", b"y")]), "t/x"))


# A process that pushes three layers, and is killed in the middle of the second.
PUSHER = """
    import sys
    from pathlib import Path
    from away import FaasConnection
    from away.connection.conversations import Deadline
    from away.publish.registry import Registry

    host, *layers = sys.argv[1:]
    faas = FaasConnection("http://127.0.0.1:9", password="no-gateway")
    told = 0
    def sent(count):
        global told
        told += count
        print(told, flush=True)
        if told > 9_000_000 and "slow" in layers:
            sys.stdin.read()
    def ask(request):
        return faas.conversation_request(request, deadline=Deadline(60))
    registry = Registry(ask, f"http://{host}", own=False, sent=sent)
    for each in layers:
        if each != "slow":
            digest, path = each.split("=")
            print(faas.run(registry.upload(digest, Path(path), "t/killed")), flush=True)
"""


def test_a_push_that_was_killed_goes_on_from_there(target, tmp_path):
    layers = []
    for number in range(3):
        path = tmp_path / f"layer-{number}"
        layer = make_layer_file(path, [("opt/big", os.urandom(6_000_000))])
        layers.append(f"{layer.digest}={path}")
    script = [sys.executable, "-c", textwrap.dedent(PUSHER), target]
    process = subprocess.Popen(
        [*script, *layers, "slow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        said = ""
        while not said.isdigit() or int(said) <= 9_000_000:
            said = process.stdout.readline().strip()
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    again = subprocess.run([*script, *layers], capture_output=True, text=True, check=True)
    lines = again.stdout.split()
    assert [line for line in lines if not line.isdigit()] == ["there", "pushed", "pushed"]
    assert 12_000_000 < int([line for line in lines if line.isdigit()][-1]) < 12_100_000


@pytest.mark.parametrize("knows", [True, False], ids=["this process", "another process"])
def test_a_push_uploads_nothing_when_nothing_changed(faas, registry, knows):
    memory = Memory()
    client = client_of(faas, registry, memory=memory)
    published(faas, client, client, f"t/again-{int(knows)}")
    asked = []

    def ask(request):
        asked.append((request.method, request.path))
        return faas.conversation_request(request, deadline=Deadline(60))

    later = Registry(
        ask,
        f"http://{registry}",
        own=False,
        credentials=Credentials(registry, pushed=True, environ={"HOME": "/nowhere"}),
        memory=memory if knows else Memory(),
    )
    published(faas, later, client, f"t/again-{int(knows)}")
    changes = [(method, url) for method, url in asked if method not in ("GET", "HEAD")]
    # The manifest alone, which is small and says again what the tag means.
    assert [method for method, _ in changes] == ["PUT"]
    assert f"/v2/t/again-{int(knows)}/manifests/1" in changes[0][1]


def test_what_docker_login_leaves_is_a_login(faas, registry, locked_registry, docker, tmp_path):
    subprocess.run(
        ["docker", "--config", str(tmp_path), "login", "--username", locked_registry.user,
         "--password-stdin", locked_registry.host],
        input=locked_registry.password, text=True, check=True, capture_output=True,
    )  # fmt: skip
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    client = client_of(faas, locked_registry.host, environ=environ)
    faas.run(client.check("t/docker"))
    (tmp_path / "config.json").unlink()
    with pytest.raises(AuthenticationRefused, match="to no credentials"):
        faas.run(client_of(faas, locked_registry.host, environ=environ).check("t/docker"))


def test_an_image_that_went_to_a_registry_with_tokens_is_pulled_by_the_engine(
    faas, registry, docker
):
    with token_registry() as tokens:
        tokens.tokens.may_push["ada"] = {"t/fn"}
        tokens.tokens.public.add("t/fn")
        client = client_of(faas, tokens.host, given=("ada", tokens.tokens.users["ada"]))
        _, image = published(faas, client, client_of(faas, registry), "t/fn")
        name = f"{tokens.host}/t/fn@{image.digest}"
        try:
            assert engine.docker("run", "--rm", name).strip() == "hello from a layer"
        finally:
            engine.docker("rmi", name)

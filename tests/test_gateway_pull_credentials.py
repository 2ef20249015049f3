"""What the gateway tells the engine of Docker's log-ins: read, and never an error."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from away.gateway.providers.pull_credentials import credentials_for

HOST = "registry.example:5000"
HUB = "https://index.docker.io/v1/"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Write Docker's configuration, and ask for what it has for a host."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    def ask(content, host=HOST):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / "config.json").write_bytes(data)
        return asyncio.run(credentials_for(host))

    ask.folder = tmp_path
    return ask


def login(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


ADA = {"username": "ada", "password": "a:b c"}


@pytest.mark.parametrize(
    ("content", "host", "found"),
    [
        ({"auths": {HOST: login("ada", "a:b c")}}, HOST, ADA),
        ({"auths": {f"https://{HOST}": login("ada", "a:b c")}}, HOST, ADA),
        ({"auths": {f"https://{HOST}/v1/": login("ada", "a:b c")}}, HOST, ADA),
        ({"auths": {HUB: login("ada", "a:b c")}}, "docker.io", ADA),
        ({"auths": {HOST: {"identitytoken": "t"}}}, HOST, {"identitytoken": "t"}),
        ({"auths": {HOST: login("ada", "x")}}, "registry.example", None),
        ({"auths": {"registry.example": login("ada", "x")}}, HOST, None),
        ({"auths": {HOST: {"auth": "%%%"}}}, HOST, None),
        ({"auths": {HOST: {"auth": base64.b64encode(b"no colon").decode()}}}, HOST, None),
        ({"auths": {HOST: {}}}, HOST, None),
        ({"credsStore": "not-there"}, HOST, None),
        (b"\xff{", HOST, None),
    ],
    ids=str,
)
def test_what_docker_keeps_for_a_registry_is_found_under_its_own_name_alone(
    kept, content, host, found
):
    assert kept(content, host) == found


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ('echo \'{"Username": "ada", "Secret": "a:b c"}\'', ADA),
        ('echo \'{"Username": "<token>", "Secret": "t"}\'', {"identitytoken": "t"}),
        ("echo credentials not found; exit 1", None),
        ("echo '[]'", None),
        ("exit 0", None),
    ],
)
def test_a_helper_is_asked_by_its_protocol(kept, script, found):
    helper = kept.folder / "docker-credential-mine"
    helper.write_text(
        f"#!/bin/sh\nread name\n[ \"$1 $name\" = 'get {HOST}' ] || exit 9\n{script}\n"
    )
    helper.chmod(0o700)
    assert kept({"credHelpers": {HOST: "mine"}}) == found
    assert kept({"credsStore": "mine"}) == found
    assert kept({"credHelpers": {"elsewhere": "mine"}}) is None


@pytest.mark.parametrize("name", ["../mine", "a/b", "/mine", "", ".mine", "mine\n", 5, ["mine"]])
def test_a_helper_is_a_program_of_the_path_and_no_other_file(kept, name):
    for folder in (
        kept.folder,
        kept.folder / "docker-credential-a",
        kept.folder / "docker-credential-..",
    ):
        folder.mkdir(exist_ok=True)
        for each in ("b", "mine", "docker-credential-mine"):
            program = folder / each
            program.write_text('#!/bin/sh\necho \'{"Username": "ada", "Secret": "x"}\'\n')
            program.chmod(0o700)
    assert kept({"credsStore": name}) is None
    assert kept({"credHelpers": {HOST: name}}) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["auths", "credsStore", "credHelpers", HOST, "auth", "identitytoken"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(VALUES)
def test_no_configuration_is_an_error(kept, content):
    found = kept(content)
    assert found is None or set(found) in ({"username", "password"}, {"identitytoken"})

"""Who we are at a registry: tokens, passwords, Docker's configuration, and where none of it may go."""

from __future__ import annotations

import base64
import json
import os
import stat
import time
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import FaasConnection
from away.config.secret import Secret
from away.connection.conversations import Deadline
from away.exceptions import AwayError, ConfigError, PublishFailed
from away.publish import docker_config
from away.publish.builders.logins import Logins
from away.publish.builders.order import Order
from away.publish.builders.registry import RegistryBuilder
from away.publish.challenges import Challenge, parse_challenges
from away.publish.credentials import Credentials, RegistryLogin, find_login, given_login
from away.publish.docker_config import Stored, entry_for, read_config, stored_in
from away.publish.image import make_layer
from away.publish.keywords import options_for
from away.publish.progress import Progress
from away.publish.references import parse_image
from away.publish.registry import Memory, Registry
from away.publish.target import Target
from tests import servers
from tests.token_registry import TokenRegistry, TokenServer, error, open_registry, token_registry

PASSWORD = "correct-horse-battery"
GIVEN = ("ada", PASSWORD)


@pytest.fixture
def faas():
    with servers.Server(servers.answer()) as server:
        with FaasConnection(server.url, password="the-gateways-own-password") as connection:
            yield connection
        assert not [seen for seen in server.requests if "authorization" in seen.headers]


@pytest.fixture
def registry():
    with token_registry() as made:
        yield made


class Client:
    """A registry's client whose environment is the test's own."""

    def __init__(self, faas, url, *, given=None, pushed=True, environ=None, memory=None):
        def ask(request):
            self.requests.append(request)
            return faas.conversation_request(request, deadline=Deadline(10))

        self.requests = []
        self.memory = memory or Memory()
        credentials = Credentials(
            url.partition("://")[2],
            given=given,
            pushed=pushed,
            environ=environ or {"HOME": "/none"},
        )
        self.registry = Registry(
            ask, url, own=False, memory=self.memory, credentials=credentials, deadline=Deadline(10)
        )
        self.run = faas.run

    def push(self, layer, repository):
        return self.run(self.registry.push(layer, repository))

    def refusal(self, act) -> str:
        with pytest.raises(AwayError) as caught:
            self.run(act(self.registry))
        text = str(caught.value)
        shown = (
            text + repr(caught.value.__dict__) + repr(self.requests) + repr(self.memory.__dict__)
        )
        shown += "".join(traceback.format_exception(caught.value))
        for secret in (PASSWORD, base64.b64encode(f"ada:{PASSWORD}".encode()).decode()):
            assert secret not in shown
        assert "\n" not in text
        return text


def layer(size: int = 500):
    return make_layer([("opt/x", os.urandom(size))])


# ---------------------------------------------------------------- bearer tokens


def test_a_layer_is_pushed_with_a_token_that_is_asked_for_once(faas, registry):
    registry.tokens.may_push["ada"] = {"t/one"}
    client = Client(faas, registry.url, given=GIVEN)
    assert client.push(layer(), "t/one") == "pushed"
    assert client.push(layer(), "t/one") == "pushed"
    asked = registry.tokens.server.requests
    assert [seen.path.partition("?")[0] for seen in asked] == ["/token"]
    assert "scope=repository%3At%2Fone%3Apull%2Cpush" in asked[0].path
    assert "service=tests" in asked[0].path
    # The password went to the token server, and the token alone to the registry.
    assert asked[0].headers["authorization"].startswith("Basic ")
    sent = {
        seen.headers.get("authorization", "none").partition(" ")[0] for seen in registry.requests
    }
    assert sent == {"none", "Bearer"}


def test_a_token_holds_for_the_next_publish_of_the_process(faas, registry):
    registry.tokens.may_push["ada"] = {"t/one"}
    first = Client(faas, registry.url, given=GIVEN)
    first.push(layer(), "t/one")
    second = Client(faas, registry.url, given=GIVEN, memory=first.memory)
    second.push(layer(), "t/one")
    assert len(registry.tokens.server.requests) == 1


def test_another_login_does_not_take_the_token_of_the_first(faas, registry):
    registry.tokens.may_push["ada"] = {"t/one"}
    first = Client(faas, registry.url, given=GIVEN)
    first.push(layer(), "t/one")
    nobody = Client(faas, registry.url, memory=first.memory)
    assert "no credentials" in nobody.refusal(lambda r: r.push(layer(), "t/one"))


def test_a_token_that_has_expired_is_replaced(faas, registry):
    registry.tokens.may_push["ada"] = {"t/one"}
    registry.tokens.seconds = 0.3
    client = Client(faas, registry.url, given=GIVEN)
    client.push(layer(), "t/one")
    time.sleep(0.35)
    client.push(layer(), "t/one")
    assert len(registry.tokens.server.requests) == 2
    # The second was known to be needed: nothing was refused in between.
    assert sum("authorization" not in seen.headers for seen in registry.requests) == 1


def test_a_token_that_is_refused_early_is_replaced_once(faas, registry):
    registry.tokens.may_push["ada"] = {"t/one"}
    client = Client(faas, registry.url, given=GIVEN)
    client.push(layer(), "t/one")
    registry.tokens.held.clear()
    assert client.push(layer(), "t/one") == "pushed"
    assert len(registry.tokens.server.requests) == 2


def test_a_token_that_is_never_taken_ends_in_one_sentence(faas, registry):
    registry.tokens.users["ada"] = PASSWORD
    client = Client(faas, registry.url, given=GIVEN)
    text = client.refusal(lambda r: r.push(layer(), "t/foreign"))
    assert "answered 401 to the login of ada from registry_auth=" in text
    assert len(registry.tokens.server.requests) == 1


def test_a_public_image_is_pulled_by_nobody(faas, registry):
    registry.store.add_image("library/python", "3.11", [b"x" * 600])
    registry.tokens.public.add("library/python")
    client = Client(faas, registry.url)
    base = client.run(client.registry.base(parse_image("library/python:3.11"), "amd64"))
    assert len(base.layers) == 1
    assert "authorization" not in registry.tokens.server.requests[0].headers


def test_a_mount_asks_for_a_pull_of_its_source_too(faas, registry):
    registry.tokens.may_push["ada"] = {"t/one", "t/two"}
    client = Client(faas, registry.url, given=GIVEN)
    pushed = layer()
    assert client.push(pushed, "t/one") == "pushed"
    assert client.push(pushed, "t/two") == "mounted"
    asked = registry.tokens.server.requests[-1].path
    assert "scope=repository%3At%2Ftwo%3Apull%2Cpush&scope=repository%3At%2Fone%3Apull" in asked


def test_a_login_that_may_not_read_the_source_uploads_instead(faas, registry):
    registry.tokens.may_push["ada"] = {"t/two"}
    data = layer()
    registry.store.add_blob("t/secret", data.data)
    client = Client(faas, registry.url, given=GIVEN)
    client.memory.add(registry.url, "t/secret", data.digest)
    assert client.push(data, "t/two") == "pushed"


def test_an_identity_token_is_exchanged_and_never_shown(faas, registry):
    registry.tokens.identities["the-identity-token"] = "ada"
    registry.tokens.may_push["ada"] = {"t/one"}
    login = RegistryLogin(identity=Secret("the-identity-token"), source="Docker's config.json")
    client = Client(faas, registry.url, given=login)
    assert client.push(layer(), "t/one") == "pushed"
    asked = registry.tokens.server.requests[0]
    assert asked.method == "POST"
    assert b"grant_type=refresh_token" in asked.body
    assert b"refresh_token=the-identity-token" in asked.body
    assert "the-identity-token" not in repr(client.requests)


def test_a_registry_token_is_sent_as_it_is(faas, registry):
    registry.tokens.may_push["ada"] = {"t/one"}
    token = registry.tokens.grant("ada", ["repository:t/one:pull,push"])
    client = Client(faas, registry.url, given=RegistryLogin(token=Secret(token), source="a test"))
    assert client.push(layer(), "t/one") == "pushed"
    assert registry.tokens.server.requests == []


def test_a_wrong_password_is_named_by_whose_it_is_and_where_it_came_from(faas, registry):
    environ = {"AWAY_REGISTRY_USER": "ada", "AWAY_REGISTRY_PASSWORD": "wrong-" + PASSWORD}
    client = Client(faas, registry.url, environ=environ)
    text = client.refusal(lambda r: r.check("t/one"))
    assert f"the token server {registry.realm} of the registry {registry.url} answered 401" in text
    assert "the login of ada from AWAY_REGISTRY_USER" in text


def test_no_login_at_all_says_how_to_log_in(faas, registry):
    text = Client(faas, registry.url).refusal(lambda r: r.push(layer(), "t/one"))
    assert "to no credentials" in text
    assert f"docker login {registry.host}" in text
    assert "registry_auth=" in text
    text = Client(faas, registry.url, pushed=False).refusal(
        lambda r: r.base(parse_image("t/one"), "amd64")
    )
    assert "registry_auth=" not in text


def test_a_registry_that_was_restarted_with_passwords_is_logged_in_at(faas):
    with open_registry() as registry:
        client = Client(faas, registry.url, given=GIVEN)
        assert client.push(layer(), "t/one") == "pushed"
        right = "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
        challenge = {"Www-Authenticate": 'Basic realm="x"'}

        def locked(seen):
            if seen.headers.get("authorization") == right:
                return None
            return error(401, "UNAUTHORIZED", "authentication required", challenge)

        registry.hook = locked
        assert client.push(layer(), "t/one") == "pushed"
        before = len(registry.requests)
        assert client.push(layer(), "t/one") == "pushed"
        # From then on it is sent without being asked for.
        assert all("authorization" in seen.headers for seen in registry.requests[before:])


def test_a_login_of_another_kind_is_refused_in_one_sentence(faas):
    with open_registry() as registry:
        registry.hook = lambda seen: error(401, "X", "x", {"Www-Authenticate": "Negotiate abc=="})
        text = Client(faas, registry.url, given=GIVEN).refusal(lambda r: r.check())
    assert "asks for negotiate, where Away knows Basic and Bearer" in text


# ---------------------------------------------------------------- hostile token servers


@pytest.mark.parametrize(
    ("url", "realm", "why"),
    [
        ("http://127.0.0.1:{port}", "http://evil.example/token", "in the open, without https"),
        ("http://127.0.0.1:{port}", "ftp://127.0.0.1/token", "is no http or https URL"),
        ("http://127.0.0.1:{port}", "file:///etc/passwd", "is no http or https URL"),
        ("http://127.0.0.1:{port}", "//127.0.0.1/token", "is no http or https URL"),
        ("http://127.0.0.1:{port}", "https://ada@evil.example/token", "is no http or https URL"),
        ("http://127.0.0.1:{port}", "http://127.0.0.1.evil.example/t", "in the open"),
        ("http://127.0.0.1:{port}", "http://localhost@evil.example/t", "is no http or https"),
    ],
)
def test_a_login_is_never_sent_where_somebody_may_listen(faas, url, realm, why):
    with open_registry() as registry:
        said = {"Www-Authenticate": f'Bearer realm="{realm}",service="x"'}
        registry.hook = lambda seen: error(401, "UNAUTHORIZED", "x", said)
        client = Client(faas, url.format(port=registry.server.port), given=GIVEN)
        text = client.refusal(lambda r: r.check("t/one"))
        assert why in text
        assert "nothing was sent there" in text
        assert len(client.requests) == 1


@pytest.mark.parametrize(
    ("registry", "realm", "sound"),
    [
        ("https://registry.example", "https://auth.example/token", True),
        ("https://registry.example", "http://registry.example/token", False),
        ("https://registry.example", "http://auth.example/token", False),
        ("https://registry.example", "https://127.0.0.1/token", False),
        ("https://registry.example", "http://localhost:5001/token", False),
        ("http://registry.lan:5000", "http://registry.lan:5001/token", True),
        ("http://registry.lan:5000", "http://auth.lan/token", False),
        ("http://registry.lan:5000", "http://127.0.0.1/token", False),
        ("http://localhost:5000", "http://127.0.0.1:5001/token", True),
        ("http://localhost:5000", "https://auth.example/token", True),
        ("http://localhost:5000", "http://auth.example/token", False),
    ],
)
def test_which_token_servers_are_asked(registry, realm, sound):
    client = Registry(lambda request: iter(()), registry, own=False, memory=Memory())
    if sound:
        assert client.session.authenticator.checked_realm(realm) == realm
        return
    with pytest.raises(PublishFailed, match="nothing was sent there"):
        client.session.authenticator.checked_realm(realm)


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (servers.json({"token": "a\r\nX-Evil: 1"}), "gave no token"),
        (servers.json({"token": 5}), "gave no token"),
        (servers.json([]), "gave no token"),
        (servers.answer(200, b"{" * 10000), "gave no token"),
        (servers.answer(200, b""), "gave no token"),
        (servers.answer(302, b"", {"Location": "http://evil.example/"}), "answered 302 to a token"),
        (servers.answer(200, bytes(2 << 20)), "has more than the 1048576 bytes"),
        (servers.hang_up(), "ended in the middle of a token"),
        (servers.raw(b"SSH-2.0\r\n\r\n"), "cannot be read"),
    ],
)
def test_a_token_server_that_misbehaves_is_one_sentence(faas, behaviour, why):
    tokens = TokenServer(lambda seen: behaviour)
    registry = TokenRegistry(tokens)
    with tokens.server, registry.server:
        text = Client(faas, registry.url, given=GIVEN).refusal(lambda r: r.check("t/one"))
    assert why in text


def test_a_registry_that_repeats_what_it_was_sent_does_not_spread_it(faas):
    with open_registry() as registry:

        def echo(seen):
            if "authorization" not in seen.headers:
                return error(401, "X", "x", {"Www-Authenticate": "Basic realm=x"})
            sent = seen.headers["authorization"]
            plain = base64.b64decode(sent.partition(" ")[2]).decode()
            return error(401, "UNAUTHORIZED", f"you said {sent} which is {plain}")

        registry.hook = echo
        client = Client(faas, registry.url, given=GIVEN)
        text = client.refusal(lambda r: r.check())
    assert "you said" in text


# ---------------------------------------------------------------- the order of logins


def config_in(folder: Path, **parts) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(parts))
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:/usr/bin:/bin"}


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def helper_in(folder: Path, name: str, script: str) -> None:
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_what_is_given_comes_before_the_environment_and_that_before_docker(tmp_path):
    environ = config_in(tmp_path, auths={"r.example": auth("docker", "docker-password")})
    assert find_login("r.example", pushed=True, environ=environ).login.user == "docker"
    environ |= {"AWAY_REGISTRY_USER": "env", "AWAY_REGISTRY_PASSWORD": "env-password"}
    assert find_login("r.example", pushed=True, environ=environ).login.user == "env"
    given = find_login("r.example", given=GIVEN, pushed=True, environ=environ).login
    assert (given.user, given.password) == ("ada", Secret(PASSWORD))


def test_a_login_for_the_registry_that_is_pushed_to_goes_to_no_other(tmp_path):
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    environ |= {"AWAY_REGISTRY_USER": "env", "AWAY_REGISTRY_PASSWORD": "env-password"}
    assert find_login("other.example", given=GIVEN, environ=environ).login is None


def test_a_registry_that_a_project_chose_is_sent_what_is_meant_for_it_alone(tmp_path):
    environ = config_in(tmp_path, auths={"r.example": auth("docker", "docker-password")})
    environ |= {"AWAY_REGISTRY_USER": "env", "AWAY_REGISTRY_PASSWORD": "env-password"}
    where = "/p/away.toml line 2"

    def user(host, **more):
        found = find_login(host, pushed=True, environ=environ, **more).login
        return found and found.user

    assert user("r.example", chosen_by=where) == "docker"
    assert user("evil.example", chosen_by=where) is None
    hint = Credentials("evil.example", pushed=True, chosen_by=where, environ=environ).hint()
    assert where in hint
    assert "set AWAY_REGISTRY_HOST=evil.example" in hint
    with pytest.raises(ConfigError, match=r"registry_auth= is not sent .*away\.toml line 2"):
        user("evil.example", chosen_by=where, given=("ada", "password-x"))
    environ["AWAY_REGISTRY_HOST"] = "good.example"
    assert user("good.example", chosen_by=where) == "env"
    assert user("good.example", chosen_by=where, given=("ada", "password-x")) == "ada"
    assert user("evil.example", chosen_by=where) is None
    # The variable says whom the two are for, whoever names another.
    assert user("other.example") is None


@pytest.mark.parametrize("place", ["gateway", "publish"])
@pytest.mark.parametrize("chooser", ["project", "user"])
def test_both_builders_know_who_chose_the_registry(tmp_path, monkeypatch, place, chooser):
    for name in [each for each in os.environ if each.startswith("AWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("AWAY_REGISTRY_USER", "env")
    monkeypatch.setenv("AWAY_REGISTRY_PASSWORD", "env-password")
    project, user = tmp_path / "project" / "away.toml", tmp_path / "config" / "away" / "config.toml"
    for each in (project, user):
        each.parent.mkdir(parents=True)
        each.write_text("")
    monkeypatch.chdir(project.parent)
    table = "[gateways.dev.publish]\n" if place == "publish" else ""
    text = f'[gateways.dev]\nurl = "http://127.0.0.1:9"\n{table}registry = "r.example/me"\n'
    (project if chooser == "project" else user).write_text(text)

    def add(a, b):
        return a + b

    connection = FaasConnection.named("dev")
    options = options_for(add, connection, {})
    order = Order(
        connection.conversation_request,
        connection,
        options,
        Target("faasd", "containerd", "", ""),
        parse_image("x"),
        "r.example",
        "https://r.example",
        Progress(),
        None,
    )
    for login in (
        RegistryBuilder(order).registry.session.authenticator.credentials.look().login,
        Logins(order).for_push(),
    ):
        assert (login and login.user) == (None if chooser == "project" else "env")
    # What stands in code is the user's own word.
    own = order._replace(options=options._replace(registry="r.example/me"))
    assert Logins(own).for_push().user == "env"


@pytest.mark.parametrize(
    "environ", [{"AWAY_REGISTRY_USER": "a"}, {"AWAY_REGISTRY_PASSWORD": "hidden-password"}]
)
def test_half_a_login_in_the_environment_is_an_error(environ):
    with pytest.raises(ConfigError, match="set both or neither") as caught:
        find_login("r.example", pushed=True, environ=environ)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "given", ["ada", 5, ("ada",), ("a:b", "c"), ("ada", "hidden\nline"), ("", "x")]
)
def test_what_is_no_login_is_refused_without_repeating_it(given):
    with pytest.raises(ConfigError, match="registry_auth=") as caught:
        given_login(given)
    assert "hidden" not in str(caught.value)


def test_a_login_is_a_pair_or_a_text():
    assert given_login("ada:a:b") == given_login(("ada", "a:b"))
    assert given_login("ada:a:b").password == Secret("a:b")


@pytest.mark.parametrize(
    ("key", "host", "found"),
    [
        ("r.example", "r.example", True),
        ("https://r.example", "r.example", True),
        ("https://r.example/v2/", "r.example", True),
        ("r.example:5000", "r.example:5000", True),
        ("r.example:5000", "r.example", False),
        ("r.example.evil.example", "r.example", False),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("index.docker.io", "docker.io", True),
        ("docker.io", "registry-1.docker.io", True),
        ("https://index.docker.io/v1/", "r.example", False),
    ],
)
def test_dockers_configuration_is_searched_by_host(tmp_path, key, host, found):
    environ = config_in(tmp_path, auths={key: auth("ada", PASSWORD)})
    login = find_login(host, environ=environ).login
    assert (login is not None) is found
    if login:
        assert login.who == "the login of ada from Docker's config.json"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": "YWRhOnB3"}, Stored("ada", Secret("pw"))),
        ({"username": "ada", "password": "pw"}, Stored("ada", Secret("pw"))),
        ({"auth": "YWRhOnB3", "identitytoken": "it"}, Stored("ada", identity=Secret("it"))),
        ({"registrytoken": "rt"}, Stored(token=Secret("rt"))),
        ({"auth": "%%%"}, None),
        ({"auth": "YWRh"}, None),
        ({"auth": 5}, None),
        ({}, None),
        ({"username": "a:b", "password": "x"}, None),
        ({"username": "ada", "password": "a\nb"}, None),
    ],
)
def test_an_entry_of_dockers_configuration_is_read(entry, expected):
    assert stored_in(entry) == expected


def test_a_credential_helper_is_asked_for_its_registry(tmp_path):
    helper_in(
        tmp_path,
        "vault",
        'test "$1" = get || exit 3; read -r server; test "$server" = r.example || exit 4;'
        ' echo \'{"Username": "ada", "Secret": "from-the-vault"}\'',
    )
    environ = config_in(tmp_path, credHelpers={"r.example": "vault"})
    login = find_login("r.example", environ=environ).login
    assert (login.user, login.password) == ("ada", Secret("from-the-vault"))
    assert find_login("other.example", environ=environ).login is None


def test_the_helper_for_all_is_asked_with_docker_hubs_own_key(tmp_path):
    helper_in(
        tmp_path,
        "store",
        'read -r server; echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"$server\\"}"',
    )
    environ = config_in(tmp_path, credsStore="store")
    login = find_login("docker.io", environ=environ).login
    assert login.identity == Secret("https://index.docker.io/v1/")


def test_a_helper_that_has_none_lets_the_next_be_asked(tmp_path):
    helper_in(tmp_path, "none", 'echo "credentials not found in native keychain"; exit 1')
    environ = config_in(tmp_path, credsStore="none", auths={"r.example": auth("ada", PASSWORD)})
    assert find_login("r.example", environ=environ).login.user == "ada"
    found = find_login("other.example", environ=environ)
    assert found == (None, "")


@pytest.mark.parametrize(
    ("name", "script", "why"),
    [
        ("bad", "echo a-secret-word >&2; echo a-secret-word; exit 7", "failed with exit status 7"),
        ("bad", "echo not json a-secret-word", "gave no login"),
        ("bad", "exec sleep 30", "gave no answer within 0.3 s"),
        ("bad", "sleep 5 & exec sleep 30", "gave no answer within 0.3 s"),
        ("missing", "", "is not installed"),
        ("../../bin/evil", "", "is no plain word"),
        ("a/b", "", "is no plain word"),
        ("-x", "", "is no plain word"),
    ],
)
def test_a_helper_that_fails_is_named_and_shows_nothing(tmp_path, monkeypatch, name, script, why):
    monkeypatch.setattr(docker_config, "HELPER_SECONDS", 0.3 if "sleep" in script else 10)
    helper_in(tmp_path, "bad", script)
    began = time.monotonic()
    found = find_login("r.example", environ=config_in(tmp_path, credsStore=name))
    assert time.monotonic() - began < 3
    assert found.login is None
    assert why in found.why
    assert "a-secret-word" not in found.why


def test_a_helper_that_fails_does_not_keep_a_public_image_away(faas, registry, tmp_path):
    environ = config_in(tmp_path, credsStore="gone")
    registry.store.add_image("t/public", "1", [b"x" * 600])
    registry.tokens.public.add("t/public")
    client = Client(faas, registry.url, environ=environ)
    client.run(client.registry.base(parse_image("t/public:1"), "amd64"))
    text = client.refusal(lambda r: r.push(layer(), "t/one"))
    assert "docker-credential-gone, which Docker's config.json names, is not installed" in text


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_a_configuration_that_is_none_is_named(tmp_path, data):
    (tmp_path / "config.json").write_bytes(data)
    found = find_login("r.example", environ={"DOCKER_CONFIG": str(tmp_path)})
    assert found.login is None
    assert found.why == f"Docker's {tmp_path}/config.json is not JSON"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=12,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("auth", "username", "password", "identitytoken", "registrytoken"), JSON
    ),
)
TABLE = st.dictionaries(
    st.sampled_from(["r.example", "https://r.example/v1/", "x", ""]), ENTRY | JSON
)


@given(
    st.fixed_dictionaries(
        {}, optional={"auths": TABLE | JSON, "credHelpers": JSON, "credsStore": JSON}
    )
)
def test_any_configuration_is_read_without_an_exception(config):
    assert read_config(json.dumps(config).encode()) == config
    entry = entry_for(config, "r.example")
    assert all(isinstance(name, str) and name for name in entry.helpers)
    if entry.stored is not None:
        assert ":" not in entry.stored.user
        assert entry.stored.user.isprintable()


@given(
    st.text(
        alphabet=st.characters(
            blacklist_categories=("Cs", "Cc", "Zl", "Zp", "Zs", "Cf", "Co", "Cn"),
            blacklist_characters=":",
        ),
        min_size=1,
        max_size=20,
    ),
    st.text(alphabet="abc:/+=\u00e9 ", min_size=1, max_size=20),
)
def test_what_docker_login_writes_is_read_back(user, password):
    config = {"auths": {"r.example": auth(user, password)}}
    assert entry_for(config, "r.example").stored == Stored(user, Secret(password))


# ---------------------------------------------------------------- the Www-Authenticate field


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
            'scope="repository:library/python:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:library/python:pull,push",
                    },
                )
            ],
        ),
        (
            "BEARER Realm=https://a/t?x=1 , SERVICE = s",
            [("bearer", {"realm": "https://a/t?x=1", "service": "s"})],
        ),
        (
            'Basic realm="x", Bearer realm="y"',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
        ),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("Negotiate YWJj==, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        (r'Basic realm="a\"b\\c"', [("basic", {"realm": 'a"b\\c'})]),
        ('Basic realm="never ends', [("basic", {"realm": "never ends"})]),
        ('Bearer realm="x" service="y"', [("bearer", {"realm": "x", "service": "y"})]),
        ("Bearer realm=x,realm=y", [("bearer", {"realm": "x"})]),
        (',, Basic realm="x",,', [("basic", {"realm": "x"})]),
    ],
)
def test_what_a_server_asks_for_is_read(field, expected):
    assert parse_challenges(field) == [Challenge(*each) for each in expected]


NAME = st.text(alphabet="abcXYZ09-_!", min_size=1, max_size=8)
VALUE = st.text(max_size=20)


@given(
    st.lists(
        st.tuples(NAME, st.dictionaries(NAME.map(str.lower), VALUE, min_size=1, max_size=4)),
        max_size=4,
    )
)
def test_whatever_is_written_by_the_grammar_is_read_back(challenges):
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    field = ", ".join(
        f"{scheme} " + ",".join(f"{key}={quoted(value)}" for key, value in parameters.items())
        for scheme, parameters in challenges
    )
    expected = [Challenge(scheme.lower(), parameters) for scheme, parameters in challenges]
    assert parse_challenges(field) == expected


@given(st.text(max_size=200) | st.text(alphabet='aB ,="\\', max_size=200))
def test_any_field_is_read_without_an_exception(field):
    for challenge in parse_challenges(field):
        assert challenge.scheme == challenge.scheme.lower()


def test_a_field_without_end_is_read_in_no_time():
    for piece in ('a="\\', "a", "a" * 8000 + '"', "a ", "a=", ", ", '"', "a=b,"):
        began = time.monotonic()
        parse_challenges(piece * (100_000 // len(piece)))
        assert time.monotonic() - began < 1

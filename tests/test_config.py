"""Gateways from all sources: which value wins, what opens what, and what a bad one is told."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from away import config
from away.config.files import key_lines
from away.exceptions import AwayError, CannotTravel, ConfigError, UnknownGateway
from away.gateway.announcement import Announcement, announce, folder
from away.secret_texts import known

PASSWORD = "hunter2-hunter2"
OTHERS = "not-the-users-own"
# None of the messages below may hold one of these.
NEVER = (PASSWORD, OTHERS)


class Machine:
    """A user's home, a project to work in, and an environment: all that configuration reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.project = root / "project"
        self.cwd = self.project / "src" / "deep"
        self.cwd.mkdir(parents=True)
        self.home.mkdir()
        self.environ = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config")}

    def write(self, files: dict[str, str]) -> Machine:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return self

    def set(self, **variables: str) -> Machine:
        self.environ.update(variables)
        return self

    def resolve(self, name: str) -> config.GatewayConfig:
        return config.resolve(name, environ=self.environ, cwd=self.cwd)

    def configured(self) -> dict[str, config.GatewayConfig]:
        found = config.configured(environ=self.environ, cwd=self.cwd)
        return {each.name: each for each in found}

    def names(self) -> list[str]:
        return config.names(environ=self.environ, cwd=self.cwd)

    def credentials_for(self, url: str, **options: str) -> tuple[str, str] | None:
        found = config.credentials_for(url, environ=self.environ, cwd=self.cwd, **options)
        return found and (found[0], found[1].reveal())

    def password(self, name: str) -> str | None:
        found = self.resolve(name).password
        return found and found.reveal()


USERS = "home/.config/away/config.toml"
PYPROJECT = "project/pyproject.toml"
AWAY = "project/away.toml"
FAAS_CLI = "home/.openfaas/config.yml"


def faas_cli(url: str, user: str = "admin", password: str = PASSWORD, auth: str = "basic") -> str:
    token = (
        base64.b64encode(f"{user}:{password}".encode()).decode() if auth == "basic" else password
    )
    return f"auths:\n  - gateway: {url}\n    auth: {auth}\n    token: {token}\n"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


@pytest.fixture
def told():
    """Give names for configure(), and forget what was told of them."""
    config.forget("dev")
    yield config.configure
    config.forget("dev")


@pytest.fixture
def embedded():
    """Announce an embedded gateway at port 8090, as long as the test runs."""
    announcement = Announcement("http://127.0.0.1:8090", "admin", PASSWORD, os.getpid(), "/state")
    with announce(announcement, folder()):
        yield announcement


# ------------------------------------------------------------------ sources, and which one wins

LATER_BEATS_EARLIER = [
    (USERS, '[gateways.dev]\nurl = "http://a.example"\ntimeout = 1'),
    (PYPROJECT, '[tool.away.gateways.dev]\nurl = "http://a.example"\ntimeout = 2'),
    (AWAY, '[gateways.dev]\nurl = "http://a.example"\ntimeout = 3'),
]


@pytest.mark.parametrize("last", range(5), ids=["user", "pyproject", "away.toml", "env", "code"])
def test_a_later_source_beats_an_earlier_one_and_each_value_says_where_it_came_from(
    machine, told, last
):
    machine.write(dict(LATER_BEATS_EARLIER[: last + 1]))
    if last >= 3:
        machine.set(AWAY_GATEWAY_DEV_TIMEOUT="4")
    if last >= 4:
        told("dev", timeout=5)
    found = machine.resolve("dev")
    origins = [
        f"{machine.root / USERS} line 3",
        f"{machine.root / PYPROJECT} line 3",
        f"{machine.root / AWAY} line 3",
        "environment AWAY_GATEWAY_DEV_TIMEOUT",
        "configure('dev')",
    ]
    assert (found.timeout, found.origins["timeout"]) == (last + 1, origins[last])
    assert found.origins["connect_timeout"] == "default"


def test_every_key_can_be_set_in_toml(machine):
    machine.write(
        {
            USERS: """\
            [gateways.prod]
            url = "https://Prod.Example:443/faas/"
            user = "ada"
            password = 1234
            timeout = 30
            connect_timeout = 0.5
            ca_bundle = "ca.pem"
            registry = "ghcr.io/me"
            base_image = "ghcr.io/me/base@sha256:00"
            namespace = "team-a"
            inside_url = "http://gateway.openfaas:8080"
            """,
            "home/.config/away/ca.pem": "certificates",
        }
    )
    found = machine.resolve("prod")
    assert found._replace(origins={}) == config.GatewayConfig(
        name="prod",
        url="https://prod.example/faas",
        user="ada",
        password=config.Secret("1234"),
        token=None,
        timeout=30.0,
        connect_timeout=0.5,
        ca_bundle=machine.home / ".config/away/ca.pem",
        registry="ghcr.io/me",
        base_image="ghcr.io/me/base@sha256:00",
        namespace="team-a",
        inside_url="http://gateway.openfaas:8080",
        origins={},
    )
    assert {type(found.timeout), type(found.connect_timeout)} == {float}


def test_every_key_but_the_names_of_variables_can_be_set_in_the_environment(machine):
    machine.write({"project/src/deep/pw": f"{PASSWORD}\n", "project/src/deep/ca.pem": "x"})
    machine.set(
        AWAY_GATEWAY_PROD_URL="https://prod.example",
        AWAY_GATEWAY_PROD_USER="ada",
        AWAY_GATEWAY_PROD_PASSWORD_FILE="pw",
        AWAY_GATEWAY_PROD_TIMEOUT="30",
        AWAY_GATEWAY_PROD_CONNECT_TIMEOUT="1.5",
        AWAY_GATEWAY_PROD_CA_BUNDLE="ca.pem",
        AWAY_GATEWAY_PROD_REGISTRY="ghcr.io/me",
        AWAY_GATEWAY_PROD_BASE_IMAGE="python:3.11",
        AWAY_GATEWAY_PROD_NAMESPACE="team-a",
        AWAY_GATEWAY_PROD_INSIDE_URL="http://gateway:8080",
        AWAY_GATEWAY_BOT_URL="http://bot.example",
        AWAY_GATEWAY_BOT_TOKEN=OTHERS,
    )
    found = machine.resolve("prod")
    assert found[1:3] == ("https://prod.example", "ada")
    assert found.password == config.Secret(PASSWORD)
    assert found[5:12] == (
        30.0,
        1.5,
        machine.cwd / "ca.pem",
        "ghcr.io/me",
        "python:3.11",
        "team-a",
        "http://gateway:8080",
    )
    bot = machine.resolve("bot")
    assert (bot.password, bot.token) == (None, config.Secret(OTHERS))
    assert bot.origins["token"] == "environment AWAY_GATEWAY_BOT_TOKEN"


@pytest.mark.parametrize(
    ("variable", "name", "key"),
    [
        ("AWAY_GATEWAY_DEV_URL", "dev", "url"),
        ("AWAY_GATEWAY_MY_URL_URL", "my_url", "url"),
        ("AWAY_GATEWAY_MY_PASSWORD_URL", "my_password", "url"),
        ("AWAY_GATEWAY_X_PASSWORD_FILE", "x", "password_file"),
        ("AWAY_GATEWAY_PASSWORD_PASSWORD", "password", "password"),
        ("AWAY_GATEWAY_URL_PASSWORD_FILE", "url", "password_file"),
        ("AWAY_GATEWAY_X_CONNECT_TIMEOUT", "x", "connect_timeout"),
        ("AWAY_GATEWAY_A_B_C_CA_BUNDLE", "a_b_c", "ca_bundle"),
        ("AWAY_GATEWAY_prod_BASE_IMAGE", "prod", "base_image"),
    ],
    ids=lambda value: value if value.startswith("AWAY") else "",
)
def test_a_variable_is_split_at_the_longest_key_that_it_ends_with(variable, name, key):
    from away.config.environment import split_variable

    assert split_variable(variable) == (name, key)


def test_a_gateway_called_my_url_works(machine):
    machine.set(AWAY_GATEWAY_MY_URL_URL="http://here:9000", AWAY_GATEWAY_MY_URL_PASSWORD=PASSWORD)
    assert machine.resolve("my_url").url == "http://here:9000"
    assert machine.password("my_url") == PASSWORD
    assert machine.names() == ["default", "my_url"]


def test_an_empty_variable_is_one_that_is_not_set(machine):
    machine.write({USERS: '[gateways.dev]\nurl = "http://a.example"'})
    machine.set(AWAY_GATEWAY_DEV_URL="", OPENFAAS_URL="")
    assert machine.resolve("dev").url == "http://a.example"
    assert machine.resolve("default").url == "http://127.0.0.1:8080"


NEAREST = {
    "a pyproject.toml with a section": (
        {"project/pyproject.toml": '[tool.away.gateways.dev]\nurl = "http://near.example"'},
        "http://near.example",
    ),
    "a pyproject.toml in the working folder": (
        {
            "project/src/deep/pyproject.toml": '[tool.away.gateways.dev]\nurl = "http://near.x"',
            "project/away.toml": '[gateways.dev]\nurl = "http://far.x"',
        },
        "http://near.x",
    ),
    "one without a section is passed by": (
        {
            "project/src/pyproject.toml": '[project]\ndependencies = ["away"]',
            "project/away.toml": '[gateways.dev]\nurl = "http://far.x"',
        },
        "http://far.x",
    ),
    "one that is no TOML and does not speak of us is passed by": (
        {
            "project/src/pyproject.toml": "[project\n",
            "project/away.toml": '[gateways.dev]\nurl = "http://far.x"',
        },
        "http://far.x",
    ),
    "an empty away.toml keeps out what stands further up": (
        {"project/src/away.toml": "", "project/away.toml": '[gateways.dev]\nurl = "http://far.x"'},
        None,
    ),
    "an empty section keeps out what stands further up": (
        {
            "project/src/pyproject.toml": "[tool.away]",
            "project/away.toml": '[gateways.dev]\nurl = "http://far.x"',
        },
        None,
    ),
    "of two in one folder away.toml is the later": (
        {
            "project/pyproject.toml": '[tool.away.gateways.dev]\nurl = "http://pyproject.x"',
            "project/away.toml": '[gateways.dev]\nurl = "http://away.x"',
        },
        "http://away.x",
    ),
    "windows line ends and a byte order mark": (
        {"project/away.toml": '\ufeff[gateways.dev]\r\nurl = "http://near.x"\r\n'},
        "http://near.x",
    ),
}


@pytest.mark.parametrize("case", NEAREST)
def test_the_nearest_project_is_the_first_folder_upwards_that_has_something_for_us(machine, case):
    files, url = NEAREST[case]
    machine.write(files)
    if url is None:
        assert "dev" not in machine.names()
    else:
        assert machine.resolve("dev").url == url


def test_default_is_by_turns_what_sources_say_the_embedded_gateway_and_port_8080(machine, request):
    assert machine.resolve("default").url == "http://127.0.0.1:8080"
    assert machine.resolve("default").origins["url"] == "default"
    request.getfixturevalue("embedded")
    found = machine.resolve("default")
    assert (found.url, machine.password("default")) == ("http://127.0.0.1:8090", PASSWORD)
    assert found.origins["url"] == found.origins["password"] == "the running embedded gateway"
    machine.write({USERS: '[gateways.default]\nurl = "http://a.example"'})
    assert machine.resolve("default").url == "http://a.example"
    assert machine.password("default") is None
    machine.set(OPENFAAS_URL="gateway.example:8080")
    assert machine.resolve("default").url == "http://gateway.example:8080"
    assert machine.resolve("default").origins["url"] == "environment OPENFAAS_URL"
    machine.set(AWAY_GATEWAY_DEFAULT_URL="http://exact.example")
    assert machine.resolve("default").url == "http://exact.example"


def test_local_is_the_running_embedded_gateway_and_nothing_else(machine, embedded):
    found = machine.resolve("local")
    assert (found.url, found.user, machine.password("local")) == (embedded.url, "admin", PASSWORD)
    assert machine.names() == ["default", "local"]
    assert list(machine.configured()) == ["default", "local"]


def test_local_is_unknown_when_no_embedded_gateway_runs(machine):
    with pytest.raises(UnknownGateway, match=r"no embedded gateway is running.*away up"):
        machine.resolve("local")
    assert machine.names() == ["default"]


def test_an_announcement_whose_gateway_was_killed_is_not_believed(machine):
    announcement = Announcement("http://127.0.0.1:8090", "admin", PASSWORD, 1, "/state")
    with announce(announcement, folder()):
        left_behind = (folder() / "gateway.json").read_text()
    path = folder() / "gateway.json"
    path.write_text(left_behind)
    path.chmod(0o600)
    assert machine.resolve("default").url == "http://127.0.0.1:8080"
    assert machine.credentials_for("http://127.0.0.1:8090") is None


def test_inside_a_published_function_the_gateway_is_where_the_environment_says(machine):
    machine.set(
        AWAY_RUNTIME="1",
        AWAY_INSIDE_URL="http://gateway:8080",
        AWAY_GATEWAY_LOCAL_URL="http://gateway:8080",
    )
    assert machine.resolve("default").url == "http://gateway:8080"
    assert machine.resolve("local").url == "http://gateway:8080"


def test_inside_a_published_function_no_file_configures_anything(machine):
    machine.write(
        {USERS: '[gateways.good]\nurl = "http://good.example"\n', "away.toml": "nonsense"}
    )
    machine.set(AWAY_RUNTIME="1", AWAY_GATEWAY_SHOP_URL="http://shop:8080")
    assert machine.names() == ["default", "shop"]
    with pytest.raises(UnknownGateway, match=r"'good' inside this function.*AWAY_GATEWAY_GOOD_URL"):
        machine.resolve("good")


def test_configured_lists_all_gateways_and_a_missing_file_hides_none(machine):
    machine.write(
        {
            USERS: f"""\
            [gateways.good]
            url = "http://good.example"
            password = "{PASSWORD}"
            [gateways.bad]
            url = "https://bad.example"
            password_file = "nowhere"
            ca_bundle = "nowhere.pem"
            """
        }
    )
    found = machine.configured()
    assert list(found) == ["bad", "default", "good"]
    assert found["bad"].password is None
    assert "nowhere, which cannot be read: no such file" in found["bad"].origins["password"]
    assert "nowhere.pem, which is not there" in found["bad"].origins["ca_bundle"]
    assert PASSWORD not in repr(found)


# ------------------------------------------------------------------ configure()


def test_what_the_program_configures_is_checked_at_once(told):
    with pytest.raises(ConfigError, match=r"timeout of gateway 'dev' must be a positive number"):
        told("dev", timeout=0)
    with pytest.raises(ConfigError, match=r"sets nothing; give url=, or forget\('dev'\)"):
        told("dev")
    with pytest.raises(ConfigError, match="'local' is kept for the running embedded gateway"):
        told("local", url="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("pasword", "'password'"), ("pasword_file", "'password_file'")]
)
def test_a_misspelt_name_is_told_the_nearest_one(told, wrong, nearest):
    with pytest.raises(ConfigError) as error:
        told("dev", url="http://a.example", **{wrong: PASSWORD})
    assert str(error.value) == (
        f"configure('dev') knows no {wrong}=; the nearest known is {nearest}"
    )
    assert "dev" not in config.names()


def test_a_further_call_adds_and_another_server_drops_the_earlier_password(machine, told):
    told("dev", url="http://a.example", password=PASSWORD)
    told("dev", timeout=3)
    assert (machine.password("dev"), machine.resolve("dev").timeout) == (PASSWORD, 3.0)
    told("dev", url="http://b.example")
    assert (machine.password("dev"), machine.resolve("dev").timeout) == (None, 3.0)
    config.forget("dev")
    assert "dev" not in machine.names()


def test_an_integer_or_a_secret_is_taken_as_a_password(machine, told):
    told("dev", url="http://a.example", password=1234)
    assert machine.password("dev") == "1234"
    told("dev", password=config.Secret(PASSWORD))
    assert machine.password("dev") == PASSWORD
    told("dev", token=OTHERS)
    assert (machine.password("dev"), machine.resolve("dev").token) == (None, config.Secret(OTHERS))


# ------------------------------------------------------------------ credentials and their URL


def test_passwords_come_from_text_a_file_or_a_variable(machine):
    machine.write(
        {
            USERS: f"""\
            [gateways.text]
            url = "http://text.example"
            password = "{PASSWORD}"
            [gateways.file]
            url = "http://file.example"
            password_file = "secrets/pw"
            [gateways.tilde]
            url = "http://tilde.example"
            password_file = "~/pw"
            [gateways.variable]
            url = "http://variable.example"
            password_env = "MY_OWN"
            [gateways.token]
            url = "http://token.example"
            token_file = "secrets/pw"
            """,
            "home/.config/away/secrets/pw": f"{PASSWORD}\r\n",
            "home/pw": PASSWORD,
        }
    )
    machine.set(MY_OWN=PASSWORD)
    for name in ("text", "file", "tilde", "variable"):
        assert machine.password(name) == PASSWORD
    assert machine.resolve("token").token == config.Secret(PASSWORD)
    origin = machine.resolve("variable").origins["password"]
    assert origin == f"environment MY_OWN, named by {machine.root / USERS} line 12"


MOVES = {
    "the same URL": ("http://a.example:80/", True),
    "another prefix": ("http://a.example/faas", True),
    "another scheme": ("https://a.example", False),
    "another host": ("http://evil.example", False),
    "another port": ("http://a.example:8080", False),
}


@pytest.mark.parametrize("case", MOVES)
@pytest.mark.parametrize("mover", ["project", "environment", "program"])
def test_a_later_source_that_names_another_server_drops_earlier_credentials(
    machine, told, case, mover
):
    url, kept = MOVES[case]
    machine.write(
        {
            USERS: f'[gateways.dev]\nurl = "http://a.example"\nuser = "ada"\n'
            f'password = "{PASSWORD}"\ntimeout = 7'
        }
    )
    if mover == "project":
        machine.write({AWAY: f'[gateways.dev]\nurl = "{url}"'})
    elif mover == "environment":
        machine.set(AWAY_GATEWAY_DEV_URL=url)
    else:
        told("dev", url=url)
    found = machine.resolve("dev")
    assert found.timeout == 7.0
    assert found.user == ("ada" if kept else "admin")
    assert machine.password("dev") == (PASSWORD if kept else None)


def test_localhost_and_127_0_0_1_are_one_server(machine):
    machine.write(
        {
            USERS: f'[gateways.dev]\nurl = "http://localhost:8080"\npassword = "{PASSWORD}"',
            AWAY: '[gateways.dev]\nurl = "http://127.0.0.1:8080"',
        }
    )
    assert machine.password("dev") == PASSWORD


def test_a_dropped_password_is_not_even_read(machine):
    machine.write(
        {
            USERS: '[gateways.dev]\nurl = "http://a.example"\npassword_file = "nowhere"',
            AWAY: '[gateways.dev]\nurl = "http://b.example"',
        }
    )
    assert machine.password("dev") is None


def test_a_password_of_the_environment_is_for_the_gateway_of_a_project(machine):
    machine.write({AWAY: '[gateways.dev]\nurl = "http://team.example"'})
    machine.set(AWAY_GATEWAY_DEV_PASSWORD=PASSWORD)
    assert machine.password("dev") == PASSWORD
    assert machine.resolve("dev").origins["password"] == (
        f"environment AWAY_GATEWAY_DEV_PASSWORD, sent to the url of {machine.root / AWAY} line 2"
    )


def test_a_later_password_replaces_an_earlier_token(machine):
    machine.write({USERS: f'[gateways.dev]\nurl = "http://a.example"\ntoken = "{OTHERS}"'})
    machine.set(AWAY_GATEWAY_DEV_PASSWORD=PASSWORD)
    found = machine.resolve("dev")
    assert (found.password, found.token) == (config.Secret(PASSWORD), None)


# Files and environment by which a cloned repository would get at what is not its own.
THEFTS = {
    "a password without a url in the user's file": (
        {
            USERS: f'[gateways.dev]\npassword = "{PASSWORD}"',
            AWAY: '[gateways.dev]\nurl = "http://evil.example"',
        },
        {},
        [
            "password of gateway 'dev' stands without a url",
            "config.toml line 2",
            "away.toml line 2",
        ],
    ),
    "a password of the environment for a gateway that the user has elsewhere": (
        {
            USERS: '[gateways.dev]\nurl = "http://a.example"',
            AWAY: '[gateways.dev]\nurl = "http://evil.example"',
        },
        {"AWAY_GATEWAY_DEV_PASSWORD": PASSWORD},
        [
            "password of gateway 'dev' (environment AWAY_GATEWAY_DEV_PASSWORD) could be meant for"
            " http://a.example",
            "or for http://evil.example",
            "give the url beside it",
        ],
    ),
    "a password of the environment for the default gateway": (
        {AWAY: '[gateways.dev]\n[gateways.default]\nurl = "http://evil.example"'},
        {"AWAY_GATEWAY_DEFAULT_PASSWORD": PASSWORD},
        ["could be meant for http://127.0.0.1:8080 (default) or for http://evil.example"],
    ),
    "a file by its absolute path": (
        {AWAY: '[gateways.dev]\nurl = "http://evil.example"\npassword_file = "/etc/passwd"'},
        {},
        ["password_file of gateway 'dev' names a file outside", "away.toml line 3"],
    ),
    "a file by ..": (
        {AWAY: '[gateways.dev]\nurl = "http://evil.example"\npassword_file = "../home/pw"'},
        {},
        ["password_file of gateway 'dev' names a file outside", "name it in your own config.toml"],
    ),
    "a file by ~": (
        {AWAY: '[gateways.dev]\nurl = "http://evil.example"\ntoken_file = "~/pw"'},
        {},
        ["token_file of gateway 'dev' names a file outside"],
    ),
    "a file by a symbolic link": (
        {AWAY: '[gateways.dev]\nurl = "http://evil.example"\npassword_file = "link/pw"'},
        {},
        ["password_file of gateway 'dev' names a file outside"],
    ),
    "a file by a loop of links": (
        {AWAY: '[gateways.dev]\nurl = "http://evil.example"\npassword_file = "loop"'},
        {},
        ["password_file of gateway 'dev'"],
    ),
    "a bundle outside": (
        {AWAY: '[gateways.dev]\nurl = "https://evil.example"\nca_bundle = "/etc/passwd"'},
        {},
        ["ca_bundle of gateway 'dev' names a file outside"],
    ),
    "somebody else's variable": (
        {AWAY: '[gateways.dev]\nurl = "http://evil.example"\npassword_env = "AWS_SECRET"'},
        {"AWS_SECRET": PASSWORD},
        ["password_env of gateway 'dev' names a variable that a project's file cannot ask for"],
    ),
    "another gateway's variable": (
        {
            AWAY: '[gateways.dev]\nurl = "http://evil.example"\n'
            'token_env = "AWAY_GATEWAY_PROD_PASSWORD"'
        },
        {"AWAY_GATEWAY_PROD_PASSWORD": PASSWORD},
        ["token_env of gateway 'dev' names a variable", "begin with AWAY_, without AWAY_GATEWAY_"],
    ),
    "a bundle for the user's password": (
        {
            USERS: f'[gateways.dev]\nurl = "https://a.example"\npassword = "{PASSWORD}"',
            AWAY: '[gateways.dev]\nca_bundle = "ca.pem"',
        },
        {},
        ["ca_bundle of gateway 'dev' comes from the project", "AWAY_GATEWAY_DEV_CA_BUNDLE"],
    ),
    "a bundle for a log-in of faas-cli": (
        {
            FAAS_CLI: faas_cli("https://a.example"),
            AWAY: '[gateways.dev]\nurl = "https://a.example"\nca_bundle = "ca.pem"',
        },
        {},
        ["ca_bundle of gateway 'dev' comes from the project", "who is sent the password"],
    ),
    "a bundle beside the url of the user's password": (
        {
            USERS: f'[gateways.dev]\nurl = "https://a.example"\npassword = "{PASSWORD}"',
            AWAY: '[gateways.dev]\nurl = "https://a.example"\nca_bundle = "ca.pem"',
        },
        {},
        ["ca_bundle of gateway 'dev' comes from the project (", "away.toml line 3"],
    ),
    "a bundle for a password of the environment": (
        {AWAY: '[gateways.dev]\nurl = "https://a.example"\nca_bundle = "ca.pem"'},
        {"AWAY_GATEWAY_DEV_PASSWORD": PASSWORD},
        ["ca_bundle of gateway 'dev' comes from the project", "AWAY_GATEWAY_DEV_CA_BUNDLE"],
    ),
}


@pytest.mark.parametrize("case", THEFTS)
def test_a_cloned_repository_cannot_send_what_is_the_users_elsewhere(machine, case):
    files, environ, messages = THEFTS[case]
    machine.write({**files, "home/pw": PASSWORD, "project/ca.pem": "certificates"})
    (machine.project / "link").symlink_to(machine.home)
    (machine.project / "loop").symlink_to(machine.project / "loop")
    machine.set(**environ)
    with pytest.raises(ConfigError) as error:
        machine.resolve("default" if "default" in case else "dev")
    for message in messages:
        assert message in str(error.value)
    assert not any(secret in str(error.value) for secret in NEVER)


def test_a_project_may_name_its_own_files_and_variables_made_for_it(machine):
    machine.write(
        {
            AWAY: """\
            [gateways.file]
            url = "https://file.example"
            password_file = "secrets/pw"
            ca_bundle = "ca.pem"
            [gateways.variable]
            url = "http://variable.example"
            password_env = "AWAY_TEAM_PASSWORD"
            """,
            "project/secrets/pw": PASSWORD,
            "project/ca.pem": "certificates",
        }
    )
    machine.set(AWAY_TEAM_PASSWORD=OTHERS)
    assert machine.password("file") == PASSWORD
    assert machine.resolve("file").ca_bundle == machine.project / "ca.pem"
    assert machine.password("variable") == OTHERS


@pytest.mark.parametrize("file", ["away.toml", "pyproject.toml"])
def test_a_file_that_is_a_link_to_another_projects_is_refused(machine, file):
    table = "gateways.dev" if file == "away.toml" else "tool.away.gateways.dev"
    machine.write({f"theirs/{file}": f'[{table}]\nurl = "http://a"\npassword = "{PASSWORD}"'})
    (machine.project / file).symlink_to(f"../theirs/{file}")
    with pytest.raises(ConfigError) as error:
        machine.resolve("dev")
    assert f"{machine.project / file} is a symbolic link that leads out" in str(error.value)
    (machine.project / file).unlink()
    machine.write({f"project/of-mine/{file}": f'[{table}]\nurl = "http://b.example"'})
    (machine.project / file).symlink_to(f"of-mine/{file}")
    assert machine.resolve("dev").url == "http://b.example"


def test_a_linked_pyproject_without_a_word_of_ours_is_passed_by(machine):
    machine.write({"store/pyproject.toml": "[project]\nname = 'away-from-home'"})
    (machine.project / "pyproject.toml").symlink_to("../store/pyproject.toml")
    assert machine.names() == ["default"]


@pytest.mark.parametrize(
    ("variable", "shown"),
    [("TEAM_PASSWORD", True), (PASSWORD.replace("-", "_"), False), ("Hunter2", False)],
)
def test_a_variable_that_may_be_the_password_itself_is_not_repeated(machine, variable, shown):
    machine.write({USERS: f'[gateways.dev]\nurl = "http://a.example"\npassword_env = "{variable}"'})
    with pytest.raises(ConfigError, match=r" is not set \(") as error:
        machine.resolve("dev")
    assert (variable in str(error.value)) is shown


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files away")
def test_a_strangers_file_in_a_folder_for_everybody_is_not_a_project(machine):
    machine.write({AWAY: '[gateways.dev]\nurl = "http://evil.example"'})
    machine.project.chmod(0o1777)
    assert "dev" in machine.names()
    os.chown(machine.root / AWAY, 12345, 12345)
    assert "dev" not in machine.names()


# ------------------------------------------------------------------ credentials by URL


@pytest.mark.parametrize(
    ("stored", "asked", "found"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("http://127.0.0.1:8080/", "http://localhost:8080", True),
        ("HTTPS://Faas.Example", "https://faas.example:443/", True),
        ("https://faas.example/a", "https://faas.example/a/", True),
        ("https://faas.example/a", "https://faas.example/b", False),
        ("https://faas.example/a", "https://faas.example", False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8081", False),
        ("http://127.0.0.1:8080", "https://127.0.0.1:8080", False),
        ("http://127.0.0.1:8080", "http://[::1]:8080", False),
        ("http://faas.example", "http://faas.example.evil", False),
    ],
)
def test_a_log_in_of_faas_cli_is_for_exactly_its_url(machine, stored, asked, found):
    machine.write({FAAS_CLI: faas_cli(stored, user="ada")})
    assert machine.credentials_for(asked) == (("ada", PASSWORD) if found else None)


PLACES = {
    "at home": (FAAS_CLI, {}),
    "in OPENFAAS_CONFIG": ("elsewhere/config.yml", {"OPENFAAS_CONFIG": "{root}/elsewhere"}),
    "in OPENFAAS_CONFIG under ~": ("home/cli/config.yml", {"OPENFAAS_CONFIG": "~/cli"}),
    "in the working folder with CI=true": ("project/src/deep/.openfaas/config.yml", {"CI": "true"}),
    "in the working folder with CI=1": ("project/src/deep/.openfaas/config.yml", {"CI": "1"}),
    "at home with CI=true": (FAAS_CLI, {"CI": "true"}),
}


@pytest.mark.parametrize("case", PLACES)
def test_the_log_ins_of_faas_cli_are_found(machine, case):
    file, environ = PLACES[case]
    machine.write({file: faas_cli("http://faas.example")})
    machine.set(**{key: text.format(root=machine.root) for key, text in environ.items()})
    assert machine.credentials_for("http://faas.example") == ("admin", PASSWORD)


def test_without_ci_the_working_folder_is_not_looked_at_for_log_ins(machine):
    machine.write({"project/src/deep/.openfaas/config.yml": faas_cli("http://faas.example")})
    assert machine.credentials_for("http://faas.example") is None


def test_a_gateway_without_a_password_takes_the_log_in_for_its_url(machine):
    machine.write({FAAS_CLI: faas_cli("http://faas.example", user="ada")})
    machine.set(AWAY_GATEWAY_DEV_URL="http://faas.example")
    found = machine.resolve("dev")
    assert (found.user, machine.password("dev")) == ("ada", PASSWORD)
    assert found.origins["user"] == found.origins["password"]
    assert found.origins["password"].endswith(".openfaas/config.yml of faas-cli")
    machine.set(AWAY_GATEWAY_DEV_USER="grace")
    assert machine.password("dev") is None


def test_an_oauth2_log_in_of_faas_cli_is_a_token(machine):
    machine.write({FAAS_CLI: faas_cli("http://faas.example", password=OTHERS, auth="oauth2")})
    machine.set(AWAY_GATEWAY_DEV_URL="http://faas.example")
    found = machine.resolve("dev")
    assert (found.user, found.password, found.token) == ("admin", None, config.Secret(OTHERS))
    assert machine.credentials_for("http://faas.example") is None


@pytest.mark.filterwarnings("ignore:the password of gateway")
def test_a_url_is_opened_by_the_latest_source_that_has_it(machine, told):
    machine.write({FAAS_CLI: faas_cli("http://faas.example", password="of faas-cli")})
    assert machine.credentials_for("http://faas.example") == ("admin", "of faas-cli")
    table = 'url = "http://faas.example"\nuser = "{0}"\npassword = "of {0}"'
    machine.write({USERS: "[gateways.zzz]\n" + table.format("user")})
    assert machine.credentials_for("http://faas.example") == ("user", "of user")
    machine.write({AWAY: "[gateways.mmm]\n" + table.format("project")})
    assert machine.credentials_for("http://faas.example") == ("project", "of project")
    machine.set(AWAY_GATEWAY_BBB_URL="http://faas.example", AWAY_GATEWAY_BBB_PASSWORD="of env")
    assert machine.credentials_for("http://faas.example") == ("admin", "of env")
    told("dev", url="http://faas.example", user="code", password="of code")
    assert machine.credentials_for("http://faas.example") == ("code", "of code")
    assert machine.credentials_for("http://faas.example", user="user") == ("user", "of user")
    assert machine.credentials_for("http://faas.example", user="nobody") is None


def test_a_password_in_a_projects_file_is_warned_of_once(machine):
    named = "[gateways.dev]\nurl = 'http://a.example'\npassword_env = 'AWAY_DEV'\n"
    own = f"[gateways.own]\nurl = 'http://b.example'\npassword = '{PASSWORD}'\n"
    machine.write({AWAY: named, USERS: own}).set(AWAY_DEV=PASSWORD)
    machine.resolve("dev")  # a warning would be an error
    machine.write({AWAY: f"[gateways.dev]\nurl = 'http://a.example'\npassword = '{PASSWORD}'\n"})
    with pytest.warns(
        UserWarning, match=r"the password of gateway 'dev' .*away.toml line 3"
    ) as all_:
        machine.resolve("dev")
    machine.resolve("dev")
    assert len(all_) == 1
    assert PASSWORD not in str(all_[0].message)
    assert all_[0].filename == __file__


def test_the_embedded_gateways_announcement_opens_its_url(machine, embedded):
    machine.write({FAAS_CLI: faas_cli("http://127.0.0.1:8090", password="of yesterday")})
    assert machine.credentials_for("http://localhost:8090") == ("admin", PASSWORD)
    assert machine.credentials_for("http://localhost:8091") is None
    assert machine.credentials_for("http://example.com:8090") is None


def test_what_is_wrong_with_one_gateway_does_not_hide_another_ones_password(machine):
    machine.write(
        {
            USERS: f"""\
            [gateways.a]
            url = "ftp://wrong"
            [gateways.b]
            url = "http://b.example"
            password = "{PASSWORD}"
            """
        }
    )
    assert machine.credentials_for("http://b.example") == ("admin", PASSWORD)


# ------------------------------------------------------------------ bad inputs

DEV = '[gateways.dev]\nurl = "http://a.example"\n'
# what is wrong: (files, environment, gateway asked for, parts of the message)
BAD = {
    "a gateway nobody configured": ({}, {}, "dev", ["no gateway is called 'dev'; known are"]),
    "a gateway mistyped": (
        {AWAY: "\n" + DEV},
        {},
        "dve",
        ["no gateway is called 'dve'; the nearest known is 'dev'", "away.toml line 2"],
    ),
    "how to configure it": (
        {},
        {},
        "x",
        ["set AWAY_GATEWAY_X_URL, or url under [gateways.x] in", "away/config.toml"],
    ),
    "aio": ({}, {}, "aio", ["'aio' cannot be a gateway's name"]),
    "an upper-case name": ({AWAY: DEV}, {}, "Dev", ["the nearest known is 'dev'"]),
    "a name with control characters": ({}, {}, "a\x1b[31m", ["\ufffd[31m' cannot be a gateway's"]),
    "a gateway without url": (
        {AWAY: "[gateways.dev]\ntimeout = 3"},
        {},
        "dev",
        ["gateway 'dev' has no url; give one beside what is set", "away.toml line 2"],
    ),
    "a reserved name in TOML": (
        {AWAY: "[gateways.local]"},
        {},
        "dev",
        ["'local' is kept for the running embedded gateway", "away.toml line 1"],
    ),
    "a reserved name in the environment": (
        {},
        {"AWAY_GATEWAY_AIO_URL": "http://a"},
        "dev",
        ["'aio' is kept for Away's own module; choose another", "environment AWAY_GATEWAY_AIO_URL"],
    ),
    "an upper-case name in TOML": (
        {AWAY: "[gateways.Dev]"},
        {},
        "dev",
        ["'Dev' cannot be a gateway's name, which is a Python identifier in lower case", "line 1"],
    ),
    "a keyword as name": ({AWAY: "[gateways.class]"}, {}, "dev", ["'class' cannot be a gateway's"]),
    "a dash in a name": ({AWAY: "[gateways.my-faas]"}, {}, "dev", ["'my-faas' cannot be"]),
    "a digit before a name": ({}, {"AWAY_GATEWAY_1_URL": "x"}, "dev", ["'1' cannot be"]),
    "an underscore before a name": ({}, {"AWAY_GATEWAY__A_URL": "x"}, "dev", ["'_a' cannot be"]),
    "a name in two spellings": ({AWAY: '[gateways."ﬁne"]'}, {}, "dev", ["'ﬁne' cannot be"]),
    "an unknown key": (
        {AWAY: DEV + f'pasword = "{PASSWORD}"'},
        {},
        "dev",
        ["unknown key 'pasword' of gateway 'dev'; the nearest known is 'password'", "line 3"],
    ),
    "an unknown key like no other": (
        {AWAY: DEV + "zzzzzz = 1"},
        {},
        "dev",
        ["unknown key 'zzzzzz'", "known are 'base_image', 'ca_bundle'"],
    ),
    "an unknown key in an inline table": (
        {AWAY: '\n[gateways]\ndev = {url = "http://a.example", user_name = "x"}'},
        {},
        "dev",
        ["unknown key 'user_name'", "away.toml line 3"],
    ),
    "an unknown table": (
        {AWAY: "# words\n[gateway.dev]"},
        {},
        "dev",
        ["Away knows no table 'gateway'; the nearest known is 'gateways'", "away.toml line 2"],
    ),
    "an unknown table in pyproject.toml": (
        {PYPROJECT: "[tool.away.gatways.dev]"},
        {},
        "dev",
        ["Away knows no table 'tool.away.gatways'", "pyproject.toml line 1"],
    ),
    "an unknown variable": (
        {},
        {"AWAY_GATEWAY_MY_DEV_PASWORD": PASSWORD},
        "dev",
        ["AWAY_GATEWAY_MY_DEV_PASWORD ends with nothing", "is AWAY_GATEWAY_MY_DEV_PASSWORD"],
    ),
    "a variable like no other": (
        {},
        {"AWAY_GATEWAY_Q": "x"},
        "dev",
        ["ends with nothing that can be set", "known are AWAY_GATEWAY_<NAME>_ with BASE_IMAGE"],
    ),
    "a variable without a name": (
        {},
        {"AWAY_GATEWAY_URL": "http://a"},
        "dev",
        ["AWAY_GATEWAY_URL names no gateway; write AWAY_GATEWAY_<NAME>_URL"],
    ),
    "gateways that is no table": (
        {AWAY: "gateways = 3"},
        {},
        "dev",
        ["gateways is a table: write [gateways] with its keys below", "away.toml line 1"],
    ),
    "a gateway that is no table": (
        {AWAY: '[gateways]\ndev = "http://a.example"'},
        {},
        "dev",
        ["gateways.dev is a table: write [gateways.dev]", "away.toml line 2"],
    ),
    "an array of tables": ({AWAY: "[[gateways.dev]]"}, {}, "dev", ["gateways.dev is a table"]),
    "TOML that is none": (
        {AWAY: "[gateways.dev]\n\nurl = http://a.example"},
        {},
        "dev",
        ["away.toml line 3 is not TOML: invalid value"],
    ),
    "TOML that ends too early": (
        {AWAY: '[gateways.dev]\nurl = """http'},
        {},
        "dev",
        ["away.toml line 2 is not TOML"],
    ),
    "a key twice": (
        {AWAY: f'[gateways.dev]\npassword = "{PASSWORD}"\npassword = "{OTHERS}"'},
        {},
        "dev",
        ["away.toml line 3 is not TOML: cannot overwrite a value"],
    ),
    "broken TOML in the user's file": (
        {USERS: "nonsense"},
        {},
        "dev",
        ["config.toml line 1 is not TOML"],
    ),
    "broken TOML in a pyproject.toml that speaks of us": (
        {PYPROJECT: "[tool.away\n"},
        {},
        "dev",
        ["pyproject.toml line 1 is not TOML"],
    ),
    "TOML nested too deeply": (
        {AWAY: "a = " + "[" * 5000 + "]" * 5000},
        {},
        "dev",
        ["away.toml is nested too deeply"],
    ),
    "a number of 5000 digits": ({AWAY: "a = " + "9" * 5000}, {}, "dev", ["away.toml is not TOML"]),
    "a timeout that is text": (
        {AWAY: DEV + 'timeout = "30"'},
        {},
        "dev",
        ["timeout of gateway 'dev' must be a positive number of seconds, not '30'", "line 3"],
    ),
    "a timeout of nothing": ({AWAY: DEV + "timeout = 0"}, {}, "dev", ["seconds, not 0"]),
    "a timeout for ever": ({AWAY: DEV + "timeout = inf"}, {}, "dev", ["seconds, not inf"]),
    "a timeout that is no number": ({AWAY: DEV + "timeout = nan"}, {}, "dev", ["seconds, not nan"]),
    "a timeout that is a truth": ({AWAY: DEV + "timeout = true"}, {}, "dev", ["seconds, not True"]),
    "a timeout in words": (
        {},
        {"AWAY_GATEWAY_DEV_URL": "http://a", "AWAY_GATEWAY_DEV_TIMEOUT": "soon"},
        "dev",
        ["not 'soon' (environment AWAY_GATEWAY_DEV_TIMEOUT)"],
    ),
    "a user with a colon": (
        {AWAY: DEV + 'user = "a:b"'},
        {},
        "dev",
        ["user of gateway 'dev' must be a text without ':', not 'a:b'"],
    ),
    "a password that is a list": (
        {AWAY: DEV + f'password = ["{PASSWORD}"]'},
        {},
        "dev",
        ["password of gateway 'dev' must be a text that is not empty (", "line 3"],
    ),
    "an empty password": (
        {AWAY: DEV + 'password = ""'},
        {},
        "dev",
        ["password of gateway 'dev' must be a text that is not empty"],
    ),
    "two secrets": (
        {AWAY: DEV + f'password = "{PASSWORD}"\ntoken_env = "AWAY_T"'},
        {},
        "dev",
        ["gateway 'dev' has two secrets, password (", "line 3) and token_env (", "give one"],
    ),
    "a password file that is not there": (
        {AWAY: DEV + 'password_file = "pw"'},
        {},
        "dev",
        ["password_file of gateway 'dev' (", "/pw, which cannot be read: no such file"],
    ),
    "a password file that is a folder": (
        {AWAY: DEV + 'password_file = "src"'},
        {},
        "dev",
        ["/src, which cannot be read: it is not a regular file"],
    ),
    "a password file that is empty": (
        {AWAY: DEV + 'password_file = "pw"', "project/pw": "\n"},
        {},
        "dev",
        ["/pw, which is empty"],
    ),
    "a password file that is huge": (
        {AWAY: DEV + 'password_file = "pw"', "project/pw": "x" * 65537},
        {},
        "dev",
        ["/pw, which is larger than 65536 bytes"],
    ),
    "a password variable that is not set": (
        {AWAY: DEV + 'password_env = "AWAY_PW"'},
        {},
        "dev",
        ["names the environment variable AWAY_PW, which is not set", "line 3"],
    ),
    "a password for the name of a variable": (
        {AWAY: DEV + f'password_env = "{PASSWORD}"'},
        {},
        "dev",
        ["password_env of gateway 'dev' must be the name of an environment variable ("],
    ),
    "a bundle that is not there": (
        {AWAY: DEV + 'ca_bundle = "ca.pem"'},
        {},
        "dev",
        ["ca_bundle of gateway 'dev' names", "ca.pem, which is not there or no file"],
    ),
    "a registry with a password": (
        {AWAY: DEV + f'registry = "https://me:{PASSWORD}@ghcr.io"'},
        {},
        "dev",
        [
            "registry of gateway 'dev' must be a text without spaces and without a user or password ("
        ],
    ),
    "a namespace that is none": (
        {AWAY: DEV + 'namespace = "Team A"'},
        {},
        "dev",
        ["namespace of gateway 'dev' must be a namespace: lower case letters", "not 'Team A'"],
    ),
    "a url that is a number": (
        {AWAY: "[gateways.dev]\nurl = 8080"},
        {},
        "dev",
        ["url of gateway 'dev' must be a text"],
    ),
    "a url without a scheme": (
        {AWAY: '[gateways.dev]\nurl = "faas.example:8080"'},
        {},
        "dev",
        ["url of gateway 'dev' must be a URL that begins with http:// or https://", "line 2"],
    ),
    "a url with a password": (
        {},
        {"AWAY_GATEWAY_DEV_URL": f"http://admin:{PASSWORD}@faas.example"},
        "dev",
        ["url of gateway 'dev': a gateway's URL has no '@'", "environment AWAY_GATEWAY_DEV_URL"],
    ),
    "OPENFAAS_URL with a password": (
        {},
        {"OPENFAAS_URL": f"http://admin:{PASSWORD}@faas.example"},
        "default",
        ["url of gateway 'default': a gateway's URL has no '@'", "environment OPENFAAS_URL"],
    ),
    "a log-in that is broken": (
        {FAAS_CLI: "auths:\n  - gateway: http://a\n    auth: basic\n    token: '%%%'"},
        {"AWAY_GATEWAY_DEV_URL": "http://a"},
        "dev",
        ["config.yml of faas-cli holds a log-in that cannot be read for gateway http://a"],
    ),
    "a config.yml that is no YAML": (
        {FAAS_CLI: "auths:\n  - {"},
        {"AWAY_GATEWAY_DEV_URL": "http://a"},
        "dev",
        [".openfaas/config.yml line 3 is not YAML", "log in anew"],
    ),
    "a config.yml with python in it": (
        {FAAS_CLI: "auths: !!python/object/apply:os.system ['true']"},
        {"AWAY_GATEWAY_DEV_URL": "http://a"},
        "dev",
        ["config.yml line 1 is not YAML: could not determine a constructor"],
    ),
    "a config.yml with control characters": (
        {FAAS_CLI: "auths: \x00"},
        {"AWAY_GATEWAY_DEV_URL": "http://a"},
        "dev",
        ["config.yml is not YAML; log in anew with faas-cli login"],
    ),
}


@pytest.mark.filterwarnings("ignore:the password of gateway")
@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_told_what_is_wrong_where_and_what_to_do(machine, case):
    files, environ, name, messages = BAD[case]
    machine.write(files).set(**environ)
    with pytest.raises(ConfigError) as error:
        machine.resolve(name)
    text = str(error.value)
    for message in messages:
        assert message in text
    assert not any(secret in text for secret in NEVER)
    assert not any(secret in repr(error.value.__context__) for secret in NEVER)
    assert "\n" not in text
    assert not text.endswith(".")
    assert str(pickle.loads(pickle.dumps(error.value))) == text


@pytest.mark.parametrize("content", [b"", b"[]", b"auths: 3", b"auths: [3, {}]", b"auths:"])
def test_a_config_yml_of_another_shape_holds_no_log_in(machine, content):
    machine.write({FAAS_CLI: ""})
    (machine.root / FAAS_CLI).write_bytes(content)
    assert machine.credentials_for("http://faas.example") is None


@pytest.mark.parametrize("file", [USERS, PYPROJECT, AWAY, FAAS_CLI])
def test_a_folder_or_a_loop_in_a_files_place_is_said(machine, file):
    path = machine.root / file
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read: it is not a regular file"):
        machine.credentials_for("http://faas.example")
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(ConfigError, match="cannot be read: too many levels of symbolic links"):
        machine.credentials_for("http://faas.example")


def test_a_file_that_is_not_utf_8_is_said_with_its_line(machine):
    machine.write({AWAY: ""})
    (machine.root / AWAY).write_bytes(b"[gateways.dev]\nuser = '\xe9'")
    with pytest.raises(ConfigError, match="line 2 is not UTF-8; save the file as UTF-8"):
        machine.names()


@contextmanager
def nobody():
    """Be a user who may not read everything, as root may."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_that_may_not_be_read_is_said():
    config.names()  # what is imported late is there before the user changes
    with tempfile.TemporaryDirectory() as project:
        Path(project).chmod(0o755)
        path = Path(project, "away.toml")
        path.write_text(DEV)
        path.chmod(0)
        with nobody(), pytest.raises(ConfigError, match=r"away\.toml cannot be read: permission"):
            config.names(environ={"XDG_CONFIG_HOME": project}, cwd=project)


def test_an_unknown_gateway_carries_its_name_and_the_nearest(machine):
    machine.write({AWAY: DEV})
    with pytest.raises(UnknownGateway) as error:
        machine.resolve("dve")
    assert (error.value.name, error.value.nearest) == ("dve", ("dev",))


# ------------------------------------------------------------------ normal_url


@pytest.mark.parametrize(
    ("text", "port", "url"),
    [
        ("localhost", 8080, "http://localhost:8080"),
        ("my-faas-server.com", None, "http://my-faas-server.com"),
        ("my-faas-server.com", 80, "http://my-faas-server.com"),
        ("my-faas-server.com", 443, "http://my-faas-server.com:443"),
        ("localhost:9000", 8080, "http://localhost:9000"),
        ("localhost/faas", 8080, "http://localhost:8080/faas"),
        ("HTTP://LocalHost:80/", None, "http://localhost"),
        ("https://Faas.Example:443", 8080, "https://faas.example"),
        ("https://faas.example:8443/A/b//", 8080, "https://faas.example:8443/A/b"),
        ("http://faas.example:", 8080, "http://faas.example"),
        ("  http://faas.example\n", None, "http://faas.example"),
        ("http://[::1]:8080", None, "http://[::1]:8080"),
        ("http://[0:0::1]", None, "http://[::1]"),
        ("::1", 8080, "http://[::1]:8080"),
        ("[::1]", 8080, "http://[::1]:8080"),
        ("[::1]:9000", 8080, "http://[::1]:9000"),
        ("http://my_service:8080", None, "http://my_service:8080"),
        ("http://bücher.example", None, "http://xn--bcher-kva.example"),
        ("http://host/a%20b", None, "http://host/a%20b"),
    ],
)
def test_a_url_has_one_spelling(text, port, url):
    assert config.normal_url(text, port) == url
    assert config.normal_url(url) == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (f"http://admin:{PASSWORD}@host", "no '@'"),
        (f"admin:{PASSWORD}@host", "no '@'"),
        (f"http://admin:{PASSWORD}/x@host", "no '@'"),
        (f"http://admin:{PASSWORD}", "the port of a gateway's URL is a number from 1 to 65535"),
        (f"http://host/?key={PASSWORD}", r"no '\?' or '#'"),
        (f"http://host/#{PASSWORD}", r"no '\?' or '#'"),
        ("ftp://host", "begins with http:// or https://, not ftp://"),
        ("http:/host", "begins with http:// or https://, then its host"),
        ("//host", "begins with http:// or https://, then its host"),
        ("http://", "names no host"),
        ("http:///path", "names no host"),
        (":8080", "names no host"),
        ("http://host:0", "number from 1 to 65535"),
        ("http://host:65536", "number from 1 to 65535"),
        ("http://host:٨٠", "number from 1 to 65535"),
        ("http://ho st", r"cannot hold the character ' '"),
        ("http://host\\.evil.example", "cannot hold the character"),
        ("http://ho\x00st", r"cannot hold the character '\\x00'"),
        ("http://-host", "'-host' in a gateway's URL cannot be a host's name"),
        ("http://ho%2Fst", "cannot be a host's name"),
        ("http://" + "ü" * 70, "cannot be a host's name"),
        ("http://::1", r"written as \[::1\]:8080"),
        ("http://[::1", r"written as \[::1\]:8080"),
        ("http://[::1]8080", r"written as \[::1\]:8080"),
        ("http://[::zz]", "IPv6 address that is none"),
        ("a:b:c", "IPv6 address that is none"),
        ("http://host/a/../b", r"no empty, '.' or '..' part"),
        ("http://host//b", r"no empty, '.' or '..' part"),
        ("http://host/é", "written with %-escapes"),
        (None, "a gateway's URL is text, not NoneType"),
    ],
)
def test_what_is_no_gateways_url_is_refused_without_repeating_a_password(text, message):
    with pytest.raises(ConfigError, match=message) as error:
        config.normal_url(text)
    assert PASSWORD not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("port", [0, -1, 65536, True, "http"])
def test_a_port_is_a_number_from_1_to_65535(port):
    with pytest.raises(ConfigError, match="number from 1 to 65535"):
        config.normal_url("localhost", port)


@given(st.text(alphabet="htps:/[]@?#.%01aé- \\") | st.text())
@example("http://[::1%25eth0]")
@example("http://①.example")
def test_any_text_is_a_url_of_one_spelling_or_refused_in_words(text):
    try:
        url = config.normal_url(text)
    except ConfigError:
        return
    assert config.normal_url(url) == url
    assert url.startswith(("http://", "https://"))
    assert url.isascii()


# ------------------------------------------------------------------ lines of keys

TOML = '''\
# [gateways.fake]
title = """
[gateways.fake]
url = 1"""
[gateways]  # words
other = {url = "x]", user = "y"}
[gateways . "dev"]
url = 'http://a.example'
list = [
  "]", # ]
  [1, 2],
]
user.name = "z"
[[rows]]
last = true'''


def test_the_line_of_each_key_is_found():
    lines = key_lines(TOML)
    assert lines == {
        ("title",): 2,
        ("gateways",): 5,
        ("gateways", "other"): 6,
        ("gateways", "dev"): 7,
        ("gateways", "dev", "url"): 8,
        ("gateways", "dev", "list"): 9,
        ("gateways", "dev", "user"): 13,
        ("gateways", "dev", "user", "name"): 13,
        ("rows",): 14,
        ("rows", "last"): 15,
    }


KEY = st.text(alphabet="abc_-1", min_size=1, max_size=3)
TEXT = st.text(alphabet="ab[]{}#'\"\\\n= ", max_size=8)


def quoted(text: str) -> str:
    return json.dumps(text)


def long_quoted(text: str) -> str:
    return '"""' + text.replace("\\", "\\\\").replace('"""', '""\\"') + '"""'


VALUE = st.recursive(
    TEXT.map(quoted)
    | TEXT.filter(lambda text: not text.endswith('"')).map(long_quoted)
    | st.sampled_from(["1", "true", "''", "'#'", "'''\n]'''", '"""a"""""']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=5,
)


@given(st.dictionaries(KEY, st.dictionaries(KEY, VALUE, max_size=4), max_size=4), st.booleans())
def test_a_key_is_found_in_the_line_that_defines_it_whatever_stands_around_it(tables, comments):
    import tomllib

    text = ""
    expected = {}
    for name, table in tables.items():
        expected[name,] = text.count("\n") + 1
        text += f"[{name}]{' # [x]' if comments else ''}\n"
        for key, value in table.items():
            expected[name, key] = text.count("\n") + 1
            text += f"{key} = {value}{' # = [' if comments else ''}\n"
    assert set(tomllib.loads(text)) == set(tables)
    assert key_lines(text) == expected


@given(st.text(alphabet="ab[]{}#'\"\\\n=. ", max_size=30))
def test_the_search_for_lines_ends_for_any_text(text):
    assert all(line >= 1 for line in key_lines(text).values())


# ------------------------------------------------------------------ secrets


def test_a_secret_shows_in_nothing_but_reveal():
    secret = config.Secret(PASSWORD)
    assert secret.reveal() == PASSWORD
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>20}",
        f"{secret!r}",
    ]
    shown += [repr([secret]), repr({"password": secret})]
    assert not any(PASSWORD in text for text in shown)
    assert all("•••" in text for text in shown)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError):
        json.dumps(secret)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_refuses_to_be_pickled_in_words(protocol):
    with pytest.raises(CannotTravel, match=r"a secret is not pickled.*its own configuration"):
        pickle.dumps(config.Secret(PASSWORD), protocol)


def test_a_secret_is_equal_to_its_like_and_copied_as_itself():
    secret = config.Secret(PASSWORD)
    assert secret == config.Secret(PASSWORD) != config.Secret(OTHERS)
    assert secret != PASSWORD
    assert len({secret, config.Secret(PASSWORD)}) == 1
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


def test_publishing_is_told_of_every_secret(machine):
    machine.set(AWAY_GATEWAY_DEV_URL="http://a", AWAY_GATEWAY_DEV_PASSWORD="told to publishing")
    machine.resolve("dev")
    assert "told to publishing" in known()


def test_a_configuration_shows_no_secret_and_is_pickled_only_without(machine):
    machine.set(AWAY_GATEWAY_DEV_URL="http://a", AWAY_GATEWAY_OPEN_URL="http://b")
    machine.set(AWAY_GATEWAY_DEV_PASSWORD=PASSWORD)
    found = machine.resolve("dev")
    assert PASSWORD not in f"{found} {found!r} {found.origins}"
    with pytest.raises(CannotTravel):
        pickle.dumps(found)
    opened = machine.resolve("open")
    assert pickle.loads(pickle.dumps(opened)) == opened


# ------------------------------------------------------------------ reading, and reading again


def test_a_file_that_changed_is_read_anew(machine):
    machine.write({AWAY: DEV})
    assert machine.resolve("dev").url == "http://a.example"
    machine.write({AWAY: DEV.replace("a.example", "changed.example")})
    assert machine.resolve("dev").url == "http://changed.example"
    (machine.root / AWAY).unlink()
    assert "dev" not in machine.names()


def test_invalidate_reads_what_looks_unchanged(machine):
    path = machine.write({AWAY: DEV}).root / AWAY
    found = path.stat()
    assert machine.resolve("dev").url == "http://a.example"
    path.write_text(DEV.replace("a.example", "b.example"))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert machine.resolve("dev").url == "http://a.example"
    config.invalidate()
    assert machine.resolve("dev").url == "http://b.example"


def run(code: str, **options) -> str:
    """Run a script in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_reads_nothing_and_is_light():
    out = run(
        """
        import sys
        opened = []
        sys.addaudithook(
            lambda event, args: event == "open" and opened.append(str(args[0]))
        )
        import away.config
        heavy = {"yaml", "tomllib", "platformdirs", "inspect", "dataclasses", "asyncio", "requests",
                 "aiohttp", "ssl", "json", "subprocess", "away.gateway"}
        print(sorted(heavy & set(sys.modules)))
        print([each for each in opened if not each.endswith((".py", ".pyc"))])
        """
    )
    assert out.split() == ["[]", "[]"]


def test_yaml_is_imported_only_where_faas_cli_stored_something(tmp_path):
    code = """
    import sys
    from away import config
    config.credentials_for("http://127.0.0.1:8080")
    print("yaml" in sys.modules)
    """
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    assert run(code, env=environ, cwd=tmp_path) == "False\n"
    (tmp_path / ".openfaas").mkdir()
    (tmp_path / ".openfaas" / "config.yml").write_text("auths: []")
    assert run(code, env=environ, cwd=tmp_path) == "True\n"


HOMES = {
    "unset": {},
    "empty": {"HOME": ""},
    "not there": {"HOME": "/nonexistent/home"},
    "a file": {"HOME": "/dev/null"},
    "relative": {"HOME": "home"},
}


@pytest.mark.parametrize("case", HOMES)
def test_without_a_usable_home_there_is_just_nothing_of_the_users(case, tmp_path):
    # What a cloned repository would have to hold to pass for the user's own file.
    for trap in ("~/.config/away", "home/.config/away"):
        (tmp_path / trap).mkdir(parents=True)
        (tmp_path / trap / "config.toml").write_text(DEV)
    out = run(
        "from away import config; print(config.names(), config.resolve('default').url)",
        # The developer's own gateway may be running, and is found without a HOME too.
        env={
            "PATH": os.environ["PATH"],
            "AWAY_RUNTIME_DIR": str(tmp_path / "run"),
            **HOMES[case],
        },
        cwd=tmp_path,
    )
    assert out == "['default'] http://127.0.0.1:8080\n"


def test_a_home_that_is_read_only_is_read(machine):
    machine.write({USERS: DEV})
    for path in (machine.home, machine.home / ".config", machine.home / ".config/away"):
        path.chmod(0o500)
    try:
        assert machine.resolve("dev").url == "http://a.example"
    finally:
        for path in (machine.home, machine.home / ".config", machine.home / ".config/away"):
            path.chmod(0o700)


def test_a_working_folder_that_was_removed_has_no_project(tmp_path):
    out = run(
        """
        import os
        os.rmdir(os.getcwd())
        from away import config
        print(config.names())
        """,
        cwd=(tmp_path / "gone").mkdir() or tmp_path / "gone",
    )
    assert out == "['default']\n"


def test_the_platforms_folder_holds_the_users_file_without_xdg(machine):
    del machine.environ["XDG_CONFIG_HOME"]
    out = run(
        f"from away import config; print(config.resolve('dev', cwd={str(machine.cwd)!r}).url)",
        env={
            "HOME": str(machine.write({USERS: DEV}).home),
            "PATH": os.environ["PATH"],
        },
    )
    assert out == "http://a.example\n"


def test_all_errors_of_this_room_are_aways_and_value_errors():
    assert issubclass(UnknownGateway, ConfigError)
    assert issubclass(ConfigError, AwayError)
    assert issubclass(ConfigError, ValueError)


# ---------------------------------------------------------------- options of publishing


def options_of(machine, gateway: str, function: str = "") -> dict:
    found = config.publish_options(gateway, function, environ=machine.environ, cwd=machine.cwd)
    return {key: each.value for key, each in found.items()}


def test_new_settings_of_a_gateway_come_from_every_source(machine, told):
    machine.write(
        {
            USERS: """\
            [gateways.dev]
            url = "https://prod.example"
            image_builder = "docker"
            inside_registry = "registry.inside:5000"
            insecure_registries = ["10.0.0.5:5000", "registry.lan"]
            """
        }
    )
    found = machine.resolve("dev")
    assert found.image_builder == "docker"
    assert found.inside_registry == "registry.inside:5000"
    assert found.insecure_registries == ("10.0.0.5:5000", "registry.lan")
    machine.set(AWAY_GATEWAY_DEV_INSECURE_REGISTRIES="a:1, b:2")
    assert machine.resolve("dev").insecure_registries == ("a:1", "b:2")
    told("dev", insecure_registries=["c"], inside_registry="d:1", image_builder="registry")
    found = machine.resolve("dev")
    assert (found.insecure_registries, found.inside_registry) == (("c",), "d:1")
    assert found.image_builder == "registry"


OPTIONS = {
    USERS: """\
    [gateways.prod]
    url = "https://prod.example"

    [gateways.prod.publish]
    limits = {memory = "128Mi", cpu = "1"}
    env = {MODE = "slow", A = "1"}
    constraints = ["a", "b"]
    timeout = 30
    secrets = ["token"]

    [gateways.prod.functions.sum_two_numbers]
    timeout = 300
    max_inflight = 4
    """,
    AWAY: """\
    [gateways.prod.publish]
    env = {MODE = "fast"}
    constraints = ["c"]
    read_only_root = true

    [gateways.prod.functions.sum-two-numbers]
    limits = {memory = "256Mi"}
    include = ["data", "more.txt"]
    """,
}


def test_options_of_a_gateway_and_of_a_function_are_laid_over_each_other(machine):
    machine.write(OPTIONS)
    assert options_of(machine, "prod") == {
        "limits": {"memory": "128Mi", "cpu": "1"},
        "env": {"MODE": "fast", "A": "1"},
        "constraints": ("c",),
        "timeout": 30.0,
        "secrets": ("token",),
        "read_only_root": True,
    }
    found = options_of(machine, "prod", "sum-two-numbers")
    assert found["limits"] == {"memory": "256Mi", "cpu": "1"}
    assert (found["timeout"], found["max_inflight"]) == (300.0, 4)
    assert found["include"] == (machine.project / "data", machine.project / "more.txt")
    assert options_of(machine, "other") == {}
    gateway = machine.resolve("prod")
    assert gateway.functions["sum-two-numbers"]["timeout"] == 300.0
    assert "config.toml line 5" in gateway.origins["publish"]
    assert "away.toml line 7" in gateway.origins["functions"]


def test_every_option_of_a_file_is_one_of_publish():
    from away.config.publish_settings import _NOT_IN_FILES, PUBLISH_KEYS
    from away.publish import Options

    fields = {*Options._fields, "verbose"}
    assert {*PUBLISH_KEYS, *_NOT_IN_FILES} == fields
    assert not {*PUBLISH_KEYS} & {*_NOT_IN_FILES}


def test_a_secret_is_created_from_the_file_that_stands_beside_the_settings(machine):
    machine.write(
        {
            USERS: """\
            [gateways.prod]
            url = "https://prod.example"
            [gateways.prod.publish.secrets]
            token = {file = "~/token"}
            """,
            "home/token": PASSWORD,
        }
    )
    assert options_of(machine, "prod") == {"secrets": {"token": machine.home / "token"}}


BAD_OPTIONS = {
    "an unknown option": (
        '[gateways.prod.publish]\nlimit = {memory = "1Gi"}',
        "unknown option 'limit' of publish of gateway 'prod'; the nearest known is 'limits'",
        2,
    ),
    "an unknown option of a function": (
        "[gateways.prod.functions.add]\nmax_inflights = 3",
        "unknown option 'max_inflights' of function 'add' of gateway 'prod'",
        2,
    ),
    "a password": (
        f'[gateways.prod.publish]\nregistry_auth = "me:{PASSWORD}"',
        "registry_auth of publish of gateway 'prod' cannot be set in a file: passwords of registries",
        2,
    ),
    "what belongs into the code": (
        "[gateways.prod.publish]\nsafe_args = false",
        "cannot be set in a file: it stands in the code that publishes, for everyone to see",
        2,
    ),
    "the value of a secret": (
        f'[gateways.prod.publish]\nsecrets = {{token = "{PASSWORD}"}}',
        "the value of a secret does not stand in a file of settings",
        2,
    ),
    "the value of a secret in a table": (
        f'[gateways.prod.publish.secrets]\ntoken = {{value = "{PASSWORD}"}}',
        "also for 'token': the value of a secret does not stand",
        1,
    ),
    "no text": ("[gateways.prod.publish]\nenv = {A = 5}", "must be a table of texts, in quotes", 2),
    "no number": ('[gateways.prod.publish]\ntimeout = "5"', "a positive number of seconds", 2),
    "no list": ('[gateways.prod.publish]\nrequirements = "numpy"', "must be a list of texts", 2),
    "no flag": ('[gateways.prod.publish]\nread_only_root = "yes"', "must be true or false", 2),
    "a function twice": (
        "[gateways.prod.functions.a_b]\ntimeout = 1\n[gateways.prod.functions.a-b]\ntimeout = 2",
        "has the function 'a-b' twice, in both spellings; join the two",
        3,
    ),
    "a name that no function has": (
        '[gateways.prod.functions."a b"]\ntimeout = 1',
        "cannot be a function's name",
        1,
    ),
    "no table": ('[gateways.prod]\npublish = "x"', "gateways.prod.publish is a table", 2),
    "no host": (
        '[gateways.prod]\nurl = "http://a"\ninsecure_registries = ["http://x"]',
        "must be a list of HOST or HOST:PORT, without a scheme or a path",
        3,
    ),
}


def used(machine, gateway: str, function: str) -> None:
    """Do what publishing a function there does with the configuration."""
    machine.resolve(gateway)
    options_of(machine, gateway, function)


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_a_bad_option_is_told_with_file_and_line(machine, case):
    text, message, line = BAD_OPTIONS[case]
    machine.write({USERS: text})
    machine.set(AWAY_GATEWAY_PROD_URL="http://a.example")
    with pytest.raises(ConfigError) as error:
        used(machine, "prod", "add")
    assert message in str(error.value)
    assert f"config.toml line {line}" in str(error.value)
    assert PASSWORD not in str(error.value)


OPTION_THEFTS = {
    "the user's secret for a server of the project's": (
        {
            USERS: '[gateways.prod.publish.secrets]\ntoken = {file = "~/pw"}',
            AWAY: '[gateways.prod]\nurl = "http://evil.example"',
        },
        "secrets of gateway 'prod'",
        "would be created at the server that the project chose",
    ),
    "a file outside as a secret": (
        {AWAY: '[gateways.prod.publish.secrets]\ntoken = {file = "~/pw"}'},
        "secrets.token of gateway 'prod' names a file outside",
        "away.toml line 1",
    ),
    "a file outside by a link": (
        {AWAY: '[gateways.prod.functions.f]\nsecrets = {token = {file = "link/pw"}}'},
        "secrets.token of gateway 'prod' names a file outside",
        "away.toml line 2",
    ),
    "a folder outside for the image": (
        {AWAY: '[gateways.prod.publish]\ninclude = ["../home"]'},
        "include of gateway 'prod' names a file outside",
        "away.toml line 2",
    ),
    "a Dockerfile outside": (
        {AWAY: '[gateways.prod.publish]\ndockerfile = "/etc/passwd"'},
        "dockerfile of gateway 'prod' names a file outside",
        "away.toml line 2",
    ),
}


@pytest.mark.parametrize("case", OPTION_THEFTS)
def test_a_cloned_repository_can_publish_nothing_of_the_users_elsewhere(machine, case):
    files, *messages = OPTION_THEFTS[case]
    machine.write({**files, "home/pw": PASSWORD})
    (machine.project / "link").symlink_to(machine.home)
    with pytest.raises(ConfigError) as error:
        options_of(machine, "prod", "f")
    assert all(message in str(error.value) for message in messages), str(error.value)
    assert PASSWORD not in str(error.value)


def test_the_users_secret_goes_to_the_server_that_the_user_names(machine):
    machine.write(
        {
            USERS: '[gateways.prod]\nurl = "http://mine.example"\n'
            '[gateways.prod.publish.secrets]\ntoken = {file = "~/pw"}',
            AWAY: "[gateways.prod.publish]\ntimeout = 3",
        }
    )
    assert options_of(machine, "prod")["secrets"] == {"token": machine.home / "pw"}


def test_a_project_cannot_have_passwords_sent_in_clear(machine):
    machine.write(
        {AWAY: '[gateways.prod]\nurl = "http://a.example"\ninsecure_registries = ["ghcr.io"]'}
    )
    with pytest.raises(ConfigError, match=r"comes from the project and would let passwords travel"):
        machine.resolve("prod")


def test_a_gateway_with_options_alone_is_told_to_lack_a_url(machine):
    machine.write({AWAY: "[gateways.prod.publish]\ntimeout = 3"})
    with pytest.raises(ConfigError, match=r"gateway 'prod' has no url"):
        machine.resolve("prod")


def test_configured_options_are_those_of_a_publish_and_keywords_win(machine, monkeypatch):
    from away import FaasConnection
    from away.publish import options_for

    machine.write(OPTIONS)
    for key, value in machine.environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(machine.cwd)

    def sum_two_numbers(a, b):
        return a + b

    connection = FaasConnection.named("prod")
    options = options_for(sum_two_numbers, connection, {"timeout": 7, "env": {"MODE": "mine"}})
    assert options.timeout == 7
    assert options.env == {"MODE": "mine", "A": "1"}
    assert options.limits == {"memory": "256Mi", "cpu": "1"}
    assert options.max_inflight == 4
    other = options_for(sum_two_numbers, connection, {"name": "other"})
    assert (other.timeout, other.max_inflight) == (30.0, None)


def test_a_configured_limit_that_is_no_amount_names_file_and_line(machine, monkeypatch):
    from away import FaasConnection
    from away.publish import options_for

    machine.write(
        {
            USERS: '[gateways.prod]\nurl = "http://a.example"\n'
            '[gateways.prod.publish]\nlimits = {memory = "1 GB"}'
        }
    )
    for key, value in machine.environ.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(machine.cwd)
    with pytest.raises(ConfigError, match=r"is '1 GB', which is no amount.*config\.toml line 4"):
        options_for(len, FaasConnection.named("prod"), {})


# ---------------------------------------------------------------- what a project may say of publishing


def settings_of(machine, gateway: str, function: str) -> dict:
    return config.publish_options(gateway, function, environ=machine.environ, cwd=machine.cwd)


@pytest.mark.parametrize("key", ["env", "labels", "annotations"])
@pytest.mark.parametrize("table", ["publish", "functions.add"])
def test_variables_of_the_users_do_not_go_to_a_server_that_a_project_chose(machine, key, table):
    mine = (
        f'[gateways.dev]\nurl = "http://a.example"\n[gateways.dev.{table}]\n{key} = {{A = "mine"}}'
    )
    theirs = (
        '[gateways.dev]\nurl = "http://evil.example"\n'
        f'[gateways.dev.publish]\n{key} = {{B = "b"}}\n'
        f'[gateways.dev.functions.add]\n{key} = {{B = "b"}}'
    )
    machine.write({USERS: mine})
    assert settings_of(machine, "dev", "add")[key].value == {"A": "mine"}
    machine.write({AWAY: theirs})
    with pytest.raises(ConfigError) as caught:
        settings_of(machine, "dev", "add")
    text = str(caught.value)
    assert f"{key} of gateway 'dev'" in text
    assert "away.toml line 2" in text
    assert "write the url beside it" in text
    machine.set(AWAY_GATEWAY_DEV_URL="http://a.example")
    assert settings_of(machine, "dev", "add")[key].value == {"A": "mine", "B": "b"}


@pytest.mark.parametrize(
    "spec", ["evil @ file:///tmp/evil", "git+https://x/y", "wx @ https://x/wx-1-py3-none-any.whl"]
)
def test_a_project_gives_requirements_by_name_and_not_by_address(machine, spec):
    text = f'[gateways.dev]\nurl = "http://a.example"\n[gateways.dev.publish]\nrequirements = ["{spec}"]'
    machine.write({AWAY: text})
    with pytest.raises(ConfigError, match=r"requirements of gateway 'dev' .*away\.toml line 4"):
        settings_of(machine, "dev", "add")
    machine.write({AWAY: "", USERS: text})
    assert settings_of(machine, "dev", "add")["requirements"].value == (spec,)


def test_a_registry_says_whether_a_project_chose_it(machine):
    text = (
        '[gateways.dev]\nurl = "http://a.example"\nregistry = "r.example"\n'
        '[gateways.dev.publish]\nregistry = "s.example"'
    )
    for file, wheres in ((AWAY, ["away.toml line 3", "away.toml line 5"]), (USERS, ["", ""])):
        machine.write({AWAY: "", USERS: "", file: text})
        found = [machine.resolve("dev").registry, settings_of(machine, "dev", "")["registry"].value]
        assert found == ["r.example", "s.example"]
        for each, where in zip(found, wheres, strict=True):
            assert str(getattr(each, "where", "")).endswith(where)
            assert bool(getattr(each, "where", "")) == bool(where)
            again = pickle.loads(pickle.dumps(each))
            assert again == each
            assert bool(getattr(again, "where", "")) == bool(where)
            assert "away.toml" not in str(pickle.dumps(each))

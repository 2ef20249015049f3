"""What must never happen, tried against real parts.

The sentences that tests beside their rooms prove already, with the tests' names:

==================================================  ================================================
credentials go to the gateway's own API alone       test_the_login_goes_to_the_gateways_api_and_never_to_functions,
                                                    test_the_gateways_password_never_goes_to_a_function
no redirect is followed                             test_a_redirect_of_a_function_is_not_followed,
                                                    test_each_fault_of_a_gateway_is_one_error_of_the_list
no .netrc is read                                   test_a_netrc_is_not_read
a project's file names no file outside, and moves   test_a_cloned_repository_cannot_send_what_is_the_users_elsewhere,
no gateway that keeps its password                  test_a_later_source_that_names_another_server_drops_earlier_credentials
other hosts, origins and sites are refused, by      test_other_host_names_origins_and_sites_are_refused_on_every_route,
functions too; --allow-host works                   test_a_web_page_cannot_call_what_listens_on_loopback
only the right password opens the gateway           test_only_basic_credentials_that_are_right_open_it
nothing is imported, called or made for a peer's    test_nothing_is_imported_for_a_peer,
exception                                           test_a_modules_own_code_is_never_asked_for_a_name,
                                                    test_no_init_new_or_setattr_of_the_users_runs
others' data never steers a terminal                test_others_data_never_steers_a_terminal,
                                                    test_an_answer_never_steers_a_terminal_and_passes_a_pipe_unchanged
a file or value that holds a secret is not packed   test_what_cannot_travel_is_refused_by_its_variable_and_the_path_to_it
dotfiles, keys and VCS folders are never packed     test_dotfiles_keys_caches_and_version_control_are_never_packed
layers that lead out, devices, bombs are refused    test_a_hostile_layer_is_refused_and_writes_nothing_outside,
by both filters                                     test_a_layer_over_the_limits_is_refused,
                                                    test_a_layer_of_too_many_entries_is_refused,
                                                    test_a_header_that_lies_about_its_size_takes_no_memory
a blob is verified as it is served                  test_a_blob_that_changed_on_the_disk_is_not_served_and_can_be_pushed_again
an announcement without its lock is not believed    test_an_announcement_whose_gateway_was_killed_is_not_believed
safe_args=False warns                               test_unsafe_arguments_travel_where_both_sides_opted_in
python tags in others' YAML are refused             test_a_python_tag_is_refused_in_words_and_nothing_runs
==================================================  ================================================
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import http.client
import importlib
import inspect
import io
import json
import os
import pickle
import pydoc
import re
import stat
import sys
import tarfile
import textwrap
import typing
from pathlib import Path
from urllib.parse import urlsplit

import dill
import pytest

import away
from away import FaasConnection, builder, cli, protocol
from away.exceptions import (
    AwayError,
    FunctionNotReady,
    ProtocolMismatch,
    UnknownGateway,
    UnsafeWarning,
)
from away.gateway.announcement import Announcement, announce
from tests.end_to_end.watched import PASSWORD, SECRETS, VALUE, Watched, found_in, journey
from tests.images import Registry, tar_of
from tests.servers import Seen, Server, answer
from tests.servers import json as json_answer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what processes show")


@pytest.fixture(scope="session")
def up(tmp_path_factory):
    gateway = Watched(tmp_path_factory.mktemp("watched"))
    yield gateway
    gateway.close()


@pytest.fixture(scope="session")
def traces(up, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return journey(up, tmp_path_factory.mktemp("journey"), patch)


@pytest.fixture
def watched(up, own_environment):
    with FaasConnection(up.url, password=PASSWORD, verbose=False) as connection:
        yield connection


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a module of the user's own and import it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return write


# ---------------------------------------------------------------- no secret shows anywhere


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "repr and str",
        "logs",
        "exceptions",
        "pickle",
        "annotations",
        "command output",
        "JSON output",
        "files of images",
        "files of cache",
        "processes",
    ],
)
def test_no_secret_stands_in(kind, traces):
    seen = traces.seen[kind]
    assert sum(len(text) for _, text in seen) > 100
    assert {what: found for what, text in seen if (found := found_in(text))} == {}


def test_the_watching_finds_what_it_looks_for(up):
    for name, secret in SECRETS.items():
        assert found_in(f"x{secret}y") == [name] or name.endswith("header")
    assert "the password" in found_in((up.announcement / "gateway.json").read_bytes())


def test_what_holds_a_secret_is_for_its_owner_alone(up, traces):
    assert traces.seen
    for folder in (up.state, up.announcement):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    holding = [
        path
        for root in (up.state, up.announcement)
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink() and found_in(path.read_bytes())
    ]
    names = {path.name for path in holding}
    assert {"gateway.json", "watched-key"} <= names <= {"gateway.json", "watched-key", "password"}
    for path in holding:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path
        assert path.stat().st_uid == os.getuid()


def test_a_function_finds_its_secret_in_a_private_file(watched, written):
    watched.create_secret("private-key", VALUE)
    source = """
    import os

    def modes():
        folder = os.environ["AWAY_SECRETS_DIR"]
        paths = [folder, os.path.join(folder, "private-key")]
        return [os.stat(path).st_mode & 0o777 for path in paths] + sorted(os.listdir(folder))
    """
    module = written("private_modes", source)
    far = builder.mirror_in_faas(module.modes, watched, secrets=["private-key"])
    assert far() == [0o700, 0o600, "private-key"]


# ---------------------------------------------------------------- where the login goes


def forwarded(to: str, *, login: str = "", moved_to: str = ""):
    """Make a behaviour that passes requests on to a gateway.

    Args:
        to: The gateway's URL.
        login: The Authorization to add.
        moved_to: Where uploads are sent on to, which the registry may name as it likes.
    """
    parts = urlsplit(to)

    def forward(seen: Seen):
        headers = {key: value for key, value in seen.headers.items() if key not in _OF_ONE_HOP}
        if login:
            headers["authorization"] = login
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        # An image is named by the host that its registry was reached by.
        body = seen.body
        if seen.path == "/system/functions":
            body = body.replace(seen.headers["host"].encode(), parts.netloc.encode())
        connection.request(seen.method, seen.path, body, headers)
        reply = connection.getresponse()
        body = reply.read()
        passed = [pair for pair in reply.getheaders() if pair[0].lower() not in _OF_ONE_HOP]
        if moved_to and seen.method == "POST" and "/blobs/uploads/" in seen.path:
            passed = [
                (key, f"{moved_to}{urlsplit(value).path}" if key == "Location" else value)
                for key, value in passed
            ]
        connection.close()
        return answer(reply.status, body, passed)

    return forward


_OF_ONE_HOP = {"host", "connection", "content-length", "transfer-encoding", "keep-alive"}


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()


@pytest.mark.slow
def test_the_login_goes_to_the_gateways_api_and_registry_in_a_whole_publish(up, written):
    module = written("goes_nowhere", "def goes_nowhere(n): return n\n")
    with Server(forwarded(up.url)) as between:
        with FaasConnection(between.url, password=PASSWORD, verbose=False) as faas:
            far = builder.mirror_in_faas(module.goes_nowhere, faas)
            assert far(1) == 1
            asyncio.run(_call_later(faas))
        owned = {seen.path: seen.headers.get("authorization") for seen in between.requests}
    ours = {path for path, sent in owned.items() if sent is not None}
    assert {path.split("/")[1] for path in ours} == {"system", "v2"}
    assert {path for path in owned if path.startswith("/function/")}.isdisjoint(ours)
    assert any(path.startswith("/function/") for path in owned)
    assert {owned[path] for path in ours} == {basic(PASSWORD)}


async def _call_later(faas):
    assert await builder.async_from_name("goes-nowhere", faas)(2) == 2


@pytest.mark.slow
def test_a_registry_that_sends_uploads_elsewhere_gets_them_there_without_the_login(up, written):
    module = written("goes_elsewhere", "def goes_elsewhere(n): return n\n")
    elsewhere = Server(forwarded(up.url, login=basic(PASSWORD)))
    gateway = Server(forwarded(up.url, moved_to=elsewhere.url))
    with elsewhere, gateway:
        with FaasConnection(gateway.url, password=PASSWORD, verbose=False) as faas:
            assert builder.mirror_in_faas(module.goes_elsewhere, faas)(1) == 1
        sent = [seen.headers.get("authorization") for seen in elsewhere.requests]
    assert sent
    assert set(sent) == {None}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_arrives_where_a_redirect_leads(status, written):
    module = written("redirected", "def redirected(n): return n\n")
    with Server(answer(200, b"[]")) as trap:
        with Server(answer(status, b"", {"Location": f"{trap.url}/x"})) as gateway:
            with FaasConnection(gateway.url, password=PASSWORD, verbose=False) as faas:
                acts = [
                    faas.functions,
                    faas.info,
                    lambda: faas.create_secret("key", VALUE),
                    lambda: builder.sync_from_name("f", faas)(1),
                    lambda: asyncio.run(builder.async_from_name("f", faas)(1)),
                    lambda: builder.mirror_in_faas(module.redirected, faas),
                ]
                for act in acts:
                    with pytest.raises(AwayError, match="not followed"):
                        act()
        assert trap.connections == 0


def test_a_cloned_repository_that_moves_a_gateway_gets_no_password(tmp_path, monkeypatch):
    home, clone = Path(os.environ["XDG_CONFIG_HOME"], "away"), tmp_path / "clone"
    home.mkdir(parents=True)
    clone.mkdir()
    (home / "config.toml").write_text(
        f'[gateways.shop]\nurl = "http://shop.example"\npassword = "{PASSWORD}"\n'
    )
    with Server(json_answer([])) as trap:
        (clone / "away.toml").write_text(f'[gateways.shop]\nurl = "{trap.url}"\n')
        assert FaasConnection.named("shop").password == PASSWORD
        monkeypatch.chdir(clone)
        with FaasConnection.named("shop") as faas:
            assert (faas.url, faas.password) == (trap.url, None)
            faas.functions()
        assert [seen.headers.get("authorization") for seen in trap.requests] == [None]


# ---------------------------------------------------------------- the announcement


def announced_there(folder: Path, url: str) -> None:
    """Write what a gateway would announce, without a gateway."""
    folder.mkdir(mode=0o700, exist_ok=True)
    said = {"url": url, "user": "admin", "password": PASSWORD, "pid": os.getpid(), "state": "x"}
    (folder / "gateway.json").write_text(json.dumps(said))
    (folder / "gateway.json").chmod(0o600)


def let_others_read(folder: Path) -> None:
    (folder / "gateway.json").chmod(0o644)


def let_others_in(folder: Path) -> None:
    folder.chmod(0o755)


def link_the_file(folder: Path) -> None:
    (folder / "gateway.json").rename(folder / "elsewhere.json")
    (folder / "gateway.json").symlink_to("elsewhere.json")


def link_the_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


def give_the_file_away(folder: Path) -> None:
    os.chown(folder / "gateway.json", 12345, 12345)


def give_the_folder_away(folder: Path) -> None:
    os.chown(folder, 12345, 12345)


def put_a_pipe(folder: Path) -> None:
    (folder / "gateway.json").unlink()
    os.mkfifo(folder / "gateway.json", 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        None,
        let_others_read,
        let_others_in,
        link_the_file,
        link_the_folder,
        give_the_file_away,
        give_the_folder_away,
        put_a_pipe,
    ],
    ids=lambda spoil: spoil.__name__ if spoil else "locked and private",
)
def test_only_a_private_announcement_with_its_lock_is_believed(spoil, tmp_path, monkeypatch):
    if spoil in (give_the_file_away, give_the_folder_away) and os.getuid() != 0:
        pytest.skip("only root can give files away")
    folder = tmp_path / "run"
    monkeypatch.setenv("AWAY_RUNTIME_DIR", str(folder))
    with Server(json_answer([])) as trap:
        announced_there(folder, trap.url)
        # Locked by another open file, as a gateway's process does it.
        with (folder / "gateway.json").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if spoil is None:
                assert FaasConnection.local().password == PASSWORD
                return
            spoil(folder)
            with pytest.raises(UnknownGateway, match="away up"):
                FaasConnection.local()
            with FaasConnection(trap.url) as faas:
                assert faas.password is None
                faas.functions()
        sent = [seen.headers.get("authorization") for seen in trap.requests]
    assert sent == [None]


def test_a_gateway_announces_itself_only_where_nobody_else_can_look(tmp_path):
    found = Announcement("http://127.0.0.1:1", "admin", PASSWORD, 1, "")
    with announce(found, tmp_path / "new"):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "new" / "gateway.json").stat().st_mode) == 0o600
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(PermissionError), announce(found, tmp_path / "open"):
        pass
    (tmp_path / "new" / "gateway.json").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=r"gateway\.json"), announce(found, tmp_path / "new"):
        pass
    assert not (tmp_path / "victim").exists()


# ---------------------------------------------------------------- no code of others runs


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def spoken(body: bytes) -> dict[str, str]:
    """Return the head fields of an answer by protocol."""
    return {
        "Content-Type": protocol.CONTENT_TYPE,
        protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
        protocol.LENGTH_HEADER: str(len(body)),
    }


def hostile_bodies(path: Path) -> dict[str, tuple[bytes, dict[str, str]]]:
    pickled = base64.b64encode(dill.dumps(((Canary(path),), {}))).decode()
    ours = {"Content-Type": protocol.CONTENT_TYPE, protocol.PROTOCOL_HEADER: "1"}
    tag = f"!!python/object/apply:pathlib.Path.touch [!!python/object/new:pathlib.Path ['{path}']]"
    return {
        "an envelope of a pickle": (json.dumps({"dill": pickled}).encode(), ours),
        "a pickle as it is": (pickle.dumps(Canary(path)), {}),
        "a text with a pickle": (
            protocol.make_client_pack_args_fn(safe_args=False)([Canary(path)]).encode(),
            {protocol.STUB_HEADER: "list"},
        ),
        "the same without a word": (
            protocol.make_client_pack_args_fn(safe_args=False)([Canary(path)]).encode(),
            {},
        ),
        "a python tag": (f"- {tag}\n".encode(), {}),
        "a python name": (b"- !!python/name:os.system\n", {}),
        "a python module": (b"- !!python/module:antigravity\n", {}),
    }


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "code of others ran"


def test_the_canary_sings_where_pickles_are_asked_for(watched, written, tmp_path):
    module = written("careless", "def careless(n=0): return 1\n")
    with pytest.warns(UnsafeWarning, match="run code"):
        builder.mirror_in_faas(module.careless, watched, safe_args=False)
    there, here = tmp_path / "there", tmp_path / "here"
    body, headers = hostile_bodies(there)["an envelope of a pickle"]
    assert watched.invoke("careless", body, headers=headers).status == 200
    body = hostile_answers(here)["a value"]
    with Server(answer(200, body, spoken(body))) as gateway:
        with FaasConnection(gateway.url, password=PASSWORD) as faas:
            away.RemoteFunction(faas, "f", dialect="protocol", safe_args=False)()
    assert there.exists()
    assert here.exists()


def test_the_readme_warns_of_functions_that_take_pickles():
    text = " ".join(Path(__file__).parents[2].joinpath("README.md").read_text().split())
    assert re.search(r"Warning.{0,100}safe_args=False.{0,20}can run any code", text)


@pytest.fixture
def harmless(watched, written):
    return builder.mirror_in_faas(
        written("harmless", "def harmless(n=0): return 1\n").harmless, watched
    )


@pytest.mark.parametrize("name", hostile_bodies(Path("x")))
def test_a_function_published_safe_runs_nothing_of_a_body(name, watched, harmless, canary):
    body, headers = hostile_bodies(canary)[name]
    reply = watched.invoke("harmless", body, headers=headers)
    # A pickle is bytes as any other to who does not unpickle it.
    assert reply.status in (400, 415) or name == "a pickle as it is"
    assert harmless(1) == 1


def hostile_answers(path: Path) -> dict[str, bytes]:
    pickled = base64.b64encode(dill.dumps(Canary(path))).decode()
    listed = base64.b64encode(dill.dumps([Canary(path)])).decode()
    wrapped = {"type": "builtins:ValueError", "message": "x", "args": [], "dill": pickled}
    return {
        "a value": json.dumps({"dill": pickled}).encode(),
        "items": json.dumps({"dill": listed, "items": True}).encode(),
        "an error": json.dumps({"error": {"dill": pickled}}).encode(),
        "an error with more": json.dumps({"error": wrapped}).encode(),
        "a reserved kind": json.dumps({"value": {"$away": ["dill", pickled]}}).encode(),
    }


@pytest.mark.parametrize("kind", ["sync", "async", "generator"])
@pytest.mark.parametrize("name", hostile_answers(Path("x")))
def test_a_client_unpickles_no_answer_that_it_did_not_ask_for(name, kind, canary):
    body = hostile_answers(canary)[name]
    with Server(answer(500 if "error" in name else 200, body, spoken(body))) as gateway:
        with FaasConnection(gateway.url, password=PASSWORD) as faas:
            function = away.RemoteFunction(faas, "f", kind=kind, dialect="protocol")

            def call():
                return asyncio.run(function()) if kind == "async" else function()

            with pytest.raises((AwayError, ValueError)):
                call()


@pytest.mark.parametrize("name", ["a text with a pickle", "a python tag"])
def test_the_packers_unpickle_no_answer_that_they_did_not_ask_for(name, canary):
    text = hostile_bodies(canary)[name][0].decode()
    unpack = protocol.make_client_unpack_args_fn(safe_args=True)
    with Server(answer(200, text.encode(), {"Content-Type": "application/yaml"})) as gateway:
        with FaasConnection(gateway.url, password=PASSWORD) as faas:
            packed = builder.sync_from_name("f", faas, pack_args=str, unpack_args=unpack)
            for function in (packed, builder.sync_from_name_with_protocol("f", faas)):
                try:
                    value = function(1)
                except ProtocolMismatch:
                    continue
                assert name == "a text with a pickle"
                assert type(value) in (str, dict, list)


def test_an_exception_of_a_hostile_gateway_imports_and_makes_nothing(canary, monkeypatch):
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    types = ["antigravity:X", "os:system", "builtins:eval", "builtins:SystemExit", "x" * 9999]
    for name in [*types, "builtins:KeyboardInterrupt", "\x1b[31m:\x07", 5, None, ["os", "system"]]:
        error = {"type": name, "message": f"touch {canary}", "args": [f"touch {canary}"]}
        body = json.dumps({"error": {**error, "traceback": "\x1b]0;taken\x07"}}).encode()
        with Server(answer(500, body, spoken(body))) as gateway:
            with FaasConnection(gateway.url, password=PASSWORD) as faas:
                with pytest.raises(AwayError) as caught:
                    away.RemoteFunction(faas, "f", dialect="protocol")()
        shown = str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))
        assert "\x1b" not in shown
        assert "\x07" not in shown
    assert "antigravity" not in sys.modules


HOSTILE_TEXT = "\x1b]0;taken over\x07\x1b[2J\u202e"


def test_annotations_of_others_are_never_evaluated_nor_steer_a_terminal(
    watched, up, canary, monkeypatch, capfd
):
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    parameters = [
        {"name": "a", "kind": 1, "annotation": code},
        {"name": "b", "kind": 1, "default": code, "annotation": f"int{HOSTILE_TEXT}"},
    ]
    watched.deploy(
        {
            "service": "hostile",
            "image": "process",
            "envProcess": "cat",
            "labels": {"x": HOSTILE_TEXT},
            "annotations": {
                "built-with": "away",
                "away.protocol": json.dumps("1"),
                "away.kind": json.dumps("sync"),
                "away.safe": json.dumps(True),
                "away.entry": json.dumps(f"m:{HOSTILE_TEXT}"),
                "away.digest": json.dumps("0" * 64),
                "away.doc": json.dumps(f"{HOSTILE_TEXT} {code}"),
                "away.signature": json.dumps({"parameters": parameters, "returns": code}),
            },
        }
    )
    monkeypatch.setenv("AWAY_GATEWAY_WATCHED_URL", up.url)
    monkeypatch.setenv("AWAY_GATEWAY_WATCHED_PASSWORD", PASSWORD)
    try:
        module = importlib.import_module("away.remote.watched")
        function = module.hostile
        looks = [
            str(inspect.signature(function)),
            pydoc.render_doc(function, renderer=pydoc.plaintext),
            repr(function),
            repr(dir(module)),
            repr(typing.get_type_hints(function)),
            repr(watched.function("hostile").description),
        ]
        # It is read for what it is, and not passed over as no function of Away's.
        assert list(inspect.signature(function).parameters) == ["a", "b"]
        for words in (["list"], ["describe", "hostile"]):
            for more in ([], ["--json"]):
                assert cli.run([*words, *more, "-g", "watched"]) == 0
        looks += capfd.readouterr()
        assert cli.run(["call", "hostile", "1", "2", "-g", "watched"]) != 0
        looks += capfd.readouterr()
    finally:
        watched.remove("hostile")
        sys.modules.pop("away.remote.watched", None)
    for shown in looks:
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert "hostile" in looks[-4]


# ---------------------------------------------------------------- images


def layer_of(**fields) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo()
        for name, value in fields.items():
            setattr(member, name, value)
        member.size = 1 if member.isreg() else 0
        tar.addfile(member, io.BytesIO(b"x"))
    return buffer.getvalue()


HOSTILE_LAYERS = {
    "up and out": layer_of(name="../../../../../../../tmp/away-evil"),
    "a link out": layer_of(name="out", type=tarfile.SYMTYPE, linkname="../../../.."),
    "a link to an absolute place": layer_of(name="out", type=tarfile.SYMTYPE, linkname="/etc"),
    "a hard link out": layer_of(name="out", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "a device": layer_of(name="null", type=tarfile.CHRTYPE),
}


@pytest.fixture
def registry(up):
    with Registry(up.url, "admin", PASSWORD) as registry:
        yield registry


@pytest.mark.parametrize("layer", HOSTILE_LAYERS.values(), ids=HOSTILE_LAYERS)
def test_an_image_with_a_hostile_layer_is_not_deployed(layer, watched, registry):
    image = registry.push_image("evil/image:1", [layer], command=["python3", "-c", "0"])
    with pytest.raises(AwayError, match="evil/image"):
        watched.deploy({"service": "evil", "image": image})
    assert "evil" not in watched.get_faas_functions()
    assert not Path("/tmp/away-evil").exists()


SAYS = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/exit":
            os._exit(1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{said}")

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def push_says(registry, name: str, said: str) -> str:
    files = {"srv/says.py": SAYS.replace("{said}", said)}
    return registry.push_image(name, files=files, command=["python3", "/srv/says.py"])


def test_a_deployment_stays_with_the_image_that_its_tag_was(watched, registry):
    image = push_says(registry, "pinned/image:1", "first")
    watched.deploy({"service": "pinned", "image": image})
    assert watched.invoke("pinned", method="GET").body == b"first"
    push_says(registry, "pinned/image:1", "second")
    # The process ends, and another one takes its place.
    with pytest.raises(FunctionNotReady):
        watched.invoke("pinned", method="GET", path="exit")
    assert watched.invoke("pinned", method="GET").body == b"first"
    watched.update({"service": "pinned", "image": image})
    assert watched.invoke("pinned", method="GET").body == b"second"


def test_an_image_whose_blob_changed_on_the_disk_is_not_deployed(watched, registry, up):
    files = {"srv/says.py": SAYS.replace("{said}", "changed")}
    layer = tar_of(files)
    image = registry.push_image("changed/image:1", [layer], command=["python3", "/srv/says.py"])
    blobs = [path for path in (up.state / "blobs").rglob("*") if path.is_file()]
    (blob,) = (path for path in blobs if path.read_bytes() == layer)
    blob.chmod(0o600)
    blob.write_bytes(layer.replace(b"changed", b"hostile"))
    with pytest.raises(AwayError, match=r"sha256:|changed") as caught:
        watched.deploy({"service": "changed", "image": image})
    assert "\n" not in str(caught.value)
    assert "changed" not in watched.get_faas_functions()

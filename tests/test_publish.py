"""Publishing: what is packed, pushed, checked, deployed, awaited, and put back when it fails."""

from __future__ import annotations

import asyncio
import base64
import http.client
import http.server
import io
import json
import os
import re
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
import urllib.request
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import FaasConnection, builder, gateway
from away.capture import capture
from away.config import configure, forget
from away.connection.conversations import Send, TransportError
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    CallTimedOut,
    CaptureRefused,
    FunctionNotFound,
    GatewayError,
    GatewayUnreachable,
    NameRefused,
    PublishFailed,
)
from away.publish import (
    Options,
    Standing,
    cache,
    compare,
    layers,
    parts,
    preview,
    publish,
    publish_async,
    publish_conversation,
)
from away.publish.builders.registry import RegistryBuilder
from away.publish.deployment import kept_request
from away.publish.image import OCI_MANIFEST, assemble, make_layer, read_base
from away.publish.lock import PublishLock
from away.publish.pins import Pin, lacking
from away.publish.preparation import Preparation
from away.publish.progress import Progress
from away.publish.references import parse_image
from away.publish.registry import MEMORY, Registry
from away.publish.steps import Publisher
from away.publish.verification import installed_here
from away.publish.wheels import (
    Target,
    place_of,
    platform_options,
    requirements_layer,
)
from away.requirements import listed
from tests import servers
from tests.archives import unpack_all

HERE = Target("amd64", here=True)
ONE = Pin("awaytestone", "1.0", "awaytestone==1.0")


# ---------------------------------------------------------------- requirements


def wheel(folder: Path, name: str, version: str, needs: str = "") -> Path:
    """Write a small wheel, as a package index has it."""
    stem = f"{name}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {needs}"] if needs else []
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{stem}.data/scripts/tool": "#!/home/someone/python\n",
        f"{stem}.data/purelib/{name}_more.py": "X = 1\n",
        f"{stem}.dist-info/METADATA": "\n".join([*lines, "", ""]),
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
        record = "".join(f"{member},,\n" for member in files)
        archive.writestr(f"{stem}.dist-info/RECORD", record)
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that pip takes for the whole package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def names_in(layer) -> list[str]:
    with tarfile.open(layer.data) as archive:
        return [each.name for each in archive if each.isfile()]


def test_a_requirement_is_unpacked_from_wheels_with_what_it_needs(index, tmp_path):
    wheel(index, "awaytestone", "1.0", needs="awaytesttwo")
    wheel(index, "awaytesttwo", "2.0")
    layer = requirements_layer((ONE,), HERE, tmp_path, docker=False)
    assert names_in(layer) == [
        "opt/away/requirements/awaytestone-1.0.dist-info/METADATA",
        "opt/away/requirements/awaytestone-1.0.dist-info/RECORD",
        "opt/away/requirements/awaytestone-1.0.dist-info/WHEEL",
        "opt/away/requirements/awaytestone.py",
        "opt/away/requirements/awaytestone_more.py",
        "opt/away/requirements/awaytesttwo-2.0.dist-info/METADATA",
        "opt/away/requirements/awaytesttwo-2.0.dist-info/RECORD",
        "opt/away/requirements/awaytesttwo-2.0.dist-info/WHEEL",
        "opt/away/requirements/awaytesttwo.py",
        "opt/away/requirements/awaytesttwo_more.py",
    ]


def test_a_requirements_layer_is_made_once_and_the_same_again(index, tmp_path):
    source = wheel(index, "awaytestone", "1.0")
    pins = (ONE,)
    first = requirements_layer(pins, HERE, tmp_path, docker=False)
    (tmp_path / "other").mkdir()
    again = requirements_layer(pins, HERE, tmp_path / "other", docker=False)
    assert again.digest == first.digest
    source.unlink()
    assert requirements_layer(pins, HERE, tmp_path, docker=False) == first


def test_a_requirement_that_there_is_not_is_one_error_that_names_it(index, tmp_path):
    with pytest.raises(
        PublishFailed, match=r"awaytestnone==1\.0 is not in the package index, .* none of that name"
    ) as caught:
        requirements_layer(
            (Pin("awaytestnone", "1.0", "awaytestnone==1.0"),), HERE, tmp_path, docker=False
        )
    assert caught.value.step == "requirements"
    assert "\n" not in str(caught.value)


def test_a_version_that_was_built_locally_is_refused_before_anything_is_asked(tmp_path):
    pin = Pin("mine", "1.0+local.7", "mine==1.0+local.7")
    with pytest.raises(PublishFailed, match="local version that no package index has"):
        requirements_layer((pin,), HERE, tmp_path, docker=False)


def test_what_the_base_has_exactly_is_not_packed():
    environment = {"NumPy": "2.0", "attrs": "25.1", "requests": "2.1"}
    pins = [
        Pin("numpy", "2.0", "numpy==2.0"),
        Pin("attrs", "26.1", "attrs==26.1"),
        Pin("requests"),
        Pin("absent", "1", "absent==1"),
        Pin("ranged", "", "ranged>=1"),
    ]
    assert [each.name for each in lacking(pins, environment)] == ["absent", "attrs", "ranged"]


@pytest.mark.parametrize(
    ("spec", "pin"),
    [
        ("My_Pkg.x==1.2.3", Pin("my-pkg-x", "1.2.3", "My_Pkg.x==1.2.3")),
        ("My_Pkg.x", Pin("my-pkg-x")),
        ("numpy>=2", Pin("numpy", "", "numpy>=2")),
    ],
)
def test_a_requirement_is_pinned_as_it_was_written(spec, pin):
    assert Pin.of(listed([spec])[0]) == pin


def test_what_is_installed_here_is_there_for_the_check_and_nothing_else(tmp_path):
    with installed_here(["Requests", "absent"], tmp_path) as folder:
        names = {each.name for each in folder.iterdir()}
        assert (folder / "requests" / "__init__.py").exists()
    assert {"requests", "urllib3", "idna", "certifi", "charset_normalizer"} <= names
    assert not {"pytest", "yaml", "dill", "away"} & names
    assert not any(tmp_path.iterdir())


def test_another_platform_is_spelt_out_down_to_the_oldest_glibc():
    options = platform_options(Target("arm64", here=False))
    assert "manylinux_2_28_aarch64" in options
    assert "manylinux2014_aarch64" in options
    assert f"cp3{sys.version_info.minor}" in options


@given(st.text(alphabet="a./\\ ", max_size=12) | st.text(max_size=12))
def test_no_member_of_a_wheel_leads_out_of_its_folder(member):
    place = place_of(member)
    assert not place.startswith("/")
    assert ".." not in place.split("/")


# ---------------------------------------------------------------- shared layers


def test_the_shared_layers_hold_no_compiled_file_and_no_test():
    for part in (
        parts.runtime_part(),
        parts.yaml_part(),
        parts.dill_part(),
        parts.client_part(),
    ):
        names = [path for path, _ in part.files]
        assert all(path.endswith(".py") for path in names)
        assert not any("/tests/" in path for path in names)
    assert "yaml/__init__.py" in dict(parts.yaml_part().files)
    assert "dill/_dill.py" in dict(parts.dill_part().files)


def test_the_client_and_the_runtime_do_not_overlap_and_leave_the_users_machine_out():
    runtime = dict(parts.runtime_part().files)
    client = dict(parts.client_part().files)
    assert not set(runtime) & set(client)
    assert "away/runtime/__main__.py" in runtime
    assert {"away/functions.py", "away/gateway/announcement.py"} <= set(client)
    for path in ("away/gateway/app.py", "away/publish/steps.py", "away/cli.py"):
        assert path not in client


def test_a_shared_layer_is_made_once():
    part = parts.yaml_part()
    assert layers.shared_layer(part, docker=False) is layers.shared_layer(part, docker=False)


# ---------------------------------------------------------------- folders and the lock


@pytest.mark.parametrize("kind", ["missing home", "read-only home", "home is a file"])
def test_without_a_usable_home_there_is_still_a_folder(tmp_path, monkeypatch, kind):
    home = tmp_path / "home"
    if kind == "home is a file":
        home.write_text("")
    elif kind == "read-only home":
        home.mkdir(mode=0o500)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere" if kind == "missing home" else str(home))
    folder = cache.cache_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_others_can_write_to_is_not_taken(tmp_path):
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    assert not cache.private_folder(open_folder)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert not cache.private_folder(tmp_path / "link")


def test_two_never_hold_the_lock_of_one_name(tmp_path):
    first, second = PublishLock(tmp_path, "gateway name"), PublishLock(tmp_path, "gateway name")
    other = PublishLock(tmp_path, "gateway other")
    assert first.try_once()
    assert not second.try_once()
    assert other.try_once()
    first.release()
    assert second.try_once()
    second.release()
    other.release()


def test_a_lock_ends_with_the_process_that_held_it(tmp_path):
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path;"
        "from away.publish.lock import PublishLock;"
        "assert PublishLock(Path(sys.argv[1]), 'x').try_once(); print('held', flush=True);"
        "sys.stdin.read()"
    )
    root = str(Path(__file__).resolve().parents[1])
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout.readline() == b"held\n"
        lock = PublishLock(tmp_path, "x")
        assert not lock.try_once()
        child.kill()
        child.wait()
        assert lock.try_once()
        lock.release()


def test_without_a_folder_publishing_goes_on_unlocked():
    assert PublishLock(None, "x").try_once()


# ---------------------------------------------------------------- against the embedded gateway


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWAY_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        with gateway.run(state=tmp_path_factory.mktemp("state"), announce=False) as connection:
            yield connection


@pytest.fixture
def faas(running):
    connection = FaasConnection(
        running.url, user=running.user, password=running.password, timeout=30, verbose=False
    )
    with connection:
        yield connection


def value(connection, name: str, *arguments: object) -> object:
    reply = connection.invoke(name, json.dumps(arguments).encode())
    assert reply.status == 200, reply.text
    return json.loads(reply.body)


def deployed_at(connection, name: str) -> str:
    return connection.function(name).created_at


def test_a_function_is_created_left_alone_and_updated(faas, written):
    module = written("pub_first", "def first_sum(a, b=1):\n    'Add.'\n    return a + b\n")
    created = publish(module.first_sum, faas)
    assert (created.name, created.action) == ("first-sum", "created")
    assert value(faas, "first-sum", 1, 2) == 3
    at = deployed_at(faas, "first-sum")
    again = publish(module.first_sum, faas)
    assert (again.action, again.digest) == ("unchanged", created.digest)
    assert [step.name for step in again.steps] == ["capture", "compare"]
    assert deployed_at(faas, "first-sum") == at
    module = written("pub_first", "def first_sum(a, b=1):\n    'Add.'\n    return a + b + 100\n")
    changed = publish(module.first_sum, faas)
    assert changed.action == "updated"
    assert changed.digest != created.digest
    assert value(faas, "first-sum", 1, 2) == 103


def test_annotations_say_what_was_published_and_how_to_deploy_it_again(faas, written):
    module = written("pub_said", "def said(a: int) -> int:\n    'Say it.'\n    return a\n")
    published = publish(module.said, faas, annotations={"team": "blue"}, labels={"a": "b"})
    info = faas.function("said")
    assert info.annotations["built-with"] == "away"
    assert info.annotations["team"] == "blue"
    assert info.labels == {"a": "b"}
    assert info.description.entry == "pub_said:said"
    assert info.description.digest == published.digest
    assert info.description.doc == "Say it."
    request = kept_request(info.annotations)
    assert request["image"] == published.image
    assert "/away/said:" in published.image
    assert "@sha256:" in published.image


@pytest.mark.parametrize(
    "options",
    [
        {"env": {"MODE": "x"}},
        {"labels": {"a": "2"}},
        {"annotations": {"a": "2"}},
        {"max_inflight": 3},
        {"timeout": 45},
    ],
    ids=lambda options: next(iter(options)),
)
def test_another_request_for_the_same_function_is_an_update(faas, written, options):
    module = written("pub_options", "def with_options():\n    return 1\n")
    publish(module.with_options, faas)
    assert publish(module.with_options, faas, **options).action == "updated"
    assert publish(module.with_options, faas, **options).action == "unchanged"
    assert publish(module.with_options, faas).action == "updated"


def test_environment_and_secrets_reach_the_function(faas, written):
    faas.create_secret("pub-key", "s3cret-value")
    source = """
        import os
        import away

        def reads():
            return [os.environ["MODE"], away.secret("pub-key")]
    """
    module = written("pub_reads", source)
    publish(module.reads, faas, env={"MODE": "fast"}, secrets=["pub-key"])
    assert value(faas, "reads") == ["fast", "s3cret-value"]
    kept = json.dumps(faas.function("reads").annotations)
    assert "pub-key" in kept
    assert "s3cret-value" not in kept


def test_another_function_under_a_taken_name_is_refused_before_anything_is_sent(faas, written):
    one = written("pub_taken_one", "def taken():\n    return 1\n")
    two = written("pub_taken_two", "def taken():\n    return 2\n")
    publish(one.taken, faas)
    with pytest.raises(NameRefused, match=r"belongs to pub_taken_one:taken.*overwrite=True"):
        publish(two.taken, faas)
    assert value(faas, "taken") == 1
    assert publish(two.taken, faas, overwrite=True).action == "updated"
    assert value(faas, "taken") == 2


def test_a_function_that_away_did_not_publish_is_not_replaced(faas, written):
    faas.deploy({"service": "foreign", "image": "process", "envProcess": "cat"})
    module = written("pub_foreign", "def foreign():\n    return 'mine'\n")
    with pytest.raises(NameRefused, match="that Away did not publish"):
        publish(module.foreign, faas)
    assert faas.invoke("foreign", b"theirs").body == b"theirs"
    publish(module.foreign, faas, overwrite=True)
    assert value(faas, "foreign") == "mine"


def test_a_function_without_a_name_of_its_own_needs_one(faas, written):
    source = """
        nameless = lambda a: a * 2

        class Thing:
            def method(self):
                return 1

        def café():
            return 1
    """
    module = written("pub_names", source)
    for function in (module.nameless, module.Thing().method, module.café):
        with pytest.raises(NameRefused, match="name="):
            publish(function, faas)
    assert publish(module.nameless, faas, name="named_lambda").name == "named-lambda"
    assert value(faas, "named-lambda", 4) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secrets": ["pub-nokey"]}, r"no secret 'pub-nokey'.*create it"),
        ({"base_image": "nobody/has:1"}, r"base image nobody/has:1.*; pass base_image="),
        ({"base_image": "Not A Name"}, "is no image name"),
        ({"registry": "http://x"}, "is no registry"),
        ({"registry_auth": "ada:of-no-use"}, "the gateway.s own takes the gateway.s login"),
        ({"registry_prefix": "localhost:5000"}, "names a registry; pass registry='localhost:5000'"),
        ({"registry_prefix": "host:5000/mine"}, r"='host:5000' and registry_prefix='mine'"),
        ({"registry_prefix": "Mine"}, "begin with registry_prefix='Mine'; write lower-case"),
        ({"env": {"A=B": "1"}}, "cannot be the name of a variable"),
        ({"env": {"A": 5}}, "is not a text"),
        ({"env": {"A": "x" * 131_072}}, "131071 in one variable"),
        ({"labels": {"a": "x" * 4096}}, "4096 can be deployed"),
        ({"annotations": {"a": "x" * 4071}}, "4071 can be deployed"),
        ({"annotations": {"away.digest": "x"}}, "is written by Away itself"),
        ({"requirements": ["awaytestnone==9.9"]}, "awaytestnone==9.9"),
        ({"max_inflight": 0}, "lets no call in"),
        ({"limits": {"memory": "128MB"}}, r"limits\['memory'\] is '128MB', which is no amount"),
        ({"labels": {"com.openfaas.scale.min": "x"}}, "has to be a whole number"),
        ({"timeout": 0}, "timeout=0 is no number of seconds"),
        ({"env": {"AWAY_DEPLOYMENT": "x"}}, "which Away itself sets"),
        ({"secrets": ["a/b"]}, "cannot be a secret's name"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_deployed_is_refused_before_any_harm(faas, written, index, options, message):
    module = written("pub_unharmed", "def unharmed():\n    return 1\n")
    publish(module.unharmed, faas)
    at = deployed_at(faas, "unharmed")
    module = written("pub_unharmed", "def unharmed():\n    return 2\n")
    with pytest.raises(PublishFailed, match=message) as caught:
        publish(module.unharmed, faas, **options)
    assert caught.value.step
    assert value(faas, "unharmed") == 1
    assert deployed_at(faas, "unharmed") == at


TRANSPORT = {
    "a hang at an upload": ("/v2/away/", servers.hang(), CallTimedOut, "push"),
    "closed at an upload": ("/v2/away/", servers.hang_up(), AnswerLost, "push"),
    "a hang at the first question": ("/system/function/", servers.hang(), CallTimedOut, "compare"),
    "no HTTP": ("/system/function/", servers.raw(b"SSH-2.0\r\n"), GatewayError, "compare"),
}


@pytest.mark.parametrize("case", TRANSPORT)
def test_what_the_transport_meets_is_a_step_that_failed_and_says_what_runs(running, written, case):
    prefix, behaviour, cause, step = TRANSPORT[case]
    captured = written("pub_cut", "def cut():\n    return 1\n").cut

    def script(seen):
        if seen.path.startswith(prefix) and (step == "compare" or seen.method == "PUT"):
            return behaviour
        return passed_on(running, seen)

    # A hang takes all of the time; anything else has time enough on a busy machine.
    limit = 2.5 if cause is CallTimedOut else 20
    with servers.Server(script) as server:
        connection = FaasConnection(
            server.url, user=running.user, password=running.password, timeout=limit, verbose=False
        )
        with pytest.raises(PublishFailed, match=rf"\({step}\)") as caught:
            publish(captured, connection)
    assert caught.value.step == step
    assert isinstance(caught.value.__cause__, cause)
    assert (caught.value.gateway, caught.value.function) == (server.url, "cut")
    assert "nothing was " in str(caught.value)
    assert "may have run" not in str(caught.value)


def passed_on(running, seen):
    """Ask the real gateway and answer as it did."""
    return servers.passed_on(running.url, seen)


def test_a_gateway_that_is_not_there_and_a_refused_login_keep_their_types(running, written):
    module = written("pub_refused", "def refused():\n    return 1\n")
    unreachable = pytest.raises(GatewayUnreachable, match=r"; nothing was changed$")
    with servers.refusing() as port, unreachable:
        publish(module.refused, FaasConnection(f"http://127.0.0.1:{port}", verbose=False))
    wrong = FaasConnection(running.url, password="wrong-wrong", verbose=False)
    with pytest.raises(AuthenticationRefused, match=r"correct .*; nothing was changed$"):
        publish(module.refused, wrong)
    with pytest.raises(AuthenticationRefused) as caught:
        wrong.functions()
    assert "nothing was" not in str(caught.value)


def test_a_registry_that_has_gone_is_spoken_of_as_the_registry(running, written):
    gone = False

    def script(seen):
        if gone and seen.path.startswith("/v2/"):
            return servers.answer(404, b"404 page not found")
        return passed_on(running, seen)

    module = written("pub_gone", "def gone_one():\n    return 1\n\ndef gone_two():\n    return 2\n")
    with servers.Server(script) as server:
        connection = FaasConnection(
            server.url, user=running.user, password=running.password, timeout=20, verbose=False
        )
        publish(module.gone_one, connection)
        gone = True
        # Another base image is one that this process has not read yet.
        with pytest.raises(PublishFailed, match="no registry of its own") as caught:
            publish(module.gone_two, connection, base_image="away/python:latest")
    assert "registry=" in str(caught.value)
    assert "base_image=" not in str(caught.value)


def test_the_old_function_that_still_answers_is_told_as_such(running, written):
    module = written("pub_still", "def still():\n    return 1\n")
    frozen = []

    def script(seen):
        if frozen and (seen.path.startswith("/function/") or seen.method in ("DELETE", "POST")):
            return frozen[0] if seen.path.endswith("/_/away") else passed_on(running, seen)
        return passed_on(running, seen)

    with servers.Server(script) as server:
        connection = FaasConnection(
            server.url, user=running.user, password=running.password, timeout=3, verbose=False
        )
        first = publish(module.still, running, verbose=False)
        headers = {"X-Away-Protocol": "1", "X-Away-Digest": first.digest}
        frozen.append(servers.answer(200, b'{"entry": "x"}', headers))
        module = written("pub_still", "def still():\n    return 2\n")
        with pytest.raises(PublishFailed, match="that was deployed before still answers") as caught:
            publish(module.still, connection)
    assert '{"entry"' not in str(caught.value)


def test_an_unknown_option_is_the_type_error_of_any_call(faas):
    with pytest.raises(TypeError, match=r"'secret'; did you mean 'secrets'"):
        publish(test_an_unknown_option_is_the_type_error_of_any_call, faas, secret="x")


# A module that loads in a clean interpreter, and fails only inside a deployment.
FAILS_THERE = """
import os

print("the last words of the process", flush=True)
if "AWAY_SECRETS_DIR" in os.environ:
    raise RuntimeError("no good here")

def {name}():
    return 2
"""


def test_a_function_that_never_comes_to_life_is_removed_and_its_log_shown(faas, written):
    module = written("pub_dead", FAILS_THERE.format(name="dead"))
    with pytest.raises(PublishFailed, match="nothing runs under that name") as caught:
        publish(module.dead, faas, check=False)
    assert caught.value.step == "ready"
    assert "no good here" in str(caught.value)
    assert "the last words of the process" in str(caught.value)
    with pytest.raises(FunctionNotFound):
        faas.function("dead")


def test_what_ran_before_is_restored_when_the_new_one_does_not_come_to_life(faas, written):
    module = written("pub_back", "def back():\n    return 1\n")
    first = publish(module.back, faas, env={"MODE": "x"}, annotations={"team": "blue"})
    module = written("pub_back", FAILS_THERE.format(name="back"))
    with pytest.raises(PublishFailed, match="what ran before was restored"):
        publish(module.back, faas, check=False)
    assert value(faas, "back") == 1
    info = faas.function("back")
    assert info.description.digest == first.digest
    assert info.annotations["team"] == "blue"
    # It is known again for what it is.
    module = written("pub_back", "def back():\n    return 1\n")
    again = publish(module.back, faas, env={"MODE": "x"}, annotations={"team": "blue"})
    assert again.action == "unchanged"


# A process that ends before anything could be asked of it.
ENDS_THERE = """
import os

print("about to end", flush=True)
if "AWAY_SECRETS_DIR" in os.environ:
    os._exit(7)

def {name}():
    return 2
"""


@pytest.mark.slow
def test_a_process_that_ends_as_it_starts_is_not_waited_for_to_the_end(faas, written):
    module = written("pub_ends", ENDS_THERE.format(name="ends"))
    begun = time.monotonic()
    with pytest.raises(PublishFailed, match="nothing runs under that name") as caught:
        publish(module.ends, faas, publish_timeout=60)
    assert 10 <= time.monotonic() - begun < 30
    assert caught.value.step == "ready"
    assert "it ends as it starts" in str(caught.value)
    assert "about to end" in str(caught.value)
    # The name is free, and a call does not wait for it to come back.
    begun = time.monotonic()
    with pytest.raises(FunctionNotFound):
        builder.sync_from_name("ends", faas)(1)
    assert time.monotonic() - begun < 2


def test_what_does_not_load_in_a_clean_interpreter_is_never_deployed(faas, written):
    source = """
        import sys
        if not hasattr(sys, "away_test_marker"):
            raise RuntimeError("only in the test's process")

        def unloadable():
            return 1
    """
    sys.away_test_marker = True
    try:
        module = written("pub_unloadable", source)
    finally:
        del sys.away_test_marker
    end = "; nothing was deployed; what was uploaded stays at the registry$"
    with pytest.raises(CaptureRefused, match=f"only in the test's process.*{end}") as caught:
        publish(module.unloadable, faas)
    assert caught.value.path == "pub_unloadable:unloadable"
    with pytest.raises(FunctionNotFound):
        faas.function("unloadable")


# A module that is loaded in no time in the test's process, and never in a clean interpreter.
HANGS_THERE = """
import os, time

if os.environ.get("AWAY_RUNTIME"):
    time.sleep(1000)

def {name}():
    return 1
"""


def publish_in_a_loop(function, connection, **options):
    return asyncio.run(publish_async(function, connection, **options))


@pytest.mark.parametrize("way", [publish, publish_in_a_loop])
def test_the_check_in_a_clean_interpreter_ends_with_the_time_for_the_publish(faas, written, way):
    name = f"hangs_in_{way.__name__}"
    module = written(name, HANGS_THERE.format(name="hangs"))
    begun = time.monotonic()
    with pytest.raises(PublishFailed) as caught:
        way(module.hangs, faas, publish_timeout=4)
    assert time.monotonic() - begun < 20  # a minute is what the check may take by itself
    assert caught.value.step == "checks"
    assert str(caught.value).endswith(
        f"{name}:hangs was still loading in a clean interpreter when the publish_timeout of 4 s was"
        " over; raise publish_timeout=, or move slow work from the module into the function; nothing"
        " was deployed; what was uploaded stays at the registry"
    )
    with pytest.raises(FunctionNotFound):
        faas.function("hangs")


def test_a_name_that_is_taken_and_an_option_that_is_none_say_that_nothing_was_changed(
    faas, written
):
    module = written("pub_owner", "def owned():\n    return 1\n")
    publish(module.owned, faas)
    module = written("pub_thief", "def owned():\n    return 2\n")
    with pytest.raises(NameRefused, match=r"overwrite=True; nothing was changed$"):
        publish(module.owned, faas)
    with pytest.raises(PublishFailed, match=r"failed \(checks\): env.*; nothing was changed$"):
        publish(module.owned, faas, overwrite=True, env={"AWAY_DEPLOYMENT": "x"})
    assert value(faas, "owned") == 1


def test_comparing_says_how_what_runs_stands_to_what_is_here(faas, written):
    module = written("pub_compared", "def compared():\n    return 1\n")
    assert compare(module.compared, faas) is Standing.ABSENT
    publish(module.compared, faas)
    assert compare(module.compared, faas) is Standing.UNCHANGED
    assert compare(module.compared, faas, env={"A": "1"}) is Standing.CHANGED
    other = written("pub_compared_too", "def compared():\n    return 1\n")
    assert compare(other.compared, faas) is Standing.OTHER
    faas.deploy({"service": "compared-not", "image": "process", "envProcess": "cat"})
    assert compare(module.compared, faas, name="compared-not") is Standing.FOREIGN


def test_publishing_does_not_block_an_event_loop(faas, written):
    module = written("pub_async", "async def far():\n    return 7\n")
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def both():
        async with faas:
            task = asyncio.create_task(tick())
            published = await publish_async(module.far, faas)
            task.cancel()
            return published

    assert asyncio.run(both()).action == "created"
    assert ticks > 3
    assert value(faas, "far") == 7


def test_eight_processes_that_publish_at_once_publish_once(faas, written, tmp_path):
    module = written("pub_once", "def once():\n    return 1\n")
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; import pub_once; from away import FaasConnection;"
        "from away.publish import publish;"
        "faas = FaasConnection(sys.argv[3], user=sys.argv[4], password=sys.stdin.read());"
        "print(publish(pub_once.once, faas, verbose=False).action)"
    )
    root = str(Path(__file__).resolve().parents[1])
    arguments = [str(Path(module.__file__).parent), root, faas.url, faas.user]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for worker in workers:
        worker.stdin.write(faas.password)
        worker.stdin.close()
        worker.stdin = None
    said = [worker.communicate() for worker in workers]
    assert sorted(out.strip() for out, _ in said) == ["created"] + ["unchanged"] * 7, said


@pytest.mark.slow
def test_of_two_machines_that_publish_at_once_the_last_one_wins_whole(faas, tmp_path):
    """Each has a cache folder and a version of its own, and no lock that the other one knows."""
    faas.create_secret("pub-of-1", "a")
    faas.create_secret("pub-of-2", "b")
    code = """
        import sys
        sys.path[:0] = sys.argv[1:3]
        import pub_raced
        from away import FaasConnection
        from away.publish import publish
        faas = FaasConnection(sys.argv[3], user=sys.argv[4], password=sys.stdin.read())
        which = sys.argv[5]
        options = {"env": {"WHICH": which}, "labels": {"which": which}, "overwrite": True,
                   "secrets": ["pub-of-" + which], "annotations": {"which": which}, "check": False}
        try:
            print(publish(pub_raced.raced, faas, verbose=False, **options).action)
        except Exception as error:
            print(type(error).__name__, error)
    """
    root = str(Path(__file__).resolve().parents[1])
    source = """
        import os

        def raced():
            return [{which!r}, os.environ["WHICH"]]
    """
    for _ in range(3):
        workers = []
        for which in "12":
            machine = tmp_path / which
            machine.mkdir(exist_ok=True)
            text = textwrap.dedent(source).replace("{which!r}", repr(which))
            (machine / "pub_raced.py").write_text(text)
            arguments = [str(machine), root, faas.url, faas.user, which]
            workers.append(
                subprocess.Popen(
                    [sys.executable, "-c", textwrap.dedent(code), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "XDG_CACHE_HOME": str(machine / "cache")},
                )
            )
        for worker in workers:
            worker.stdin.write(faas.password)
            worker.stdin.close()
            worker.stdin = None
        said = [worker.communicate()[0] for worker in workers]
        code_says, environment_says = value(faas, "raced")
        info = faas.function("raced")
        request = kept_request(info.annotations)
        found = {
            code_says,
            environment_says,
            info.labels["which"],
            info.annotations["which"],
            request["envVars"]["WHICH"],
            request["secrets"][0][-1],
        }
        assert len(found) == 1, (found, said)
        assert request["image"] == info.image
        assert not any("Error" in each for each in said), said


def watched(conversation, sent):
    """Pump a conversation on, and note the requests that it sends."""
    try:
        step = next(conversation)
        while True:
            if isinstance(step, Send):
                sent.append(step.request)
            try:
                reply = yield step
            except TransportError as error:
                step = conversation.throw(error)
            else:
                step = conversation.send(reply)
    except StopIteration as stop:
        return stop.value


def test_silence_does_not_swallow_that_a_module_stays_behind(faas, written):
    module = written("pub_absent", "def absent():\n    import nowhere_to_be_found\n")
    with pytest.warns(UserWarning, match="nowhere_to_be_found is not installed here") as warned:
        publish(module.absent, faas, verbose=False)
    assert [each.filename for each in warned] == [__file__]
    publish(module.absent, faas, verbose=False)  # what is unchanged has nothing new
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        publish(module.absent, faas, verbose=True, env={"A": "b"})


def test_a_registry_that_lost_its_blobs_is_given_them_again(faas, written):
    captured = capture(written("pub_lost", "def lost():\n    return 1\n").lost)
    # As after an emptied registry: this process believes that the layer is there.
    MEMORY.add(faas.url, "away/lost", layers.function_layer(captured, docker=False).digest)
    faas.run(publish_conversation(captured, faas))
    assert value(faas, "lost") == 1


def test_the_shared_layers_are_pushed_once_in_a_process(faas, written):
    module = written("pub_shared", "def one():\n    return 1\n\ndef two():\n    return 2\n")
    publish(module.one, faas)
    sent = []
    faas.run(watched(publish_conversation(capture(module.two), faas), sent))
    uploads = [each for each in sent if each.method == "PUT" and "/blobs/" in each.path]
    assert len(uploads) == 2  # the function's own layer and the configuration


def registry_of(captured, faas) -> Registry:
    """Return the registry that a publish would push to."""
    builder = Preparation(Publisher(captured, faas, Options(), Progress())).builder
    assert isinstance(builder, RegistryBuilder)
    return builder.registry


def push_labelled_base(faas, captured, labels) -> None:
    """Push ``t/old:1``, a base as the gateway's own that says other things of itself."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    registry = registry_of(captured, faas)
    base = faas.run(registry.base(parse_image(f"away/python:{minor}"), ""))
    other = assemble(
        base, [], command=["python3"], environment={}, working_folder="/", labels=labels
    )
    faas.run(registry.mount(base.layers[0]["digest"], "away/python", "t/old"))
    faas.run(registry.upload(other.config_digest, other.config, "t/old"))
    faas.run(registry.put_manifest(other, "t/old", "1"))


def test_a_base_image_of_another_python_is_refused_before_anything_is_pushed(faas, written):
    captured = capture(written("pub_minor", "def minor():\n    return 1\n").minor)
    push_labelled_base(faas, captured, {"away.python": "3.9.1"})
    options = Options(base_image="t/old:1")
    with pytest.raises(PublishFailed, match=r"has Python 3\.9, and .* 3\.11 or later"):
        faas.run(publish_conversation(captured, faas, options))
    assert faas.run(registry_of(captured, faas).has_manifest("away/minor", "latest")) is False


def test_a_python_that_contradicts_the_base_image_is_refused_before_the_push(faas, written):
    module = written("pub_said", "def said():\n    return 1\n")
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    words = rf"has Python {re.escape(minor)}, and python='3\.99' says another"
    with pytest.raises(PublishFailed, match=words) as caught:
        publish(module.said, faas, python="3.99")
    assert caught.value.step == "base image"
    assert any("3.99" in note for note in preview(module.said, faas, python="3.99").notes)
    # Where it says the same, or the image nothing that can be read, the word counts.
    push_labelled_base(faas, capture(module.said), {"away.python": "latest"})
    for options in ({}, {"base_image": "t/old:1"}):
        publish(module.said, faas, python=f"{minor}.0", **options)
        assert faas.invoke("said", b"[]").body.strip() == b"1"


def test_a_section_of_nearly_the_functions_name_is_told(running, written, tmp_path, monkeypatch):
    module = written("pub_near", "def nc_toml():\n    return 1\n\ndef nc_tomlx():\n    return 2\n")
    monkeypatch.chdir(tmp_path)
    configure("near", url=running.url, user=running.user, password=running.password)
    try:
        faas = FaasConnection.named("near")
        table = "[gateways.near.functions.{}]\ntimeout = 20\n"
        (tmp_path / "away.toml").write_text(table.format("nc_tomll"))
        (note,) = preview(module.nc_toml, faas).notes
        assert "functions.nc_tomll of gateway 'near' sets options for no function" in note
        assert "write functions.nc_toml (" in note
        assert "away.toml line 2)" in note
        assert publish(module.nc_toml, faas).notes == (note,)
        # A section of its own, one of a neighbour's, and one that is for quite another function.
        for name in ("nc_toml", "nc_tomlx", "nc_other"):
            (tmp_path / "away.toml").write_text(table.format(name))
            assert preview(module.nc_toml, faas).notes == (), name
    finally:
        forget("near")


def push_strange_base(faas, captured) -> None:
    """Push a base that says it is Python's and that the embedded gateway cannot run."""
    registry = registry_of(captured, faas)
    layer = make_layer([("etc/strange", b"strange")], comment="strange")
    config = {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
    nothing = read_base(
        "x", "", OCI_MANIFEST, b'{"config": {}, "layers": []}', json.dumps(config).encode()
    )
    image = assemble(
        nothing, [layer], command=["sh"], environment={}, working_folder="/", labels={}
    )
    faas.run(registry.push(layer, "t/strange"))
    faas.run(registry.upload(image.config_digest, image.config, "t/strange"))
    faas.run(registry.put_manifest(image, "t/strange", "1"))


def test_a_refused_deployment_leaves_what_ran_and_says_so(faas, written):
    captured = capture(written("pub_kept", "def kept():\n    return 1\n").kept)
    push_strange_base(faas, captured)
    options = Options(base_image="t/strange:1")
    with pytest.raises(PublishFailed, match="nothing runs under that name") as caught:
        faas.run(publish_conversation(captured, faas, options))
    assert caught.value.step == "deploy"
    with pytest.raises(FunctionNotFound):
        faas.function("kept")
    faas.run(publish_conversation(captured, faas))
    at = deployed_at(faas, "kept")
    with pytest.raises(PublishFailed, match="what ran before still runs"):
        faas.run(publish_conversation(captured, faas, options))
    assert value(faas, "kept") == 1
    assert deployed_at(faas, "kept") == at


def test_a_requirement_that_the_base_lacks_is_there_for_the_function(faas, written, index):
    wheel(index, "awaytestone", "1.0")
    source = """
        def needy():
            import importlib
            return importlib.import_module("awaytestone").VERSION
    """
    module = written("pub_needy", source)
    publish(module.needy, faas, requirements=["awaytestone==1.0"])
    assert value(faas, "needy") == "1.0"


def test_no_password_is_in_what_is_pushed_and_deployed(faas, written):
    module = written("pub_quiet", "def quiet():\n    return 1\n")
    sent = []
    faas.run(watched(publish_conversation(capture(module.quiet), faas), sent))
    bodies = [
        each.body if isinstance(each.body, bytes) else b"".join(each.body)
        for each in sent
        if each.body is not None
    ]
    # Some bodies are told piece by piece, and are in the image that the gateway runs.
    assert len(bodies) >= 3
    for secret in (faas.password, base64.b64encode(f"admin:{faas.password}".encode()).decode()):
        assert not any(secret.encode() in body for body in bodies)
        assert secret not in repr(sent)


@pytest.mark.parametrize("what", ["env", "labels", "annotations"])
def test_a_known_password_in_a_deploy_request_is_refused_before_anything_is_sent(
    faas, written, what
):
    module = written("pub_told", "def told():\n    return 1\n")
    with pytest.raises(PublishFailed, match=rf"{what}\['P'\] holds a password.*secrets=") as caught:
        publish(module.told, faas, **{what: {"P": f"it is {faas.password}"}})
    assert faas.password not in str(caught.value)
    with pytest.raises(FunctionNotFound):
        faas.function("told")


def test_a_known_password_in_a_signature_is_refused_before_anything_is_sent(faas, written):
    module = written("pub_default", "def default(a, word=None):\n    return a\n")
    module.default.__defaults__ = ({"word": faas.password},)
    with pytest.raises(CaptureRefused, match=r"the default of `word`.*away\.secret"):
        publish(module.default, faas)
    with pytest.raises(FunctionNotFound):
        faas.function("default")


def test_a_method_in_a_class_body_is_refused_with_the_way_out(faas, written):
    source = """
        class D:
            def save(self, x):
                return x
    """
    module = written("pub_method", source)
    with pytest.raises(CaptureRefused, match=r"`D\.save` is a method.*staticmethod"):
        publish(module.D.save, faas)


def test_steps_are_shown_on_standard_error_alone(faas, written, capsys):
    module = written("pub_loud", "def loud():\n    return 1\n")
    publish(module.loud, faas, verbose=True)
    publish(module.loud, faas, verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == f"publishing loud on {faas.url}"
    assert lines[-2].startswith(f"created loud on {faas.url} in ")
    assert lines[-1] == f"loud on {faas.url} is unchanged: nothing to do"


def test_a_function_runs_with_just_the_layers_of_its_image(written, tmp_path):
    module = written("pub_alone", "def alone(a):\n    return [a, (1, 2)]\n")
    captured = capture(module.alone)
    for part in parts.parts_for(captured):
        unpack(layers.shared_layer(part, docker=False), tmp_path)
    unpack(layers.function_layer(captured, docker=False), tmp_path)
    modules = tmp_path / layers.MODULES_FOLDER
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # -S: no site-packages, so nothing but the standard library and the layers.
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "away.runtime"],
        cwd=modules,
        env={
            "PYTHONPATH": str(tmp_path / layers.LIBRARY_FOLDER),
            "PORT": str(port),
            "AWAY_RUNTIME": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            assert str(port) in process.stdout.readline()
            url = f"http://127.0.0.1:{port}/"
            with urllib.request.urlopen(url, data=b"- [1]\n", timeout=10) as answer:
                assert json.loads(answer.read()) == [[1], [1, 2]]
        finally:
            process.terminate()
            process.wait(10)


def unpack(layer, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(layer.data)) as archive:
        unpack_all(archive, folder)


# ---------------------------------------------------------------- other gateways


class OtherGateway(http.server.BaseHTTPRequestHandler):
    """A gateway that has no registry, and says that another provider stands behind it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        info = self.path == "/system/info"
        body = b'{"provider": {"provider": "faasd"}}' if info else b"404 page not found\n"
        if self.path.startswith("/system/function/"):
            body = b""
        self.send_response(200 if info else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def other_gateway():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherGateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        with FaasConnection(url, password="sesame-of-tests", verbose=False) as connection:
            yield connection
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_gateway_without_a_registry_is_told_by_how_to_name_one(other_gateway, written):
    module = written("pub_nowhere", "def nowhere():\n    return 1\n")
    with pytest.raises(
        PublishFailed, match=r"no registry of its own.*registry='HOST:PORT'"
    ) as caught:
        publish(module.nowhere, other_gateway)
    assert caught.value.step == "registry"
    assert "nothing was deployed" in str(caught.value)


def test_a_reference_by_a_loopback_address_is_refused_where_it_would_mean_the_container(
    other_gateway, written
):
    source = f"""
        from away import builder, FaasConnection

        faas = FaasConnection({other_gateway.url!r})
        other = builder.sync_from_name("far_function", faas)

        def calls(a):
            return other(a)
    """
    module = written("pub_calls", source)
    with pytest.raises(PublishFailed, match=r"inside a container.*inside_url="):
        publish(module.calls, other_gateway)


def test_a_reference_calls_the_other_function_from_inside(faas, written):
    source = f"""
        from away import builder, FaasConnection

        faas = FaasConnection({faas.url!r})
        doubled = builder.sync_from_name("doubled_inside", faas)

        def doubled_inside(a):
            return a * 2

        def calls_inside(a):
            return doubled(a) + 1
    """
    module = written("pub_calls_inside", source)
    publish(module.doubled_inside, faas)
    publish(module.calls_inside, faas)
    assert value(faas, "calls-inside", 4) == 9

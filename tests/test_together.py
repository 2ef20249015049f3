"""Several publishes side by side: what they share, in which order, and what one's failure leaves."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pprint import pformat

import pytest
from IPython.lib.pretty import pretty

import away.gateway
from away import FaasConnection, builder
from away.exceptions import GatewayUnreachable, PublishFailed
from away.publish import Publication, Standing, preview, publish, publish_all, publish_async
from tests import servers

AWAY = [sys.executable, "-W", "error", "-m", "away"]


@pytest.fixture(scope="module")
def gateway():
    with away.gateway.run(announce=False) as faas:
        yield faas


def connection_to(url, gateway, **options):
    return FaasConnection(
        url, user=gateway.user, password=gateway.password, verbose=False, **options
    )


@pytest.fixture
def faas(gateway, own_environment):
    return connection_to(gateway.url, gateway)


def simple(name: str, count: int) -> str:
    return "".join(f"def {name}_{number}(a):\n    return a + {number}\n" for number in range(count))


def uploads(server) -> list[str]:
    """Return the digests of the blobs that went out, as often as they did."""
    paths = [seen.path for seen in server.requests if seen.method == "PUT"]
    return [path.partition("digest=")[2] for path in paths if "digest=" in path]


def deployed(server) -> list[str]:
    """Return the functions that were asked to be deployed, in that order."""
    asked = [seen for seen in server.requests if seen.path.startswith("/system/functions")]
    names = [json.loads(seen.body)["service"] for seen in asked if seen.method in ("PUT", "POST")]
    return list(dict.fromkeys(names))


# ---------------------------------------------------------------- what they share


@pytest.mark.parametrize("way", ["threads", "tasks"])
def test_what_several_need_is_uploaded_once(own_environment, written, way):
    module = written(f"tog_{way}", simple(f"shares_{way}", 5))
    functions = [value for name, value in vars(module).items() if name.startswith("shares")]
    with (
        away.gateway.run(announce=False) as gateway,  # a registry that has nothing yet
        servers.Server(lambda seen: servers.passed_on(gateway.url, seen)) as server,
    ):
        connection = connection_to(server.url, gateway, timeout=60)
        if way == "threads":
            outcomes = publish_all(
                [Publication(each, connection) for each in functions], jobs=5, verbose=False
            )
            assert [each.error for each in outcomes] == [None] * 5
            actions = [each.published.action for each in outcomes]
        else:

            async def gathered():
                async with connection:
                    return await asyncio.gather(
                        *(publish_async(each, connection) for each in functions)
                    )

            actions = [each.action for each in asyncio.run(gathered())]
        digests = uploads(server)
    assert actions == ["created"] * 5
    # The base's layer is mounted; runtime and PyYAML go out once, a function's own layer and
    # configuration once each.
    assert len(digests) == len(set(digests))
    assert len(digests) >= 2 + 2 * 5


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with one small wheel that pip takes for the whole package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    described = "awaytogether-1.0.dist-info"
    files = {
        "awaytogether.py": "VERSION = '1.0'\n",
        f"{described}/METADATA": "Metadata-Version: 2.1\nName: awaytogether\nVersion: 1.0\n",
        f"{described}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / "awaytogether-1.0-py3-none-any.whl", "w") as archive:
        for member, text in files.items():
            archive.writestr(member, text)
        archive.writestr(f"{described}/RECORD", "".join(f"{member},,\n" for member in files))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.mark.usefixtures("index")
def test_requirements_of_several_are_fetched_once(faas, written, monkeypatch):
    fetched = []
    real = subprocess.Popen.__init__

    def counted(process, command, *rest, **options):
        if "download" in command:
            fetched.append(command)
        real(process, command, *rest, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", counted)
    module = written("tog_fetch", simple("fetches", 3))
    options = {"requirements": ["awaytogether==1.0"]}
    outcomes = publish_all(
        [Publication(getattr(module, f"fetches_{each}"), faas, options) for each in range(3)],
        verbose=False,
    )
    assert [each.error for each in outcomes] == [None] * 3
    assert len(fetched) == 1


# ---------------------------------------------------------------- order


CALLING = """
    from away import FaasConnection, builder

    faas = FaasConnection.named("shop")

    @builder.publish(faas)
    def first_calls(a):
        return second_called(a) + 1

    @builder.publish(faas)
    def second_called(a):
        return third_called(a) * 2

    @builder.publish(faas)
    def third_called(a):
        return a

    @builder.publish(faas)
    def ping(a):
        return pong(a - 1) if a else "ping"

    @builder.publish(faas)
    def pong(a):
        return ping(a - 1) if a else "pong"
"""


@pytest.fixture
def shop(own_environment, monkeypatch):
    """Point the configured gateway ``shop`` somewhere."""

    def point(url, gateway):
        monkeypatch.setenv("AWAY_GATEWAY_SHOP_URL", url)
        monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD", gateway.password)

    return point


def test_a_function_that_calls_another_one_is_deployed_after_it(gateway, shop, tmp_path):
    (tmp_path / "calls.py").write_text(textwrap.dedent(CALLING))
    with servers.Server(lambda seen: servers.passed_on(gateway.url, seen)) as server:
        shop(server.url, gateway)
        ran = run("publish", "calls.py", "--quiet", cwd=tmp_path)
        order = deployed(server)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        f"created {name}"
        for name in ("first-calls", "second-called", "third-called", "ping", "pong")
    ]
    assert order.index("third-called") < order.index("second-called") < order.index("first-calls")
    faas = connection_to(gateway.url, gateway)
    # Another process published them: the list that this one keeps may be older.
    assert {each.name for each in faas.functions(fresh=True)} >= {"ping", "pong"}
    assert builder.sync_from_name("third-called", faas)(3) == 3


def run(*words, cwd, **environment):
    return subprocess.run(
        [*AWAY, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=60,
    )


def test_one_job_goes_by_the_order_of_the_file(gateway, own_environment, written):
    module = written("tog_order", simple("ordered", 4))
    with servers.Server(lambda seen: servers.passed_on(gateway.url, seen)) as server:
        connection = connection_to(server.url, gateway, timeout=60)
        wanted = [Publication(getattr(module, f"ordered_{each}"), connection) for each in range(4)]
        outcomes = publish_all(wanted, jobs=1, verbose=False)
        assert deployed(server) == [each.name for each in outcomes]
    assert [each.name for each in outcomes] == [f"ordered-{each}" for each in range(4)]


# ---------------------------------------------------------------- failures


def test_one_that_fails_stops_no_other(faas, written):
    module = written(
        "tog_fails",
        """
        import threading
        LOCK = threading.Lock()
        def make():
            lock = LOCK
            def cannot_travel(): return lock
            return cannot_travel
        def lacks_secret(a): return a
        def works(a): return a
        """,
    )
    outcomes = publish_all(
        [
            Publication(module.make(), faas),
            Publication(module.lacks_secret, faas, {"secrets": ["tog-absent"]}),
            Publication(module.works, faas, {"overwrit": True}),
            Publication(module.works, faas),
        ],
        verbose=False,
    )
    assert [type(each.error).__name__ for each in outcomes[:2]] == [
        "CaptureRefused",
        "PublishFailed",
    ]
    assert isinstance(outcomes[2].error, TypeError)
    assert outcomes[3].published.action == "created"
    assert builder.sync_from_name("works", faas)(5) == 5


def test_the_time_for_each_bounds_its_check_in_a_clean_interpreter(faas, written):
    module = written(
        "tog_hangs",
        """
        import os, time
        if os.environ.get("AWAY_RUNTIME"): time.sleep(1000)
        def hangs_one(): return 1
        def hangs_two(): return 2
        """,
    )
    works = written("tog_hangs_not", "def hangs_not(): return 3")
    begun = time.monotonic()
    outcomes = publish_all(
        [
            Publication(module.hangs_one, faas, {"publish_timeout": 5}),
            Publication(module.hangs_two, faas, {"publish_timeout": 6}),
            Publication(works.hangs_not, faas),
        ],
        verbose=False,
    )
    assert time.monotonic() - begun < 30
    for outcome, seconds in zip(outcomes, (5, 6), strict=False):
        assert isinstance(outcome.error, PublishFailed)
        assert f"publish_timeout of {seconds} s was over; raise publish_timeout=" in str(
            outcome.error
        )
        assert "; nothing was deployed; what was uploaded stays" in str(outcome.error)
    assert outcomes[2].published.action == "created"


FAILING = """
    from away import FaasConnection, builder

    faas = FaasConnection.named("shop")

    @builder.publish(faas, secrets=["tog-absent"])
    def broken_one(a): return a

    @builder.publish(faas)
    def whole_one(a): return a

    @builder.publish(faas, secrets=["tog-absent-too"])
    def broken_two(a): return a
"""


def test_the_command_says_which_failed_and_by_its_code_that_some_did(gateway, shop, tmp_path):
    (tmp_path / "fails.py").write_text(textwrap.dedent(FAILING))
    shop(gateway.url, gateway)
    ran = run("publish", "fails.py", "--jobs", "2", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "created whole-one\n")
    lines = ran.stderr.splitlines()
    assert lines[-1] == "away: 2 of 3 functions were not published: broken-one, broken-two"
    assert lines[-3].startswith("away: publishing broken-one on ")
    assert lines[-2].startswith("away: publishing broken-two on ")

    ran = run("publish", "fails.py", "--json", cwd=tmp_path)
    records = json.loads(ran.stdout)
    assert [each["action"] for each in records] == ["failed", "unchanged", "failed"]
    assert "tog-absent-too" in records[2]["error"]
    assert ran.returncode == 1

    ran = run("publish", "fails.py:broken_one", "-q", cwd=tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)


# ---------------------------------------------------------------- interrupted


STOPPED = """
    from away import FaasConnection, builder

    faas = FaasConnection.named("shop")

    @builder.publish(faas)
    def stopped_first(a): return a

    @builder.publish(faas)
    def stopped_second(a): return a
"""


def interrupted(server, reached, *words, cwd):
    """Run a command, interrupt it once a request has come, and return code, output and errors."""
    process = subprocess.Popen(
        [*AWAY, *words], cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    timer = threading.Timer(40, process.kill)
    timer.start()
    try:
        assert reached.wait(30), process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        timer.cancel()
    return process.returncode, out, err


CUTS = {
    "push": ("/v2/away/stopped-second/manifests/", "was not deployed; what was uploaded of it"),
    "ready": ("/function/stopped-second/", "was being deployed: the gateway may go on with it"),
}


@pytest.mark.parametrize("step", CUTS)
def test_an_interrupted_publish_says_what_it_changed_and_goes_on_the_next_time(
    gateway, shop, tmp_path, step
):
    name = f"stops_{step}"
    source = textwrap.dedent(STOPPED).replace("stopped_", f"{name}_")
    (tmp_path / f"{name}.py").write_text(source)
    prefix, says = CUTS[step]
    prefix = prefix.replace("stopped-", f"stops-{step}-")
    reached, missing = threading.Event(), {"first", "second"}

    def script(seen):
        cut = seen.path.startswith(prefix) and seen.method in ("GET", "PUT")
        if cut:
            missing.discard("second")
        if seen.path.startswith(f"/function/stops-{step}-first/"):
            missing.discard("first")
        if not missing:
            # A little later, so that the first has its answer and is done.
            threading.Timer(1.0, reached.set).start()
        if cut:
            return servers.hang() if step == "push" else servers.answer(503, b"not yet")
        return servers.passed_on(gateway.url, seen)

    with servers.Server(script) as server:
        shop(server.url, gateway)
        code, out, err = interrupted(server, reached, "publish", f"{name}.py", "-q", cwd=tmp_path)
        assert (code, out) == (130, "")
        assert err.count("\n") == 1
        assert f"stops-{step}-first is created" in err
        assert f"stops-{step}-second {says}" in err
        assert err.rstrip().endswith("the same command goes on from here")
    shop(gateway.url, gateway)
    ran = run("publish", f"{name}.py", "-q", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    faas = connection_to(gateway.url, gateway)
    assert builder.sync_from_name(f"stops_{step}_second", faas)(7) == 7


# ---------------------------------------------------------------- dry run


LOOKED_AT = """
    import yaml
    API_TOKEN = "abcdefgh-hidden-value"

    def looked_at(a):
        return yaml, a

    def outer():
        options = {"password": "hidden-too"}
        def inner(a):
            return options, a
        return inner
"""


def test_a_dry_run_tells_all_and_changes_nothing(gateway, own_environment, written):
    module = written("tog_dry", LOOKED_AT)
    with servers.Server(lambda seen: servers.passed_on(gateway.url, seen)) as server:
        faas = connection_to(server.url, gateway)
        report = preview(
            module.looked_at,
            faas,
            env={"MODE": "fast", "DB_PASSWORD": "hidden-as-well"},
            secrets={"tog-new": "hidden-secret"},
            requirements=["idna"],
        )
        methods = {seen.method for seen in server.requests}
    assert methods <= {"GET", "HEAD"}
    assert report.standing is Standing.ABSENT
    text = report.listing()
    assert f"gateway      {server.url}: would be created" in text
    assert "layer        away's runtime: " in text
    assert "layer        function: " in text
    assert "in the base image: tog_dry.py, line 2, imports yaml" in text
    assert "option       envVars: DB_PASSWORD=•••, MODE=fast" in text
    assert "secret       tog-new: would be created" in text
    assert "looks like a secret: tog_dry.py, line 3, API_TOKEN has the name of a secret" in text
    told = text + json.dumps(report.as_dict())
    assert "hidden" not in told
    layers = {each.part: each for each in report.layers}
    assert layers["function"].files >= 2
    assert all(each.size > 0 for each in report.layers)


def test_no_repr_of_what_is_captured_or_published_shows_what_is_in_it(faas, written):
    module = written("tog_reprs", LOOKED_AT)
    function, options = module.outer(), {"name": "reprs", "env": {"DB_PASSWORD": "hidden-as-well"}}
    report = preview(function, faas, **options)
    captured, publication = report.captured, Publication(function, faas, options)
    published = publish(function, faas, **options)
    payload = captured.payload.decode("latin-1")
    assert "hidden" in payload
    for each in (report, captured, *captured.files, publication, published):
        shown = (repr(each), str(each), f"{each}", repr([each]), pformat(each), pretty(each))
        assert not any("hidden" in text for text in shown), shown
        assert len(repr(each)) < 300, each
        assert type(each).__name__ in repr(each)
    assert str(report) == report.listing() == pretty(report)
    assert str(captured) == captured.listing() == pretty(captured)
    module = written("tog_reprs_by_name", LOOKED_AT)
    (file,) = preview(module.looked_at, faas).captured.files
    assert "hidden" in file.data.decode()
    assert "hidden" not in repr(file)


def test_a_dry_run_knows_what_would_become_of_what_is_there(faas, written):
    module = written("tog_standing", "def standing_here(a):\n    return a\n")
    assert preview(module.standing_here, faas).standing is Standing.ABSENT
    publish(module.standing_here, faas)
    assert preview(module.standing_here, faas).would == "unchanged, nothing would be done"
    assert preview(module.standing_here, faas, env={"A": "b"}).would == "would be updated"
    other = written("tog_other", "def standing_here(a):\n    return -a\n").standing_here
    assert "belongs to tog_standing:standing_here" in preview(other, faas).would
    assert preview(other, faas, overwrite=True).would.startswith("would replace what is there")


def test_a_value_that_looks_like_a_secret_is_told_by_its_name_alone(faas, written):
    module = written("tog_values", LOOKED_AT)
    report = preview(module.outer(), faas, name="inner")
    assert [(each.where, each.what) for each in report.suspects] == [
        ("the value options", "has an entry that has the name of a secret")
    ]
    assert "value        options: dict, " in report.listing()
    assert "hidden" not in report.listing() + repr(report.as_dict())


def test_a_dry_run_without_a_gateway_notes_what_is_not_known(own_environment, written, tmp_path):
    module = written("tog_offline", "def offline(a):\n    return a\n")
    package = tmp_path / "project" / "tog_pack"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("def packed(a):\n    return a\n")
    (package / "data" / "table.csv").write_text("1\n")
    (package / "server.key").write_text("key\n")
    (package / ".git").mkdir()
    (package / ".git" / "config").write_text("x\n")
    with servers.refusing() as port:
        faas = FaasConnection(f"http://127.0.0.1:{port}", verbose=False)
        report = preview(module.offline, faas)
        with pytest.raises(GatewayUnreachable):
            publish(module.offline, faas)
        packed = preview(importlib.import_module("tog_pack").packed, faas)
    assert report.standing is None
    assert any(note.startswith("what the gateway has") for note in report.notes)
    assert any("has none of the requirements" in note for note in report.notes)
    assert [each.part for each in report.layers][-1] == "function"
    assert set(packed.left_out) == {"tog_pack/.git/", "tog_pack/server.key"}
    assert {each.path for each in packed.captured.files} == {
        "tog_pack/__init__.py",
        "tog_pack/data/table.csv",
    }


UNSAFE = """
from away import FaasConnection, builder

shop = FaasConnection.named("shop")

@builder.publish(shop, safe_args=False)
def takes_pickles(value):
    return value

@builder.publish(shop)
def takes_none(value):
    return value
"""


@pytest.mark.parametrize("form", [(), ("--json",), ("--quiet",), ("--dry-run",)])
def test_the_command_says_which_functions_run_whoevers_code(gateway, shop, tmp_path, form):
    stem = f"unsafe_{len(''.join(form))}"
    source = UNSAFE.replace("takes_", f"{stem}_takes_")
    (tmp_path / f"{stem}.py").write_text(source)
    shop(gateway.url, gateway)
    ran = run("publish", f"{stem}.py", *form, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout + ran.stderr
    assert told.count("published with safe_args=False: whoever can reach it on") == 1
    before = told.partition("published with safe_args=False")[0]
    assert "takes-none: " not in before.splitlines()[-1]


def test_the_command_shows_a_dry_run_of_all_functions(gateway, shop, tmp_path):
    source = FAILING.replace("broken_", "dry_broken_").replace("whole_", "dry_whole_")
    (tmp_path / "dry.py").write_text(textwrap.dedent(source))
    shop(gateway.url, gateway)
    ran = run("publish", "dry.py", "--dry-run", cwd=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    names = [line.partition(":")[0] for line in ran.stdout.splitlines() if line[0] != " "]
    assert names == ["dry-broken-one", "dry-whole-one", "dry-broken-two"]
    assert "secret       tog-absent: is missing: create it first" in ran.stdout
    ran = run("publish", "dry.py", "--dry-run", "--json", cwd=tmp_path)
    assert [each["standing"] for each in json.loads(ran.stdout)] == ["absent"] * 3
    assert not [each for each in gateway.functions() if each.name.startswith("dry-")]
    source = source.replace('secrets=["tog-absent"]', 'labels={"key": 5}')
    (tmp_path / "dry.py").write_text(textwrap.dedent(source))
    ran = run("publish", "dry.py", "--dry-run", cwd=tmp_path)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
    assert "labels" in ran.stderr
    assert "dry-whole-one: dry:dry_whole_one" in ran.stdout


def test_a_registry_that_refuses_leaves_the_others_of_a_dry_run(gateway, faas, written):
    module = written("tog_base", "def based(a):\n    return a\n")
    with contextlib.suppress(PublishFailed):
        report = preview(module.based, faas, base_image="away/absent:9")
        assert any("the base image could not be looked at" in note for note in report.notes)
        assert report.layers

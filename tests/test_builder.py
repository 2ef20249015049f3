"""The decorators: what they leave, what AWAY_PUBLISH keeps them from, and workers that race."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
import warnings

import pytest

import away
from away import FaasConnection, builder
from away.exceptions import ConfigError, FunctionNotFound, UnsafeWarning
from tests import servers

APP = """
    from away import FaasConnection, builder

    @builder.publish(FaasConnection.named("shop"), verbose=False)
    def built(n: int) -> int:
        return n + FACTOR

    FACTOR = 1

    if __name__ == "__main__":
        print(built(1))
"""


@pytest.fixture(scope="module")
def gateway():
    with away.gateway.run(announce=False) as faas:
        yield faas


@pytest.fixture
def faas(gateway, own_environment, monkeypatch):
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_URL", gateway.url)
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD", gateway.password)
    return FaasConnection(gateway.url, user=gateway.user, password=gateway.password)


def app(folder, source=APP, name="app.py"):
    file = folder / name
    file.write_text(textwrap.dedent(source))
    return file


def run(*words, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done


# The function stands above its constant in APP, so that its module has to be finished first.
ORDERED = APP.replace("    FACTOR = 1\n\n", "").replace(
    "    @builder", "    FACTOR = 1\n\n    @builder"
)


def test_with_never_a_decorator_makes_the_proxy_alone_and_warns(faas, monkeypatch):
    monkeypatch.setenv("AWAY_PUBLISH", "never")
    with pytest.warns(RuntimeWarning, match=r"AWAY_PUBLISH=never.*`kept` is absent"):

        @builder.publish(faas)
        def kept(n):
            return n

    with pytest.raises(FunctionNotFound):
        kept(1)
    assert builder.declared[-1].function.__name__ == "kept"
    monkeypatch.setenv("AWAY_PUBLISH", "sometimes")
    with pytest.raises(ConfigError, match="'auto' or 'never'"):
        builder.publish(faas)(lambda: None)


@pytest.mark.slow
def test_what_away_publish_deployed_is_what_a_script_and_a_worker_want(faas, tmp_path):
    file = app(tmp_path, ORDERED)
    said = run("-m", "away", "publish", file, cwd=tmp_path)
    assert "created built" in said.stdout + said.stderr
    again = run("-m", "away", "publish", file, cwd=tmp_path)
    assert "unchanged" in again.stdout + again.stderr
    quiet = ("-W", "error::RuntimeWarning")
    assert run(*quiet, file, cwd=tmp_path, AWAY_PUBLISH="never").stdout == "2\n"
    assert run(*quiet, "-m", "app", cwd=tmp_path, AWAY_PUBLISH="never").stdout == "2\n"
    imported = "import app; print(app.built(5))"
    assert run(*quiet, "-c", imported, cwd=tmp_path, AWAY_PUBLISH="never").stdout == "6\n"

    app(tmp_path, ORDERED.replace("n + FACTOR", "n - FACTOR"))
    changed = run("-c", imported, cwd=tmp_path, AWAY_PUBLISH="never")
    assert changed.stdout == "6\n"
    assert "AWAY_PUBLISH=never" in changed.stderr
    assert "changed" in changed.stderr


@pytest.mark.slow
def test_what_a_script_published_itself_is_unchanged_for_away_publish(faas, tmp_path):
    source = ORDERED.replace("built", "itself")
    file = app(tmp_path, source)
    assert run(file, cwd=tmp_path).stdout == "2\n"
    for words in (("-m", "away", "publish", file), (file,), ("-m", "away", "publish", file)):
        said = run(*words, cwd=tmp_path)
        if words[0] == "-m":
            assert "unchanged" in said.stdout + said.stderr
    # Of whatever else is another, it is an update.
    for old, new in (
        ("n + F", "n - F"),
        ("verbose=F", "env={'A': 'b'}, verbose=F"),
        ("n: int)", "n: int = 3)"),
    ):
        source = source.replace(old, new, 1)
        app(tmp_path, source)
        said = run("-m", "away", "publish", file, cwd=tmp_path)
        assert "updated" in said.stdout + said.stderr, new
        assert run(file, cwd=tmp_path).returncode == 0
        said = run("-m", "away", "publish", file, cwd=tmp_path)
        assert "unchanged" in said.stdout + said.stderr, new


@pytest.mark.slow
def test_eight_workers_that_import_a_publishing_module_publish_it_once(faas, tmp_path):
    source = ORDERED.replace("built", "shared").replace("verbose=False", "verbose=True")
    app(tmp_path, source, "worker.py")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", "import worker; print(worker.shared(2))"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for _ in range(8)
    ]
    said = [worker.communicate(timeout=120) for worker in workers]
    assert [out for out, _ in said] == ["3\n"] * 8, said
    verdicts = " ".join(err for _, err in said)
    assert verdicts.count("created shared") == 1
    assert verdicts.count("unchanged") == 7


def test_a_decorator_takes_no_connection_or_one_and_nothing_else(faas):
    away.configure("default", url=faas.url, user=faas.user, password=faas.password)
    try:

        @builder.faas_function
        def bare(n): ...

        @builder.faas_function()
        def called(n): ...

        assert bare.connection.url == called.connection.url == faas.url
    finally:
        away.config.forget("default")
    with pytest.raises(ConfigError, match="type int was given"):
        builder.publish(5)
    with pytest.raises(TypeError, match="did you mean 'overwrite'"):
        builder.publish(faas, overwrit=True)(lambda: None)
    with pytest.raises(TypeError, match=r"mirror_in_faas\(\) got .*; did you mean 'fallback'"):
        builder.mirror_in_faas(lambda: None, faas, falback=True)


def test_a_proxy_is_not_published_again(faas):
    with pytest.raises(ConfigError, match="is remote already"):
        builder.mirror_in_faas(builder.sync_from_name("f", faas), faas)


def test_unsafe_arguments_are_warned_of_where_they_are_asked_for(faas):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        builder.mirror_in_faas(sum, faas, name="summing", safe_args=False, verbose=False)
    (warning,) = [each for each in caught if each.category is UnsafeWarning]
    assert warning.filename == __file__
    assert "can run code" in str(warning.message)


def test_inside_a_container_the_decorators_leave_a_function_as_it_is(faas, monkeypatch):
    monkeypatch.setenv("AWAY_RUNTIME", "1")

    def local(n):
        return n

    assert builder.publish(faas)(local) is local
    assert builder.mirror_in_faas(local, faas) is local


@pytest.mark.slow
def test_running_a_script_and_away_publish_do_not_undo_each_other(faas, tmp_path):
    source = ORDERED.replace("built", "agreed").replace("verbose=False", "verbose=True")
    file = app(tmp_path, source)
    assert "created agreed" in run(file, cwd=tmp_path).stderr
    # By value from the running script, by name from the command, and each knows the other's.
    said = run("-m", "away", "publish", file, cwd=tmp_path)
    assert "unchanged agreed" in said.stdout + said.stderr
    at = faas.function("agreed").created_at
    for words in ((file,), ("-m", "app"), ("-m", "away", "publish", file)):
        said = run(*words, cwd=tmp_path)
        assert "unchanged" in said.stdout + said.stderr
    assert faas.function("agreed").created_at == at
    app(tmp_path, source.replace("n + FACTOR", "n - FACTOR"))
    said = run(file, cwd=tmp_path)
    assert "updated agreed" in said.stderr
    assert said.stdout == "0\n"


def test_with_never_a_deaf_gateway_is_waited_for_once_and_by_connect_timeout(monkeypatch):
    monkeypatch.setenv("AWAY_PUBLISH", "never")
    with servers.Server(servers.hang()) as server:
        deaf = FaasConnection(
            server.url, password="sesame-of-tests", timeout=60, connect_timeout=0.3
        )

        def declare():
            for number in range(3):
                builder.publish(deaf, name=f"deaf_{number}")(lambda: 1)

        begun = time.monotonic()
        with pytest.warns(RuntimeWarning) as caught:
            declare()
        assert time.monotonic() - begun < 3
        assert len(server.requests) == 1
    (warning,) = caught
    assert "`deaf-0` could not be compared" in str(warning.message)
    assert "nothing more is compared with that gateway" in str(warning.message)


def test_with_never_the_warning_has_the_name_at_the_gateway(faas, monkeypatch):
    monkeypatch.setenv("AWAY_PUBLISH", "never")
    with pytest.warns(RuntimeWarning, match="`its-own-name` is absent"):
        builder.publish(faas, name="its_own_name")(lambda: 1)


@pytest.mark.parametrize(
    ("use", "option"),
    [
        (builder.faas_function, "replace_underscore"),
        (builder.publish, "server_pack_args"),
        (builder.publish, "server_unpack_args"),
    ],
)
def test_an_option_of_the_project_of_2023_is_told_what_has_come_of_it(faas, use, option):
    with pytest.raises(TypeError, match=f"'{option}', which is not needed any more: "):
        use(faas, **{option: None})(lambda: 1)


def test_a_connection_and_a_function_that_changed_places_are_told_apart(faas):
    with pytest.raises(ConfigError, match="type function was given"):
        builder.mirror_in_faas(faas, lambda n: n)
    with pytest.raises(ConfigError, match="type str was given"):
        builder.sync_from_name("f", "http://127.0.0.1:8080")


# ---------------------------------------------------------------- in an event loop


def test_publishing_in_an_event_loop_gives_what_the_decorator_gives_and_lets_others_run(faas):
    factor = 3

    def scaled(n: int) -> int:
        """Scale."""
        return n * factor

    async def shouted(text: str) -> str:
        return text.upper()

    async def both():
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        counting = asyncio.create_task(count())
        options = {"verbose": False, "idempotent": True}
        proxies = await asyncio.gather(
            builder.publish_async(scaled, faas, **options),
            builder.publish_async(shouted, faas, name="shouting", verbose=False),
        )
        counting.cancel()
        return turns, *proxies, await proxies[1]("x")

    turns, far, shouting, said = asyncio.run(both())
    assert far(2) == 6
    assert far.__doc__ == "Scale."
    assert repr(far) == f"<remote function scaled on {faas.url}>"
    assert (said, shouting.function_name) == ("X", "shouting")
    assert turns > 20
    assert scaled(2) == 6


def test_never_and_what_is_remote_already_hold_in_an_event_loop_too(faas, monkeypatch):
    remote = builder.sync_from_name("f", faas)
    with pytest.raises(ConfigError, match="remote already"):
        asyncio.run(builder.publish_async(remote, faas))
    monkeypatch.setenv("AWAY_PUBLISH", "never")

    def unpublished():
        return 1

    with pytest.warns(RuntimeWarning, match=r"`unpublished` is absent") as warned:
        far = asyncio.run(builder.publish_async(unpublished, faas))
    assert warned[0].filename in (__file__, asyncio.events.__file__)
    with pytest.raises(FunctionNotFound):
        far()
    monkeypatch.setenv("AWAY_RUNTIME", "1")
    assert asyncio.run(builder.publish_async(unpublished, faas)) is unpublished

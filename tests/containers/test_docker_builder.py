"""The docker builder against a real engine, real registries and functions in real containers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time

import pytest

import away.publish as publishing
from away import FaasConnection
from away.exceptions import AuthenticationRefused, AwayError, PublishFailed
from away.publish.progress import Progress
from tests.containers import engine, registries, sources
from tests.places import Place

BASE = f"{registries.REPOSITORY}:{registries.TAG}"


@pytest.fixture
def here(container_gateway, registry, base_image, own_environment, tmp_path_factory, monkeypatch):
    """A gateway with containers, the open registry, and the docker builder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    options = {"registry": registry, "base_image": base_image, "image_builder": "docker"}
    with FaasConnection(
        container_gateway.url, user=container_gateway.user, password=container_gateway.password
    ) as faas:
        made = Place(faas, options)
        yield made
        made.clear()


def inspected(image: str) -> dict:
    return json.loads(engine.docker("image", "inspect", image))[0]


def image_of(place: Place, word: str) -> str:
    return place.faas.function(place.name(word)).image


def dangling() -> set[str]:
    listed = engine.docker("images", "--quiet", "--no-trunc", "--filter", "dangling=true")
    return set(listed.split())


# ---------------------------------------------------------------- what it makes


def test_an_image_is_built_pushed_and_runs(here):
    @here.publish("plain")
    def plain(a, b):
        return a + b

    assert plain(1, 2) == 3
    image = image_of(here, "plain")
    name, _, digest = image.partition("@")
    local = inspected(name)
    assert f"{name.rpartition(':')[0]}@{digest}" in local["RepoDigests"]
    config = local["Config"]
    assert config["Cmd"] == ["python3", "-m", "away.runtime"]
    assert not config["Entrypoint"]
    assert config["WorkingDir"] == "/opt/away/function/modules"
    assert "8080/tcp" in config["ExposedPorts"]
    assert config["Labels"]["away.builder"] == "docker"
    assert config["Labels"]["built-with"] == "away"
    assert here.faas.password not in json.dumps(local)


def test_a_changed_function_adds_one_layer_and_an_unchanged_one_is_left_alone(here):
    def publish(number):
        @here.publish("changing")
        def changing():
            return number

        return changing

    assert publish(1)() == 1
    first = inspected(image_of(here, "changing").partition("@")[0])["RootFS"]["Layers"]
    assert publish(2)() == 2
    image = image_of(here, "changing")
    second = inspected(image.partition("@")[0])["RootFS"]["Layers"]
    assert first[:-1] == second[:-1]
    assert first != second
    assert publish(2)() == 2
    assert image_of(here, "changing") == image


def test_an_event_loop_goes_on_while_the_engine_works(here):
    def turned(text):
        return text[::-1]

    ticks = 0

    async def main():
        nonlocal ticks

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.02)
                ticks += 1

        beside = asyncio.create_task(tick())
        name = here.name("turned")
        await publishing.publish_async(turned, here.faas, name=name, verbose=False, **here.options)
        beside.cancel()

    asyncio.run(main())
    assert ticks > 10
    assert here.faas.function(here.name("turned")).image


def test_the_gateways_own_registry_takes_the_gateways_login(here):
    options = {**here.options, "registry": None}
    name = here.name("own")

    def own():
        return "own"

    done = publishing.publish(own, here.faas, name=name, verbose=False, **options)
    assert done.image.startswith(here.faas.url.partition("://")[2])


def test_a_base_is_pulled_and_pushed_to_a_registry_with_a_password(here, locked_registry):
    name = f"{locked_registry.host}/{BASE}"
    subprocess.run(["docker", "rmi", name], capture_output=True, check=False)
    auth = (locked_registry.user, locked_registry.password)
    options = {**here.options, "registry": locked_registry.host, "base_image": name}

    def locked():
        return 1

    with pytest.raises(AuthenticationRefused, match="docker login") as told:
        publishing.publish(locked, here.faas, name=here.name("no-login"), verbose=False, **options)
    assert locked_registry.password not in str(told.value)
    # The base could not be pulled: nothing went anywhere.
    assert str(told.value).endswith("; nothing was deployed")
    wrong = {**options, "registry_auth": ("ada", "wrong-password-of-ada")}
    with pytest.raises(AuthenticationRefused) as told:
        publishing.publish(locked, here.faas, name=here.name("wrong"), verbose=False, **wrong)
    assert str(told.value).endswith("; nothing was deployed")
    assert "wrong-password" not in f"{told.value!r} {told.value}"
    at_hand = {**wrong, "base_image": here.options["base_image"]}
    refused = pytest.raises(AuthenticationRefused, match=r"answered 401 .*; nothing was deployed$")
    with refused:
        publishing.publish(locked, here.faas, name=here.name("at-hand"), verbose=False, **at_hand)
    seen: list[str] = []

    class Listener:
        def begun(self, name):
            seen.append(name)

        def ended(self, step): ...
        def sent(self): ...
        def detail(self, text):
            seen.append(text)

    captured = publishing.captured_of(locked, publishing.Options(name=here.name("locked")))
    given = publishing.Options(
        name=here.name("locked"), check=False, registry=locked_registry.host, base_image=name,
        image_builder="docker",
    )  # fmt: skip
    from away.publish.keywords import read_options

    given = given._replace(registry_auth=read_options({"registry_auth": auth}).registry_auth)
    conversation = publishing.publish_conversation(
        captured, here.faas, given, progress=Progress(Listener())
    )
    # Whether that gateway can pull without a login is not what counts here.
    with contextlib.suppress(PublishFailed):
        here.faas.run(conversation)
    assert "deploy" in seen
    local = f"{locked_registry.host}/away/{here.name('locked')}"
    tag = engine.docker("images", "--format", "{{.Tag}}", local).split()[0]
    told = json.dumps(inspected(f"{local}:{tag}")) + engine.docker("history", f"{local}:{tag}")
    assert locked_registry.password not in told + " ".join(seen)


# ---------------------------------------------------------------- steps of the user's own


def test_a_dockerfile_is_built_and_becomes_the_base(here, base_image, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY . /data/\nENV FROM_THE_FILE=yes\nUSER 1000\n"
    )
    (tmp_path / ".dockerignore").write_text("*.log\n")
    (tmp_path / "words.txt").write_text("one")
    (tmp_path / "noise.log").write_text("x")

    def publish():
        @here.publish("with-file", dockerfile=tmp_path / "Dockerfile")
        def with_file():
            import os

            with open("/data/words.txt") as file:
                text = file.read()
            return text, sorted(os.listdir("/data")), os.environ["FROM_THE_FILE"], os.getuid()

        return with_file

    listed = [".dockerignore", "Dockerfile", "words.txt"]
    assert publish()() == ("one", listed, "yes", 1000)
    before = image_of(here, "with-file")
    (tmp_path / "noise.log").write_text("y")
    publish()
    assert image_of(here, "with-file") == before
    (tmp_path / "words.txt").write_text("two")
    assert publish()()[0] == "two"


@pytest.mark.slow
def test_packages_of_the_system_are_installed(here):
    @here.publish("with-tree", system_packages=["tree"])
    def with_tree():
        import shutil
        import subprocess

        found = shutil.which("tree")
        return subprocess.run([found, "--version"], capture_output=True, text=True).stdout

    assert with_tree().startswith("tree v")


@pytest.mark.slow
def test_a_requirement_without_a_wheel_is_built_and_no_compiler_stays(here, tmp_path):
    sources.write_index(tmp_path)
    (tmp_path / "Dockerfile").write_text(sources.DOCKERFILE)

    @here.publish(
        "with-extension",
        dockerfile=tmp_path,
        system_packages=["python3-pip"],
        enable_dev_building=True,
        requirements=[sources.REQUIREMENT],
        publish_timeout=600,
    )
    def with_extension():
        import shutil

        import away_test_extension

        return away_test_extension.answer(), shutil.which("gcc"), shutil.which("make")

    assert with_extension() == (42, None, None)


def test_without_pip_in_the_base_building_is_refused_with_the_ways_out(here):
    with pytest.raises(PublishFailed, match=r"has no pip.*system_packages=\['python3-pip'\]"):

        @here.publish("no-pip", enable_dev_building=True, requirements=[sources.REQUIREMENT])
        def no_pip():
            return 1


# ---------------------------------------------------------------- what goes wrong


@pytest.fixture
def running(here):
    """A function that runs, whatever becomes of the next publish of its name."""

    @here.publish("kept")
    def kept():
        return "as before"

    def fails(match: str, **options) -> PublishFailed:
        with pytest.raises(AwayError, match=match) as told:

            @here.publish("kept", overwrite=True, **options)
            def kept():
                return "another"

        assert running() == "as before"
        assert "\n" not in str(told.value)
        return told.value

    running = kept
    return fails


def test_no_engine_is_one_sentence_with_where_it_was_looked_for(running, monkeypatch, tmp_path):
    for host, shown in (
        (f"unix://{tmp_path}/no.sock", f"DOCKER_HOST=unix://{tmp_path}/no.sock"),
        ("tcp://ada:a-password-in-it@127.0.0.1:1", r"DOCKER_HOST=tcp://127\.0\.0\.1:1"),
        ("nonsense", "DOCKER_HOST=nonsense"),
    ):
        monkeypatch.setenv("DOCKER_HOST", host)
        error = running(f"no container engine answers at {shown}.*image_builder='registry'")
        assert "a-password-in-it" not in str(error)
        assert "still runs" in str(error)


def test_a_step_that_fails_is_told_with_its_last_lines_and_leaves_nothing(running, tmp_path):
    unique = f"{time.time_ns()}"
    (tmp_path / "Dockerfile").write_text(
        f"ARG BASE_IMAGE\nFROM $BASE_IMAGE\nRUN echo {unique} > /made\n"
        "RUN for n in 1 2 3; do echo complaint $n; done; exit 7\n"
    )
    before = dangling()
    error = running(
        r"'Step 4/5 : RUN for n .*code: 7.*complaint 2 \| complaint 3", dockerfile=tmp_path
    )
    assert error.step == "build"
    assert dangling() == before
    assert not engine.docker("ps", "--all", "--quiet", "--filter", "status=created")


def test_a_full_disk_is_told_as_such(running, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nRUN dd if=/dev/zero of=/dev/full count=1\n"
    )
    running(r"the disk of the container engine .* is full; free", dockerfile=tmp_path)


@pytest.mark.slow
def test_an_unknown_package_is_told_by_what_the_system_said(running):
    running(
        r"installing no-such-package-of-away failed.*Unable to locate package",
        system_packages=["no-such-package-of-away"],
    )


def test_a_base_that_is_nowhere_is_told_with_where_it_was_looked_for(running, registry):
    host = registry.replace(".", r"\.")
    running(
        rf"base image {host}/none:1 is not in the container engine and cannot be pulled",
        base_image=f"{registry}/none:1",
    )


def test_a_dockerfile_on_a_base_that_is_nowhere_is_told_alike(running, registry, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"FROM {registry}/none:2\n")
    running("none:2 is not in the container engine", dockerfile=tmp_path, base_image=None)


def test_the_build_tells_what_is_wrong_with_it_before_an_image_that_it_may_not_need(
    running, base_image, registry, tmp_path
):
    for below in (f"{registry}/none:3", "No/Image;Has:this"):
        text = f"FROM {base_image}\nRUN echo no; exit 7\nFROM {below}\n"
        (tmp_path / "Dockerfile").write_text(text)
        running(r"'Step 2/\d : RUN echo no.*code:? 7", dockerfile=tmp_path, base_image=None)


def test_a_word_of_a_step_is_no_image_to_pull(here, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE_IMAGE\nFROM $BASE_IMAGE\nRUN echo select 1 \\\n FROM no-such-table > /query\n"
    )

    @here.publish("queries", dockerfile=tmp_path)
    def query():
        from pathlib import Path

        return Path("/query").read_text()

    assert query() == "select 1 FROM no-such-table\n"


def test_a_base_without_python_is_refused(running, base_image):
    name = "away-test/no-python:1"
    empty = b"\0" * 10240
    engine.docker("import", "-", name, stdin=empty)
    try:
        running("has no python3 that can be started", base_image=name)
    finally:
        engine.docker("rmi", name)


def test_another_platform_than_the_base_is_for_is_refused(running, base_image):
    running(rf"{base_image} is for linux/amd64 and platform= asks for linux/s390x",
            platform="linux/s390x")  # fmt: skip


def test_a_dockerfile_and_a_base_that_contradict_each_other_are_refused(
    running, base_image, tmp_path
):
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\n")
    running("base_image= and dockerfile= each say", dockerfile=tmp_path)


def test_a_registry_that_goes_away_is_told_and_the_same_command_goes_on(here, tmp_path):
    def patient():
        return "there"

    with registries.serve(tmp_path) as host:
        port = int(host.rpartition(":")[2])
    options = {**here.options, "registry": host, "name": here.name("patient"), "verbose": False}
    with pytest.raises(PublishFailed, match="cannot be reached"):
        publishing.publish(patient, here.faas, **options)
    serving = registries.serve(tmp_path, port=port)

    class Leaves:
        """Stops the registry once some of the push is there."""

        gone = False

        def begun(self, name): ...
        def ended(self, step): ...
        def detail(self, text): ...
        def sent(self):
            if not self.gone:
                self.gone = True
                serving.__exit__(None, None, None)

    serving.__enter__()
    captured = publishing.captured_of(patient, publishing.Options(name=here.name("patient")))
    given = publishing.Options(
        name=here.name("patient"), registry=host, base_image=here.options["base_image"],
        image_builder="docker", publish_timeout=15,
    )  # fmt: skip
    leaves = Leaves()
    conversation = publishing.publish_conversation(
        captured, here.faas, given, progress=Progress(leaves)
    )
    with pytest.raises(PublishFailed, match=r"goes on from there|could not push") as told:
        here.faas.run(conversation)
    assert leaves.gone
    assert "nothing was deployed" in str(told.value)
    with registries.serve(tmp_path, port=port):
        done = publishing.publish(patient, here.faas, **options)
    assert done.action == "created"
    engine.Engine().forget(host)


def test_a_build_ends_with_the_time_that_it_may_take(running, tmp_path):
    marker = f"sleep {60 + os.getpid() / 1e7}"
    (tmp_path / "Dockerfile").write_text(f"ARG BASE_IMAGE\nFROM $BASE_IMAGE\nRUN {marker}\n")
    begun = time.monotonic()
    running("publish_timeout", dockerfile=tmp_path, publish_timeout=3)
    # Not with the step, which takes a minute.
    assert time.monotonic() - begun < 50
    assert_ended(marker)


def test_a_cancelled_publish_ends_its_build(here, tmp_path):
    marker = f"sleep {61 + os.getpid() / 1e7}"
    (tmp_path / "Dockerfile").write_text(f"ARG BASE_IMAGE\nFROM $BASE_IMAGE\nRUN {marker}\n")

    def never():
        return 1

    async def main():
        options = {**here.options, "dockerfile": tmp_path, "name": here.name("never")}
        task = asyncio.create_task(
            publishing.publish_async(never, here.faas, verbose=False, **options)
        )
        while not builds(marker):
            await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 60))
    assert_ended(marker)


def builds(marker: str) -> list[str]:
    listed = engine.docker("ps", "--no-trunc", "--format", "{{.Command}}")
    return [line for line in listed.splitlines() if marker in line]


def assert_ended(marker: str) -> None:
    deadline = time.monotonic() + 20
    while builds(marker):
        assert time.monotonic() < deadline, "the build goes on"
        time.sleep(0.1)


def test_a_gateway_of_processes_refuses_steps_in_a_container(base_image, tmp_path):
    import away.gateway

    def stepped():
        return 1

    with away.gateway.run(announce=False) as faas:
        for options in ({"system_packages": ["tree"]}, {"image_builder": "docker"}):
            with pytest.raises(PublishFailed, match="away up --provider docker"):
                publishing.publish(stepped, faas, verbose=False, **options)


def test_aiodocker_is_imported_by_this_builder_alone():
    program = (
        "import sys, away.publish, away.publish.steps, away.publish.preparation,"
        " away.publish.builders.registry; print('aiodocker' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr

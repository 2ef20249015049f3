"""An exported project built as faas-cli builds it, run in a container, imported and called."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

from away import FaasConnection
from away.publish.export import export
from tests.containers import engine, registries, sources

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def faas(container_gateway, own_environment):
    with FaasConnection(
        container_gateway.url, user=container_gateway.user, password=container_gateway.password
    ) as made:
        yield made


@pytest.fixture
def options(registry, base_image):
    return {"registry": registry, "base_image": base_image}


def built(project: Path, name: str) -> str:
    """Build a function as ``faas-cli build`` does, and return its image.

    The template is copied to build/NAME and the handler's folder into ``function`` below it, without
    what is called build or template; then docker builds there.
    """
    entry = yaml.safe_load((project / "stack.yml").read_text())["functions"][name]
    context = project / "build" / name
    shutil.copytree(project / "template" / entry["lang"], context)
    (context / "function").mkdir(mode=0o700)
    for each in (project / entry["handler"]).iterdir():
        if each.name in ("build", "template"):
            continue
        copy = shutil.copytree if each.is_dir() else shutil.copy
        copy(each, context / "function" / each.name)
    arguments = [
        word
        for key, value in entry.get("build_args", {}).items()
        for word in ("--build-arg", f"{key}={value}")
    ]
    done = subprocess.run(
        ["docker", "build", *arguments, "--tag", entry["image"], str(context)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return entry["image"]


def built_plainly(project: Path, name: str) -> str:
    """Build a function by the command that the project's README.md has, and return its image."""
    image = yaml.safe_load((project / "stack.yml").read_text())["functions"][name]["image"]
    text = (project / "README.md").read_text()
    commands = re.findall(r"^docker build \\\n(?:.*\\\n)+.*$", text, re.MULTILINE)
    (command,) = [each for each in commands if f"--tag {image} ." in each]
    done = subprocess.run(
        command, shell=True, cwd=project, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return image


def up(project: Path, name: str, faas: FaasConnection) -> None:
    """Build, push and deploy as ``faas-cli up`` does: what stack.yml says, by PUT, then POST."""
    engine.docker("push", built(project, name))
    entry = yaml.safe_load((project / "stack.yml").read_text())["functions"][name]
    request = {
        "service": name,
        "image": entry["image"],
        "namespace": entry.get("namespace", ""),
        "envVars": entry.get("environment", {}),
        "constraints": entry.get("constraints", []),
        "secrets": entry.get("secrets", []),
        "labels": entry.get("labels", {}),
        "annotations": entry.get("annotations", {}),
        "limits": entry.get("limits"),
        "requests": entry.get("requests"),
        "readOnlyRootFilesystem": entry.get("readonly_root_filesystem", False),
    }
    for method in ("PUT", "POST"):
        done = requests.request(
            method,
            f"{faas.url}/system/functions",
            json={key: value for key, value in request.items() if value},
            auth=(faas.user, faas.password or ""),
            timeout=120,
        )
        if done.status_code != 404:
            break
    assert done.status_code in (200, 202), done.text


def imported(faas: FaasConnection, monkeypatch, name: str):
    """Import a function as a user does."""
    monkeypatch.setenv("AWAY_GATEWAY_EXPORTED_URL", faas.url)
    monkeypatch.setenv("AWAY_GATEWAY_EXPORTED_USER", faas.user)
    monkeypatch.setenv("AWAY_GATEWAY_EXPORTED_PASSWORD", faas.password or "")
    try:
        return importlib.import_module("away.remote.exported")[name]
    finally:
        del sys.modules["away.remote.exported"]


def test_an_exported_function_is_built_without_away_deployed_imported_and_called(
    faas, options, tmp_path, monkeypatch
):
    source = tmp_path / "source"
    source.mkdir()
    monkeypatch.syspath_prepend(str(source))
    (source / "exported_helper.py").write_text("def plus(a, b):\n    return a + b\n")
    (source / "exported_sums.py").write_text(
        "import os\n\nimport exported_helper\n\n\n"
        "def exported_sum(a: int, b: int = 2) -> tuple:\n"
        '    """Add two numbers, $HOME and ${HOME}."""\n'
        '    return exported_helper.plus(a, b), os.environ["MODE"]\n'
    )
    function = importlib.import_module("exported_sums").exported_sum
    project = tmp_path / "project"
    faas.create_secret("exported-token", "a secret of the gateway")
    mode = "${HOME} $x \"q\" 'é'"
    try:
        export(
            function, faas, project, env={"MODE": mode}, secrets=["exported-token"],
            limits={"memory": "128Mi"}, **options,
        )  # fmt: skip
        up(project, "exported-sum", faas)
        remote = imported(faas, monkeypatch, "exported-sum")
        assert remote(1) == (3, mode)
        assert remote(a=1, b=5) == (6, mode)
        assert str(inspect.signature(remote)) == "(a: int, b: int = 2) -> tuple"
        assert remote.__doc__ == "Add two numbers, $HOME and ${HOME}."
        info = faas.function("exported-sum")
        assert info.secrets == ("exported-token",)
        packed = engine.docker("history", "--no-trunc", info.image)
        assert "a secret of the gateway" not in packed
        # What was deployed so is what a publish of the same would deploy.
        import away.publish as publishing

        same = publishing.compare(
            function, faas, env={"MODE": mode}, secrets=["exported-token"],
            limits={"memory": "128Mi"}, **options,
        )  # fmt: skip
        assert same is publishing.Standing.UNCHANGED
    finally:
        faas.remove("exported-sum")
        faas.remove_secret("exported-token")


def test_a_function_by_value_with_an_async_body_is_called(faas, options, tmp_path, monkeypatch):
    start = 100

    async def exported_total(numbers):
        import asyncio

        await asyncio.sleep(0)
        return start + sum(numbers)

    export(exported_total, faas, tmp_path, **options)
    up(tmp_path, "exported-total", faas)
    try:
        import asyncio

        remote = imported(faas, monkeypatch, "exported-total")
        assert asyncio.run(remote([1, 2])) == 103
    finally:
        faas.remove("exported-total")


def test_the_image_holds_its_licences_and_compiled_files_and_no_more_than_it_says(
    docker, faas, options, tmp_path
):
    def exported_small():
        return 1

    export(exported_small, faas, tmp_path, **options)
    container = docker.start(built(tmp_path, "exported-small"))
    try:
        found = container.run(
            "sh", "-c", "cd /opt/away && find . -name 'LICENSE*' -o -name main*pyc"
        )
        assert "./licences/PyYAML/LICENSE" in found
        assert f"./lib/away/runtime/__pycache__/main.cpython-{MINOR.replace('.', '')}.pyc" in found
        assert container.run("ls", "/opt/away/requirements") == ""
        assert container.run("sh", "-c", "python3 -c 'import pip' 2>&1 || true") != ""
        assert "is loaded" in container.logs() or container.run("true") == ""
    finally:
        container.remove()


def test_docker_alone_builds_what_faas_cli_does(docker, options, faas, tmp_path):
    def exported_first():
        return 1

    def exported_second():
        return 2

    export(exported_first, faas, tmp_path, **options)
    export(exported_second, faas, tmp_path, force=True, **options)
    listing = (
        "cd / && find opt/away srv -type f -not -name '*.pyc' 2>/dev/null | sort | xargs sha256sum"
    )
    for name in ("exported-first", "exported-second"):
        found = []
        for build in (built, built_plainly):
            container = docker.start(build(tmp_path, name))
            try:
                found.append(container.run("sh", "-c", listing))
                with_payload = [line for line in found[-1].splitlines() if "payload.away" in line]
                assert len(with_payload) == 1
            finally:
                container.remove()
        assert found[0] == found[1]


@pytest.mark.slow
def test_requirements_are_installed_exactly_and_built_where_that_is_asked_for(
    docker, faas, options, base_image, tmp_path
):
    sources.write_index(tmp_path)
    (tmp_path / "Dockerfile").write_text(sources.DOCKERFILE)
    base = "away-test/with-index:1"
    engine.docker("build", "--build-arg", f"BASE_IMAGE={base_image}", "--tag", base, str(tmp_path))

    def exported_extension():
        import away_test_extension

        return away_test_extension.answer()

    project = tmp_path / "project"
    export(
        exported_extension, faas, project, registry=options["registry"], base_image=base,
        requirements=[sources.REQUIREMENT], system_packages=["python3-pip"],
        enable_dev_building=True,
    )  # fmt: skip
    text = (project / "exported-extension" / "requirements.txt").read_text()
    assert sources.REQUIREMENT in text.splitlines()
    try:
        container = docker.start(built(project, "exported-extension"))
        try:
            program = (
                "import away_test_extension as a, shutil; print(a.answer(), shutil.which('gcc'))"
            )
            printed = container.run(
                "env", "PYTHONPATH=/opt/away/requirements", "python3", "-c", program
            )
            assert printed == "42 None"
        finally:
            container.remove()
    finally:
        engine.docker("rmi", base)


def test_an_image_of_another_python_is_refused_as_it_is_built(faas, options, tmp_path):
    def exported_bound():
        return 1

    export(exported_bound, faas, tmp_path, **options)
    payload = tmp_path / "exported-bound" / "payload.away"
    head, _, body = payload.read_bytes().partition(b"\n")
    header = json.loads(head)
    assert header["python"] == MINOR
    payload.write_bytes(json.dumps({**header, "python": "3.99"}).encode() + b"\n" + body)
    with pytest.raises(AssertionError, match=rf"is for Python 3\.99 and this image has {MINOR}"):
        built(tmp_path, "exported-bound")


def test_registries_are_named_by_the_project_alone(faas, options, tmp_path):
    def exported_named():
        return 1

    exported = export(exported_named, faas, tmp_path, **options)
    assert exported.images[0].startswith(f"{options['registry']}/away/exported-named:")
    assert registries.REPOSITORY not in exported.images[0]

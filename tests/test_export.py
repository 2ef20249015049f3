"""``away export``: a template project in a folder, which nothing is lost in and no secret gets into."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import away.cli as cli
from away import FaasConnection, secret_texts
from away.exceptions import CaptureRefused, PublishFailed
from away.publish.export import export, requirements_text
from away.publish.pins import Pin
from away.publish.stack_file import functions_in, stack_text
from away.signatures import from_annotations

REGISTRY = "registry.example.com"
TEMPLATE = "template/away-python3"
# Joined, since what holds a known password is never packed, and this file may be.
PASSWORD = "secret of the gateway".replace(" ", "-")


@pytest.fixture
def faas():
    with FaasConnection("https://faas.example.com", password=PASSWORD) as made:
        yield made


@pytest.fixture
def add():
    def add(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    return add


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def stack_of(folder: Path) -> dict:
    return yaml.safe_load((folder / "stack.yml").read_text())


# ---------------------------------------------------------------- what is written


def test_the_folder_has_all_that_faas_cli_needs_and_nothing_of_this_machine(tmp_path, faas, add):
    exported = export(add, faas, tmp_path / "project", registry=REGISTRY)
    assert exported.functions == ("add",)
    files = files_of(tmp_path / "project")
    for path in ("stack.yml", "README.md", "Dockerfile", "add/payload.away", "add/requirements.txt",
                 f"{TEMPLATE}/template.yml", f"{TEMPLATE}/Dockerfile",
                 f"{TEMPLATE}/lib/away/runtime/__main__.py", f"{TEMPLATE}/lib/yaml/__init__.py",
                 f"{TEMPLATE}/lib/dill/__init__.py", f"{TEMPLATE}/licences/away/LICENSE",
                 f"{TEMPLATE}/licences/PyYAML/LICENSE", f"{TEMPLATE}/licences/dill/LICENSE"):  # fmt: skip
        assert path in files
    assert yaml.safe_load(files[f"{TEMPLATE}/template.yml"])["language"] == "away-python3"
    for data in files.values():
        assert str(tmp_path).encode() not in data
        assert PASSWORD.encode() not in data
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "project").rglob("*")}
    assert modes <= {0o644, 0o755}


def test_two_exports_of_one_function_are_the_same_bytes(tmp_path, faas, add):
    export(add, faas, tmp_path / "one", registry=REGISTRY)
    export(add, faas, tmp_path / "two", registry=REGISTRY)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_the_stack_file_says_what_a_publish_would_deploy(tmp_path, faas, add):
    export(
        add, faas, tmp_path, registry=REGISTRY, registry_prefix="team", namespace="staging",
        env={"MODE": "${HOME} $x"}, secrets=["token"], labels={"no": "1"}, annotations={"a": "$$"},
        limits={"memory": "64Mi"}, requests={"cpu": "10m"}, constraints=["zone=a"],
        read_only_root=True, system_packages=["libpq5", "curl"], enable_dev_building=True,
    )  # fmt: skip
    stack = stack_of(tmp_path)
    assert stack["provider"] == {"name": "openfaas", "gateway": "https://faas.example.com"}
    entry = stack["functions"]["add"]
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert entry["lang"] == "away-python3"
    assert entry["handler"] == "./add"
    assert entry["image"].startswith(f"{REGISTRY}/team/add:")
    assert entry["build_args"] == {
        "BASE_IMAGE": f"docker.io/library/python:{minor}-slim",
        "ADDITIONAL_PACKAGE": "libpq5 curl",
        "DEV_BUILDING": "1",
    }
    assert entry["namespace"] == "staging"
    assert entry["environment"]["MODE"] == "${HOME} $x"
    assert entry["secrets"] == ["token"]
    assert entry["labels"] == {"no": "1"}
    assert entry["annotations"]["a"] == "$$"
    assert entry["limits"] == {"memory": "64Mi"}
    assert entry["requests"] == {"cpu": "10m"}
    assert entry["constraints"] == ["zone=a"]
    assert entry["readonly_root_filesystem"] is True
    described = from_annotations(entry["annotations"])
    assert described is not None
    assert described.doc == "Add two numbers."
    assert [each.name for each in described.parameters or ()] == ["a", "b"]
    # faas-cli would replace ${…} in the text before it reads it.
    assert "$" not in (tmp_path / "stack.yml").read_text()


def test_the_readme_has_the_commands_of_every_function_of_the_folder(tmp_path, faas, add):
    def other(n):
        return n

    export(add, faas, tmp_path, registry=REGISTRY, base_image="example.com/base:1")
    export(
        other, faas, tmp_path, force=True, registry=REGISTRY, base_image="example.com/base:2",
        secrets=["token"], system_packages=["libpq5", "curl"],
    )  # fmt: skip
    text = (tmp_path / "README.md").read_text()
    (commands,) = re.findall(r"```sh\n(docker build.*?)```", text, re.DOTALL)
    lines = [shlex.split(each) for each in commands.replace("\\\n", "").splitlines()]
    functions = stack_of(tmp_path)["functions"]
    image, other_image = functions["add"]["image"], functions["other"]["image"]
    assert lines == [
        ["docker", "build", "--build-arg", "FUNCTION=add", "--build-arg",
         "BASE_IMAGE=example.com/base:1", "--tag", image, "."],
        ["docker", "push", image],
        ["docker", "build", "--build-arg", "FUNCTION=other", "--build-arg",
         "BASE_IMAGE=example.com/base:2", "--build-arg", "ADDITIONAL_PACKAGE=libpq5 curl",
         "--tag", other_image, "."],
        ["docker", "push", other_image],
    ]  # fmt: skip
    assert "faas-cli login --gateway https://faas.example.com " in text
    assert "faas-cli up -f stack.yml" in text
    assert "needs pip" in text
    first, second = [
        each for each in text.splitlines() if each.startswith("faas-cli") and "#" in each
    ]
    assert first.index("#") == second.index("#")
    assert "`token`" in text


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.dictionaries(
        TEXTS, st.dictionaries(TEXTS, TEXTS | st.booleans() | st.lists(TEXTS)), max_size=3
    )
)
def test_whatever_a_stack_file_holds_comes_back_as_it_was(functions):
    text = stack_text("http://gateway", functions)
    # What faas-cli changes in a text before it reads it as YAML.
    assert "$" not in text
    assert "\\\\" not in text
    assert {c for c in text if not c.isprintable()} <= {"\n"}
    assert functions_in(text.encode()) == functions


@given(st.binary(max_size=60) | TEXTS.map(str.encode))
def test_no_stack_file_of_others_breaks_the_reading(data):
    assert isinstance(functions_in(data), dict)


# ---------------------------------------------------------------- requirements


def test_requirements_are_exact_and_hold_what_they_need_in_turn():
    lines = requirements_text([Pin("requests"), Pin("aiodocker", "0.1", "aiodocker==0.1")])
    found = dict(line.split("==") for line in lines.splitlines()[1:])
    import requests
    import urllib3

    assert found["requests"] == requests.__version__
    assert found["urllib3"] == urllib3.__version__
    assert found["aiodocker"] == "0.1"
    # What another version than the installed one needs is not known here.
    assert "aiohttp" not in found


@pytest.mark.parametrize(
    ("pin", "said"),
    [
        (Pin("mine", "1.0+local", "mine==1.0+local"), "local version"),
        (Pin("mine", "", "mine @ https://u:p@example.com/mine.whl"), "address with a login"),
    ],
)
def test_requirements_that_no_other_machine_could_install_are_refused(pin, said):
    with pytest.raises(PublishFailed, match=said) as told:
        requirements_text([pin])
    assert "u:p" not in str(told.value)


# ---------------------------------------------------------------- the folder


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path, faas, add):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(PublishFailed, match=r"is not empty; name another folder, or let --force"):
        export(add, faas, tmp_path, registry=REGISTRY)
    assert files_of(tmp_path) == {"mine.txt": b"mine"}


def test_force_replaces_what_an_export_wrote_and_nothing_else(tmp_path, faas, add):
    export(add, faas, tmp_path, registry=REGISTRY)
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "add" / "notes.md").write_text("mine too")
    (tmp_path / "add" / "payload.away").write_text("spoilt")
    export(add, faas, tmp_path, force=True, registry=REGISTRY)
    files = files_of(tmp_path)
    assert files["mine.txt"] == b"mine"
    assert files["add/notes.md"] == b"mine too"
    assert files["add/payload.away"] != b"spoilt"


@pytest.mark.parametrize("path", ["stack.yml", f"{TEMPLATE}/Dockerfile", "add/payload.away"])
def test_force_does_not_replace_what_no_export_wrote(tmp_path, faas, path, add):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("theirs")
    with pytest.raises(PublishFailed, match="was not written by an export"):
        export(add, faas, tmp_path, force=True, registry=REGISTRY)
    assert files_of(tmp_path) == {path: b"theirs"}


def test_nothing_is_written_through_a_link(tmp_path, faas, add):
    outside, folder = tmp_path / "outside", tmp_path / "project"
    outside.mkdir()
    folder.mkdir()
    (folder / "add").symlink_to(outside)
    with pytest.raises(PublishFailed, match="is a link"):
        export(add, faas, folder, force=True, registry=REGISTRY)
    assert files_of(outside) == {}


def test_a_listing_of_others_removes_nothing_outside_the_folder(tmp_path, faas, add):
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "precious").write_text("p")
    import hashlib

    digest = hashlib.sha256(b"p").hexdigest()
    listed = {"files": {"../precious": digest, str(tmp_path / "precious"): digest}}
    (folder / ".away-export.json").write_text(json.dumps(listed))
    export(add, faas, folder, force=True, registry=REGISTRY)
    assert (tmp_path / "precious").read_text() == "p"


def test_functions_are_added_to_a_project_one_by_one(tmp_path, faas, add):
    def other(n):
        return n

    export(add, faas, tmp_path, registry=REGISTRY)
    export(other, faas, tmp_path, force=True, registry=REGISTRY)
    assert sorted(stack_of(tmp_path)["functions"]) == ["add", "other"]
    assert (tmp_path / "add" / "payload.away").is_file()
    assert (tmp_path / "other" / "payload.away").is_file()


def test_what_a_function_has_no_more_is_removed_by_the_next_export(tmp_path, faas, monkeypatch):
    project = tmp_path / "source"
    project.mkdir()
    monkeypatch.syspath_prepend(str(project))
    (project / "gone_helper.py").write_text("def plus(a, b):\n    return a + b\n")
    (project / "main_of_it.py").write_text(
        "import gone_helper\n\ndef double(a):\n    return gone_helper.plus(a, a)\n"
    )
    import main_of_it

    folder = tmp_path / "project"
    export(main_of_it.double, faas, folder, registry=REGISTRY)
    assert (folder / "double" / "modules" / "gone_helper.py").is_file()
    (project / "main_of_it.py").write_text("def double(a):\n    return 2 * a  # alone\n")
    import importlib
    import linecache

    importlib.invalidate_caches()
    linecache.clearcache()
    importlib.reload(main_of_it)
    export(main_of_it.double, faas, folder, force=True, registry=REGISTRY)
    assert not (folder / "double" / "modules" / "gone_helper.py").exists()


def test_a_function_called_template_does_not_take_the_templates_folder(tmp_path, faas, add):
    export(add, faas, tmp_path, name="template", registry=REGISTRY)
    assert stack_of(tmp_path)["functions"]["template"]["handler"] == "./template-function"


# ---------------------------------------------------------------- refusals


def test_without_a_registry_the_error_says_how_to_name_one(tmp_path, faas, add):
    with pytest.raises(PublishFailed, match="--registry"):
        export(add, faas, tmp_path / "p")
    assert not (tmp_path / "p").exists()
    export(add, faas, tmp_path / "p", registry_prefix="someone")
    assert stack_of(tmp_path / "p")["functions"]["add"]["image"].startswith("docker.io/someone/add")


def test_a_password_that_is_a_word_of_aways_own_sources_is_no_leak_there(
    tmp_path, faas, add, monkeypatch
):
    monkeypatch.setattr(secret_texts, "_texts", {*secret_texts.known(), "password_file"})
    export(add, faas, tmp_path / "p", registry=REGISTRY)
    # Everywhere else it is one.
    with pytest.raises(PublishFailed, match="holds a password or token"):
        export(add, faas, tmp_path / "q", registry=REGISTRY, env={"A": "password_file"})


def test_what_an_export_cannot_do_is_refused_before_anything_is_written(tmp_path, faas, add):
    secret = PASSWORD
    for options, said in (
        ({"dockerfile": "Dockerfile"}, "dockerfile= is not exported"),
        ({"base_image": "away/python:3.11"}, "only known to an embedded gateway"),
        ({"system_packages": ["a; id"]}, "no package's name"),
        ({"env": {"A": secret}}, "holds a password or token"),
    ):
        with pytest.raises(PublishFailed, match=said):
            export(add, faas, tmp_path / "p", registry=REGISTRY, **options)
    assert not (tmp_path / "p").exists()
    with pytest.raises(CaptureRefused):
        export(lambda: secret, faas, tmp_path / "p", name="leak", registry=REGISTRY)
    assert not (tmp_path / "p").exists()


# ---------------------------------------------------------------- the command


APP = """
from away import FaasConnection, builder

faas = FaasConnection("https://faas.example.com", registry="registry.example.com")

@builder.publish(faas)
def first(a): return a

@builder.publish(faas, verbose=False)
async def second(a): return a

def third(a): return a
"""


def run_away(*arguments: str):
    return CliRunner().invoke(cli.app, arguments, standalone_mode=False)


def test_the_command_exports_what_a_file_declares(tmp_path, monkeypatch):
    app = tmp_path / "app_to_export.py"
    app.write_text(APP)
    monkeypatch.setenv("AWAY_PUBLISH", "never")
    monkeypatch.setattr(sys, "path", [*sys.path])
    done = run_away("export", str(app), "--template", str(tmp_path / "p"), "--json")
    assert done.exception is None, done.output
    assert list(json.loads(done.stdout)["images"]) == ["first", "second"]
    assert sorted(stack_of(tmp_path / "p")["functions"]) == ["first", "second"]
    more = run_away("export", f"{app}:third", "-g", "https://faas.example.com", "--registry",
                    "other.example.com", "--template", str(tmp_path / "p"), "--force")  # fmt: skip
    assert more.exception is None, more.output
    assert "faas-cli up -f stack.yml" in more.output
    assert stack_of(tmp_path / "p")["functions"]["third"]["image"].startswith("other.example.com/")

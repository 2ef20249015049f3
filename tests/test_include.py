"""What the user lists to go along: files, folders, packages, and modules that nobody sees imported."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.test_capture import run, write

# Captures with the options in argv[2], and unpacks what travels into a folder; argv[1].
SAY = """
import json, sys
from pathlib import Path
def say(function):
    from away.capture import capture
    options = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    try:
        one = capture(function, **options)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return
    where = Path(sys.argv[1])
    for file in one.files:
        target = where / "modules" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    (where / "modules").mkdir(exist_ok=True)
    (where / "payload.away").write_bytes(one.payload)
    print(json.dumps({"form": one.form, "files": [file.path for file in one.files],
        "requirements": [each.spec for each in one.requirements],
        "why": [each.why for each in one.requirements],
        "warnings": list(one.warnings), "identity": one.identity}))
"""

CALL = """
import json, sys
from away.runtime import payload
layout = payload.locate({"AWAY_PAYLOAD": sys.argv[1]})
header, body = payload.read(layout)
payload.prepare_imports(layout, header)
print(json.dumps(payload.load(header, body)()))
"""

PROJECT = {
    "pyproject.toml": "",
    "saying.py": SAY,
    "tables/one.csv": "one",
    "tables/deep/two.csv": "two",
    "tables/.hidden": "no",
    "tables/server.key": "no",
    "secret.pem": "no",
    "plain.py": "from pathlib import Path\nHERE = Path(__file__).parent\n"
    "def read(): return (HERE / 'tables' / 'one.csv').read_text()\n",
    "package/__init__.py": "",
    "package/inner/__init__.py": "",
    "package/inner/reading.py": "from pathlib import Path\n"
    "def read(): return (Path(__file__).parents[2] / 'tables/deep/two.csv').read_text()\n",
    "unseen/__init__.py": "import yaml\nfrom unseen.more import VALUE\n",
    "unseen/more.py": "VALUE = 7\n",
    "loose/script.py": "import dill\nimport nowhere_at_all\n",
}


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    write(folder, PROJECT)
    (tmp_path / "outside.txt").write_text("outside")
    (tmp_path / "image").mkdir()
    return folder


def captured(project: Path, script: str, *, at: str = "main.py", **options: object):
    """Capture by a script of the project's; ``include`` and the others as keywords."""
    write(project, {at: script})
    image = project.parent / "image"
    said = run(project / at, image, json.dumps(options), env={"PYTHONPATH": f"{ROOT}:{project}"})
    return json.loads(said)


ROOT = Path(__file__).parent.parent


def called(project: Path):
    """Call what was captured, with the project gone, in the folder that a container starts in."""
    image = project.parent / "image"
    project.rename(project.parent / "gone")
    return json.loads(run("-c", CALL, image / "payload.away", cwd=image / "modules"))


FORMS = {
    "a plain module by __file__": (
        "from saying import say\nfrom plain import read\nsay(read)",
        {"include": ["tables"]},
        "one",
        "import",
    ),
    "a deep module by __file__": (
        "from saying import say\nfrom package.inner.reading import read\nsay(read)",
        {"include": ["../../tables"]},
        "two",
        "import",
    ),
    "a script by the working folder": (
        "from saying import say\ndef f(): return open('tables/one.csv').read()\nsay(f)",
        {"include": ["tables/one.csv"]},
        "one",
        "dill",
    ),
    "a script by __file__": (
        "from saying import say\nfrom pathlib import Path\n"
        "def f(): return (Path(__file__).parent / 'tables/one.csv').read_text()\nsay(f)",
        {"include": ["tables/one.csv"]},
        "one",
        "dill",
    ),
    "a package that nobody sees": (
        "from saying import say\ndef f():\n"
        "    import importlib\n"
        "    return importlib.import_module('un' + 'seen.more').VALUE\nsay(f)",
        {"include": ["unseen"], "requirements": ["PyYAML"]},
        7,
        "dill",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_is_listed_is_found_there_by_the_path_that_code_uses_here(project, name):
    script, options, value, form = FORMS[name]
    said = captured(project, script, **options)
    assert said.get("form") == form, said
    assert called(project) == value


def test_a_script_in_a_subfolder_finds_its_files_beside_it(project):
    write(project, {"jobs/data.csv": "jobs", "jobs/saying.py": SAY})
    script = (
        "from saying import say\nfrom pathlib import Path\n"
        "def f(): return [open('data.csv').read(), (Path(__file__).parent / 'data.csv').read_text()]\n"
        "say(f)"
    )
    said = captured(project, script, at="jobs/main.py", include=["data.csv"])
    assert said["files"] == ["data.csv"], said
    assert called(project) == ["jobs", "jobs"]


def test_a_folder_goes_whole_but_for_what_is_hidden_and_keys(project):
    said = captured(
        project, "from saying import say\ndef f(): return 1\nsay(f)", include=["tables"]
    )
    assert said["files"] == ["tables/deep/two.csv", "tables/one.csv"]
    assert any("server.key looks like a key and is left out" in each for each in said["warnings"])


def test_an_absolute_path_below_the_project_lands_at_the_same_place(project):
    script = "from saying import say\nfrom plain import read\nsay(read)"
    one = captured(project, script, include=[str(project / "tables" / "one.csv")])
    assert one["files"] == ["plain.py", "tables/one.csv"]
    assert captured(project, script, include=["tables/one.csv"])["identity"] == one["identity"]


def test_changed_data_is_another_identity(project):
    script = "from saying import say\nfrom plain import read\nsay(read)"
    first = captured(project, script, include=["tables"])["identity"]
    (project / "tables/one.csv").write_text("other")
    assert captured(project, script, include=["tables"])["identity"] != first


def test_a_file_that_is_packed_with_its_package_is_packed_once(project):
    write(project, {"package/data.csv": "x"})
    script = "from saying import say\nfrom package.inner.reading import read\nsay(read)"
    said = captured(project, script, include=["../data.csv", "../../package"])
    assert said["files"].count("package/data.csv") == 1


REFUSED = {
    "absent": ("tables/none.csv", "tables/none.csv in include= does not exist: "),
    "a key": ("secret.pem", "secret.pem in include= looks like a key"),
    "outside": ("../outside.txt", "../outside.txt in include= leads out of the project"),
    "outside, absolute": ("{parent}/outside.txt", "leads out of the project"),
    "the system's": ("/etc/hostname", "leads out of the project"),
    "a link outside": ("link.txt", "link.txt in include= leads out of the project"),
    "a folder with a link outside": (
        "linking",
        "linking in include= has link.txt, which leads out",
    ),
    "a link to a key": ("harmless.txt", "harmless.txt in include= looks like a key"),
    "a device": ("pipe", "pipe in include= is neither a file nor a folder"),
    "too large": ("large", "files of 67 MB can be packed"),
    "nothing": ("", None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_listed_is_refused_in_one_sentence(project, name):
    path, words = REFUSED[name]
    (project / "link.txt").symlink_to(project.parent / "outside.txt")
    (project / "harmless.txt").symlink_to(project / "secret.pem")
    (project / "linking").mkdir()
    (project / "linking/link.txt").symlink_to(project.parent / "outside.txt")
    os.mkfifo(project / "pipe")
    (project / "large").mkdir()
    if name == "too large":
        for number in range(2):
            with (project / f"large/{number}.bin").open("wb") as file:
                file.truncate(33 * 1024 * 1024 + number)
    script = "from saying import say\ndef f(): return 1\nsay(f)"
    said = captured(project, script, include=[path.format(parent=project.parent)])
    if words is None:
        # The whole project: its links out of it are found.
        assert "leads out of the project" in said["error"]
        return
    assert said["error"].startswith("CaptureRefused: ")
    assert words in said["error"]
    assert "\n" not in said["error"]


def test_a_file_above_the_folder_of_the_modules_has_no_place(project):
    write(project, {"src/here.py": "def read(): return 1\n"})
    script = "import sys; sys.path.insert(0, 'project/src')\n"
    script += f"sys.path.insert(0, {str(project / 'src')!r})\n"
    script += "from saying import say\nfrom here import read\nsay(read)"
    said = captured(project, script, include=["../tables/one.csv"])
    assert (
        f"is not below {project / 'src'}, the folder that the function's modules" in said["error"]
    )


def test_a_secret_in_a_listed_file_is_refused_as_in_a_module(project):
    write(project, {"settings.ini": "[a]\npassword = 'sesame-opens-it'\n"})
    script = (
        "from away.secret_texts import remember\nremember('sesame-opens-it')\n"
        "from saying import say\ndef f(): return 1\nsay(f)"
    )
    said = captured(project, script, include=["settings.ini"])
    assert "settings.ini, line 2, holds a password or token" in said["error"]


def test_imports_of_listed_sources_are_followed(project):
    script = "from saying import say\ndef f(): return 1\nsay(f)"
    said = captured(project, script, include=["unseen"])
    assert said["requirements"][0].startswith("PyYAML==")
    assert said["why"] == ["unseen/__init__.py, line 1, imports yaml"]
    # Of a folder that is no package, what cannot be had is let be.
    said = captured(project, script, include=["loose"])
    assert said["requirements"][0].startswith("dill==")
    assert said["warnings"] == []


# ---------------------------------------------------------------- modules


def test_a_listed_module_is_packed_or_pinned_as_if_it_were_imported(project):
    script = (
        "from saying import say\ndef f():\n    import importlib\n"
        "    return importlib.import_module('un' + 'seen').VALUE\nsay(f)"
    )
    said = captured(project, script, module_imports=["unseen", "requests.adapters"])
    assert said["files"] == ["unseen/__init__.py", "unseen/more.py"]
    assert [each.partition("==")[0] for each in said["requirements"]] == ["PyYAML", "requests"]
    assert "module_imports= lists requests.adapters" in said["why"]
    assert called(project) == 7


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_at_all", "module_imports= lists nowhere_at_all, which is not installed here"),
        ("data.csv/x", "'data.csv/x' in module_imports= is no module's name"),
        ("", "'' in module_imports= is no module's name"),
        (".relative", "'.relative' in module_imports= is no module's name"),
    ],
)
def test_what_is_no_module_is_refused(project, name, words):
    script = "from saying import say\ndef f(): return 1\nsay(f)"
    assert words in captured(project, script, module_imports=[name])["error"]


# ---------------------------------------------------------------- hints


def test_a_data_file_that_the_code_names_and_that_stays_behind_is_told(project):
    note = "pass include=['tables/one.csv']"
    script = "from saying import say\ndef f(): return open('tables/one.csv').read()\nsay(f)"
    said = captured(project, script)
    assert any("`f` names tables/one.csv" in each and note in each for each in said["warnings"])
    assert captured(project, script, include=["tables/one.csv"])["warnings"] == []
    write(project, {"opening.py": "def read():\n    return open('tables/one.csv').read()\n"})
    said = captured(project, "from saying import say\nfrom opening import read\nsay(read)")
    (warning,) = said["warnings"]
    assert warning.startswith("opening.py, line 2, names tables/one.csv, a file beside it")
    # A file of that name that is not there, a module's own name and a web address are no hint.
    script = "from saying import say\ndef f(): return 'a.csv', 'plain.py', 'away.example'\nsay(f)"
    assert captured(project, script)["warnings"] == []


SEVERAL = """
from pathlib import Path
def decorated(**options):
    return lambda function: function
TOKEN = "tables/token.txt"
OPTIONS = {"requirements": ()}
NAME = "tables/one.csv"
def helper():
    return open(NAME).read()
@decorated(secrets={"x": Path("tables/token.txt")}, include=["tables/sent.csv"], **OPTIONS)
def own():
    return helper()
@decorated(include=["tables/other.csv"])
def other():
    return open("tables/other.csv").read(), TOKEN
mirror = decorated(include=["tables/sent.csv"])(other)
"""


def test_only_files_that_the_functions_own_code_names_are_told(project):
    files = ("token.txt", "sent.csv", "other.csv")
    write(project, {"several.py": SEVERAL, **{f"tables/{each}": f"of {each}" for each in files}})
    said = captured(project, "from saying import say\nfrom several import own\nsay(own)")
    (warning,) = said["warnings"]
    assert "names tables/one.csv" in warning
    script = "from saying import say\nfrom several import other\nsay(other)"
    told = " ".join(captured(project, script)["warnings"])
    assert "other.csv" in told
    assert "one.csv" not in told
    # Whatever else names it, a file that a secret is made from is not to be packed.
    assert "token.txt" not in told


def test_in_a_notebook_paths_start_from_the_working_folder(project):
    code = (
        f"import sys; sys.path.insert(0, {str(project)!r})\n"
        "exec(compile('def f(): return open(\"tables/one.csv\").read()', '<cell>', 'exec'))\n"
        "from saying import say\nsay(f)"
    )
    image = project.parent / "image"
    options = json.dumps({"include": ["tables/one.csv"]})
    said = json.loads(run("-c", code, image, options, cwd=project))
    assert said["files"] == ["tables/one.csv"]
    assert called(project) == "one"


# ---------------------------------------------------------------- other Pythons

RUN = """
import json, sys
from away.runtime import payload
layout = payload.locate({"AWAY_PAYLOAD": sys.argv[1]})
try:
    header, body = payload.read(layout)
    payload.prepare_imports(layout, header)
    print(json.dumps([header.python, payload.load(header, body)()]))
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


def other_minors() -> dict[str, str]:
    from tests.test_image import other_pythons

    return {Path(each).parts[-3]: each for each in other_pythons()[1:]}


@pytest.mark.skipif(not other_minors(), reason="no other Python is here")
@pytest.mark.parametrize("form", ["import", "dill"])
def test_only_source_carries_over_to_another_minor_version(project, form):
    scripts = {
        "import": "from saying import say\nfrom plain import read\nsay(read)",
        "dill": "from saying import say\ndef f(): return 1\nsay(f)",
    }
    said = captured(project, scripts[form], include=["tables/one.csv"])
    assert said["form"] == form
    image = project.parent / "image"
    for python in other_minors().values():
        found = json.loads(run_by(python, "-c", RUN, str(image / "payload.away")))
        if form == "import":
            assert found[1] == "one"
            assert found[0] != f"{sys.version_info.major}.{sys.version_info.minor}"
        else:
            assert found.startswith("ProtocolMismatch: main:f was published from Python 3.")


def run_by(python: str, *arguments: str) -> str:
    import subprocess

    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AWAY_RUNTIME": "1"}
    done = subprocess.run(
        [python, "-S", *arguments], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_function_that_takes_pickles_is_for_one_minor_version_in_either_form(project):
    script = "from saying import say\nfrom plain import read\nsay(read)"
    captured(project, script, safe_args=False)
    header = json.loads((project.parent / "image/payload.away").read_bytes().split(b"\n")[0])
    assert header["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    captured(project, script)
    header = json.loads((project.parent / "image/payload.away").read_bytes().split(b"\n")[0])
    assert header["python"] == header["magic"] == header["cache_tag"] == ""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("credentials.json", "{}"),
        ("secrets.yaml", "a: b"),
        ("terraform.tfstate", "{}"),
        (".netrc", "machine x"),
        (".aws/config", "[default]"),
        ("innocent.txt", "-----BEGIN RSA PRIVATE KEY-----\nabc\n"),
    ],
)
def test_a_login_or_a_key_is_neither_listed_nor_taken_with_its_folder(project, path, text):
    write(project, {f"data/{path}": text, "data/table.csv": "1"})
    script = "from saying import say\ndef f(): return 1\nsay(f)"
    said = captured(project, script, include=[f"data/{path}"])
    assert f"data/{path} in include= looks like a key or a login" in said["error"]
    said = captured(project, script, include=["data"])
    assert "data/table.csv" in said["files"]
    assert f"data/{path}" not in said["files"]


@pytest.mark.parametrize("path", ["a\0b", "a\x1b[31mb", "a\udcffb"])
def test_a_path_that_cannot_be_printed_is_told_in_letters_that_can(project, path):
    script = "from saying import say\ndef f(): return 1\nsay(f)"
    said = captured(project, script, include=[path])
    assert "in include= does not exist" in said["error"]
    assert said["error"].isprintable()

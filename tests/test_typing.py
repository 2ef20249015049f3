"""Types: what checkers and an editor see of decorators, connections and imports from gateways.

mypy and pyright run for real. They are slow to start, so that each run has all files of its setting.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from away import cli
from away.module_descriptions import ModuleDescription, module_annotations
from away.signatures import Description, Parameter, to_annotations
from tests.language_server import LanguageServer
from tests.listing_gateway import PASSWORD, Gateway

REPOSITORY = Path(__file__).parent.parent
FILES = Path(__file__).parent / "typing"

RIGHT = """\
from typing import Any, assert_type

import away.remote.shop as shop
from away import RemoteFunction
from away.remote.aio.shop import divide as divide_async
from away.remote.aio.shop import fibonacci as fibonacci_async
from away.remote.shop import divide, divide_later, fibonacci, figlet, geometry, later
from away.remote.shop.geometry import AXES, PI, area

import acme.there
from acme.models import fibonacci as mounted

assert_type(acme.there.REAL, int)
assert_type(mounted(10), int)
assert_type(area(2.0), float)
assert_type(geometry.area(1.0, shape="square"), float)
assert_type(PI, float)
assert_type(AXES, tuple[Any, ...])
assert_type(fibonacci(10), int)
assert_type(fibonacci(n=10, times=2), int)
assert_type(shop.fibonacci(10), int)
assert_type(figlet("anything", goes=True), Any)
assert_type(fibonacci.options(timeout=2)(10), int)
assert_type(fibonacci.function_name, str)
as_object: RemoteFunction[..., int] = fibonacci


async def main() -> None:
    assert_type(await later("x"), list[str])
    assert_type(await fibonacci_async(10), int)
    assert_type(await fibonacci.aio(10, times=2), int)
    assert_type((await later.with_response("x")).value, list[str])
    print(await divide.aio(1, b=2), (await divide.aio.with_response(1)).value)
    print((await divide_later.with_response(1)).value, await divide_later(1))
    print((await divide_async.with_response(1)).value)


print(divide.with_response(1, 2).value, divide.with_response(1).status, divide(1) + 1)
print(figlet.with_response(1).value)
assert_type(fibonacci.with_response(10).value, int)
list(fibonacci.map([1, 2]))
assert_type(fibonacci.submit(10).result(), int)
"""
# Each line from the fourth on is an error.
WRONG = """\
from away.remote.aio.shop import fibonacci as fibonacci_async
from away.remote.shop import fibonacci, later

fibonacci("ten")
fibonacci(10, 2)
fibonacci(10, tims=2)
fibonacci()
text: str = fibonacci(10)
fibonacci.nothing_such
later(b"x")
fibonacci_async("ten")
from away.remote.shop import fibonaci
from away.remote.shop.geometry import area, nothing_such as none
area("one")
"""
WITHOUT = """\
from typing import Any, assert_type

import away.remote.elsewhere
from away.remote import elsewhere as whole
from away.remote.elsewhere import anything

assert_type(anything("whatever"), Any)
whole.anything(away.remote.elsewhere.other)
"""


def needs(tool):
    """Skip where a checker is not installed; .ci/run installs both and skips nothing."""
    if find_spec(tool) is None:
        assert os.environ.get("AWAY_TEST_TYPING") != "required", f"{tool} is not installed"
        pytest.skip(f"{tool} is not installed; pip install 'away[dev]' brings it")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("typing")


@pytest.fixture(scope="module")
def python(folder):
    """Make an environment in which Away lies as an installed package does."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "away.pth").write_text(f"{REPOSITORY}\n{sysconfig.get_path('purelib')}\n")
    return environment / "bin" / "python"


@pytest.fixture(scope="module")
def shop():
    gateway = Gateway()
    times = Parameter("times", 3, True, 1, "int")
    unannotated = (Parameter("a"), Parameter("b", 1, True, 1))
    functions = {
        "divide": Description(parameters=unannotated),
        "divide_later": Description(kind="async", parameters=unannotated),
        "fibonacci": Description(
            parameters=(Parameter("n", annotation="int"), times),
            returns="int",
            doc="Compute a Fibonacci number.\n\nArgs:\n    n: Which one.",
        ),
        "later": Description(
            kind="async", parameters=(Parameter("text", annotation="str"),), returns="list[str]"
        ),
    }
    listed = [{"name": n, "annotations": to_annotations(d)} for n, d in functions.items()]
    area = Description(
        parameters=(Parameter("r", annotation="float"), Parameter("shape", 1, True, "disc", "str")),
        returns="float",
        doc="Compute an area.",
    )
    whole = ModuleDescription({"area": area}, {"PI": 3.14, "AXES": ("x", "y")}, "Shapes.")
    annotations = to_annotations(Description(entry="geometry:*")) | module_annotations(whole)
    gateway.functions = [
        *listed,
        {"name": "figlet"},
        {"name": "geometry", "annotations": annotations},
    ]
    yield gateway
    gateway.close()


@pytest.fixture
def configured(shop, own_environment, monkeypatch):
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_URL", shop.url)
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD", PASSWORD)


@pytest.fixture
def project(folder, configured, monkeypatch):
    """Make the sample project once, with the stubs that the command writes."""
    project = folder / "project"
    if not project.exists():
        (project / "acme").mkdir(parents=True)
        (project / "acme" / "__init__.py").touch()
        (project / "acme" / "there.py").write_text("REAL: int = 1\n")
        (project / "away.toml").write_text('[mounts]\n"acme.models" = "shop"\n')
        monkeypatch.chdir(project)
        assert cli.run(["stubs", "shop"]) == 0
        for name, text in {"right": RIGHT, "wrong": WRONG, "without": WITHOUT}.items():
            (project / f"{name}.py").write_text(text)
    return project


@pytest.fixture
def mypy(folder, python):
    needs("mypy")

    def mypy(project, *files, **options):
        config = folder / "mypy.ini"
        config.write_text("[mypy]\n" + "".join(f"{k} = {v}\n" for k, v in options.items()))
        command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
        command += ["--python-executable", python, "--config-file", config]
        command += ["--cache-dir", folder / "cache", *files]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=project)
        assert ran.stderr == ""
        lines = re.findall(r"^(\S+?):(\d+): error: (.*)", ran.stdout, re.MULTILINE)
        return [(Path(name).name, int(line), text) for name, line, text in lines]

    return mypy


@pytest.fixture
def pyright(folder, python):
    needs("pyright")

    def pyright(project, **options):
        config = project / "pyrightconfig.json"
        config.write_text(json.dumps(options))
        command = [sys.executable, "-m", "pyright", "--outputjson", "-p", config]
        command += ["--pythonpath", python]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=project)
        config.unlink()
        found = json.loads(ran.stdout)["generalDiagnostics"]
        return [
            (
                Path(each["file"]).name,
                each["range"]["start"]["line"] + 1,
                each["severity"],
                each.get("rule", ""),
                each["message"],
            )
            for each in found
        ]

    return pyright


def lines_of(text, first):
    return list(range(first, len(text.splitlines()) + 1))


# ---------------------------------------------------------------- the package's own face


@pytest.mark.slow
def test_users_code_is_accepted_and_refused_where_it_must_be_by_mypy(mypy):
    assert mypy(REPOSITORY, *sorted(FILES.glob("*.py"))) == []


def test_the_stubs_and_the_marker_are_part_of_the_package():
    package = REPOSITORY / "away"
    for name in (
        "py.typed",
        "remote/__init__.pyi",
        "remote/local.pyi",
        "remote/aio/__init__.pyi",
    ):
        assert (package / name).is_file()


# ---------------------------------------------------------------- a project and its stubs


@pytest.mark.slow
def test_mypy_finds_wrong_arguments_by_stubs_and_takes_anything_without(project, mypy):
    found = mypy(project, "right.py", "wrong.py", "without.py", mypy_path="typings")
    assert [each for each in found if each[0] != "wrong.py"] == []
    assert sorted({line for _, line, _ in found}) == lines_of(WRONG, 4)
    assert '"str"; expected "int"' in next(text for _, line, text in found if line == 4)


@pytest.mark.slow
def test_pyright_finds_wrong_arguments_by_stubs_and_no_gateway_without(project, pyright):
    for name in ("accepted.py", "refused.py"):  # it reads what lies in the project alone
        shutil.copy(FILES / name, project)
    found = pyright(project, reportUnnecessaryTypeIgnoreComment="error")
    # That a stub has no source is a warning, whatever the stub.
    errors = [each for each in found if each[2] == "error"]
    assert {each[3] for each in found if each[2] != "error"} <= {
        "reportMissingModuleSource",
        "reportAttributeAccessIssue",
    }
    of_others = [each for each in errors if each[0] not in ("wrong.py", "without.py")]
    assert of_others == []
    wrong = [each for each in errors if each[0] == "wrong.py"]
    assert sorted({line for _, line, *_ in wrong}) == lines_of(WRONG, 4)
    assert 'cannot be assigned to parameter "n"' in wrong[0][4]
    without = [each for each in errors if each[0] == "without.py"]
    assert {(line, rule) for _, line, _, rule, _ in without} >= {
        (3, "reportMissingImports"),
        (5, "reportMissingImports"),
    }
    # The form that needs no stub: the gateway's module is Any.
    assert not [each for each in without if each[1] == 4]


@pytest.mark.slow
def test_installed_stubs_are_found_by_both_without_configuration_and_can_be_removed(
    folder, python, configured, mypy, pyright
):
    def away(*words):
        ran = subprocess.run(
            [python, "-m", "away", "stubs", *words], capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    project = folder / "plain"
    project.mkdir()
    for name, text in {"right": RIGHT, "wrong": WRONG}.items():
        unmounted = [
            line for line in text.splitlines() if "acme" not in line and "mounted" not in line
        ]
        (project / f"{name}.py").write_text("\n".join(unmounted))
    assert "away-stubs/remote/shop/geometry.pyi" in away("shop", "--install")
    assert away("shop", "--install", "--check") == ""
    found = mypy(project, "right.py", "wrong.py")
    assert {(name, line) for name, line, _ in found} == {
        ("wrong.py", line) for line in lines_of(WRONG, 4)
    }
    errors = [each for each in pyright(project) if each[2] == "error"]
    assert {each[:2] for each in errors} == {("wrong.py", line) for line in lines_of(WRONG, 4)}
    assert "away-stubs/py.typed" in away("--uninstall")
    assert not list(python.parent.parent.rglob("away-stubs"))


@pytest.mark.slow
def test_an_editor_shows_signature_and_docstring_and_completes_names(project, python):
    needs("pyright")
    text = RIGHT + "\nshop.\nfibonacci.\nfibonacci("
    lines = text.splitlines()
    last, place = len(lines), lines.index("assert_type(fibonacci(10), int)")
    editor = LanguageServer(project, python)
    try:
        document = editor.open("edited.py", text)

        def at(line, character):
            return {"textDocument": document, "position": {"line": line, "character": character}}

        hovered = editor.ask("textDocument/hover", **at(place, 15))["contents"]["value"]
        assert "fibonacci: RemoteFunction[(n: int, *, times: int = 1), int]" in hovered
        assert "Compute a Fibonacci number." in hovered
        assert "Which one." in hovered

        offered = editor.ask("textDocument/completion", **at(last - 3, 5))["items"]
        offered = {each["label"]: each for each in offered}
        assert {"fibonacci", "figlet", "later"} <= set(offered)
        resolved = editor.ask("completionItem/resolve", **offered["fibonacci"])
        assert "Compute a Fibonacci number." in resolved["documentation"]["value"]

        offered = editor.ask("textDocument/completion", **at(last - 2, 10))["items"]
        assert "options" in {each["label"] for each in offered}

        help_ = editor.ask("textDocument/signatureHelp", **at(last - 1, 10))
        assert help_["signatures"][0]["label"] == "(n: int, *, times: int = 1) -> int"
    finally:
        editor.close()

"""Every example runs as it stands, and the README's commands name what exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from away import FaasConnection

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"

SAID = {
    "quickstart.py": ["scale([1, 2, 3]) → [3, 6, 9]", "fibonacci(10) → 55", "it has scale"],
    "async_fan_out.py": ["40425"],
    "publish_with_helpers.py": ["here:  8.0", "there: 8.0", "there, after a change here: 8.0"],
    "existing_function.py": ["sort(3, 1, 2) → [1, 2, 3]", "with the status: (1, 200)"],
    "in_hand.py": [
        "futures: [0, 2, 4, 6, 8]",
        "awaited: [3, 7]",
        "[0, 3, 6, 9, 12]",
        "stay: ['add']",
    ],
    "errors.py": ["ZeroDivisionError: division by zero", "did you mean 'divide'", "`LOCK`"],
    "configuration/main.py": ["upper('shout') → 'SHOUT'", "environment AWAY_GATEWAY_SHOP_PASSWORD"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_and_says_what_it_shows(name):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for each in SAID[name]:
        assert each in done.stdout


def test_no_example_is_left_out():
    assert {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")} == set(SAID)


def commands():
    readme = (ROOT / "README.md").read_text()
    return [block.strip() for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)]


def test_the_readmes_first_command_runs_the_main_job_and_the_second_the_tests():
    first, second = commands()[:2]
    assert first.endswith("examples/quickstart.py")
    assert "'.[test]'" in second
    assert "pytest" in second
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "test" in extras["optional-dependencies"]


def test_every_file_that_the_readme_points_at_exists():
    for target in re.findall(r"\]\(((?!http)[^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_the_readmes_configuration_is_one_and_reaches_a_connection(tmp_path, monkeypatch):
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    own = "\n".join(each for each in blocks if each.startswith("[gateways"))
    home = tmp_path / "away"
    home.mkdir()
    (home / "config.toml").write_text(own)
    (home / "prod.password").write_text("not-to-be-shown")
    (home / "prod.password").chmod(0o600)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    faas = FaasConnection.named("prod")
    assert (faas.url, faas.registry) == ("https://faas.example.com", "ghcr.io/me")
    assert faas.password == "not-to-be-shown"
    for each in blocks:
        tomllib.loads(each)


def test_what_the_readme_publishes_from_a_file_calls_nothing_as_it_is_imported():
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        tree = ast.parse(block)
        published = {
            each.name
            for each in tree.body
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            and any("builder.publish" in ast.unparse(one) for one in each.decorator_list)
        }
        called = {
            ast.unparse(node.func)
            for each in tree.body
            if isinstance(each, ast.Expr | ast.Assign)
            for node in ast.walk(each)
            if isinstance(node, ast.Call)
        }
        assert not published & called


def test_the_readmes_python_is_python():
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        compile(block, "README.md", "exec")

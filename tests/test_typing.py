"""Types: what the checker sees of decorators, connections and imports from gateways."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FILES = Path(__file__).parent / "typing"
needs_mypy = pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")


@needs_mypy
@pytest.mark.slow
def test_users_code_is_accepted_and_refused_where_it_must_be(tmp_path):
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path)),
            *("--config-file", "", "--no-error-summary", *map(str, sorted(FILES.glob("*.py")))),
        ],
        capture_output=True,
        text=True,
        cwd=FILES.parent.parent,
    )
    # Errors in the package itself are another test's: these files are what is asked here.
    wrong = [line for line in ran.stdout.splitlines() if line.startswith("tests/typing/")]
    assert not wrong, "\n".join(wrong)
    assert ran.stderr == ""


def test_the_stubs_and_the_marker_are_part_of_the_package():
    package = FILES.parent.parent / "away"
    for name in ("py.typed", "remote/__init__.pyi", "remote/local.pyi"):
        assert (package / name).is_file()

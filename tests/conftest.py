"""What every test shares: how hypothesis runs here, and folders that are the tests' own."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap

import pytest
from hypothesis import HealthCheck, settings

from away import secret_texts

# A loaded machine is slow, not wrong: no deadline an example, and no complaint about slow draws.
settings.register_profile(
    "away", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("away")


@pytest.fixture(autouse=True)
def own_environment(tmp_path_factory, monkeypatch):
    """Keep the tests away from the user's own configuration, announcements and variables."""
    before = {*os.environ}
    for name in before:
        if name.startswith(("AWAY_", "OPENFAAS_")) and not name.startswith("AWAY_TEST_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".state"))
    monkeypatch.setenv("AWAY_RUNTIME_DIR", str(home / "run"))
    monkeypatch.delenv("CI", raising=False)
    yield
    # As commands do that a test ran in this process: the fixtures of other modules would have it.
    for name in {each for each in os.environ if each.startswith("AWAY_")} - before:
        del os.environ[name]


@pytest.fixture(autouse=True)
def no_short_passwords_left():
    """Forget what a test made of a letter or two: as known passwords they are in everything.

    A process never forgets a password, so that one test's would refuse another's function.
    """
    before = secret_texts.known()
    yield
    short = {each for each in secret_texts.known() - before if len(each) < 6}
    secret_texts._texts.difference_update(short)


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a module of the user's own and import it; the same name again is another version."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    # Python goes by size and time of a file, and two versions may have the same.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, source: str):
        monkeypatch.delitem(sys.modules, name, raising=False)
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        module = importlib.import_module(name)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return write

"""What a folder, a file or an option of bad will cannot do to who publishes from it."""

from __future__ import annotations

import hashlib
import json

import pytest

from away import FaasConnection
from away.publish.export import export

REGISTRY = "registry.example.com"


@pytest.fixture
def faas():
    with FaasConnection("https://faas.example.com") as made:
        yield made


@pytest.fixture
def add():
    def add(a: int, b: int = 2) -> int:
        return a + b

    return add


# ---------------------------------------------------------------- a folder to export into


@pytest.mark.parametrize("depth", ["link", "deep/link"])
def test_an_exports_list_removes_nothing_through_a_linked_folder(tmp_path, faas, add, depth):
    victim, folder = tmp_path / "victim", tmp_path / "project"
    victim.mkdir()
    (victim / "known.txt").write_text("user=ada\n")
    link = folder / depth
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    digest = hashlib.sha256(b"user=ada\n").hexdigest()
    listed = {"files": {f"{depth}/known.txt": digest}}
    (folder / ".away-export.json").write_text(json.dumps(listed))
    export(add, faas, folder, force=True, registry=REGISTRY)
    assert (victim / "known.txt").read_text() == "user=ada\n"

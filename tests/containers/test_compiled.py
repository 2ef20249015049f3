"""Compiled files and listed files in real containers."""

from __future__ import annotations

import importlib

from tests.places import Place
from tests.scenarios import project  # noqa: F401

LOADED = """
    import sys
    from pathlib import Path

    HERE = Path(__file__).parent

    def loaded():
        import away.runtime.calls as calls
        # Of Away's own files only what was compiled for an image lacks the columns.
        places = [each for each in calls.Calls.about.__code__.co_positions() if each[0]]
        heads = [
            list(Path(sys.modules[name].__spec__.cached).read_bytes()[4:8])
            for name in ("away.runtime.calls", "away.protocol", __name__)
        ]
        return any(each[2] for each in places), heads, loaded.__code__.co_filename

    def table():
        return (HERE / "tables" / "one.csv").read_text()
"""


def test_a_container_runs_the_compiled_files_of_its_image(place: Place, project, monkeypatch):  # noqa: F811
    project({"loaded_there.py": LOADED})
    module = importlib.import_module("loaded_there")
    function = place.publish("loaded")(module.loaded)
    columns, heads, file = function()
    assert columns is False
    # PEP 552: a hash of the source follows, which is not checked.
    assert heads == [[1, 0, 0, 0]] * 3
    assert file == "/opt/away/function/modules/loaded_there.py"


def test_a_listed_folder_is_found_beside_the_module(place: Place, project):  # noqa: F811
    project({"loaded_there.py": LOADED, "tables/one.csv": "one\n"})
    module = importlib.import_module("loaded_there")
    assert place.publish("table", include=["tables"])(module.table)() == "one\n"

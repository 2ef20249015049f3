"""Requirements: what a function imports is pinned, packed as the user's own, or refused in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from away.exceptions import CaptureRefused
from away.requirements import listed, module_file, origin, requirement

ROOT = Path(__file__).parent.parent


def install(site: Path, name: str, number: str, files: dict[str, str], **more: str) -> None:
    """Put a distribution into a folder of packages as an installer does."""
    info = site / f"{name.replace('-', '_')}-{number}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    for path, text in files.items():
        target = site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for path, text in more.items():
        (info / path.replace("__", ".")).write_text(text)
    (info / "RECORD").write_text("".join(f"{path},sha256=x,1\n" for path in files))


@pytest.fixture
def site(tmp_path):
    """Give a folder of packages with every kind of distribution."""
    site = tmp_path / "lib" / "site-packages"
    install(site, "Plain", "1.0", {"plain/__init__.py": "", "plain/deep.py": ""})
    install(site, "other-name", "2.1", {"known.py": "ONE = 1\n"})
    install(site, "cloud-a", "3.0", {"cloud/a/__init__.py": ""})
    install(site, "cloud-b", "4.0", {"cloud/b/__init__.py": ""})
    install(site, "labelled", "5.0+local.7", {"labelled/__init__.py": ""})
    git = json.dumps({"url": "https://x/y", "vcs_info": {"vcs": "git", "commit_id": "a"}})
    install(site, "from-git", "6.0", {"from_git/__init__.py": ""}, direct_url__json=git)
    here = json.dumps({"url": f"file://{tmp_path}/mine", "dir_info": {}})
    files = {"mine/__init__.py": "import plain\nTWO = 2\n"}
    install(site, "mine", "7.0", files, direct_url__json=here)
    # An editable installation has a .pth file, and its modules outside.
    there = tmp_path / "project" / "src"
    (there / "edited").mkdir(parents=True)
    (there / "edited" / "__init__.py").write_text("import known\nTHREE = 3\n")
    (site / "__editable__.pth").write_text(f"{there}\n")
    editable = json.dumps({"url": f"file://{there}", "dir_info": {"editable": True}})
    install(site, "edited", "8.0", {}, direct_url__json=editable)
    (site / "orphan.py").write_text("")
    old = site / "Old_Style-9.0.egg-info"
    old.mkdir()
    (old / "PKG-INFO").write_text("Metadata-Version: 1.1\nName: Old-Style\nVersion: 9.0\n")
    (old / "top_level.txt").write_text("oldone\n")
    (site / "oldone.py").write_text("")
    return site


def captured(site: Path, statement: str, **options: object) -> dict[str, object]:
    """Capture a function that imports something, with this folder of packages."""
    source = (
        "import json, site, sys\n"
        f"site.addsitedir({str(site)!r})\n"
        f"{statement}\n"
        "from away.capture import capture\n"
        f"try: c = capture(f, **{options!r})\n"
        "except Exception as e: print(json.dumps({'error': f'{type(e).__name__}: {e}'}))\n"
        "else: print(json.dumps({'specs': [r.spec for r in c.requirements],\n"
        "    'why': [r.why for r in c.requirements], 'files': [x.path for x in c.files]}))\n"
    )
    script = site.parent / "script.py"
    script.write_text(source)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("statement", "specs"),
    [
        ("import plain\ndef f(): return plain", ["Plain==1.0"]),
        ("import plain.deep\ndef f(): return plain.deep", ["Plain==1.0"]),
        ("def f():\n    from plain import deep", ["Plain==1.0"]),
        ("import known\ndef f(): return known", ["other-name==2.1"]),
        ("from known import ONE\ndef f(): return ONE", []),
        ("import cloud.a\ndef f(): return cloud.a", ["cloud-a==3.0"]),
        ("def f():\n    from cloud import b", ["cloud-b==4.0"]),
        ("def f():\n    import cloud.a, cloud.b", ["cloud-a==3.0", "cloud-b==4.0"]),
        ("import oldone\ndef f(): return oldone", ["Old-Style==9.0"]),
        ("import yaml\ndef f(): return yaml", [f"PyYAML=={version('pyyaml')}"]),
        ("def f():\n    import json, os.path, dataclasses", []),
        ("def f():\n    import away\n    from away import builder, FaasConnection", []),
    ],
)
def test_an_import_is_pinned_to_the_distribution_that_has_its_file(site, statement, specs):
    assert captured(site, statement)["specs"] == specs


@pytest.mark.parametrize(
    ("statement", "files", "specs"),
    [
        ("import edited\ndef f(): return edited", ["edited/__init__.py"], ["other-name==2.1"]),
        ("import mine\ndef f(): return mine", ["mine/__init__.py"], ["Plain==1.0"]),
    ],
    ids=["editable", "from a folder"],
)
def test_a_project_of_this_machine_is_packed_as_source(site, statement, files, specs):
    said = captured(site, statement)
    assert (said["files"], said["specs"]) == (files, specs)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import labelled\ndef f(): return labelled", ("labelled 5.0+local.7 is a local build",)),
        ("import from_git\ndef f(): return from_git", ("from-git 6.0 was installed from an address",)),
        ("import orphan\ndef f(): return orphan", ("orphan belongs to no installed distribution",)),
    ],
)  # fmt: skip
def test_what_no_installer_could_find_is_refused_unless_it_is_listed(site, statement, words):
    error = captured(site, statement)["error"]
    assert error.startswith("CaptureRefused: `f` uses the global `")
    assert all(each in error for each in (*words, "requirements="))


@pytest.mark.parametrize(
    ("statement", "users", "specs"),
    [
        ("import labelled\ndef f(): return labelled", ["labelled==5.0"], ["labelled==5.0"]),
        ("import from_git\ndef f(): return from_git", ["From_Git @ https://x/y-1.whl"], ["From_Git @ https://x/y-1.whl"]),
        ("import orphan\ndef f(): return orphan", ["orphan>=1"], ["orphan>=1"]),
        ("import plain\ndef f(): return plain", ["plain>=0.5"], ["plain>=0.5"]),
        ("def f(): ...", ["extra[fast]==1"], ["extra[fast]==1"]),
    ],
)  # fmt: skip
def test_what_the_user_lists_goes_before_what_is_found(site, statement, users, specs):
    assert captured(site, statement, requirements=users)["specs"] == specs


def test_a_requirement_says_why(site):
    said = captured(site, "import plain\ndef f(): return plain")
    assert said["why"] == ["`f` uses the global `plain`"]
    (site.parent / "own.py").write_text("\nimport known\ndef g(): return known\n")
    said = captured(site, "from own import g as f")
    assert said["why"] == ["own.py, line 2, imports known"]


@pytest.mark.parametrize("spec", ["", "==1", "-e .", "./folder"])
def test_what_is_no_requirement_is_refused(spec):
    with pytest.raises(CaptureRefused, match="is no requirement"):
        listed([spec])


def test_nothing_is_imported_to_find_out():
    code = (
        "import sys; from away.requirements import origin, module_file\n"
        "print(origin('requests').kind, module_file('requests.adapters').name)\n"
        "print([m for m in ('requests', 'importlib_metadata') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "installed adapters.py\n[]\n", done.stderr


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("json", "standard"),
        ("sys", "standard"),
        ("xml.etree", "standard"),
        ("_thread", "standard"),
        ("yaml", "installed"),
        ("away.builder", "away"),
        ("nowhere_at_all", "absent"),
        ("tests", "local"),
    ],
)
def test_every_module_has_one_origin(name, kind):
    assert origin(name).kind == kind


def test_the_file_of_a_module_is_found_below_its_package():
    assert module_file("tests.test_requirements") == Path(__file__)
    assert module_file("tests.nothing") is None
    assert module_file("sys") is None


def test_a_pin_is_found_again_after_an_upgrade(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    install(site, "moving", "1.0", {"moving_part/__init__.py": ""})
    monkeypatch.syspath_prepend(str(site))
    assert requirement("moving_part", "f").version == "1.0"
    (site / "moving-1.0.dist-info" / "RECORD").unlink()
    install(site, "moving", "1.1", {"moving_part/__init__.py": ""})
    assert requirement("moving_part", "f").version == "1.1"


# ---------------------------------------------------------------- what is no requirement


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("git+https://x/y", "is no wheel's"),
        ("evil @ git+file:///tmp/evil", "is no wheel's"),
        ("evil @ file:///tmp/evil", "is no wheel's"),
        ("evil @ file:///tmp/evil-1-py3-none-any.whl", "is no wheel's"),
        ("evil @ https://x/evil-1.tar.gz", "is no wheel's"),
        ("evil @ https://x/evil.whl?file=evil.tar.gz", "is no wheel's"),
        ("evil @ https://x/evil.whl#egg=evil", "is no wheel's"),
        ("evil @ https://x/${HOME}.whl", "is no wheel's"),
        ("evil @ http://x.example/evil-1-py3-none-any.whl", "plain http"),
        ("evil @ https://ada:T0KEN-987@x/evil-1-py3-none-any.whl", "a login in its address"),
        ("evil @ https://T0KEN-987@x/evil-1-py3-none-any.whl", "a login in its address"),
        ("git+https://ada:T0KEN-987@x/y", "a login in its address"),
        ("/tmp/evil", "is no requirement"),
        ("./evil-1-py3-none-any.whl", "is no requirement"),
        ("-r other.txt", "is no requirement"),
        ("plain==1\n--index-url=x", "is no requirement"),
        ("plain==1\n", "is no requirement"),
        ("plain==1 --config-settings=x", "is no requirement"),
        ("plain; python_version > '3' --global-option=x", "is no requirement"),
        ("plain==1 # and", "is no requirement"),
        ("", "is no requirement"),
    ],
)
def test_what_would_run_code_here_or_is_an_option_is_refused_without_its_address(spec, why):
    from away.secret_texts import hidden

    with pytest.raises(CaptureRefused) as caught:
        listed([spec])
    text = str(caught.value)
    assert why in text
    assert "'name==version'" in text
    assert "T0KEN" not in text
    assert "tmp/evil" not in text or "@" not in spec
    assert "T0KEN" not in spec or hidden("T0KEN-987") != "T0KEN-987"


@pytest.mark.parametrize(
    ("spec", "name", "version"),
    [
        ("numpy==2.1.0", "numpy", "2.1.0"),
        ("numpy (== 2.1.0)", "numpy", "2.1.0"),
        ("pandas >=2, <3", "pandas", ""),
        ("extra[fast,all]~=1.0; python_version < '3.12' and os_name == \"posix\"", "extra", ""),
        ("wx @ https://x.example/a/wx-1-py3-none-any.whl", "wx", ""),
        ("wx@https://x/wx-1+cu.whl#sha256=00ff ; os_name=='posix'", "wx", ""),
        ("wx @ http://127.0.0.1:80/wx-1-py3-none-any.whl", "wx", ""),
    ],
)
def test_requirements_by_the_grammar_are_taken(spec, name, version):
    assert listed([spec])[0][:2] == (name, version)

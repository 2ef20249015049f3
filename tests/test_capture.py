"""Capture: what travels arrives and does the same there, and what cannot is refused in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away.capture.leaks import holds_secret, line_of_secret
from tests.capture_kinds import KINDS, REFUSED

CAPTURING = Path(__file__).with_name("capturing.py")
ROOT = Path(__file__).parent.parent


def run(*arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a Python program with nothing but Away to import."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(env or {})}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Capture all kinds in one run, and call them in another; a folder a kind."""
    root = tmp_path_factory.mktemp("kinds")
    for index, kind in enumerate([*KINDS, *REFUSED]):
        folder = root / f"{index:03}"
        write(folder / "source", {"main.py": kind.source, **kind.files})
        if kind in KINDS:
            call = repr((kind.args, dict(kind.kwargs), kind.twice))
            (folder / "call.json").write_text(json.dumps({"call": call}))
    shop = {"AWAY_GATEWAY_SHOP_URL": "http://shop.example:8080"}
    run(CAPTURING, "capture", root, env=shop)
    called = root.parent / "called"
    called.mkdir()
    for index in range(len(KINDS)):
        (root / f"{index:03}").rename(called / f"{index:03}")
    # The scripts and their modules are gone when the payloads are called.
    for folder in called.iterdir():
        (folder / "source").rename(folder / "gone")
    run(CAPTURING, "call", called, env={"AWAY_RUNTIME": "1", **shop})
    return {**{f.name: f for f in root.iterdir()}, **{f.name: f for f in called.iterdir()}}


@pytest.mark.parametrize("index", range(len(KINDS)), ids=[kind.id for kind in KINDS])
def test_a_captured_function_does_the_same_in_a_process_that_lacks_its_modules(table, index):
    kind, folder = KINDS[index], table[f"{index:03}"]
    captured = json.loads((folder / "captured.json").read_text())
    assert "error" not in captured, captured["traceback"]
    called = json.loads((folder / "called.json").read_text())
    assert "error" not in called, called["traceback"]
    assert called["value"] == repr(kind.gives)
    assert captured["form"] == kind.form


@pytest.mark.parametrize("index", range(len(REFUSED)), ids=[kind.id for kind in REFUSED])
def test_what_cannot_travel_is_refused_by_its_variable_and_the_path_to_it(table, index):
    refused, folder = REFUSED[index], table[f"{len(KINDS) + index:03}"]
    captured = json.loads((folder / "captured.json").read_text())
    assert "error" in captured, captured
    assert captured["error"].startswith("CaptureRefused: "), captured["traceback"]
    for words in refused.words:
        assert words in captured["error"]
    assert captured["path"] == refused.path


# ------------------------------------------------------------------ the same bytes for the same function

STEADY = """
import dataclasses, enum, functools
WORDS = {'delta', 'alpha', 'charlie', 'bravo'}
FROZEN = frozenset({('a', 1), ('b', 2), None, 3.5, 'text', b'bytes'})
class Colour(enum.Enum):
    RED = 1
    BLUE = 2
TONES = {Colour.RED, Colour.BLUE}
@dataclasses.dataclass
class Item:
    name: str
    tags: set = dataclasses.field(default_factory=set)
    def double(self):
        self.one, self.two, self.three = 1, 2, 3
        return Item(self.name * 2)
KINDS = {Item, Colour}
def helper(v): return v in {'x', 'y', 'z'}
@functools.lru_cache
def function(v=('a', 'b')):
    class Inner:
        def set(self): self.a, self.b, self.c, self.d = 1, 2, 3, 4
    return [sorted(WORDS), FROZEN, TONES, Item('a').double(), helper(v), KINDS, Inner]
from away.capture import capture
c = capture(function)
import hashlib
print(c.identity, hashlib.sha256(c.payload).hexdigest(), c.entry)
"""


def test_hash_seeds_change_nothing(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    lines = {
        run(tmp_path / "steady.py", env={"PYTHONHASHSEED": seed}) for seed in ("0", "1", "2", "77")
    }
    assert len(lines) == 1


def test_a_function_that_only_moved_keeps_its_identity_but_true_line_numbers(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "steady.py").write_text("# one\n\n\n# more\n" + STEADY)
    here, there = run(tmp_path / "steady.py").split(), run(tmp_path / "moved/steady.py").split()
    assert here[0] == there[0]
    assert here[1] != there[1]
    assert here[2] == there[2] == "steady:function"


def test_a_changed_constant_is_another_identity(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    first = run(tmp_path / "steady.py").split()[0]
    (tmp_path / "steady.py").write_text(STEADY.replace("'alpha'", "'alpine'"))
    assert run(tmp_path / "steady.py").split()[0] != first


def test_a_script_is_one_entry_and_one_identity_however_it_is_started(tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    as_script = run(tmp_path / "steady.py")
    as_module = run("-m", "steady", cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}"})
    as_worker = run(
        "-c",
        f"import runpy; runpy.run_path({str(tmp_path / 'steady.py')!r}, run_name='__mp_main__')",
    )
    assert as_script == as_module
    assert as_script.split()[::2] == as_worker.split()[::2]


@pytest.mark.parametrize("way", ["-c", "stdin"])
def test_without_a_file_the_entry_is_main(way):
    source = "def f(): return 1\nfrom away.capture import capture\nprint(capture(f).entry)"
    if way == "-c":
        assert run("-c", source) == "__main__:f\n"
    else:
        done = subprocess.run(
            [sys.executable, "-"], input=source, capture_output=True, text=True, cwd=ROOT
        )
        assert done.stdout == "__main__:f\n", done.stderr


def test_two_threads_capture_at_once(tmp_path):
    (tmp_path / "main.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from away.capture import capture\n"
        "N = {'a': [1, 2, 3]}\n"
        "def helper(a): return N[a]\n"
        "def function(a): return helper(a)\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(len({c.payload for c in pool.map(capture, [function] * 64)}))\n"
    )
    assert run(tmp_path / "main.py") == "1\n"


# ------------------------------------------------------------------ what a capture says and takes


def outcome(folder: Path, source: str, files: dict[str, str | bytes] | None = None, **options):
    """Run a script that prints a dict as JSON, in a folder with these files beside it."""
    write(folder, {"main.py": source, **(files or {})})
    return json.loads(run(folder / "main.py", **options))


SAY = """
import json, sys
from away.capture import capture
def say(c, **more):
    print(json.dumps({
        'form': c.form, 'entry': c.entry, 'name': c.name, 'dill': c.needs_dill,
        'client': c.needs_client, 'files': [f.path for f in c.files], 'gateways': c.gateways,
        'references': c.references, 'requirements': [r.spec for r in c.requirements],
        'why': [r.why for r in c.requirements],
        'values': c.values, 'warnings': c.warnings,
        'header': json.loads(c.payload.partition(b'\\n')[0]), **more}))
"""


def test_a_function_of_a_module_needs_no_dill_and_none_is_imported(tmp_path):
    said = outcome(
        tmp_path,
        SAY + "from tools import add\nsay(capture(add), loaded='dill' in sys.modules)",
        {"tools.py": "def add(a): return a\n"},
    )
    assert (said["form"], said["dill"], said["loaded"]) == ("import", False, False)
    assert said["entry"] == "tools:add"
    assert said["header"]["body_sha256"]
    assert said["header"]["files"][0][0] == "tools.py"


def test_importing_capture_is_light():
    heavy = ["dill", "requests", "aiohttp", "yaml", "asyncio", "importlib_metadata"]
    out = run("-c", f"import sys, away.capture; print([m for m in {heavy} if m in sys.modules])")
    assert out == "[]\n"


def test_unsafe_arguments_need_dill_in_any_form(tmp_path):
    said = outcome(
        tmp_path,
        SAY + "from tools import add\nsay(capture(add, safe_args=False))",
        {"tools.py": "def add(a): return a\n"},
    )
    assert (said["dill"], said["header"]["safe"]) == (True, False)


def test_the_header_is_one_line_of_json_that_tells_the_python(tmp_path):
    said = outcome(tmp_path, SAY + "def f(): return 1\nsay(capture(f))")["header"]
    assert said["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert said["cache_tag"] == sys.implementation.cache_tag
    assert (said["format"], said["form"], said["kind"], said["name"]) == (1, "dill", "sync", "f")


def test_values_are_listed_with_their_sizes(tmp_path):
    source = SAY + (
        "WORDS = ['a'] * 1000\ndef helper(): return WORDS\n"
        "def make(n):\n    def inner(x=(1, 2)): return helper(), n, x\n    return inner\n"
        "say(capture(make(12345678)))"
    )
    said = outcome(tmp_path, source)
    values = {name: (kind, size) for name, kind, size, _ in said["values"]}
    assert values["WORDS"][0] == "list"
    assert 1_000 < values["WORDS"][1] < 5_000
    assert values["n"] == ("int", 5)
    assert values["x"][0] == "tuple"
    assert values["helper"][0] == "function"


def test_a_preview_lists_all_that_goes_along_and_needs_no_name(tmp_path):
    write(
        tmp_path,
        {
            "tools.py": "def add(a): return a\n",
            "main.py": "import yaml\nfrom tools import add\nfrom away.capture import preview\n"
            "BASE = {'a': 1}\n"
            "print(preview(lambda a: yaml.safe_load(str(BASE)) or add(a)).listing())",
        },
    )
    lines = run(tmp_path / "main.py").splitlines()
    assert lines[0].startswith("main:<lambda> by dill, ")
    assert any(line.startswith("  value BASE: dict, ") for line in lines)
    assert any(line.startswith("  file tools.py: ") for line in lines)
    assert any(line.startswith("  requirement PyYAML==") for line in lines)


def test_other_remote_functions_travel_as_references_and_bring_the_client(tmp_path):
    source = SAY + (
        "from away.connection import FaasConnection\nfrom away.functions import RemoteFunction\n"
        "other = RemoteFunction(FaasConnection('gw.example'), 'other', namespace='n')\n"
        "def f(a): return other(a)\nsay(capture(f))"
    )
    said = outcome(tmp_path, source)
    assert said["references"] == [["http://gw.example:8080", "n", "other", "sync", ""]]
    assert said["client"] is True
    assert said["requirements"] == []


STUB = (
    "from away.connection import FaasConnection\nfrom away.functions import RemoteFunction\n"
    "other = RemoteFunction(FaasConnection('gw.example'), 'other')\n"
)


@pytest.mark.parametrize(
    "module",
    [
        STUB + "def f(a): return other(a)\n",
        STUB + "def helper(a): return [other][0](a)\ndef f(a): return helper(a)\n",
        STUB + "class C:\n    def m(self): return other(1)\ndef f(a): return C().m()\n",
        "import stubs\ndef f(a): return stubs.other(a)\n",
    ],
    ids=["directly", "through a helper", "through a class", "of another module"],
)
def test_a_module_that_calls_other_remote_functions_brings_the_client(tmp_path, module):
    files = {"mod.py": module, "stubs.py": STUB}
    said = outcome(tmp_path, SAY + "from mod import f\nsay(capture(f))", files)
    assert said["form"] == "import"
    assert said["references"] == [["http://gw.example:8080", "", "other", "sync", ""]]
    assert said["client"] is True


def test_a_stub_that_the_function_does_not_use_brings_no_client(tmp_path):
    files = {
        "mod.py": STUB.replace("from away.connection", "from away.connection")
        + "def f(a): return a\n"
    }
    said = outcome(tmp_path, SAY + "from mod import f\nsay(capture(f))", files)
    assert said["references"] == []


@pytest.mark.parametrize(
    ("statement", "gateways", "client"),
    [
        ("import away.remote.shop as shop", ["shop"], True),
        ("from away.remote.shop import price", ["shop"], True),
        ("from away.remote import shop", ["shop"], True),
        ("from away.remote.aio.shop import price", ["shop"], True),
        ("from away import exceptions, secret", [], False),
        ("import away", [], False),
        ("from away.exceptions import AwayError", [], False),
        ("from away.connection import FaasConnection", [], True),
        ("from away import builder", [], True),
        ("from away import FaasConnection; FaasConnection.named('shop')", ["shop"], True),
        ("from away import FaasConnection; FaasConnection.named(name='shop')", ["shop"], True),
        ("from away import FaasConnection; FaasConnection.named()", ["default"], True),
        ("from away import FaasConnection; FaasConnection.local()", ["local"], True),
    ],
)
def test_packed_code_that_imports_from_a_gateway_brings_the_client(
    tmp_path, statement, gateways, client
):
    files = {"mod.py": f"def f(a):\n    {statement}\n    return a\n"}
    said = outcome(tmp_path, SAY + "from mod import f\nsay(capture(f))", files)
    assert (said["gateways"], said["client"]) == (gateways, client)
    script = f"def f(a):\n    {statement}\n    return a\nsay(capture(f))"
    said = outcome(tmp_path, SAY + script)
    assert (said["gateways"], said["client"]) == (gateways, client)


BODIES = """
import away, threading
from away import builder, FaasConnection
from away import FaasConnection as Gateway
faas = FaasConnection('gw.example', name='shop')
def by_name(a): return FaasConnection.named('shop').invoke('f', a)
def by_alias(a): return Gateway.named('shop').invoke('f', a)
def by_package(a): return away.FaasConnection.named('shop').invoke('f', a)
def by_stub(a): return builder.sync_from_name('f', FaasConnection.named('shop'))(a)
def by_helper(a): return by_stub(a)
def by_kept(a): return faas.invoke('f', a)
def none(a): return a, threading.local(), away.exceptions.AwayError
"""


CONNECTING = ["by_name", "by_alias", "by_package", "by_stub", "by_helper", "none"]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        *(("import", name) for name in CONNECTING),
        # A connection that a module keeps stays in the module; by value none could go along.
        ("import", "by_kept"),
        *(("dill", name) for name in CONNECTING),
    ],
)
def test_a_body_that_connects_to_a_gateway_brings_the_client_and_its_name(tmp_path, name, form):
    if form == "import":
        said = outcome(
            tmp_path, SAY + f"from mod import {name} as f\nsay(capture(f))", {"mod.py": BODIES}
        )
    else:
        said = outcome(tmp_path, BODIES + SAY + f"say(capture({name}))")
    assert said["form"] == form
    assert (said["gateways"], said["client"]) == (
        ([], False) if name == "none" else (["shop"], True)
    )


@pytest.mark.parametrize(
    ("function", "asynchronous"),
    [
        ("def f(a): return other(a)", False),
        ("async def f(a): return other(a)", True),
        ("async def f(a): return await later(a)", True),
        ("import asyncio\ndef f(a): return asyncio.run(later(a))", True),
        ("def f(a):\n    import away.remote.shop as shop\n    return shop.other(a)", True),
        ("def f(a): return a", False),
    ],
)
def test_the_async_client_is_packed_where_a_reference_may_be_awaited(
    tmp_path, function, asynchronous
):
    stubs = STUB + "later = RemoteFunction(FaasConnection('gw.example'), 'later', kind='async')\n"
    ask = "say(capture(f), asynchronous=capture(f).needs_async_client)"
    said = outcome(
        tmp_path,
        SAY + stubs + function + "\n" + ask,
    )
    assert said["asynchronous"] is asynchronous
    if "other" not in function and "later" not in function:
        return
    said = outcome(
        tmp_path,
        SAY + "from mod import f\n" + ask,
        {"mod.py": stubs + function + "\n"},
    )
    assert said["asynchronous"] is asynchronous


def test_a_gateways_module_in_a_script_brings_the_client_and_its_name(tmp_path):
    source = SAY + "import away.remote.shop as shop\ndef f(a): return shop, 1\nsay(capture(f))"
    said = outcome(tmp_path, source, env={"AWAY_GATEWAY_SHOP_URL": "http://127.0.0.1:9"})
    assert (said["gateways"], said["client"]) == (["shop"], True)


# ------------------------------------------------------------------ what a description tells

KNOWN = "from away.secret_texts import remember\nremember('correcthorse'); remember('pass'); remember('1234')\n"


@pytest.mark.parametrize(
    ("function", "where"),
    [
        ("def f(a, word=SECRET): ...", "the default of `word`"),
        ("def f(a, word='pass'): ...", "the default of `word`"),
        ("def f(a, *, conf={'k': [SECRET]}): ...", "the default of `conf`"),
        ("def f(a, password=1234): ...", "the default of `password`"),
        ("class C:\n    def __repr__(self): return f'C({SECRET})'\ndef f(a, c=C()): ...", "the default of `c`"),
        ("def f(a): ...\nf.__doc__ = f'uses {SECRET}'", "the docstring"),
        ("def f(a: f'like {SECRET}'): ...", "the annotation of `a`"),
        ("def f(a) -> f'like {SECRET}': ...", "the annotation of what it returns"),
    ],
)  # fmt: skip
def test_a_secret_that_would_stand_in_a_description_is_refused(tmp_path, function, where):
    module = f"import os\nSECRET = os.environ['WORD'] + 'horse'\n{function}\n"
    # Of a module, whose file holds none: what is evaluated is found by its value.
    (tmp_path / "main.py").write_text(
        KNOWN + "from away.capture import capture\n"
        "import mod\ntry: capture(mod.f)\nexcept TypeError as error: print(error)"
    )
    (tmp_path / "mod.py").write_text(module)
    out = run(tmp_path / "main.py", env={"WORD": "correct"})
    assert "holds a password or token that this process knows" in out
    assert "correcthorse" not in out
    if "'pass'" not in function and "1234" not in function:
        assert out.startswith(where)
        assert "away.secret('NAME')" in out


def test_a_short_secret_inside_a_description_is_chance(tmp_path):
    module = "def f(a: 'a passer', n=1234, word='passing'):\n    'Let it pass.'\n"
    said = outcome(tmp_path, KNOWN + SAY + "from mod import f\nsay(capture(f))", {"mod.py": module})
    assert said["name"] == "f"


# ------------------------------------------------------------------ files


def test_dotfiles_keys_caches_and_version_control_are_never_packed(tmp_path):
    files = {
        "shop/__init__.py": "def f(): return 1\n",
        "shop/data/rates.csv": "1,2\n",
        "shop/.env": "SECRET=1",
        "shop/production.env": "SECRET=1",
        "shop/.hidden/x.py": "",
        "shop/.git/config": "",
        "shop/server.key": "k",
        "shop/cert.PEM": "k",
        "shop/id_rsa": "k",
        "shop/id_ed25519.pub": "k",
        "shop/__pycache__/x.cpython-311.pyc": b"",
        "shop/CVS/Root": "",
        "elsewhere.py": "",
    }
    write(tmp_path, files)
    (tmp_path / "shop" / "harmless").symlink_to("server.key")
    said = outcome(tmp_path, SAY + "from shop import f\nsay(capture(f))")
    assert said["files"] == ["shop/__init__.py", "shop/data/rates.csv"]
    assert sum("looks like a key" in each for each in said["warnings"]) == 6


def test_an_unneeded_module_beside_the_script_is_not_packed(tmp_path):
    files = {"one.py": "import two\n", "two.py": "", "three.py": ""}
    said = outcome(tmp_path, SAY + "import one\ndef f(): return one\nsay(capture(f))", files)
    assert said["files"] == ["one.py", "two.py"]


def test_what_an_absent_import_means_is_told(tmp_path):
    files = {"one.py": "def f():\n    import nowhere_to_be_found\n"}
    said = outcome(tmp_path, SAY + "from one import f\nsay(capture(f))", files)
    assert said["warnings"] == [
        "one.py, line 2, imports nowhere_to_be_found, and nowhere_to_be_found is not installed"
        " here, so it is not packed"
    ]


def test_an_absent_import_that_a_listed_requirement_brings_is_not_said_to_stay_behind(tmp_path):
    files = {"one.py": "def f():\n    import nowhere_to_be_found\n"}
    code = SAY + "from one import f\nsay(capture(f, requirements=['Nowhere-to.be_found>=1']))"
    said = outcome(tmp_path, code, files)
    assert said["warnings"] == []
    said = outcome(tmp_path, code.replace("Nowhere-to.be_found>=1", "another"), files)
    assert said["warnings"] == [
        "one.py, line 2, imports nowhere_to_be_found, and nowhere_to_be_found is not installed"
        " here; a requirement that you listed may bring it"
    ]


def test_computed_names_and_file_are_told(tmp_path):
    source = SAY + "A = 1\ndef f(): return globals()['A'], __file__\nsay(capture(f))"
    said = outcome(tmp_path, source)
    assert any("calls globals()" in each for each in said["warnings"])
    assert any("uses __file__" in each for each in said["warnings"])
    assert str(tmp_path) not in json.dumps(said)


def test_no_path_of_this_machine_is_in_a_payload(tmp_path):
    source = (
        "from away.capture import capture\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass A:\n    x: int = 1\n"
        "def f(): return A(), __file__\nprint(capture(f).payload.hex())"
    )
    (tmp_path / "main.py").write_text(source)
    payload = bytes.fromhex(run(tmp_path / "main.py"))
    assert str(tmp_path).encode() not in payload


def test_a_secret_below_eight_letters_counts_only_as_a_whole_text(tmp_path):
    files = {"conf.py": "USER = 'passive'\nSIZE = 1234\ndef f(): return USER\n"}
    source = "from away.secret_texts import remember\nremember('pass'); remember('1234')\n"
    said = outcome(tmp_path, source + SAY + "from conf import f\nsay(capture(f))", files)
    assert said["files"] == ["conf.py"]


def test_a_secret_is_in_no_message(tmp_path):
    source = (
        "from away.secret_texts import remember\nremember('correcthorse')\n"
        "from away.capture import capture\n"
        "THE = {'correcthorse': 1, 'k': ['correcthorse']}\ndef f(): return THE\n"
        "try: capture(f)\nexcept TypeError as error: print(error, error.path)"
    )
    (tmp_path / "main.py").write_text(source)
    out = run(tmp_path / "main.py")
    assert "`THE['•••']`, which holds a password or token" in out
    assert "correcthorse" not in out


@given(st.binary(), st.text(min_size=1, max_size=12), st.booleans())
def test_any_bytes_can_be_searched_for_a_secret(data, secret, python):
    line = line_of_secret(data, python=python, secrets=[secret])
    assert line is None or 1 <= line <= data.count(b"\n") + 1


@given(st.text(), st.text(), st.text(min_size=1))
def test_a_secret_is_found_wherever_its_length_makes_it_count(before, after, secret):
    file = f"{before}\n'{secret}'{after}".encode()
    assert line_of_secret(file, python=False, secrets=[secret]) is not None
    assert holds_secret(before + secret + after, [secret]) or len(secret) < 8
    assert holds_secret(secret, [secret])


@given(st.text(min_size=1))
def test_python_source_hides_no_secret_behind_its_escapes(secret):
    source = f"x = 1\npassword = {secret!a}\n".encode()
    assert line_of_secret(source, python=True, secrets=[secret]) in {1, 2}


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("where", ["decorated in the class", "taken from the class"])
def test_a_method_without_its_object_is_refused_with_the_ways_out(tmp_path, where):
    decorated = "    @publish\n" if where == "decorated in the class" else ""
    source = (
        "from away.capture import capture\n"
        "def publish(f):\n"
        "    try: capture(f)\n    except TypeError as error: print(error)\n    return f\n"
        f"class D:\n{decorated}    def save(self, x): return x\n"
        "    @staticmethod\n    def still(x): return x\n"
    ) + ("" if decorated else "publish(D.save)\n")
    (tmp_path / "main.py").write_text(
        source + "print(capture(D.still).entry, capture(D().save, name='n').entry)\n"
        "print(capture(D.save, safe_args=False).entry)"
    )
    refused, entries, unsafe = run(tmp_path / "main.py").splitlines()
    assert refused.startswith("`D.save` is a method")
    assert "staticmethod" in refused
    assert "(D(…).save)" in refused
    assert (entries, unsafe) == ("main:D.still main:D.save", "main:D.save")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("def sum_two_numbers(): ...\nf = sum_two_numbers", "sum-two-numbers"),
        ("f = lambda: 1", "pass name="),
        ("class A:\n    def run(self): ...\nf = A().run", "pass name="),
        ("import functools\nf = functools.partial(print)", "pass name="),
        ("class A:\n    def __call__(self): ...\nf = A()", "pass name="),
        ("def café(): ...\nf = café", "pass name="),
        ("f = type(lambda: 1)((lambda: 1).__code__, {}, 'x' * 64)", "pass a shorter name="),
    ],
)
def test_the_name_to_deploy_under_is_the_functions_own_or_must_be_given(tmp_path, source, name):
    ask = (
        "\nfrom away.capture import deployment_name\n"
        "try: print(deployment_name(f))\nexcept ValueError as error: print(error)\n"
        "print(deployment_name(f, 'given_name'))"
    )
    (tmp_path / "main.py").write_text(source + ask)
    own, given = run(tmp_path / "main.py").splitlines()
    assert name in own
    assert given == "given-name"


@pytest.mark.parametrize(
    ("source", "entry"),
    [
        ("def f(): ...", "main:f"),
        ("def make():\n    def f(): ...\n    return f\nf = make()", "main:make.<locals>.f"),
        ("class A:\n    def run(self): ...\nf = A().run", "main:A.run"),
        ("class A:\n    def __call__(self): ...\nf = A()", "main:A.__call__"),
        ("import functools\ndef g(a): ...\nf = functools.partial(g, 1)", "main:g"),
        ("f = lambda: 1", "main:<lambda>"),
        ("from math import sqrt as f", "math:sqrt"),
        ("from tools import g as f", "tools:g"),
    ],
)
def test_the_entry_is_module_and_qualified_name(tmp_path, source, entry):
    files = {"tools.py": "def g(): ...\n"}
    said = outcome(tmp_path, source + "\n" + SAY + "say(capture(f, name='f'))", files)
    assert said["entry"] == said["header"]["entry"] == entry


# ------------------------------------------------------------------ the clean interpreter


def verified(tmp_path: Path, source: str, files: dict[str, str | bytes], layers: list[Path]) -> str:
    ask = (
        "\nfrom pathlib import Path\nfrom away.capture import capture, verify\n"
        f"try: print(verify(capture(f), [Path(p) for p in {[str(p) for p in layers]}]))\n"
        "except TypeError as error: print(error)"
    )
    write(tmp_path, {"main.py": source + ask, **files})
    return run(tmp_path / "main.py").strip()


@pytest.fixture(scope="module")
def dill_layer(tmp_path_factory):
    """Give a folder with dill alone, as an image has it."""
    import dill

    folder = tmp_path_factory.mktemp("layer")
    (folder / "dill").symlink_to(Path(dill.__file__).parent)
    return folder


def test_a_payload_that_has_all_it_needs_loads_in_a_clean_interpreter(tmp_path, dill_layer):
    tools = {"tools.py": "import os\ndef g(): return os.sep\n"}
    assert verified(tmp_path, "from tools import g as f", tools, []) == "None"
    source = "import tools\ndef f(): return tools.g()"
    assert verified(tmp_path, source, tools, [dill_layer]) == "None"


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("import yaml\ndef f(): ...\n", "ModuleNotFoundError: No module named 'yaml'"),
        ("import os\nif os.environ.get('AWAY_RUNTIME'): 1 / 0\ndef f(): ...\n", "ZeroDivisionError"),
        ("import os\nif os.environ.get('AWAY_RUNTIME'): os._exit(9)\ndef f(): ...\n", "status 9"),
        ("import os\nif os.environ.get('AWAY_RUNTIME'): raise SystemExit('no')\ndef f(): ...\n", "SystemExit: no"),
    ],
    ids=["a missing requirement", "a failing import", "a process that ends", "an exit"],
)  # fmt: skip
def test_what_is_missing_in_a_clean_interpreter_is_told(tmp_path, module, words):
    out = verified(tmp_path, "from mod import f", {"mod.py": module}, [])
    assert out.startswith("mod:f does not load in a clean interpreter: ")
    assert words in out


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            "import os\nimport helping\ndef f(): ...\n",
            "helping.py:2: KeyError: 'HOME_OF_DB'; pass env= the variable",
        ),
        (
            "import os\nHERE = os.environ.get('AWAY_RUNTIME')\n1 / (not HERE)\ndef f(): ...\n",
            "mod.py:3: ZeroDivisionError: division by zero; move what fails there",
        ),
        (
            "import os\nopen('main.py' if not os.environ.get('AWAY_RUNTIME') else 'a.csv').close()\n"
            "def f(): ...\n",
            "mod.py:2: FileNotFoundError: [Errno 2] No such file or directory: 'a.csv'; pass include=",
        ),
        (
            "import os\nopen('main.py' if not os.environ.get('AWAY_RUNTIME') else '../db_password')\n"
            "def f(): ...\n",
            "mod.py:2: FileNotFoundError: [Errno 2] No such file or directory: '../db_password'; read"
            " no password as the module is imported: name the gateway in the configuration",
        ),
        (
            "\n\nimport yaml\ndef f(): ...\n",
            "mod.py:3: ModuleNotFoundError: No module named 'yaml'; what is missing there may be listed"
            " in requirements=",
        ),
    ],
    ids=["a variable", "own code", "a file", "a password", "a requirement"],
)
def test_what_fails_in_own_code_there_is_told_with_its_line_and_what_would_mend_it(
    tmp_path, module, words, monkeypatch
):
    helping = (
        "import os\nDB = os.environ['HOME_OF_DB' if os.environ.get('AWAY_RUNTIME') else 'PATH']\n"
    )
    monkeypatch.chdir(tmp_path)
    out = verified(tmp_path, "from mod import f", {"mod.py": module, "helping.py": helping}, [])
    assert f"does not load in a clean interpreter: {words}" in out
    assert "requirements=" not in out or "yaml" in out

"""Secrets of one function of a file, and the images of all others: none of them has the value."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib

import pytest

import away.gateway
from tests.test_capture import write

VALUE = "41-sekrit-xyzzy"
HEAD = """
import os
from pathlib import Path
from away import FaasConnection, builder
url = os.environ.get("GATEWAY", "http://127.0.0.1:9")
faas = FaasConnection(url, user="admin", password=os.environ.get("WORD"))
"""
FIRST = """
@builder.publish(faas, name="first")
def first(a):
    return a
"""
LAST = """
@builder.publish(faas, name="last", secrets={"tok": SOURCE})
def last(a):
    return a
"""
TEXT = {"job.py": HEAD + FIRST + LAST.replace("SOURCE", repr(VALUE))}
# Where the value is, of the last function alone.
KINDS = {
    "a text": TEXT,
    "a constant of another module": {
        "job.py": HEAD + "from cfg import TOKEN\n" + FIRST + LAST.replace("SOURCE", "TOKEN"),
        "cfg.py": f"TOKEN = {VALUE!r}\n",
    },
    "a file that they include": {
        "job.py": (HEAD + FIRST + LAST.replace("SOURCE", 'Path("data/tok")')).replace(
            "name=", 'include=["data"], name='
        ),
        "data/tok": VALUE + "\n",
        "data/rates.csv": "1,2\n",
    },
}
AWAY = ("-m", "away")
WAYS = {
    "by import": ("-c", "import job"),
    "all of the file": (*AWAY, "publish", "job.py"),
    "one of the file": (*AWAY, "publish", "job.py:first"),
    "exported": (*AWAY, "export", "job.py", "--registry", "r.example", "--template", "made"),
    "one exported": (*AWAY, "export", "job.py:first", "--registry", "r.example", "--template", "made"),
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway whose folder has all that ever came to it."""
    state = tmp_path_factory.mktemp("state")
    with away.gateway.run(state=state, announce=False) as faas:
        yield faas, state


def python(*words, cwd, url, password="word-of-nobody"):
    variables = {**os.environ, "GATEWAY": url, "WORD": password}
    command = [sys.executable, "-W", "error", *words]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=variables, timeout=60
    )


def kept(folder):
    """Give what the files of a folder hold, layers unpacked."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            yield data
            try:
                yield gzip.decompress(data)
            except (OSError, EOFError, zlib.error):
                continue


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_secret_of_the_last_function_is_in_no_image_of_the_file(gateway, tmp_path, kind, way):
    faas, state = gateway
    # What is looked through has all images: a word of another function of such a file is found.
    mark = f"mark-{len(kind)}-{len(way)}"
    write(tmp_path / "other", {"job.py": HEAD + FIRST.replace("first", "other") + f"# {mark}\n"})
    ran = python("-c", "import job", cwd=tmp_path / "other", url=faas.url, password=faas.password)
    assert ran.returncode == 0, ran.stderr
    write(tmp_path / "own", KINDS[kind])
    ran = python(*WAYS[way], cwd=tmp_path / "own", url=faas.url, password=faas.password)
    assert ran.returncode != 0
    assert "secret 'tok'" in ran.stderr or "a file that a secret is made of" in ran.stderr
    assert VALUE not in ran.stdout + ran.stderr
    assert not {"first", "last"} & {each.name for each in faas.functions()}
    assert any(mark.encode() in data for data in kept(state))
    assert not any(VALUE.encode() in data for data in kept(state))
    assert not (tmp_path / "own" / "made").exists()


# What is said of the last function alone, and what stands above it.
FOLLOWED = {
    "bytes": ("b'41-sekrit-xyzzy'", ""),
    "a name": ("TOKEN", f"TOKEN: str = {VALUE!r}"),
    "an attribute of a module": ("conf.cfg.TOKEN", "import conf.cfg"),
    "a sum": ("'41-sekrit-' + 'xyzzy'", ""),
    "a sum of bytes": ("b'41-sekrit-' + b'xyzzy'", ""),
    "a dict of keywords": (f"'v'}} | dict(tok={VALUE!r}) | {{'x': None", ""),
    "keywords of a name": (
        "None}) if 0 else builder.publish(faas, **COMMON, env={'a': 'b'",
        f"COMMON = {{'secrets': dict(**{{'tok': {VALUE!r}}})}}",
    ),
    "another name of a module": ("c.TOKEN.strip()", "from conf import cfg as c"),
    "a name that a package hands on": ("TOKEN", "from conf import TOKEN"),
    "other secrets with it": (f"'v', **{{'tok': {VALUE!r}}}", ""),
    "an opened file": ("open('conf/tok').read().strip()", ""),
    "a file's text": ("(HERE / 'conf' / 'tok').read_text()", "HERE = Path(__file__).parent"),
    "a file that is no text": ("Path('conf').joinpath('raw')", ""),
}
CONF = {
    "conf/__init__.py": "from .cfg import TOKEN\n",
    "conf/cfg.py": f"TOKEN = {VALUE!r}\n",
    "conf/tok": VALUE + "\n",
}


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize("kind", FOLLOWED)
def test_a_secret_is_known_before_its_decorator_runs(tmp_path, kind):
    source, above = FOLLOWED[kind]
    first = FIRST.replace('"first"', '"first", include=["conf"]')
    write(tmp_path, {"job.py": f"{HEAD}\n{above}\n{first}{LAST.replace('SOURCE', source)}", **CONF})
    (tmp_path / "conf" / "raw").write_bytes(b"\xff\xfe")
    if "raw" not in source:
        (tmp_path / "conf" / "raw").unlink()
    ran = python("-c", "import job", cwd=tmp_path, url="http://127.0.0.1:9")
    error = ran.stderr.splitlines()[-1]
    assert "CaptureRefused" in error
    assert "secret 'tok'" in error or "a file that a secret is made of" in error
    assert VALUE not in ran.stderr


@pytest.mark.usefixtures("own_environment")
def test_a_secret_of_a_module_that_is_not_imported_yet_is_known_too(tmp_path):
    first = FIRST.replace("    return a", "    import later\n    return a")
    later = "from functools import partial\nfrom away import builder\n"
    later += "ours = partial(builder.publish, secrets={'tok': 'SOURCE'})\n"
    write(tmp_path, {"job.py": HEAD + first, "later.py": later.replace("SOURCE", VALUE)})
    ran = python("-c", "import job", cwd=tmp_path, url="http://127.0.0.1:9")
    assert (
        "later.py, line 3, holds the value of the secret 'tok' (declared in later.py, line 3)"
        in ran.stderr
    )


@pytest.mark.usefixtures("own_environment")
def test_a_script_captures_no_value_that_is_a_secret_further_down(tmp_path):
    script = f"{HEAD}TOKEN = {VALUE!r}\n{FIRST.replace('return a', 'return TOKEN')}"
    write(tmp_path, {"job.py": script + LAST.replace("SOURCE", "TOKEN")})
    ran = python("job.py", cwd=tmp_path, url="http://127.0.0.1:9")
    error = ran.stderr.splitlines()[-1]
    assert "a password or token that this process knows (declared in job.py, line 13)" in error
    assert VALUE not in ran.stderr.splitlines()[-1]


@pytest.mark.usefixtures("own_environment")
def test_a_file_that_the_configuration_makes_a_secret_of_another_function_of_is_known(tmp_path):
    named = HEAD.partition("faas =")[0] + 'faas = FaasConnection.named("shop")\n'
    write(
        tmp_path,
        {
            "job.py": named + FIRST.replace('"first"', '"first", include=["data"]'),
            "data/tok": "pw\n",
            "away.toml": '[gateways.shop]\nurl = "http://127.0.0.1:9"\n'
            '[gateways.shop.functions.last]\nsecrets = {tok = {file = "data/tok"}}\n',
        },
    )
    ran = python("-c", "import job", cwd=tmp_path, url="")
    assert "data/tok is a file that a secret is made of" in ran.stderr


# A call of it is one of Away's, and publishes nothing.
OURS = "from away.builder import publish as ours\n"
# What is no secret, though the first function's file has it.
HARMLESS = {
    "names of secrets": "ours(secrets=['first', 'plain-text-here'])",
    "no keyword": "OPTIONS = {'secrets': {'tok': 'plain-text-here'}}",
    "no call of Away's": "OPTIONS = dict(secrets={'tok': 'plain-text-here'})",
    "another keyword": "ours(env={'tok': 'plain-text-here'})",
    "another keyword of a name": "OPTIONS = {'env': {'tok': 'plain-text-here'}}\nours(**OPTIONS)",
    "none": "ours(secrets={'tok': None})",
    "not constant": "ours(secrets={'tok': os.environ['WORD'], 'x': Path('absent')})",
    "bound twice": "T = 'plain-text-here'\nT = os.environ['WORD']\nours(secrets={'tok': T})",
    "in a ring": "def f(A=1): return ours(secrets={'tok': B})\nB = f'{A}' if 0 else ''\nA = B",
    "in a ring of sums": "def f(): return ours(secrets={'tok': B})\nif 0:\n    A = B + B\n    B = A + A",
    "in a ring of keywords": "def f(): return ours(**B)\nif 0:\n    A = {**B, **B}\n    B = A | A",
    "short": "ours(secrets={'tier': 'test', 'b': b'x', 'c': 'pad        '})\nMODE = 'test', 'x', 'pad'",
    "half a character": "ours(secrets={'tok': '\\ud800-of-no-text'})",
    "a function's own keyword": "def deploy(name, secrets): pass\n"
    "deploy('x', secrets={'tier': 'plain-text-here'})",
    "a method's keyword": "def job(box): box.start(secrets={'tier': 'plain-text-here'})",
    "a library's keyword": "import pluggy\nhook = pluggy.HookimplMarker('x')\n"
    "def job(): hook(secrets={'tier': 'plain-text-here'})",
    "a library's decorator": "import pluggy\nhook = pluggy.HookimplMarker('x')\n"
    "def job():\n    @hook(secrets={'tier': 'plain-text-here'})\n    def inside(): pass",
    "a remote function's keyword": "def job():\n    from away.remote.default import order\n"
    "    return order(secrets={'tier': 'plain-text-here'})",
    "a keyword of a stub": "def job(): return order(secrets={'tier': 'plain-text-here'})\n"
    "order = builder.sync_from_name('order', faas)",
    "a test of theirs": "def test(): start_container(secrets={'tier': 'first'})",
}


@pytest.mark.usefixtures("own_environment")
@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_no_constant_of_a_secret_is_packed(tmp_path, kind):
    write(tmp_path, {"job.py": f"{HEAD}{OURS}{HARMLESS[kind]}\n{FIRST}"})
    ran = python("-c", "import job", cwd=tmp_path, url="http://127.0.0.1:9")
    assert "GatewayUnreachable" in ran.stderr.splitlines()[-1]


@pytest.mark.usefixtures("own_environment")
def test_keywords_from_another_module_are_known_though_no_file_says_secrets_in_a_call(tmp_path):
    write(
        tmp_path,
        {
            "job.py": HEAD
            + "from cfg import COMMON\n"
            + FIRST
            + LAST.replace('name="last", secrets={"tok": SOURCE}', "**COMMON"),
            "cfg.py": f"COMMON = dict(secrets={{'tok': {VALUE!r}}})\n",
        },
    )
    ran = python("-c", "import job", cwd=tmp_path, url="http://127.0.0.1:9")
    assert "cfg.py, line 1, holds the value of the secret 'tok' (declared in cfg.py" in ran.stderr
    assert VALUE not in ran.stderr


@pytest.mark.usefixtures("own_environment")
def test_what_to_do_is_said_by_what_is_secret(tmp_path):
    write(tmp_path, TEXT)
    ran = python(*AWAY, "publish", "job.py:first", cwd=tmp_path, url="http://127.0.0.1:9")
    assert "job.py, line 12, holds the value of the secret 'tok'" in ran.stderr
    assert "by secrets={'tok': Path('FILE')}" in ran.stderr
    assert "FaasConnection.named" not in ran.stderr
    write(tmp_path, {"job.py": HEAD + FIRST + "WORD = 'word-of-nobody'\n"})
    ran = python(*AWAY, "publish", "job.py", cwd=tmp_path, url="http://127.0.0.1:9")
    assert "a password or token that this process knows" in ran.stderr
    assert "FaasConnection.named" in ran.stderr

"""Notebooks: tables of others' data, and real kernels that publish, complete, wait and are interrupted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_client.manager import KernelManager

import away.gateway
from away import FaasConnection, RemoteFunction
from away.connection import FunctionInfo
from away.names import printable
from away.notebook import MOST_ROWS, table_of
from away.signatures import Description, Parameter, to_annotations
from away.testing import fake
from away.testing.environment import variable

EXAMPLE = Path(__file__).parent.parent / "examples" / "notebook.ipynb"


class Seen(HTMLParser):
    """What a browser makes of HTML: the tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.tags.append(("!--", ()))

    def handle_decl(self, decl):
        self.tags.append(("!", ()))


# ---------------------------------------------------------------- others' data

hostile = st.text(max_size=40) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</code></td></table><h1>",
        "<!-- ",
        "&lt;b&gt;",
        "$\\href{javascript:alert(1)}{x}$",
    ]
)


def table(name: str, doc: str, annotation: str, default: str) -> str:
    parameters = (Parameter("a", 1, True, default, annotation),)
    description = Description(parameters=parameters, returns=annotation, doc=doc, entry="m:f")
    info = FunctionInfo("f", annotations=to_annotations(description), replicas=1)
    assert repr(info) == "<FunctionInfo f: 1 replica>"
    counted = FunctionInfo("f", image="i", replicas=2, invocation_count=5)
    assert repr(counted) == "<FunctionInfo f: i, 2 replicas, 5 calls>"
    return table_of([(name, info)])


@settings(max_examples=150)
@given(hostile, hostile, hostile, hostile)
def test_what_others_wrote_is_text_and_never_markup(name, doc, annotation, default):
    seen = Seen(table(name, doc, annotation, default))
    assert seen.tags == Seen(table("f", "d" if doc.strip() else "", "int", "x")).tags
    assert printable(name) in seen.text


def test_a_notebook_is_told_to_typeset_no_formula_of_others():
    with fake() as faked:
        faked.function("f", lambda a="$x$": a, gateway="shop", doc="$\\href{javascript:1}{x}$")
        import away.remote.shop as shop

        for shown in (shop._repr_html_(), shop.f._repr_html_()):
            assert shown.startswith('<div class="away tex2jax_ignore mathjax_ignore"')
            assert shown.endswith("</div>")


def test_a_long_list_ends_in_a_number():
    rows = [(f"f{each}", FunctionInfo(f"f{each}")) for each in range(MOST_ROWS + 5)]
    shown = table_of(rows)
    assert shown.count("<tr>") == MOST_ROWS + 1
    assert "and 5 more" in shown


def test_an_image_is_shown_without_its_digest_and_by_its_end():
    image = f"registry.example.com:5000/{'a' * 80}/figlet:1@sha256:{'0' * 64}"
    text = Seen(table_of([("figlet", FunctionInfo("figlet", image=image))])).text
    assert "a/figlet:1" in text
    assert "registry" not in text
    assert "sha256" not in text
    assert "image" not in Seen(table_of([("figlet", FunctionInfo("figlet"))])).text


def test_a_module_shows_signatures_docstrings_replicas_and_calls_by_one_request():
    async def later(a: int, *, b: str = "x") -> list:
        """Wait a moment.

        And more.
        """

    with fake() as faked:
        listed = faked.function(later, gateway="shop")
        import away.remote.shop as shop

        text = Seen(shop._repr_html_()).text
        assert "away.remote.shop http://shop.invalid" in text
        assert "laterasync (a: int, *, b: str = 'x') -> listWait a moment.10" in text
        assert "And more" not in text
        assert listed.calls == []
        assert shop._ipython_key_completions_() == ["later"]
        assert repr(shop) == "<module 'away.remote.shop' (gateway at http://shop.invalid)>"
        assert repr(shop.later) == "<remote function later on http://shop.invalid>"


def test_modules_and_functions_of_others_have_their_rows():
    def double(number: int) -> int:
        """Double <i>it</i>."""
        return 2 * number

    with fake() as faked:
        faked.module("tools", {"double": double}, gateway="shop")
        faked.http("figlet", lambda request: "", gateway="shop")
        import away.remote.shop as shop

        listed = Seen(shop._repr_html_()).text
        assert "toolsmodule: double" in listed
        assert "figletimage faked/by-away.testing" in listed
        import away.remote.shop.tools as tools

        shown = tools._repr_html_()
        assert "double(number: int) -> intDouble <i>it</i>." in Seen(shown).text
        assert "<i>" not in shown
        assert tools._ipython_key_completions_() == ["double"]


def test_a_function_shows_signature_docstring_and_place_without_a_request():
    function = RemoteFunction(
        FaasConnection("http://127.0.0.1:1"),
        "add",
        namespace="team",
        description=Description(
            kind="async", parameters=(Parameter("a", annotation="int"),), returns="int", doc="Add."
        ),
    )
    text = Seen(function._repr_html_()).text
    assert text.startswith("async def add(a: int) -> intAdd.")
    assert "http://127.0.0.1:1/function/add.team" in text
    assert len(repr(function)) < 60


def test_a_gateway_that_cannot_be_asked_is_said_to_be_so(monkeypatch):
    monkeypatch.setenv("AWAY_GATEWAY_NOBODY_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWAY_GATEWAY_NOBODY_CONNECT_TIMEOUT", "0.3")
    import away.remote.nobody as nobody

    text = Seen(nobody._repr_html_()).text
    assert "away.remote.nobody http://127.0.0.1:1" in text
    assert "nothing listens at http://127.0.0.1:1" in text
    assert nobody._ipython_key_completions_() == []


# ---------------------------------------------------------------- real kernels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def environment(folder):
    """The environment of a notebook's kernel, with an embedded gateway to be found in it."""
    own = {
        "AWAY_RUNTIME_DIR": str(folder / "run"),
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    with variable("AWAY_RUNTIME_DIR", own["AWAY_RUNTIME_DIR"]), away.gateway.run():
        yield {**{k: v for k, v in os.environ.items() if not k.startswith("AWAY_")}, **own}


class Kernel:
    """A kernel as a notebook drives it."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.manager = KernelManager()
        self.manager.start_kernel(env=environment, cwd=str(folder), stderr=subprocess.DEVNULL)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def begin(self, source: str) -> str:
        return self.client.execute(source)

    def end(self, message: str) -> tuple[str, list[dict]]:
        """Wait for a cell's end; its status, and what it gave out."""
        outputs = []
        while True:
            got = self.client.get_iopub_msg(timeout=60)
            if got["parent_header"].get("msg_id") != message:
                continue
            if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                break
            outputs.append({"type": got["msg_type"], **got["content"]})
        while (reply := self.client.get_shell_msg(timeout=60))["parent_header"][
            "msg_id"
        ] != message:
            pass
        return reply["content"]["status"], outputs

    def run(self, source: str) -> str:
        """Run a cell that succeeds, and return its value as text."""
        status, outputs = self.end(self.begin(source))
        assert status == "ok", outputs
        values = [
            each["data"]["text/plain"] for each in outputs if each["type"] == "execute_result"
        ]
        return values[-1] if values else ""

    def ask(self, send, *arguments) -> dict:
        message = send(*arguments)
        while (reply := self.client.get_shell_msg(timeout=60))["parent_header"][
            "msg_id"
        ] != message:
            pass
        return reply["content"]


@pytest.fixture(scope="module")
def kernel(environment, folder):
    started = Kernel(environment, folder)
    try:
        started.run("from away import FaasConnection, builder\nfaas = FaasConnection.local()")
        yield started
    finally:
        started.close()


CELL = """
@builder.publish(faas, verbose={verbose})
def rated(number):
    '''Rate a number.'''
    return number * {rate} / (1 if number else 0)
"""


def test_a_cell_that_is_run_again_updates_the_function_and_proxies_in_hand(kernel):
    kernel.run(CELL.format(rate=2, verbose=False))
    assert (
        kernel.run("held = rated\nfrom away.remote.local import rated as imported\nheld(3)")
        == "6.0"
    )
    kernel.run(CELL.format(rate=5, verbose=False))
    assert kernel.run("rated(3), held(3), imported(3)") == "(15.0, 15.0, 15.0)"
    status, outputs = kernel.end(kernel.begin("held(0)"))
    assert status == "error"
    shown = "\n".join(outputs[-1]["traceback"])
    # The cell's own source, from where the function ran.
    assert "ZeroDivisionError" in shown
    assert "return number * 5 / (1 if number else 0)" in shown


CHANGED_CELL = """
@builder.publish(faas, verbose=False)
{head}:
    return {value}
"""


def test_a_cell_that_changes_the_signature_changes_proxies_in_hand(kernel):
    kernel.run(CHANGED_CELL.format(head="def changed(a)", value="a"))
    kernel.run(
        "import inspect\nimport away.remote.local as gw\nimport away.remote.aio.local as aio\n"
        "from away.remote.local import changed as imported\n"
        "held, slow, far = changed, imported.options(timeout=9), aio.changed\n"
        "gw.changed(1), imported(1), held(1)"
    )
    kernel.run(CHANGED_CELL.format(head="def changed(a, b)", value="a * b"))
    calls = "changed(2, 3), gw.changed(2, 3), imported(2, 3), held(2, 3), await far(2, 3)"
    assert kernel.run(calls) == "(6, 6, 6, 6, 6)"
    shown = "[str(inspect.signature(each)) for each in (gw.changed, imported, held, far)]"
    assert kernel.run(shown) == str(["(a, b)"] * 4)
    kernel.run("import time\ntime.sleep(1.2)")
    assert kernel.run("slow(2, 3)") == "6"
    kernel.run(CHANGED_CELL.format(head="async def changed(a)", value="a"))
    calls = "await changed(2), await gw.changed(2), await imported(2), await held(2)"
    assert kernel.run(calls) == "(2, 2, 2, 2)"
    kernel.run("faas.remove('changed')")
    assert kernel.run("'changed' in dir(gw), hasattr(gw, 'changed')") == "(False, False)"


def test_publishing_shows_its_steps_as_plain_lines(kernel):
    status, outputs = kernel.end(kernel.begin(CELL.format(rate=7, verbose=True)))
    said = "".join(each["text"] for each in outputs if each["type"] == "stream")
    assert status == "ok"
    assert "rated" in said
    assert not set(said) & {"\r", "\x1b", "\b"}


def test_calls_work_in_the_running_loop_of_a_notebook(kernel):
    kernel.run(CELL.format(rate=2, verbose=False))
    assert (
        kernel.run("import asyncio; asyncio.get_running_loop().is_running(), rated(1)")
        == "(True, 2.0)"
    )
    assert kernel.run("await rated.aio(2)") == "4.0"
    status, outputs = kernel.end(kernel.begin("sum(rated.map(range(1, 101), progress=True))"))
    assert (status, outputs[-1]["data"]["text/plain"]) == ("ok", "10100.0")
    # One bar, which is drawn anew in its place.
    assert [each["type"] for each in outputs].count("display_data") == 1
    assert all(each["type"] != "stream" for each in outputs)


def test_names_are_completed_and_explained(kernel):
    kernel.run(CELL.format(rate=2, verbose=False) + "\nimport away.remote.local as shop")
    at_key = kernel.ask(kernel.client.complete, 'shop["ra', 8)
    assert any("rated" in each for each in at_key["matches"])
    at_dot = kernel.ask(kernel.client.complete, "shop.ra", 7)
    assert any(each.endswith("rated") for each in at_dot["matches"])
    explained = kernel.ask(kernel.client.inspect, "shop.rated", 10)
    assert "Rate a number." in explained["data"]["text/plain"]


@pytest.mark.parametrize("call", ["slow(mark)", "list(slow.map([mark] * 3))"])
def test_an_interrupt_ends_a_call_and_the_kernel_goes_on(kernel, folder, call):
    mark = folder / f"running-{len(call)}"
    kernel.run(
        "@builder.publish(faas, verbose=False)\n"
        "def slow(mark):\n"
        "    import pathlib, time\n"
        "    if mark:\n"
        "        pathlib.Path(mark).touch()\n"
        "        time.sleep(20)\n"
        "    return 'done'\n"
        f"mark = {str(mark)!r}"
    )
    message = kernel.begin(call)
    until = time.monotonic() + 30
    while not mark.exists():
        assert time.monotonic() < until, "the function was not called"
        time.sleep(0.01)
    kernel.manager.interrupt_kernel()
    status, outputs = kernel.end(message)
    assert status == "error"
    assert outputs[-1]["ename"] == "KeyboardInterrupt"
    assert kernel.run("slow('')") == "'done'"


# ---------------------------------------------------------------- the example


def test_the_example_holds_no_outputs():
    cells = json.loads(EXAMPLE.read_text())["cells"]
    code = [each for each in cells if each["cell_type"] == "code"]
    assert code
    assert all(not each["outputs"] and each["execution_count"] is None for each in code)


def test_the_example_gives_what_it_says(environment, folder):
    to = ["--to", "notebook", "--output-dir", str(folder), "--output", "run.ipynb"]
    ran = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--execute", *to, str(EXAMPLE)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    cells = json.loads((folder / "run.ipynb").read_text())["cells"]
    given = [each["outputs"] for each in cells if each["cell_type"] == "code" and each["outputs"]]
    plain = [_plain(each) for each in given]
    pages = [Seen(_html(each)) for each in given if _html(each)]
    assert plain[1:3] == ["9.0", "(12.0, 12.0)"]
    assert "[6.0, 8.0]" in plain
    assert plain[5:8] == ["[0.0, 0.5, 1.0, 1.5, 2.0]", "12.0", "6000.0"]
    assert "has no function 'prize'; it has price" in plain[8]
    assert "can't multiply sequence by non-int" in plain[9]
    function, module = pages
    assert function.text.startswith("def price(name: str, pieces: int = 1) -> float")
    assert "Say what some pieces of a thing cost, at the new rate." in module.text
    assert module.tags.count(("tr", ())) >= 2


def _plain(outputs: list[dict]) -> str:
    one = outputs[0]
    return "".join(one["data"]["text/plain"] if "data" in one else one["text"])


def _html(outputs: list[dict]) -> str:
    return "".join(outputs[0].get("data", {}).get("text/html", ""))

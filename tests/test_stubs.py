"""Stub files: what `away stubs` writes of what gateways list, and what it finds changed."""

from __future__ import annotations

import ast
import json
import keyword
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from away import cli
from away.gateway.announcement import Announcement, announce, folder
from away.hooks import annotation_texts, pyi
from away.module_descriptions import ModuleDescription, module_annotations
from away.signatures import Description, Parameter, to_annotations
from tests.listing_gateway import PASSWORD, Gateway

ADD = Description(
    parameters=(Parameter("a", annotation="int"), Parameter("b", 1, True, 1, "int")),
    returns="int",
    doc="Add two numbers.\n\nA second paragraph.",
)


def listed(name, description):
    return {"name": name, "annotations": to_annotations(description)}


@pytest.fixture
def shop(own_environment, monkeypatch, tmp_path):
    gateway = Gateway()
    gateway.functions = [listed("add-two", ADD), {"name": "figlet"}]
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_URL", gateway.url)
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    yield gateway
    gateway.close()


@pytest.fixture
def run(capfd):
    def run(*words):
        code = cli.run(words)
        out, err = capfd.readouterr()
        return code, out, err

    return run


# ---------------------------------------------------------------- one file


@pytest.mark.parametrize(
    ("text", "written"),
    {
        "int": "int",
        "None": "None",
        "list[int]": "list[int]",
        "list": "list[_typing.Any]",
        "List[Dict[str, int]]": "list[dict[str, int]]",
        "typing.Optional[str]": "str | None",
        "Union[int, str, None]": "int | str | None",
        "int | 'str'": "int | str",
        "tuple[int, ...]": "tuple[int, ...]",
        "tuple[()]": "tuple[()]",
        "datetime.datetime": "_datetime.datetime",
        "date": "_datetime.date",
        "collections.abc.Sequence[bytes]": "_abc.Sequence[bytes]",
        "Callable[[int, str], bool]": "_abc.Callable[[int, str], bool]",
        "Callable": "_abc.Callable[..., _typing.Any]",
        "Literal['a', -1, None]": "_typing.Literal['a', -1, None]",
        "Annotated[int, 'positive']": "int",
        "Generator[int]": "_abc.Generator[int, None, None]",
        "Point": "_typing.Any",
        "list[Point]": "list[_typing.Any]",
        "numpy.ndarray": "_typing.Any",
        "int[str]": "int",
        "dict[int]": "dict[_typing.Any, _typing.Any]",
        "Literal[__import__('os')]": "_typing.Any",
        "print('x')": "_typing.Any",
        "int; import os": "_typing.Any",
        "(yield)": "_typing.Any",
        "x := 1": "_typing.Any",
        "": "_typing.Any",
        "\x00": "_typing.Any",
        "(" * 5000: "_typing.Any",
        "-" * 1900 + "1": "_typing.Any",
    }.items(),
)
def test_an_annotation_is_written_with_names_of_the_standard_library_alone(text, written):
    assert annotation_texts.AnnotationWriter().written(text) == written


def test_a_type_that_a_function_has_the_name_of_is_written_by_its_module():
    functions = {"int": ADD, "date": ADD._replace(returns="date")}
    text = pyi.stub_text(functions, gateway="gw")
    assert "def int(a: _builtins.int, b: _builtins.int = 1) -> _builtins.int:" in text
    assert "-> _datetime.date:" in text
    assert "import builtins as _builtins" in text


@pytest.mark.parametrize(
    ("kind", "aio", "written"),
    [
        ("sync", False, "def f() -> _abc.Iterator[int]: ..."),
        ("sync", True, "async def f() -> _abc.Iterator[int]: ..."),
        ("async", False, "async def f() -> _abc.Iterator[int]: ..."),
        ("generator", False, "def f() -> _abc.Iterator[int]: ..."),
        ("generator", True, "def f() -> _abc.AsyncIterator[int]: ..."),
        ("async generator", True, "def f() -> _abc.AsyncIterator[int]: ..."),
    ],
)
def test_each_kind_of_function_is_written_as_it_is_called(kind, aio, written):
    known = Description(kind=kind, parameters=(), returns="Iterator[int]")
    assert f"@_remote\n{written}\n" in pyi.stub_text({"f": known}, gateway="gw", aio=aio)


def test_a_default_is_shown_where_a_checker_takes_it_for_one_of_its_type():
    parameters = [
        ("a", "str | None", None, "None"),
        ("b", "int", None, "..."),
        ("c", "", 1, "1"),
        ("d", "str", "it's", '"it\'s"'),
        ("e", "float", float("inf"), "..."),
        ("g", "str", "x" * 1000, "..."),
        ("h", "int", 10**5000, "..."),
        ("i", "list[int]", [1], "..."),
    ]
    known = Description(
        parameters=tuple(Parameter(n, 3, True, value, t) for n, t, value, _ in parameters)
    )
    text = pyi.stub_text({"f": known}, gateway="gw")
    assert [f" = {each[3]}" in text for each in parameters] == [True] * len(parameters)
    found = ast.parse(text).body[-1].args
    shown = [ast.get_source_segment(text, each) for each in found.kw_defaults]
    assert shown == [each[3] for each in parameters]


names = st.text(max_size=12) | st.sampled_from(["f", "int", "import_", "__x", "café", "class", "ﬁ"])
texts = st.text(max_size=60) | st.sampled_from(
    ['"""', '\'\'\'""""', "\\", 'x\\"""', "int]: ...\nimport os", "\r\nimport os", "\u202e", '"']
)


@given(
    functions=st.dictionaries(
        names,
        st.none()
        | st.builds(
            Description,
            kind=st.sampled_from(["sync", "async", "generator", "async generator"]),
            parameters=st.none()
            | st.lists(
                st.builds(
                    Parameter,
                    name=names,
                    has_default=st.just(True),
                    default=st.none() | st.integers() | st.floats() | texts | st.binary(),
                    annotation=texts | st.sampled_from(["int", "list['int']", "Literal['\"']"]),
                ),
                max_size=3,
                unique_by=lambda each: each.name,
            ).map(tuple),
            returns=texts,
            doc=texts,
        ),
        max_size=4,
    ),
    gateway=st.just("gw"),
    doc=texts,
    aio=st.booleans(),
)
@example(functions={"f": ADD._replace(doc='"""\nimport os\n"""')}, gateway="gw", doc="", aio=False)
def test_what_others_wrote_defines_these_functions_and_nothing_else(functions, gateway, doc, aio):
    text = pyi.stub_text(functions, gateway=gateway, doc=doc, aio=aio)
    tree = ast.parse(text)
    defined = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and [ast.unparse(each) for each in node.decorator_list] == ["_remote"]
        and all(
            isinstance(each, ast.Expr) and type(each.value) is ast.Constant for each in node.body
        )
    ]
    assert set(defined) <= set(functions)
    ordinary = {n for n in functions if n.isidentifier() and n.isascii() and n[0] != "_"}
    assert {name for name in ordinary if not keyword.iskeyword(name)} <= set(defined)
    others = [node for node in tree.body if getattr(node, "name", None) not in defined]
    aliases = [each for node in others if isinstance(node, ast.Import) for each in node.names]
    assert all(annotation_texts.IMPORTS[each.asname] == each.name for each in aliases)
    rest = [node for node in others if not isinstance(node, ast.Import)]
    assert all(
        ast.unparse(node) == "from away.builder import faas_function as _remote"
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in rest
    )
    assert pyi.differences(text, text) == []


@given(texts)
def test_a_docstring_says_what_was_written(doc):
    text = pyi.stub_text({"f": ADD._replace(doc=doc)}, gateway="gw")
    found = ast.get_docstring(ast.parse(text).body[-1], clean=True) or ""
    assert [line.strip() for line in found.splitlines()] == [
        line.strip() for line in doc.strip().replace("\t", " ").splitlines()
    ] or not doc.isprintable()


# ---------------------------------------------------------------- the command


def test_stubs_are_written_for_both_faces_of_a_gateway(shop, run):
    code, out, err = run("stubs", "shop")
    assert (code, err) == (0, "")
    assert out == (
        "written typings/away/remote/aio/shop.pyi\n"
        "written typings/away/remote/shop.pyi\n"
        'mypy finds them with mypy_path = "typings" in [tool.mypy] of pyproject.toml\n'
    )
    text = Path("typings/away/remote/shop.pyi").read_text()
    assert text == (
        "# Written by `away stubs`: write it again by `away stubs shop`, do not edit it.\n"
        "import typing as _typing\n"
        "\n"
        "from away.builder import faas_function as _remote\n"
        "\n"
        "@_remote\n"
        "def add_two(a: int, b: int = 1) -> int:\n"
        '    """Add two numbers.\n'
        "\n"
        "    A second paragraph.\n"
        '    """\n'
        "\n"
        "@_remote\n"
        "def figlet(*args: _typing.Any, **kwargs: _typing.Any) -> _typing.Any: ...\n"
    )
    assert "async def add_two(" in Path("typings/away/remote/aio/shop.pyi").read_text()
    # Such a file would hide the real package from pyright.
    assert not list(Path("typings").rglob("__init__.pyi"))


def test_all_configured_gateways_are_written_and_one_that_fails_stops_no_other(
    shop, run, monkeypatch
):
    monkeypatch.setenv("AWAY_GATEWAY_GONE_URL", shop.url)
    monkeypatch.setenv("AWAY_GATEWAY_GONE_PASSWORD", "stubs-know-another-one")
    code, out, err = run("stubs", "-o", "stubs")
    assert code == 4
    assert Path("stubs/away/remote/shop.pyi").is_file()
    assert not Path("stubs/away/remote/gone.pyi").exists()
    assert "password" in err
    assert err.startswith("away: gone: ")
    assert len(err.splitlines()) == 1
    assert 'stubPath = "stubs"' in out


def test_what_mypy_finds_of_the_embedded_gateway_is_said(shop, run):
    said = Announcement(shop.url, "admin", PASSWORD, os.getpid(), "/state")
    with announce(said, folder()):
        code, out, _ = run("stubs", "local")
    assert code == 0
    assert out.endswith("mypy finds only what is installed: run away stubs local --install\n")
    assert "mypy_path" not in out


def test_a_file_of_the_users_own_is_never_replaced(shop, run):
    mine = Path("typings/away/remote/shop.pyi")
    mine.parent.mkdir(parents=True)
    mine.write_text("def add_two() -> None: ...\n")
    code, _, err = run("stubs", "shop")
    assert code == 2
    assert "typings/away/remote/shop.pyi was not written by away stubs" in err
    assert mine.read_text() == "def add_two() -> None: ...\n"


@pytest.mark.parametrize("linked", ["file", "folder", "root"])
def test_nothing_is_written_through_a_link_that_a_clone_brings(shop, run, tmp_path, linked):
    elsewhere = tmp_path / "home"
    elsewhere.mkdir()
    link = Path(
        {"file": "typings/away/remote/shop.pyi", "folder": "typings/away"}.get(linked, "typings")
    )
    link.parent.mkdir(parents=True, exist_ok=True)
    # What a file's link leads to is not there, so that the link looks like nothing.
    link.symlink_to(elsewhere / ".bash_profile" if linked == "file" else elsewhere)
    code, _, err = run("stubs", "shop")
    assert code == 2
    assert f"{link} is a symbolic link" in err
    assert list(elsewhere.iterdir()) == []


def test_no_line_of_a_modules_stub_begins_with_what_the_gateway_wrote():
    text = pyi.stub_text({}, gateway="gw", doc="One.\nimport os; os.abort()\n\nThree.")
    assert ast.get_docstring(ast.parse(text)) == "One.\nimport os; os.abort()\n\nThree."
    assert not [line for line in text.splitlines() if line.startswith(("import", "Three"))]


CHANGES = {
    "nothing": (ADD, None),
    "the docstring": (ADD._replace(doc="Other words."), None),
    "a parameter's type": (
        ADD._replace(parameters=(Parameter("a", annotation="str"), ADD.parameters[1])),
        "add_two(a: int, b: int=1) -> int is add_two(a: str, b: int=1) -> int now",
    ),
    "a parameter more": (
        ADD._replace(parameters=(*ADD.parameters, Parameter("c", 1, True, None, "int"))),
        "add_two(a: int, b: int=1) -> int is add_two(a: int, b: int=1, c: int=...) -> int now",
    ),
    "the result": (
        ADD._replace(returns="float"),
        "add_two(a: int, b: int=1) -> int is add_two(a: int, b: int=1) -> float now",
    ),
    "the kind": (
        ADD._replace(kind="async"),
        "add_two(a: int, b: int=1) -> int is add_two(a: int, b: int=1) -> int (async) now",
    ),
    "all": (None, "add_two(a: int, b: int=1) -> int is not there any more"),
}


@pytest.mark.parametrize(("now", "said"), CHANGES.values(), ids=CHANGES)
def test_a_function_that_code_was_not_written_for_is_found(shop, run, now, said):
    assert run("stubs", "shop")[0] == 0
    shop.functions = [{"name": "figlet"}, {"name": "newer"}]
    shop.functions += [listed("add-two", now)] if now else []
    before = Path("typings/away/remote/shop.pyi").read_text()
    code, out, err = run("stubs", "shop", "--check")
    assert (code, err) == (1 if said else 0, "")
    # The async face says an async function's change nowhere: it was one there.
    assert f"typings/away/remote/shop.pyi: {said}\n" in out if said else out == ""
    assert Path("typings/away/remote/shop.pyi").read_text() == before


def test_a_check_of_all_takes_the_gateways_that_have_files(shop, run, monkeypatch):
    assert run("stubs", "shop")[0] == 0
    monkeypatch.setenv("AWAY_GATEWAY_GONE_URL", shop.url)
    with announce(Announcement(shop.url, "admin", PASSWORD, os.getpid(), "/state"), folder()):
        assert run("stubs", "--check") == (0, "", "")
        assert run("stubs", "-o", "elsewhere", "--check")[0] == 2
    shop.functions = [{"name": "figlet"}]
    code, out, err = run("stubs", "--check")
    assert (code, err) == (1, "")
    assert "is not there any more" in out


def test_a_check_of_all_without_any_stubs_is_an_error(shop, run):
    code, out, err = run("stubs", "--check")
    assert (code, out) == (2, "")
    assert err == "away: there are no stubs in typings; write them with away stubs\n"


def test_a_check_without_stubs_or_with_a_broken_file_says_what_to_do(shop, run):
    code, _, err = run("stubs", "shop", "--check")
    assert code == 2
    assert "there are no stubs of the gateway 'shop' in typings; write them" in err
    assert run("stubs", "shop")[0] == 0
    with Path("typings/away/remote/shop.pyi").open("a") as file:
        file.write("def (\n")
    code, _, err = run("stubs", "shop", "--check")
    assert code == 2
    assert "typings/away/remote/shop.pyi cannot be read" in err


def test_modules_published_whole_and_mounts_have_stubs_of_their_own(shop, run):
    Path("away.toml").write_text(
        '[mounts]\n"acme.models" = { gateway = "shop", functions = "add*", aio = true }\n'
        '"acme.shapes" = "shop.geometry"\n"acme.others" = "elsewhere"\n'
        "[gateways.elsewhere]\nurl = 'http://127.0.0.1:9'\n"
    )
    assert run("stubs", "shop")[0] == 0
    assert Path("typings/away/remote/shop.pyi").is_file()
    whole = ModuleDescription({"area": ADD}, {"PI": 3.14, "class_": None})
    described = Description(entry="geometry:*", doc='Shapes."""')
    annotations = to_annotations(described) | module_annotations(whole)
    shop.functions.append({"name": "geometry", "annotations": annotations})
    assert run("stubs", "shop", "--check")[:2] == (0, "")
    code, out, err = run("stubs", "shop")
    assert (code, err) == (0, "")
    written = {str(path.relative_to("typings")) for path in Path("typings").rglob("*.pyi")}
    assert written == {
        "away/remote/shop/__init__.pyi",
        "away/remote/shop/geometry.pyi",
        "away/remote/aio/shop/__init__.pyi",
        "away/remote/aio/shop/geometry.pyi",
        "acme/models.pyi",
        "acme/shapes.pyi",
    }
    gateway = Path("typings/away/remote/shop/__init__.pyi").read_text()
    assert "from . import geometry as geometry\n" in gateway
    module = Path("typings/acme/shapes.pyi").read_text()
    assert module == Path("typings/away/remote/shop/geometry.pyi").read_text()
    assert '"""Shapes.' in module
    assert "PI: float\n" in module
    assert "def area(a: int, b: int = 1) -> int:" in module
    models = Path("typings/acme/models.pyi").read_text()
    assert "async def add_two(" in models
    assert "figlet" not in models
    shop.functions.pop()
    code, out, _ = run("stubs", "shop", "--check")
    assert code == 1
    assert "typings/acme/shapes.pyi: area(a: int, b: int=1) -> int is not there any more" in out
    assert run("stubs", "shop")[0] == 0
    assert not Path("typings/away/remote/shop/__init__.pyi").exists()
    assert not Path("typings/acme/shapes.pyi").exists()


def test_what_scripts_read_is_json(shop, run):
    code, out, _ = run("stubs", "shop", "--json")
    assert code == 0
    assert json.loads(out)["written"][1] == "typings/away/remote/shop.pyi"


@pytest.mark.parametrize(
    "words",
    [("--install", "-o", "x"), ("--uninstall", "shop"), ("--uninstall", "--check"), ("http://x/",)],
)
def test_words_that_contradict_each_other_are_refused(shop, run, words):
    assert run("stubs", *words)[0] == 2
    assert not Path("typings").exists()

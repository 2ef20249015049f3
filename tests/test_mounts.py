"""Mounts: a gateway's functions under names of the user's own, beside real modules and never over them."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import unittest.mock
import warnings

import dill
import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import FaasConnection, RemoteFunction, config, exceptions, hooks, signatures
from away.exceptions import ConfigError, FallbackWarning, MountWarning
from away.hooks import configured_mounts, finder
from away.hooks.real_modules import check_name
from away.hooks.selection import Selection
from away.module_descriptions import ModuleDescription, module_annotations
from tests import servers
from tests.listing_gateway import PASSWORD, Gateway, configured, published


@pytest.fixture
def gateway():
    made = Gateway()
    made.functions = [
        published("model-of-sales", labels={"team": "ml", "tier": "gold"}),
        published("model-of-costs", labels={"team": "ml"}),
        published("invoice", labels={"team": "books"}, kind="async"),
    ]
    yield made
    made.close()


@pytest.fixture
def gw(gateway, own_environment):
    """The gateway's configured name."""
    with configured("mounted", gateway.url) as made:
        yield made


@pytest.fixture
def root(gw):
    """A name of this test's alone to mount below; whatever was mounted there is gone after it."""
    made = f"acme_{gw}"
    yield made
    for each in hooks.mounted():
        if each.name.partition(".")[0] == made:
            hooks.unmount(each.name)
    for name in [name for name in sys.modules if name.partition(".")[0] == made]:
        del sys.modules[name]


@pytest.fixture
def package(root, tmp_path, monkeypatch):
    """A real package of that name, with a module in it."""
    folder = tmp_path / root
    folder.mkdir()
    (folder / "__init__.py").write_text("WHERE = 'here'\n")
    (folder / "real.py").write_text("def model_of_sales(n):\n    return 'real'\n")
    (folder / "plain").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def run(statement, name):
    scope = {"NAME": name}
    exec(statement.replace("M.", f"{name}.").replace("ROOT", name), scope)
    return scope


def child(code, cwd=None, **environment):
    """Run a program in a fresh process and return what it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


# ---------------------------------------------------------------- imports


@pytest.mark.parametrize(
    "statement",
    [
        "from M.models import invoice, model_of_sales",
        "import M.models; M.models.invoice, M.models.model_of_sales",
        "import M.models as m; m.invoice, m['model-of-costs'], dir(m)",
        "from ROOT import models; models.invoice",
        "from M.models import *; invoice, model_of_sales, model_of_costs",
        "import importlib; importlib.import_module('M.models').invoice",
    ],
)
@pytest.mark.parametrize("above", ["really there", "not there"])
def test_every_import_form_gives_the_functions_for_one_list(
    statement, above, gateway, gw, root, request
):
    if above == "really there":
        request.getfixturevalue("package")
    hooks.mount(gw, f"{root}.models")
    assert gateway.asked == []
    run(statement, root)
    assert gateway.lists == len(gateway.asked) == 1
    assert hasattr(sys.modules[root], "WHERE") == (above == "really there")
    assert sys.modules[root].models is sys.modules[f"{root}.models"]


def test_a_mount_and_the_gateways_module_have_functions_of_their_own_and_one_list(
    gateway, gw, root
):
    hooks.mount(gw, root)
    mounted = importlib.import_module(root).invoice
    plain = importlib.import_module(f"away.remote.{gw}").invoice
    assert mounted is not plain
    assert (mounted.__module__, plain.__module__) == (root, f"away.remote.{gw}")
    assert mounted.connection is plain.connection
    assert gateway.lists == 1


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ({"functions": "model*"}, ["model_of_costs", "model_of_sales"]),
        ({"functions": "model_of_*"}, ["model_of_costs", "model_of_sales"]),
        ({"functions": ["invoice", "*-costs"]}, ["invoice", "model_of_costs"]),
        ({"labels": "team=ml"}, ["model_of_costs", "model_of_sales"]),
        ({"labels": {"team": "ml", "tier": "gold"}}, ["model_of_sales"]),
        ({"labels": "team=ml, tier=gold"}, ["model_of_sales"]),
        ({"labels": "team=ml", "functions": "*sales"}, ["model_of_sales"]),
    ],
)
def test_patterns_and_labels_select(selection, chosen, gw, root):
    hooks.mount(gw, root, **selection)
    module = importlib.import_module(root)
    assert module.__all__ == chosen
    assert set(dir(module)) >= set(chosen)


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_text_is_a_pattern_that_fits_or_not(pattern, name):
    assert Selection((pattern,)).fits(name) in (True, False)
    assert Selection(("*",)).fits(name)


def test_a_selection_of_nothing_does_not_say_that_the_gateway_has_nothing(gw, root):
    hooks.mount(gw, root, functions="modle*")
    with pytest.raises(ImportError, match=r"functions='modle\*'; none of its functions fits that"):
        exec(f"from {root} import model_of_sales")


def test_what_is_not_selected_is_missing_and_the_error_says_by_what(gateway, gw, root):
    hooks.mount(gw, root, functions="model*", labels="team=ml")
    with pytest.raises(
        ImportError, match=r"with functions='model\*' and labels='team=ml'"
    ) as caught:
        run("from ROOT import nothing", root)
    assert isinstance(caught.value, exceptions.FunctionNotFound)
    assert caught.value.name == root
    with pytest.raises(AttributeError, match=f"{gateway.url} has no function 'invoice'"):
        importlib.import_module(root).invoice
    with pytest.raises(ModuleNotFoundError, match="functions are no modules"):
        importlib.import_module(f"{root}.model_of_sales")
    assert importlib.util.find_spec(f"{root}.nothing") is None


def test_find_spec_reload_mock_and_load_treat_it_as_a_gateways_module(gateway, gw, root):
    hooks.mount(gw, root)
    spec = importlib.util.find_spec(root)
    assert (spec.origin, gateway.asked) == (gateway.url, [])
    module = importlib.import_module(root)
    invoice = module.invoice
    gateway.functions.append(published("late"))
    assert importlib.reload(module) is module
    assert (module.invoice, module.late.__module__) == (invoice, root)
    with unittest.mock.patch(f"{root}.late", autospec=True) as late:
        assert module.late is late
        with pytest.raises(TypeError):
            module.late()
    assert isinstance(module.late, RemoteFunction)
    assert asyncio.run(hooks.load(root)) is hooks.load_sync(root) is module


def test_an_async_mount_gives_coroutine_functions(gw, root):
    hooks.mount(gw, root, aio=True)
    assert inspect.iscoroutinefunction(importlib.import_module(root).model_of_sales)


def test_threads_that_import_at_once_send_one_request(gateway, gw, root):
    gateway.seconds = 0.2
    hooks.mount(gw, f"{root}.deep.models")
    start, found = threading.Barrier(8), []

    def work():
        start.wait()
        found.append(importlib.import_module(f"{root}.deep.models").invoice)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
    assert gateway.lists == 1


def test_pickles_of_functions_need_no_mount_and_those_of_modules_bring_it(gateway, gw, root):
    hooks.mount(gw, f"{root}.models", functions="model*")
    module = importlib.import_module(f"{root}.models")
    function = pickle.dumps(module.model_of_sales).hex()
    whole = dill.dumps({"module": module}).hex()
    environment = {
        f"AWAY_GATEWAY_{gw.upper()}_URL": gateway.url,
        f"AWAY_GATEWAY_{gw.upper()}_PASSWORD": PASSWORD,
    }
    said = child(
        f"""
        import pickle, sys
        f = pickle.loads(bytes.fromhex({function!r}))
        print(f, f.__module__, {root!r} in sys.modules)
        module = pickle.loads(bytes.fromhex({whole!r}))["module"]
        print(module.__name__, module.__all__)
        """,
        **environment,
    )
    assert said.splitlines() == [
        f"<remote function model-of-sales on {gateway.url}> {root}.models False",
        f"{root}.models ['model_of_costs', 'model_of_sales']",
    ]
    assert pickle.loads(pickle.dumps(module)) is module


# ---------------------------------------------------------------- never over what is real


def refused(gw, name, text):
    before = hooks.mounted()
    with pytest.raises(ConfigError, match=text) as caught:
        hooks.mount(gw, name)
    assert hooks.mounted() == before
    return str(caught.value)


def test_a_real_module_is_named_with_its_file_and_not_imported(gw, root, package):
    said = refused(gw, f"{root}.real", "cannot be mounted as")
    assert str(package / "real.py") in said
    assert root not in sys.modules
    said = refused(gw, root, "cannot be mounted as")
    assert str(package / "__init__.py") in said
    said = refused(gw, f"{root}.plain", "a folder without __init__.py|folder plain in")
    assert str(package) in said
    said = refused(gw, f"{root}.real.deeper", "and no package")
    assert str(package / "real.py") in said
    importlib.import_module(f"{root}.real")
    assert str(package / "real.py") in refused(gw, f"{root}.real", "cannot be mounted as")


def test_a_module_that_a_process_made_itself_counts_too(gw, root):
    sys.modules[root] = type(sys)(root)
    refused(gw, root, "the module that this process made itself")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("json", "standard library"),
        ("os.mine", "standard library"),
        ("away", "Away's own package"),
        ("away.remote.mine", "Away's own package"),
        ("pytest", "cannot be mounted as pytest, which is the module"),
        ("__main__", "cannot be mounted as __main__"),
        ("", "cannot be imported"),
        (".models", "cannot be imported"),
        ("acme-models", "cannot be imported"),
        ("acme.class", "cannot be imported"),
        ("acme models", "cannot be imported"),
    ],
)
def test_names_that_cannot_be_mounted_say_why(name, text, gw):
    refused(gw, name, text)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_refused(name):
    try:
        check_name(name)
    except ConfigError:
        return
    assert all(part.isidentifier() for part in name.split("."))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"functions": []}, "functions= is a pattern"),
        ({"functions": [""]}, "functions= is a pattern"),
        ({"functions": 5}, "functions= is a pattern"),
        ({"labels": 5}, "is a mapping of texts"),
        ({"labels": ["team"]}, "is a mapping of texts"),
        ({"labels": {"team": "ml", 1: "x"}}, "is a mapping of texts"),
        ({"labels": "team"}, "is written 'team=ml,tier=gold'"),
        ({"labels": {}}, "is a mapping of texts"),
        ({"labels": {"team": 1}}, "is a mapping of texts"),
        ({"fallback": True}, "fallback=True of .* wants local="),
        ({"offload": 1}, "offload= of .* wants local="),
        ({"fallback": "x"}, "fallback= of .* is True or False, not 'x'"),
        ({"local": "no_such_module_anywhere"}, "there is no such module"),
        ({"local": 7}, "is a module of this machine or its name, not 7"),
        ({"local": "textwrap", "offload": "much"}, "offload= is a function"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, text, gw, root):
    with pytest.raises(ConfigError, match=text):
        hooks.mount(gw, root, **options)
    assert importlib.util.find_spec(root) is None


def test_an_unknown_gateway_is_refused_at_the_mount(root):
    with pytest.raises(exceptions.UnknownGateway, match="nogateway"):
        hooks.mount("nogateway", root)


def test_a_real_module_that_appears_later_wins_and_is_warned_of(gw, root, tmp_path, monkeypatch):
    hooks.mount(gw, root)
    (tmp_path / f"{root}.py").write_text("real = True\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.warns(MountWarning, match="which an import finds first") as caught:
        importlib.invalidate_caches()
    assert str(tmp_path / f"{root}.py") in str(caught[0].message)
    assert importlib.import_module(root).real
    assert [each.name for each in hooks.mounted()] == [root]  # and says it once
    (tmp_path / f"{root}.py").unlink()
    del sys.modules[root]


# ---------------------------------------------------------------- mounting again, and taking away


def test_mounting_again_replaces_what_is_of_the_same_gateway_and_nothing_else(gw, root, gateway):
    hooks.mount(gw, root, functions="model*")
    first = importlib.import_module(root)
    hooks.mount(gw, root)
    assert importlib.import_module(root) is not first
    assert importlib.import_module(root).invoice.function_name == "invoice"
    other = f"other_{gw}"
    config.configure(other, url=gateway.url)
    with pytest.raises(ConfigError, match=f"is mounted from the gateway {gw!r}; unmount it first"):
        hooks.mount(other, root)
    config.forget(other)


def test_unmounting_leaves_functions_in_hand_and_nothing_else(gw, root, gateway):
    hooks.mount(gw, f"{root}.deep.models")
    hooks.mount(gw, f"{root}.models")
    invoice = importlib.import_module(f"{root}.deep.models").invoice
    importlib.import_module(f"{root}.models")
    hooks.unmount(f"{root}.deep.models")
    assert {name for name in sys.modules if name.startswith(root)} == {root, f"{root}.models"}
    assert not hasattr(sys.modules[root], "deep")
    assert pickle.loads(pickle.dumps(invoice)).function_name == "invoice"
    hooks.unmount(f"{root}.models")
    assert root not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{root}.models")
    with pytest.raises(ConfigError, match="nothing is mounted as"):
        hooks.unmount(root)


def test_mounts_below_mounts_are_found(gw, root):
    hooks.mount(gw, root, functions="invoice")
    hooks.mount(gw, f"{root}.models", functions="model*")
    assert importlib.import_module(f"{root}.models").__all__ == ["model_of_costs", "model_of_sales"]
    assert importlib.import_module(root).__all__ == ["invoice"]


# ---------------------------------------------------------------- with a local module


@pytest.fixture
def local(package):
    (package / "local.py").write_text(
        "def model_of_sales(n):\n"
        "    'Model locally.'\n"
        "    return f'here {n}'\n"
        "def only_here(n):\n    return -n\n"
        "def _hidden(n):\n    return n\n"
        "limit = 3\n"
    )
    return f"{package.name}.local"


def test_a_gateway_that_is_away_leaves_the_local_functions_importable(gw, root, local):
    with servers.refusing() as port:
        config.configure(gw, url=f"http://127.0.0.1:{port}", timeout=0.3, connect_timeout=0.3)
        hooks.mount(gw, f"{root}.models", local=local, fallback=True)
        module = importlib.import_module(f"{root}.models")
        with pytest.warns(FallbackWarning, match=f"has the functions of the local {local}"):
            assert module.__all__ == ["limit", "model_of_sales", "only_here"]
        assert module.model_of_sales.__doc__ == "Model locally."
        with pytest.warns(FallbackWarning, match="runs here and not at the gateway"):
            assert module.model_of_sales.options(timeout=1.7)(1) == "here 1"
        with pytest.raises(AttributeError):
            module._hidden


def test_without_fallback_the_import_says_that_the_gateway_is_away(gw, root, local):
    with servers.refusing() as port:
        config.configure(gw, url=f"http://127.0.0.1:{port}", connect_timeout=0.3)
        hooks.mount(gw, f"{root}.models", local=local, offload=0)
        with pytest.raises(exceptions.GatewayUnreachable):
            importlib.import_module(f"{root}.models").model_of_sales


def test_a_mount_with_a_local_module_chooses_by_offload(gw, root, local):
    hooks.mount(gw, f"{root}.models", local=importlib.import_module(local), offload=1)
    module = importlib.import_module(f"{root}.models")
    assert module.model_of_sales(2) == "here 2"
    assert module.model_of_sales.counts == (1, 0, 0)
    assert module.model_of_costs.counts is None  # the local module has none of this name
    with pytest.raises(ImportError, match="has no function 'only_here'"):
        exec(f"from {root}.models import only_here")
    importlib.reload(module)
    assert module.model_of_sales.counts == (1, 0, 0)


def test_one_predicate_for_many_functions_is_judged_at_the_call(gateway, gw, root, local, package):
    gateway.functions = [published("model-of-sales"), published("total", parameters=("a", "b"))]
    (package / "local.py").write_text(
        "def model_of_sales(n):\n    return f'here {n}'\ndef total(a, b):\n    return a + b\n"
    )
    hooks.mount(gw, f"{root}.models", local=local, offload=lambda n: n > 10)
    scope = {}
    exec(f"from {root}.models import *", scope)
    assert scope["model_of_sales"](2) == "here 2"
    with pytest.raises(TypeError, match=r"offload= of total\(\) does not take this call's"):
        scope["total"](2, 3)


def test_a_local_function_of_another_kind_is_refused_where_it_is_imported(gw, root, local, package):
    (package / "local.py").write_text("def invoice(n):\n    yield n\n")
    hooks.mount(gw, f"{root}.models", local=local, fallback=True)
    with pytest.raises(ImportError, match="neither stands for the other"):
        importlib.import_module(f"{root}.models").invoice


# ---------------------------------------------------------------- from the configuration


@pytest.fixture
def project(tmp_path, monkeypatch, gw):
    """A project's folder, as the working folder; its mounts are gone after the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    importlib.invalidate_caches()
    yield folder
    monkeypatch.chdir("/")
    configured_mounts.mount_configured()


def imported(project, name):
    """Import a module as code of the project does, by a file that lies there."""
    spec = importlib.util.spec_from_file_location("importing", project / "importing.py")
    (project / "importing.py").write_text(f"import sys, {name}\nfound = sys.modules[{name!r}]\n")
    module = importlib.util.module_from_spec(spec)
    code = compile((project / "importing.py").read_text(), str(project / "importing.py"), "exec")
    exec(code, vars(module))
    return module.found


def test_the_configuration_mounts_when_an_import_finds_nothing(project, gw, root, gateway):
    (project / "pyproject.toml").write_text(
        f'[tool.away.mounts]\n"{root}.models" = "{gw}"\n'
        f'"{root}.later" = {{ gateway = "{gw}", functions = "model*", labels = "team=ml",'
        " aio = true }\n"
    )
    assert importlib.util.find_spec("module_that_nobody_has") is None
    assert gateway.asked == []
    assert imported(project, f"{root}.models").invoice
    later = imported(project, f"{root}.later")
    assert later.__all__ == ["model_of_costs", "model_of_sales"]
    assert inspect.iscoroutinefunction(later.model_of_sales)
    assert hooks.mount_configured() == [f"{root}.later", f"{root}.models"]


def test_an_edited_configuration_is_followed_once_caches_are_dropped(project, gw, root):
    file = project / "away.toml"
    file.write_text(f'[mounts]\n"{root}.a" = "{gw}"\n"{root}.b" = "{gw}"\n')
    kept, gone = (imported(project, f"{root}.{each}") for each in "ab")
    file.write_text(f'[mounts]\n"{root}.a" = "{gw}"\n"{root}.new" = "{gw}"\n')
    importlib.invalidate_caches()
    imported(project, f"{root}.new")
    assert importlib.import_module(f"{root}.a") is kept
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{root}.b")
    assert gone.invoice.function_name == "invoice"


def test_what_the_program_mounts_is_stronger_than_the_configuration(project, gw, root):
    (project / "away.toml").write_text(f'[mounts]\n"{root}" = "nogateway_{gw}"\n')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hooks.mount(gw, root, functions="invoice")
        assert importlib.import_module(root).__all__ == ["invoice"]
    assert [each.category for each in caught] == [MountWarning]
    assert hooks.mount_configured() == [root]


def test_a_projects_mount_is_no_module_to_code_of_others(project, gw, root, gateway, monkeypatch):
    # What other libraries append, of other tests in this process too, would be asked after it.
    (ours,) = (each for each in sys.meta_path if isinstance(each, finder.GatewayFinder))
    monkeypatch.setattr(
        sys, "meta_path", [*(each for each in sys.meta_path if each is not ours), ours]
    )
    (project / "away.toml").write_text(f'[mounts]\n"{root}" = "{gw}"\n"{root}_above.x" = "{gw}"\n')
    installed = project / ".venv" / "lib" / "site-packages"
    installed.mkdir(parents=True)
    with pytest.raises(ModuleNotFoundError, match=r"for code in .*project alone; call away.hooks"):
        exec(f"import {root}", {"__name__": "generated"})
    for name in (root, f"{root}_above"):
        assert importlib.util.find_spec(name) is None
        # An environment inside the project is others' code all the same.
        with pytest.raises(ModuleNotFoundError, match=name):
            imported(installed, name)
    assert gateway.asked == []
    assert imported(project, root).invoice
    hooks.mount_configured()
    assert importlib.import_module(f"{root}_above.x").invoice


def test_what_is_typed_in_a_project_is_its_code_where_python_imports_from_there(
    project, gateway, root
):
    (project / "away.toml").write_text(
        f'[mounts]\n{root} = "shop"\n[gateways.shop]\nurl = "{gateway.url}"\n'
    )
    code = f"""
        import away.remote
        try:
            import {root}
            print({root}.invoice.function_name)
        except ImportError as error:
            print(type(error).__name__)
    """
    code = textwrap.dedent(code)
    script = project.parent / "elsewhere.py"
    script.write_text(code)
    said = []
    for words in (["-c", code], ["-P", "-c", code], [str(script)]):
        ran = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "AWAY_GATEWAY_SHOP_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=60,
        )
        said.append((ran.stdout + ran.stderr).strip())
    assert said == ["invoice", "ModuleNotFoundError", "ModuleNotFoundError"]


def test_the_local_side_of_a_projects_mount_is_the_projects(project, gw, root, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    (project / f"{root}_local.py").write_text("def invoice(n):\n    return n\n")
    entry = f'{{ gateway = "{gw}", fallback = true, local = '
    (project / "away.toml").write_text(
        f'[mounts]\n"{root}" = {entry}"{root}_local" }}\n"{root}_other" = {entry}"pickle" }}\n'
        f'"{root}_more" = {entry}"pytest" }}\n'
    )
    for _ in range(2):
        with pytest.raises(ConfigError, match="no code of the project's in"):
            hooks.mount_configured()
    assert [each.name for each in hooks.mounted()] == [root]
    (project / "away.toml").write_text("")


BROKEN = {
    "no TOML": ("[mounts\n", "is not TOML"),
    "an unknown key": (
        '[mounts]\n"x" = { gateway = "g", label = "a=b" }',
        "nearest known is 'labels'",
    ),
    "a wrong value": ('[mounts]\n"x" = { gateway = "g", aio = "yes" }', "aio of mount 'x' must be"),
    "no gateway": ("[mounts]\nacme.models = 'g'", 'in quotes "acme.models"'),
    "a number": ('[mounts]\n"x" = 7', "is the name of a gateway"),
    "an unknown gateway": ('[mounts]\n"mount_x" = "nogw"', "no gateway is called 'nogw'"),
    "Python's own name": ('[mounts]\n"json" = "default"', "standard library"),
    "a real module": ('[mounts]\n"pytest" = "default"', "which is the module"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_configuration_warns_once_and_breaks_no_other_import(case, project):
    text, said = BROKEN[case]
    (project / "away.toml").write_text(text + "\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            with pytest.raises(ModuleNotFoundError, match="module_that_nobody_has"):
                importlib.import_module("module_that_nobody_has")
    assert len(caught) == 1
    assert said in str(caught[0].message)
    assert "away.toml" in str(caught[0].message)
    assert issubclass(caught[0].category, ImportError)
    with pytest.raises(ConfigError, match=r"away\.toml"):
        hooks.mount_configured()
    (project / "away.toml").write_text("")


def test_where_warnings_are_errors_an_import_tried_on_the_chance_still_survives(project):
    (project / "away.toml").write_text('[mounts]\n"x" = 7\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            import module_that_nobody_has
        except ImportError as error:
            assert "is the name of a gateway" in str(error)  # noqa: PT017 - the form that users write
        with pytest.raises(ModuleNotFoundError):
            import module_that_nobody_has  # noqa: F401
    (project / "away.toml").write_text("")


def test_a_program_that_only_imports_finds_its_mounts_and_its_children_do_too(
    project, gw, root, gateway
):
    (project / "pyproject.toml").write_text(
        f'[tool.away.mounts]\n"{root}.models" = "shop"\n'
        f'[tool.away.gateways.shop]\nurl = "{gateway.url}"\n'
    )
    (project / "job.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, sys
            import away.remote
            before = set(sys.modules)
            try:
                import module_that_nobody_has
            except ImportError:
                pass
            from {root}.models import invoice

            def name_of(function):
                return function.function_name

            if __name__ == "__main__":
                assert not before & {{"away.config", "away.hooks.mounts"}}
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.map(name_of, [invoice]))
            """
        )
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "job.py"],
        env={**os.environ, "AWAY_GATEWAY_SHOP_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr) == ("['invoice']\n", "")


def test_without_mounts_a_foreign_import_asks_nothing_after_the_first(project):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("module_that_nobody_has")
    if not hooks.mounted():
        assert finder._elsewhere is None
    said = child(
        """
        import sys, away.remote
        for name in ("a_module_nobody_has", "another_one"):
            try:
                __import__(name)
            except ImportError:
                pass
        print("away.hooks.mounts" in sys.modules, "away.hooks.modules" in sys.modules)
        """
    )
    assert said.split() == ["False", "False"]


def test_a_published_function_reads_no_configuration(project, gw, root):
    (project / "away.toml").write_text(f'[mounts]\n"{root}" = "{gw}"\n')
    said = child(
        f"""
        import sys, importlib.util, away.remote
        print(importlib.util.find_spec({root!r}), "away.config" in sys.modules)
        """,
        AWAY_RUNTIME="1",
    )
    assert said.split() == ["None", "False"]


def test_a_mounted_function_is_called_at_its_gateway(gw, root):
    script = {
        "/system/functions": servers.json([{"name": "shout"}]),
        "/function/shout": servers.answer(200, b"LOUD", {"Content-Type": "text/plain"}),
    }
    with servers.Server(script) as server:
        config.configure(gw, url=server.url)
        hooks.mount(gw, root)
        assert importlib.import_module(root).shout("loud") == "LOUD"
        assert FaasConnection.named(gw).url == server.url


# ---------------------------------------------------------------- modules that were published whole


def published_module(name, **functions):
    """Describe a module as the gateway lists it, with functions of these kinds."""
    parameter = (signatures.Parameter("n"),)
    whole = ModuleDescription(
        functions={
            each: signatures.Description(kind=kind, parameters=parameter, doc=f"Do {each}.")
            for each, kind in functions.items()
        },
        constants={"LIMIT": 7},
    )
    itself = signatures.Description(entry=f"{name}:*", digest="0" * 64)
    annotations = {**signatures.to_annotations(itself), **module_annotations(whole)}
    return {"name": name, "annotations": annotations}


def test_a_module_published_whole_is_mounted_with_its_functions_and_constants(gateway, gw, root):
    gateway.functions.append(published_module("shapes", area="sync", later="async"))
    hooks.mount(f"{gw}.shapes", f"{root}.shapes")
    scope = run("from ROOT.shapes import area, LIMIT\nimport ROOT.shapes as m", root)
    assert (scope["LIMIT"], scope["area"].__module__) == (7, f"{root}.shapes")
    assert scope["area"].path == "area"
    assert gateway.lists == 1
    assert importlib.import_module(f"away.remote.{gw}.shapes").area is not scope["area"]
    with pytest.raises(ImportError, match="has no 'nope'"):
        run("from ROOT.shapes import nope", root)
    gateway.functions[-1] = published_module("shapes", area="sync", new="sync")
    assert importlib.reload(scope["m"]) is scope["m"]
    assert scope["m"].new.path == "new"
    assert pickle.loads(pickle.dumps(scope["m"])) is scope["m"]
    for name in (f"{root}.shapes", f"{gw}.shapes"):
        with pytest.raises(ImportError, match=f"load {gw!r}, whose list has it"):
            hooks.load_sync(name)
    lists = gateway.lists
    importlib.invalidate_caches()
    with pytest.raises(AttributeError, match="has no 'nope'"):
        scope["m"].nope
    assert gateway.lists == lists + 1
    hooks.unmount(f"{root}.shapes")
    assert root not in sys.modules


def test_a_mounted_module_has_async_and_local_sides_too(gateway, gw, root, package):
    gateway.functions.append(published_module("shapes", area="sync"))
    (package / "local.py").write_text("def area(n):\n    return n * n\n")
    hooks.mount(f"{gw}.shapes", f"{root}.later", aio=True)
    assert inspect.iscoroutinefunction(importlib.import_module(f"{root}.later").area)
    hooks.mount(f"{gw}.shapes", f"{root}.shapes", local=f"{root}.local", offload=1)
    area = importlib.import_module(f"{root}.shapes").area
    assert area(3) == 9
    assert area.counts == (1, 0, 0)


def test_a_mounted_module_whose_gateway_is_away_has_the_local_functions(gw, root, local):
    with servers.refusing() as port:
        config.configure(gw, url=f"http://127.0.0.1:{port}", timeout=0.3, connect_timeout=0.3)
        hooks.mount(f"{gw}.shapes", f"{root}.shapes", local=local, fallback=True)
        with pytest.warns(FallbackWarning, match=f"shapes has the functions of the local {local}"):
            scope = run("from ROOT.shapes import only_here, limit\nfrom ROOT.shapes import *", root)
        assert (scope["limit"], "model_of_sales" in scope) == (3, True)
        with pytest.warns(FallbackWarning, match="runs here and not at the gateway"):
            assert scope["only_here"](4) == -4


def test_a_mount_has_what_only_the_local_module_can_give(gateway, gw, root, package):
    gateway.functions.append(published_module("shapes", area="sync"))
    (package / "local.py").write_text(
        "import math\nclass Shape: ...\nSIDES = 4\n_own = 1\ndef area(n): ...\ndef other(): ...\n"
    )
    for mounted in (gw, f"{gw}.shapes"):
        name = f"{root}.m{mounted.count('.')}"
        hooks.mount(mounted, name, local=f"{root}.local")
        module = importlib.import_module(name)
        kept = importlib.import_module(f"{root}.local")
        exec(f"from {name} import Shape, SIDES, math", scope := {})
        assert (scope["Shape"], scope["SIDES"], module.Shape) == (kept.Shape, 4, kept.Shape)
        assert {"Shape", "SIDES"} <= {*dir(module), *module.__all__}
        with pytest.raises(AttributeError):
            module._own
        with pytest.raises(ImportError, match="other"):
            exec(f"from {name} import other")
    assert module.area.path == "area"


def test_a_module_that_is_not_there_is_told_when_it_is_imported(gateway, gw, root):
    hooks.mount(f"{gw}.shapes", root)
    with pytest.raises(ModuleNotFoundError, match="has no module 'shapes'") as caught:
        importlib.import_module(root)
    assert caught.value.name == root
    assert importlib.util.find_spec(root) is None
    with pytest.raises(ConfigError, match="is mounted whole"):
        hooks.mount(f"{gw}.shapes", f"{root}.x", functions="a*")


def test_modules_below_a_mounted_gateway_are_imported(gateway, gw, root):
    gateway.functions.append(published_module("shapes", area="sync"))
    hooks.mount(gw, root, aio=True)
    scope = run("from ROOT.shapes import area\nfrom ROOT import shapes", root)
    assert scope["shapes"].area is scope["area"]
    assert scope["area"].__module__ == f"{root}.shapes"
    assert inspect.iscoroutinefunction(scope["area"])
    assert gateway.lists == 1


def test_a_published_function_that_uses_a_mounted_module_takes_the_mount_along(gateway, gw, root):
    environment = {
        f"AWAY_GATEWAY_{gw.upper()}_URL": gateway.url,
        f"AWAY_GATEWAY_{gw.upper()}_PASSWORD": PASSWORD,
    }
    code = f"""
        import away.hooks
        from away import capture

        away.hooks.mount({gw!r}, "{root}.models")
        import {root}.models as models

        def costs(n):
            return models.model_of_costs(n)

        captured = capture.capture(costs)
        print(captured.gateways, captured.needs_client)
    """
    said = child(code, **environment)
    assert said.splitlines() == [f"('{gw}',) True"]

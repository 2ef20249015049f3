"""Settings of single functions in TOML: how their calls are made, and by which name they are imported."""

from __future__ import annotations

import importlib
import inspect
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import away
import away.remote
from away import FaasConnection, config, exceptions
from away.config import toml_sources
from away.config.call_settings import CALL_KEYS, DottedPath
from away.config.project_code import is_projects_file
from away.hooks.modules import GatewayModule
from tests import servers
from tests.listed_shop import PASSWORD, Shop


def double(n):
    """Double a number."""
    return 2 * n


def add(a, b=0):
    """Add two numbers."""
    return a + b


@pytest.fixture(scope="module")
def shop():
    with Shop(double=double, **{"add-numbers": add}) as running:
        yield running


@pytest.fixture
def project(shop, tmp_path, monkeypatch):
    """Write an away.toml for the shop and give its module; the user's own file with ``users=``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for key, value in shop.environment(f"set{shop.port}").items():
        monkeypatch.setenv(key, value)
    name = f"set{shop.port}"

    def write(text, *, users=False, others=""):
        file = (tmp_path.parent / f"{tmp_path.name}-own" / "away") if users else tmp_path
        file.mkdir(parents=True, exist_ok=True)
        if users:
            monkeypatch.setenv("XDG_CONFIG_HOME", str(file.parent))
        path = file / ("config.toml" if users else "away.toml")
        path.write_text(text.replace("GW", f"gateways.{name}") + others)
        config.invalidate()
        sys.modules.pop(f"away.remote.{name}", None)
        vars(away.remote).pop(name, None)
        return importlib.import_module(f"away.remote.{name}")

    before = set(sys.modules)
    yield write
    for each in set(sys.modules) - before:
        if each.startswith(("away.remote.set", "packers")):
            del sys.modules[each]
    vars(away.remote).pop(name, None)


def resolved(shop, **more):
    return config.resolve(f"set{shop.port}", **more)


# ---------------------------------------------------------------- what they do


def test_a_table_sets_the_timeout_and_whether_a_call_may_be_repeated(project, shop):
    module = project("[GW.functions.double]\ntimeout = 7.5\nidempotent = true\n")
    manner = module.double._caller.manner
    assert (manner.timeout, manner.idempotent) == (7.5, True)
    assert module.add_numbers._caller.manner.timeout is None
    assert module.double(2) == 4
    again = pickle.loads(pickle.dumps(module.double))
    assert again._caller.manner.timeout == 7.5


def test_a_call_takes_no_longer_than_its_table_says(project, shop):
    module = project("[GW.functions.double]\ntimeout = 0.3\n")
    assert module.double
    with servers.Server(servers.hang()) as silent:
        slow = away.RemoteFunction(
            away.FaasConnection(silent.url, password=PASSWORD), "double", **options(module.double)
        )
        with pytest.raises(exceptions.CallTimedOut, match=r"0\.3 s"):
            slow(1)


def options(function):
    return {key: value for key, value in function._options().items() if key != "module"}


def test_a_timeout_that_the_function_was_published_with_leaves_room_for_the_way(project, shop):
    shop.extra = {"annotations": {"away.timeout": "300.0"}}
    try:
        for stated, expected in ((300, 305.0), (299, 299.0)):
            module = project(f"[GW.functions.double]\ntimeout = {stated}\n")
            importlib.invalidate_caches()
            assert "double" in dir(module)
            assert module.double._caller.timeout() == expected
    finally:
        shop.extra = {}


PACKERS = """
def packed(args):
    return ",".join(map(str, args))

def unpacked(text):
    return text.split(",")
"""


def test_packers_are_dotted_paths_that_are_imported_at_the_first_call(
    project, shop, tmp_path, monkeypatch
):
    (tmp_path / "packers.py").write_text(PACKERS)
    module = project(
        '[GW.functions.double]\npack_args = "packers:packed"\nunpack_args = "packers.unpacked"\n'
    )
    function = module.double
    assert "packers" not in sys.modules
    with servers.Server(servers.answer(200, b"a,b")) as other:
        seen = away.RemoteFunction(
            away.FaasConnection(other.url, password=PASSWORD), "double", **options(function)
        )
        assert seen(5) == ["a", "b"]
        assert other.requests[0].body == b"5"
    assert "packers" in sys.modules
    assert options(pickle.loads(pickle.dumps(function)))["pack"].text == "packers:packed"


def test_the_protocol_can_be_said(project):
    module = project('[GW.functions.double]\nprotocol = "list"\n')
    assert module.double._caller.manner.dialect == "list"


def test_a_name_lets_a_function_be_imported_as_another(project, shop):
    module = project('[GW.functions.plus]\nname = "add-numbers"\ntimeout = 3\n')
    scope = {}
    exec(f"from {module.__name__} import plus, add_numbers", scope)
    assert scope["plus"](1, 2) == 3
    assert scope["plus"] is scope["add_numbers"]
    assert scope["plus"].__name__ == "plus"
    assert scope["plus"]._caller.manner.timeout == 3
    assert {"plus", "add_numbers", "double"} <= set(dir(module))
    assert isinstance(module, GatewayModule)
    # Nothing is published under a name that stands for another function.
    assert resolved(shop).functions == {}


def test_a_name_comes_before_a_function_that_is_called_so(project):
    module = project('[GW.functions.double]\nname = "add-numbers"\n')
    assert module.double(1, 2) == 3
    assert module["double"](4) == 8


def test_a_name_that_the_gateway_has_not_is_told_with_its_line(project):
    module = project('[GW.functions.plus]\nname = "no-such"\n')
    with pytest.raises(AttributeError, match=r"plus stands for 'no-such' there \(.*toml line 2\)"):
        module.plus
    assert "plus" not in dir(module)


def test_later_sources_win_key_by_key_and_both_spellings_are_one(project, shop):
    project(
        "[GW.functions.add_numbers]\ntimeout = 1\nidempotent = true\n",
        users=True,
    )
    module = project("[GW.functions.add-numbers]\ntimeout = 2\n")
    manner = module.add_numbers._caller.manner
    assert (manner.timeout, manner.idempotent) == (2.0, True)
    (said,) = resolved(shop).calls.values()
    timeout, _, idempotent = said.where.partition(", ")
    assert timeout.endswith("away.toml line 2")
    assert idempotent.endswith("config.toml line 3")


def test_a_changed_file_renews_functions_in_hand(project, tmp_path):
    module = project("[GW.functions.double]\ntimeout = 1\n")
    function = module.double
    (tmp_path / "away.toml").write_text("[gateways]\n")
    importlib.invalidate_caches()
    assert "double" in dir(module)
    assert function._caller.manner.timeout is None


def test_they_are_shown_where_other_settings_are(project, shop):
    project('[GW.functions.double]\nidempotent = true\nprotocol = "list"\n')
    found = resolved(shop)
    assert found.origins["calls"].endswith("away.toml line 3")
    assert str(found.calls) == "{'double': {'idempotent': True, 'protocol': 'list'}}"


def test_options_of_publishing_stand_in_the_same_table(project, shop):
    project('[GW.functions.double]\ntimeout = 9\nidempotent = true\nenv = { MODE = "fast" }\n')
    assert resolved(shop).functions == {"double": {"timeout": 9.0, "env": {"MODE": "fast"}}}
    assert set(config.publish_options(f"set{shop.port}", "double")) == {"timeout", "env"}


# ---------------------------------------------------------------- what they cannot be


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("timeout = -1", "timeout of .* must be a positive number of seconds"),
        ("idempotent = 1", "idempotent of .* must be true or false"),
        ('protocol = "yaml"', "protocol of .* must be 'auto' or 'list' or 'protocol'"),
        ('pack_args = "nodots"', "pack_args of .* must be a function as 'package.module:function'"),
        ('pack_args = "a b:c"', "pack_args of .* must be a function"),
        ('unpack_args = "json:loads"', "unpack_args of .* needs pack_args beside it"),
        ('name = "a b"', "name of .* must be a function's name as the gateway has it"),
        ("idempotnet = true", "unknown option 'idempotnet' .* the nearest known is 'idempotent'"),
        ('pack_arg = "a:b"', "unknown option 'pack_arg' .* the nearest known is 'pack_args'"),
        (
            'name = "x"\ntimout = 30',
            "unknown option 'timout' .* the nearest known is 'timeout'",
        ),
        (
            'name = "x"\nenv = { A = "1" }',
            "env of .* stands beside name, which says that another function is meant",
        ),
        (
            'pack_args = "json:dumps"\nprotocol = "list"',
            "pack_args of .* stands beside protocol",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_with_its_line(line, text, project):
    with pytest.raises(ImportError, match=rf"{text}.*away\.toml line [123]\)") as caught:
        project(f"[GW.functions.double]\n{line}\n")
    assert isinstance(caught.value, exceptions.ConfigError)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("packers:missing", "cannot be imported: module 'packers' has no attribute 'missing'"),
        ("nowhere_to_be_found:f", "cannot be imported: No module named 'nowhere_to_be_found'"),
        ("packers:__name__", "is a str and cannot be called"),
    ],
)
def test_a_packer_that_is_not_there_is_told_at_the_call(path, text, project, tmp_path):
    (tmp_path / "packers.py").write_text(PACKERS)
    module = project(f'[GW.functions.double]\npack_args = "{path}"\n', users=True)
    with pytest.raises(exceptions.ConfigError, match=text) as caught:
        module.double(1)
    assert "config.toml line 2" in str(caught.value)


@pytest.mark.parametrize(
    "path", ["os:system", "subprocess:getoutput", "builtins:eval", "site.abs_paths"]
)
def test_a_projects_file_names_no_code_that_is_not_the_projects(path, project):
    module = project(f'[GW.functions.double]\npack_args = "{path}"\n')
    with pytest.raises(exceptions.ConfigError, match="is no code of the project's"):
        module.double("touch /tmp/never")
    assert project('[GW.functions.double]\npack_args = "json:dumps"\n').double


def test_the_users_own_file_names_any_code(project, shop):
    module = project('[GW.functions.double]\npack_args = "operator:itemgetter"\n', users=True)
    with pytest.raises(exceptions.CannotTravel, match="gave a itemgetter"):
        module.double(0)


def test_a_link_out_of_the_project_is_no_code_of_its(project, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "packers.py").write_text("raise SystemExit('it ran')")
    (tmp_path / "packers.py").symlink_to(outside / "packers.py")
    module = project('[GW.functions.double]\npack_args = "packers:packed"\n')
    with pytest.raises(exceptions.ConfigError, match="is no code of the project's"):
        module.double(1)


def test_an_environment_inside_the_project_is_no_code_of_its(project, tmp_path, monkeypatch):
    installed = tmp_path / "env" / "lib" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "packers_installed.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(str(installed))
    module = project('[GW.functions.double]\npack_args = "packers_installed:packed"\n')
    with pytest.raises(exceptions.ConfigError, match="is no code of the project's"):
        module.double(1)


def test_a_setting_that_fits_a_function_no_more_breaks_no_change_and_no_other_function(
    project, shop, tmp_path, monkeypatch
):
    (tmp_path / "packers.py").write_text("def packed(args):\n    return str(args[0])\n")
    module = project('[GW.functions.double]\npack_args = "packers:packed"\n')
    aio = importlib.import_module(module.__name__.replace(".remote.", ".remote.aio."))
    held, others = module.double, (module.add_numbers, aio.add_numbers)
    assert aio.double
    shop_functions = {"double": lambda n, *, m=1: n, "add-numbers": double, "gone": add}
    for name, function in {**shop_functions, "also": add}.items():
        monkeypatch.setitem(shop.functions, name, function)
    with FaasConnection(shop.url, password=PASSWORD) as faas:
        assert faas.remove("gone") is None
        assert [str(inspect.signature(each)) for each in others] == ["(n)", "(n)"]
        assert (module.add_numbers, aio.add_numbers) == others
        assert module.double is held
        for each in (module, aio):
            for _ in range(2):
                with pytest.raises(ImportError, match="pack_args"):
                    each["double"]
        monkeypatch.setitem(shop.functions, "double", lambda k: k)
        assert faas.remove("also") is None
        assert module.double is held
        assert str(inspect.signature(held)) == "(k)"


@pytest.mark.parametrize("which", ["prefix", "base_prefix"])
def test_what_lies_in_the_running_environment_is_no_code_of_a_project_around_it(
    which, tmp_path, monkeypatch
):
    inside, own = tmp_path / "env" / "share" / "x.py", tmp_path / "x.py"
    monkeypatch.setattr(sys, which, str(tmp_path / "env"))
    assert not is_projects_file(str(inside), str(tmp_path))
    assert is_projects_file(str(own), str(tmp_path))
    # An environment around the project, such as /usr, says nothing of it.
    monkeypatch.setattr(sys, which, str(tmp_path.parent))
    assert is_projects_file(str(own), str(tmp_path))


@given(st.sampled_from(sorted(CALL_KEYS)), st.text() | st.integers() | st.floats() | st.booleans())
def test_any_value_is_taken_or_refused_in_words(key, value):
    from pathlib import Path

    from away.config.call_settings import CallSettings, joined
    from away.config.settings import USER, Setting

    try:
        found = joined("f", "gw", [{key: Setting(value, "file line 1", USER, Path("/"))}])
    except exceptions.ConfigError as error:
        assert "(file line 1)" in str(error)  # noqa: PT017 - either outcome will do
    else:
        assert isinstance(found, CallSettings)
        assert getattr(found, key) is not None


def test_a_dotted_path_is_its_name_alone():
    path = DottedPath("json:dumps", "pack_args", "file line 1")
    assert path((1, 2)) == "[1, 2]"
    assert pickle.loads(pickle.dumps(path)) == path
    assert hash(path) == hash(pickle.loads(pickle.dumps(path)))
    assert repr(path) == "json:dumps"


def test_a_table_for_local_says_of_its_functions_and_never_where_it_is(tmp_path):
    file = tmp_path / "away.toml"
    file.write_text("[gateways.local.functions.double]\ntimeout = 7\n")
    (source,) = toml_sources.project_sources(tmp_path)
    assert source.calls["local"]["double"]["timeout"].value == 7
    assert not source.gateways
    for more in ("url = 'http://127.0.0.1:9'", "user = 'me'", "catalogue = 'fresh'"):
        file.write_text(f"[gateways.local]\n{more}\n[gateways.local.publish]\ntimeout = 7\n")
        with pytest.raises(
            exceptions.ConfigError, match="'local' is kept for the running embedded"
        ):
            toml_sources.project_sources(tmp_path)

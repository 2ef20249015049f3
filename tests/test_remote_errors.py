"""What an exception of a function is here: its own type, its own text, both tracebacks, no code run."""

from __future__ import annotations

import asyncio
import decimal
import errno
import importlib.util
import json
import pathlib
import pickle
import subprocess
import sys
import time
import traceback
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from away import protocol
from away.exceptions import AwayError, CannotTravel, FunctionNotFound, ProtocolMismatch, RemoteError
from away.protocol.remote_errors import MAX_TRACEBACK, NOTE_HEAD, describe, rebuild


def travel(exc):
    """Send an exception there and back as an answer does."""
    answer = protocol.read_answer(protocol.pack_error(exc), allow_unsafe=False)
    assert answer.kind == "error"
    return answer.value


def raised(make):
    try:
        raise make()
    except BaseException as error:
        return error


class Simple(Exception):
    pass


class WithFields(ValueError):
    def __init__(self, code, *, extra):
        if RAN is not None:
            RAN.append("init")
        super().__init__(f"code {code}")
        self.code = code
        self.extra = extra


class WithNew(Exception):
    def __new__(cls, *args):
        if RAN is not None:
            RAN.append("new")
        return super().__new__(cls, *args)


class OwnText(Exception):
    def __init__(self, row):
        super().__init__("row")
        self.row = row

    def __str__(self):
        return f"bad row {self.row.name}"


class Steals(Exception):
    def __setattr__(self, name, value):
        RAN.append("setattr")


class HasProperty(Exception):
    @property
    def code(self):
        return 7

    def method(self):
        return "method"


class Missing(KeyError):
    pass


class FileProblem(OSError):
    def __init__(self, path):
        super().__init__(errno.ENOENT, "no such file", path)


class Slotted(Exception):
    __slots__ = ("code",)


class EndsLoops(StopIteration):
    pass


class EndsProcesses(Exception, SystemExit):
    pass


class Outer:
    class Inner(Exception):
        pass

    not_an_exception = dict


class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class OwnGroup(ExceptionGroup):
    def derive(self, excs):
        return OwnGroup(self.message, excs)


RAN = None


@pytest.fixture
def ran():
    global RAN
    RAN = []
    yield RAN
    RAN = None


def bad_decode():
    b"\xff".decode()


def bad_open():
    pathlib.Path("/no/such/file").read_bytes()


def bad_syntax():
    compile("a b", "some.py", "exec")


def bad_import():
    import no_such_module_anywhere  # noqa: F401


def bad_name():
    no_such_name  # noqa: F821


def bad_attribute():
    (1).no_such_attribute


def caught(act):
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


COME_BACK = {
    "division": lambda: caught(lambda: 1 / 0),
    "key": lambda: KeyError("a"),
    "key of a tuple": lambda: KeyError((1, b"x")),
    "no args": lambda: ValueError(),
    "several args": lambda: ValueError(1, "a", None, (2,)),
    "unicode decode": lambda: caught(bad_decode),
    "unicode encode": lambda: caught(lambda: "é".encode("ascii")),
    "file": lambda: caught(bad_open),
    "two files": lambda: OSError(errno.EXDEV, "cross-device", "a", None, "b"),
    "os error of one text": lambda: OSError("text"),
    "connection": lambda: ConnectionResetError(errno.ECONNRESET, "reset"),
    "timeout": lambda: TimeoutError("late"),
    "syntax": lambda: caught(bad_syntax),
    "import": lambda: caught(bad_import),
    "name": lambda: caught(bad_name),
    "attribute": lambda: caught(bad_attribute),
    "assertion": lambda: AssertionError("no"),
    "not implemented": lambda: NotImplementedError("yet"),
    "recursion": lambda: RecursionError("deep"),
    "warning": lambda: UserWarning("careful"),
    "user's": lambda: Simple("a", 1),
    "user's with fields": lambda: WithFields(3, extra={"a": (1,)}),
    "user's of a key error": lambda: Missing("a"),
    "user's of an os error": lambda: FileProblem("/a"),
    "user's in a class": lambda: Outer.Inner("x"),
    "a module's": lambda: json.JSONDecodeError("bad", "doc", 1),
    "decimal's": lambda: caught(lambda: decimal.Decimal(1) / 0),
    "long": lambda: ValueError("x" * 200_000),
    "text that is no utf-8": lambda: ValueError("\ud800"),
    "control characters": lambda: ValueError("\x1b[2J"),
}


@pytest.mark.parametrize("make", COME_BACK.values(), ids=COME_BACK.keys())
def test_an_exception_comes_back_as_its_own_type_with_args_and_text(make):
    error = make()
    read = travel(error)
    assert type(read) is type(error)
    if type(error) is not type(caught(lambda: decimal.Decimal(1) / 0)):  # its args are classes
        assert read.args == error.args
    assert str(read) == str(error)
    for name in (
        "errno",
        "strerror",
        "filename",
        "filename2",
        "name",
        "path",
        "code",
        "extra",
        "pos",
    ):
        assert getattr(read, name, None) == getattr(error, name, None), name
    assert read.__notes__[-1].startswith(NOTE_HEAD)
    assert type(error).__name__ in read.__notes__[-1]


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("a"), KeyError("a"), OSError(2, "no", "file"), Simple(1), RemoteError("x: y"),
     CannotTravel("no", path="a[1]"), Outer.Inner("x")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_the_remote_traceback_is_a_note_that_pickles_along(error):
    read = travel(raised(lambda: error))
    again = pickle.loads(pickle.dumps(read))
    assert again.__notes__ == read.__notes__
    assert "in raised" in again.__notes__[-1]
    assert (type(again), again.args, str(again)) == (type(read), read.args, str(read))


def test_the_traceback_shows_both_sides():
    def inner():
        return {}["key"]

    read = travel(caught(inner))
    shown = "".join(traceback.format_exception(caught(lambda: (_ for _ in ()).throw(read))))
    assert "in inner" in shown
    assert 'return {}["key"]' in shown
    assert NOTE_HEAD in shown


def test_notes_causes_and_contexts_are_in_it():
    def act():
        try:
            1 / 0
        except ZeroDivisionError as cause:
            error = ValueError("second")
            error.add_note("mind the gap")
            raise error from cause

    read = travel(caught(act))
    assert read.__notes__[0] == "mind the gap"
    assert "ZeroDivisionError: division by zero" in read.__notes__[-1]
    assert "direct cause" in read.__notes__[-1]


BECOME_REMOTE = {
    "system exit": (SystemExit(3), "SystemExit", "3"),
    "keyboard interrupt": (KeyboardInterrupt(), "KeyboardInterrupt", ""),
    "stop iteration": (StopIteration(1), "StopIteration", "1"),
    "stop async iteration": (StopAsyncIteration(), "StopAsyncIteration", ""),
    "generator exit": (GeneratorExit(), "GeneratorExit", ""),
    "cancelled": (asyncio.CancelledError("x"), "asyncio.exceptions.CancelledError", "x"),
    "base exception": (BaseException("x"), "BaseException", "x"),
    "user's stop iteration": (EndsLoops(1), f"{__name__}.EndsLoops", "1"),
    "user's system exit": (EndsProcesses(1), f"{__name__}.EndsProcesses", "1"),
    "base group": (BaseExceptionGroup("g", [SystemExit(1)]), "BaseExceptionGroup", "g (1 sub-exception)"),
    "text that fails": (NoText(1), f"{__name__}.NoText", "<NoText whose text fails>"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("error", "type_name", "message"), BECOME_REMOTE.values(), ids=BECOME_REMOTE.keys()
)
def test_what_would_end_a_loop_or_the_process_becomes_a_remote_error(error, type_name, message):
    read = travel(error)
    assert type(read) is RemoteError
    assert read.type_name == type_name
    assert read.message == message
    assert str(read) == f"{type_name}: {message}"
    assert read.args == (str(read),)
    assert type_name.rpartition(".")[2] in read.remote_traceback
    assert (read.gateway, read.status, read.call_id) == (None, None, None)
    again = pickle.loads(pickle.dumps(read))
    assert (again.type_name, again.message) == (type_name, message)


def test_a_type_that_is_unknown_here_becomes_a_remote_error(ran):
    data = describe(Simple("a"))
    for change in (
        {"module": "no_such_module"},
        {"qualname": "NoSuchClass"},
        {"qualname": "Outer.NoSuch"},
        {"qualname": "describe"},
        {"qualname": "Outer"},
        {"qualname": "Outer.not_an_exception"},
        {"qualname": "make.<locals>.Simple"},
        {"qualname": "Simple.__init__"},
        {"qualname": "Simple.__class__"},
        {"qualname": "Simple.args"},
        {"qualname": ""},
        {"qualname": "."},
        {"module": ""},
        {"module": "builtins", "qualname": "int"},
        {"module": "builtins", "qualname": "exec"},
        {"module": "builtins", "qualname": "BaseException"},
        {"module": "os", "qualname": "system"},
    ):
        read = rebuild(data | change)
        assert type(read) is RemoteError, change
        assert read.message == "a"


def test_nothing_is_imported_for_a_peer():
    code = (
        "import sys\n"
        "from away.protocol.remote_errors import rebuild, describe\n"
        "from away.exceptions import RemoteError\n"
        "before = set(sys.modules)\n"
        "data = {'module': 'x', 'qualname': 'y', 'args': [], 'text': '', 'traceback': ''}\n"
        "for module, name in [('decimal', 'InvalidOperation'), ('smtplib', 'SMTPException'),\n"
        "                     ('away', 'builder'), ('away', 'exceptions.RemoteError'),\n"
        "                     ('xml.dom', 'DOMException'), ('away.functions', 'x')]:\n"
        "    assert type(rebuild({**data, 'module': module, 'qualname': name})) is RemoteError\n"
        "assert set(sys.modules) == before, set(sys.modules) - before\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_modules_own_code_is_never_asked_for_a_name(ran):
    class Proxy(types.ModuleType):
        def __getattribute__(self, name):
            RAN.append(name)
            return super().__getattribute__(name)

    class Odd:
        def __getattr__(self, name):
            RAN.append(name)
            return Simple

    computing = types.ModuleType("computing_module")
    computing.__getattr__ = lambda name: RAN.append(name) or Simple
    sys.modules["computing_module"] = computing
    sys.modules["proxy_module"] = Proxy("proxy_module")
    sys.modules["odd_module"] = Odd()
    RAN.clear()
    try:
        data = describe(Simple("a"))
        for name in ("computing_module", "proxy_module", "odd_module"):
            assert type(rebuild(data | {"module": name})) is RemoteError
    finally:
        for name in ("computing_module", "proxy_module", "odd_module"):
            del sys.modules[name]
    assert ran == []


def test_a_module_that_loads_lazily_is_not_loaded_for_a_peer():
    spec = importlib.util.find_spec("this")
    sys.modules.pop("this", None)
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["this"] = module
    loader.exec_module(module)
    try:
        data = describe(Simple("a")) | {"module": "this", "qualname": "s"}
        assert type(rebuild(data)) is RemoteError
        assert type(module).__name__ == "_LazyModule"
    finally:
        del sys.modules["this"]


def test_no_init_new_or_setattr_of_the_users_runs(ran):
    fields = WithFields(3, extra=1)
    new = WithNew("a")
    data = describe(Steals("a")) | {"state": {"code": 3}}
    ran.clear()
    read = travel(fields)
    assert (type(read), read.code, read.extra) == (WithFields, 3, 1)
    assert type(travel(new)) is WithNew
    stolen = rebuild(data)
    assert type(stolen) is Steals
    assert vars(stolen)["code"] == 3
    assert ran == []


def test_a_peers_state_cannot_stand_in_for_methods_or_dunders():
    state = {
        "code": 1, "method": 1, "with_traceback": 1, "add_note": 1, "args": 1, "__class__": 1,
        "__notes__": 1, "__traceback__": 1, "__reduce__": 1, "not an identifier": 1, "fine": 2,
    }  # fmt: skip
    read = rebuild(describe(HasProperty("a")) | {"state": state})
    assert type(read) is HasProperty
    assert (read.code, read.method(), read.args, read.fine) == (7, "method", ("a",), 2)
    assert read.__notes__[-1].startswith(NOTE_HEAD)
    assert set(vars(read)) == {"fine", "__notes__"}
    assert read.with_traceback(None) is read


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError(range(3)), "range(0, 3)"),
        (KeyError(range(3)), "range(0, 3)"),
        (ValueError("a", range(3)), "('a', range(0, 3))"),
        (Simple(decimal.Decimal("1.5")), "1.5"),
        (ValueError(NoRepr()), "<NoRepr whose repr fails>"),
    ],
)
def test_an_argument_that_cannot_travel_is_its_repr(error, text):
    read = travel(error)
    assert type(read) is type(error)
    if "Decimal" not in repr(error.args[0].__class__):
        assert str(read) == text
    again = pickle.loads(pickle.dumps(read))
    assert str(again) == str(read)


def test_a_class_whose_text_needs_what_cannot_travel_becomes_a_remote_error():
    read = travel(OwnText(types.SimpleNamespace(name="seven")))
    assert type(read) is RemoteError
    assert str(read) == f"{__name__}.OwnText: bad row seven"


def test_errors_of_ours_come_back_with_their_fields():
    error = CannotTravel("the result is a range", path="result[3]", hint="send list(…)")
    read = travel(error)
    assert type(read) is CannotTravel
    assert (str(read), read.path, read.hint) == (
        "the result is a range",
        "result[3]",
        "send list(…)",
    )
    assert (read.gateway, read.function, read.status, read.call_id) == (None,) * 4
    read = travel(
        FunctionNotFound("no 'fib'", nearest=("fibonacci",), gateway="http://g", status=404)
    )
    assert (read.nearest, read.gateway, read.status) == (("fibonacci",), "http://g", 404)
    assert isinstance(read, LookupError)
    assert type(travel(ProtocolMismatch("no"))) is ProtocolMismatch
    inner = travel(SystemExit(3))
    outer = travel(inner)
    assert (type(outer), outer.type_name, outer.message) == (RemoteError, "SystemExit", "3")
    bare = {"module": "away.exceptions", "qualname": "GatewayError", "text": "x", "args": ["x"]}
    assert rebuild(bare).gateway is None
    assert rebuild(bare | {"args": []}).status is None
    assert isinstance(rebuild(bare | {"args": [1, 2, 3]}), AwayError)


def test_a_group_comes_back_for_except_star():
    group = ExceptionGroup(
        "several", [ValueError(1), ExceptionGroup("in", [KeyError("a"), Simple()])]
    )
    read = travel(raised(lambda: group))
    assert type(read) is ExceptionGroup
    assert str(read) == str(group)
    inner = read.exceptions[1]
    assert [type(each) for each in inner.exceptions] == [KeyError, Simple]
    matched, rest = read.split(KeyError)
    assert matched is not None
    assert rest is not None
    own = travel(OwnGroup("own", [ValueError(2)]))
    assert type(own) is OwnGroup
    assert own.exceptions[0].args == (2,)
    mixed = travel(BaseExceptionGroup("base", [SystemExit(1), ValueError()]))
    assert type(mixed) is RemoteError
    deep = ValueError("deepest")
    for _ in range(60):
        deep = ExceptionGroup("g", [deep])
    assert isinstance(travel(deep), Exception)


def test_a_scripts_exception_is_known_by_the_name_of_its_file(tmp_path):
    script = tmp_path / "orders.py"
    script.write_text(
        "from away.protocol.remote_errors import describe, rebuild\n"
        "class OutOfStock(Exception): pass\n"
        "data = describe(OutOfStock('bolts')) | {'module': 'orders'}\n"
        "assert type(rebuild(data)) is OutOfStock, rebuild(data)\n"
        "assert type(rebuild(data | {'module': 'other'})) is not OutOfStock\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_control_characters_of_a_peer_never_reach_the_terminal():
    data = describe(Simple("a")) | {
        "module": "gone\x1b[2J",
        "text": "b\x1b]0;title\x07\u202e",
        "traceback": "line\n\tx\x1b[31m\r\x9b\u2066\ud800\x00",
        "notes": ["n\x1b"],
    }
    read = rebuild(data)
    assert str(read) == "gone\\x1b[2J.Simple: b\\x1b]0;title\\x07\\u202e"
    assert read.__notes__ == [
        "n\\x1b",
        f"{NOTE_HEAD}\nline\n\tx\\x1b[31m\\r\\x9b\\u2066\\ud800\\x00",
    ]
    for note in read.__notes__:
        note.encode()


def test_a_traceback_is_bounded():
    def forever(n):
        return forever(n + 1)

    read = travel(caught(lambda: forever(0)))
    assert type(read) is RecursionError
    assert len(read.__notes__[-1]) < MAX_TRACEBACK
    read = travel(caught(lambda: (_ for _ in ()).throw(ValueError("x" * 10**6))))
    assert len(read.args[0]) == 10**6
    assert len(read.__notes__[-1]) < 2 * MAX_TRACEBACK
    assert "characters left out" in read.__notes__[-1]
    many = ValueError()
    for n in range(1000):
        many.add_note(f"note {n}")
    assert len(travel(many).__notes__) == 101


def test_frames_above_the_users_are_left_out():
    code = compile("def serve(act):\n    act()\n", "/opt/away/runtime/server.py", "exec")
    namespace = {"__name__": "away.runtime.server"}
    exec(code, namespace)
    read = travel(caught(lambda: namespace["serve"](bad_open)))
    assert "in bad_open" in read.__notes__[-1]
    own = {"__name__": "away.runtime.server"}
    exec(compile("def fail():\n    raise ValueError(1)\n", "server.py", "exec"), own)
    try:
        own["fail"]()
    except ValueError as error:
        tb = error.__traceback__.tb_next  # only the runtime's own frames
        read = travel(error.with_traceback(tb))
    assert "in fail" in read.__notes__[-1]


BAD = {
    "nothing": {},
    "a list": [],
    "none": None,
    "text": "KeyError",
    "args no list": {"args": {}},
    "text no text": {"text": 1},
    "module no text": {"module": []},
    "notes no list": {"notes": "x"},
    "notes no text": {"notes": [1]},
    "state no dict": {"state": []},
    "shown beyond": {"shown": [5]},
    "shown below": {"shown": [-1]},
    "shown no number": {"shown": ["0"]},
    "shown true": {"shown": [True]},
    "exceptions no list": {"exceptions": {}},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_a_description_in_no_form_is_a_protocol_mismatch_or_a_remote_error(change):
    data = {"module": "builtins", "qualname": "KeyError", "args": ["a"], "text": "'a'"}
    if type(change) is dict and change:
        with pytest.raises(ProtocolMismatch):
            rebuild(data | change)
    elif change == {}:
        assert type(rebuild({})) is RemoteError
    else:
        with pytest.raises(ProtocolMismatch):
            rebuild(change)


def test_what_a_builtin_refuses_becomes_a_remote_error():
    data = {"module": "builtins", "text": "t", "traceback": "tb"}
    for name, args in [
        ("UnicodeDecodeError", [1, 2]),
        ("UnicodeDecodeError", ["utf-8", b"a", "x", 1, "r"]),
        ("SyntaxError", ["m", 5]),
        ("ExceptionGroup", ["m"]),
        ("ExceptionGroup", []),
    ]:
        assert type(rebuild(data | {"qualname": name, "args": args})) is RemoteError, name
    lying = data | {"qualname": "ExceptionGroup", "args": ["m"], "exceptions": [{}]}
    assert type(rebuild(lying).exceptions[0]) is RemoteError


def test_describing_never_fails():
    class Hostile(Exception):
        @property
        def __notes__(self):
            return [1, object(), "note"]

        @property
        def args(self):
            raise RuntimeError

        @property
        def __cause__(self):
            raise RuntimeError

        def __repr__(self):
            raise RuntimeError

        __str__ = __repr__

    error = Hostile(NoRepr(), object())
    error.__context__ = error
    error.state = NoRepr()
    read = travel(error)
    assert type(read) is RemoteError
    local = travel(raised(Slotted))
    assert type(local) is Slotted

    class Text(str):
        def __str__(self):
            raise RuntimeError

    assert isinstance(travel(ValueError(Text("a"))), ValueError)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([ValueError, KeyError, Simple, RuntimeError, Missing]),
    st.lists(
        st.none() | st.integers() | st.text() | st.binary() | st.lists(st.integers()).map(tuple),
        max_size=3,
    ),
    st.lists(st.text(), max_size=2),
)
def test_any_args_and_notes_come_back(kind, args, notes):
    error = kind(*args)
    for note in notes:
        error.add_note(note)
    read = travel(error)
    assert type(read) is kind
    assert read.args == error.args
    assert str(read) == str(error)
    assert len(read.__notes__) == len(notes) + 1


def of_builtin(name, *args, **more):
    return rebuild({"module": "builtins", "qualname": name, "args": list(args), **more})


NO_TYPE_OF_THEIR_OWN = {
    "20 million carets": ("SyntaxError", ["m", ("f", 1, 1, "text", 1, 20_000_000)], {}),
    "carets before the text": ("SyntaxError", ["m", ("f", 1, -20_000_000, "text", 1, 5)], {}),
    "a column that is text": ("IndentationError", ["m", ("f", 1, "x", "text")], {}),
    "a line of 5,000 digits": ("SyntaxError", ["m", ("f", 10**5_000, 1, "text")], {}),
    "a text that is none": ("SyntaxError", ["m", ("f", 1, 1, ["text"])], {}),
    "a file that is none": ("SyntaxError", ["m", [["f"], 1, 1, "text"]], {}),
    "details that are text": ("SyntaxError", ["m", "abcd"], {}),
    "memory before bytes": ("UnicodeDecodeError", ["a", b"x", -(10**15), 1 - 10**15, "r"], {}),
    "memory before text": ("UnicodeEncodeError", ["a", "x", -(10**15), 1 - 10**15, "r"], {}),
    "memory in translating": ("UnicodeTranslateError", ["x", -(10**15), 1 - 10**15, "r"], {}),
}


@pytest.mark.parametrize(
    ("name", "args", "more"), NO_TYPE_OF_THEIR_OWN.values(), ids=NO_TYPE_OF_THEIR_OWN.keys()
)
def test_an_error_that_would_flood_or_kill_who_shows_it_is_a_remote_error(name, args, more):
    error = of_builtin(name, *args, text="what it said", **more)
    assert type(error) is RemoteError
    assert len("".join(traceback.format_exception(error))) < 1_000


def test_names_of_errors_that_are_no_text_are_left_out():
    for name in ("NameError", "ImportError", "ModuleNotFoundError", "AttributeError"):
        error = of_builtin(name, "m", attributes={"name": ["unhashable"], "path": {}})
        assert type(error).__name__ == name
        assert error.name is None
        assert f"{name}: m" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "source",
    [
        "x = (",
        "def f():\nx",
        "'",
        "é = é é",
        "if 1:\n\tx\n        y",
        "x = [1,\n" + "2" * 80 + " 3]",
    ],
)
def test_the_syntax_errors_of_python_come_back_whole(source):
    with pytest.raises(SyntaxError) as caught:
        compile(source, "file.py", "exec")
    back = travel(caught.value)
    assert type(back) is type(caught.value)
    assert back.args == caught.value.args
    for made in (SyntaxError("m"), SyntaxError("a", "b", "c"), SyntaxError("m", ("f", 3, 7, None))):
        assert travel(made).args == made.args


def test_a_unicode_error_of_the_users_own_making_comes_back():
    for made in (
        UnicodeDecodeError("utf-8", b"", 0, 1, "empty"),
        UnicodeEncodeError("ascii", "é", 0, 1, "beyond"),
    ):
        assert type(travel(made)) is type(made)
        assert str(travel(made)) == str(made)


def test_deep_groups_and_long_texts_cost_no_more_than_they_hold():
    long = "\U0010ffff" * 200_000
    data = {"module": "builtins", "qualname": "ValueError", "args": [long], "notes": [long] * 5}
    for _ in range(60):
        data = {
            "module": "builtins", "qualname": "ExceptionGroup", "args": ["g"], "exceptions": [data],
            "text": long,
        }  # fmt: skip
    before = time.thread_time()
    error = rebuild(data)
    assert time.thread_time() - before < 3
    assert type(error) is ExceptionGroup
    levels = 0
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
        levels += 1
    assert (levels, type(error)) == (20, RemoteError)
    assert all(len(note) < 2_000_000 for note in error.__notes__)

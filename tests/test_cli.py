"""The command line: what it prints, where, and with which code it ends."""

from __future__ import annotations

import datetime as dt
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading

import pytest

import away.gateway
from away import cli, exceptions, terminal
from tests.listing_gateway import PASSWORD, Gateway, published

AWAY = [sys.executable, "-W", "error", "-m", "away"]
HOSTILE = "\x1b]0;taken over\x07\x1b[31m\u202e[red]"


@pytest.fixture(scope="module")
def embedded():
    with away.gateway.run(announce=False) as faas:
        for name, command in {"cat": "cat", "upper": "tr a-z A-Z", "fail": "false"}.items():
            faas.deploy({"service": name, "image": "process", "envProcess": command})
        yield faas


@pytest.fixture
def shop(embedded, own_environment, monkeypatch):
    """Let the embedded gateway be the configured gateways `shop` and `default`."""
    for name in ("SHOP", "DEFAULT"):
        monkeypatch.setenv(f"AWAY_GATEWAY_{name}_URL", embedded.url)
        monkeypatch.setenv(f"AWAY_GATEWAY_{name}_PASSWORD", embedded.password)
    return embedded


@pytest.fixture
def listing(own_environment, monkeypatch):
    gateway = Gateway()
    monkeypatch.setenv("AWAY_GATEWAY_DEFAULT_URL", gateway.url)
    monkeypatch.setenv("AWAY_GATEWAY_DEFAULT_PASSWORD", PASSWORD)
    yield gateway
    gateway.close()


@pytest.fixture
def run(capfdbinary):
    """Run a command in this process; what it printed comes as text."""

    def run(*words):
        code = cli.run(words)
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def away_command(*words, stdin=b"", **options):
    """Run a command in a process of its own."""
    ran = subprocess.run([*AWAY, *words], input=stdin, capture_output=True, **options)
    return ran.returncode, ran.stdout, ran.stderr.decode()


# ---------------------------------------------------------------- functions


def test_a_list_is_lines_with_tabs_in_a_pipe(listing, run):
    listing.functions = [
        {"name": "cat", "replicas": 1, "invocationCount": 3},
        published("sum-two", parameters=("a", "b")),
        published("later", kind="async"),
    ]
    assert run("list") == (
        0,
        "cat\t\t1\t3\nlater\tasync later(n: int) -> int\t0\t0\n"
        "sum-two\tsum_two(a: int, b: int) -> int\t0\t0\n",
        "",
    )


def test_a_list_is_json_for_scripts(listing, run):
    listing.functions = [published("fib", doc="Give it."), {"name": "cat"}]
    code, out, _ = run("list", "--json")
    cat, fib = json.loads(out)
    assert code == 0
    assert (cat["name"], cat["signature"], cat["kind"]) == ("cat", None, None)
    assert (fib["signature"], fib["doc"]) == ("fib(n: int) -> int", "Give it.")
    assert "away.signature" not in fib["annotations"]


def test_what_the_gateway_was_not_asked_for_is_null_and_no_zero(shop, run):
    listed = json.loads(run("list", "--json")[1])[0]
    assert (listed["replicas"], listed["available_replicas"]) == (1, None)
    assert listed["invocation_count"] >= 0
    alone = json.loads(run("describe", listed["name"], "--json")[1])
    assert (alone["replicas"], alone["available_replicas"]) == (1, 1)
    assert alone["invocation_count"] is None


def test_describe_shows_signature_and_docstring(shop, run):
    code, out, _ = run("describe", "cat")
    assert code == 0
    assert out.startswith("cat\n")
    assert "image: process" in out
    assert "ready: 1 of 1\n" in out
    assert "invocation_count" not in out
    assert json.loads(run("describe", "cat", "--json")[1])["name"] == "cat"


def test_describe_shows_how_a_function_was_deployed_and_no_value_of_a_variable(shop, run, tmp_path):
    (tmp_path / "described.py").write_text(
        "from away import FaasConnection, builder\n"
        "@builder.publish(FaasConnection.named('shop'), timeout=30, env={'MODE': 'not-shown'},\n"
        "                 labels={'team': 'a b'})\n"
        "def described(n):\n"
        "    return n\n"
    )
    assert run("publish", str(tmp_path / "described.py"), "--quiet")[0] == 0
    code, out, _ = run("describe", "described")
    assert code == 0
    assert "timeout: 30 s for one call\n" in out
    assert re.search(r"^environment: AWAY_GRACE, MODE, .*exec_timeout", out, re.MULTILINE)
    assert "labels: team=a b\n" in out
    assert "read_only_root" not in out
    code, text, _ = run("describe", "described", "--json")
    known = json.loads(text)
    assert (known["timeout"], known["limits"], known["constraints"]) == (30, {}, [])
    assert "MODE" in known["environment"]
    assert "not-shown" not in out + text
    # What others deployed has no request that was kept.
    assert json.loads(run("describe", "cat", "--json")[1])["limits"] is None
    run("remove", "described")


def test_describe_shows_limits_and_constraints_of_the_kept_request(listing, run):
    from away.publish.deployment import with_own_annotations

    request = {
        "service": "fib",
        "limits": {"memory": "64Mi", "cpu": "500m"},
        "constraints": ["disk=ssd"],
        "envVars": {"TOKEN": "not-shown"},
        "readOnlyRootFilesystem": True,
    }
    written = published("fib")["annotations"]
    answer = {"name": "fib", "image": "x", **with_own_annotations(request, written)}
    listing.answer = (200, {}, json.dumps(answer).encode())
    out = run("describe", "fib")[1]
    assert "limits: cpu=500m, memory=64Mi\n" in out
    assert "constraints: disk=ssd\n" in out
    assert "read_only_root: true\n" in out
    assert "environment: TOKEN\n" in out
    known = json.loads(run("describe", "fib", "--json")[1])
    assert known["limits"] == {"memory": "64Mi", "cpu": "500m"}
    assert "not-shown" not in out + json.dumps(known)


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (['"text"'], "text\n"),
        (["[1, 2]"], "[1, 2]\n"),
        (["-5"], "-5\n"),
        (["--", "-5"], "-5\n"),
        (['{"a": null}'], '{"a": null}\n'),
        (['"text"', "--json"], '"text"\n'),
        ([], ""),
    ],
)
def test_call_takes_json_and_prints_what_comes_back(words, printed, shop, run):
    code, out, err = run("call", "cat", *words)
    assert (code, out, err) == (0, printed, "")


@pytest.mark.parametrize("words", [["-"], []])
def test_call_takes_text_on_standard_input(words, shop):
    assert away_command("call", "upper", *words, stdin=b"hello\n") == (0, b"HELLO\n", "")


def test_call_takes_bytes_on_standard_input(shop):
    data = bytes(range(256))
    assert away_command("call", "cat", "-", stdin=data)[:2] == (0, data)


def test_a_closed_or_empty_standard_input_is_no_argument(shop):
    assert away_command("call", "cat", stdin=b"")[:2] == (0, b"")
    ran = subprocess.run([*AWAY, "call", "cat"], stdin=subprocess.DEVNULL, capture_output=True)
    assert (ran.returncode, ran.stdout) == (0, b"")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hello"], """the argument 'hello' is not JSON; a text is written '"hello"'"""),
        (["x=hello"], """the argument 'hello' is not JSON"""),
        (["x=1", "2"], "the argument '2' stands after a keyword; put it before them"),
        (["x=1", "x=2"], "the keyword 'x' is given twice"),
        (["[" * 100_000], "is not JSON"),
        (["1", "2"], "pack_args"),
    ],
)
def test_arguments_that_cannot_be_sent_are_refused(words, says, shop, run):
    code, out, err = run("call", "cat", *words)
    assert (code, out) == (2 if "pack_args" not in says else code, "")
    assert code != 0
    assert says in err


# ---------------------------------------------------------------- errors and exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.GatewayError("x"), 1),
        (exceptions.PublishFailed("x"), 1),
        (exceptions.RemoteError("x"), 1),
        (ZeroDivisionError("x"), 1),
        (exceptions.ConfigError("x"), 2),
        (exceptions.UnknownGateway("x"), 2),
        (exceptions.CannotTravel("x"), 2),
        (exceptions.NameRefused("x"), 2),
        (exceptions.GatewayUnreachable("x"), 3),
        (exceptions.AuthenticationRefused("x"), 4),
        (exceptions.FunctionNotFound("x"), 5),
        (exceptions.CallTimedOut("x"), 6),
        (exceptions.AnswerLost("x"), 6),
    ],
)
def test_an_error_has_its_exit_code(error, code):
    assert cli.exit_code(error) == code


def test_the_help_lists_commands_and_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    for word in (
        "up",
        "gateways",
        "list",
        "describe",
        "call",
        "publish",
        "remove",
        "logs",
        "secrets",
    ):
        assert re.search(rf"^  {word} ", out, re.MULTILINE)
    for number in ("0", "1", "2", "3", "4", "5", "6", "130"):
        assert re.search(rf"^    {number} ", out, re.MULTILINE)


def commands(group=cli.app, before=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


@pytest.mark.parametrize("words", [*commands()], ids=" ".join)
def test_every_command_has_help_and_json(words, run):
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert "--json" in out
    assert "--help" in out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["frob"], 2, "No such command 'frob'; see away --help"),
        (["call"], 2, "Missing argument 'NAME'; see away call --help"),
        (["list", "--frob"], 2, "No such option"),
        (["list", "-g", "nogw"], 2, "no gateway is called 'nogw'"),
        (["list", "-g", "http://a:b@c/"], 2, "has no '@'"),
        (["list", "-g", "http://127.0.0.1:1"], 3, "127.0.0.1:1"),
        (["describe", "cot"], 5, "has no function 'cot'"),
        (["call", "cot"], 5, "has no function 'cot'"),
        (["remove", "cot"], 5, "has no function 'cot'"),
        (["logs", "cot"], 5, "has no function 'cot'"),
        (["logs", "cat", "--since", "yesterday"], 2, "--since 'yesterday'"),
        (["call", "fail", "1"], 1, "fail"),
        (["secrets", "remove", "nope"], 5, "has no secret 'nope'; there are none"),
        (["publish", "nofile.py"], 2, "there is no file 'nofile.py'"),
        (["list", "shop"], 2, "unexpected extra argument (shop); a gateway is named by -g"),
    ],
)
def test_an_error_is_one_line_on_stderr(words, code, says, shop, run):
    if words[-1] == "http://127.0.0.1:1":
        words = [*words, "--json"]
    got, out, err = run(*words)
    assert (got, out) == (code, "")
    assert says in err
    assert err.startswith("away: ")
    assert err.count("\n") == 1
    assert shop.password not in err


@pytest.mark.parametrize("words", [[], ["secrets"]], ids=["away", "away secrets"])
def test_a_group_without_a_command_shows_its_help_as_it_is(words):
    code, out, err = away_command(*words)
    assert code in (0, 2)  # before click 8.2 it is no error
    assert "\n\nOptions:\n" in out.decode() + err
    assert "see away --help" not in err


def test_without_a_running_gateway_local_tells_how_to_start_one(own_environment):
    code, out, err = away_command("list", "-g", "local")
    assert (code, out) == (2, b"")
    assert "start one with 'away up'" in err


def test_a_wrong_password_is_code_4(shop, run, monkeypatch):
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD", "wrong-one")
    code, _, err = run("list", "-g", "shop")
    assert code == 4
    assert "wrong-one" not in err


def test_a_function_is_called_without_a_login_where_the_gateway_asks_for_none(
    shop, run, monkeypatch
):
    monkeypatch.setenv("AWAY_GATEWAY_SHOP_PASSWORD", "wrong-one")
    assert run("call", "cat", '"hello"', "-g", "shop")[:2] == (0, "hello\n")


def test_away_debug_shows_the_traceback(shop, run, monkeypatch):
    monkeypatch.setenv("AWAY_DEBUG", "1")
    code, _, err = run("describe", "cot")
    assert code == 5
    assert "Traceback (most recent call last)" in err
    assert shop.password not in err


def test_a_pipe_that_nobody_reads_ends_the_command_quietly(listing):
    listing.functions = [{"name": f"f{number}"} for number in range(5000)]
    process = subprocess.Popen([*AWAY, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), error) == (cli.PIPE_CLOSED, b"")


def test_a_closed_standard_output_is_no_crash(listing):
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *AWAY, "list"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_control_c_is_code_130(listing):
    listing.seconds = 5.0
    process = subprocess.Popen([*AWAY, "list"], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while not listing.asked:
        select.select([], [], [], 0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in error


# ---------------------------------------------------------------- terminals


def on_a_terminal(*words, command=AWAY, **environment):
    """Run a command on a pseudo-terminal and return what a person would get."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        [*command, *words],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    os.close(side)
    printed = b""
    try:
        while True:
            piece = os.read(main, 65536)
            if not piece:
                break
            printed += piece
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(main)
    process.wait()
    return printed.decode()


@pytest.mark.parametrize(
    "words", [["list"], ["describe", "fib"], ["list", "--json"], ["logs", "fib"]]
)
def test_others_data_never_steers_a_terminal(words, listing):
    function = published("fib", doc=f"Doc {HOSTILE}", image=HOSTILE, labels={HOSTILE: HOSTILE})
    listing.functions = [function, {"name": HOSTILE}]
    if words[0] != "list":
        body = json.dumps(function)
        if words[0] == "logs":
            body = json.dumps({"name": "fib", "text": HOSTILE, "timestamp": HOSTILE})
        listing.answer = (200, {}, body.encode())
    printed = on_a_terminal(*words)
    assert "fib" in printed or words[0] == "logs"
    for harmful in ("\x1b]0", "\x07", "\x1b[31m", "\u202e"):
        assert harmful not in printed


def test_an_answer_never_steers_a_terminal_and_passes_a_pipe_unchanged(shop):
    argument = json.dumps(HOSTILE)
    printed = on_a_terminal("call", "cat", argument)
    assert "taken over" in printed
    assert "\x1b" not in printed
    assert away_command("call", "cat", argument)[1].decode() == HOSTILE + "\n"


def test_a_terminal_gets_a_table_with_titles(listing):
    listing.functions = [published("fib")]
    printed = on_a_terminal("list")
    assert "signature" in printed
    assert "fib(n: int) -> int" in printed


def test_a_terminal_is_told_which_gateway_was_listed_and_a_pipe_is_not(listing, run):
    assert f"no functions on {listing.url}" in on_a_terminal("list")
    listing.functions = [published("fib")]
    assert f"1 function on {listing.url}" in on_a_terminal("list")
    assert listing.url not in "".join(run("list")[1:])


def test_what_is_long_is_broken_between_words_on_a_terminal_alone():
    said = (
        "from away.terminal import field; field('state:', '/a/' + 'path-' * 20);"
        " field('use:', 'word ' * 30)"
    )
    command = [sys.executable, "-c", said]
    printed = on_a_terminal(command=command, COLUMNS="40").splitlines()
    assert printed[0] == "state:    /a/" + "path-" * 20 or printed[1].strip().startswith("/a/")
    words = [each for each in printed if "word" in each]
    assert words[0].startswith("use:      word")
    assert all(each.startswith("          word") for each in words[1:])
    assert max(map(len, words)) <= 40
    piped = subprocess.run(command, capture_output=True, text=True).stdout
    assert len(piped.splitlines()) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, {2}), "[1, [2]]"),
        ({"a", "b"}, '["a", "b"]'),
        (b"\x00", '"AA=="'),
        (dt.date(2020, 1, 2), '"2020-01-02"'),
        (float("nan"), "null"),
        (float("inf"), "null"),
        ({1: 2, "a": 3}, '{"1": 2, "a": 3}'),
        ("\x1b", '"\\u001b"'),
        (10**30, "1" + "0" * 30),
        (object, "\"<class 'object'>\""),
    ],
)
def test_values_beyond_json_become_the_nearest_of_it(value, text):
    assert terminal.json_text(value) == text


# ---------------------------------------------------------------- gateways, secrets, removing


def test_gateways_are_listed_with_origins_and_without_secrets(shop, run):
    code, out, _ = run("gateways")
    assert code == 0
    assert f"shop\turl\t{shop.url}\tenvironment AWAY_GATEWAY_SHOP_URL" in out
    assert "shop\tpassword\t•••\t" in out
    code, text, _ = run("gateways", "--json")
    found = {each["name"]: each for each in json.loads(text)}
    assert found["shop"]["url"] == shop.url
    assert "AWAY_GATEWAY_SHOP_PASSWORD" in found["shop"]["origins"]["password"]
    assert shop.password not in out + text


def test_a_secret_comes_from_standard_input_or_a_file(shop, run, tmp_path):
    file = tmp_path / "value"
    file.write_text("from a file\n")
    assert away_command("secrets", "create", "token", stdin=b"hush\n")[0] == 0
    assert run("secrets", "create", "other", "--from-file", str(file))[0] == 0
    assert run("secrets", "list")[1].split() == ["other", "token"]
    assert away_command("secrets", "update", "token", stdin=b"new")[0] == 0
    assert json.loads(run("secrets", "list", "--json")[1]) == [{"name": "other"}, {"name": "token"}]
    for name in ("other", "token"):
        code, out, _ = run("secrets", "remove", name)
        assert (code, out) == (0, f"removed the secret {name} from {shop.url}\n")
    assert run("secrets", "list")[1] == ""


def test_what_was_done_to_a_secret_is_one_json_object(shop, run, tmp_path):
    file = tmp_path / "value"
    file.write_text("from a file\n")
    given = ("--from-file", str(file), "--json")
    for command, action, words in (
        ("create", "created", given),
        ("update", "updated", given),
        ("remove", "removed", ("--json",)),
    ):
        code, out, _ = run("secrets", command, "token", *words)
        assert code == 0
        assert json.loads(out) == {"action": action, "secret": "token", "gateway": shop.url}


@pytest.mark.parametrize(
    ("words", "stdin", "says"),
    [
        (["token"], b"", "is empty"),
        (["token"], b"\xff\xfe", "is not UTF-8"),
        (["token", "hush"], b"", "unexpected extra argument"),
    ],
)
def test_a_secret_without_a_value_is_refused(words, stdin, says, shop):
    code, out, err = away_command("secrets", "create", *words, stdin=stdin)
    assert (code, out) == (2, b"")
    assert says in err


def test_remove_takes_several_names(shop, run):
    for name in ("gone-one", "gone-two"):
        shop.deploy({"service": name, "image": "process", "envProcess": "cat"})
    code, out, _ = run("remove", "gone_one", "gone-two")
    assert (code, out) == (
        0,
        f"removed gone-one from {shop.url}\nremoved gone-two from {shop.url}\n",
    )


def test_remove_says_as_json_what_it_removed_and_removes_nothing_for_a_wrong_name(shop, run):
    for name in ("gone-one", "gone-two"):
        shop.deploy({"service": name, "image": "process", "envProcess": "cat"})
    code, out, err = run("remove", "gone-one", "gone-to")
    assert (code, out) == (5, "")
    assert "gone-to" in err
    assert "none of the 2 was removed" in err
    code, out, _ = run("remove", "gone_one", "gone-one", "gone-two", "--json")
    assert code == 0
    assert json.loads(out) == {
        "action": "removed",
        "functions": ["gone-one", "gone-two"],
        "gateway": shop.url,
    }


def test_logs_are_printed_line_by_line(listing, run):
    entry = {"name": "fib", "instance": "1", "timestamp": "2024-01-02T03:04:05Z", "text": "hi\n"}
    listing.answer = (200, {}, json.dumps(entry).encode() + b"\n")
    code, out, _ = run("logs", "fib", "--tail", "1", "--since", "10m")
    assert (code, out) == (0, "2024-01-02T03:04:05Z hi\n")
    code, out, _ = run("logs", "fib", "--json")
    assert json.loads(out)["text"].strip() == "hi"


# ---------------------------------------------------------------- publishing a file


def publish_file(folder, text, target="shop.py", *words):
    (folder / "shop.py").write_text(text)
    return away_command("publish", target, *words, cwd=folder)


DECORATED = """
from away import FaasConnection, builder

faas = FaasConnection.named("shop")

@builder.publish(faas)
def add_up(a: int, b: int = 1) -> int:
    return a + b

@builder.publish(faas, name="café".replace("é", "e"))
def café():
    return "☕"

def plain(a):
    return a

if __name__ == "__main__":
    raise AssertionError("the file ran")
"""


@pytest.mark.slow
def test_publish_publishes_what_a_file_decorates_once(shop, tmp_path, run):
    code, out, err = publish_file(tmp_path, DECORATED)
    assert (code, out.decode().splitlines()) == (0, ["created add-up", "created cafe"]), err
    assert run("call", "add_up", "2", "b=3", "-g", "shop")[1] == "5\n"
    assert run("call", "cafe", "-g", "shop")[1] == "☕\n"
    code, out, _ = publish_file(tmp_path, DECORATED, "shop.py:add_up", "--json")
    (record,) = json.loads(out)
    assert (code, record["name"], record["action"]) == (0, "add-up", "unchanged")
    code, out, _ = publish_file(tmp_path, DECORATED, "shop.py:plain", "-g", "shop", "-q")
    assert (code, out) == (0, b"created plain\n")
    assert shop.function("add-up").description.entry == "shop:add_up"
    code, _, err = run("call", "add_up", "1", "2", "3", "-g", "shop")
    assert code == 2
    assert "add_up() takes from 1 to 2 positional arguments but 3 were given" in err
    code, _, err = run("call", "add_up", "null", "-g", "shop")
    assert code == 1
    assert err.startswith("away: add_up raised TypeError: ")


def test_of_several_functions_an_error_says_whose_it_is(listing, tmp_path, run):
    (tmp_path / "several.py").write_text(
        "from away import FaasConnection, builder\n"
        "faas = FaasConnection.named('default')\n"
        "@builder.publish(faas, include=['gone.csv'])\n"
        "def reads_one(): pass\n"
        "@builder.publish(faas, include=['lost.csv'])\n"
        "def reads_two(): pass\n"
    )
    code, _, err = run("publish", str(tmp_path / "several.py"))
    assert code == 2
    assert "away: reads-one: gone.csv in include= does not exist" in err
    assert "away: reads-two: lost.csv in include= does not exist" in err
    assert "reads_one" not in err  # one spelling, that of the gateway
    # A name that is none is the user's own, until that is said.
    assert "away: gone.csv" in run("publish", str(tmp_path / "several.py:reads_one"))[2]


PREVIEWED = """
import yaml
from away import FaasConnection, builder
from near import TABLE

faas = FaasConnection.named("default")

@builder.publish(faas, requirements=["idna"])
def looked_up(key):
    return TABLE[key], yaml

@builder.publish(faas, name="by-value")
def outer():
    pass

def made():
    size = [1, 2, 3]
    return lambda: size

inner = made()
"""


def test_a_preview_shows_what_would_be_packed_and_sends_nothing(listing, tmp_path, run):
    (tmp_path / "near.py").write_text("TABLE = {}\n")
    code, out, err = publish_file(tmp_path, PREVIEWED, "shop.py", "--preview")
    assert (code, err) == (0, "")
    text = out.decode()
    assert "looked-up: shop:looked_up by import, " in text
    assert "by-value: shop:outer by import, " in text
    for word in ("file near.py: ", "file shop.py: ", "requirement PyYAML==", "requirement idna"):
        assert f"  {word}" in text
    code, out, _ = publish_file(tmp_path, PREVIEWED, "shop.py:inner", "--preview", "--json")
    assert code != 0  # a lambda has no name to be published under
    code, out, _ = publish_file(tmp_path, PREVIEWED, "shop.py", "--preview", "--json")
    found = json.loads(out)
    assert [each["name"] for each in found] == ["looked-up", "by-value"]
    assert {each["path"] for each in found[0]["files"]} == {"near.py", "shop.py"}
    assert found[0]["bytes"] > 0
    named = PREVIEWED.replace("lambda: size", "count").replace(
        "size = [1, 2, 3]", "size = [1, 2, 3]\n    def count(): return size"
    )
    code, out, err = publish_file(tmp_path, named, "shop.py:inner", "--preview", "--json")
    (record,) = json.loads(out)
    assert [each["type"] for each in record["values"]] == ["list"]
    assert listing.asked == []


@pytest.mark.parametrize(
    ("text", "target", "code", "says"),
    [
        ("x = 1\n", "shop.py", 2, "publish it whole by away publish shop"),
        ("x = 1\nimport not_there_7\n", "shop.py", 1, "shop.py:2: ModuleNotFoundError: No module"),
        ("x = 1\nimport not_there_7\n", "shop", 1, "shop.py:2: ModuleNotFoundError: No module"),
        ("def fib(): pass\n", "shop.py:fab", 2, "has no function 'fab'; did you mean 'fib'?"),
        ("x = 1\n1 / 0\n", "shop.py", 1, "shop.py:2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "shop.py", 1, "shop.py:1: SyntaxError"),
        ("import sys; sys.exit()\n", "shop.py", 2, "if __name__ == '__main__'"),
    ],
)
def test_a_file_that_cannot_be_published_is_said_in_one_line(text, target, code, says, tmp_path):
    got, out, err = publish_file(tmp_path, text, target)
    assert (got, out) == (code, b"")
    assert says in err
    assert err.count("\n") == 1


# ---------------------------------------------------------------- the embedded gateway


def test_up_says_where_it_is_and_never_the_password(tmp_path, own_environment):
    password = tmp_path / "password"
    password.write_text("a-password-of-ours\n")
    password.chmod(0o600)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "away",
            "up",
            "--state",
            str(tmp_path / "state"),
            "--password-file",
            str(password),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        said = ""
        while "Ctrl-C" not in said:
            read = process.stdout.readline()
            assert read, process.stderr.read()
            said += read
        url = re.search(r"gateway: +(http://127\.0\.0\.1:\d+)", said)[1]
        assert "from away.remote.local import" in said
        assert str(password) in said
        assert "a-password-of-ours" not in said
        code, out, err = away_command("list", "-g", "local", "--json")
        assert (code, out) == (0, b"[]\n"), err
        assert away_command("list", "-g", url)[0] == 0
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
        timer.cancel()
    assert (process.returncode, errors) == (0, "")


def test_up_says_as_json_where_it_is_and_what_opens_it(run, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "away", "up", "--json", "--port", port]
    command += ["--state", str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(60, process.kill)
        timer.start()
        found = json.loads(process.stdout.readline())
        assert (found["user"], found["state"]) == ("admin", str(tmp_path / "state"))
        for name in ("url", "password_file"):
            monkeypatch.setenv(f"AWAY_GATEWAY_HERE_{name.upper()}", found[name])
        code, out, err = run("list", "-g", "here")
        assert code == 0, err
        assert out == ""
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        timer.cancel()
    assert process.returncode == 0


def test_what_a_published_file_prints_is_no_part_of_json(shop, run, tmp_path):
    file = tmp_path / "printing.py"
    file.write_text(
        "from away import FaasConnection, builder\n"
        "print('a line of the file')\n"
        "@builder.publish(FaasConnection.named('shop'))\n"
        "def printing(n):\n"
        "    return n\n"
    )
    code, out, err = run("publish", str(file), "--json")
    assert code == 0
    assert json.loads(out)
    assert "a line of the file" in err


def test_a_file_that_calls_what_it_publishes_says_which_line_does_so(shop, run, tmp_path):
    file = tmp_path / "calling.py"
    file.write_text(
        "from away import FaasConnection, builder\n"
        "@builder.publish(FaasConnection.named('shop'))\n"
        "def not_there_yet(n):\n"
        "    return n\n"
        "not_there_yet(1)\n"
    )
    code, out, err = run("publish", str(file))
    assert (code, out) == (1, "")
    assert "calling.py:5 calls a function as the file is imported" in err
    assert "if __name__ == '__main__'" in err

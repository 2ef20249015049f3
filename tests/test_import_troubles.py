"""Imports from gateways that hang, die or answer garbage, by threads at once, and interrupted ones.

What is shown of each: the error comes although the gateway does not, nothing is locked after it, and
the next import works once the gateway is back.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest

import away.remote
from away import config, exceptions, hooks
from away.hooks import modules
from away.hooks.errors import ListRefused
from tests import servers
from tests.import_forms import gateway

# Long enough for whoever waits for what takes a third of a second on an idle machine.
PATIENCE_SECONDS = 30.0
LIST = b'[{"name": "add", "image": "x"}]'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4096\r\n\r\n"

TROUBLES = {
    "hangs": servers.hang(),
    "hangs within the list": lambda talk: (
        talk.sock.sendall(HEAD + LIST[:9]) or servers.hang()(talk)
    ),
    "drips": servers.drip(HEAD + LIST + b" " * 4000, every=0.05),
    "drips its head": servers.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 500, every=0.05),
    "dies without an answer": servers.hang_up(),
    "resets": servers.reset(),
    "dies within its head": servers.cut_head(),
    "dies within the list": servers.cut(LIST, 9),
    "dies within a chunk": servers.cut_chunked(LIST[:9]),
    "speaks no HTTP": servers.raw(b"\x00\xff\x00 SSH-2.0-OpenSSH\r\n" * 20),
    "answers no JSON": servers.answer(200, b"{[\xff", {"Content-Type": "application/json"}),
    "answers JSON that is no list": servers.json({"functions": "none"}),
    "answers a list of garbage": servers.answer(200, b"[[[[1, null"),
    "answers a login page": servers.answer(200, b"<html>Log in", {"Content-Type": "text/html"}),
    "is broken": servers.answer(502, b"bad gateway"),
}
for each in TROUBLES.values():
    each.__dict__["is_behaviour"] = True

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server():
    with servers.Server(gateway.answer) as made:
        yield made


@pytest.fixture
def name(server, own_environment):
    """A gateway of this test alone, whose server does as gateways do."""
    number = next(_numbers)
    made = f"trouble{number}"
    server.script = gateway.answer
    config.configure(
        made,
        url=f"{server.url}/{made}-{os.getpid()}",
        user="admin",
        password=gateway.PASSWORD,
        connect_timeout=0.3,
        catalogue="fresh",
    )
    yield made
    server.script = gateway.answer
    config.forget(made)
    sys.modules.pop(f"away.remote.{made}", None)
    vars(away.remote).pop(made, None)


def take(name, function="add"):
    """Run ``from away.remote.NAME import FUNCTION``."""
    scope = {}
    exec(f"from away.remote.{name} import {function} as found", scope)
    return scope["found"]


def all_at_once(count, work):
    """Run work in so many threads at once; return what each gave or raised."""
    ended, barrier = [], threading.Barrier(count)

    def run():
        barrier.wait()
        try:
            ended.append(work())
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE_SECONDS)
    assert len(ended) == count, "a thread waits for ever"
    return ended


def lists(server, name):
    return sum(f"/{name}-" in seen.path for seen in server.requests)


def patient(name):
    """Give a gateway that answers all the time that a loaded machine takes."""
    config.configure(name, connect_timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_all_threads_hear_of_a_gateway_in_trouble_and_the_next_import_works(trouble, server, name):
    server.script = TROUBLES[trouble]
    for error in all_at_once(3, lambda: take(name)):
        assert isinstance(error, ImportError), error
        assert isinstance(error, exceptions.AwayError)
        assert not isinstance(error, ModuleNotFoundError | AttributeError)
        assert error.name == f"away.remote.{name}"
        assert gateway.PASSWORD not in str(error)
    server.script = gateway.answer
    patient(name)
    (add,) = all_at_once(1, lambda: take(name))
    assert add(1, 2) == 3


def test_a_gateway_that_is_back_is_asked_once_by_all_who_wait(server, name):
    server.script = servers.hang_up()
    # None of its requests is still under way when it has failed.
    patient(name)
    with pytest.raises(ImportError):
        take(name)
    before = lists(server, name)
    server.script = lambda seen: servers.late(0.1, gateway.answer(seen))
    found = all_at_once(32, lambda: take(name))
    assert len(set(map(id, found))) == 1
    assert not isinstance(found[0], BaseException)
    assert lists(server, name) == before + 1


@pytest.mark.parametrize(
    "listed", [[{"nam": 1}, 5], [{"name": "add"}, {"name": 7}], ["add"], {"add": 1}]
)
def test_a_list_of_something_else_is_an_error_and_is_not_believed(listed, server, name):
    patient(name)
    server.script = servers.json(listed)
    with pytest.raises(ListRefused, match=r"that is not a (list of functions|JSON array)"):
        take(name)
    server.script = gateway.answer
    assert take(name)(1, 2) == 3


def behind_one_that_asks(server, name, answer):
    """Let eight threads wait for the list that another one asks for; return what each heard."""
    asked = threading.Event()

    def behave(talk):
        asked.set()
        return answer(talk)

    behave.__dict__["is_behaviour"] = True
    server.script = behave
    first = threading.Thread(target=lambda: all_at_once(1, lambda: take(name)))
    first.start()
    assert asked.wait(PATIENCE_SECONDS)
    heard = all_at_once(8, lambda: take(name))
    first.join(PATIENCE_SECONDS)
    assert lists(server, name) == 1
    return heard


def test_threads_that_wait_for_one_list_share_its_error(server, name):
    patient(name)
    refusal = servers.late(0.5, servers.answer(503, b"not now"))
    errors = behind_one_that_asks(server, name, refusal)
    assert len({id(each) for each in errors}) == 8
    (said,) = {str(each) for each in errors}
    assert "answered 503 to GET /system/functions: not now; try again" in said


def test_threads_that_wait_for_a_list_that_does_not_come_send_nothing(server, name):
    config.configure(name, connect_timeout=1.0)
    for error in behind_one_that_asks(server, name, servers.hang()):
        assert isinstance(error, exceptions.GatewayUnreachable)
        assert "connect_timeout" in str(error)
        assert re.search(r"\b1 s(econds)?\b", str(error))


def test_an_import_that_stalls_an_event_loop_ends_and_the_loop_goes_on(server, name):
    server.script = servers.hang()

    async def use():
        with pytest.raises(ImportError) as caught:
            take(name)
        assert isinstance(caught.value, exceptions.GatewayUnreachable)
        with pytest.raises(ImportError):
            await hooks.load(name)
        server.script = gateway.answer
        patient(name)
        loaded = await hooks.load(name)
        asked = lists(server, name)
        assert take(name, "later") is loaded.later
        assert lists(server, name) == asked
        return await loaded.later(5)

    assert asyncio.run(asyncio.wait_for(use(), PATIENCE_SECONDS)) == 5


def test_load_lets_the_loop_go_on_while_the_gateway_takes_its_time(server, name):
    came, go = threading.Event(), threading.Event()

    def slow(seen):
        answer = gateway.answer(seen)

        def behave(talk):
            came.set()
            return go.wait(PATIENCE_SECONDS) and answer(talk)

        behave.__dict__["is_behaviour"] = True
        return behave

    server.script = slow
    patient(name)

    async def use():
        loading = asyncio.create_task(hooks.load(name))
        while not came.is_set():
            await asyncio.sleep(0)
        assert not loading.done()
        go.set()
        return await loading

    assert asyncio.run(use()).add.function_name == "add"


def test_loads_of_a_task_that_is_cancelled_leave_nothing_behind(server, name):
    server.script = servers.hang()
    patient(name)

    async def use():
        loading = asyncio.create_task(hooks.load(name))
        while not lists(server, name):
            await asyncio.sleep(0.001)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        server.script = gateway.answer
        return await hooks.load(name)

    assert asyncio.run(use()).add.function_name == "add"
    assert take(name, "count")


def test_a_lock_that_was_never_given_back_costs_one_wait(server, name):
    module = importlib.import_module(f"away.remote.{name}")
    # As an interrupt in the one moment between taking a lock and knowing it would leave it.
    held = modules.functions_of(module).list._fetching.here
    threading.Thread(target=held.acquire).start()
    with pytest.raises(ImportError, match="another thread has waited"):
        take(name)
    patient(name)
    assert take(name).function_name == "add"


def test_interrupts_at_any_moment_of_an_import_leave_nothing_locked(server, own_environment):
    code = f"""
    import random, signal, sys, threading
    import away.hooks, away.remote.gw as g
    away.hooks.load_sync("gw")
    def interrupt(*_): raise KeyboardInterrupt
    signal.signal(signal.SIGALRM, interrupt)
    random.seed(7)
    interrupted = done = 0
    def take():
        away.hooks.load_sync("gw")
        done_by_thread.append(g.add)
    for _ in range(60):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.006))
            away.hooks.load_sync("gw")
            done += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
        done_by_thread = []
        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join({PATIENCE_SECONDS})
        assert done_by_thread == [g.add], "something is still locked"
    print(interrupted > 0, g.add(1, 2))
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={
            **os.environ,
            "AWAY_GATEWAY_GW_URL": f"{server.url}/interrupted",
            "AWAY_GATEWAY_GW_PASSWORD": gateway.PASSWORD,
            # A lock that an interrupt took along costs whoever waits for it this once.
            "AWAY_GATEWAY_GW_CONNECT_TIMEOUT": str(PATIENCE_SECONDS / 3),
            "AWAY_CATALOGUE": "fresh",
        },
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "True 3\n", ran.stderr

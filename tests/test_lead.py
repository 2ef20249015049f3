"""Which thread answers a call: the one that waits for all, or another beside it."""

from __future__ import annotations

import http.client
import os
import socket
import textwrap
import threading
import time

import pytest

from away.runtime.calls import Calls
from away.runtime.connection import Connection
from away.runtime.lead import Lead
from away.runtime.settings import Settings
from tests.runtimes import Runtime, make_library, make_payload

SOURCE = """
    import http.client, json, threading, time

    barrier = threading.Barrier(16)

    def f(what="quick", *arguments):
        if what == "gate":
            print("in")
            with open(arguments[0]) as gate:
                return gate.read()
        if what == "together":
            return barrier.wait(20)
        if what == "nested":
            port, depth = arguments
            if not depth:
                return "bottom"
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/", f'["nested", {port}, {depth - 1}]')
            return json.loads(connection.getresponse().read())
        if what == "no more threads":
            def refuse(self):
                raise RuntimeError("can't start new thread")
            threading.Thread.start = refuse
        if what == "slow":
            time.sleep(0.02)
        return threading.active_count()
"""


@pytest.fixture
def start(tmp_path):
    started = []

    def _start(environ=None):
        payload = make_payload(tmp_path / "image", textwrap.dedent(SOURCE))
        runtime = Runtime(make_library(tmp_path / "library"), payload, environ)
        started.append(runtime)
        return runtime

    yield _start
    for runtime in started:
        runtime.kill()


@pytest.fixture
def runtime(start):
    """A runtime that has been shown that its function is quick."""
    runtime = start()
    many_quick(runtime)
    return runtime


def many_quick(runtime, connections=8):
    """Make many quick calls, and tell what the last one said: how many threads there are."""
    opened = [
        http.client.HTTPConnection("127.0.0.1", runtime.port, timeout=30)
        for _ in range(connections)
    ]
    for _ in range(40):
        for each in opened:
            each.request("POST", "/", b"[]")
        answers = [each.getresponse() for each in opened]
        found = [int(each.read()) for each in answers]
    for each in opened:
        each.close()
    return found[-1]


def at_once(runtime, count, *args):
    results = [None] * count

    def one(index):
        results[index] = runtime.call(*args)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    return results


def test_quick_calls_on_many_connections_take_no_thread_each(runtime):
    # main, accepting, leading, watching, and a few that were wanted before calls were quick
    assert many_quick(runtime, connections=64) < 20


def test_a_slow_call_among_quick_ones_holds_no_other(runtime, tmp_path):
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    results = []
    slow = threading.Thread(target=lambda: results.append(runtime.call("gate", gate)))
    slow.start()
    runtime.wait_for("call=.* in")
    for _ in range(50):
        assert runtime.call()[0] == 200
    with open(gate, "w") as opened:
        opened.write("through")
    slow.join(30)
    assert results == [(200, {"value": "through"})]


def test_calls_that_wait_for_each_other_all_run_though_calls_were_quick(runtime):
    results = at_once(runtime, 16, "together")
    assert sorted(said["value"] for _, said in results) == list(range(16))


def test_a_function_that_calls_itself_gets_its_answers(runtime):
    assert runtime.call("nested", runtime.port, 10) == (200, {"value": "bottom"})


def test_slow_calls_run_side_by_side_and_leave_few_threads(runtime):
    runtime.call("slow")
    begun = time.monotonic()
    for _ in range(3):
        assert {status for status, _ in at_once(runtime, 32, "slow")} == {200}
    # One after another they would take 1.92 s.
    assert time.monotonic() - begun < 1.5
    assert many_quick(runtime) < 20


def test_a_container_without_room_for_threads_answers_calls_one_after_another(runtime):
    assert runtime.call("no more threads")[0] == 200
    results = at_once(runtime, 24, "slow")
    assert {status for status, _ in results} == {200}
    assert runtime.call()[0] == 200


def test_pipelined_requests_are_answered_in_order(runtime):
    requests = b"".join(
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Call-Id: %d\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n[]\r\n0\r\n\r\n" % number
        for number in range(200)
    )
    answers = runtime.raw(requests)
    ids = [line.split(b": ")[1] for line in answers.split(b"\r\n") if b"X-Call-Id" in line]
    assert ids == [b"%d" % number for number in range(200)]


@pytest.fixture
def pair():
    """Two ends of a connection, and a runtime's parts that answer on the second."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
    calls = Calls()
    connection = Connection(served, calls, Settings(), Lead(lambda _descriptor: None))
    yield client, connection
    client.close()
    connection.close()


def test_a_request_under_way_when_its_connection_is_hung_up_is_read_to_its_end(pair):
    client, connection = pair
    client.sendall(b"GET /_/health HTTP/1.1\r\nHo")
    connection.hang_up()
    later = threading.Timer(0.2, client.sendall, [b"st: x\r\n\r\n"])
    later.start()
    assert connection.serve()
    later.join()
    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    assert not connection.serve()


def test_a_request_that_breaks_off_when_its_connection_is_hung_up_is_refused(pair):
    client, connection = pair
    client.sendall(b"GET /_/health HTTP/1.1\r\nHo")
    client.shutdown(socket.SHUT_WR)
    connection.hang_up()
    assert not connection.serve()
    assert client.recv(65536).startswith(b"HTTP/1.1 400 ")

"""Maps over real functions: order, errors, laziness, batches, and an end that leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import math
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from away import FaasConnection
from away.exceptions import AnswerLost, CannotTravel, GatewayError, ProtocolMismatch
from away.functions import RemoteFunction
from away.mapping.pace import MOST_AHEAD, Pace
from away.signatures import Description, Parameter
from tests.runtimes import TYPE, Runtime, make_library, make_payload
from tests.servers import Server, answer, hang_up

SOURCE = """
import collections, contextvars, os, threading, time
seen = collections.Counter()
mark = contextvars.ContextVar("mark", default=None)
lock = threading.Lock()
now = most = 0

def f(n, how="same"):
    if how == "wrapped":
        return n[0]
    with lock:
        seen[n] += 1
    if how == "same":
        return n
    if how == "times":
        return seen[n]
    if how == "reset":
        seen.clear()
        return None
    if how == "sleep":
        time.sleep(n)
        return n
    if how == "slow":
        time.sleep(0.02)
        return seen[n]
    if how == "large":
        return "x" * 600_000
    if how == "mark":
        before = mark.get()
        mark.set(n)
        return before
    if how == "print":
        print("input", n)
        return n
    if how == "exit":
        raise SystemExit(n)
    if how == "type":
        return {n: (n, {n}, b"x" * n)}
    if how == "strange":
        return object() if n % 2 else n
    if how == "die":
        os._exit(1)
    if n % 3 == 1:
        raise ValueError(f"no {n}")
    return n

async def g(n, how="same"):
    import asyncio
    global now, most
    now += 1
    most = max(most, now)
    await asyncio.sleep(0.01 if how == "sleep" else 0)
    now -= 1
    if how == "most":
        found, most = most, 0
        return found
    if how == "fail" and n % 3 == 1:
        raise ValueError(f"no {n}")
    return n

def items(n):
    yield from range(n)

async def aitems(n):
    for i in range(n):
        yield i
"""
PARAMETERS = (Parameter("n", 1), Parameter("how", 1, True, "same"))


def proxy(url: str, kind="sync", **options) -> RemoteFunction:
    parameters = PARAMETERS if kind in ("sync", "async") else PARAMETERS[:1]
    described = Description(kind=kind, parameters=parameters)
    connection = FaasConnection(url, password="none-that-anyone-asks-for")
    return RemoteFunction(
        connection, "f", description=described, dialect="protocol", python_name="f", **options
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return make_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def start(library, tmp_path_factory):
    """Start runtimes, one a way to be published, each for all tests that want it."""
    started: dict[str, Runtime] = {}

    def get(qualname="f", environ=None, **header) -> Runtime:
        key = repr((qualname, environ, header))
        if key not in started or started[key].process.poll() is not None:
            folder = tmp_path_factory.mktemp("runtime")
            payload = make_payload(folder, SOURCE, qualname=qualname, **header)
            started[key] = Runtime(library, payload, environ)
        return started[key]

    yield get
    for each in started.values():
        each.stop()


@pytest.fixture
def f(start):
    found = proxy(f"http://127.0.0.1:{start().port}")
    found(0, "reset")
    yield found
    assert not [each for each in threading.enumerate() if each.name == "away-map"]


def collected(function: RemoteFunction, *args, **options) -> list:
    async def collect():
        found = [each async for each in function.aio.map(*args, **options)]
        await function.connection.aio.close()
        return found

    return asyncio.run(collect())


FACES = {"sync": lambda f, *args, **options: list(f.map(*args, **options)), "async": collected}


@pytest.fixture(params=FACES, ids=str)
def mapped(request):
    """Map by each face; what holds for one holds for both."""
    return FACES[request.param]


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("batch", ["auto", False, 7], ids=str)
def test_results_come_in_the_order_of_the_inputs(f, mapped, batch):
    count = 300 if batch is False else 5000
    assert mapped(f, range(count), batch=batch) == list(range(count))
    assert f(count - 1, "times") == 2


def test_unordered_results_are_all_there_once(f, mapped):
    assert sorted(mapped(f, range(3000), ordered=False)) == list(range(3000))


def test_values_of_all_types_come_back_as_from_a_call(f, mapped):
    inputs = [0, 1, 2]
    assert mapped(f, inputs, itertools.repeat("type")) == [f(n, "type") for n in inputs]
    odd = [[1, {1: 2}], -math.inf, "\udc80", 2**80, None, True, -0.0, "é", {"$away": 1}]
    same = mapped(f, [[each] for each in odd], itertools.repeat("wrapped"), batch=len(odd))
    assert list(map(repr, same)) == list(map(repr, odd))


def test_several_iterables_end_with_the_shortest(f, mapped):
    assert mapped(f, itertools.count(), ["same"] * 5) == [0, 1, 2, 3, 4]
    assert mapped(f, []) == []


def test_starmap_takes_lists_of_arguments(f):
    assert list(f.starmap([(1,), [2, "same"]])) == [1, 2]

    async def collect():
        found = [each async for each in f.aio.starmap([(1,), [2, "same"]])]
        await f.connection.aio.close()
        return found

    assert asyncio.run(collect()) == [1, 2]


def test_asynchronous_inputs_are_waited_for(f):
    async def numbers(most):
        for number in range(most):
            await asyncio.sleep(0)
            yield number

    assert collected(f, numbers(500)) == list(range(500))
    assert collected(f, numbers(50), itertools.repeat("same")) == list(range(50))
    with pytest.raises(TypeError, match=r"use `async for … in f\.aio\.map"):
        f.map(numbers(3))


def test_what_an_input_raises_comes_behind_the_results_before_it(f, mapped):
    def numbers():
        yield from range(100)
        raise KeyError("from the input")

    found: list[int] = []
    with pytest.raises(KeyError, match="from the input"):
        found.extend(f.map(numbers()))
    assert found == list(range(100))
    with pytest.raises(KeyError, match="from the input"):
        mapped(f, numbers())


@pytest.mark.parametrize("batch", ["auto", False, 4], ids=str)
@pytest.mark.parametrize(
    ("qualname", "kind"), [("items", "generator"), ("aitems", "async generator")]
)
def test_the_result_of_a_generator_is_an_iterator(start, qualname, kind, batch):
    port = start(qualname, kind=kind).port
    function = proxy(f"http://127.0.0.1:{port}", kind=kind)
    assert [[*each] for each in function.map([0, 2, 3], batch=batch)] == [[], [0, 1], [0, 1, 2]]

    async def collect():
        found = []
        async for each in function.aio.map([2, 3], batch=batch):
            found.append([item async for item in each])
        await function.connection.aio.close()
        return found

    assert asyncio.run(collect()) == [[0, 1], [0, 1, 2]]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("batch", ["auto", False, 50], ids=str)
def test_the_first_error_in_order_is_raised_with_its_place(f, mapped, batch):
    with pytest.raises(ValueError, match="no 1") as caught:
        mapped(f, range(40), itertools.repeat("fail"), batch=batch)
    notes = "".join(caught.value.__notes__)
    assert "input 1 of the map" in notes
    assert "raise ValueError" in notes  # the remote traceback, as a call's error has it


@pytest.mark.parametrize("batch", ["auto", False, 50], ids=str)
def test_errors_are_returned_or_skipped(f, mapped, batch):
    asked = {"batch": batch}
    found = mapped(f, range(9), itertools.repeat("fail"), on_error="return", **asked)
    assert [type(each) for each in found] == [int, ValueError, int] * 3
    assert "input 4 of the map" in found[4].__notes__[-1]
    kept = mapped(f, range(9), itertools.repeat("fail"), on_error="skip", **asked)
    assert kept == [0, 2, 3, 5, 6, 8]


def test_results_before_the_error_are_given_out(f):
    found: list[int] = []
    with pytest.raises(ValueError, match="no 1"):
        found.extend(f.map([0, 3, 6, 1, 9], itertools.repeat("fail")))
    assert found == [0, 3, 6]


def test_an_input_that_does_not_fit_is_an_error_of_its_own_and_is_not_sent(f, mapped):
    arguments = [(0,), (1, "same", 3), (2,), ()]
    found = list(f.starmap(arguments, on_error="return", batch=10))
    assert found[0] == 0
    assert found[2] == 2
    assert str(found[1]) == "f() takes from 1 to 2 positional arguments but 3 were given"
    assert found[1].__notes__ == ["raised for input 1 of the map (the first is 0)"]
    assert isinstance(found[3], TypeError)
    with pytest.raises(TypeError, match="3 were given"):
        mapped(f, [0], ["same"], [3])


@pytest.mark.parametrize("batch", [10, False], ids=str)
def test_an_input_that_cannot_travel_is_an_error_of_its_own(f, batch):
    found = list(f.map([0, object(), 2, {1: range(3)}, 4], on_error="return", batch=batch))
    assert [found[0], found[2], found[4]] == [0, 2, 4]
    for index in (1, 3):
        assert isinstance(found[index], CannotTravel)
        assert "argument 'n' is" in str(found[index]) or "argument 'n'" in str(found[index])
        assert f"input {index} " in found[index].__notes__[-1]


def test_a_result_that_cannot_travel_is_that_calls_own_error(f):
    found = list(f.map(range(4), itertools.repeat("strange"), on_error="return", batch=4))
    with pytest.raises(CannotTravel) as alone:
        f(1, "strange")
    assert (found[0], found[2]) == (0, 2)
    assert str(found[1]) == str(found[3]) == str(alone.value)


def test_what_ends_a_process_elsewhere_is_an_error_like_others(f):
    found = list(f.map([1, 2], itertools.repeat("exit"), on_error="return", batch=2))
    with pytest.raises(Exception, match="1") as alone:
        f(1, "exit")
    assert [type(each) for each in found] == [alone.type] * 2
    assert str(found[0]) == str(alone.value)
    assert f(5) == 5


@pytest.mark.parametrize("batch", ["auto", False], ids=str)
def test_a_function_without_exceptions_gives_pairs(f, mapped, batch):
    function = proxy(f.connection.url, implicit_exception_handling=False)
    found = mapped(function, range(3), itertools.repeat("fail"), batch=batch)
    assert found == [(0, 200), ("ValueError: no 1", 500), (2, 200)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurrency": 0}, "concurrency is a number of calls from 1 up, not 0"),
        ({"concurrency": True}, "concurrency is"),
        ({"on_error": "ignore"}, "on_error is 'raise', 'return' or 'skip', not 'ignore'"),
        ({"batch": 0.5}, "batch is 'auto', False or a number from 1 up, not 0.5"),
        ({"batch": -3}, "batch is"),
        ({"batch": 0}, "batch is"),
        ({"progress": "yes"}, "progress is True, False or None, not 'yes'"),
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_at_once(f, options, said):
    for face in (f, f.aio):
        with pytest.raises(ValueError, match=said):
            face.map([1], **options)
    with pytest.raises(TypeError, match="iterable"):
        f.map(3)


# ---------------------------------------------------------------- laziness and memory


@pytest.mark.parametrize("batch", ["auto", False], ids=str)
def test_no_more_inputs_are_read_than_the_window_holds(f, batch):
    read = itertools.count()
    inputs = (0.4 if next(read) == 0 else 0.0 for _ in itertools.count())
    results = f.map(inputs, itertools.repeat("sleep"), batch=batch)
    assert next(results) == 0.4
    # The first one held all others back; the window is what was read meanwhile.
    window = next(read)
    assert window <= (MOST_AHEAD if batch == "auto" else 2 * 64) + 1
    for _ in range(1000):
        next(results)
    assert next(read) <= 1000 + window + (MOST_AHEAD if batch == "auto" else 2 * 64) + 2
    results.close()


def test_nothing_is_read_or_sent_before_the_first_result_is_asked_for(f):
    read = []
    results = f.map(read.append(n) or n for n in range(10))
    assert read == []
    assert not [each for each in threading.enumerate() if each.name == "away-map"]
    assert next(results) == 0
    results.close()


def test_results_not_taken_are_not_held_by_anyone(f):
    """The window counts what was read and not given out, so that it bounds what is held."""
    out = 0
    widest = 0

    def numbers():
        nonlocal widest
        for number in range(60_000):
            widest = max(widest, number - out)
            yield number

    for each in f.map(numbers()):
        out = each
    assert out == 59_999
    assert widest <= MOST_AHEAD + 64


# ---------------------------------------------------------------- batches


def test_quick_calls_travel_in_few_requests(start, library, tmp_path):
    runtime = start()
    seen = []

    def pass_on(seen_request):
        from tests.servers import passed_on

        seen.append(seen_request)
        return passed_on(f"http://127.0.0.1:{runtime.port}", seen_request)

    with Server(pass_on) as server:
        function = proxy(server.url)
        assert list(function.map(range(3000))) == list(range(3000))
        in_batches = len(seen)
        assert sum(len(json.loads(each.body)["batch"]) for each in seen) >= 3000
        seen.clear()
        assert list(function.map(range(40), batch=False)) == list(range(40))
        assert sorted(json.loads(each.body)["args"][0] for each in seen) == list(range(40))
        seen.clear()
        assert list(function.map(range(40), batch=10)) == list(range(40))
        assert sorted(len(json.loads(each.body)["batch"]) for each in seen) == [10] * 4
        function.connection.close()
    assert in_batches < 300


def test_a_batch_whose_time_is_over_goes_on_in_another_and_no_call_runs_twice(f):
    # 30 of 20 ms are more than a batch may take.
    assert list(f.map(range(100, 190), itertools.repeat("slow"), batch=30)) == [1] * 90
    assert list(f.map(range(100, 190), itertools.repeat("times"))) == [2] * 90


def test_large_results_are_answered_in_parts(f):
    found = list(f.map(range(20), itertools.repeat("large"), batch=20))
    assert [len(each) for each in found] == [600_000] * 20
    assert f(19, "times") == 2


def test_a_body_beyond_what_the_function_takes_goes_in_parts(start):
    port = start(environ={"AWAY_MAX_BODY_BYTES": "5000"}).port
    function = proxy(f"http://127.0.0.1:{port}")
    texts = [f"{n}" * 300 for n in range(40)]
    assert list(function.map(texts, batch=40)) == texts
    assert list(function.map(texts)) == texts
    with pytest.raises(GatewayError, match="413"):
        list(function.map(["x" * 6000]))


def test_each_call_of_a_batch_has_a_context_and_an_id_of_its_own(f, start):
    assert list(f.map(range(20), itertools.repeat("mark"), batch=20)) == [None] * 20
    list(f.map([7770, 7771], itertools.repeat("print"), batch=2))
    lines = [start().wait_for(rf"^call=(\S+):{i} input 777{i}$") for i in range(2)]
    assert lines[0][1] == lines[1][1]


def test_calls_of_a_coroutine_function_run_side_by_side_within_the_concurrency(start):
    function = proxy(f"http://127.0.0.1:{start('g', kind='async').port}", kind="async")
    function_now = function.map([0], ["most"])
    list(function_now)
    waits = itertools.repeat("sleep")
    assert list(function.map(range(400), waits, batch=50, concurrency=24)) == list(range(400))
    (most,) = function.map([0], ["most"])
    assert 4 < most <= 24
    found = list(function.map(range(6), itertools.repeat("fail"), on_error="return", batch=6))
    assert [type(each) for each in found] == [int, ValueError, int] * 2


def test_pickles_travel_in_batches_each_its_own(start):
    port = start(safe=False).port
    function = proxy(f"http://127.0.0.1:{port}", safe_args=False)
    shared = complex(1, 2)
    inputs = [shared, [shared], range(3), {1, 2}, 5]
    sent = [[each] for each in inputs]
    assert list(function.map(sent, itertools.repeat("wrapped"), batch=6)) == inputs
    mixed = [[1], [sys._getframe()], [3]]
    found = list(function.map(mixed, itertools.repeat("wrapped"), batch=3, on_error="return"))
    assert (found[0], found[2]) == (1, 3)
    assert isinstance(found[1], CannotTravel)
    safe = proxy(f"http://127.0.0.1:{start().port}", safe_args=False)
    (refused,) = safe.map([1], on_error="return", batch=2)
    with pytest.raises(ProtocolMismatch) as alone:
        safe(1)
    assert str(refused) == str(alone.value)


# ---------------------------------------------------------------- others' failures


def spoken(data: bytes, status: int = 200):
    said = {"Content-Type": TYPE, "X-Away-Protocol": "1", "X-Away-Length": str(len(data))}
    return answer(status, data, said)


def single(seen):
    body = json.loads(seen.body)
    return spoken(json.dumps({"value": body["args"][0]}).encode())


def test_an_older_runtime_is_called_one_by_one():
    from away.protocol import pack_error, read_call

    def older(seen):
        try:
            read_call(seen.body, allow_unsafe=False)
        except ProtocolMismatch as error:
            return spoken(pack_error(error, refused=True), 400)
        return single(seen)

    with Server(older) as server:
        function = proxy(server.url)
        assert list(function.map(range(100), concurrency=4)) == list(range(100))
        refused = [each for each in server.requests if each.body.startswith(b'{"batch"')]
        assert 1 <= len(refused) <= 4
        assert list(function.map(range(10))) == list(range(10))
        assert len(server.requests) == 110 + len(refused)
        function.connection.close()


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_batch_whose_connection_is_lost_is_repeated_only_where_calls_may_be(idempotent):
    def losing(seen):
        body = json.loads(seen.body)
        if "batch" not in body or len(body["batch"]) > 1:
            return hang_up()
        value = body["batch"][0][0][0]
        return spoken(json.dumps({"batch": [{"value": value}], "seconds": 0.0}).encode())

    with Server(losing) as server:
        function = proxy(server.url, idempotent=idempotent)
        found = list(function.map(range(5), on_error="return", batch=5))
        function.connection.close()
    if idempotent:
        assert found == list(range(5))
    else:
        assert [type(each) for each in found] == [AnswerLost] * 5
        assert [each.__notes__ for each in found] == [
            [f"raised for input {n} of the map (the first is 0)"] for n in range(5)
        ]
        assert len(server.requests) == 1


@pytest.mark.parametrize("batch", [2, False], ids=str)
def test_a_function_that_is_full_is_given_fewer_calls_until_all_have_run(batch):
    running = threading.Semaphore(1)

    def full(seen):
        if not running.acquire(blocking=False):
            said = {"X-Away-Protocol": "1", "X-Away-Length": "19", "Content-Type": "text/plain"}
            return answer(503, b"1 calls are running", said)
        body = json.loads(seen.body)

        def behave(talk):
            talk.stopping.wait(0.03)
            running.release()
            if "args" in body:
                return single(seen)(talk)
            values = [{"value": call[0][0]} for call in body["batch"]]
            return spoken(json.dumps({"batch": values, "seconds": 0.03}).encode())(talk)

        behave.is_behaviour = True
        return behave

    with Server(full) as server:
        function = proxy(server.url, timeout=0.3)
        found = list(function.map(range(40), concurrency=16, batch=batch))
        function.connection.close()
    assert found == list(range(40))


@pytest.mark.parametrize(
    "said",
    [
        b'{"batch": [{"value": 1}, {"value": 1}], "seconds": 0.0}',
        b'{"batch": [], "seconds": 0.0}',
        b'{"batch": [1], "seconds": 0.0}',
        b'{"batch": [{"value": 1}], "seconds": NaN}',
        b'{"batch": [{"value": 1}], "seconds": -1}',
        b'{"batch": [{"dill": "gASVAAAA"}], "seconds": 0}',
        b'{"batch": [{}], "seconds": 0}',
        b'{"batch": [' + b"[" * 900,
        b'{"value": 1}',
        b"",
    ],
    ids=repr,
)
def test_an_answer_that_breaks_the_protocol_is_an_error_and_never_a_result(said):
    with Server(spoken(said)) as server:
        function = proxy(server.url)
        with pytest.raises(ProtocolMismatch, match=r"`f` on http"):
            list(function.map([1]))
        function.connection.close()


def test_a_function_that_dies_fails_its_batch_and_no_other(start):
    runtime = start(environ={"AWAY_GRACE": "1"})
    function = proxy(f"http://127.0.0.1:{runtime.port}", timeout=20)
    found = list(function.map([1, 2], itertools.repeat("die"), on_error="return", batch=2))
    assert [type(each) for each in found] == [AnswerLost] * 2
    assert found[0] is not found[1]


# ---------------------------------------------------------------- pace


def test_the_pace_follows_what_calls_take():
    pace = Pace(64)
    assert (pace.size, pace.requests, pace.ahead) == (1, 64, 128)
    for _ in range(9):
        pace.took(pace.size, pace.size * 1e-6)
    assert pace.size == 4096
    assert pace.requests == 4
    assert pace.at_once == 16
    assert pace.ahead == MOST_AHEAD
    pace.took(4096, 4096 * 0.01)
    assert pace.size == 7  # slower at once: 75 ms
    assert pace.requests == 64
    pace.took(1, 3.0)
    assert pace.size == 1
    pace.took(1, 0.0)
    assert pace.size == 1  # quicker by and by


def test_large_inputs_make_small_batches():
    pace = Pace(64)
    pace.took(1, 1e-6)
    pace.weighed(1, 300_000)
    assert pace.size == 3
    pace.split(100, singly=False)
    pace.took(50, 1e-6)
    assert pace.size <= 50


def test_requests_become_fewer_once_for_all_that_were_refused_together_and_more_by_and_by():
    pace = Pace(64)
    assert [pace.full(64, 64 - n) for n in range(3)] == [True, True, True]
    assert pace.fits == 32
    for fitted in (32, 16, 8, 4, 2):
        assert pace.full(fitted, fitted)
    assert not pace.full(1, 1)
    for _ in range(9):
        pace.fitted()
    assert pace.fits == 2


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("end", ["close", "forget", "error"], ids=str)
def test_an_iterator_that_is_left_half_way_leaves_nothing(f, end):
    results = f.map(itertools.count())
    for _ in range(100):
        next(results)
    assert [each for each in threading.enumerate() if each.name == "away-map"]
    if end == "close":
        results.close()
    elif end == "error":
        with pytest.raises(GeneratorExit):
            results.throw(GeneratorExit)
    else:
        del results
        gc.collect()
    assert not [each for each in threading.enumerate() if each.name == "away-map"]
    gc.collect()


def test_an_asynchronous_map_that_is_left_half_way_leaves_no_task(f):
    async def leave():
        results = f.aio.map(itertools.count())
        async for each in results:
            if each == 50:
                break
        await results.aclose()
        assert len(asyncio.all_tasks()) == 1
        cancelled = asyncio.create_task(anext(f.aio.map([9.0], ["sleep"])))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await f.connection.aio.close()

    asyncio.run(leave())


def test_a_sync_map_runs_where_an_event_loop_runs(f):
    async def cell():
        return list(f.map(range(50)))

    assert asyncio.run(cell()) == list(range(50))


def test_threads_map_side_by_side(f):
    found = {}

    def work(number):
        found[number] = sum(f.map(range(500)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == dict.fromkeys(range(4), sum(range(500)))


PROGRAM = """
import faulthandler, gc, itertools, os, sys, threading, time
faulthandler.dump_traceback_later(20, exit=True)
from tests.test_mapping import proxy
f = proxy(sys.argv[1])
"""


def program(port: int, text: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            PROGRAM + text,
            f"http://127.0.0.1:{port}",
        ],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


INTERRUPTED = """
try:
    for n, _ in enumerate(f.map(itertools.count(), batch={batch})):
        if n == 200:
            print("under way", flush=True)
except KeyboardInterrupt:
    ended = time.monotonic()
    names = [each.name for each in threading.enumerate()]
    gc.collect()
    print("interrupted", names, flush=True)
"""


@pytest.mark.parametrize("batch", ["'auto'", "False"])
def test_ctrl_c_ends_a_map_at_once_and_leaves_nothing(start, batch):
    process = program(start().port, INTERRUPTED.format(batch=batch))
    assert process.stdout.readline() == "under way\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert out == "interrupted ['MainThread']\n"
    assert err == ""
    assert process.returncode == 0


def test_a_program_may_end_in_the_middle_of_a_map(start):
    text = "results = f.map(itertools.count())\nfor _ in range(300): next(results)\nprint('end')\n"
    out, err = program(start().port, text).communicate(timeout=20)
    assert (out, err) == ("end\n", "")


FORKED = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: to fork where threads run is warned of
results = f.map(itertools.count())
for _ in range(300): next(results)
if (pid := os.fork()) == 0:
    try:
        for _ in range(10**5): next(results)
    except RuntimeError as error:
        print(error, flush=True)
    print(sum(f.map(range(100))), flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(next(results), sum(f.map(range(100))))
"""


def test_a_forked_child_maps_anew_and_never_reads_the_parents_results(start):
    out, err = program(start().port, FORKED).communicate(timeout=20)
    lines = out.splitlines()
    assert err == ""
    assert lines[0].startswith("this map was begun before the process forked")
    assert lines[1:] == ["4950", "300 4950"]


# ---------------------------------------------------------------- the bar


def test_a_bar_is_shown_where_it_is_asked_for(f, capsys):
    assert list(f.map(range(100), progress=True)) == list(range(100))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "f" in shown.err
    assert "100/100" in shown.err
    assert list(f.map(range(100))) == list(range(100))
    assert capsys.readouterr().err == ""
    assert "20/20" in (collected(f, range(20), progress=True), capsys.readouterr().err)[1]


def test_a_terminal_sees_a_bar_once_it_takes_long_and_a_pipe_never(start):
    text = "print(sum(f.map([0.4] * 5, itertools.repeat('sleep'), concurrency=1)) > 1.9)\n"
    piped = program(start().port, text)
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        shown = subprocess.Popen(
            [*piped.args], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=terminal
        )
    seen = b""
    while select.select([ours], [], [], 20)[0]:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # its other end is closed
            break
    os.close(ours)
    assert shown.communicate()[0] == b"True\n"
    assert shown.returncode == 0
    assert re.search(rb"f .*5/5", seen)
    assert not re.search(rb" 0/5", seen)  # not before the first second was over
    assert piped.communicate(timeout=20) == ("True\n", "")


# ---------------------------------------------------------------- the whole way


def test_a_published_function_is_mapped_through_the_gateway_in_few_calls():
    import away
    from away import builder

    with away.gateway.run(announce=False) as faas:

        @builder.publish(faas, verbose=False)
        def squared(n):
            return n * n

        found = squared.map(range(6000))
        assert list(found) == [n * n for n in range(6000)]
        (listed,) = faas.functions(fresh=True)
        assert listed.invocation_count < 600

"""``away.Executor``: callables of this program at a gateway, as concurrent.futures runs them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import importlib
import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings

import pytest

import away
from away import FaasConnection, RemoteFunction
from away.exceptions import CannotTravel, CaptureRefused, ConfigError, UnsafeWarning
from tests import servers


@pytest.fixture(scope="module")
def gateway():
    with away.gateway.run(announce=False) as faas:
        yield faas


@pytest.fixture(scope="module")
def executor(gateway):
    with away.Executor(gateway) as made:
        yield made


@pytest.fixture(scope="module")
def sender(gateway):
    with pytest.warns(UnsafeWarning, match="whoever can reach it"):
        made = away.Executor(gateway, by_value=True, safe_args=False)
    with made:
        yield made


def names_at(gateway):
    return {info.name for info in gateway.functions(fresh=True)}


def living():
    return [each.name for each in threading.enumerate() if each.name.startswith("away-call")]


# ---------------------------------------------------------------- what can be submitted


# A module of its own: what is published takes the module of a function along.
WORK = """
    import functools
    import math

    def square(x):
        return x * x

    def divide(a, b=1):
        return a / b

    async def later(x):
        return x + 1

    def count(n):
        yield from range(n)

    def slow(seconds):
        import time
        time.sleep(seconds)
        return seconds

    class Scale:
        def __init__(self, factor):
            self.factor = factor

        def times(self, x):
            return self.factor * x

        def __call__(self, x):
            return self.factor * x

    def closure(factor):
        def inner(x):
            return factor * x

        return inner

    def holding(held):
        return lambda: len(held)

    def needs_a_package():
        def shape():
            import idna

            return idna.encode("größe").decode()

        return shape

    def where():
        import os

        return os.getpid(), os.environ.get("AWAY_RUNTIME")

    minus_one = lambda x: x - 1
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "work_for_executors.py").write_text(textwrap.dedent(WORK))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module("work_for_executors")
        sys.modules.pop("work_for_executors")


CALLABLES = {
    "a function": (lambda work: work.square, (3,), 9),
    "a coroutine function": (lambda work: work.later, (3,), 4),
    "a lambda": (lambda work: work.minus_one, (3,), 2),
    "a function inside of a function": (lambda work: work.closure(5), (3,), 15),
    "a method": (lambda work: work.Scale(6).times, (3,), 18),
    "an object": (lambda work: work.Scale(7), (3,), 21),
    "a partial": (lambda work: functools.partial(work.divide, b=4), (2,), 0.5),
    "a builtin": (lambda work: math.gcd, (12, 18), 6),
    "a method of a builtin type": (lambda work: str.upper, ("a",), "A"),
    "one of the standard library": (
        lambda work: textwrap.shorten,
        ("many words", 10),
        "many words",
    ),
}


@pytest.mark.parametrize("kind", [*CALLABLES][:8])
def test_a_callable_is_published_once_and_called(executor, work, kind):
    of, args, result = CALLABLES[kind]
    function = of(work)
    assert executor.submit(function, *args).result() == result
    assert executor.submit(function, *args).result() == result


@pytest.mark.parametrize("kind", CALLABLES)
def test_a_callable_is_sent_to_the_one_function_that_runs_it(sender, work, kind):
    of, args, result = CALLABLES[kind]
    assert sender.submit(of(work), *args).result() == result


def test_generators_give_their_items(executor, sender, work):
    assert list(executor.submit(work.count, 3).result()) == [0, 1, 2]
    assert list(sender.submit(work.count, 3).result()) == [0, 1, 2]


def test_named_functions_keep_their_names_and_others_are_named_for_what_they_are(gateway, work):
    with away.Executor(gateway) as executor:
        executor.submit(work.square, 1).result()
        executor.submit(work.closure(11), 1).result()
        executor.submit(work.minus_one, 1).result()
    found = names_at(gateway)
    assert "square" in found
    assert any(name.startswith("exec-inner-") for name in found)
    with away.Executor(gateway) as another:
        # The same content is the same function, whoever publishes it.
        another.submit(work.closure(11), 1).result()
    assert names_at(gateway) == found


def test_a_callable_that_many_threads_submit_at_once_is_published_once(gateway, work):
    with away.Executor(gateway, remove=True) as executor:
        ready = threading.Barrier(16)
        function = work.closure(13)

        def submit(n):
            ready.wait(10)
            return executor.submit(function, n).result()

        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            assert list(threads.map(submit, range(16))) == [13 * n for n in range(16)]
        assert len(executor._deployed._brought) == 1


def test_remote_functions_are_just_called():
    def adding(seen):
        from away import protocol

        body = protocol.pack_value(sum(protocol.read_call(seen.body, allow_unsafe=False).args))
        return servers.answer(
            200,
            body,
            {
                "Content-Type": protocol.CONTENT_TYPE,
                "X-Away-Protocol": "1",
                "X-Away-Length": str(len(body)),
            },
        )

    with servers.Server(adding) as server:
        faas = FaasConnection(server.url, password="x-of-executor")
        add = RemoteFunction(faas, "add", dialect="protocol")
        with away.Executor(faas) as executor:
            assert executor.submit(add, 1, 2).result() == 3
            assert executor.submit(add.aio, 1, 2).result() == 3
            assert executor.submit(functools.partial(add, 1), 5).result() == 6
            assert list(executor.map(add, [1, 2, 3], [4, 5, 6], chunksize=2)) == [5, 7, 9]
        assert {seen.path for seen in server.requests} == {"/function/add"}


def test_a_faked_gateway_has_the_callables_answer_themselves(away_fake, work):
    faas = FaasConnection("http://gw.example:8080", password="x-of-executor")
    fibonacci = away_fake.function("fibonacci", lambda n: n + 1, gateway=faas)
    with away.Executor(faas) as executor:
        assert executor.submit(work.square, 3).result() == 9
        assert executor.submit(work.closure(3), 3).result() == 9
        assert executor.submit(away.builder.sync_from_name("fibonacci", faas), 3).result() == 4
    assert [call.args for call in fibonacci.calls] == [(3,)]
    faas.close()


# ---------------------------------------------------------------- errors


def test_what_a_callable_raises_comes_out_of_the_future(executor, sender, work):
    for each in (executor, sender):
        assert isinstance(each.submit(work.divide, 1, 0).exception(), ZeroDivisionError)
        assert isinstance(each.submit(work.divide).exception(), TypeError)


def test_what_cannot_be_published_comes_out_of_the_future_and_is_tried_anew(executor, sender, work):
    held = [threading.Lock()]
    holds = work.holding(held)
    for each in (executor, sender):
        error = each.submit(holds).exception()
        assert isinstance(error, CaptureRefused)
        assert "held[0]" in str(error)
    held[:] = [1, 2]
    for each in (executor, sender):
        assert each.submit(holds).result() == 2


def test_a_value_that_cannot_travel_is_told_with_the_executors_own_option(executor, work):
    way = r"make the Executor with safe_args=False$"
    for argument in (object(), range(3)):
        with pytest.raises(CannotTravel, match=way) as told:
            executor.submit(work.square, argument).result()
        assert str(told.value).endswith(f"; {told.value.hint}")
    with pytest.raises(CannotTravel, match=way):
        list(executor.map(work.square, [1, range(3)], chunksize=2))


def test_a_gateway_that_cannot_be_reached_is_the_futures_error(work):
    with servers.refusing() as port:
        faas = FaasConnection("127.0.0.1", port, password="x-of-executor")
        with away.Executor(faas, publish_timeout=0.3) as executor:
            error = executor.submit(work.square, 1).exception()
    assert isinstance(error, away.exceptions.GatewayUnreachable)


def test_running_whatever_is_sent_has_to_be_asked_for_twice():
    with pytest.raises(ConfigError, match="safe_args=False as well"):
        away.Executor(FaasConnection(), by_value=True)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"name": "f"}, ConfigError, "an Executor publishes one for each callable"),
        ({"nmae": "f"}, TypeError, "nmae"),
        ({"max_workers": 0}, ValueError, "max_workers"),
    ],
)
def test_a_wrong_option_is_refused_at_once(options, error, text):
    with pytest.raises(error, match=text):
        away.Executor(FaasConnection(), **options)
    with pytest.raises(ConfigError, match="was given a str"):
        away.Executor("localhost")


def test_the_warning_is_at_the_users_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        away.Executor(FaasConnection(), safe_args=False)
    assert [each.filename for each in caught] == [__file__]


# ---------------------------------------------------------------- as the standard says


def test_map_keeps_the_order_and_raises_when_the_turn_of_an_error_comes(executor, work):
    assert list(executor.map(work.square, range(20))) == [n * n for n in range(20)]
    results = executor.map(work.divide, [4, 1, 9], [2, 0, 3])
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_map_makes_the_calls_of_a_chunk_together(executor, sender, size, work):
    for each in (executor, sender):
        assert list(each.map(work.square, range(10), chunksize=size)) == [n * n for n in range(10)]
        with pytest.raises(ZeroDivisionError):
            list(each.map(work.divide, range(6), [1, 1, 1, 0, 1, 1], chunksize=size))


def test_the_calls_of_a_chunk_travel_in_one_request(gateway, executor, work):
    executor.submit(work.square, 1).result()
    before = {info.name: info.invocation_count for info in gateway.functions(fresh=True)}
    assert list(executor.map(work.square, range(50), chunksize=25)) == [n * n for n in range(50)]
    after = {info.name: info.invocation_count for info in gateway.functions(fresh=True)}
    assert after["square"] - before["square"] == 2


def test_map_reads_an_endless_input_as_results_are_taken(executor, work):
    read = []
    endless = (read.append(n) or n for n in itertools.count())
    results = executor.map(work.square, endless, buffersize=8)
    assert list(itertools.islice(results, 20)) == [n * n for n in range(20)]
    results.close()
    assert len(read) <= 20 + 8


def test_map_ends_by_a_timeout(executor, work):
    results = executor.map(work.slow, [0.0, 0.5], timeout=0.0)
    with pytest.raises(TimeoutError):
        list(results)
    assert list(executor.map(work.slow, [0.0], timeout=30.0)) == [0.0]
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(work.square, [1], chunksize=0)


def test_after_shutdown_nothing_can_be_submitted_and_no_thread_is_left(gateway, work):
    executor = away.Executor(gateway, 2)
    futures = [executor.submit(work.square, n) for n in range(10)]
    executor.shutdown(wait=False)
    assert [each.result() for each in futures] == [n * n for n in range(10)]
    executor.shutdown()
    for call in (executor.submit, executor.map):
        with pytest.raises(RuntimeError, match="after shutdown"):
            call(work.square, [1])


def test_shutdown_cancels_what_has_not_begun_where_it_is_asked_to():
    with servers.Server(servers.late(0.2, servers.answer(200, b"late"))) as server:
        faas = FaasConnection(server.url, password="x-of-executor")
        f = away.builder.sync_from_name("f", faas)
        executor = away.Executor(faas, 1)
        first, second = executor.submit(f), executor.submit(f)
        server.wait_for(1)
        executor.shutdown(cancel_futures=True)
        assert (first.result(), second.cancelled()) == (b"late", True)


def test_what_waits_for_its_function_to_be_published_can_be_cancelled():
    with servers.Server(servers.hang()) as server:
        faas = FaasConnection(server.url, password="x-of-executor", timeout=20)
        executor = away.Executor(faas, 2, remove=True)
        futures = [executor.submit(lambda: 1) for _ in range(5)]
        server.wait_for(1)
        assert not any(each.running() or each.done() for each in futures)
        assert futures[0].cancel()
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(each.cancelled() for each in futures)
    executor.shutdown()


def test_shutdown_returns_at_once_and_removes_once_all_is_done(gateway, work, tmp_path):
    before = names_at(gateway)
    executor = away.Executor(gateway, 1, remove=True)
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def gated(path):
        with open(path) as opened:
            return opened.read()

    first, second = executor.submit(gated, str(gate)), executor.submit(gated, str(gate))
    with open(gate, "w") as opened:  # which waits for its reader
        executor.shutdown(wait=False, cancel_futures=True)
        assert (first.running(), second.cancelled()) == (True, True)
        assert len(names_at(gateway)) == len(before) + 1
        opened.write("done")
    executor.shutdown()
    assert first.result() == "done"
    for each in threading.enumerate():
        if each.name == "away-remove":
            each.join(30)
    assert names_at(gateway) == before


@pytest.mark.parametrize("call", ["submit", "map"])
def test_what_cannot_be_called_is_refused_at_once(executor, call):
    with pytest.raises(TypeError, match="calls functions, and was given a int"):
        getattr(executor, call)(3, [1])


def test_what_was_brought_is_removed_and_what_was_there_before_stays(gateway, work):
    with away.Executor(gateway) as executor:
        executor.submit(work.square, 2).result()
    before = names_at(gateway)
    with away.Executor(gateway, remove=True) as executor:
        assert executor.submit(work.square, 2).result() == 4
        assert executor.submit(work.closure(17), 2).result() == 34
        assert len(names_at(gateway)) == len(before) + 1
    assert names_at(gateway) == before
    executor.shutdown(remove=True)  # once more is no error


def test_ctrl_c_in_an_executor_ends_the_program_at_once():
    text = """
        import sys
        import away
        from away import FaasConnection, builder
        faas = FaasConnection(sys.argv[1], password="x-of-executor")
        f = builder.sync_from_name("f", faas)
        with away.Executor(faas) as executor:
            list(executor.map(f, range(3)))
    """
    with servers.Server(servers.hang()) as server:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(text), server.url],
            stderr=subprocess.PIPE,
            text=True,
        )
        server.wait_for(3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "Exception ignored" not in err


def test_a_known_password_in_a_callable_is_sent_to_nobody(sender, work):
    password = "known-to-executors-4410"
    FaasConnection("gw.example", password=password)
    error = sender.submit(work.holding(password)).exception()
    assert isinstance(error, CaptureRefused)
    assert password not in str(error)


def test_values_are_sent_as_they_are_when_they_are_submitted(sender):
    numbers = [1, 2, 3]
    future = sender.submit(sum, numbers)
    numbers.append(4)
    assert future.result() == 6


def test_callables_with_other_needs_get_a_function_that_has_them(gateway, sender, work):
    shape = work.needs_a_package()
    before = names_at(gateway)
    assert sender.submit(shape).result() == "xn--gre-6ka8i"
    assert len(names_at(gateway) - before) == 1
    assert sender.submit(shape).result() == "xn--gre-6ka8i"
    assert len(names_at(gateway) - before) == 1


# ---------------------------------------------------------------- those who take an executor


def test_an_event_loop_runs_callables_in_it(executor, work):
    async def main():
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, work.square, n) for n in range(5)]
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


def test_the_standard_librarys_functions_of_futures_take_its_futures(executor, work):
    futures = {executor.submit(work.square, n): n for n in range(5)}
    for done in concurrent.futures.as_completed(futures, timeout=30):
        assert done.result() == futures[done] ** 2


def test_dask_computes_by_it_unmodified(gateway, sender, work):
    dask = pytest.importorskip("dask")
    bag = pytest.importorskip("dask.bag")

    total = dask.delayed(sum)([dask.delayed(work.square)(n) for n in range(10)])
    assert total.compute(scheduler=sender) == 285
    process, inside = dask.delayed(work.where)().compute(scheduler=sender)
    assert (process != os.getpid(), inside) == (True, "1")
    with pytest.raises(ZeroDivisionError):
        dask.delayed(work.divide)(1, 0).compute(scheduler=sender)
    words = bag.from_sequence(["away", "and", "back", "again"] * 5, npartitions=4)
    counted = words.map(str.upper).frequencies()
    assert dict(counted.compute(scheduler=sender)) == {"AWAY": 5, "AND": 5, "BACK": 5, "AGAIN": 5}

"""Local or remote: which calls run here, what falls back, what is counted and what is said of it."""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib
import pickle
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

import away.gateway
from away import FaasConnection, RemoteFunction, builder, hooks, protocol
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    CannotTravel,
    ConfigError,
    FallbackWarning,
    FunctionNotFound,
    FunctionNotReady,
    GatewayError,
    GatewayUnreachable,
    UnsafeWarning,
)
from away.placement import Counts, Placement, calls_running, load_average
from tests import servers

PLATFORM = {"X-Openfaas-Internal": "proxy"}


def enveloped(value=None, *, error=None, status=200, **headers):
    """Answer as Away's runtime does."""
    body = protocol.pack_value(value) if error is None else protocol.pack_error(error)
    return servers.answer(
        status,
        body,
        {
            "Content-Type": protocol.CONTENT_TYPE,
            protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
            protocol.LENGTH_HEADER: str(len(body)),
            **headers,
        },
    )


def double(n):
    return f"here {n}"


def placed(url, local=double, *, kind="sync", timeout=30, idempotent=False, **options):
    """Make a remote function that has a local one behind it."""
    made = RemoteFunction(
        FaasConnection(url, password="sesame-of-placement", connect_timeout=0.3),
        "double",
        kind=kind,
        dialect="protocol",
        timeout=timeout,
        idempotent=idempotent,
    )
    made.placement = Placement(local, kind=kind, **options)
    return made


@pytest.fixture
def nobody():
    """The URL of a gateway without functions, which is what calls fall back from the quickest."""
    with servers.Server(UNKNOWN) as server:
        yield server.url


@pytest.fixture
def there():
    with servers.Server(enveloped("there")) as server:
        yield server


@pytest.mark.parametrize("goes", [True, False], ids=["remote", "local"])
def test_a_keyword_named_self_reaches_the_function_wherever_it_runs(there, goes):
    def takes_all(**numbers):
        return numbers["self"]

    f = placed(there.url, takes_all, offload=lambda **_: goes)
    assert f(self=2) == ("there" if goes else 2)


# ---------------------------------------------------------------- falling back

UNKNOWN = servers.answer(404, b"error finding function double.openfaas-fn: 404")
NO_ENDPOINT = servers.answer(503, b"No endpoints available for: double.", PLATFORM)
LOADING = b"the function is still being loaded"
BUSY = servers.answer(
    503, LOADING, {protocol.PROTOCOL_HEADER: "1", protocol.LENGTH_HEADER: str(len(LOADING))}
)
UNSCALED = servers.answer(500, b"error finding function double: unable to scale function")
CANNOT_REACH = servers.answer(500, b"Can't reach service for: double.", PLATFORM)


# What is tried again ends with so many seconds, in good time after the last of the attempts.
SOME_ATTEMPTS = 1.7


@pytest.mark.parametrize(
    ("behaviour", "timeout", "why"),
    [
        pytest.param(UNKNOWN, 30, "has no function", id="the gateway has no such function"),
        pytest.param(NO_ENDPOINT, 30, "no replica", id="no replica"),
        pytest.param(BUSY, SOME_ATTEMPTS, "still being loaded", id="still loading"),
        pytest.param(UNSCALED, 30, "double", id="cannot be started"),
    ],
)
def test_what_cannot_have_run_there_runs_here_and_says_why(behaviour, timeout, why):
    with servers.Server(behaviour) as server:
        f = placed(server.url, fallback=True, timeout=timeout)
        with pytest.warns(FallbackWarning, match=why) as caught:
            assert f(1) == "here 1"
    assert "`double` runs here and not at the gateway: " in str(caught[0].message)
    assert server.url in str(caught[0].message)
    assert caught[0].filename == __file__
    assert f.counts == Counts(local=0, remote=0, fell_back=1)


@pytest.mark.parametrize("url", ["http://nobody.invalid:1", "https", "full"])
def test_a_gateway_without_a_connection_is_one_that_was_not_reached(url, there):
    with servers.unreachable() as port:
        full = f"http://127.0.0.1:{port}"
        f = placed({"https": there.url.replace("http:", "https:"), "full": full}.get(url, url))
        f.placement = Placement(double, kind="sync", fallback=True)
        with pytest.warns(FallbackWarning, match="no (trusted )?connection to"):
            assert f(2) == "here 2"


def test_a_refused_connection_falls_back_once_it_was_tried_again():
    with servers.refusing() as port:
        f = placed(f"http://127.0.0.1:{port}", fallback=True)
        with pytest.warns(FallbackWarning, match="the connection was refused"):
            assert f(1) == "here 1"
        assert f(2) == "here 2"


def test_every_kind_of_function_falls_back(nobody):
    def items(n):
        yield n
        yield n + 1

    async def later(n):
        return f"later {n}"

    async def items_later(n):
        yield n

    async def collected(given):
        return [item async for item in given]

    sync = placed(nobody, double, fallback=True)
    generator = placed(nobody, items, kind="generator", fallback=True)
    coroutine = placed(nobody, later, kind="async", fallback=True)
    both = placed(nobody, items_later, kind="async generator", fallback=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert sync(1) == "here 1"
        assert list(generator(1)) == [1, 2]
        assert asyncio.run(coroutine(1)) == "later 1"
        assert asyncio.run(collected(both(1))) == [1]
        # An ordinary function behind an async face runs beside the event loop.
        assert asyncio.run(sync.aio(2)) == "here 2"
        assert asyncio.run(collected(generator.aio(3))) == [3, 4]
    assert len(caught) == 4
    assert all("has no function" in str(each.message) for each in caught)
    assert [each.counts.fell_back for each in (sync, generator, coroutine, both)] == [2, 2, 1, 1]


NOT_FOR_LOCAL = [
    pytest.param(CANNOT_REACH, FunctionNotReady, id="it may have died in the call"),
    pytest.param(servers.answer(502), CallTimedOut, id="a limit of the gateway's"),
    pytest.param(servers.hang_up(), AnswerLost, id="closed without an answer"),
    pytest.param(servers.cut(b"half an answer", 4), AnswerLost, id="closed in mid-answer"),
    pytest.param(servers.hang(), CallTimedOut, id="no answer in time"),
    pytest.param(servers.answer(500, b"boom"), GatewayError, id="a status of its own"),
    pytest.param(servers.answer(503, b"mine"), GatewayError, id="a 503 of its own"),
    pytest.param(servers.answer(404, b"mine"), GatewayError, id="a 404 of its own"),
    *(
        pytest.param(
            servers.answer(status, b"error finding function other", {"X-Start-Time": "1"}),
            GatewayError,
            id=f"a {status} that it passes on",
        )
        for status in (404, 500)
    ),
    pytest.param(
        servers.answer(503, b"it was reset", PLATFORM), FunctionNotReady, id="a platform's 503"
    ),
    pytest.param(
        servers.answer(401, b"invalid credentials", {"Www-Authenticate": "Basic"}),
        AuthenticationRefused,
        id="no login",
    ),
    pytest.param(servers.raw(b"no http\r\n\r\n"), AwayError, id="garbage"),
]


@pytest.mark.parametrize(("behaviour", "error"), NOT_FOR_LOCAL)
def test_what_may_have_run_there_never_runs_here(behaviour, error, request):
    timeout = 0.4 if "no answer in time" in request.node.name else 30
    with servers.Server(behaviour) as server:
        f = placed(server.url, fallback=True, timeout=timeout)
        with pytest.raises(error):
            f(1)
    assert f.counts == Counts(local=0, remote=1, fell_back=0)


@pytest.mark.parametrize(
    ("behaviour", "timeout", "ran_here"),
    [
        pytest.param(CANNOT_REACH, 2.2, True, id="unreachable"),
        pytest.param(servers.hang_up(), 30, True, id="no answer"),
        pytest.param(servers.cut(b"half an answer", 4), 30, True, id="cut short"),
        pytest.param(servers.hang(), 0.4, False, id="too late"),
        pytest.param(servers.answer(500, b"boom"), 30, False, id="its own failure"),
    ],
)
def test_an_idempotent_call_runs_here_after_all_that_it_would_be_tried_again_for(
    behaviour, timeout, ran_here
):
    with servers.Server(behaviour) as server:
        f = placed(server.url, fallback=True, idempotent=True, timeout=timeout)
        if ran_here:
            with pytest.warns(FallbackWarning):
                assert f(1) == "here 1"
        else:
            with pytest.raises(AwayError):
                f(1)


def test_the_remote_functions_own_exception_is_no_gateway_that_was_not_reached():
    own = GatewayUnreachable("the function met another gateway that was away")
    with servers.Server(enveloped(error=own, status=500)) as server:
        f = placed(server.url, fallback=True)
        with pytest.raises(GatewayUnreachable, match="met another gateway"):
            f(1)
    assert f.counts == Counts(remote=1)


def test_the_local_functions_own_exception_comes_out_once_and_alone(nobody):
    calls = []

    def failing(n):
        calls.append(n)
        raise GatewayUnreachable("mine")

    f = placed(nobody, failing, fallback=True)
    with (
        pytest.warns(FallbackWarning),
        pytest.raises(GatewayUnreachable, match=r"^mine$") as caught,
    ):
        f(1)
    assert calls == [1]
    assert caught.value.__context__ is None
    assert f.counts == Counts(fell_back=1)


def test_arguments_that_fit_neither_side_are_refused_and_not_counted(nobody):
    def local(n: int) -> int:
        return n

    f = builder.faas_function(FaasConnection(nobody, password="sesame-of-placement"))(local)
    f.placement = Placement(local, kind="sync", fallback=True)
    with pytest.raises(TypeError, match="missing"):
        f()
    assert f.counts == Counts()


def test_an_argument_that_cannot_travel_is_no_reason_to_fall_back(there):
    f = placed(there.url, fallback=True)
    with pytest.raises(CannotTravel):
        f(threading.Lock())


def test_without_fallback_the_error_comes_out(nobody):
    f = placed(nobody, offload=lambda n: True)
    with pytest.raises(FunctionNotFound):
        f(1)


def test_a_function_warns_once_a_minute(nobody):
    now = [0.0]
    f = placed(nobody, fallback=True, clock=lambda: now[0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seconds in (0, 1, 59, 61, 62):
            now[0] = seconds
            f(seconds)
    assert len(caught) == 2
    assert f.counts == Counts(fell_back=5)


def test_a_gateway_that_was_away_is_tried_by_each_call_but_waited_for_once():
    state = {"is_back": False}

    def script(seen):
        return enveloped("there") if state["is_back"] else BUSY

    with servers.Server(script) as server:
        f = placed(server.url, fallback=True, timeout=SOME_ATTEMPTS)
        with pytest.warns(FallbackWarning):
            f(1)
        first = len(server.requests)
        assert first > 1  # it waited and tried again, by the rules of retries
        patient = f.options(timeout=60)
        assert patient(2) == "here 2"
        assert len(server.requests) == first + 1
        state["is_back"] = True
        assert patient(3) == "there"
    assert f.counts == Counts(remote=1, fell_back=2)


def test_warnings_made_errors_are_the_calls_and_leave_no_call_counted_as_running(nobody):
    limit = calls_running(0)
    f = placed(nobody, fallback=True, offload=limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FallbackWarning):
            f(1)
    assert limit.running == 0


# ---------------------------------------------------------------- choosing


def test_a_predicate_is_given_the_calls_own_arguments(there):
    seen = []

    def is_large(*args, **kwargs):
        seen.append((args, kwargs))
        return args[0] > 10

    f = placed(there.url, lambda n, *, unit="m": f"here {n} {unit}", offload=is_large)
    assert f(1, unit="km") == "here 1 km"
    assert f(11) == "there"
    assert seen == [((1,), {"unit": "km"}), ((11,), {})]
    assert f.counts == Counts(local=1, remote=1)


def test_a_predicate_that_raises_is_heard(there):
    f = placed(there.url, fallback=True, offload=lambda n: 1 / n)
    with pytest.raises(ZeroDivisionError):
        f(0)
    assert there.requests == []
    assert f.counts == Counts()


def test_so_many_calls_run_here_and_the_others_there(there):
    entered, leave = threading.Barrier(4, timeout=20), threading.Event()

    def slow(n):
        entered.wait()
        assert leave.wait(20)
        return "here"

    f = placed(there.url, slow, offload=3)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(f, n) for n in range(3)]
        entered.wait()
        assert f(3) == "there"
        leave.set()
        assert [each.result() for each in waiting] == ["here"] * 3
    assert f.counts == Counts(local=3, remote=1)
    entered.reset()


def test_places_are_given_back_however_a_call_ends(there):
    async def forgotten(n):
        await asyncio.sleep(60)

    async def run():
        task = asyncio.create_task(f(1))
        await asyncio.sleep(0)
        assert limit.running == 1
        assert await f(2) == "there"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def items(n):
        yield from range(n)

    limit = calls_running(1)
    f = placed(there.url, forgotten, kind="async", offload=limit)
    asyncio.run(run())
    assert limit.running == 0

    failing = placed(there.url, lambda n: 1 / n, offload=limit)
    with pytest.raises(ZeroDivisionError):
        failing(0)
    assert limit.running == 0

    given = placed(there.url, items, kind="generator", offload=limit)(9)
    assert limit.running == 0  # a generator begins with its first item
    assert next(given) == 0
    assert limit.running == 1
    given.close()
    assert limit.running == 0


def test_one_limit_counts_the_calls_of_all_functions_that_share_it(there):
    limit = calls_running(1)
    inner = placed(there.url, offload=limit)
    outer = placed(there.url, lambda n: inner(n), offload=limit)
    assert outer(1) == "there"
    assert (outer.counts, inner.counts) == (Counts(local=1), Counts(remote=1))


def test_the_load_of_the_machine_decides(there):
    idle = placed(there.url, offload=load_average(1e9))
    busy = placed(there.url, offload=load_average(-1))
    assert (idle(1), busy(1)) == ("here 1", "there")
    assert load_average().limit >= 1


def test_counts_lose_no_call_of_many_threads(there):
    f = placed(there.url, offload=lambda n: n % 10 == 0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(f, range(1, 1001)))
    assert f.counts == Counts(local=900, remote=100)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Placement(double, kind="sync", offload=True), "not True"),
        (lambda: Placement(double, kind="sync", offload="big"), "offload= is a function"),
        (lambda: Placement(double, kind="sync", offload=-1), "from 0 up, not -1"),
        (
            lambda: builder.mirror_in_faas(double, offload=lambda a, b: True),
            r"offload= of 'double' takes \(a, b\), which no call of it with \(n\) fits",
        ),
        (lambda: builder.mirror_in_faas(double, offload=lambda: True), "offload= of 'double'"),
        (lambda: Placement(double, kind="async generator"), "neither stands for the other"),
        (lambda: calls_running(1.5), "from 0 up, not 1.5"),
        (lambda: load_average("high"), "is a number, not 'high'"),
        (lambda: load_average(float("nan")), "is a number, not nan"),
        (
            lambda: builder.mirror_in_faas(double, offload=1, implicit_exception_handling=False),
            "makes a call return a status",
        ),
    ],
)
def test_what_cannot_decide_is_refused_before_any_call(make, text):
    with pytest.raises(ConfigError, match=text):
        make()


def test_a_predicate_that_does_not_take_a_call_is_told_with_the_function(there):
    f = placed(there.url, lambda n, unit=1: n, offload=lambda n: True)
    with pytest.raises(
        TypeError, match=r"offload= of .*\(\) does not take this call's arguments: too"
    ):
        f(1, 2)

    def wrong(n):
        raise TypeError("of its own")

    with pytest.raises(TypeError, match=r"^of its own$"):
        placed(there.url, offload=wrong)(1)


def test_a_predicate_that_would_have_to_be_awaited_is_refused():
    async def later(n):
        return True

    with pytest.raises(ConfigError, match="is an async function"):
        Placement(double, kind="sync", offload=later)


@pytest.mark.parametrize(
    ("kind", "value"), [("sync", 1), ("async", 1), ("generator", [1]), ("async generator", [1])]
)
def test_what_goes_there_comes_back_as_the_kind_of_the_function(kind, value):
    async def later(n):
        return n

    def items(n):
        yield n

    async def items_later(n):
        yield n

    async def collected(given):
        return [item async for item in given]

    read = {
        "sync": lambda given: given,
        "async": asyncio.run,
        "generator": list,
        "async generator": lambda given: asyncio.run(collected(given)),
    }
    local = {"async": later, "generator": items, "async generator": items_later}.get(kind, double)
    with servers.Server(enveloped(value)) as server:
        f = placed(server.url, local, kind=kind, fallback=True, offload=lambda n: n > 1)
        assert read[kind](f(2)) == value
        assert read[kind](f(1)) == ("here 1" if kind == "sync" else value)
    assert f.counts == Counts(local=1, remote=1)


# ---------------------------------------------------------------- references


def test_options_and_copies_share_the_counts_and_a_pickle_leaves_the_local_side(there):
    f = placed(there.url, fallback=True, offload=lambda n: n > 1)
    assert copy.deepcopy(f) is f
    assert f.options(timeout=9)(1) == "here 1"
    assert f.counts == Counts(local=1)
    data = pickle.dumps(f)
    assert pickle.loads(data) is f
    del f
    gc.collect()  # as in another process
    read = pickle.loads(data)
    assert read.counts is None
    assert read(1) == "there"


def test_a_function_without_a_local_side_does_not_come_back_with_that_of_another(there):
    f = placed(there.url, offload=lambda n: False)
    plain = RemoteFunction(
        f.connection, "double", kind="sync", dialect="protocol", timeout=30, idempotent=False
    )
    of_plain, of_f = pickle.dumps(plain), pickle.dumps(f)
    assert of_plain == of_f
    assert pickle.loads(of_plain).counts is None
    assert pickle.loads(of_plain)(1) == "there"


def test_calls_that_always_go_to_the_gateway_are_counted_too(there):
    async def later(n):
        return f"here {n}"

    f = placed(there.url, offload=lambda n: False)
    assert f.with_response(1).value == "there"
    assert f(1) == "here 1"
    assert f.counts == Counts(local=1, remote=1)

    async def main():
        async with f.connection:
            return (await f.aio.with_response(1)).value

    assert asyncio.run(main()) == "there"
    assert f.counts == Counts(local=1, remote=2)
    awaited = placed(there.url, later, kind="async", offload=lambda n: False)
    assert awaited.submit(1).result() == "there"
    assert awaited.counts == Counts(remote=1)


def test_a_function_without_a_local_one_loads_nothing_of_this(there):
    assert RemoteFunction(FaasConnection(there.url), "f").counts is None
    import subprocess

    code = "import sys, away; from away import builder, RemoteFunction; import away.functions\n"
    code += "assert 'away.placement' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- with a gateway that is one

MODULE = """
import os

def where(n):
    if n < 0:
        raise ValueError(where(-n))
    return "there" if os.environ.get("AWAY_RUNTIME") else "here"

def early():
    def renewed(n):
        return f"{where(1)} {n}"
    return renewed

def late():
    def renewed(n, m):
        return f"{where(1)} {n} {m}"
    return renewed
"""


@pytest.fixture
def both_sides(tmp_path, monkeypatch):
    (tmp_path / "both_sides_of_placement.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("both_sides_of_placement")
    sys.modules.pop("both_sides_of_placement")


def test_a_later_publish_renews_mirrors_and_what_options_made_of_them(both_sides):
    with away.gateway.run(announce=False) as running:
        faas = FaasConnection(running.url, user=running.user, password=running.password)
        first = builder.mirror_in_faas(both_sides.early(), faas, offload=lambda n: n > 3)
        copied = first.options(timeout=60).options(idempotent=True)
        assert (first(1), copied(1), first.counts) == ("here 1", "here 1", Counts(local=2))

        builder.publish(faas, overwrite=True)(both_sides.late())
        assert (first(1, 2), copied(1, 2)) == ("there 1 2", "there 1 2")
        assert first.counts == Counts(local=2, remote=2)
        with pytest.raises(TypeError):
            copied(1)
        assert copied.idempotent is True


def test_a_later_publish_lets_a_copy_that_reads_no_pickles_read_none(both_sides):
    with away.gateway.run(announce=False) as running:
        faas = FaasConnection(running.url, user=running.user, password=running.password)
        with pytest.warns(UnsafeWarning):
            unsafe = builder.publish(faas, safe_args=False)(both_sides.early())
        safe = unsafe.options(safe_args=True)
        with pytest.warns(UnsafeWarning):
            builder.publish(faas, safe_args=False, overwrite=True)(both_sides.late())
        assert unsafe(range(3), 2) == "there range(0, 3) 2"
        with pytest.raises(CannotTravel):
            safe(range(3), 2)


def test_a_mirror_and_a_mount_of_it_choose_for_each_call_and_outlive_the_function(
    both_sides, monkeypatch
):
    with away.gateway.run(announce=False) as running:
        faas = FaasConnection(running.url, user=running.user, password=running.password)
        monkeypatch.setenv("AWAY_GATEWAY_SIDES_URL", running.url)
        monkeypatch.setenv("AWAY_GATEWAY_SIDES_PASSWORD", running.password)
        choice = {"fallback": True, "offload": lambda n: abs(n) > 3}
        where = builder.mirror_in_faas(both_sides.where, faas, **choice)
        assert (where(1), where(5)) == ("here", "there")
        for n, side in ((-1, "here"), (-5, "there")):
            with pytest.raises(ValueError, match=side):
                where(n)
        assert where.counts == Counts(local=2, remote=2)

        hooks.mount("sides", "sides_of.placement", local=both_sides, **choice)
        try:
            mounted = importlib.import_module("sides_of.placement").where
            assert (mounted(1), mounted(5)) == ("here", "there")
            assert mounted.counts == Counts(local=1, remote=1)
            faas.remove("where")
            for each in (where, mounted):
                with pytest.warns(FallbackWarning, match="has no function 'where'"):
                    assert each(6) == "here"
                assert each.counts.fell_back == 1
        finally:
            hooks.unmount("sides_of.placement")

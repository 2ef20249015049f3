"""The core without I/O: a list of outcomes stands for the transport, and a number for the clock."""

from __future__ import annotations

import math
import pickle
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away.config.secret import Secret
from away.connection import verdicts
from away.connection.access import Access, Login
from away.connection.catalogue import KEPT_SECONDS, Catalogue, FunctionInfo, find
from away.connection.conversations import exchange, new_call_id, prepare
from away.connection.logs import LogReader
from away.connection.messages import Conversation, Deadline, Headers, Reply, Request, Send, Wait
from away.connection.retries import RETRIES, event_of
from away.connection.route import proxy_for, read_proxies
from away.connection.transport_errors import (
    ConnectFailed,
    ConnectTimedOut,
    CutShort,
    NoAnswer,
    NotHttp,
    ReadTimedOut,
    TlsFailed,
    TransportError,
    Where,
)
from away.exceptions import AwayError, CallTimedOut, GatewayUnreachable

URL = "http://gw.example:8080"
UNKNOWN = Reply(404, body=b"error finding function fib.: server returned non-200 (404)")
PROXY = {"X-Openfaas-Internal": "proxy"}


class Clock:
    """A clock that moves when it is told to, and when a conversation waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pump(
    conversation: Conversation[Any], outcomes: list[Reply | TransportError], clock: Clock
) -> tuple[Any, list[Request], list[float]]:
    """Give outcomes to a conversation; return its result or error, what it sent and its pauses."""
    sent: list[Request] = []
    pauses: list[float] = []
    coming = iter(outcomes)
    try:
        step = next(conversation)
        while True:
            if isinstance(step, Wait):
                clock.now += step.seconds
                pauses.append(step.seconds)
                step = conversation.send(None)
                continue
            assert isinstance(step, Send)
            sent.append(step.request)
            outcome = next(coming)
            if isinstance(outcome, Reply):
                step = conversation.send(outcome)
            else:
                step = conversation.throw(outcome)
    except StopIteration as stop:
        return stop.value, sent, pauses
    except AwayError as error:
        return error, sent, pauses


REFUSED = ConnectFailed("refused", refused=True)
OK = Reply(200, body=b"55")


class Told(NamedTuple):
    """What a catalogue knows of a function's updates."""

    runs: bool = False
    ago: float = math.inf
    held_for: list[bool] = []  # noqa: RUF012  # one answer a question

    def running(self) -> bool:
        return self.runs

    def holding(self) -> bool:
        return bool(self.held_for) and self.held_for.pop(0)

    def happened_within(self, seconds: float) -> bool:
        return self.runs or self.ago <= seconds


UPDATING, UPDATED = Told(runs=True, ago=0.0), Told()
# outcomes, options of exchange(), how many are sent, and what it ends with
ROWS = [
    ("answered", [OK], {}, 1, OK),
    ("a function's own 500", [Reply(500)], {"repeatable": True}, 1, 500),
    ("refused twice", [REFUSED, REFUSED, OK], {}, 3, OK),
    ("refused, with no patience", [REFUSED, OK], {"patient": False}, 1, GatewayUnreachable),
    ("no route", [ConnectFailed("no route"), OK], {"repeatable": True}, 1, GatewayUnreachable),
    ("no answer", [NoAnswer(), OK], {}, 1, AwayError),
    ("no answer, repeatable", [NoAnswer(), OK], {"repeatable": True}, 2, OK),
    ("no answer twice", [NoAnswer(), NoAnswer(), OK], {"repeatable": True}, 2, AwayError),
    ("cut short, repeatable", [CutShort(), OK], {"repeatable": True}, 2, OK),
    ("timed out", [ReadTimedOut(), OK], {"repeatable": True}, 1, CallTimedOut),
    ("unknown", [UNKNOWN, OK], {"repeatable": True}, 1, 404),
    ("unknown in an update", [UNKNOWN, UNKNOWN, OK], {"updates": UPDATING}, 3, OK),
    ("unknown after an update", [UNKNOWN, OK], {"updates": UPDATED}, 1, 404),
    ("platform 500", [Reply(500, PROXY), OK], {}, 1, 500),
    ("platform 500 in an update", [Reply(500, PROXY), OK], {"updates": UPDATING}, 1, 500),
    ("platform 500, repeatable", [Reply(500, PROXY), OK], {"repeatable": True}, 2, OK),
    ("runtime full", [Reply(503, {"X-Away-Protocol": "1"}), OK], {}, 2, OK),
    ("another 503", [Reply(503), OK], {"repeatable": True}, 1, 503),
]


@pytest.mark.parametrize(
    ("outcomes", "options", "count", "end"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_what_is_tried_again(outcomes, options, count, end):
    clock = Clock()
    deadline = Deadline(120.0, clock=clock)
    request = Request("POST", "/function/fib")
    conversation = exchange(Where(URL, "fib"), request, deadline, 5.0, **options)
    result, sent, pauses = pump(conversation, list(outcomes), clock)
    assert len(sent) == count
    assert len(pauses) == count - 1
    assert len({request.headers["X-Call-Id"] for request in sent}) == 1
    if isinstance(end, type):
        assert isinstance(result, end)
        assert result.__cause__ is outcomes[count - 1]
        assert result.call_id == sent[0].headers["X-Call-Id"]
        assert URL in str(result)
    elif isinstance(end, int):
        assert result.status == end
    else:
        assert result is end


def test_a_call_is_held_back_before_it_is_sent_and_before_it_is_sent_again():
    clock = Clock()
    # Asked before and within each wait: the first sending waits twice, the second once.
    told = Told(runs=True, held_for=[True, True, True, False, True, True, False])
    request = Request("POST", "/function/fib")
    conversation = exchange(
        Where(URL, "fib"), request, Deadline(120.0, clock=clock), 5.0, updates=told
    )
    result, sent, pauses = pump(conversation, [UNKNOWN, OK], clock)
    assert result is OK
    assert len(sent) == 2
    assert pauses == [0.02, 0.05, RETRIES["unknown"].first_pause, 0.02]
    assert not told.held_for


def test_a_call_is_held_back_no_longer_than_it_is_tried_again():
    clock = Clock()
    told = Told(held_for=[True] * 10_000)
    request = Request("POST", "/function/fib")
    deadline = Deadline(120.0, clock=clock)
    conversation = exchange(Where(URL, "fib"), request, deadline, 5.0, updates=told)
    result, sent, pauses = pump(conversation, [OK], clock)
    assert result is OK
    assert len(sent) == 1
    assert sum(pauses) == pytest.approx(RETRIES["unknown"].lasts)


@pytest.mark.parametrize("event", RETRIES)
def test_pauses_grow_and_end_within_their_time(event):
    rule = RETRIES[event]
    outcome = {
        "refused": REFUSED,
        "unknown": UNKNOWN,
        "busy": Reply(503, {"X-Away-Protocol": "1"}),
        "unreachable": Reply(500, PROXY),
        "no answer": NoAnswer(),
        "cut short": CutShort(),
    }[event]
    assert event_of(outcome) == event
    for limit in (120.0, 1.0, math.inf):
        clock = Clock()
        deadline = Deadline(None if limit == math.inf else limit, clock=clock)
        conversation = exchange(
            Where(URL, "fib"),
            Request("POST", "/function/fib"),
            deadline,
            5.0,
            repeatable=True,
            updates=UPDATING,
        )
        _, sent, pauses = pump(conversation, [outcome] * 10_000, clock)
        assert pauses == sorted(pauses)
        assert sum(pauses) <= min(rule.lasts + rule.longest_pause, limit)
        assert len(pauses) <= rule.most
        assert len(sent) == len(pauses) + 1


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (REFUSED, "nothing listens at"),
        (ConnectFailed("no route to host"), "no route to host"),
        (ConnectTimedOut(), "within 5 s (connect_timeout)"),
        (TlsFailed("certificate has expired"), "certificate has expired"),
        (NoAnswer(), "without an answer to the call of 'fib'"),
        (CutShort(), "in the middle of the answer"),
        (ReadTimedOut(), "within the 0.1 s of timeout"),
        (NotHttp("it begins with 'SSH'"), "it begins with 'SSH'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_end_of_a_connection_is_one_sentence(error, part):
    clock = Clock()
    conversation = exchange(
        Where(URL, "fib"), Request("POST", "/function/fib"), Deadline(0.1, clock=clock), 5.0
    )
    result, _, _ = pump(conversation, [error] * 100, clock)
    assert isinstance(result, AwayError)
    if not isinstance(error, ConnectTimedOut):
        assert part in str(result)
    else:
        assert "within 0.1 s (timeout)" in str(result)
    assert str(result)[0].islower() or str(result).startswith(URL)
    assert str(pickle.loads(pickle.dumps(result))) == str(result)


def test_a_call_that_is_cut_after_a_long_wait_says_where_the_limit_is_raised():
    clock = Clock()
    deadline = Deadline(120.0, clock=clock)
    clock.now += 60
    conversation = exchange(Where(URL, "fib"), Request("POST", "/function/fib"), deadline, 5.0)
    result, _, _ = pump(conversation, [NoAnswer()], clock)
    assert "was lost after 60 s; where calls take longer, raise the gateway's write_timeout" in str(
        result
    )


def test_a_deadline_is_passed_on_as_what_is_left():
    clock = Clock()
    deadline = Deadline(10.0, clock=clock)
    clock.now += 4
    assert deadline.remaining() == 6.0
    assert deadline.within(3.0).remaining() == 3.0
    assert deadline.within(100.0).remaining() == 6.0
    clock.now += 7
    assert deadline.remaining() == 0.0
    assert Deadline(None).remaining() == math.inf


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_deadline_is_in_the_future(seconds):
    with pytest.raises(ValueError, match="positive number of seconds"):
        Deadline(seconds)


def test_a_call_id_has_the_form_of_the_gateways():
    import uuid

    made = {new_call_id() for _ in range(1000)}
    assert len(made) == 1000
    for text in made:
        assert uuid.UUID(text).version == 4
        assert str(uuid.UUID(text)) == text


def test_headers_of_the_caller_win_in_any_case():
    request, call_id = prepare(Request("GET", "/", {"x-call-id": "7", "USER-AGENT": "me"}))
    assert call_id == "7"
    assert request.headers == {
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "x-call-id": "7",
        "USER-AGENT": "me",
    }


@given(st.lists(st.tuples(st.sampled_from(["A", "a", "X-Call-Id", "b"]), st.text(max_size=5))))
def test_headers_are_found_in_any_case_and_joined(pairs):
    headers = Headers(pairs)
    for name, _ in pairs:
        expected = ", ".join(value for other, value in pairs if other.lower() == name.lower())
        assert headers[name] == headers[name.upper()] == headers.get(name.lower()) == expected
    assert headers.get("none") is None
    assert list(headers.pairs) == pairs
    assert len(headers) == len({name.lower() for name, _ in pairs})


# ---------------------------------------------------------------- where the login goes

OWNED = [
    ("/system/functions", True),
    ("/system/function/x?namespace=y", True),
    ("/v2/", True),
    ("/v2/away/x/blobs/uploads/", True),
    ("http://gw.example:8080/faas/v2/x", True),
    ("http://GW.example:8080/faas/v2/x", True),
    ("/function/fib", False),
    ("/function/system/", False),
    ("/system/../function/fib", False),
    ("/system/..", False),
    ("/system//x", False),
    ("/systematic", False),
    ("/healthz", False),
    ("http://gw.example:8080/v2/x", False),
    ("http://gw.example/faas/v2/x", False),
    ("https://gw.example:8080/faas/v2/x", False),
    ("http://gw.example:8080.evil/faas/v2/x", False),
    ("http://evil@gw.example:8080/faas/v2/x", False),
    ("http://gw.example:8080@evil/faas/v2/x", False),
    ("http://gw.example:8080/faas/../v2/x", False),
    ("http://evil/faas/v2/x", False),
    ("//evil/v2/", False),
]


@pytest.mark.parametrize(("path", "owned"), OWNED)
def test_the_login_goes_to_the_gateways_own_api_only(path, owned):
    access = Access(URL + "/faas", login=Login("eve", Secret("pw")))
    assert access.owns(path) is owned
    sent = access.headers_for(Request("GET", path, {"A": "b"}, auth=True))
    assert ("Authorization" in sent) is owned
    assert "Authorization" not in access.headers_for(Request("GET", path, {"A": "b"}))
    assert "pw" not in repr(access)


def test_a_refused_login_is_looked_for_once_more():
    found = [
        Login("admin", Secret("old")),
        Login("admin", Secret("old")),
        Login("a", Secret("new")),
    ]
    access = Access(URL, find=lambda: found.pop(0))
    first = access.authorization()
    assert first is not None
    assert access.look_again() is False
    assert access.authorization() == first
    assert access.look_again() is True
    assert access.authorization() != first
    assert Access(URL, login=Login("a", Secret("b")), find=lambda: None).look_again() is False


def test_a_token_with_a_line_break_is_refused_without_showing_it():
    access = Access(URL, login=Login("a", None, Secret("tok\r\nX: y")))
    with pytest.raises(AwayError) as caught:
        access.headers_for(Request("GET", "/system/info", auth=True))
    assert "tok" not in str(caught.value).replace("token", "")


# ---------------------------------------------------------------- proxies

PROXIES = {"http": "http://proxy:3128", "https": "proxy:3129"}


@pytest.mark.parametrize(
    ("scheme", "host", "port", "no", "proxy"),
    [
        ("http", "gw.example", 80, "", "http://proxy:3128"),
        ("https", "gw.example", 443, "", "http://proxy:3129"),
        ("http", "localhost", 80, "", None),
        ("http", "127.0.0.9", 80, "", None),
        ("http", "::1", 80, "", None),
        ("http", "gw.example", 80, "*", None),
        ("http", "gw.example", 80, "example", None),
        ("http", "gw.example", 80, ".EXAMPLE", None),
        ("http", "gw.example", 80, "*.example", None),
        ("http", "GW.example", 80, "a, gw.example", None),
        ("http", "notexample", 80, "example", "http://proxy:3128"),
        ("http", "gw.example", 80, "gw.example:80", None),
        ("http", "gw.example", 80, "gw.example:81", "http://proxy:3128"),
        ("http", "10.1.2.3", 80, "10.0.0.0/8", None),
        ("http", "11.1.2.3", 80, "10.0.0.0/8", "http://proxy:3128"),
        ("http", "10.1.2.3", 80, "nonsense/99", "http://proxy:3128"),
        ("http", "10.1.2.3", 80, "10.1.2.3", None),
        ("http", "2001:db8::1", 80, "2001:db8::1", None),
        ("http", "2001:db8::1", 80, "[2001:db8::1]", None),
        ("http", "2001:db8::1", 80, "2001:db8::/32", None),
    ],
)
def test_which_hosts_are_behind_a_proxy(scheme, host, port, no, proxy):
    assert proxy_for(scheme, host, port, {**PROXIES, "no": no}) == proxy


def test_proxy_variables_are_read_in_lower_case_first():
    assert read_proxies({"http_proxy": "a", "HTTP_PROXY": "b", "NO_PROXY": " "}) == {"http": "a"}
    assert read_proxies({"HTTP_PROXY": "b", "HTTPS_PROXY": "c"}) == {"http": "b", "https": "c"}
    assert read_proxies({"HTTP_PROXY": "b", "REQUEST_METHOD": "GET"}) == {}
    assert proxy_for("https", "x", 1, {"all": "http://p"}) == "http://p"


@given(st.text(max_size=30), st.text(max_size=20))
def test_no_exception_list_breaks_the_choice(no, host):
    assert proxy_for("http", host, 80, {**PROXIES, "no": no}) in (None, "http://proxy:3128")


# ---------------------------------------------------------------- the catalogue


def drain(conversation: Conversation[Any], clock: Clock) -> Any:
    result, _, _ = pump(conversation, [], clock)
    return result


def fetcher(*lists: list[FunctionInfo]) -> Any:
    coming = iter(lists)

    def fetch() -> Conversation[list[FunctionInfo]]:
        return next(coming)
        yield

    return fetch


def test_a_list_is_kept_for_ten_seconds():
    clock = Clock()
    catalogue = Catalogue(clock=clock)
    fetch = fetcher([FunctionInfo("a")], [FunctionInfo("b")], [FunctionInfo("c")])

    def names(**options: bool) -> list[str]:
        listing = catalogue.listing(fetch, "", Deadline(5.0, clock=clock), **options)
        return [info.name for info in drain(listing, clock)]

    assert names() == names() == ["a"]
    assert catalogue.cached("other") is None
    clock.now += KEPT_SECONDS
    assert names() == ["b"]
    assert names(fresh=True) == ["c"]
    catalogue.drop()
    assert catalogue.cached() is None


def test_a_list_that_was_on_its_way_at_a_drop_is_not_kept():
    clock = Clock()
    catalogue = Catalogue(clock=clock)

    def fetch() -> Conversation[list[FunctionInfo]]:
        catalogue.drop()
        return [FunctionInfo("old")]
        yield

    drain(catalogue.listing(fetch, "", Deadline(5.0, clock=clock)), clock)
    assert catalogue.cached() is None


def test_a_claim_whose_owner_is_gone_ends():
    clock = Clock()
    catalogue = Catalogue(clock=clock)

    def fetch() -> Conversation[list[FunctionInfo]]:
        yield Wait(0)
        return []

    abandoned = catalogue.listing(fetch, "", Deadline(3.0, clock=clock))
    next(abandoned)
    began = clock.now
    waiting = catalogue.listing(fetcher([FunctionInfo("a")]), "", Deadline(60.0, clock=clock))
    assert [info.name for info in drain(waiting, clock)] == ["a"]
    assert 3.0 <= clock.now - began < 3.2
    abandoned.close()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("sum-all", "sum-all"),
        ("sum_all", "sum-all"),
        ("import_", "import"),
        ("import", "import"),
        ("a_b", "a_b"),
        ("mixed_name_x", "mixed-name_x"),
        ("none", None),
    ],
)
def test_a_function_is_found_by_its_python_name(name, found):
    infos = [FunctionInfo(each) for each in ("sum-all", "import", "a_b", "a-b", "mixed-name_x")]
    info = find(infos, name)
    assert (info and info.name) == found


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
FIELDS = ["name", "image", "labels", "annotations", "secrets", "replicas", "envVars", "createdAt"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_no_item_of_a_list_breaks_its_reader(data):
    info = FunctionInfo.from_json(data)
    if info is not None:
        assert isinstance(info.name, str)
        assert all(isinstance(text, str) for text in [*info.labels.values(), *info.secrets])
        assert isinstance(info.replicas, int)
        repr(info)


# ---------------------------------------------------------------- verdicts and logs


@given(st.binary(max_size=2000), st.sampled_from([301, 400, 401, 404, 500, 502, 503, 504]))
def test_no_answer_breaks_a_verdict_or_reaches_a_terminal(body, status):
    asked = verdicts.Asked(URL, "admin")
    reply = Reply(status, {"Location": "http://a/\x1b[31m"}, body, call_id="7")
    made = [
        verdicts.system_refusal(asked, Request("GET", "/system/info"), reply),
        verdicts.function_refusal(asked, "fib", reply) or verdicts.failed(asked, "fib", reply),
        verdicts.not_json(asked, Request("GET", "/system/info"), reply, "JSON"),
    ]
    for error in made:
        assert str(error).isprintable()
        assert len(str(error)) < 1000
        assert len(getattr(error, "body", "")) <= verdicts.MAX_SHOWN
        assert (error.gateway, error.status, error.call_id) == (URL, status, "7")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (UNKNOWN, True),
        (Reply(404, body=b"error finding function x: dial tcp 1.2.3.4: refused"), False),
        (Reply(404, body=b"my own: no such record"), False),
        (Reply(404), False),
        (Reply(500, body=UNKNOWN.body), False),
    ],
)
def test_a_404_has_several_meanings(reply, expected):
    assert verdicts.is_unknown_function(reply) is expected


def test_a_404_of_the_functions_own_is_no_platform_error():
    asked = verdicts.Asked(URL, None)
    own = Reply(404, {"X-Start-Time": "1"}, b"404 page not found\n")
    assert verdicts.function_refusal(asked, "fib", own) is None
    assert verdicts.function_refusal(asked, "fib", Reply(404, body=b"no record")) is None
    assert verdicts.function_refusal(asked, "fib", Reply(401, {"X-Start-Time": "1"})) is None


@given(st.binary(max_size=300), st.integers(1, 40))
def test_log_lines_do_not_depend_on_how_they_are_cut(noise, size):
    data = b'{"text":"a","timestamp":"t"}\n' + noise + b'\n{"text":"z","timestamp":"u"}'
    whole = LogReader().feed(data, last=True)
    reader = LogReader()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    lines = [line for piece in pieces for line in reader.feed(piece)] + reader.feed(b"", last=True)
    assert lines == whole
    assert (whole[0].text, whole[-1].text) == ("a", "z")


def test_header_fields_that_are_logins_are_not_shown():
    names = ("Set-Cookie", "authorization", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token")
    shown = repr(Headers([(each, "hunter2") for each in names] + [("X-Call-Id", "7")]))
    assert "hunter2" not in shown
    assert "('X-Call-Id', '7')" in shown

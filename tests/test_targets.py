"""What a gateway is, what it takes and does not honour, and what it would refuse: before anything is pushed."""

from __future__ import annotations

import asyncio
import importlib
import json
import pickle
import re
import sys
import textwrap
import warnings
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from away import FaasConnection, builder
from away.capture import capture
from away.exceptions import (
    AuthenticationRefused,
    CaptureRefused,
    ConfigError,
    GatewayError,
    IgnoredOptionWarning,
    NameRefused,
    PublishFailed,
    SecretNotFound,
)
from away.publish import (
    Options,
    Publication,
    publish,
    publish_all,
    publish_conversation,
    references,
)
from away.publish.deployment import Plan
from away.publish.name_rules import check_names, check_scaling
from away.publish.quantities import check_resources, read_quantity
from away.publish.refusals import in_words
from away.publish.target import Target, ask_target, dropped
from away.publish.timeouts import duration, timeout_environment
from tests import servers
from tests.faasd_double import PASSWORD, base_layer, faasd
from tests.token_registry import open_registry, token_registry

FAASD = Target("faasd", "containerd", "", "0.19.0")
FAASD_CE = Target("faasd-ce", "containerd", "", "0.19.7", "openfaas-ce/0.27", "openfaas-ce")
NETES_CE = Target("faas-netes-ce", "kubernetes", "amd64", "0.18", "openfaas-ce/0.27")
NETES = Target("faas-netes", "kubernetes", "amd64", "0.5", "openfaas-pro/0.4")
PROCESS = Target("away", "process", "", "")
DOCKER = Target("away", "docker", "", "")
PLAN = Plan("f", "", "m:f", "d", "away/f", "t", {"image": "r:5000/away/f:t@x"}, {})


# ---------------------------------------------------------------- who it is

FAMILIES = {
    "faasd": (FAASD, "faasd", False),
    "faasd CE": (FAASD_CE, "faasd", True),
    "Kubernetes CE": (NETES_CE, "kubernetes", True),
    "Kubernetes": (NETES, "kubernetes", False),
    "an older faas-netes behind a gateway of CE": (
        Target("faas-netes", "kubernetes", "", "", "openfaas-ce/0.26"),
        "kubernetes",
        True,
    ),
    "faasd 0.19.0, free behind a gateway of CE": (
        Target("faasd", "containerd", "", "", "openfaas-ce/0.27"),
        "faasd",
        False,
    ),
    "processes": (PROCESS, "process", False),
    "containers": (DOCKER, "docker", False),
    "nobody knows": (Target("", "", "", ""), "unknown", False),
}


@pytest.mark.parametrize("case", FAMILIES)
def test_a_provider_is_known_by_its_name_orchestration_and_edition(case):
    target, family, community = FAMILIES[case]
    assert (target.family, target.is_community) == (family, community)


def asked(body, headers=()):
    conversation = ask_target(conversation_of)
    next(conversation)
    try:
        conversation.send(servers_reply(body, headers))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("one question is enough")


def conversation_of(request):
    return (yield request)


def servers_reply(body, headers):
    from away.connection.conversations import Reply

    return Reply(200, tuple(headers), body)


def test_the_gateways_word_and_headers_are_read():
    body = json.dumps({"provider": {"provider": "faasd-ce", "orchestration": "containerd"}})
    headers = [("X-Served-By", "openfaas-ce/0.27.14"), ("X-OpenFaaS-EULA", "openfaas-ce")]
    target = asked(body.encode(), headers)
    assert target.is_community
    assert (target.served_by, target.licence) == ("openfaas-ce/0.27.14", "openfaas-ce")


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.text(max_size=4) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["provider", "orchestration", "arch", "version"]), inner
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
@example(b'{"provider": null}')
def test_whatever_a_gateway_says_of_itself_is_a_target(body):
    assert isinstance(asked(body), Target)


@pytest.mark.parametrize(
    ("said", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("amd64", "amd64"), ("", "")]
)
def test_a_processor_is_called_by_gos_name(said, name):
    assert Target("faasd", "containerd", said, "").processor == name


# ---------------------------------------------------------------- what is not honoured

EVERYTHING = Options(
    limits={"cpu": "1", "memory": "64Mi"},
    requests={"cpu": "1", "memory": "64Mi"},
    constraints=("a=b",),
    read_only_root=True,
)
DROPPED = {
    "faasd": (FAASD, ["limits['cpu']", "requests=", "constraints=", "read_only_root="]),
    "processes": (PROCESS, ["limits=", "requests=", "constraints=", "read_only_root="]),
    "containers": (DOCKER, ["requests['cpu']", "constraints="]),
    "Kubernetes CE": (NETES_CE, ["constraints="]),
    "Kubernetes": (NETES, []),
    "nobody knows": (Target("", "", "", ""), []),
}


@pytest.mark.parametrize("case", DROPPED)
def test_what_a_provider_takes_and_does_not_honour_is_told(case):
    target, wanted = DROPPED[case]
    notes = dropped(target, EVERYTHING)
    assert [note.partition(" takes ")[2].partition(" and ")[0] for note in notes] == wanted
    assert not dropped(target, Options(limits={"memory": "64Mi"})) or case == "processes"


# ---------------------------------------------------------------- quantities

NUMBERS = st.integers(0, 10**6)
SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "e3": 10**3}


@given(NUMBERS, st.sampled_from(sorted(SUFFIXES)))
def test_a_quantity_is_its_number_times_its_suffix(number, suffix):
    assert read_quantity(f"{number}{suffix}") == number * SUFFIXES[suffix]


@given(NUMBERS)
def test_thousandths_are_thousandths(number):
    assert read_quantity(f"{number}m") == Decimal(number) / 1000
    assert read_quantity(f"{number}u") == Decimal(number) / 10**6


@given(st.text(max_size=70))
@example("1" * 65)
@example("1e999")
@example("128MB")
@example("1.2.3")
@example("٣")
@example("1\n")
@example("")
def test_any_text_is_a_quantity_or_none(text):
    value = read_quantity(text)
    assert value is None or (value.is_finite() and text.strip() == text and text.isascii())


RESOURCES = {
    "no amount": ({"memory": "128MB"}, {}, r"limits\['memory'\] is '128MB', which is no amount"),
    "thousandths": ({"memory": "128m"}, {}, r"a small m is a thousandth: did you mean '128Mi'\?"),
    "too little": ({"memory": "1Mi"}, {}, "no container starts with less than 6291456; Python"),
    "no cpu": ({"cpu": "0"}, {}, r"limits\['cpu'\] is 0, and the least is 0\.001"),
    "unknown": ({"memry": "1Gi"}, {}, r"did you mean 'memory'\?"),
    "more than the limit": ({"cpu": "1"}, {"cpu": "2"}, "nothing can be reserved beyond"),
    "negative": ({}, {"memory": "-1Gi"}, r"requests\['memory'\] is -1Gi"),
}


@pytest.mark.parametrize("case", RESOURCES)
def test_limits_that_nobody_could_honour_are_refused(case):
    limits, requests, message = RESOURCES[case]
    with pytest.raises(PublishFailed, match=message):
        check_resources(limits, requests)


def test_limits_that_can_be_are_taken():
    check_resources({"memory": "128Mi", "cpu": "500m"}, {"memory": "64Mi", "cpu": "0.25"})


# ---------------------------------------------------------------- names and labels

SCALING = {
    "no number": (
        {"com.openfaas.scale.min": "one"},
        r"min'\] is 'one' and has to be a whole number",
    ),
    "upside down": (
        {"com.openfaas.scale.min": "5", "com.openfaas.scale.max": "2"},
        "5 replicas at least and 2 at most",
    ),
    "no flag": ({"com.openfaas.scale.zero": "yes"}, "can be 'true' or 'false'"),
    "no duration": ({"com.openfaas.scale.zero-duration": "15"}, "a duration such as '15m'"),
    "no proportion": ({"com.openfaas.scale.target-proportion": "most"}, "such as '0.9'"),
}


@pytest.mark.parametrize("case", SCALING)
def test_scaling_labels_that_are_no_numbers_are_refused(case):
    labels, message = SCALING[case]
    with pytest.raises(PublishFailed, match=message):
        check_scaling(labels)


NAMES = {
    "a leading digit": ("3d", (), {}, NameRefused, "begins with a letter"),
    "a label's value": ("f", (), {"labels": {"a": "two words"}}, PublishFailed, "label's value"),
    "a long label": ("f", (), {"labels": {"a": "x" * 64}}, PublishFailed, "label's value"),
    "a label's key": ("f", (), {"labels": {"a b": "c"}}, PublishFailed, r"\[DOMAIN/\]NAME"),
    "an annotation's key": ("f", (), {"annotations": {"A B/c": "c"}}, PublishFailed, "DOMAIN"),
    "an annotation's size": (
        "f",
        (),
        {"annotations": {"a": "x" * 300_000}},
        PublishFailed,
        "Kubernetes takes 262144",
    ),
    "a secret": ("f", ("Key_1",), {}, PublishFailed, "lower case letters, digits, '-' and '.'"),
    "a variable": ("f", (), {"env": {"1A": "x"}}, PublishFailed, "begins with no digit"),
    "what is paid for": (
        "f",
        (),
        {"labels": {"com.openfaas.scale.zero": "true"}},
        PublishFailed,
        "refused by OpenFaaS's Community Edition",
    ),
    "too many": (
        "f",
        (),
        {"labels": {"com.openfaas.scale.max": "9"}},
        PublishFailed,
        "runs 5 replicas at most",
    ),
    "others' annotations": (
        "f",
        (),
        {"annotations": {"eks.amazonaws.com/role": "x"}},
        PublishFailed,
        "refused by",
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_that_kubernetes_refuses_are_refused_here(case):
    name, secrets, options, kind, message = NAMES[case]
    with pytest.raises(kind, match=message):
        check_names(name, secrets, Options(**options), NETES_CE)
    # faasd takes them all.
    check_names(name, secrets, Options(**options), FAASD)


@pytest.mark.parametrize("secret", ["a/b", "..", "", "a..b", "a b"])
def test_a_secret_that_no_provider_could_store_is_refused_everywhere(secret):
    with pytest.raises(PublishFailed, match="cannot be a secret's name"):
        check_names("f", (secret,), Options(), FAASD)


@given(st.text(alphabet="abzAZ09-_./ é", max_size=70))
def test_no_label_that_is_let_through_breaks_kubernetes_rules(value):
    try:
        check_names("f", (), Options(labels={"key": value}), NETES)
    except PublishFailed:
        return
    assert len(value) <= 63
    assert value == "" or (value[0] + value[-1]).isalnum()
    assert all(each.isascii() and (each.isalnum() or each in "-_.") for each in value)


# ---------------------------------------------------------------- one call's time


def test_a_timeout_sets_all_that_has_to_agree():
    assert timeout_environment(300, NETES) == {
        "read_timeout": "300s",
        "write_timeout": "300s",
        "exec_timeout": "300s",
        "AWAY_GRACE": "300",
        "grace_period": "305s",
    }
    assert timeout_environment(None, NETES) == {}


def test_on_faasd_nobody_is_waited_for_who_hears_nothing_any_more():
    found = timeout_environment(300, FAASD)
    assert (found["AWAY_GRACE"], found["grace_period"]) == ("20", "25s")
    assert found["exec_timeout"] == "300s"


@given(st.floats(0.001, 604_800))
def test_a_duration_is_one_that_go_reads(seconds):
    text = duration(seconds)
    number = int(text.removesuffix("ms")) / 1000 if text.endswith("ms") else int(text[:-1])
    assert abs(number - seconds) <= 0.0005


# ---------------------------------------------------------------- against gateways of each kind


@pytest.fixture(scope="module")
def registry():
    with open_registry() as running:
        running.store.add_image("python", "3", [base_layer()])
        running.store.add_image("python", "arm", [base_layer()], architecture="arm64")
        yield running


@pytest.fixture
def function(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (folder / "aimed.py").write_text("def aimed():\n    return 1\n")
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "aimed", raising=False)
    return importlib.import_module("aimed").aimed


def connected(double, images, **settings) -> FaasConnection:
    given = {"registry": images.host, "base_image": "python:3", "timeout": 20, **settings}
    return FaasConnection(double.url, password=PASSWORD, verbose=False, **given)


KUBERNETES_CE = {"provider": "faas-netes-ce", "orchestration": "kubernetes"}
FAASD_CE_INFO = {"provider": "faasd-ce", "orchestration": "containerd"}
INSIDE = "registry.cluster.local:5000"
# It leads to this machine, and is no name of its loopback.
ANOTHER_NAME = "0.0.0.0"


def refused(tmp_path, registry, function, message, *, info, settings=(), options=(), setup=None):
    """Publish, expect a refusal, and that nothing was pushed or deployed."""
    before = len(registry.asked("PUT")) + len(registry.asked("POST"))
    with faasd(tmp_path / "double", info=info) as double:
        if setup:
            setup(double)
        connection = connected(double, registry, **dict(settings))
        with pytest.raises((PublishFailed, NameRefused), match=message) as caught:
            publish(function, connection, check=False, **dict(options))
        assert not double.changes
    assert len(registry.asked("PUT")) + len(registry.asked("POST")) == before
    assert "\n" not in str(caught.value)
    return caught.value


def fill(double):
    for number in range(15):
        request = {"service": f"f{number}", "image": "x", "annotations": {}}
        double.records[f"f{number}"] = type(
            "Record",
            (),
            {"process": None, "request": request, "created": "", "lines": [], "port": 0},
        )()


def test_a_sixteenth_function_is_refused_by_the_community_edition(tmp_path, registry, function):
    refused(
        tmp_path,
        registry,
        function,
        "runs 15 functions and has 15, so aimed would be one too many; remove one with away remove",
        info=FAASD_CE_INFO,
        setup=fill,
    )


def test_a_second_namespace_is_refused_by_the_community_edition(tmp_path, registry, function):
    refused(
        tmp_path,
        registry,
        function,
        "has one namespace, 'openfaas-fn'; leave namespace='other' out",
        info=FAASD_CE_INFO,
        options={"namespace": "other"},
    )


CE_GATEWAY = {"X-Served-By": "openfaas-ce/0.27.4"}
NAMESPACES = {
    "a provider that may have more": ({}, {}, "faasd has no namespace 'r5ns' for functions", True),
    "one that is free behind a gateway of CE": (
        {},
        CE_GATEWAY,
        "faasd has no namespace 'r5ns' for functions",
        False,
    ),
    "the Community Edition": (
        FAASD_CE_INFO,
        CE_GATEWAY,
        "faasd Community Edition has one namespace, 'openfaas-fn'; leave namespace='r5ns' out",
        False,
    ),
    "an embedded gateway": (
        {"provider": "away", "orchestration": "docker"},
        {},
        "the embedded gateway with Docker has no namespace 'r5ns' for functions",
        False,
    ),
}


@pytest.mark.parametrize("case", NAMESPACES)
def test_a_namespace_that_the_gateway_lacks_is_named(tmp_path, registry, function, case):
    info, headers, message, may_create = NAMESPACES[case]
    error = refused(
        tmp_path,
        registry,
        function,
        message,
        info=info or {"provider": "faasd", "orchestration": "containerd"},
        options={"namespace": "r5ns"},
        setup=lambda double: double.headers.update(headers),
    )
    assert ("create it first" in str(error)) == may_create
    assert str(error).endswith("; nothing was changed")


def test_the_community_edition_that_does_not_list_namespaces_is_not_told_to_make_one(
    tmp_path, registry, function
):
    def keeps_its_list(double):
        refusal = double.say(500, "no")
        double.hook = lambda seen: refusal if "/namespaces" in seen.path else None

    error = refused(
        tmp_path,
        registry,
        function,
        "faasd Community Edition has no namespace 'other' for functions; leave namespace= out;",
        info=FAASD_CE_INFO,
        options={"namespace": "other"},
        setup=keeps_its_list,
    )
    assert "create" not in str(error)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "the OpenFaaS CE EULA allows 1/2 namespace(s), upgrade to faasd Pro to continue",
            "has one namespace, and deploys nothing while there are more; remove the others;",
        ),
        (
            "namespace not valid",
            "the gateway takes no function in the namespace 'r5ns'; leave namespace= out;",
        ),
    ],
)
def test_a_namespace_that_is_refused_late_is_named_too(tmp_path, registry, function, said, told):
    with faasd(tmp_path / "double", info=FAASD_CE_INFO, namespaces=["r5ns"]) as double:
        refusal = double.say(400, said)
        double.hook = lambda seen: (
            refusal if seen.method in ("PUT", "POST") and "/functions" in seen.path else None
        )
        with pytest.raises(PublishFailed) as caught:
            publish(function, connected(double, registry), check=False, namespace="r5ns")
    assert told in str(caught.value)
    assert "create" not in str(caught.value)


def test_a_publish_knows_the_edition_that_another_one_learned_meanwhile(
    tmp_path, registry, function
):
    with faasd(tmp_path / "double", info=FAASD_CE_INFO) as double:
        connection = connected(double, registry)
        options = Options(check=False, namespace="other")
        captured = capture(function)
        both = [publish_conversation(captured, connection, options) for _ in range(2)]
        for conversation in both:
            with pytest.raises(PublishFailed, match="has one namespace, 'openfaas-fn'"):
                connection.run(conversation)


# ---------------------------------------------------------------- logins that are refused


@pytest.mark.parametrize("way", ["push", "token", "base"])
def test_a_login_that_a_registry_refuses_says_what_was_changed(tmp_path, registry, function, way):
    login = {"token": ("ada", "wrong-password-of-ada")}.get(way)
    with token_registry() as locked, faasd(tmp_path / "double") as double:
        publish(function, connected(double, registry), check=False)
        changes = len(double.changes)
        settings = {"base_image": f"{registry.host}/python:3", "registry": locked.host}
        if way == "base":
            settings = {"base_image": f"{locked.host}/python:3"}
        options = {"check": False, "registry_auth": login, "env": {"A": "1"}}
        for name, end in (("aimed", "what ran before still runs"), ("new", "nothing was deployed")):
            with pytest.raises(AuthenticationRefused, match=f"; {end}$") as caught:
                publish(function, connected(double, registry, **settings), name=name, **options)
            assert caught.value.status == 401
            assert "docker login" in caught.value.hint
            assert str(caught.value).count(end) == 1
            assert type(pickle.loads(pickle.dumps(caught.value))) is AuthenticationRefused
            assert "wrong-password" not in str(caught.value)
        assert len(double.changes) == changes


def test_a_registry_of_this_machine_is_refused_where_a_cluster_pulls(tmp_path, registry, function):
    refused(
        tmp_path,
        registry,
        function,
        r"the registry 127\.0\.0\.1:\d+ is this machine's own.*inside_registry=",
        info=KUBERNETES_CE,
    )


def test_a_registry_that_wants_a_password_is_refused_by_kubernetes_community_edition(
    tmp_path, function
):
    said = {"WWW-Authenticate": 'Basic realm="x"'}
    with (
        servers.Server(servers.answer(401, b"", said)) as locked,
        faasd(tmp_path / "double", info=KUBERNETES_CE) as double,
    ):
        elsewhere = f"{ANOTHER_NAME}:{locked.port}"
        connection = FaasConnection(
            double.url,
            password=PASSWORD,
            registry=elsewhere,
            insecure_registries=[elsewhere],
            base_image="python:3",
            verbose=False,
        )
        with pytest.raises(PublishFailed, match=r"runs public images alone.*asks everybody"):
            publish(function, connection, check=False)
        assert not double.changes
        assert [seen.path for seen in locked.requests] == ["/v2/"]
        assert [seen.headers.get("authorization") for seen in locked.requests] == [None]


GATEWAYS = {
    "faasd elsewhere": (False, {"provider": "faasd", "orchestration": "containerd"}, True),
    "anything elsewhere": (False, {}, True),
    "faasd here": (True, {"provider": "faasd", "orchestration": "containerd"}, False),
    "a cluster here": (True, {"provider": "faas-netes", "orchestration": "kubernetes"}, True),
    "containers here": (True, {"provider": "away", "orchestration": "docker"}, False),
}


@pytest.mark.parametrize("case", GATEWAYS)
def test_a_loopback_registry_is_refused_where_it_is_another_machines(
    tmp_path, registry, function, case
):
    is_here, info, is_refused = GATEWAYS[case]
    host = f"localhost:{registry.server.port}"
    with faasd(tmp_path / "double", info=info) as double:
        given = {"registry": host, "base_image": "python:3", "verbose": False, "timeout": 30}
        url = double.url if is_here else f"http://{ANOTHER_NAME}:{double.server.port}"
        connection = FaasConnection(url, password=PASSWORD, **given)
        if is_refused:
            message = r"localhost:\d+ is this machine's own.*cannot pull"
            with pytest.raises(PublishFailed, match=message):
                publish(function, connection, check=False)
            assert not double.changes
            # Who says by which name it is known there knows, as with kind.
            connection = FaasConnection(url, password=PASSWORD, inside_registry=host, **given)
        assert publish(function, connection, check=False).action == "created"


def test_another_processor_than_the_gateways_is_refused(tmp_path, registry, function):
    refused(
        tmp_path,
        registry,
        function,
        "is for arm64 and the gateway runs on amd64; pass a base_image= for that processor, or"
        " platform='linux/arm64'",
        info={"provider": "faasd", "orchestration": "containerd"},
        settings={"base_image": "python:arm"},
        setup=lambda double: setattr(double, "arch", "x86_64"),
    )


def test_the_image_that_stands_for_this_machines_python_is_refused_by_containers(
    tmp_path, registry, function
):
    refused(
        tmp_path,
        registry,
        function,
        "the base image away/python:3.11 stands for the Python of an embedded gateway.*real image",
        info={"provider": "away", "orchestration": "docker"},
        settings={"base_image": "away/python:3.11"},
    )


def test_an_image_of_containers_in_another_registry_is_refused_where_processes_run(
    tmp_path, registry, function
):
    with open_registry() as other:
        other.store.add_image("python", "3", [base_layer()])
        refused(
            tmp_path,
            registry,
            function,
            "is one of containers, and the embedded gateway runs processes",
            info={"provider": "away", "orchestration": "process"},
            settings={"base_image": f"{other.host}/python:3"},
        )


def test_an_image_of_containers_is_refused_where_processes_run(tmp_path, registry, function):
    refused(
        tmp_path,
        registry,
        function,
        "is one of containers, and the embedded gateway runs processes.*--provider docker",
        info={"provider": "away", "orchestration": "process"},
        settings={"base_image": "docker.io/library/python:3.11-slim"},
    )


@pytest.mark.parametrize("named", ["", "docker.io/library/python:3.11-slim"])
def test_a_base_image_whose_registry_is_out_of_reach_is_named(
    tmp_path, registry, function, monkeypatch, named
):
    with servers.refusing() as port:
        monkeypatch.setattr(references, "HUB_URL", f"http://127.0.0.1:{port}")
        error = refused(
            tmp_path,
            registry,
            function,
            rf"the base image docker\.io/library/python:3\S+ .*is at http://127\.0\.0\.1:{port}, which"
            r" cannot be reached .*pass base_image='HOST/NAME:TAG'",
            info={"provider": "away", "orchestration": "docker"},
            settings={"base_image": named or None},
        )
    assert ("the default one" in str(error)) is (not named)


def test_what_is_not_honoured_warns_at_the_users_line_and_is_noted(tmp_path, registry, function):
    with faasd(tmp_path / "double") as double:
        connection = connected(double, registry)
        with pytest.warns(IgnoredOptionWarning, match=r"faasd takes limits\['cpu'\]") as caught:
            published = publish(
                function, connection, check=False, limits={"cpu": "1", "memory": "64Mi"}
            )
        assert [Path(each.filename).name for each in caught] == ["test_targets.py"]
        assert any("takes limits['cpu']" in note for note in published.notes)
        assert published.warned == published.notes
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = publish(function, connection, limits={"cpu": "1", "memory": "64Mi"})
        assert again.action == "unchanged"


def test_what_is_not_honoured_is_told_once(tmp_path, registry, function, capsys):
    """By a warning where a line can be pointed at, by a note of the publish where none can."""
    options = {"limits": {"cpu": "1"}, "check": False}
    with faasd(tmp_path / "double") as double:
        connection = connected(double, registry)
        with pytest.warns(IgnoredOptionWarning):
            publish(function, connection, verbose=True, name="told-by-warning", **options)
        assert "note:" not in capsys.readouterr().err
        publication = Publication(function, connection, {**options, "name": "told-by-note"})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            publish_all([publication])
        assert capsys.readouterr().err.count("takes limits['cpu']") == 1
        silent = publication._replace(options={**options, "name": "told-by-result"})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (outcome,) = publish_all([silent], verbose=False)
        assert "takes limits['cpu']" in str(outcome.published.notes)
        assert capsys.readouterr().err == ""


def test_the_command_tells_of_it_as_a_note_of_the_function(tmp_path, registry, function, capsys):
    from away.outcomes import tell

    options = {"limits": {"cpu": "1"}, "check": False}
    said = {}
    with faasd(tmp_path / "double") as double:
        connection = connected(double, registry)
        for name, as_json in (("json", True), ("quiet", False)):
            wanted = Publication(function, connection, {**options, "name": name})
            outcomes = publish_all([wanted], verbose=False)
            tell(outcomes, shown=False, as_json=as_json, words=str, code=lambda _: 1)
            said[name] = capsys.readouterr()
    assert "takes limits['cpu']" in json.loads(said["json"].out)[0]["notes"][0]
    assert said["quiet"].out == "created quiet\n"
    assert "quiet: note: faasd takes limits['cpu']" in said["quiet"].err


async def in_a_loop(function, connection, options):
    async with connection:
        await builder.publish_async(function, connection, **options)


WAYS = {
    "decorator": lambda function, faas, options: builder.publish(faas, **options)(function),
    "mirror": lambda function, faas, options: builder.mirror_in_faas(function, faas, **options),
    "event loop": lambda *given: asyncio.run(in_a_loop(*given)),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_warning_points_at_the_users_line_whichever_way_it_is_published(
    tmp_path, registry, function, way
):
    options = {"check": False, "constraints": ["a=b"], "name": "warned"}
    with faasd(tmp_path / "double") as double:
        connection = connected(double, registry)
        with pytest.warns(IgnoredOptionWarning, match="constraints=") as caught:
            WAYS[way](function, connection, options)
        assert [Path(each.filename).name for each in caught] == ["test_targets.py"]


def test_a_variable_that_contradicts_the_timeout_wins_and_is_told(tmp_path, registry, function):
    with faasd(tmp_path / "double") as double:
        connection = connected(double, registry)
        with pytest.warns(IgnoredOptionWarning, match=r"env\['exec_timeout'\] is '5s'.*'60s'"):
            publish(function, connection, check=False, timeout=60, env={"exec_timeout": "5s"})
        variables = double.records["aimed"].request["envVars"]
        assert (variables["exec_timeout"], variables["write_timeout"]) == ("5s", "60s")


def test_the_registry_has_another_name_inside_the_cluster(tmp_path, registry, function):
    with faasd(tmp_path / "double", info=KUBERNETES_CE, accepted=202) as double:
        double.pull = lambda image: pulled.append(image)
        # Nothing has that name here: the deployment ends with what it is asked to pull.
        double.start_error = "no containers here"
        pulled: list[str] = []
        connection = connected(double, registry, inside_registry=INSIDE)
        with pytest.raises(PublishFailed, match="no containers here"):
            publish(function, connection, check=False)
    assert pulled
    assert {image.partition(":5000/")[0] for image in pulled} == {INSIDE.partition(":5000")[0]}
    assert pulled[0].startswith(f"{INSIDE}/away/aimed:")


def test_a_registry_may_be_named_with_what_images_begin_with(tmp_path, registry, function):
    with faasd(tmp_path / "double") as double:
        connection = connected(double, registry, registry=f"{registry.host}/me/mine")
        published = publish(function, connection, check=False)
        assert published.image.startswith(f"{registry.host}/me/mine/aimed:")


# ---------------------------------------------------------------- how long a call waits


def test_a_call_waits_as_long_as_the_function_may_take(tmp_path, registry):
    source = """
        from away import builder

        def waits(seconds):
            import time
            time.sleep(seconds)
            return seconds
    """
    space: dict = {}
    exec(textwrap.dedent(source), space)
    with faasd(tmp_path / "double") as double:
        connection = connected(double, registry, timeout=0.4)
        far = builder.mirror_in_faas(
            space["waits"], connection, timeout=30, publish_timeout=20, check=False, name="waits"
        )
        assert far(0.6) == 0.6
        # So does whoever imports it, by the description.
        info = connection.function("waits", timeout=5)
        assert info.description.timeout == 30.0
        with pytest.raises(TimeoutError):
            far.options(timeout=0.2)(0.6)


# ---------------------------------------------------------------- secrets that are created


@pytest.fixture
def place(tmp_path, registry):
    with faasd(tmp_path / "double") as double:
        yield double, connected(double, registry)


def test_a_secret_that_is_missing_is_created_from_a_file_and_never_shown(
    place, registry, function, tmp_path, capsys
):
    double, connection = place
    value = "the-value-of-the-token-17"
    file = tmp_path / "token"
    file.write_text(value)
    connection.verbose = True
    publish(function, connection, check=False, secrets={"token": file})
    assert double.secrets == {"token": value.encode()}
    request = json.dumps(double.records["aimed"].request)
    assert '"secrets": ["token"]' in request
    blobs = [data for held in registry.store.blobs.values() for data in held.values()]
    manifests = [data for held in registry.store.manifests.values() for _, data in held.values()]
    told = [request.encode(), *blobs, *manifests, "".join(capsys.readouterr()).encode()]
    assert not [data for data in told if value.encode() in data]


def test_a_secret_that_the_gateway_has_is_never_overwritten(place, function):
    double, connection = place
    connection.create_secret("token", "what-the-gateway-has")
    publish(function, connection, check=False, secrets={"token": "another-value-here"})
    assert double.secrets == {"token": b"what-the-gateway-has"}


def test_a_secret_of_any_bytes_arrives_as_it_is(place, function):
    double, connection = place
    data = bytes(range(256))
    publish(function, connection, check=False, secrets={"raw": data})
    assert double.secrets == {"raw": data}


def test_a_secret_stays_when_the_publish_fails_later_and_it_is_said(place, function):
    double, connection = place
    double.pull_error = "dial tcp: i/o timeout"
    with pytest.raises(PublishFailed, match="what was created and stays: secret 'token'") as caught:
        publish(function, connection, check=False, secrets={"token": "sesame-open-now"})
    assert "sesame" not in str(caught.value)
    assert double.secrets == {"token": b"sesame-open-now"}
    double.pull_error = ""
    assert publish(function, connection, secrets={"token": "sesame-open-now"}).action == "created"


def test_a_value_that_the_function_holds_itself_is_refused(place, function, tmp_path, monkeypatch):
    double, connection = place
    value = "a-value-in-the-source-9"
    source = f"def holds():\n    return {value!r}\n"
    (tmp_path / "project2").mkdir()
    (tmp_path / "project2" / "holder.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path / "project2"))
    module = importlib.import_module("holder")
    with pytest.raises(CaptureRefused, match="holds the value of the secret 'token'") as caught:
        publish(module.holds, connection, secrets={"token": value})
    assert value not in str(caught.value)
    assert not double.secrets
    with pytest.raises(PublishFailed, match=r"env\['A'\] holds a password or token") as caught:
        publish(function, connection, secrets={"token": value}, env={"A": value})
    assert value not in str(caught.value)


FILES = {
    "text": (b"secret-of-text\n", b"secret-of-text"),
    "text of Windows": (b"secret-of-text\r\n", b"secret-of-text"),
    "two line ends": (b"secret-of-text\n\n", b"secret-of-text\n"),
    "spaces": (b" secret-of-text ", b" secret-of-text "),
    "no text": (b"\xff\xfe\n", b"\xff\xfe\n"),
}


@pytest.mark.parametrize("case", FILES)
def test_of_a_file_with_text_the_line_end_that_editors_write_is_left_out(place, function, case):
    written, created = FILES[case]
    double, connection = place
    file = Path(function.__code__.co_filename).with_name("of-file")
    file.write_bytes(written)
    # From where the function is, as include= reads paths.
    publish(function, connection, check=False, secrets={"token": Path("of-file"), "text": "x\n"})
    assert double.secrets == {"token": created, "text": b"x\n"}


def test_where_a_secrets_file_was_looked_for_is_said(place, function):
    whole = Path(function.__code__.co_filename).with_name("not-there.txt")
    with pytest.raises(ConfigError, match=rf"names {whole}, which cannot be read: no such file"):
        publish(function, place[1], secrets={"token": Path("not-there.txt")})


SOURCES = {
    "a file that is not there": (Path("/nowhere/token"), "which cannot be read: no such file"),
    "a folder": (Path("/"), "no regular file"),
    "nothing": ("", "is empty"),
    "no text": (5, r"is of type int; give a text, bytes, or the pathlib\.Path"),
    "too much": (b"x" * (1024 * 1024 + 1), "larger than the 1048576 bytes"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_secret_that_cannot_be_read_is_said_before_anything(place, function, case):
    source, message = SOURCES[case]
    double, connection = place
    with pytest.raises(ConfigError, match=message):
        publish(function, connection, secrets={"token": source})
    assert not double.server.requests


def test_an_empty_file_is_said_before_anything(place, function, tmp_path):
    double, connection = place
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigError, match=r"secrets\['token'\] names .*empty, which is empty"):
        publish(function, connection, secrets={"token": tmp_path / "empty"})
    assert not double.server.requests


def test_a_missing_secret_without_a_value_is_said_before_the_push(place, registry, function):
    _, connection = place
    pushed = len(registry.asked("PUT"))
    with pytest.raises(PublishFailed, match=r"no secret 'token'.*create it with"):
        publish(function, connection, check=False, secrets=["token"])
    assert len(registry.asked("PUT")) == pushed


@pytest.mark.parametrize(
    ("target", "login"),
    [
        (DOCKER, r"\(docker login r:5000, as .*config\.json\)"),
        (FAASD, r"\(faas-cli registry-login, for faasd\)"),
        (NETES, r"\(imagePullSecrets, for Kubernetes\)"),
        (None, r"\(faas-cli registry-login for faasd, imagePullSecrets for Kubernetes\)"),
    ],
)
def test_a_refused_pull_says_how_this_provider_is_given_a_login(target, login):
    from away.connection.conversations import Reply

    text = 'cannot pull: Get "https://r:5000/v2/": unauthorized'
    words, hint = in_words(Reply(500, (), text.encode()), PLAN, target)
    assert re.search(login, words)
    assert re.search(login, hint)


def test_what_a_gateway_says_at_length_is_cut_between_words_and_marked():
    from away.connection.conversations import Reply

    text = " ".join(["unable to do it:", *(f'Get "http://registry-{i}/v2/"' for i in range(40))])
    words, _ = in_words(Reply(500, (), text.encode()), PLAN, FAASD)
    assert words.endswith(('/v2/" \N{HORIZONTAL ELLIPSIS}', "Get \N{HORIZONTAL ELLIPSIS}"))
    assert len(words) < 340
    words, _ = in_words(Reply(500, (), b"x" * 400), PLAN, FAASD)
    assert words.endswith("xx\N{HORIZONTAL ELLIPSIS}")
    words, _ = in_words(Reply(500, (), b"as short as this"), PLAN, FAASD)
    assert words.endswith("as short as this")


@given(st.text(max_size=80), st.sampled_from([400, 404, 500, 502]))
def test_any_refusal_is_one_sentence(text, status):
    from away.connection.conversations import Reply

    words, _ = in_words(Reply(status, (), text.encode(errors="replace")), PLAN, FAASD)
    assert "\n" not in words
    assert str(status) in words


def test_a_secret_that_is_not_there_is_told_by_its_name_on_faasd(tmp_path, own_environment):
    with faasd(tmp_path) as provider:
        connection = FaasConnection(provider.url, password=PASSWORD, verbose=False)
        connection.create_secret("token", "x-hush")
        with pytest.raises(SecretNotFound, match=r"no secret 'tokn'; did you mean 'token'\?$"):
            connection.remove_secret("tokn")
        connection.remove_secret("token")
        with pytest.raises(SecretNotFound, match="no secret 'token'; there are none"):
            connection.remove_secret("token")


@pytest.mark.parametrize(
    ("refusal", "listed"),
    [
        (servers.answer(400, b"secret is too large"), servers.json([])),
        (servers.answer(500, b"disk quota exceeded"), servers.json([])),
        (servers.answer(404, b"a: not found"), servers.answer(404, b"page not found")),
        (servers.answer(404, b"a: not found"), servers.json([{"name": "a"}])),
    ],
)
def test_why_a_secret_could_not_be_changed_is_not_hidden_by_a_look_for_it(refusal, listed):
    with servers.Server([refusal, listed]) as server:
        connection = FaasConnection(server.url, password=PASSWORD, verbose=False)
        with pytest.raises(GatewayError, match="PUT /system/secrets") as told:
            connection.update_secret("a", "x")
        assert not isinstance(told.value, SecretNotFound)

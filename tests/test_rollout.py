"""Deploying against a gateway with faasd behind it: what is awaited, what failing costs, what is restored."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import pytest

from away import FaasConnection
from away.builder import sync_from_name
from away.exceptions import (
    AnswerLost,
    AwayError,
    FunctionNotFound,
    FunctionNotReady,
    GatewayUnreachable,
    PublishFailed,
)
from away.publish import publish, readiness, rollout
from tests import servers
from tests.faasd_double import PASSWORD, base_layer, faasd
from tests.token_registry import open_registry

BASE = "python:3"


@pytest.fixture(scope="module")
def registry():
    with open_registry() as running:
        running.store.add_image("python", "3", [base_layer()])
        yield running


@pytest.fixture
def double(tmp_path):
    with faasd(tmp_path / "faasd") as running:
        yield running


@pytest.fixture
def place(double, registry):
    """A connection to the double, and how to publish there."""
    with connected(double, registry) as connection:
        yield SimpleNamespace(
            connection=connection,
            publish=lambda function, **options: publish(
                function, connection, **{"check": False, **options}
            ),
            call=lambda name, *arguments: called(connection, name, *arguments),
        )


def connected(double, registry, **settings) -> FaasConnection:
    return FaasConnection(
        double.url,
        password=PASSWORD,
        registry=registry.host,
        base_image=BASE,
        verbose=False,
        **{"timeout": 30, **settings},
    )


def called(connection, name, *arguments):
    reply = connection.invoke(name, json.dumps(arguments).encode())
    assert reply.status == 200, reply.text
    return json.loads(reply.body)


DIES = """
import os
import sys

print("the last words", flush=True)
if os.environ.get("DIE") or {version} == 2:
    raise RuntimeError("no good here")

def {name}():
    return {version}
"""
# The client's process imports it too.
LIVES = "import os\n\ndef {name}():\n    return os.environ.get('MODE', {version})\n"


# ---------------------------------------------------------------- what is awaited


def test_a_function_is_published_called_updated_and_left_alone(place, double, written):
    module = written("roll_first", LIVES.format(name="first", version=1))
    assert place.publish(module.first).action == "created"
    assert double.changes == [("PUT", "first"), ("POST", "first")]
    assert place.call("first") == 1
    assert place.publish(module.first).action == "unchanged"
    module = written("roll_first", LIVES.format(name="first", version=2))
    assert place.publish(module.first).action == "updated"
    assert place.call("first") == 2


def test_a_change_of_the_environment_alone_is_awaited(place, double, written):
    module = written("roll_env", LIVES.format(name="env", version=1))
    place.publish(module.env, env={"MODE": "a"})
    assert place.call("env") == "a"
    old = double.records["env"]

    def slow(seen):
        # As with a rolling update: the old one answers for some time after the deployment.
        if seen.method == "PUT" and seen.path == "/system/functions":
            behaviour = double.choose(seen, "/system/functions")
            new = double.records["env"]
            answers.extend([old] * 3)
            kept.append(new)
            return behaviour
        if answers and seen.path.endswith("/_/away"):
            answers.pop()
            headers = {"X-Away-Protocol": "1", "X-Away-Digest": digest, "X-Away-Deployment": "old"}
            return servers.answer(200, b"{}", headers)
        return None

    answers, kept = [], []
    digest = json.loads(old.request["annotations"]["away.digest"])
    double.hook = slow
    assert place.publish(module.env, env={"MODE": "b"}).action == "updated"
    assert not answers, "the answers of the old deployment were waited out"
    assert place.call("env") == "b"


def test_a_function_answers_with_its_deployment(place, double, written):
    module = written("roll_marked", LIVES.format(name="marked", version=1))
    place.publish(module.marked)
    told = place.connection.invoke("marked", b"").headers["X-Away-Deployment"]
    assert told == double.records["marked"].request["envVars"]["AWAY_DEPLOYMENT"]
    place.publish(module.marked, env={"MODE": "x"})
    assert place.connection.invoke("marked", b"").headers["X-Away-Deployment"] != told


def test_what_an_older_version_deployed_is_still_known_for_what_it_is(place, double, written):
    module = written("roll_older", LIVES.format(name="older", version=1))
    place.publish(module.older)
    del double.records["older"].request["envVars"]
    assert place.publish(module.older).action == "unchanged"


# ---------------------------------------------------------------- images that cannot be pulled


def test_a_base_is_looked_for_where_its_name_says_and_nowhere_else(place, registry, written):
    module = written("roll_base", LIVES.format(name="base", version=1))
    with pytest.raises(PublishFailed, match=r"has no base image \S*nobody/has:1; pass") as caught:
        place.publish(module.base, base_image=f"{registry.host}/nobody/has:1")
    assert "Docker Hub" not in str(caught.value)


PULLS = {
    "unreachable": (
        'failed to do request: Head "https://r/v2": dial tcp 10.0.0.1:443: connect: connection refused',
        r"the provider cannot reach the registry 127\.0\.0\.1:\d+ from where it runs; pass"
        r" inside_registry=",
    ),
    "https": (
        "http: server gave HTTP response to HTTPS client",
        r"asks the registry \S+ by https, and it speaks http.*docker config\.json",
    ),
    "certificate": (
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        r"does not trust the certificate of the registry",
    ),
    "absent": (
        "failed to resolve reference: r/x: not found",
        r"the provider finds no image 127\S+/away/pulled:\w+; pass inside_registry=",
    ),
    "private": (
        "pull access denied, repository does not exist or may require authorization",
        r"the provider may not pull 127\S+: its registry wants a login.*faas-cli registry-login",
    ),
    "processor": ("no match for platform in manifest", r"is for another processor.*platform="),
}


@pytest.mark.parametrize("case", PULLS)
def test_an_image_that_cannot_be_pulled_is_said_in_words_and_leaves_nothing(
    place, double, written, case
):
    text, message = PULLS[case]
    module = written("roll_pulled", LIVES.format(name="pulled", version=1))
    double.pull_error = text
    with pytest.raises(PublishFailed, match=message) as caught:
        place.publish(module.pulled)
    assert caught.value.step == "deploy"
    assert "nothing runs under that name" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert text[:30] in str(caught.value)
    assert not double.records
    # The same command again goes on from there.
    double.pull_error = ""
    assert place.publish(module.pulled).action == "created"


def test_an_update_that_destroyed_what_ran_is_taken_back(place, double, registry, written):
    module = written("roll_back", LIVES.format(name="back", version=1))
    place.publish(module.back)
    module = written("roll_back", LIVES.format(name="back", version=2))

    def once(seen):
        if seen.method == "PUT" and seen.path == "/system/functions" and not broken:
            broken.append(True)
            double.pull_error = "failed to resolve reference: not found"
            try:
                return double.choose(seen, "/system/functions")
            finally:
                double.pull_error = ""
        return None

    broken: list[bool] = []
    double.hook = once
    with pytest.raises(PublishFailed, match="what ran before was restored"):
        place.publish(module.back)
    assert place.call("back") == 1
    # PUT destroyed it, so it is made anew.
    assert double.changes[-2:] == [("PUT", "back"), ("POST", "back")]
    assert place.publish(module.back).action == "updated"
    assert place.call("back") == 2


def test_an_update_that_ends_after_the_publish_gave_up_is_taken_back_too(place, double, written):
    module = written("roll_late", LIVES.format(name="too_late", version=1))
    place.publish(module.too_late, env={"MODE": "old"})

    def slow(seen):
        if seen.method == "PUT" and seen.path == "/system/functions":
            double.hook = lambda _: None

            def behave(talk):
                time.sleep(2.5)
                return double.choose(seen, "/system/functions")(talk)

            behave.is_behaviour = True
            return behave
        return None

    double.hook = slow
    # The old one answers for a while, by the very digest of the new one.
    with pytest.raises(PublishFailed, match=r"within the publish_timeout of 1 s") as caught:
        place.publish(module.too_late, env={"MODE": "new"}, publish_timeout=1)
    assert "what ran before was restored" in str(caught.value)
    assert place.call("too-late") == "old"
    assert place.publish(module.too_late, env={"MODE": "old"}).action == "unchanged"


def test_when_restoring_fails_too_it_is_said_what_may_run(place, double, written):
    module = written("roll_lost", LIVES.format(name="lost", version=1))
    place.publish(module.lost)
    module = written("roll_lost", LIVES.format(name="lost", version=2))
    double.pull_error = "dial tcp: i/o timeout"
    with pytest.raises(PublishFailed, match="could not be restored") as caught:
        place.publish(module.lost)
    assert "so nothing may run under that name: publish again" in str(caught.value)
    double.pull_error = ""
    assert place.publish(module.lost).action == "created"
    assert place.call("lost") == 2


# ---------------------------------------------------------------- records without a function


def test_a_secret_that_vanished_in_between_destroys_nothing_for_good(place, double, written):
    double.secrets["key"] = b"x"
    module = written("roll_secret", LIVES.format(name="needs_key", version=1))
    place.publish(module.needs_key)

    def vanish(seen):
        if seen.method == "PUT" and seen.path == "/system/functions" and "key" in double.secrets:
            del double.secrets["key"]

    double.hook = vanish
    module = written("roll_secret", LIVES.format(name="needs_key", version=2))
    with pytest.raises(
        PublishFailed, match=r"no such secret any more.*what ran before was restored"
    ):
        place.publish(module.needs_key, secrets=["key"])
    assert place.call("needs-key") == 1


def test_a_dead_record_of_the_very_same_publish_is_not_taken_for_unchanged(
    place, double, written, monkeypatch
):
    monkeypatch.setattr(rollout, "AWAKE_SECONDS", 0.5)
    module = written("roll_dead", LIVES.format(name="dead", version=1))
    place.publish(module.dead)
    double.stop("dead")
    double.records["dead"].process, double.records["dead"].port = None, 0
    assert place.publish(module.dead).action == "updated"
    assert place.call("dead") == 1


def test_a_dead_record_that_is_in_the_way_is_cleared(place, double, written):
    module = written("roll_way", LIVES.format(name="in_the_way", version=1))

    def leftover(seen):
        # As after a failed start: the update knows no such function, and creating says it is there.
        if seen.path == "/system/functions" and not cleared:
            if seen.method == "DELETE":
                cleared.append(True)
                return double.say(200, "")
            text = 'snapshot "in-the-way-snapshot": already exists'
            status, said = (404, "service not found") if seen.method == "PUT" else (400, text)
            return double.say(status, said) if seen.method in ("PUT", "POST") else None
        return None

    cleared: list[bool] = []
    double.hook = leftover
    assert place.publish(module.in_the_way).action == "created"
    assert place.call("in-the-way") == 1


def test_a_start_that_is_refused_ends_at_once_in_the_gateways_words(place, double, written):
    double.start_error = 'exec: "python3": executable file not found in $PATH'
    module = written("roll_refused", LIVES.format(name="refused_start", version=1))
    begun = time.monotonic()
    with pytest.raises(PublishFailed, match="no program that the provider could start") as caught:
        place.publish(module.refused_start)
    assert time.monotonic() - begun < 4
    assert caught.value.step == "deploy"
    assert double.start_error in str(caught.value)
    assert "nothing runs under that name" in str(caught.value)
    assert not double.records


def test_an_update_whose_start_is_refused_is_taken_back(place, double, written):
    module = written("roll_unstarted", LIVES.format(name="unstarted", version=1))
    place.publish(module.unstarted)
    module = written("roll_unstarted", LIVES.format(name="unstarted", version=2))

    def once(seen):
        if seen.method == "PUT" and seen.path == "/system/functions":
            double.hook, double.start_error = lambda _: None, "OCI runtime create failed"
            try:
                return double.choose(seen, "/system/functions")
            finally:
                double.start_error = ""
        return None

    double.hook = once
    with pytest.raises(PublishFailed, match=r"OCI runtime.*what ran before was restored"):
        place.publish(module.unstarted)
    assert place.call("unstarted") == 1


# ---------------------------------------------------------------- under load

PUT, POST, DELETE = "PUT", "POST", "DELETE"
OVERTAKEN = {
    "by the old one": (["old"], [PUT, PUT]),
    "by the new one": (["new"], [PUT]),
    "again and again": (["old"] * 9, [PUT, PUT, PUT, DELETE, PUT, POST]),
}


@pytest.mark.parametrize("case", OVERTAKEN)
def test_an_update_that_a_call_comes_between_is_repeated(place, double, written, case):
    overtaken, changes = OVERTAKEN[case]
    module = written("roll_between", LIVES.format(name="between", version=1))
    # Only the environment changes, so both answer with one digest.
    place.publish(module.between, env={"MODE": "old"})
    double.changes.clear()
    double.overtaken = list(overtaken)
    assert place.publish(module.between, env={"MODE": "new"}).action == "updated"
    assert [method for method, _ in double.changes] == changes
    assert place.call("between") == "new"


def test_calls_of_the_process_that_updates_wait_for_its_end(place, double, written):
    module = written("roll_load", LIVES.format(name="under_load", version=0))
    place.publish(module.under_load)
    remote = sync_from_name("under-load", place.connection)
    assert remote() == 0
    ended, answers, failures = threading.Event(), [], []

    def keep_calling():
        while not ended.is_set():
            try:
                answers.append(remote())
            except AwayError as error:
                failures.append(error)

    callers = [threading.Thread(target=keep_calling) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        for version in (0, 1, 2, 3):
            if version:
                module = written("roll_load", LIVES.format(name="under_load", version=version))
                assert place.publish(module.under_load).action == "updated"
            # The next one only when calls have reached this one; what hangs ends the test.
            limit = time.monotonic() + 120
            while version not in answers:
                assert time.monotonic() < limit, (answers[-3:], failures)
                time.sleep(0.01)
    finally:
        ended.set()
        for caller in callers:
            caller.join()
    assert set(answers) == {0, 1, 2, 3}
    # What was in flight as the old one was stopped is lost, one a caller at most, and says so.
    assert len(failures) <= 3 * len(callers)
    for failure in failures:
        assert isinstance(failure, (FunctionNotReady, AnswerLost)), failure
        assert "this process" in str(failure)
        assert "updat" in str(failure)
    ids = [
        seen.headers["x-call-id"]
        for seen in double.server.requests
        if seen.path.startswith("/function/under-load") and seen.method == "POST"
    ]
    assert len(set(ids)) == len(ids), "nothing was sent twice"


# ---------------------------------------------------------------- functions that do not come to life


def test_a_function_that_dies_at_start_shows_the_end_of_its_log(place, double, written):
    module = written("roll_dies", DIES.format(name="dies", version=1))
    with pytest.raises(PublishFailed, match="nothing runs under that name") as caught:
        place.publish(module.dies, env={"DIE": "1"})
    assert caught.value.step == "ready"
    assert "no good here" in str(caught.value)
    assert "the last words" in str(caught.value)
    assert not double.records


ENDS = """
import os
import time

if os.environ.get("AWAY_RUNTIME") and {version} == 2:
    time.sleep({seconds})
    os._exit(3)

def {name}():
    return {version}
"""


@pytest.fixture
def hurried(monkeypatch):
    """Wait less than for a real one, whose container takes longer to come up."""
    monkeypatch.setattr(readiness, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(readiness, "STILL_LOADING_SECONDS", 0.5)


@pytest.mark.usefixtures("hurried")
def test_a_function_that_ends_as_it_starts_is_given_up_though_the_gateway_holds_its_calls(
    place, double, written
):
    module = written("roll_ends", LIVES.format(name="ends", version=1))
    place.publish(module.ends)
    begun = time.monotonic()
    with pytest.raises(PublishFailed, match="it ends as it starts: for 3 s nobody") as caught:
        # Python itself does not come up.
        place.publish(module.ends, env={"PYTHONHASHSEED": "none"}, limits={"memory": "64Mi"})
    assert time.monotonic() - begun < 15
    assert "what ran before was restored" in str(caught.value)
    assert "limits['memory']='64Mi' may be too little" in str(caught.value)
    assert place.call("ends") == 1


@pytest.mark.usefixtures("hurried")
def test_a_function_that_ends_again_and_again_while_it_is_loaded_is_given_up(
    place, double, written
):
    module = written("roll_again", ENDS.format(name="ends_again", version=1, seconds=0))
    place.publish(module.ends_again)
    module = written("roll_again", ENDS.format(name="ends_again", version=2, seconds=1.5))
    with pytest.raises(PublishFailed, match="3 times while it was being loaded"):
        place.publish(module.ends_again)
    assert place.call("ends-again") == 1


@pytest.mark.usefixtures("hurried")
def test_a_function_that_takes_long_to_load_is_waited_for(place, written):
    slow = "import os, time\ntime.sleep(5 if os.environ.get('AWAY_RUNTIME') else 0)\n"
    module = written("roll_slow", slow + LIVES.format(name="slow", version=1))
    assert place.publish(module.slow).action == "created"
    assert place.call("slow") == 1


def test_where_the_gateway_has_no_log_it_is_said_where_to_look(place, double, written):
    double.keeps_logs = False
    module = written("roll_quiet", DIES.format(name="quiet", version=1))
    with pytest.raises(PublishFailed, match=r"no log of it: see journalctl -t openfaas-fn:quiet"):
        place.publish(module.quiet, env={"DIE": "1"})


def test_a_runtime_that_cannot_start_says_why_where_the_gateway_has_no_log(place, double, written):
    double.keeps_logs = False
    module = written("roll_unset", LIVES.format(name="unset", version=1))
    with pytest.raises(PublishFailed, match=r"AWAY_QUEUE_SECONDS='soon' is not a number") as caught:
        place.publish(module.unset, env={"AWAY_QUEUE_SECONDS": "soon"})
    assert caught.value.step == "ready"


def test_what_is_taken_and_never_ready_says_what_was_seen_last(place, double, written):
    double.accepted, double.starts = 202, False
    double.hook = lambda seen: (
        servers.answer(404, b"error finding function never.openfaas-fn: not yet")
        if seen.path.startswith("/function/")
        else None
    )
    module = written("roll_never", LIVES.format(name="never", version=1))
    with pytest.raises(PublishFailed, match=r"publish_timeout of 1\.5 s is over") as caught:
        place.publish(module.never, publish_timeout=1.5)
    assert caught.value.step == "ready"
    assert "the gateway says 404 error finding function" in str(caught.value)
    assert "the gateway counts 0 of 0 replicas available" in str(caught.value)
    assert "nothing runs under that name" in str(caught.value)
    double.hook, double.starts = lambda _: None, True
    assert place.publish(module.never).action == "created"


def test_a_gateway_that_goes_away_in_mid_publish_is_said_not_to_be_known(double, registry, written):
    module = written("roll_gone", LIVES.format(name="gone", version=1))

    def gone(seen):
        if seen.method in ("PUT", "POST") and seen.path == "/system/functions":
            double.hook = lambda _: servers.hang_up()
            return servers.hang_up()
        return None

    double.hook = gone
    connection = connected(double, registry, timeout=10)
    with pytest.raises(PublishFailed, match="what runs now is not known") as caught:
        publish(module.gone, connection, check=False)
    assert caught.value.step == "deploy"
    double.hook = lambda _: None
    assert publish(module.gone, connection, check=False).action == "created"
    assert called(connection, "gone") == 1


def test_a_gateway_that_is_not_there_keeps_its_own_error(written):
    module = written("roll_nobody", LIVES.format(name="nobody", version=1))
    with servers.refusing() as port, pytest.raises(GatewayUnreachable):
        publish(module.nobody, FaasConnection(f"http://127.0.0.1:{port}", verbose=False))


def test_an_update_that_kubernetes_swallows_is_told_at_once(tmp_path, registry, written):
    info = {"provider": "faas-netes-ce", "orchestration": "kubernetes"}
    module = written("roll_netes", LIVES.format(name="swallowed", version=1))
    with faasd(tmp_path / "netes", info=info, accepted=202) as double:
        connection = connected(double, registry, inside_registry=registry.host)
        publish(module.swallowed, connection, check=False)
        module = written("roll_netes", LIVES.format(name="swallowed", version=2))
        double.hook = lambda seen: (
            double.say(200, "")
            if seen.method == "PUT" and seen.path == "/system/functions"
            else None
        )
        with pytest.raises(PublishFailed, match="took the update and did nothing") as caught:
            publish(module.swallowed, connection, check=False)
        assert "what ran before still runs" in str(caught.value)
        assert called(connection, "swallowed") == 1


# ---------------------------------------------------------------- two at once


# Measured with faasd 0.19.0, two publishers at once.
DISTURBED = (
    "unable to start task: {name}, error: task {name}: already exists",
    "unable to start task: {name}, error: snapshot {name}-snapshot does not exist: not found",
    "Unable to start task: {name}: task {name} not found: not found",
    'error deleting container {name}, {name}, container "{name}" in namespace "openfaas-fn": not found',
    "error deleting container {name}, {name}, container {name}: not found",
    "Unable to start task: {name}: cannot start a running process: unknown",
    "unable to start task: {name}, error: failed to start shim: mkdir /run/containerd/{name}: file"
    " exists: unknown",
    'Failed to setup network for task "{name}-4643": plugin type="loopback" failed (add): failed to'
    ' Statfs "/proc/4643/ns/net": no such file or directory',
)


@pytest.mark.parametrize("text", DISTURBED)
@pytest.mark.parametrize("theirs", [True, False])
def test_what_another_publisher_disturbs_is_repeated_unless_it_did_the_very_same(
    place, double, written, text, theirs
):
    module = written("roll_both", LIVES.format(name="both", version=1))

    def disturb(seen):
        if seen.method != "POST" or seen.path != "/system/functions" or disturbed:
            return None
        disturbed.append(True)
        if theirs:
            double.choose(seen, "/system/functions")
        return double.say(400, text.format(name="both"))

    disturbed: list[bool] = []
    double.hook = disturb
    assert place.publish(module.both).action == "created"
    assert place.call("both") == 1
    # Its own POST does not reach the double where it was disturbed by nobody.
    expected = [("PUT", "both"), ("POST", "both")]
    assert double.changes == (expected if theirs else [("PUT", "both"), *expected])


def test_what_another_machine_deployed_meanwhile_is_told_and_left_as_it_is(place, double, written):
    module = written("roll_later", LIVES.format(name="later", version=1))
    place.publish(module.later, env={"MODE": "of another machine"})
    theirs = double.records["later"].request
    place.publish(module.later, env={"MODE": "of the first day"})

    def overtake(seen):
        if seen.method != "PUT" or seen.path != "/system/functions":
            return None
        double.hook = lambda _: None
        behaviour = double.choose(seen, "/system/functions")
        double.update("later", theirs)
        return behaviour

    double.hook = overtake
    begun = time.monotonic()
    with pytest.raises(PublishFailed, match="another deployment replaced it") as caught:
        place.publish(module.later, env={"MODE": "of this machine"})
    assert time.monotonic() - begun < 10
    assert "was left as it is" in str(caught.value)
    assert place.call("later") == "of another machine"


def test_a_restored_function_is_gone_once_it_is_removed(place, double, written):
    module = written("roll_removed", LIVES.format(name="removed_one", version=1))
    place.publish(module.removed_one)
    place.connection.remove("removed-one")
    with pytest.raises(FunctionNotFound):
        place.connection.function("removed-one")
    assert place.publish(module.removed_one).action == "created"

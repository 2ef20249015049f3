"""Registries that are slow, broken, full, or worse: each is one sentence, and nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away import FaasConnection
from away.connection.conversations import Deadline
from away.exceptions import AwayError, PublishFailed
from away.publish.base_scan import scan
from away.publish.credentials import Credentials
from away.publish.image import assemble, make_layer
from away.publish.platforms import Platform, choose_manifest, parse_platform
from away.publish.references import ImageName, parse_image, registry_url
from away.publish.registry import Memory, Registry, find_base
from away.publish.registry_session import retry_after
from tests import servers
from tests.token_registry import (
    digest_of,
    error,
    open_registry,
    token_registry,
)

PASSWORD = "correct-horse-battery"
LAYERS = [b"a" * 700, b"b" * 900]


@pytest.fixture(scope="module")
def faas():
    with FaasConnection("http://127.0.0.1:9", password="the-gateways") as connection:
        yield connection


@pytest.fixture
def registry():
    with open_registry() as made:
        yield made


@pytest.fixture
def second():
    with open_registry() as made:
        yield made


def client_of(faas, url, *, given=None, seconds=10.0, **options) -> Registry:
    deadline = Deadline(seconds)

    def ask(request):
        return faas.conversation_request(request, deadline=deadline)

    host = url.partition("://")[2]
    credentials = Credentials(host, given=given, pushed=True, environ={"HOME": "/none"})
    return Registry(
        ask, url, own=False, memory=Memory(), credentials=credentials, deadline=deadline, **options
    )


def told(faas, conversation) -> str:
    with pytest.raises(AwayError) as caught:
        faas.run(conversation)
    text = str(caught.value)
    assert "\n" not in text
    assert not text.endswith(".")
    assert PASSWORD not in text + repr(caught.value.__dict__)
    return text


def layer(size: int = 700):
    return make_layer([("opt/x", os.urandom(size))])


class Kept:
    """Takes the bytes of a blob."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.data = bytearray()

    def write(self, piece: bytes) -> None:
        self.data += piece


# ---------------------------------------------------------------- blobs that are not what they say

DATA = os.urandom(300_000)
DIGEST = digest_of(DATA)


def endless(talk: servers.Talk) -> bool:
    with contextlib.suppress(OSError):
        talk.sock.sendall(servers.head(200, {"Transfer-Encoding": "chunked"}))
        while not talk.stopping.is_set():
            talk.sock.sendall(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
    return False


endless.__dict__["is_behaviour"] = True


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (endless, "gives more than the 300000 bytes that the manifest says"),
        (servers.answer(200, bytes(300_000)), "gave other bytes than that digest names"),
        (servers.answer(200, DATA[:-1]), "says that it has 299999 bytes and not 300000"),
        (servers.chunked(DATA[:-1]), "gave 299999 bytes of 300000"),
        (servers.chunked(DATA + b"x"), "gives more than the 300000 bytes"),
        (
            servers.raw(servers.head(200, {"Content-Length": str(1 << 40)})),
            "says that it has 1099511627776 bytes",
        ),
        (servers.cut(DATA, 1000), "ended in the middle of the blob"),
        (error(404, "BLOB_UNKNOWN", "blob unknown to registry"), "BLOB_UNKNOWN blob unknown"),
    ],
    ids=["endless", "other", "short", "short chunks", "long", "lying", "cut", "missing"],
)
def test_a_blob_is_checked_by_size_and_digest_as_it_comes(faas, registry, behaviour, why):
    registry.hook = lambda seen: behaviour
    client = client_of(faas, registry.url)
    began = time.monotonic()
    text = told(faas, client.stream("t/one", DIGEST, len(DATA), Kept()))
    assert why in text
    assert registry.url in text
    assert time.monotonic() - began < 5


def test_a_small_blob_without_a_size_is_not_endless_either(faas, registry):
    registry.hook = lambda seen: endless
    client = client_of(faas, registry.url)
    assert "more than the 1000 bytes" in told(faas, client.blob("t/one", DIGEST, most=1000))


def test_a_blob_that_was_cut_comes_whole_the_second_time(faas, registry):
    registry.store.add_blob("t/one", DATA)
    turns = [servers.cut(DATA, 100_000)]
    registry.hook = lambda seen: turns.pop() if turns else None
    kept = Kept()
    faas.run(client_of(faas, registry.url).stream("t/one", DIGEST, len(DATA), kept))
    assert bytes(kept.data) == DATA


# ---------------------------------------------------------------- manifests


def base_of(faas, client, name="t/base:1", platform="amd64"):
    return faas.run(client.base(parse_image(name), platform))


def test_a_manifest_of_any_size_is_not_read(faas, registry):
    registry.hook = lambda seen: endless if seen.method == "GET" else None
    text = told(faas, client_of(faas, registry.url).base(parse_image("t/base:1"), "amd64"))
    assert "has more than the 4194304 bytes that it may have" in text


def test_a_manifest_that_is_not_what_its_digest_names_is_refused(faas, registry):
    registry.store.add_image("t/base", "1", LAYERS)
    _, data = registry.store.manifests["t/base"]["1"]
    wrong = servers.answer(200, data + b" ", {"Content-Type": "application/json"})
    registry.hook = lambda seen: (
        wrong if seen.method == "GET" and "manifests" in seen.path else None
    )
    text = told(faas, client_of(faas, registry.url).base(parse_image("t/base:1"), "amd64"))
    assert "gave another manifest than sha256:" in text


def changed(registry, change) -> None:
    registry.store.add_image("t/base", "1", LAYERS)
    kind, data = registry.store.manifests["t/base"]["1"]
    document = json.loads(data)
    change(document)
    registry.store.add_manifest("t/base", "1", kind, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda m: m["layers"][0].update(urls=["https://evil.example/layer"]),
            "lies outside of registries",
        ),
        (
            lambda m: m["layers"][0].update(
                mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            ),
            "lies outside of registries",
        ),
        (lambda m: m["layers"][0].update(digest="sha512:00"), "otherwise than by sha256"),
        (lambda m: m["layers"][0].update(digest="sha256:../../x"), "otherwise than by sha256"),
        (lambda m: m["layers"][0].update(size="12"), "how large its layers are"),
        (lambda m: m["layers"][0].update(size=True), "how large its layers are"),
        (lambda m: m["layers"][0].update(size=-5), "a size that none can have"),
        (lambda m: m["layers"][0].update(size=10**30), "a size that none can have"),
        (lambda m: m["layers"][0].pop("mediaType"), "of which type its layers are"),
        (lambda m: m.update(layers=5), "its layers are no list"),
        (lambda m: m.update(layers=None), "its layers are no list"),
        (lambda m: m.update(layers="abc"), "its layers are no list"),
        (lambda m: m.update(mediaType=["x"]), "mediaType of the manifest is not what"),
        (lambda m: m["layers"].append(5), "has a layer that is none"),
        (lambda m: m.update(config=None), "names no configuration"),
        (lambda m: m["config"].update(digest="x"), "names no configuration"),
        (lambda m: m["config"].update(size=3), "bytes and not 3"),
        (lambda m: m["layers"].pop(), "has layers that are not in the registry"),
    ],
)
def test_a_base_image_that_nothing_can_be_built_on_is_named(faas, registry, change, why):
    changed(registry, change)
    text = told(faas, client_of(faas, registry.url).base(parse_image("t/base:1"), "amd64"))
    assert why in text


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_index_is_read_without_an_exception_of_pythons(found):
    for index in ({"manifests": found}, {"manifests": [{"platform": found, "digest": found}]}):
        with pytest.raises(PublishFailed, match="it has nothing"):
            choose_manifest(index, Platform("linux", "amd64"), "x")


# ---------------------------------------------------------------- indexes


@pytest.fixture
def several(registry):
    entries = []
    for number, (processor, variant) in enumerate(
        [("amd64", ""), ("arm64", "v8"), ("arm", "v7"), ("arm", "v6"), ("s390x", "")]
    ):
        entry = registry.store.add_image(
            "t/base", f"only-{number}", [bytes([number]) * 600], architecture=processor
        )
        if variant:
            entry["platform"]["variant"] = variant
        entries.append(entry)
    unknown = {**entries[0], "platform": {"os": "unknown", "architecture": "unknown"}}
    registry.store.add_index("t/base", "1", [unknown, *entries])
    return entries


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("", 0),
        ("x86_64", 0),
        ("amd64", 0),
        ("linux/amd64", 0),
        ("aarch64", 1),
        ("linux/arm64", 1),
        ("linux/arm64/v8", 1),
        ("armv7l", 2),
        ("linux/arm", 2),
        ("linux/arm/v7", 2),
        ("linux/arm/v6", 3),
        ("s390x", 4),
    ],
)
def test_the_image_for_the_gateways_machine_is_taken_from_an_index(
    faas, registry, several, platform, expected
):
    base = base_of(faas, client_of(faas, registry.url), platform=platform)
    assert base.digest == several[expected]["digest"]


def test_a_machine_that_an_index_has_nothing_for_is_told_what_it_has(faas, registry, several):
    client = client_of(faas, registry.url)
    text = told(faas, client.base(parse_image("t/base:1"), "riscv64"))
    assert (
        "has no linux/riscv64, which the gateway runs on: it has linux/amd64, linux/arm/v6," in text
    )
    assert "unknown" not in text


def test_what_is_no_platform_is_refused():
    with pytest.raises(PublishFailed, match="write OS/PROCESSOR"):
        parse_platform("linux/arm 64")


@given(st.text(alphabet="abcx86_64/.-v7", max_size=20))
def test_a_platform_reads_back_what_it_says(text):
    with contextlib.suppress(PublishFailed):
        platform = parse_platform(text)
        if all(platform[:2]):
            assert parse_platform(str(platform)) == platform


# ---------------------------------------------------------------- where a registry leads


def leading(place: str, status: int = 307):
    return servers.answer(status, b"", {"Location": place})


def test_a_blob_elsewhere_is_fetched_without_the_login(faas, second):
    with token_registry() as registry:
        registry.tokens.may_push["ada"] = {"t/one"}
        second.store.add_blob("elsewhere", DATA)
        place = f"{second.url}/v2/elsewhere/blobs/{DIGEST}"
        registry.store.add_blob("t/one", DATA)
        redirect = registry.script

        def script(seen):
            behaviour = redirect(seen)
            sent = "authorization" in seen.headers
            return leading(place) if sent and "/blobs/" in seen.path else behaviour

        registry.server.script = script
        client = client_of(faas, registry.url, given=("ada", PASSWORD))
        assert faas.run(client.blob("t/one", DIGEST)) == DATA
        assert [seen.headers.get("authorization") for seen in second.requests] == [None]


def test_a_redirect_within_the_registry_keeps_the_login(faas):
    with token_registry() as registry:
        registry.tokens.may_push["ada"] = {"t/one", "t/two"}
        registry.store.add_blob("t/one", DATA)
        registry.hook = lambda seen: (
            leading(seen.path.replace("/v2/short", "/v2/t/one")) if "/short/" in seen.path else None
        )
        client = client_of(faas, registry.url, given=("ada", PASSWORD))
        faas.run(client.check("t/one"))
        assert faas.run(client.has_blob("t/one", DIGEST))
        scopes = ("repository:t/one:pull,push",)
        reply = faas.run(
            client.session.send("HEAD", f"/v2/short/blobs/{DIGEST}", "it", scopes=scopes)
        )
        assert reply.status == 200


def test_a_ring_of_redirects_ends(faas, registry):
    registry.hook = lambda seen: leading(seen.path + "x")
    text = told(faas, client_of(faas, registry.url).blob("t/one", DIGEST))
    assert "redirects more than 5 times" in text
    assert len(registry.requests) == 6


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("ftp://127.0.0.1/x", "could be reached by HTTP"),
        ("", "could be reached by HTTP"),
        ("http://ada:secret-word@evil.example/x", "could be reached by HTTP"),
        ("http://[::1", "could be reached by HTTP"),
    ],
)
def test_a_redirect_to_nowhere_is_one_sentence(faas, registry, place, why):
    registry.hook = lambda seen: leading(place)
    assert why in told(faas, client_of(faas, registry.url).blob("t/one", DIGEST))


@pytest.mark.parametrize(
    ("url", "place", "allowed"),
    [
        ("https://r.example", "https://cdn.example/x", True),
        ("https://r.example", "http://cdn.example/x", False),
        ("https://r.example", "http://r.example/x", False),
        ("https://r.example", "https://127.0.0.1/x", False),
        ("http://r.lan:5000", "http://localhost:8080/system/functions", False),
        ("http://r.lan:5000", "http://cdn.lan/x", True),
        ("http://127.0.0.1:5000", "http://localhost:5001/x", True),
        ("https://localhost:5000", "http://localhost:5001/x", True),
        ("http://127.0.0.1:5000", "http://cdn.example/x", True),
    ],
)
def test_which_redirects_are_followed(url, place, allowed):
    client = Registry(lambda request: iter(()), url, own=False, memory=Memory())
    if allowed:
        assert client.location("/v2/x/blobs/y", place) == place
        return
    with pytest.raises(PublishFailed, match="names no place for an upload that"):
        client.location("/v2/x/blobs/y", place)


@pytest.mark.parametrize("how", ["location", "redirect"])
def test_an_upload_elsewhere_loses_the_login(faas, second, how):
    with token_registry() as registry:
        registry.tokens.may_push["ada"] = {"t/one"}
        place = f"{second.url}/v2/t/one/blobs/uploads/1?key=a%2Fb"

        def hook(seen):
            if not seen.headers.get("authorization"):
                return None
            if how == "location" and seen.method == "POST":
                return servers.answer(202, b"", {"Location": place})
            if how == "redirect" and seen.method == "PUT":
                return leading(f"{place}&digest={pushed.digest}")
            return None

        registry.hook = hook
        pushed = layer()
        client = client_of(faas, registry.url, given=("ada", PASSWORD))
        assert faas.run(client.push(pushed, "t/one")) == "pushed"
        (put,) = second.asked("PUT")
        assert put.body == pushed.data
        assert "authorization" not in put.headers
        # The place has a query of its own, which stays as it is.
        assert put.path.endswith(f"?key=a%2Fb&digest={pushed.digest}")


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_a_server_that_a_registry_leads_to_cannot_ask_for_the_login(faas, second, scheme):
    with token_registry() as registry:
        registry.tokens.may_push["ada"] = {"t/one"}
        said = {"Www-Authenticate": f'{scheme} realm="{second.url}/token",service="x"'}
        second.hook = lambda seen: error(401, "UNAUTHORIZED", "hand it over", said)
        registry.hook = lambda seen: leading(f"{second.url}/x") if "/blobs/" in seen.path else None
        client = client_of(faas, registry.url, given=("ada", PASSWORD))
        text = told(faas, client.blob("t/one", DIGEST))
        assert f"{second.url}, to which {registry.url} leads answered 401" in text
        assert [seen.path for seen in second.requests] == ["/x"]
        assert registry.tokens.server.requests == []
        assert client.memory.challenges == {}


def test_an_upload_goes_where_an_absolute_place_says(faas, registry):
    def hook(seen):
        if seen.method == "POST":
            return servers.answer(
                202, b"", {"Location": f"{registry.url}/v2/t/one/blobs/uploads/9"}
            )
        return None

    registry.hook = hook
    assert faas.run(client_of(faas, registry.url).push(layer(), "t/one")) == "pushed"


# ---------------------------------------------------------------- pushes


def test_a_mount_that_is_not_possible_goes_on_in_the_upload_that_it_began(faas, registry):
    registry.mounts = False
    client = client_of(faas, registry.url)
    pushed = layer()
    faas.run(client.push(pushed, "t/one"))
    assert faas.run(client.push(pushed, "t/two")) == "pushed"
    assert len(registry.asked("POST", "mount=")) == 1
    assert len(registry.asked("POST", "/t/two/")) == 1
    assert registry.store.blobs["t/two"] == {pushed.digest: pushed.data}


def test_an_upload_has_its_length_and_tells_what_went_out(faas, registry, tmp_path):
    sent: list[int] = []
    data = os.urandom(3_500_000)
    path = tmp_path / "layer"
    path.write_bytes(data)
    client = client_of(faas, registry.url, sent=sent.append)
    faas.run(client.upload(digest_of(data), path, "t/one"))
    (put,) = registry.asked("PUT")
    assert put.headers["content-length"] == str(len(data))
    assert put.body == data
    assert sum(sent) == len(data)
    assert len(sent) > 2


@pytest.mark.parametrize("behaviour", [servers.reset(), servers.hang_up(), error(503, "X", "busy")])
def test_an_upload_that_breaks_is_made_once_more(faas, registry, behaviour):
    turns = [behaviour]
    registry.hook = lambda seen: turns.pop() if turns and seen.method == "PUT" else None
    sent: list[int] = []
    pushed = layer()
    client = client_of(faas, registry.url, sent=sent.append)
    assert faas.run(client.push(pushed, "t/one")) == "pushed"
    assert registry.store.blobs["t/one"] == {pushed.digest: pushed.data}
    assert sum(sent) == pushed.size


def test_an_upload_that_always_breaks_says_how_to_go_on(faas, registry):
    registry.hook = lambda seen: servers.hang_up() if seen.method == "PUT" else None
    text = told(faas, client_of(faas, registry.url).push(layer(), "t/one"))
    assert "ended in the middle of the blob sha256:" in text
    assert "run the same command again, which goes on from there" in text
    assert len(registry.asked("PUT")) == 3


def test_an_upload_whose_place_was_lost_begins_anew(faas, registry):
    turns = [error(404, "BLOB_UPLOAD_UNKNOWN")]
    registry.hook = lambda seen: turns.pop() if turns and seen.method == "PUT" else None
    assert faas.run(client_of(faas, registry.url).push(layer(), "t/one")) == "pushed"
    assert len(registry.asked("POST")) == 2


@pytest.mark.parametrize(
    ("status", "code", "why"),
    [
        (400, "DIGEST_INVALID", "what arrived there is not what was sent"),
        (400, "NAME_INVALID", "choose a name that it takes by registry_prefix="),
        (404, "NAME_UNKNOWN", "make that repository there"),
        (405, "UNSUPPORTED", "it does not take pushes"),
        (413, "", "limits the size of uploads"),
        (507, "", "its disk is full"),
        (418, "", "answered 418"),
    ],
)
def test_each_refusal_of_a_push_says_what_to_do(faas, registry, status, code, why):
    registry.hook = lambda seen: error(status, code) if seen.method == "PUT" else None
    text = told(faas, client_of(faas, registry.url).push(layer(), "t/one"))
    assert f"answered {status}" in text
    assert code in text
    assert why in text
    assert len(registry.asked("PUT")) == 1


def test_a_registry_that_denies_names_the_login(faas, registry):
    denied = error(403, "DENIED", "requested access is denied")
    registry.hook = lambda seen: denied if seen.method == "POST" else None
    text = told(faas, client_of(faas, registry.url).push(layer(), "t/one"))
    assert "answered 403 to no credentials" in text
    assert "DENIED requested access is denied" in text


def test_a_manifest_that_is_refused_says_so(faas, registry, second):
    registry.store.add_image("t/base", "1", LAYERS)
    client = client_of(faas, registry.url)
    base = base_of(faas, client)
    image = assemble(base, [layer()], command=["x"], environment={}, working_folder="/", labels={})
    registry.hook = lambda seen: error(400, "MANIFEST_INVALID") if seen.method == "PUT" else None
    text = told(faas, client.put_manifest(image, "t/one", "1"))
    assert "400 to the manifest of t/one: MANIFEST_INVALID" in text
    assert "name another registry" in text


@pytest.mark.parametrize("name", ["-a", "Upper/x", "a--b/", "a" * 300, "a b", "../x", "a?b=c"])
def test_names_are_checked_before_anything_is_sent(faas, registry, name):
    client = client_of(faas, registry.url)
    for conversation in (client.send_up(DIGEST, DATA, name), client.mount(DIGEST, "t/x", name)):
        assert "is no name of a repository" in told(faas, conversation)
    assert registry.requests == []


def test_a_tag_is_checked_before_anything_is_sent(faas, registry):
    client = client_of(faas, registry.url)
    assert "is none by the grammar" in told(faas, client.put_manifest(None, "t/one", "a b"))
    assert registry.requests == []


# ---------------------------------------------------------------- a registry that cannot just now


def test_a_registry_that_fails_twice_is_asked_a_third_time(faas, registry):
    turns = [error(502, "X"), servers.answer(500, b"oops")]
    registry.hook = lambda seen: turns.pop() if turns else None
    faas.run(client_of(faas, registry.url).check())
    assert len(registry.requests) == 3


def test_a_manifest_is_pushed_again_where_the_connection_broke(faas, registry):
    registry.store.add_image("t/base", "1", LAYERS)
    client = client_of(faas, registry.url)
    base = base_of(faas, client)
    image = assemble(base, [], command=["x"], environment={}, working_folder="/", labels={})
    for each in base.layers:
        faas.run(client.carry(each, client, "t/base", "t/one"))
    faas.run(client.upload(image.config_digest, image.config, "t/one"))
    turns = [servers.reset()]
    registry.hook = lambda seen: turns.pop() if turns and "/manifests/" in seen.path else None
    faas.run(client.put_manifest(image, "t/one", "1"))
    assert registry.store.manifests["t/one"]["1"][1] == image.manifest


def test_a_token_server_that_is_asked_too_often_is_waited_for(faas):
    with token_registry() as registry:
        registry.tokens.may_push["ada"] = {"t/one"}
        turns = [error(429, "TOOMANYREQUESTS", "slowly", {"Retry-After": "0"}), error(502, "X")]
        usual = registry.tokens.script
        registry.tokens.server.script = lambda seen: turns.pop() if turns else usual(seen)
        client = client_of(faas, registry.url, given=("ada", PASSWORD))
        assert faas.run(client.push(layer(), "t/one")) == "pushed"
        assert len(registry.tokens.server.requests) == 3


def test_the_asynchronous_driver_does_the_same(faas, tmp_path):
    async def everything() -> None:
        run = faas.aio_driver.run
        with token_registry() as registry, open_registry() as target:
            registry.tokens.may_push["ada"] = {"t/base"}
            data = os.urandom(3_000_000)
            registry.store.add_image("t/base", "1", [data])
            source = client_of(faas, registry.url, given=("ada", PASSWORD))
            sent: list[int] = []
            client = client_of(faas, target.url, sent=sent.append)
            base = await run(source.base(parse_image("t/base:1"), ""))
            turns = [servers.reset()]
            target.hook = lambda seen: turns.pop() if turns and seen.method == "PUT" else None
            assert await run(client.carry(base.layers[0], source, "t/base", "t/fn")) == "pushed"
            assert target.store.blobs["t/fn"][digest_of(data)] == data
            assert target.asked("PUT")[-1].headers["content-length"] == "3000000"
            assert sum(sent) == 3_000_000
            target.hook = lambda seen: endless
            with pytest.raises(PublishFailed, match="gives more than the 9 bytes"):
                await run(client.stream("t/fn", DIGEST, 9, Kept()))
            target.hook = lambda seen: None
            assert await run(client.push(layer(), "t/fn")) == "pushed"

    asyncio.run(everything())


def test_a_registry_that_fails_always_is_one_sentence(faas, registry):
    registry.hook = lambda seen: error(503, "X", "down for repair")
    text = told(faas, client_of(faas, registry.url).check())
    assert "answered 503 to GET /v2/: X down for repair; look at its log" in text
    assert len(registry.requests) == 3


def test_a_registry_that_is_asked_too_often_is_waited_for(faas, registry):
    turns = [error(429, "TOOMANYREQUESTS", "slowly", {"Retry-After": "0"})] * 3
    registry.hook = lambda seen: turns.pop() if turns else None
    faas.run(client_of(faas, registry.url).check())
    assert len(registry.requests) == 4


def test_no_longer_wait_than_there_is_time(faas, registry):
    later = {"Retry-After": "3600"}
    registry.hook = lambda seen: error(429, "TOOMANYREQUESTS", "slowly", later)
    began = time.monotonic()
    text = told(faas, client_of(faas, registry.url, seconds=5).check())
    assert time.monotonic() - began < 2
    assert "answered 429 to GET /v2/: TOOMANYREQUESTS slowly; wait a while, or log in" in text


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("3", 3, 3),
        ("0", 0.1, 0.1),
        ("", 1, 1),
        ("soon", 1, 1),
        ("-5", 0, 1),
        ("9" * 400, 1, 1),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.1, 0.1),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1e10, 1e12),
    ],
)
def test_a_wait_is_seconds_or_a_date(field, low, high):
    assert low <= retry_after(field) <= high


# ---------------------------------------------------------------- no registry


def test_a_registry_that_is_down_is_one_sentence(faas):
    with servers.refusing() as port:
        text = told(faas, client_of(faas, f"http://127.0.0.1:{port}").check())
    assert f"the registry http://127.0.0.1:{port} cannot be reached" in text
    assert "refused" in text
    assert "correct registry= or base_image=" in text


def test_a_host_without_an_address_is_one_sentence(faas):
    text = told(faas, client_of(faas, "https://no-such-host.invalid").check())
    assert "cannot be reached (its host has no address)" in text


def test_a_registry_without_tls_is_told_of_the_setting(faas, registry):
    text = told(faas, client_of(faas, registry.url.replace("http", "https")).check())
    assert "does not speak TLS" in text
    assert "insecure_registries" in text


def test_a_certificate_that_nobody_trusts_is_one_sentence(faas):
    with servers.Server(servers.answer(), tls=True) as server:
        text = told(faas, client_of(faas, server.url).check())
    assert "cannot be reached" in text
    assert "ca_bundle=" in text


def test_what_is_no_registry_is_one_sentence(faas):
    with servers.Server(servers.raw(b"SSH-2.0-OpenSSH\r\n\r\n")) as server:
        text = told(faas, client_of(faas, server.url).check())
    assert f"what answers as the registry {server.url} is none" in text
    with servers.Server(servers.answer(404, b"<html>nginx")) as server:
        text = told(faas, client_of(faas, server.url).check())
    assert "answered 404 to GET /v2/: <html>nginx; correct registry=" in text


def test_a_registry_that_hangs_ends_with_the_deadline(faas):
    with servers.Server(servers.hang()) as server:
        text = told(faas, client_of(faas, server.url, seconds=0.5).check())
    assert "took longer than the 0.5 s" in text


def test_a_redirect_to_a_host_that_is_down_names_both(faas, registry):
    with servers.refusing() as port:
        registry.hook = lambda seen: leading(f"http://127.0.0.1:{port}/x")
        text = told(faas, client_of(faas, registry.url).blob("t/one", DIGEST))
    assert f"the registry http://127.0.0.1:{port}, to which {registry.url} leads," in text


# ---------------------------------------------------------------- a base in another registry


def test_only_what_the_target_lacks_is_carried_over(faas, registry, second):
    registry.store.add_image("t/base", "1", LAYERS)
    second.store.add_blob("t/fn", LAYERS[0])
    source, target = client_of(faas, registry.url), client_of(faas, second.url)
    base = base_of(faas, source)
    done = [faas.run(target.carry(each, source, "t/base", "t/fn")) for each in base.layers]
    assert done == ["there", "pushed"]
    assert second.store.blobs["t/fn"][digest_of(LAYERS[1])] == LAYERS[1]
    before = len(registry.requests)
    # The next function has them mounted, and nobody asks the base's registry again.
    done = [faas.run(target.carry(each, source, "t/base", "t/other")) for each in base.layers]
    assert done == ["mounted", "mounted"]
    assert len(registry.requests) == before


def test_a_layer_that_was_read_is_not_fetched_again(faas, registry, second, tmp_path):
    layers = [layer().data, layer().data]
    registry.store.add_image("t/base", "1", layers)
    source, target = client_of(faas, registry.url), client_of(faas, second.url, folder=tmp_path)
    base = base_of(faas, source)
    faas.run(scan(source, base, tmp_path, keeping=True))
    # One that was damaged meanwhile is.
    (tmp_path / "bases" / f"{digest_of(layers[1])[7:]}.layer").write_bytes(b"x" * len(layers[1]))
    before = len(registry.requests)
    for each in base.layers:
        assert faas.run(target.carry(each, source, "t/base", "t/fn")) == "pushed"
    assert [seen.path for seen in registry.requests[before:]] == [
        f"/v2/t/base/blobs/{digest_of(layers[1])}"
    ]
    assert set(layers) <= set(second.store.blobs["t/fn"].values())
    assert list(tmp_path.glob("**/*.layer")) == []


def test_a_layer_that_never_came_whole_is_not_kept(faas, registry, tmp_path):
    registry.store.add_image("t/base", "1", LAYERS)
    source = client_of(faas, registry.url)
    base = base_of(faas, source)
    registry.hook = lambda seen: endless if "/blobs/" in seen.path else None
    told(faas, scan(source, base, tmp_path, keeping=True))
    assert list((tmp_path / "bases").iterdir()) == []


def test_a_layer_of_the_same_registry_is_mounted(faas, registry):
    registry.store.add_image("t/base", "1", LAYERS)
    client = client_of(faas, registry.url)
    base = base_of(faas, client)
    assert faas.run(client.carry(base.layers[0], client, "t/base", "t/fn")) == "mounted"
    assert registry.asked("GET", "/blobs/" + digest_of(LAYERS[0])) == []


def test_a_wrong_layer_never_reaches_the_target(faas, registry, second):
    registry.store.add_image("t/base", "1", LAYERS)
    source, target = client_of(faas, registry.url), client_of(faas, second.url)
    base = base_of(faas, source)
    registry.store.blobs["t/base"][digest_of(LAYERS[0])] = b"z" * len(LAYERS[0])
    assert "gave other bytes" in told(faas, target.carry(base.layers[0], source, "t/base", "t/fn"))
    assert second.asked("PUT") == second.asked("POST") == []


def name_of(text: str) -> ImageName:
    return parse_image(text)


def test_a_base_without_a_host_is_where_is_pushed_to_or_on_docker_hub(faas, registry, second):
    registry.store.add_image("t/here", "1", LAYERS)
    second.store.add_image("t/there", "1", LAYERS)
    target, hub = client_of(faas, registry.url), client_of(faas, second.url)

    def other(host):
        assert host == "docker.io"
        return hub

    for name, expected in (("t/here:1", target), ("t/there:1", hub)):
        found, base = faas.run(find_base(name_of(name), "amd64", target, other))
        assert found is expected
        assert len(base.layers) == 2
    text = told(faas, find_base(name_of("t/nowhere:1"), "amd64", target, other))
    assert (
        f"neither the registry {registry.url} has the base image t/nowhere:1 nor Docker Hub" in text
    )
    before = len(second.requests)
    text = told(faas, find_base(name_of("away/python:2.7"), "amd64", target, other))
    assert "has no base image away/python:2.7" in text
    assert len(second.requests) == before


def test_a_base_with_a_host_is_looked_for_there_alone(faas, registry, second):
    second.store.add_image("t/base", "1", LAYERS)
    target, there = client_of(faas, registry.url), client_of(faas, second.url)
    found, _ = faas.run(
        find_base(name_of(f"{second.host}/t/base:1"), "amd64", target, {second.host: there}.get)
    )
    assert found is there
    registry.store.add_image("t/base", "1", LAYERS)
    found, _ = faas.run(find_base(name_of(f"{registry.host}/t/base:1"), "amd64", target, None))
    assert found is target


def test_docker_hub_has_a_registry_of_another_name():
    for host in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        assert registry_url(host) == "https://registry-1.docker.io"
    hub = Registry(lambda request: iter(()), registry_url("docker.io"), own=False)
    assert hub.host == "docker.io"
    assert hub.path_of("python") == "library/python"
    assert hub.path_of("me/python") == "me/python"
    assert registry_url("r.lan:5000", ["r.lan:5000"]) == "http://r.lan:5000"
    assert registry_url("r.lan:5001", ["r.lan:5000"]) == "https://r.lan:5001"


@given(st.binary(max_size=3000), st.lists(st.integers(1, 700), max_size=6))
def test_a_blob_is_right_however_it_is_cut(data, cuts):
    from away.connection.conversations import Reply
    from away.publish.transfer import CheckedBlob

    kept = Kept()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blob = CheckedBlob(digest, len(data), kept, "http://x")
    for _ in range(2):
        blob.begin(Reply(200))
        stream = io.BytesIO(data)
        for cut in [*cuts, 5000]:
            blob.write(stream.read(cut))
        blob.finish()
        assert bytes(kept.data) == data
    with pytest.raises(PublishFailed, match="gives more"):
        blob.write(b"x")

"""Images at the embedded gateway: the registry's answers, unpacking what may be hostile, launching."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import away.gateway
from away.gateway import layers, references
from away.gateway.base_image import MARKERS, MINOR, marker_layer
from away.gateway.blobs import Blobs
from away.gateway.images import Images, lay_over
from away.gateway.layers import LayerRefused, unpack
from away.gateway.providers.launcher import take_apart
from tests.images import ECHO, LAYER, MANIFEST, Registry, digest_of, tar_of

GZIPPED = LAYER + "+gzip"
ZSTD = LAYER + "+zstd"


@pytest.fixture(scope="module")
def faas(tmp_path_factory):
    state = tmp_path_factory.mktemp("gateway") / "state"
    with away.gateway.run(state=state, announce=False) as faas:
        faas.state = state
        yield faas


@pytest.fixture
def registry(faas):
    with Registry(faas.url, faas.user, faas.password) as registry:
        yield registry


def code_of(body):
    return json.loads(body)["errors"][0]["code"]


# The registry


def test_the_base_image_is_there_with_one_marker_layer_and_the_environment(registry):
    assert registry.call("GET", "/v2/")[0] == 200
    manifest, config = registry.base()
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 1
    assert config["rootfs"]["diff_ids"][0] == digest_of(marker_layer(MINOR))
    labels = config["config"]["Labels"]
    environment = json.loads(labels["away.environment"])
    assert "aiohttp" in environment
    assert labels["away.python"] == ".".join(map(str, sys.version_info[:3]))
    assert (
        registry.call("GET", "/v2/away/python/tags/list")[2]
        == json.dumps({"name": "away/python", "tags": [MINOR]}).encode()
    )
    assert len(set(MARKERS.values())) == len(MARKERS)


def test_a_blob_goes_up_whole_in_pieces_or_by_mount_and_comes_back(registry):
    data = b"some bytes" * 1000
    digest = digest_of(data)
    status, headers, _ = registry.call("POST", f"/v2/a/b/blobs/uploads/?digest={digest}", data)
    assert (status, headers["Docker-Content-Digest"]) == (201, digest)
    status, headers, body = registry.call("GET", headers["Location"])
    assert (status, body, headers["Content-Length"]) == (200, data, str(len(data)))

    other = data[::-1]
    _, headers, _ = registry.call("POST", "/v2/a/b/blobs/uploads/", b"")
    where = headers["Location"]
    for start, end in ((0, 4000), (4000, 9000)):
        piece = {"Content-Range": f"{start}-{end - 1}"}
        status, headers, _ = registry.call("PATCH", where, other[start:end], piece)
        assert (status, headers["Range"]) == (202, f"0-{end - 1}")
    status, _, body = registry.call("PATCH", where, b"x", {"Content-Range": "1-1"})
    assert status == 416
    status, _, _ = registry.call("PUT", f"{where}?digest={digest_of(other)}", other[9000:])
    assert status == 201

    mount = f"/v2/c/blobs/uploads/?mount={digest}&from=a/b"
    assert registry.call("POST", mount, b"")[0] == 201
    unknown = f"/v2/c/blobs/uploads/?mount={digest_of(b'unknown')}&from=a/b"
    status, headers, _ = registry.call("POST", unknown, b"")
    assert status == 202
    assert registry.call("DELETE", headers["Location"])[0] == 204
    assert registry.call("GET", headers["Location"])[0] == 404
    status, headers, body = registry.call("HEAD", f"/v2/c/blobs/{digest}")
    assert (status, headers["Content-Length"], body) == (200, str(len(data)), b"")


NOWHERE = "/v2/a/blobs/uploads/" + "0" * 32
DIGEST = digest_of(b"nothing that is here")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", f"/v2/a/blobs/{DIGEST}", None, 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/a/blobs/sha256:short", None, 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/md5:0", None, 400, "DIGEST_INVALID"),
        ("DELETE", f"/v2/a/blobs/{DIGEST}", None, 405, "UNSUPPORTED"),
        ("GET", "/v2/a/manifests/none", None, 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/-bad", None, 400, "TAG_INVALID"),
        ("GET", "/v2/A/manifests/x", None, 400, "NAME_INVALID"),
        ("GET", "/v2/a/../b/manifests/x", None, 400, "NAME_INVALID"),
        ("GET", "/v2/-a/tags/list", None, 400, "NAME_INVALID"),
        ("GET", f"/v2/{'a/' * 150}b/tags/list", None, 400, "NAME_INVALID"),
        ("GET", "/v2/nobody/tags/list", None, 404, "NAME_UNKNOWN"),
        ("GET", "/v2/a/nothing", None, 404, "UNSUPPORTED"),
        ("PATCH", NOWHERE, b"x", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", b"other", 400, "DIGEST_INVALID"),
        ("POST", "/v2/a/blobs/uploads/?digest=x", b"other", 400, "DIGEST_INVALID"),
        ("PUT", "/v2/a/manifests/x", b"{", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/a/manifests/x", b"[]", 400, "MANIFEST_INVALID"),
        ("PUT", "/v2/a/manifests/x", b'{"schemaVersion": 1}', 400, "MANIFEST_INVALID"),
        ("PUT", f"/v2/a/manifests/{DIGEST}", b"{}", 400, "DIGEST_INVALID"),
        ("PUT", "/v2/a/manifests/x", b"x" * (5 << 20), 413, "SIZE_INVALID"),
    ],
)
def test_what_the_registry_refuses_it_refuses_in_the_specs_words(
    registry, method, path, body, status, code
):
    found, _, answer = registry.call(method, path, body, {"Content-Type": MANIFEST})
    assert (found, code_of(answer)) == (status, code)


def test_a_manifest_that_names_absent_blobs_is_refused_with_the_digest(registry):
    descriptor = {"mediaType": "x", "digest": DIGEST, "size": 1}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": []}
    status, _, body = registry.call(
        "PUT", "/v2/a/manifests/x", json.dumps(document).encode(), {"Content-Type": MANIFEST}
    )
    assert (status, code_of(body)) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert json.loads(body)["errors"][0]["detail"] == {"digest": DIGEST}


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_digest(registry):
    registry.push_image("m/x:1", files={"f": "1"}, command=["python3", "/f"])
    status, headers, by_tag = registry.call("GET", "/v2/m/x/manifests/1")
    assert (status, headers["Content-Type"]) == (200, MANIFEST)
    digest = headers["Docker-Content-Digest"]
    assert digest == digest_of(by_tag)
    assert registry.call("GET", f"/v2/m/x/manifests/{digest}")[2] == by_tag
    status, headers, body = registry.call("HEAD", "/v2/m/x/manifests/1")
    assert (status, headers["Content-Length"], body) == (200, str(len(by_tag)), b"")
    assert registry.call("DELETE", f"/v2/m/x/manifests/{digest}")[0] == 202
    assert registry.call("GET", "/v2/m/x/manifests/1")[0] == 404


def test_a_blob_that_changed_on_the_disk_is_not_served_and_can_be_pushed_again(faas, registry):
    data = b"precious"
    digest = registry.push_blob("a", data)["digest"]
    path = faas.state / "blobs" / "sha256" / digest.removeprefix("sha256:")
    path.write_bytes(b"tampered")
    assert registry.call("GET", f"/v2/a/blobs/{digest}")[0] == 404
    registry.push_blob("a", data)
    assert registry.call("GET", f"/v2/a/blobs/{digest}")[2] == data


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_none(text):
    found = references.parse(text)
    assert found is None or references.is_repository(found.repository)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("echo", ("", "echo", "", "")),
        ("team/echo:1", ("", "team/echo", "1", "")),
        ("127.0.0.1:80/a/b:1", ("127.0.0.1:80", "a/b", "1", "")),
        ("localhost/a", ("localhost", "a", "", "")),
        ("[::1]:80/a", ("[::1]:80", "a", "", "")),
        (f"a@{DIGEST}", ("", "a", "", DIGEST)),
        ("", None),
        ("a:", None),
        ("a@sha256:1", None),
        ("../a", None),
        ("a//b", None),
        ("ex ample.com/a", None),
    ],
)
def test_references_are_taken_apart(text, wanted):
    assert references.parse(text) == wanted


# Unpacking


def member(name, kind=tarfile.REGTYPE, link="", content=b"", mode=0o644):
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size, found.mode = kind, link, len(content), mode
    return found, content


def tar_with(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for found, content in members:
            tar.addfile(found, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(params=["the library's filter", "our own filter"])
def filters(request, monkeypatch):
    """Both ways of unpacking: as Pythons with tarfile's data filter do, and as 3.11.0 to 3.11.3."""
    if request.param == "our own filter":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


def unpacked(tmp_path, data, media_type=LAYER, diff_id=None):
    blob = tmp_path / "blobs" / "blob"
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(gzip.compress(data) if media_type == GZIPPED else data)
    (tmp_path / "out").mkdir()
    unpack(blob, media_type, diff_id or digest_of(data), tmp_path / "out" / "layer")
    return tmp_path / "out" / "layer" / "tree"


HOSTILE = {
    "up and out": [member("../../evil", content=b"x")],
    "up and out below a folder": [member("a/../../evil", content=b"x")],
    "a link out": [member("a", tarfile.SYMTYPE, "../../..")],
    "an absolute link": [member("a", tarfile.SYMTYPE, "/etc/passwd")],
    "a hard link out": [member("a", tarfile.LNKTYPE, "../../etc/passwd")],
    "an absolute hard link": [member("a", tarfile.LNKTYPE, "/etc/passwd")],
    "a hard link to nothing": [member("a", tarfile.LNKTYPE, "lower")],
    "through a link": [member("a", tarfile.SYMTYPE, "."), member("a/b", content=b"x")],
    "through two links": [
        member("d", tarfile.DIRTYPE, mode=0o755),
        member("d/l", tarfile.SYMTYPE, ".."),
        member("d/l/evil", content=b"x"),
    ],
    "a hard link to a link": [
        member("a/b/c/in", tarfile.SYMTYPE, "../../.."),
        member("out", tarfile.LNKTYPE, "a/b/c/in"),
    ],
    "a hard link below a link": [
        member("d/file", content=b"x"),
        member("l", tarfile.SYMTYPE, "d"),
        member("hard", tarfile.LNKTYPE, "l/file"),
    ],
    "a hard link to what was": [
        member("a/b/in", tarfile.SYMTYPE, "../.."),
        member("a", content=b"x"),
        member("out", tarfile.LNKTYPE, "a/b/in"),
    ],
    "where compiled code goes": [
        member("a/b/c/in", tarfile.SYMTYPE, "../../.."),
        member("evil.py", content=b"x = 1"),
        member("__pycache__", tarfile.LNKTYPE, "a/b/c/in"),
    ],
    "a link to itself": [member("a", tarfile.SYMTYPE, "a")],
    "a path too long to be resolved": [
        *(
            each
            for depth in range(16)
            for each in (
                member("/".join(["d" * 247] * (depth + 1)), tarfile.DIRTYPE, mode=0o755),
                member(
                    "/".join(["d" * 247] * depth + ["abcdefghijklmnop"[depth]]),
                    tarfile.SYMTYPE,
                    "d" * 247,
                ),
            )
        ),
        member("/".join("abcdefghijklmnop") + "/" + "l" * 254, tarfile.SYMTYPE, "../" * 16),
        member("out", tarfile.SYMTYPE, "/".join("abcdefghijklmnop") + "/" + "l" * 254 + "/.." * 8),
    ],
    "below a file": [member("a", content=b"x"), member("a/b", content=b"x")],
    "a device": [member("null", tarfile.CHRTYPE)],
    "a pipe": [member("pipe", tarfile.FIFOTYPE)],
}


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_layer_is_refused_and_writes_nothing_outside(tmp_path, members):
    with pytest.raises(LayerRefused) as caught:
        unpacked(tmp_path, tar_with(*members))
    assert str(caught.value)
    assert {each.name for each in (tmp_path / "out").iterdir()} <= {"layer"}


@pytest.mark.usefixtures("filters")
def test_code_is_compiled_beside_its_source_and_not_where_a_link_leads(tmp_path):
    data = tar_with(
        member("plain/one.py", content=b"x = 1"),
        member("other/kept", content=b""),
        member("linked/two.py", content=b"x = 2"),
        member("linked/__pycache__", tarfile.SYMTYPE, "../other"),
    )
    tree = unpacked(tmp_path, data)
    assert [each.name.split(".")[0] for each in (tree / "plain/__pycache__").iterdir()] == ["one"]
    assert [each.name for each in (tree / "other").iterdir()] == ["kept"]


def headers_of_headers(count):
    header = tarfile.TarInfo("p")
    body = b"11 a=bcdef\n"
    header.type, header.size = tarfile.XHDTYPE, len(body)
    chained = (header.tobuf(tarfile.USTAR_FORMAT) + body.ljust(512, b"\0")) * count
    return chained + tarfile.TarInfo("file").tobuf() + bytes(1024)


@pytest.mark.usefixtures("filters")
def test_headers_of_headers_without_end_are_refused(tmp_path):
    with pytest.raises(LayerRefused, match="too many of its headers belong to one file"):
        unpacked(tmp_path, headers_of_headers(2000))


def test_an_image_whose_layer_cannot_be_unpacked_is_refused_in_words(registry):
    image = registry.push_image("h/headers:1", [headers_of_headers(2000)], command=["python3", "x"])
    body = json.dumps({"service": "headers", "image": image}).encode()
    status, _, text = registry.call("POST", "/system/functions", body)
    assert status == 400
    assert b"too many of its headers belong to one file" in text


def test_layers_do_not_lead_out_together(faas, registry):
    apart = [
        tar_with(member("up", tarfile.SYMTYPE, "a/b/../..")),
        tar_with(member("a", tarfile.SYMTYPE, "."), member("b", tarfile.DIRTYPE, mode=0o755)),
    ]
    image = registry.push_image("h/two:1", apart, command=["python3", "x"], folder="/up/made")
    body = json.dumps({"service": "two", "image": image}).encode()
    status, _, text = registry.call("POST", "/system/functions", body)
    registry.call("DELETE", "/system/functions", b'{"functionName": "two"}')
    # Newer filters make the link one to the image's own root.
    assert status == 200 or b"'up' leads out of the image" in text
    assert not (faas.state / "images" / "made").exists()


@pytest.mark.usefixtures("filters")
@pytest.mark.parametrize("media_type", [LAYER, GZIPPED])
def test_a_layer_is_unpacked_with_safe_modes(tmp_path, media_type):
    data = tar_with(
        member("/abs/file", content=b"1", mode=0o666),
        member("./run", content=b"2", mode=0o4755),
        member("folder", tarfile.DIRTYPE, mode=0o000),
        member("folder/link", tarfile.SYMTYPE, "../run"),
        member("folder/hard", tarfile.LNKTYPE, "run"),
        member("run", content=b"3", mode=0o755),
    )
    tree = unpacked(tmp_path, data, media_type)
    assert (tree / "abs" / "file").read_bytes() == b"1"
    assert (tree / "run").read_bytes() == b"3"
    assert (tree / "folder" / "link").read_bytes() == b"3"
    assert (tree / "folder" / "hard").read_bytes() == b"2"
    assert (tree / "abs" / "file").stat().st_mode & 0o7777 == 0o444
    assert (tree / "run").stat().st_mode & 0o7777 == 0o555
    assert (tree / "folder").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("data", "media_type", "diff_id", "text"),
    [
        (tar_of({"f": "x"}), ZSTD, None, "zstd, which this gateway does not read"),
        (tar_of({"f": "x"}), "text/plain", None, "'text/plain', which"),
        (tar_of({"f": "x"}), LAYER, DIGEST, "its content is not the sha256:"),
        (b"\x1f\x8bbroken", LAYER, None, ""),
        (tar_of({"f": "x"})[:700], LAYER, None, ""),
        (b"no tar" * 200, LAYER, None, ""),
    ],
    ids=["zstd", "no layer", "another digest", "broken gzip", "cut", "no tar"],
)
def test_a_layer_that_is_not_what_it_says_is_refused(tmp_path, data, media_type, diff_id, text):
    with pytest.raises(LayerRefused) as caught:
        unpacked(tmp_path, data, media_type, diff_id)
    assert text in str(caught.value)


def test_a_layer_over_the_limits_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MAX_LAYER_BYTES", 100_000)
    with pytest.raises(LayerRefused, match="unpacks to more than 100000 bytes"):
        unpacked(tmp_path, tar_of({"f": bytes(200_000)}), GZIPPED)


def test_a_layer_of_too_many_entries_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "MAX_ENTRIES", 10)
    with pytest.raises(LayerRefused, match="more than 10 entries"):
        unpacked(tmp_path, tar_of({str(number): "" for number in range(11)}))


def test_a_header_that_lies_about_its_size_takes_no_memory(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 7 << 30
    with pytest.raises(LayerRefused, match=r"claims to be|header|data"):
        unpacked(tmp_path, header.tobuf() + bytes(2048))


@given(st.binary(max_size=3000))
def test_any_bytes_are_a_layer_or_are_refused(tmp_path_factory, data):
    try:
        unpacked(tmp_path_factory.mktemp("any"), data)
    except LayerRefused as error:
        assert str(error)  # noqa: PT017


def test_the_rules_hold_on_a_python_without_the_filter(tmp_path):
    found = Path("/usr/bin/python3")
    version = (
        subprocess.run(
            [found, "-c", "import sys; print(sys.version_info[:3])"], capture_output=True, text=True
        ).stdout
        if found.exists()
        else ""
    )
    if version.strip() not in ("(3, 11, 0)", "(3, 11, 1)", "(3, 11, 2)", "(3, 11, 3)"):
        pytest.skip("no Python 3.11.0 to 3.11.3 here")
    cases = {name: tar_with(*members) for name, members in HOSTILE.items()}
    cases["right"] = tar_of({"a/b": "x"}, links={"a/c": "b"})
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import hashlib, pathlib, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from away.gateway.layers import LayerRefused, unpack\n"
        "for blob in sorted(pathlib.Path(sys.argv[2]).iterdir()):\n"
        "    digest = 'sha256:' + hashlib.sha256(blob.read_bytes()).hexdigest()\n"
        "    try:\n"
        f"        unpack(blob, {LAYER!r}, digest, pathlib.Path(sys.argv[3], blob.name))\n"
        "        print(blob.name)\n"
        "    except LayerRefused:\n"
        "        pass\n"
    )
    root = str(Path(away.gateway.__file__).parents[2])
    (tmp_path.parent / "unpacked").mkdir()
    done = subprocess.run(
        [found, "-c", code, root, tmp_path, tmp_path.parent / "unpacked"],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("right\n", "")


def test_upper_layers_replace_and_remove_what_is_below(tmp_path):
    def layer(name, *members):
        (tmp_path / name).mkdir()
        return unpacked(tmp_path / name, tar_with(*members)).parent

    lower = layer(
        "lower",
        member("a/one", content=b"1"),
        member("a/two", content=b"2"),
        member("b/three", content=b"3"),
        member("c/four", content=b"4"),
        member("link", tarfile.SYMTYPE, "b"),
        member("file", content=b"5"),
    )
    upper = layer(
        "upper",
        member("a/.wh.one"),
        member("b/.wh..wh..opq"),
        member("b/new", content=b"6"),
        member("c", content=b"a file now"),
        member("link/inner", content=b"7"),
        member("file/inner", content=b"8"),
        member(".wh..wh.plnk"),
        member(".wh..."),
    )
    root = tmp_path / "root"
    root.mkdir()
    for each in (lower, upper):
        lay_over(root, each)
    files = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    assert files == {
        "a/two": b"2",
        "b/new": b"6",
        "c": b"a file now",
        "link/inner": b"7",
        "file/inner": b"8",
    }
    assert not (root / "link").is_symlink()
    # What lies below other images stays as it was.
    assert (lower / "tree" / "a" / "one").read_bytes() == b"1"


def test_an_image_is_unpacked_once_however_many_ask(tmp_path):
    import asyncio

    from away.gateway.images import Image

    blobs = Blobs(tmp_path / "blobs")
    data = tar_of({"f": "x"})
    digest = blobs.add(data)
    image = Image(DIGEST, {}, ("python3",), "/", ((LAYER, digest, digest),))

    async def main():
        images = Images(blobs, tmp_path)
        return await asyncio.gather(*(images.root(image) for _ in range(20)))

    roots = asyncio.run(main())
    assert len(set(roots)) == 1
    assert (roots[0] / "f").read_text() == "x"


# What is removed again


def age(state):
    """Let everything in a state be two hours old."""
    then = time.time() - 7200
    for folder in ("blobs/sha256", "layers", "images"):
        for path in (state / folder).iterdir():
            os.utime(path, (then, then))


def stored(state):
    """Count images, layers and blobs."""
    return [len(list((state / each).iterdir())) for each in ("images", "layers", "blobs/sha256")]


def test_what_no_function_needs_is_removed_and_what_is_young_is_kept(tmp_path):
    state = tmp_path / "state"

    def gateway():
        return away.gateway.run(state=state, announce=False)

    def speaking(faas):
        return Registry(faas.url, faas.user, faas.password)

    def until(wanted):
        end = time.monotonic() + 20
        while (found := stored(state)) != wanted:
            assert time.monotonic() < end, f"{found} instead of {wanted}"
            time.sleep(0.01)

    with gateway() as faas, speaking(faas) as registry:
        base = stored(state)[2]
        for version in ("first", "second"):
            files = {"app/f.py": f"VERSION = {version!r}\n" + ECHO}
            command = ["python3", "/app/f.py"]
            image = registry.push_image(f"g/{version}:1", files=files, command=command)
            registry.deploy("grows", image, "POST" if version == "first" else "PUT")
        # To go back to what was, everything of it is still there.
        assert stored(state) == [2, 3, base + 6]
    with gateway() as faas, speaking(faas) as registry:
        assert registry.call("GET", "/v2/g/first/manifests/1")[0] == 200
    age(state)
    (state / "layers" / ".left-by-a-kill").mkdir()
    os.utime(state / "layers" / ".left-by-a-kill", (0, 0))
    with gateway() as faas, speaking(faas) as registry:
        until([1, 2, base + 3])
        assert registry.call("GET", "/v2/g/first/manifests/1")[0] == 404
        assert registry.call("GET", "/v2/g/second/manifests/1")[0] == 200
        assert registry.call("POST", "/function/grows", b"")[0] == 200
        registry.push_image("g/not-deployed-yet:1", files={"x": "y"}, command=["python3", "x"])
        registry.call("DELETE", "/system/functions", b'{"functionName": "grows"}')
    with gateway() as faas, speaking(faas) as registry:
        # Removed a moment ago, and pushed a moment ago.
        assert registry.call("GET", "/v2/g/not-deployed-yet/manifests/1")[0] == 200
        assert registry.call("GET", "/v2/g/second/manifests/1")[0] == 200
    age(state)
    with gateway() as faas, speaking(faas) as registry:
        until([0, 1, base])  # the base image with its layer
        registry.base()


def test_an_upload_that_goes_on_is_not_crowded_out(registry):
    _, headers, _ = registry.call("POST", "/v2/a/blobs/uploads/", b"")
    where = headers["Location"]
    assert registry.call("PATCH", where, b"abc")[0] == 202
    for _ in range(300):
        assert registry.call("POST", "/v2/a/blobs/uploads/", b"")[0] == 202
    assert registry.call("PUT", f"{where}?digest={digest_of(b'abc')}", b"")[0] == 201


# What can run


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"on_base": False}, f"does not stand on away/python:{MINOR}"),
        ({"command": ["node", "x.js"]}, "starts with 'node'"),
        ({"command": []}, "starts with ''"),
        ({"command": ["python3"]}, "without a script, a module or code"),
        ({"command": ["python3", "-m"]}, "-m no value"),
        ({"command": ["python3.5", "/f.py"]}, "starts with 'python3.5'"),
        ({"media_type": ZSTD}, "zstd, which this gateway does not read"),
        ({"diff_ids": [DIGEST]}, "its content is not"),
        ({"diff_ids": []}, "layers and its config says"),
        ({"layers": [tar_with(member("../x", content=b"1"))]}, "leads out of the image"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_image_that_cannot_run_here_is_refused_in_words(registry, changes, text):
    wanted = {"files": {"f.py": ""}, "command": ["python3", "/f.py"], **changes}
    image = registry.push_image("r/bad:1", **wanted)
    body = json.dumps({"service": "bad", "image": image}).encode()
    status, _, answer = registry.call("POST", "/system/functions", body)
    assert status == 400
    assert text in answer.decode()


def test_an_image_on_another_minors_base_says_which_python_it_needs(registry):
    data = marker_layer("3.19")
    image = registry.push_image("r/other:1", [data], command=["python3", "-c", "0"], on_base=False)
    body = json.dumps({"service": "bad", "image": image}).encode()
    _, _, answer = registry.call("POST", "/system/functions", body)
    assert f"stands on away/python:3.19 and this gateway runs Python {MINOR}" in answer.decode()


SHOW = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
import helper, beside
FOUND = {"argv": sys.argv, "name": __name__, "cwd": os.getcwd(), "helper": helper.WHERE,
         "beside": beside.WHERE, "path": sys.path, "orig": os.environ.get("PYTHONPATH", ""),
         "isolated": sys.flags.isolated, "main": sys.modules["__main__"].__dict__ is globals()}
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(FOUND).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
FILES = {
    "app/show.py": SHOW,
    "app/beside.py": "WHERE = 'beside'",
    "lib/helper.py": "WHERE = 'image'",
    "lib/aiohttp.py": "WHERE = 'the image before site-packages'",
    "etc/data": "x",
}


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (["python3", "/app/show.py", "one", "/etc/data", "/etc/none"], None),
        (["python", "show.py", "one", "/etc/data", "/etc/none"], None),
        (
            [f"/usr/local/bin/python{MINOR}", "-u", "-B", "-W", "ignore", "/app/show.py", "one"],
            None,
        ),
        (["python3", "-m", "show", "one"], None),
        (["python3", "-Xdev", "-um", "show", "one"], None),
        (["python3", "-c", SHOW, "one"], "-c"),
    ],
    ids=["script", "relative script", "options", "module", "joined options", "code"],
)
def test_python_commands_run_from_inside_the_image(registry, command, argv):
    image = registry.push_image(
        "r/show:1", files=FILES, command=command, env=["PYTHONPATH=/lib", "A=b=c"], folder="/app"
    )
    registry.deploy("show", image)
    found = json.loads(registry.call("GET", "/function/show")[2])
    registry.call("DELETE", "/system/functions", b'{"functionName": "show"}')
    root = found["cwd"].removesuffix("/app")
    assert Path(root, "etc/data").exists() or root
    assert (found["helper"], found["beside"]) == ("image", "beside")
    assert found["argv"][0] == (argv or f"{root}/app/show.py")
    assert found["argv"][1] == "one"
    if len(found["argv"]) > 2:
        assert found["argv"][2:] == [f"{root}/etc/data", "/etc/none"]
    assert (found["name"], found["isolated"], found["main"]) == ("__main__", 1, True)
    assert found["orig"] == f"{root}/lib"
    paths = found["path"]
    own = [paths.index(each) for each in (f"{root}/app" if argv is None else "", f"{root}/lib")]
    packages = [number for number, each in enumerate(paths) if "site-packages" in each]
    assert max(own) < min(packages)


@pytest.mark.parametrize("flag", ["-I", "-E", "-sE"])
def test_a_command_that_ignores_the_environment_does_not_get_pythonpath(registry, flag):
    code = SHOW.replace("import helper, beside", "class helper: WHERE = 0\nbeside = helper")
    command = ["python3", flag, "-c", code]
    image = registry.push_image("r/own:1", command=command, env=["PYTHONPATH=/lib"])
    registry.deploy("own", image)
    found = json.loads(registry.call("GET", "/function/own")[2])
    registry.call("DELETE", "/system/functions", b'{"functionName": "own"}')
    assert not [each for each in found["path"] if each.endswith("/lib")]
    assert ("" in found["path"]) is (flag != "-I")


@given(
    st.lists(st.sampled_from(["-", "-u", "-m", "-c", "x", "-Wx", "-X", "--x", "-Im", "", "-uB"]))
)
def test_any_arguments_are_a_command_or_are_refused(arguments):
    try:
        found = take_apart(arguments)
    except ValueError as error:
        assert "Python" in str(error)  # noqa: PT017
    else:
        assert len(found.arguments) < len(arguments)


def test_functions_that_share_a_layer_share_its_files(faas, registry):
    shared = tar_of({"opt/lib/shared.py": "X = 1"})
    for number in (1, 2):
        own = tar_of({"own.py": f"N = {number}"})
        code = "import os, socket; s = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\nwhile 1: s.accept()"
        image = registry.push_image(
            f"r/s{number}:1", [shared, own], command=["python3", "-c", code]
        )
        registry.deploy(f"s{number}", image)
    copies = list((faas.state / "images").glob("*/opt/lib/shared.py"))
    assert len(copies) == 2
    assert len({each.stat().st_ino for each in copies}) == 1
    compiled = list((faas.state / "images").glob("*/opt/lib/__pycache__/shared.*.pyc"))
    assert len(compiled) == 2


ANYWHERE = """
import os, socket, sys
family, host, alone = eval(sys.argv[1])
server = socket.socket(family)
if alone is not None:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
server.bind((host, int(os.environ["PORT"])))
print("bound to", server.getsockname()[0], flush=True)
other = socket.socket()
other.bind(("0.0.0.0", 0))
print("other", other.getsockname()[0], flush=True)
server.listen()
while True:
    server.accept()
"""


@pytest.mark.parametrize(
    ("wanted", "bound"),
    [
        ("(socket.AF_INET, '0.0.0.0', None)", "127.0.0.1"),
        ("(socket.AF_INET, '', None)", "127.0.0.1"),
        ("(socket.AF_INET6, '::', 0)", "::ffff:127.0.0.1"),
    ],
)
def test_a_function_that_would_listen_everywhere_listens_on_loopback(registry, wanted, bound):
    image = registry.push_image("r/any:1", command=["python3", "-c", ANYWHERE, wanted])
    registry.deploy("any", image)
    until = time.monotonic() + 10
    while (log := registry.call("GET", "/system/logs?name=any")[2]).count(b"\n") < 2:
        assert time.monotonic() < until
    registry.call("DELETE", "/system/functions", b'{"functionName": "any"}')
    lines = [json.loads(line)["text"] for line in log.splitlines()]
    assert lines == [f"bound to {bound}", "other 0.0.0.0"]


def test_a_working_folder_stays_inside_the_image(faas, registry):
    code = SHOW.replace("import helper, beside", "class helper: WHERE = 0\nbeside = helper")
    image = registry.push_image("r/cwd:1", command=["python3", "-c", code], folder="/../../a/../b")
    registry.deploy("cwd", image)
    found = json.loads(registry.call("GET", "/function/cwd")[2])
    registry.call("DELETE", "/system/functions", b'{"functionName": "cwd"}')
    assert Path(found["cwd"]).parent.parent == faas.state / "images"
    assert Path(found["cwd"]).name == "b"

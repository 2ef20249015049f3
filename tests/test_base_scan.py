"""What a base image holds, read from layers that stream by."""

from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from away import FaasConnection
from away.connection.conversations import Deadline
from away.exceptions import PublishFailed
from away.publish import base_scan, tar_stream
from away.publish.base_scan import Scan, scan
from away.publish.credentials import Credentials
from away.publish.following import following
from away.publish.references import parse_image
from away.publish.registry import Memory, Registry
from away.publish.tar_stream import TarReader, Unpacker, clean
from tests.token_registry import open_registry

GLIBC = (
    b"\x7fELF"
    + b"x" * 5000
    + (b"GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n")
    + b"y" * 70_000
)


def tar(*entries: tuple[str, bytes | str], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """Make an archive of files (bytes) and links (text; ``=x`` is a hard one)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for path, content in entries:
            entry = tarfile.TarInfo(path)
            if isinstance(content, str):
                entry.type = tarfile.LNKTYPE if content.startswith("=") else tarfile.SYMTYPE
                entry.linkname = content.removeprefix("=")
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def faas():
    with FaasConnection("http://127.0.0.1:9", password="x-x-x-x-x") as connection:
        yield connection


def scanned(faas, layers, cache=None, search=""):
    with open_registry() as server:
        server.store.add_image("t/base", "1", layers)

        def ask(request):
            return faas.conversation_request(request, deadline=Deadline(20))

        credentials = Credentials(server.host, environ={"HOME": "/none"})
        registry = Registry(ask, server.url, own=False, memory=Memory(), credentials=credentials)
        base = faas.run(registry.base(parse_image("t/base:1"), ""))
        found = faas.run(scan(registry, base, cache, search=search))
        asked = len(server.requests)
        assert faas.run(scan(registry, base, cache, search=search)) == found
        again = len(server.requests) - asked
    return found, again


DEBIAN = [
    ("./lib", "usr/lib"),
    ("./bin", "usr/bin"),
    ("./usr/lib/x86_64-linux-gnu/libc.so.6", GLIBC),
    ("./usr/bin/python3.11", b"elf"),
    ("./usr/bin/python3", "python3.11"),
]
CASES = {
    "debian": ([tar(*DEBIAN)], Scan("3.11", (2, 36))),
    "gzip": ([gzip.compress(tar(*DEBIAN))], Scan("3.11", (2, 36))),
    "two members of gzip": (
        [gzip.compress(tar(*DEBIAN)[:70_000]) + gzip.compress(tar(*DEBIAN)[70_000:])],
        Scan("3.11", (2, 36)),
    ),
    "gnu": ([tar(*DEBIAN, kind=tarfile.GNU_FORMAT)], Scan("3.11", (2, 36))),
    "official": (
        [
            tar(("lib/aarch64-linux-gnu/libc.so.6", GLIBC), ("usr/bin/python3.9", b"x")),
            tar(("usr/local/bin/python3.13", b"x"), ("usr/local/bin/python3", "python3.13")),
        ],
        Scan("3.13", (2, 36)),
    ),
    "alpine": (
        [
            tar(("lib/ld-musl-x86_64.so.1", b"x"), ("lib/libc.musl-x86_64.so.1", "ld-musl")),
            tar(("usr/bin/python3.12", b"x"), ("usr/bin/python3", "/usr/bin/python3.12")),
        ],
        Scan("3.12", (0, 0)),
    ),
    "old debian": (
        [
            tar(
                ("lib/x86_64-linux-gnu/libc-2.28.so", b"x"),
                ("lib/x86_64-linux-gnu/libc.so.6", "libc-2.28.so"),
                ("usr/bin/python3.7", b"x"),
                ("usr/bin/python3", "=usr/bin/python3.7"),
            )
        ],
        Scan("3.7", (2, 28)),
    ),
    "symbols": (
        [tar(("lib64/libc.so.6", b"\0GLIBC_2.2.5\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.17\0"))],
        Scan("", (2, 34)),
    ),
    "alternatives": (
        [
            tar(
                ("usr/bin/python3", "/etc/alternatives/python3"),
                ("etc/alternatives/python3", "/usr/local/python/bin/python3.10"),
                ("usr/local/python/bin/python3.10", b"x"),
            )
        ],
        Scan("3.10", None),
    ),
    "no link": ([tar(("usr/bin/python3", b"x"), ("usr/bin/python3.8", b"x"))], Scan("3.8", None)),
    "two without a link": (
        [tar(("usr/bin/python3", b"x"), ("usr/bin/python3.8", b"x"), ("usr/bin/python3.9", b"x"))],
        Scan("", None),
    ),
    "replaced above": (
        [
            tar(("usr/bin/python3", "python3.8"), ("usr/bin/python3.8", b"x")),
            tar(("usr/bin/python3", "python3.9"), ("usr/bin/python3.9", b"x")),
        ],
        Scan("3.9", None),
    ),
    "taken away above": (
        [
            tar(("usr/local/bin/python3", "python3.8"), ("usr/local/bin/python3.8", b"x")),
            tar(("usr/bin/python3", "python3.9"), ("usr/bin/python3.9", b"x")),
            tar(("usr/local/bin/.wh.python3", b""), ("usr/local/bin/.wh.python3.8", b"")),
        ],
        Scan("3.9", None),
    ),
    "folder taken away": (
        [
            tar(("usr/local/bin/python3", "python3.8"), ("usr/local/bin/python3.8", b"x")),
            tar(("usr/local/bin/.wh..wh..opq", b""), ("usr/bin/python3.9", b"x")),
            tar(("usr/bin/python3", "python3.9")),
        ],
        Scan("3.9", None),
    ),
    "a ring of links": (
        [tar(("usr/bin/python3", "python3.1"), ("usr/bin/python3.1", "python3"))],
        Scan("3.1", None),
    ),
    "only python": ([tar(("usr/bin/python", b"x"), ("usr/bin/python2.7", b"x"))], Scan("", None)),
    "no archive": ([b"zstd or what " * 100], Scan("", None)),
    "short": ([b"x"], Scan("", None)),
    "gzip of no archive": ([gzip.compress(b"x" * 5000)], Scan("", None)),
    "gzip that ends early": ([gzip.compress(tar(*DEBIAN))[:-100]], Scan("", None)),
    "tar that ends early": ([tar(*DEBIAN)[:40_000]], Scan("", None)),
    "long names": (
        [tar(("a/" * 100 + "x" * 150, b"1" * 700), *DEBIAN)],
        Scan("3.11", (2, 36)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_python_and_c_library_are_found(faas, tmp_path, case):
    layers, expected = CASES[case]
    found, again = scanned(faas, layers, tmp_path)
    if case == "a ring of links":
        # Which of the two it says is all the same; it says something.
        return
    assert found == expected
    readable = expected != Scan("", None) or case in ("two without a link", "only python")
    # Once per image, and never where it could not be read.
    assert (again == 0) is readable


def test_the_path_decides_which_python_is_meant(faas):
    layers = [
        tar(
            ("usr/bin/python3", "python3.9"),
            ("usr/bin/python3.9", b"x"),
            ("opt/conda/bin/python3", "python3.12"),
            ("opt/conda/bin/python3.12", b"x"),
        )
    ]
    assert scanned(faas, layers)[0].python == "3.9"
    assert scanned(faas, layers, search="/opt/conda/bin:/usr/bin")[0].python == "3.12"
    assert scanned(faas, layers, search="bin:/nowhere:")[0].python == ""


def test_the_distributions_of_that_python_are_found_and_no_others(faas, tmp_path):
    def installed(site: str, *names: str):
        return [(f"{site}/{name}.dist-info/METADATA", b"x") for name in names]

    lower = tar(
        *DEBIAN,
        *installed("./usr/lib/python3/dist-packages", "six-1.16.0"),
        *installed(
            "./usr/local/lib/python3.11/dist-packages", "numpy-2.1.0", "old-1.0", "torch-2.5+cu1"
        ),
        *installed("./usr/local/lib/python3.9/site-packages", "other-1.0"),
        *installed("./opt/venv/lib/python3.11/site-packages", "numpy-1.0", "inside_venv-3.0"),
        ("./opt/venv/bin/python3", "/usr/bin/python3.11"),
        ("./usr/lib/python3/dist-packages/strange.dist-info/METADATA", b"x"),
    )
    upper = tar(
        ("usr/local/lib/python3.11/dist-packages/.wh.old-1.0.dist-info", b""),
        *installed("usr/local/lib/python3.11/dist-packages", "old-2.0"),
    )
    expected = {"six": "1.16.0", "numpy": "2.1.0", "old": "2.0", "torch": "2.5+cu1"}
    found, again = scanned(faas, [lower, upper], tmp_path)
    assert (found.environment, again) == (expected, 0)
    venv = scanned(faas, [lower], search="/opt/venv/bin:/usr/bin")[0]
    assert venv.python == "3.11"
    assert venv.environment == {"numpy": "1.0", "inside_venv": "3.0"}


def test_a_cache_that_was_damaged_is_made_anew(faas, tmp_path):
    assert scanned(faas, CASES["debian"][0], tmp_path)[1] == 0
    (kept,) = (tmp_path / "bases").iterdir()
    infinite = '{"python": "3.11", "glibc": [Infinity, 1], "environment": {}}'
    odd = '{"python": "3.11\\u001b[31m", "glibc": null, "environment": {}}'
    for damage in (
        infinite,
        odd,
        "",
        "[]",
        '{"python": "3.1"}',
        '{"python": "3.1", "glibc": [1]}',
        "\x00",
    ):
        kept.write_text(damage)
        assert scanned(faas, CASES["debian"][0], tmp_path) == (Scan("3.11", (2, 36)), 0)
    kept.unlink()
    kept.mkdir()
    assert scanned(faas, CASES["debian"][0], tmp_path)[0] == Scan("3.11", (2, 36))


def test_a_size_in_digits_of_another_script_is_none(faas):
    member = tarfile.TarInfo("usr/bin/python3")
    member.pax_headers = {"size": "\u00b2"}
    member.type, member.linkname = tarfile.SYMTYPE, "python3.9"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
        plain = tarfile.TarInfo("usr/bin/python3.9")
        plain.size, plain.pax_headers = 1, {"size": "\u00b2"}
        archive.addfile(plain, io.BytesIO(b"x"))
    assert scanned(faas, [buffer.getvalue()])[0].python == "3.9"


def test_a_bomb_is_not_unpacked(faas, monkeypatch):
    monkeypatch.setattr(tar_stream, "MAX_UNPACKED_BYTES", 20 << 20)
    began = time.monotonic()
    assert scanned(faas, [gzip.compress(tar(("big", bytes(100 << 20))))])[0] == Scan()
    assert time.monotonic() - began < 5


def test_archives_without_measure_are_not_read(faas, monkeypatch):
    monkeypatch.setattr(base_scan, "MAX_ENTRIES", 10)
    many = tar(*[(f"d{number}/python3", b"") for number in range(30)])
    assert scanned(faas, [many])[0] == Scan()
    monkeypatch.setattr(tar_stream, "MAX_MEMBERS", 10)
    assert scanned(faas, [tar(*[(f"f{number}", b"") for number in range(30)])])[0] == Scan()
    head = bytearray(tar(("python3", b"")))[:512]
    head[124:136] = b"\x80" + b"\xff" * 11
    head[156:157] = b"x"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    assert scanned(faas, [bytes(head) + bytes(1024)])[0] == Scan()


class Listed:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.contents: dict[str, bytes] = {}

    def wants(self, path, link):
        self.seen.append((path, link))
        return True

    def read(self, path, data):
        self.contents[path] = data


NAMES = st.lists(
    st.text(alphabet="abcdé.-_", min_size=1, max_size=120).filter(lambda t: t.strip(".")),
    min_size=1,
    max_size=4,
).map("/".join)
ENTRIES = st.lists(
    st.tuples(NAMES, st.binary(max_size=1500) | NAMES),
    max_size=6,
    unique_by=lambda entry: clean(entry[0]),
)


@settings(deadline=None)
@given(
    ENTRIES,
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.lists(st.integers(1, 2000), max_size=12),
    st.booleans(),
)
def test_an_archive_is_read_as_pythons_own_reader_does(entries, kind, cuts, packed):
    data = tar(*entries, kind=kind)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
    expected = [(clean(each.name), each.linkname or None) for each in members]
    listed = Listed()
    unpacker = Unpacker(lambda: TarReader(listed.wants, listed.read))
    stream = io.BytesIO(gzip.compress(data) if packed else data)
    for cut in [*cuts, 1 << 20]:
        unpacker.write(stream.read(cut))
    unpacker.end()
    assert unpacker.failed == ""
    assert listed.seen == expected
    wanted = {clean(path): content for path, content in entries if content}
    for path, content in listed.contents.items():
        assert wanted[path] == content


@settings(deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 3000), st.booleans())
def test_any_bytes_are_read_without_an_exception_of_pythons(noise, at, packed):
    data = bytearray(tar(*DEBIAN))
    data[at : at + len(noise)] = noise
    listed = Listed()
    unpacker = Unpacker(lambda: TarReader(listed.wants, listed.read))
    unpacker.write(gzip.compress(bytes(data)) if packed else bytes(data))
    unpacker.end()


# ---------------------------------------------------------------- without measure, and in time


def deep(parts: int) -> bytes:
    """Make a small layer with one very deep name."""
    return gzip.compress(tar(("a/" * parts + "python3", b""), ("usr/bin/python3.11", b"")), 9)


def test_names_that_no_file_can_have_are_passed_over_in_no_time(faas):
    layers = [
        deep(150_000),
        tar(("usr/bin/python3", "/a" * 100_000), ("x" * 300 + "/python3", b"")),
    ]
    began = time.monotonic()
    found, _ = scanned(faas, layers)
    assert time.monotonic() - began < 3
    assert found.python == ""
    assert scanned(faas, [deep(150_000), tar(*DEBIAN)])[0].python == "3.11"


@pytest.mark.parametrize(
    "search", ["/" + "a/" * 60_000, "/a:" * 100_000, ":".join(["/b" * 200] * 500)]
)
def test_a_path_without_measure_is_searched_in_no_time(faas, search):
    began = time.monotonic()
    scanned(faas, [tar(*DEBIAN)], search=search)
    assert time.monotonic() - began < 3


def test_a_name_of_many_dashes_is_no_distribution_in_no_time():
    began = time.monotonic()
    for _ in range(1000):
        assert base_scan.installed_in("a/site-packages/" + "a-" * 120 + "!.dist-info/x") is None
        assert base_scan.installed_in("a/site-packages/" + "-" * 240 + "/.dist-info") is None
    assert time.monotonic() - began < 2


def test_all_layers_together_have_a_measure(faas, monkeypatch):
    layers = [tar(*[(f"f{number}", b"") for number in range(30)]), tar(*DEBIAN)]
    monkeypatch.setattr(base_scan, "MAX_MEMBERS", 36)
    assert scanned(faas, layers)[0].python == "3.11"
    monkeypatch.setattr(base_scan, "MAX_MEMBERS", 34)
    assert scanned(faas, layers)[0] == Scan()
    monkeypatch.setattr(base_scan, "MAX_MEMBERS", 1000)
    monkeypatch.setattr(base_scan, "MAX_IMAGE_BYTES", 100_000)
    assert scanned(faas, layers)[0] == Scan()


BOMB = gzip.compress(tarfile.TarInfo("x").tobuf(tarfile.PAX_FORMAT) * 600_000, 9)


@pytest.fixture
def bomb(faas):
    """Give what scans a base whose one small layer has a great many files."""
    with open_registry() as server:
        server.store.add_image("t/base", "1", [BOMB])

        def ask(request):
            return faas.conversation_request(request, deadline=Deadline(60))

        credentials = Credentials(server.host, environ={"HOME": "/none"})
        registry = Registry(ask, server.url, own=False, memory=Memory(), credentials=credentials)
        base = faas.run(registry.base(parse_image("t/base:1"), ""))
        yield lambda seconds: scan(registry, base, None, deadline=Deadline(seconds))


def test_no_more_time_is_taken_than_there_is(faas, bomb):
    began = time.monotonic()
    with pytest.raises(
        PublishFailed, match=r"t/base was not read .* publish_timeout=0\.3"
    ) as caught:
        faas.run(bomb(0.3))
    assert time.monotonic() - began < 2
    assert caught.value.step == "base image"
    assert not [each for each in threading.enumerate() if each.name == "away layer"]


def test_an_event_loop_goes_on_while_a_layer_is_read(faas, bomb):
    async def longest_pause() -> float:
        reading = asyncio.ensure_future(faas.aio.run(bomb(1.5)))
        last, longest = time.monotonic(), 0.0
        while not reading.done():
            await asyncio.sleep(0.01)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        with pytest.raises(PublishFailed):
            await reading
        await faas.aio.close()
        return longest

    assert asyncio.run(longest_pause()) < 0.5


class Heard:
    """Takes bytes, slowly or not at all."""

    def __init__(self, pause: float = 0.0) -> None:
        self.data, self.pause = bytearray(), pause

    def restart(self) -> None:
        self.data.clear()

    def write(self, piece: bytes) -> None:
        time.sleep(self.pause)
        self.data += piece


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=200_000), max_size=5), st.integers(0, 5))
def test_what_is_followed_arrives_whole_also_when_it_comes_again(faas, pieces, again):
    heard = Heard(0.0005)
    with following(heard, None) as follower:
        for piece in pieces[:again]:
            follower.write(piece)
        follower.restart()
        for piece in pieces:
            follower.write(piece)

        def finish():
            yield from follower.finish()

        faas.run(finish())
    assert bytes(heard.data) == b"".join(pieces)

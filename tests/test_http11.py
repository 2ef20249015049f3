"""Requests as bytes: the same request is read alike however it comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from away.runtime.http11 import Reader, Refusal

HEAD = b"POST /a?b HTTP/1.1\r\nHost: x\r\nX-Call-Id: 7\r\n"


def framed(chunks: list[bytes]) -> bytes:
    pieces = [b"%x\r\n%b\r\n" % (len(each), each) for each in chunks if each]
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces) + b"0\r\n\r\n"


def measured(body: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def reader(data: bytes, sizes: list[int]) -> Reader:
    """Give a reader what comes in pieces of these sizes, and then all the rest at once."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    left = iter([each for each in [*pieces, data] if each])
    return Reader(lambda _most: next(left, b""))


BODIES = st.lists(st.binary(max_size=40) | st.just(b"\r\n0\r\n\r\n"), max_size=4)
SIZES = st.lists(st.integers(1, 120), max_size=12)


@given(st.lists(st.tuples(st.booleans(), BODIES), min_size=1, max_size=3), SIZES)
def test_requests_are_read_alike_however_they_come(requests, sizes):
    data = b"".join(
        framed(chunks) if in_chunks else measured(b"".join(chunks))
        for in_chunks, chunks in requests
    )
    read = reader(data, sizes)
    for _, chunks in requests:
        head = read.read_head()
        assert head is not None
        assert (head.method, head.path, head.headers["x-call-id"]) == ("POST", "/a", "7")
        assert read.read_body(head, 1_000) == b"".join(chunks)
    assert read.read_head() is None


@given(st.binary(min_size=11, max_size=40), SIZES)
def test_a_body_over_the_limit_is_refused_and_what_follows_is_read(body, sizes):
    read = reader(framed([body]) + measured(b"after"), sizes)
    head = read.read_head()
    with pytest.raises(Refusal) as refused:
        read.read_body(head, 10)
    assert (refused.value.status, refused.value.close) == (413, False)
    assert read.read_body(read.read_head(), 10) == b"after"


@given(SIZES)
@pytest.mark.parametrize(
    "body",
    [
        b"3\r\n10\r\n0\r\n\r\n",
        b"1\r\n10\r\n0\r\n\r\n",
        b"2 \r\n10\r\n0\r\n\r\n",
        b"2\r\n10\n0\r\n\r\n",
    ],
    ids=["too few bytes", "too many bytes", "a size with a space", "a bare line feed"],
)
def test_a_chunk_that_is_not_as_long_as_it_says_is_refused(body, sizes):
    read = reader(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body, sizes)
    with pytest.raises(Refusal) as refused:
        read.read_body(read.read_head(), 1_000)
    assert refused.value.status == 400

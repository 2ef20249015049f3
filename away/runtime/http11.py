"""HTTP/1.1 as bytes: reading requests and writing answers (RFC 9110, RFC 9112).

Nothing here knows a socket: a :class:`Reader` is given a function that brings more bytes. Where the
RFC leaves a choice the strict one is taken, since two parsers that disagree about where a request
ends are how requests are smuggled: no bare line feeds, no folded lines, one Content-Length, never
both lengths, no coding but chunked.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_HEAD_BYTES", "Head", "Reader", "Refusal", "answer_head"]

# What Python's and nginx's servers take in all is about the same.
MAX_HEAD_BYTES = 65_536
# A chunk's line is a few digits; some clients sign each chunk in an extension.
_MAX_CHUNK_LINE = 1_024
# How much more than the limit is read and thrown away, so that a client which sends its whole
# body before it listens gets to read the 413 instead of a reset connection.
_MAX_DISCARD_BYTES = 256 * 1024 * 1024
_RECEIVE_BYTES = 65_536
_RECEIVE_BODY_BYTES = 262_144

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9])\.([0-9])")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_METHOD_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
# A body that came whole, in one chunk, as gateways send small ones.
_ONE_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,4})\r\n(.*)\r\n0\r\n\r\n", re.DOTALL)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
# Fields of which a second one would be another opinion on the same thing.
_ONCE = frozenset(("content-length", "transfer-encoding", "host", "content-type"))
# The names that nearly every request has, as they are usually spelt: no need to check those.
_USUAL = {
    name: name.lower()
    for name in (
        "Accept",
        "Accept-Encoding",
        "Connection",
        "Content-Length",
        "Content-Type",
        "Host",
        "Transfer-Encoding",
        "User-Agent",
        "X-Away-Protocol",
        "X-Call-Id",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Start-Time",
    )
}

_REASONS = {
    100: "Continue",
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class Refusal(Exception):
    """A request that is answered with an error; ``close`` if what follows it cannot be read."""

    def __init__(self, status: int, text: str, *, close: bool = True) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.close = close


class Head(NamedTuple):
    """A request without its body; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    # None: chunked
    length: int | None
    keep_alive: bool
    expects_continue: bool


class Reader:
    """Read requests, one after another, from a stream of bytes.

    Args:
        receive: Called with the most bytes wanted; returns b"" at the stream's end.
    """

    __slots__ = ("_buffer", "_receive")

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._buffer = bytearray()

    @property
    def pending(self) -> bool:
        """Whether bytes of a further request are here already."""
        return bool(self._buffer)

    def read_head(self) -> Head | None:
        """Read up to the empty line; None if the stream ends before a request begins.

        Raises:
            Refusal: What came is not a request that this server takes.
        """
        buffer = self._buffer
        if not buffer:
            # Nearly always all of it comes at once.
            data = self._receive(_RECEIVE_BYTES)
            if not data:
                return None
            end = data.find(b"\r\n\r\n")
            if 0 < end <= MAX_HEAD_BYTES and not data.startswith(b"\r\n"):
                buffer += data[end + 4 :]
                return parse_head(data[:end])
            buffer += data
        scanned = 0
        while True:
            # RFC 9112 2.2: one empty line before a request is forgiven.
            if scanned == 0 and buffer.startswith(b"\r\n"):
                del buffer[:2]
            end = buffer.find(b"\r\n\r\n", max(0, scanned - 3))
            if 0 <= end <= MAX_HEAD_BYTES:
                break
            if end > MAX_HEAD_BYTES or len(buffer) > MAX_HEAD_BYTES:
                raise Refusal(431, f"the request's head is longer than {MAX_HEAD_BYTES:,} bytes")
            if buffer and not _METHOD_START.match(buffer) and buffer != b"\r":
                raise Refusal(400, "this is not HTTP; the function is called by plain HTTP/1.1")
            if _BARE_LINE_FEED.search(buffer, max(0, scanned - 1)):
                raise Refusal(400, "a line of the request's head ends without a carriage return")
            scanned = len(buffer)
            more = self._receive(_RECEIVE_BYTES)
            if not more:
                if buffer:
                    raise Refusal(400, "the request ended within its head")
                return None
            buffer += more
        head = bytes(buffer[:end])
        del buffer[: end + 4]
        return parse_head(head)

    def read_body(self, head: Head, limit: int) -> bytes:
        """Read the body that belongs to a head.

        Raises:
            Refusal: 413 for a body over the limit, which has been read and thrown away; 400 for
                one that is cut short or wrongly framed.
        """
        if head.length is None and (one := _ONE_CHUNK.fullmatch(self._buffer)):
            whole = bytes(one[2])
            if int(one[1], 16) == len(whole) and 0 < len(whole) <= limit:
                self._buffer.clear()
                return whole
        body = bytearray()
        if head.length is not None:
            total = head.length
            self._take(total, body if total <= limit else None)
        else:
            total = self._read_chunks(body, limit)
        if total > limit:
            raise Refusal(413, too_large(limit), close=False)
        return bytes(body)

    def _read_chunks(self, body: bytearray, limit: int) -> int:
        total = 0
        while True:
            found = _CHUNK.fullmatch(self._line(_MAX_CHUNK_LINE))
            if found is None:
                raise Refusal(400, "the body's chunks are not framed as HTTP asks")
            size = int(found[1], 16)
            if size == 0:
                self._skip_trailers()
                return total
            total += size
            if total > limit + _MAX_DISCARD_BYTES:
                raise Refusal(413, too_large(limit))
            self._take(size, body if total <= limit else None)
            if self._line(0) != b"":
                raise Refusal(400, "the body's chunks are not framed as HTTP asks")

    def _skip_trailers(self) -> None:
        total = 0
        while line := self._line(MAX_HEAD_BYTES):
            total += len(line)
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not _TOKEN.fullmatch(name) or _FORBIDDEN.search(value):
                raise Refusal(400, "the body's trailer is not a header field")
            if total > MAX_HEAD_BYTES:
                raise Refusal(431, f"the body's trailers are longer than {MAX_HEAD_BYTES:,} bytes")

    def _line(self, most: int) -> bytes:
        """Read to the next CRLF, which may be at most so many bytes away."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n", 0, most + 2)
            if end >= 0:
                line = bytes(buffer[:end])
                del buffer[: end + 2]
                return line
            if len(buffer) >= most + 2:
                raise Refusal(400, "the body's chunks are not framed as HTTP asks")
            self._more()

    def _take(self, count: int, into: bytearray | None) -> None:
        """Move so many bytes of the stream into a body, or nowhere."""
        buffer = self._buffer
        if into is None and count > _MAX_DISCARD_BYTES:
            raise Refusal(413, "the body is far larger than this function takes")
        while count:
            if buffer:
                part: bytes | bytearray = buffer[:count]
                del buffer[:count]
            elif count >= _RECEIVE_BYTES:
                if not (part := self._receive(min(count, _RECEIVE_BODY_BYTES))):
                    raise Refusal(400, "the request ended within its body")
            else:
                # through the buffer: a chunk's end or the next request may come along
                self._more()
                continue
            count -= len(part)
            if into is not None:
                into += part

    def _more(self) -> None:
        data = self._receive(_RECEIVE_BYTES)
        if not data:
            raise Refusal(400, "the request ended within its body")
        self._buffer += data


def parse_head(text: bytes) -> Head:
    """Read a request line and header fields, without the empty line that ends them.

    Raises:
        Refusal: It breaks a rule of HTTP, or its body could not be told from what follows.
    """
    lines = text.decode("latin-1").split("\r\n")
    whole = "".join(lines)
    # The first of the two is quicker, and nearly always enough.
    if not whole.isprintable() and _FORBIDDEN.search(whole):
        raise Refusal(400, "the request's head holds a control character")
    request = _REQUEST_LINE.fullmatch(lines[0])
    if request is None:
        raise Refusal(400, "the request line is not METHOD PATH HTTP/1.1")
    method, target, major, minor = request.groups()
    if major != "1":
        raise Refusal(505, "this server speaks HTTP/1.1")
    headers = _fields(lines)
    old = minor == "0"
    if not old and "host" not in headers:
        raise Refusal(400, "the request has no Host")
    expects = headers.get("expect", "").lower()
    if expects not in ("", "100-continue"):
        raise Refusal(417, "the request expects what this server does not know")
    return Head(
        method=method,
        path=_path(target),
        headers=headers,
        length=_body_length(headers, old=old),
        keep_alive=_keeps_alive(headers, old=old),
        expects_continue=bool(expects) and not old,
    )


def _fields(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for index in range(1, len(lines)):
        said, colon, value = lines[index].partition(":")
        name = _USUAL.get(said)
        if name is None:
            # A folded line begins with a space, which is no token either.
            if not colon or not _TOKEN.fullmatch(said):
                raise Refusal(400, "a line of the request's head is not a header field")
            name = said.lower()
        elif not colon:
            raise Refusal(400, "a line of the request's head is not a header field")
        if name not in headers:
            headers[name] = value.strip(" \t")
        elif name in _ONCE:
            raise Refusal(400, f"the request has two headers {name}")
        else:
            headers[name] += ", " + value.strip(" \t")
    return headers


def _path(target: str) -> str:
    """Cut scheme, host and query off a request's target."""
    if "://" in target and not target.startswith("/"):
        target = "/" + target.partition("://")[2].partition("/")[2]
    return target.partition("?")[0]


def _body_length(headers: dict[str, str], *, old: bool) -> int | None:
    coding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if coding is None:
        if length is None:
            return 0
        if not _LENGTH.fullmatch(length):
            raise Refusal(400, "the request's Content-Length is not a number")
        return int(length)
    # Where both are sent, the two ends of a chain of proxies may each believe another one.
    if length is not None or old:
        raise Refusal(400, "the request says the length of its body in two ways")
    if coding.lower() != "chunked":
        raise Refusal(501, "the request's Transfer-Encoding is not chunked")
    return None


def _keeps_alive(headers: dict[str, str], *, old: bool) -> bool:
    options = headers.get("connection")
    if options is None:
        return not old
    said = {option.strip().lower() for option in options.split(",")}
    return "close" not in said and (not old or "keep-alive" in said)


def too_large(limit: int) -> str:
    """Say that a body is over the limit, and what to do about it."""
    return (
        f"the body is larger than the {limit:,} bytes that this function takes;"
        " send less, or publish it with AWAY_MAX_BODY_BYTES raised"
    )


def answer_head(status: int, fields: str, length: int, *, keep_alive: bool) -> bytes:
    """Write a status line and header fields, with the empty line that ends them.

    Args:
        status: The HTTP status.
        fields: Lines as they are to be sent, each with its end; the caller answers for their
            characters.
        length: Bytes of the body.
        keep_alive: Whether the connection stays open after the answer.
    """
    return (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {_date(int(time.time()))}\r\n"
        f"{fields}Content-Length: {length}\r\n{'' if keep_alive else _CLOSE}\r\n"
    ).encode("latin-1")


_CLOSE = "Connection: close\r\n"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=1)
def _date(now: int) -> str:
    """Write a time as HTTP wants it, which strftime would do in the locale's language."""
    t = time.gmtime(now)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year}"
        f" {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )

"""What both drivers ask of an answer: that it is the one to their request, whole, and of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from away.connection.messages import CALL_ID, Reply
from away.connection.transport_errors import CutShort, NotHttp, TooLarge, WrongAnswer
from away.names import printable

if TYPE_CHECKING:
    from away.connection.messages import Sink

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_LIST_BYTES",
    "MAX_REFUSAL_BYTES",
    "POURED",
    "SinkFailed",
    "check_answered",
    "decoded",
    "poured",
]

# What an answer may hold, decoded: it has to fit into the memory of whoever called.
MAX_ANSWER_BYTES = 1 << 30
# What an answer of the gateway's own API may hold, such as its list of functions. One that Away published
# takes 2 kB there, a module some 20, so that this is ten thousand functions; and since its JSON is ten
# times as large once it is read, far more of it would be no list that a process could have.
MAX_LIST_BYTES = 32 << 20
# What an answer may hold whose body was to go into a sink, and that is none of those which do: such as
# a registry's errors, from whom a layer was asked.
MAX_REFUSAL_BYTES = 1 << 20
# The statuses of which a body goes into a sink: all of it, or a range.
POURED = (200, 206)
# A compressed answer may grow to this, or to so many times what came, where that is more: DEFLATE
# makes a thousand bytes of one where somebody wants it to.
MAX_GROWN_BYTES = 64 << 20
MAX_GROWTH = 50


class SinkFailed(Exception):
    """What a driver's own parts raise where a sink raised ``error``; a conversation gets that one."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def poured(sink: Sink, what: Reply | bytes) -> None:
    """Hand an answer's head or a piece of its body over to a sink.

    Raises:
        SinkFailed: The sink raised something, an :class:`OSError` perhaps that is no connection's.
    """
    try:
        if isinstance(what, Reply):
            sink.begin(what)
        else:
            sink.write(what)
    except Exception as error:  # whatever it is, it is the conversation's
        raise SinkFailed(error) from error


def decoded(body: bytes, encoding: str, most: int = MAX_ANSWER_BYTES) -> bytes:
    """Undo a Content-Encoding: none or one layer of gzip or deflate, whole and of bounded size.

    Args:
        body: What came.
        encoding: How its head says that it is encoded.
        most: How many bytes it may be decoded.

    Raises:
        CutShort: It ends early, or something follows its end.
        NotHttp: It is encoded otherwise.
        TooLarge: It grows beyond measure.
    """
    kind = encoding.strip().lower().removeprefix("x-")
    if kind in ("", "identity") or not body:
        return body
    if kind not in ("gzip", "deflate"):
        raise NotHttp(
            f"its body is encoded as {printable(encoding)[:40]!r}, which nobody asked for"
        )
    import zlib

    limit = most = min(max(MAX_GROWN_BYTES, MAX_GROWTH * len(body)), most)
    # gzip (RFC 1952), or deflate with zlib's frame (RFC 1950) or, as some send it, without.
    framed = (body[0] & 0x0F) == 8 and int.from_bytes(body[:2], "big") % 31 == 0
    bits = 31 if kind == "gzip" else 15 if framed else -15
    pieces: list[bytes] = []
    rest = body
    try:
        # A gzip file may have several members, one after another.
        while rest and (not pieces or (kind == "gzip" and rest.startswith(b"\x1f\x8b"))):
            undo = zlib.decompressobj(bits)
            pieces.append(undo.decompress(rest, most + 1))
            most -= len(pieces[-1])
            if most < 0:
                raise TooLarge(f"its {len(body)} bytes grow to more than {limit}")
            if not undo.eof:
                raise CutShort("its compressed body ends early")
            rest = undo.unused_data
    except zlib.error as error:
        raise NotHttp("its body is not encoded as its head says") from error
    if rest:
        raise CutShort("something follows its compressed body")
    return b"".join(pieces)


def check_answered(sent: str | None, came: str | None) -> None:
    """Compare the id of an answer by Away's protocol with the one that was sent.

    Args:
        sent: The X-Call-Id of the request.
        came: The answer's, joined by commas: a gateway may add its own line. None is well.

    Raises:
        WrongAnswer: It answers another request.
    """
    if sent is not None and came is not None and sent not in came:
        raise WrongAnswer(f"its {CALL_ID} is {printable(came)[:60]!r}")

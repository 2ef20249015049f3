"""Functions that Away did not publish, as a test plays them: a request comes in, bytes go out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from away.connection.conversations import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PlainRequest", "plain_reply"]


class PlainRequest(NamedTuple):
    """What a function of any language is sent.

    Attributes:
        method: In upper case.
        path: Below the function's own, with its query.
        headers: As they were sent.
        body: All of it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def plain_reply(answer: Any) -> Reply:
    """Make the answer of what a handler returned.

    Args:
        answer: Bytes, text, anything else that JSON carries, or a pair of one of them and a status.

    Raises:
        TypeError: JSON does not carry it.
    """
    status = 200
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, tuple) and len(answer) == 2 and type(answer[1]) is int:
        answer, status = answer
    if isinstance(answer, bytes):
        return Reply(status, {"Content-Type": "application/octet-stream"}, answer)
    if isinstance(answer, str):
        return Reply(status, {"Content-Type": "text/plain; charset=utf-8"}, answer.encode())
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(answer).encode())

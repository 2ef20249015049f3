"""What a registry answers when it does not do as asked, as one sentence with what to do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from away.exceptions import PublishFailed
from away.names import printable, shortened
from away.secret_texts import hidden

if TYPE_CHECKING:
    from away.connection.conversations import Reply

__all__ = ["Broken", "codes_of", "failed", "said"]

# What to do, by the code of the distribution specification ("Error codes").
WAYS_OUT = {
    "BLOB_UPLOAD_INVALID": "run the same command again, which goes on from there",
    "BLOB_UPLOAD_UNKNOWN": "run the same command again, which goes on from there",
    "DIGEST_INVALID": "what arrived there is not what was sent: look at what lies between, or at its"
    " disk, and run the same command again",
    "MANIFEST_INVALID": "it does not take this kind of image; name another registry by registry=",
    "NAME_INVALID": "choose a name that it takes by registry_prefix=",
    "NAME_UNKNOWN": "make that repository there, or choose another by registry_prefix=",
    "SIZE_INVALID": "what arrived there is not what was sent: run the same command again",
    "TOOMANYREQUESTS": "wait a while, or log in there, which often allows more",
    "UNSUPPORTED": "it does not take pushes; name another registry by registry=",
}
STATUS_WAYS_OUT = {
    404: "correct registry=, or make that repository there",
    405: "it does not take pushes; name another registry by registry=",
    413: "it, or a proxy before it, limits the size of uploads: raise that limit",
    429: "wait a while, or log in there, which often allows more",
    507: "its disk is full: make room there",
}


class Broken(PublishFailed):
    """The connection to a registry ended in the middle: what was sent may be sent again."""


def codes_of(reply: Reply) -> list[str]:
    """Return the error codes of an answer, in its order."""
    return [str(each.get("code", "")).upper() for each in errors_of(reply)]


def errors_of(reply: Reply) -> list[dict[str, Any]]:
    """Return the errors of an answer as the specification has them; none from another answer."""
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        return []
    listed = found.get("errors") if isinstance(found, dict) else None
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def said(reply: Reply) -> str:
    """Return what an answer says, in a line to show, without secrets that it repeats."""
    parts = []
    for each in errors_of(reply)[:3]:
        code, message = each.get("code"), each.get("message")
        detail = each.get("detail")
        words = [str(code or ""), str(message or "")]
        if detail and detail != message:
            words.append(f"({detail if isinstance(detail, str) else json.dumps(detail)})")
        parts.append(" ".join(filter(None, words)))
    text = "; ".join(parts) or reply.text[:2000]
    return printable(shortened(hidden(text), 300).rstrip("."))


def failed(url: str, what: str, reply: Reply, *, step: str = "push") -> PublishFailed:
    """Make the error for an answer that ends the work.

    Args:
        url: The registry.
        what: What it was asked for.
        reply: What it answered.
        step: The step of the publish.
    """
    ways = [WAYS_OUT[code] for code in codes_of(reply) if code in WAYS_OUT]
    way = ways[0] if ways else STATUS_WAYS_OUT.get(reply.status, "")
    if not way and reply.status >= 500:
        way = "look at its log, and run the same command again"
    return PublishFailed(
        f"the registry {url} answered {reply.status} to {what}: {said(reply) or 'no text'}"
        f"{'; ' if way else ''}{way}",
        step=step,
        status=reply.status,
        hint=way or None,
    )

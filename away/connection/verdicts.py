"""What a gateway's answer means where it is not the one that was asked for: one sentence each.

Pure: a reply comes in, an error comes out. A gateway's texts are others' data, so of a body only a
short head is shown, and no control character of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from away.connection.messages import CALL_ID
from away.exceptions import (
    AuthenticationRefused,
    AwayError,
    CallTimedOut,
    FunctionNotFound,
    FunctionNotReady,
    GatewayError,
)
from away.names import nearest, printable
from away.secret_texts import hidden

if TYPE_CHECKING:
    from collections.abc import Iterable

    from away.connection.messages import Reply, Request

__all__ = [
    "Asked",
    "absent",
    "failed",
    "function_refusal",
    "head_of",
    "is_unknown_function",
    "login_refusal",
    "not_json",
    "system_refusal",
]

MAX_SHOWN = 300
_ROUTE_MISSING = b"404 page not found"
# What the gateway's look-up of a function says when it is the provider that is not there.
_PROVIDER_DOWN = (b"connection refused", b"dial tcp", b"no such host", b"i/o timeout")


class Asked(NamedTuple):
    """Who asked whom, as far as sentences need it.

    Attributes:
        gateway: The gateway's URL.
        user: Whose password or token was known; None where none was.
        name: The gateway's configured name, where it has one.
        auth_functions: Whether the login went to functions too.
        by_token: Whether the login is a token.
    """

    gateway: str
    user: str | None
    name: str | None = None
    auth_functions: bool = False
    by_token: bool = False


def head_of(reply: Reply) -> str:
    """Return the beginning of a reply's text in one harmless line."""
    said = " ".join(reply.body[: 4 * MAX_SHOWN].decode("utf-8", "replace").split())
    text = printable(hidden(said))
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}\N{HORIZONTAL ELLIPSIS}"


def is_unknown_function(reply: Reply) -> bool:
    """Tell whether the gateway says that it has no such function, or no such namespace.

    A 404 may also be the function's own, or mean that the provider is down.
    """
    return (
        reply.status == 404
        and reply.found_no_function
        and not any(sign in reply.body for sign in _PROVIDER_DOWN)
    )


def system_refusal(asked: Asked, request: Request, reply: Reply) -> AwayError:
    """Make the error for an answer of the gateway's own API that was not expected."""
    what = f"{request.method} {request.path.partition('?')[0]}"
    status = reply.status
    if status in (401, 403):
        return login_refusal(asked, reply)
    if 300 <= status < 400:
        return _redirected(asked, what, reply)
    if status == 404 and reply.body.strip() == _ROUTE_MISSING:
        return _gateway_error(
            asked,
            f"{asked.gateway} has no {what} (404): check that its URL, with its path prefix, is that"
            " of an OpenFaaS gateway",
            reply,
        )
    if status == 502 and not reply.body.strip():
        return _gateway_error(
            asked,
            f"the provider behind {asked.gateway} does not answer (502 to {what}): start it, or look"
            " at its log",
            reply,
        )
    text = head_of(reply)
    said = f": {text}" if text else " without a text"
    remedy = "; try again, and look at the gateway's log if it stays so" if status >= 500 else ""
    return _gateway_error(
        asked, f"{asked.gateway} answered {status} to {what}{said}{remedy}", reply
    )


def login_refusal(asked: Asked, reply: Reply) -> AuthenticationRefused:
    """Make the error for a 401 or 403: it says who was refused, or that no login was known."""
    if asked.user is None:
        variable = f"AWAY_GATEWAY_{asked.name.upper()}_PASSWORD" if asked.name else None
        other = f"set {variable}" if variable else "configure the gateway"
        hint = f"pass password=, {other} or log in with 'faas-cli login'"
        text = f"{asked.gateway} asks for a login and no password is known for it; {hint}"
    elif reply.status == 403:
        hint = "ask for the right, or log in as another user"
        text = f"{asked.gateway} does not allow this to the user {asked.user!r}; {hint}"
    elif asked.by_token:
        hint = "get a new one, or log in by user and password"
        text = f"{asked.gateway} refused the token; {hint}"
    else:
        hint = "correct the user or the password"
        text = f"{asked.gateway} refused the login of the user {asked.user!r}; {hint}"
    return AuthenticationRefused(
        _with_id(text, reply),
        gateway=asked.gateway,
        status=reply.status,
        call_id=reply.call_id,
        hint=hint,
    )


def not_json(asked: Asked, request: Request, reply: Reply, wanted: str) -> GatewayError:
    """Make the error for a 2xx whose body is not what the gateway's API gives."""
    kind = printable(reply.headers.get("Content-Type", "no type"))[:80]
    text = (
        f"{asked.gateway} answered {request.method} {request.path.partition('?')[0]} with something"
        f" that is not {wanted} ({kind}: {head_of(reply)[:80]!r}); check that its URL is an OpenFaaS"
        " gateway's"
    )
    return _gateway_error(asked, text, reply)


def absent(
    asked: Asked,
    function: str,
    *,
    namespace: str = "",
    known: Iterable[str] | None = None,
    reply: Reply | None = None,
) -> FunctionNotFound:
    """Make the error for a function that the gateway does not have.

    Args:
        asked: Who asked whom.
        function: The name that was asked for.
        namespace: The namespace, where one was named.
        known: What the gateway has; None where that could not be learnt.
        reply: The answer that said so.
    """
    place = f" in the namespace {printable(namespace)!r}" if namespace else ""
    text = f"{asked.gateway} has no function {printable(function)!r}{place}"
    known = None if known is None else list(known)
    near = tuple(each for each in nearest(function, known or ()) if each != function)
    if known is not None and function in known:
        near, hint = (), "its list has it all the same: try again, or deploy it anew"
    elif near:
        hint = f"did you mean {' or '.join(repr(printable(each)) for each in near)}"
    elif known is not None:
        shown = [printable(each) for each in known][:5]
        hint = f"it has {', '.join(shown)}" if shown else "it has none, so deploy it first"
    else:
        hint = "correct the name or deploy it"
    return FunctionNotFound(
        _with_id(f"{text}; {hint}", reply),
        gateway=asked.gateway,
        function=function,
        status=reply.status if reply is not None else 404,
        call_id=reply.call_id if reply is not None else None,
        hint=hint,
        nearest=near,
        body=head_of(reply) if reply is not None else "",
    )


def function_refusal(asked: Asked, function: str, reply: Reply) -> AwayError | None:
    """Make the error for an answer to a call that is the platform's; None if it is the function's."""
    status, body = reply.status, reply.body
    if is_unknown_function(reply):
        return absent(asked, function, reply=reply)
    if status == 404 and reply.found_no_function:
        return _gateway_error(
            asked,
            f"the provider behind {asked.gateway} does not answer, so {function!r} could not be"
            f" found; start it, or look at its log: {head_of(reply)}",
            reply,
            function,
        )
    if status == 404 and body.strip() == _ROUTE_MISSING and "X-Start-Time" not in reply.headers:
        return _gateway_error(
            asked,
            f"{asked.gateway} has no path /function/{function} (404): check that its URL, with its"
            " path prefix, is that of an OpenFaaS gateway",
            reply,
            function,
        )
    if status in (502, 504) and not body.strip():
        return CallTimedOut(
            _with_id(
                f"the call of {function!r} ran into a limit of time at {asked.gateway} or its"
                f" provider ({status} without a text), and may still be running; raise the gateway's"
                " upstream_timeout and the provider's service_timeout, or make it faster",
                reply,
            ),
            limit="gateway",
            seconds=None,
            **_known(asked, reply, function),
        )
    if reply.is_platforms or (status == 500 and reply.found_no_function):
        return _not_ready(asked, function, reply)
    if status in (401, 403) and "X-Start-Time" not in reply.headers and _is_gateways_login(reply):
        if asked.auth_functions:
            return login_refusal(asked, reply)
        hint = "pass auth_functions=True if its functions may see the login"
        return AuthenticationRefused(
            _with_id(f"{asked.gateway} asks for a login at its functions too; {hint}", reply),
            hint=hint,
            **_known(asked, reply, function),
        )
    return None


def failed(asked: Asked, function: str, reply: Reply) -> GatewayError:
    """Make the error for a status that is the function's own and not 2xx."""
    if 300 <= reply.status < 400:
        return _redirected(asked, f"the call of {function!r}", reply, function)
    text = head_of(reply)
    said = f": {text}" if text else " without a text"
    return _gateway_error(
        asked, f"{function!r} on {asked.gateway} answered {reply.status}{said}", reply, function
    )


def _not_ready(asked: Asked, function: str, reply: Reply) -> FunctionNotReady:
    if reply.status == 503:
        why = "has no replica that could be called, or is not deployed"
        hint = "deploy it or scale it up"
    else:
        why = "cannot be reached: it does not listen yet, has crashed, or ended during this call"
        hint = f"read its log (away logs … {function}), and wait if it was just deployed"
    if reply.updated:
        why += ", and this process was updating it during the call, so that it may have run"
        hint = "look before repeating it; a call that is idempotent=True is tried again by itself"
    text = f"{function!r} on {asked.gateway} {why} ({reply.status}: {head_of(reply)}); {hint}"
    return FunctionNotReady(_with_id(text, reply), hint=hint, **_known(asked, reply, function))


def _is_gateways_login(reply: Reply) -> bool:
    challenge = reply.headers.get("Www-Authenticate", "")
    return challenge.startswith("Basic") or reply.body.strip() == b"invalid credentials"


def _redirected(asked: Asked, what: str, reply: Reply, function: str | None = None) -> GatewayError:
    target = _harmless_url(reply.headers.get("Location", ""))
    hint = "correct the gateway's URL, or log in where that page asks for it"
    return _gateway_error(
        asked,
        f"{asked.gateway} answered {what} with a redirect ({reply.status}) to {target!r}, such as a"
        f" login page in front of it gives; redirects are not followed: {hint}",
        reply,
        function,
        hint=hint,
    )


def _harmless_url(url: str) -> str:
    """Cut from a URL what may hold a secret: user, query and fragment."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = bare.partition("://")
    if not mark:
        return printable(bare)[:200]
    authority, slash, path = rest.partition("/")
    return printable(f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}")[:200]


def _gateway_error(
    asked: Asked, text: str, reply: Reply, function: str | None = None, *, hint: str | None = None
) -> GatewayError:
    return GatewayError(
        _with_id(text, reply), body=head_of(reply), hint=hint, **_known(asked, reply, function)
    )


def _known(asked: Asked, reply: Reply, function: str | None) -> dict[str, Any]:
    return {
        "gateway": asked.gateway,
        "function": function,
        "status": reply.status,
        "call_id": reply.call_id,
    }


def _with_id(text: str, reply: Reply | None) -> str:
    return f"{text} ({CALL_ID} {printable(reply.call_id)})" if reply and reply.call_id else text

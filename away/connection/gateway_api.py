"""The gateway's own API as conversations: functions, secrets, namespaces, logs, calls.

One generator a request, pumped by either driver. What an answer means where it is not the expected
one is said in :mod:`away.connection.verdicts`; when one is tried again, in
:mod:`away.connection.conversations`.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import away.names as names
from away.connection import verdicts
from away.connection.answers import MAX_LIST_BYTES
from away.connection.catalogue import KEPT_SECONDS, FunctionInfo, find
from away.connection.conversations import exchange
from away.connection.logs import LogFollower, LogLine, LogReader, check_tail, log_request
from away.connection.messages import Deadline, Reply, Request, Send
from away.connection.transport_errors import Where
from away.exceptions import (
    AnswerLost,
    AuthenticationRefused,
    AwayError,
    FunctionNotFound,
    GatewayError,
    SecretNotFound,
)
from away.names import printable, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from away.connection.access import Access
    from away.connection.catalogue import Catalogue
    from away.connection.messages import Conversation

__all__ = ["GatewayApi"]

_ACCEPTED = (200, 201, 202, 204)
# A log that is followed has no end: when it was quiet for so long, what came is what there is.
LOG_QUIET_SECONDS = 0.5
# A function that writes all the time is never quiet: by then what it wrote before has come.
LOG_WHOLE_SECONDS = 10.0
# What is spent at most on finding names that are near to a wrong one.
NEAREST_SECONDS = 3.0
# How providers say in an answer of any status that a secret is not there.
_NOT_THERE = ("no such file", "not found")
# What is spent at most on the list after a change, which has succeeded by then.
RENEW_SECONDS = 3.0
# What a path may hold unescaped (RFC 3986, pchar and "/"), and "%" of what is escaped already.
_PATH_SAFE = "/-._~!$&'()*+,;=:@%"


class GatewayApi:
    """Make conversations with one gateway.

    Args:
        access: Its URL and our login.
        catalogue: What is known of its functions.
        timeout: Seconds for a whole call where the caller says nothing else.
        connect_timeout: Seconds for a connection.
        namespace: The namespace where the caller names none; empty for the gateway's default.
        name: The gateway's configured name, for sentences.
    """

    def __init__(
        self,
        access: Access,
        catalogue: Catalogue,
        *,
        timeout: float | None,
        connect_timeout: float,
        namespace: str = "",
        name: str | None = None,
    ) -> None:
        self.access = access
        self.catalogue = catalogue
        self.timeout = timeout
        self.connect_timeout = connect_timeout
        self.namespace = namespace
        self.name = name

    def deadline(self, limit: Deadline | float | None = None) -> Deadline:
        """Return a deadline: the given one, a new one of so many seconds, or of our own timeout."""
        if isinstance(limit, Deadline):
            return limit
        return Deadline(self.timeout if limit is None else limit)

    def asked(self) -> verdicts.Asked:
        """Say who asks whom, for sentences."""
        login = self.access.login()
        user = login.user if login is not None else None
        return verdicts.Asked(
            self.access.url,
            user,
            self.name,
            self.access.auth_functions,
            by_token=login is not None and login.token is not None,
        )

    # ------------------------------------------------------------ requests

    def request(
        self,
        request: Request,
        deadline: Deadline | float | None = None,
        *,
        idempotent: bool | None = None,
        quiet: float | None = None,
        patient: bool = True,
    ) -> Conversation[Reply]:
        """Send any request, to the gateway or by a whole URL; the reply's status is not judged."""
        repeatable = request.method in ("GET", "HEAD") if idempotent is None else idempotent
        where = Where(self.access.url if request.path.startswith("/") else _origin(request.path))
        reply = yield from exchange(
            where,
            request,
            self.deadline(deadline),
            self.connect_timeout,
            repeatable=repeatable,
            quiet=quiet,
            patient=patient,
        )
        return reply

    def system(
        self,
        method: str,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        deadline: Deadline | float | None = None,
        accept: tuple[int, ...] = _ACCEPTED,
        quiet: float | None = None,
        patient: bool = True,
    ) -> Conversation[tuple[Request, Reply]]:
        """Ask the gateway's own API, with the login.

        A login that was found in the configuration and refused is looked for once more: an embedded
        gateway that was started anew has a new password.

        Raises:
            AwayError: Of the kind that the answer calls for, when its status is not accepted.
        """
        limit = self.deadline(deadline)
        asked_for = {key: value for key, value in (query or {}).items() if value}
        target = f"{path}?{urlencode(asked_for)}" if asked_for else path
        headers: dict[str, str] = {}
        body = None
        if data is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(data).encode()
        request = Request(method, target, headers, body, auth=True, most=MAX_LIST_BYTES)
        reply = yield from self.request(request, limit, quiet=quiet, patient=patient)
        if reply.status == 401 and self.access.look_again():
            reply = yield from self.request(request, limit, quiet=quiet, patient=patient)
        if reply.status not in accept:
            raise verdicts.system_refusal(self.asked(), request, reply)
        return request, reply

    def read(
        self,
        path: str,
        wanted: type[list[Any] | dict[str, Any]],
        *,
        query: Mapping[str, str] | None = None,
        deadline: Deadline | float | None = None,
        patient: bool = True,
        of_functions: bool = False,
    ) -> Conversation[Any]:
        """Ask for a JSON array or object, or for an array of functions and nothing else."""
        request, reply = yield from self.system(
            "GET", path, query=query, deadline=deadline, patient=patient
        )
        try:
            data = json.loads(reply.body)
        except (ValueError, RecursionError):
            raise verdicts.not_json(self.asked(), request, reply, "JSON") from None
        if data is None and wanted is list:
            return []
        if not isinstance(data, wanted):
            kind = "a JSON array" if wanted is list else "a JSON object"
            raise verdicts.not_json(self.asked(), request, reply, kind)
        # Another program's array is not a gateway without functions.
        if of_functions and not all(map(_has_a_name, data)):
            raise verdicts.not_json(self.asked(), request, reply, "a list of functions")
        return data

    # ------------------------------------------------------------ functions

    def functions(
        self,
        *,
        fresh: bool = False,
        namespace: str | None = None,
        deadline: Deadline | float | None = None,
        patient: bool = True,
        seconds: float = KEPT_SECONDS,
    ) -> Conversation[list[FunctionInfo]]:
        """List all functions, sorted by name; a refused connection is tried again if patient.

        One that was asked for less than so many seconds ago does, unless it has to be fresh.
        """
        space = self._space(namespace)
        limit = self.deadline(deadline)

        def fetch() -> Conversation[list[FunctionInfo]]:
            try:
                data = yield from self.read(
                    "/system/functions",
                    list,
                    query={"namespace": space},
                    deadline=limit,
                    patient=patient,
                    of_functions=True,
                )
            except AnswerLost as error:
                # OpenFaaS' own handler does so: it panics while its Prometheus is away.
                raise AnswerLost(
                    f"{self.access.url} closed the connection instead of listing its functions, as"
                    " OpenFaaS does while its Prometheus cannot be reached; single functions can"
                    f" still be asked for by name (X-Call-Id {error.call_id})",
                    gateway=self.access.url,
                    call_id=error.call_id,
                ) from error
            infos = map(FunctionInfo.from_json, data)
            return sorted((info for info in infos if info is not None), key=_by_name)

        return (
            yield from self.catalogue.listing(fetch, space, limit, fresh=fresh, seconds=seconds)
        )

    def renew_list(self, namespace: str | None = None) -> Conversation[None]:
        """Fetch the list after a change, for imports of this process and of later ones.

        The change is made: whoever needs a list that cannot be had now asks for it then.
        """
        try:
            yield from self.functions(
                fresh=True, namespace=namespace, deadline=RENEW_SECONDS, patient=False
            )
        except AwayError:
            return
        self.catalogue.tell_followers()

    def function(
        self,
        name: str,
        deadline: Deadline | float | None = None,
        *,
        namespace: str | None = None,
    ) -> Conversation[FunctionInfo | None]:
        """Ask for one function by its name or the Python name for it; None if there is none.

        The gateway is asked for the function alone, which it can answer where its list hangs.
        """
        limit = self.deadline(deadline)
        query = {"namespace": self._space(namespace)}
        for spelling in names.candidates(name):
            if not _fits_a_path(spelling):
                continue
            path = f"/system/function/{spelling}"
            request, reply = yield from self.system(
                "GET", path, query=query, deadline=limit, accept=(*_ACCEPTED, 404)
            )
            if reply.status == 404:
                if reply.body.strip() == b"404 page not found":
                    raise verdicts.system_refusal(self.asked(), request, reply)
                continue
            try:
                data = json.loads(reply.body)
            except (ValueError, RecursionError):
                data = None
            info = FunctionInfo.from_json(data, listed=False) if isinstance(data, dict) else None
            if info is None:
                raise verdicts.not_json(self.asked(), request, reply, "a function as JSON")
            return info
        return None

    def function_or_absent(
        self,
        name: str,
        deadline: Deadline | float | None = None,
        *,
        namespace: str | None = None,
    ) -> Conversation[FunctionInfo]:
        """Ask for one function; raise FunctionNotFound with the nearest names if there is none."""
        limit = self.deadline(deadline)
        info = yield from self.function(name, limit, namespace=namespace)
        if info is None:
            raise (yield from self.absence(name, limit, namespace=namespace))
        return info

    def absence(
        self,
        name: str,
        deadline: Deadline,
        *,
        namespace: str | None = None,
        reply: Reply | None = None,
    ) -> Conversation[AwayError]:
        """Make the error for a missing function, with what the gateway has if it can be learnt."""
        space = self._space(namespace)
        known: list[str] | None = None
        asked = self.asked()
        if asked.user is not None and deadline.remaining() > 0.0:
            try:
                infos = self.catalogue.cached(space)
                if infos is None or find(infos, name) is not None:
                    limit = deadline.within(NEAREST_SECONDS)
                    infos = yield from self.functions(fresh=True, namespace=space, deadline=limit)
                known = [info.name for info in infos]
            except GatewayError as error:
                if space and error.status == 400 and "namespace" in error.body:
                    return self._no_namespace(space, reply)
            except AwayError:
                pass
        return verdicts.absent(asked, name, namespace=space, known=known, reply=reply)

    def _no_namespace(self, space: str, reply: Reply | None) -> AwayError:
        return FunctionNotFound(
            f"{self.access.url} has no namespace {names.printable(space)!r}; correct namespace= or"
            " make it there",
            gateway=self.access.url,
            status=reply.status if reply is not None else 400,
            call_id=reply.call_id if reply is not None else None,
        )

    def deploy(
        self, deployment: Mapping[str, Any], *, method: str, deadline: Deadline | float | None
    ) -> Conversation[None]:
        """Deploy (POST) or replace (PUT) a function."""
        yield from self.system(method, "/system/functions", deployment, deadline=deadline)
        self.catalogue.drop()

    def remove(
        self, name: str, namespace: str | None, deadline: Deadline | float | None
    ) -> Conversation[None]:
        """Remove a function."""
        space = self._space(namespace)
        limit = self.deadline(deadline)
        data = {"functionName": name} | ({"namespace": space} if space else {})
        _, reply = yield from self.system(
            "DELETE", "/system/functions", data, deadline=limit, accept=(*_ACCEPTED, 404)
        )
        self.catalogue.removed(space, name)
        if reply.status == 404:
            raise (yield from self.absence(name, limit, namespace=space, reply=reply))
        yield from self.renew_list(space)

    def scale(
        self,
        name: str,
        replicas: int,
        namespace: str | None,
        deadline: Deadline | float | None,
    ) -> Conversation[None]:
        """Ask for so many replicas."""
        space = self._space(namespace)
        limit = self.deadline(deadline)
        names.check_callable_name(name)
        data = {"serviceName": name, "replicas": replicas}
        if space:
            data["namespace"] = space
        _, reply = yield from self.system(
            "POST",
            f"/system/scale-function/{name}",
            data,
            query={"namespace": space},
            deadline=limit,
            accept=(*_ACCEPTED, 404),
        )
        if reply.status == 404:
            raise (yield from self.absence(name, limit, namespace=space, reply=reply))

    # ------------------------------------------------------------ logs

    def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        since: datetime | timedelta | float | str | None = None,
        namespace: str | None = None,
        deadline: Deadline | float | None = None,
    ) -> Conversation[list[LogLine]]:
        """Give the log's lines until now, the last ``tail`` of them."""
        check_tail(tail)
        request = log_request(name, self._space(namespace), since)
        whole = self.deadline(deadline)
        limit = whole.within(LOG_WHOLE_SECONDS)
        reply = yield from self.request(request, limit, quiet=LOG_QUIET_SECONDS)
        self.check_log(request, reply)
        lines = LogReader().feed(reply.body, last=True)
        if reply.status == 200 and not lines and whole.remaining() > 0.0:
            # OpenFaaS gives the same empty answer for a function that it does not have.
            try:
                yield from self.function_or_absent(name, whole, namespace=namespace)
            except FunctionNotFound:
                raise
            except AwayError:
                pass  # it may be there, and then this is its log
        return lines if tail is None else lines[max(len(lines) - tail, 0) :]

    def check_log(self, request: Request, reply: Reply) -> None:
        """Raise where the head of a log says that there is none."""
        # 204: no head of it came, which is how OpenFaaS gives a log that is empty.
        if reply.status not in (200, 204):
            raise verdicts.system_refusal(self.asked(), request, reply)

    def follower(
        self,
        name: str,
        *,
        since: datetime | timedelta | float | str | None = None,
        namespace: str | None = None,
        deadline: Deadline | float | None = None,
    ) -> LogFollower:
        """Decide how a log is followed, piece by piece."""
        request = log_request(name, self._space(namespace), since)
        step = Send(request, self.deadline(deadline), self.connect_timeout)
        return LogFollower(self.access.url, step, self.check_log)

    # ------------------------------------------------------------ secrets, namespaces, the gateway

    def secrets(
        self, namespace: str | None, deadline: Deadline | float | None = None
    ) -> Conversation[list[str]]:
        """List the names of secrets."""
        query = {"namespace": self._space(namespace)}
        data = yield from self.read("/system/secrets", list, query=query, deadline=deadline)
        found = (each.get("name") for each in data if isinstance(each, dict))
        return sorted(name for name in found if isinstance(name, str))

    def store_secret(
        self, method: str, name: str, value: str | bytes, namespace: str | None
    ) -> Conversation[None]:
        """Make (POST) or overwrite (PUT) a secret; bytes arrive as they are."""
        from base64 import b64encode

        data = {"name": name}
        if isinstance(value, bytes):
            data["rawValue"] = b64encode(value).decode()
        else:
            data["value"] = value
        space = self._space(namespace)
        if space:
            data["namespace"] = space
        if method == "POST":
            yield from self.system(method, "/system/secrets", data, query={"namespace": space})
        else:
            yield from self.change_secret(method, name, data, space)

    def remove_secret(self, name: str, namespace: str | None) -> Conversation[None]:
        """Remove a secret."""
        space = self._space(namespace)
        data = {"name": name} | ({"namespace": space} if space else {})
        yield from self.change_secret("DELETE", name, data, space)

    def change_secret(
        self, method: str, name: str, data: Mapping[str, Any], space: str
    ) -> Conversation[None]:
        """Overwrite or remove a secret; where the gateway does not find it, say which there are."""
        query = {"namespace": space}
        try:
            # faasd reads the namespace from the query here, other providers from the body.
            yield from self.system(method, "/system/secrets", data, query=query)
        except GatewayError as error:
            words = (error.body or "").lower()
            # faasd answers 500 with the words of its file system for one that is not there.
            if error.status != 404 and not any(each in words for each in _NOT_THERE):
                raise
            try:
                known = yield from self.secrets(space)
            except AwayError:
                raise error from None
            if name in known:
                raise
            raise SecretNotFound(
                f"{self.access.url} has no secret {printable(name)!r}; {suggestion(name, known)}",
                gateway=self.access.url,
                status=error.status,
                call_id=error.call_id,
            ) from None

    def namespaces(self, deadline: Deadline | float | None = None) -> Conversation[list[str]]:
        """List the namespaces."""
        data = yield from self.read("/system/namespaces", list, deadline=deadline)
        return sorted(each for each in data if isinstance(each, str))

    def info(self, deadline: Deadline | float | None = None) -> Conversation[dict[str, Any]]:
        """Describe the gateway and its provider."""
        found: dict[str, Any] = yield from self.read("/system/info", dict, deadline=deadline)
        return found

    def health(self, deadline: Deadline | float | None = None) -> Conversation[None]:
        """Ask whether the gateway and its provider are well; needs no login."""
        request = Request("GET", "/healthz")
        reply = yield from self.request(request, deadline)
        if reply.status != 200:
            raise verdicts.system_refusal(self.asked(), request, reply)

    def is_available(self) -> Conversation[bool]:
        """Tell whether the gateway is well."""
        try:
            yield from self.health(self.deadline().within(self.connect_timeout))
        except AwayError:
            return False
        return True

    def is_auth(self) -> Conversation[bool]:
        """Tell whether the gateway takes the login."""
        try:
            yield from self.info()
        except AuthenticationRefused:
            return False
        return True

    # ------------------------------------------------------------ calls

    def invoke_or_refuse(self, name: str, *args: Any, **options: Any) -> Conversation[Reply]:
        """Call a function as :meth:`invoke` does, and raise for every error of the platform's."""
        reply = yield from self.invoke(name, *args, **options)
        if reply.status >= 400:
            error = self.platform_refusal(reply, name)
            if error is not None:
                raise error
        return reply

    def invoke(
        self,
        name: str,
        body: bytes | Iterable[bytes] = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        path: str = "",
        query: str = "",
        namespace: str | None = None,
        deadline: Deadline | float | None = None,
        idempotent: bool = False,
    ) -> Conversation[Reply]:
        """Call a function; every answer is returned but that the gateway has no such function.

        Raises:
            FunctionNotFound: The gateway said so, and no update of ours explains it.
            GatewayUnreachable, CallTimedOut, AnswerLost: As :func:`exchange` says.
        """
        if isinstance(body, (str, bytearray, memoryview)):
            if isinstance(body, str):
                raise TypeError("the body of a call is bytes, not str; encode the text")
            body = bytes(body)
        space = self.namespace if namespace is None else namespace
        limit = self.deadline(deadline)
        target = _function_path(name, space, path, query)
        if headers:
            _check_headers(headers)
        request = Request(
            method,
            target,
            headers or {},
            body if body or method not in ("GET", "HEAD") else None,
            self.access.auth_functions,
        )
        reply = yield from exchange(
            Where(self.access.url, name),
            request,
            limit,
            self.connect_timeout,
            repeatable=idempotent,
            updates=self.catalogue.updates_of(space, name),
        )
        if reply.status == 404 and verdicts.is_unknown_function(reply):
            raise (yield from self.absence(name, limit, namespace=space, reply=reply))
        return reply

    def refusal(self, reply: Reply, function: str) -> AwayError:
        """Make the error for an answer to a call: the platform's, or the function's own status."""
        asked = self.asked()
        return verdicts.function_refusal(asked, function, reply) or verdicts.failed(
            asked, function, reply
        )

    def platform_refusal(self, reply: Reply, function: str) -> AwayError | None:
        """Make the error for an answer to a call that is the platform's; None for the function's."""
        return verdicts.function_refusal(self.asked(), function, reply)

    def _space(self, namespace: str | None) -> str:
        return self.namespace if namespace is None else namespace


def _has_a_name(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def _by_name(info: FunctionInfo) -> str:
    return info.name


def _origin(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.partition('/')[0].rpartition('@')[2]}"


def _fits_a_path(name: str) -> bool:
    return bool(name) and name.isascii() and all(c.isalnum() or c in "-_." for c in name)


@lru_cache(maxsize=256)
def _function_path(name: str, namespace: str, path: str, query: str) -> str:
    names.check_callable_name(name)
    target = f"/function/{name}"
    if namespace:
        names.check_callable_name(namespace)
        target += f".{namespace}"
    if path:
        tail = path if path.startswith("/") else f"/{path}"
        if "//" in tail or any(part in (".", "..") for part in tail.split("/")):
            raise ValueError(
                f"the path {path[:80]!r} has an empty, '.' or '..' part, which gateways answer by a"
                " redirect instead of calling the function; put such data into the query or body"
            )
        target += quote(tail, safe=_PATH_SAFE)
    if query:
        target += f"?{quote(query.removeprefix('?'), safe=_PATH_SAFE + '?[]')}"
    return target


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        # The few that every call carries are looked at once.
        if _SOUND.get(name) == value:
            continue
        if not isinstance(value, str) or not isinstance(name, str):
            raise TypeError(f"the header {name!r} is text, not {type(value).__name__}")
        if "\n" in value or "\r" in value or "\0" in value or _breaks_name(name):
            raise ValueError(f"the header {name[:80]!r} has a character that no header can carry")


_SOUND = {
    "Content-Type": "application/json",
    "X-Away-Stub": "plain",
    "X-Away-Protocol": "1",
}


@lru_cache(maxsize=256)
def _breaks_name(name: str) -> bool:
    return (
        not name
        or not name.isascii()
        or any(c <= " " or c in ':"(),/;<=>?@[\\]{}\x7f' for c in name)
    )

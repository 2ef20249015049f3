"""OpenFaaS's REST API: routes, methods, the password, and the answers' exact statuses and bodies.

A router of prefixes over aiohttp's low-level server, since every call of a function passes here. What
is answered and why is OpenFaaS's; what a deployment means is :mod:`away.gateway.deployments`'.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import platform
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from aiohttp import web

from away.gateway.deploy_request import NAMESPACE, Refused, read_deployment, read_object, texts
from away.gateway.image_registry import ImageRegistry, RegistryError
from away.gateway.invocation import Invocation
from away.gateway.logs import as_json, go_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from away.gateway.access import Access
    from away.gateway.deployments import Deployments, Function
    from away.gateway.providers.networks import Networks
    from away.gateway.store import Store

    Handler = Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]

__all__ = ["App"]

# The largest deployment that faasd was seen to take had 4.3 MB of annotations.
MAX_BODY_BYTES = 32 * 1024 * 1024
# Without "since", OpenFaaS shows the last five minutes.
LOG_WINDOW = timedelta(minutes=5)

_SECRET_NAME = re.compile(r"[-._a-zA-Z0-9]{1,253}\Z")
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Away</title>
<h1>Away's embedded gateway</h1>
<p>It runs. Functions are listed by <code>away list local</code>.</p>
"""


class App:
    """Answers every request to the gateway."""

    def __init__(
        self,
        access: Access,
        deployments: Deployments,
        store: Store,
        version: str,
        networks: Networks | None = None,
    ) -> None:
        self._access = access
        self._networks = networks
        self._deployments = deployments
        self._store = store
        self._version = version
        self._invocation = Invocation(deployments, version)
        self._registry = ImageRegistry(store)
        self._following: set[asyncio.Task[Any]] = set()
        # path → method → handler; the same below for the prefixes before a name
        self._routes: dict[str, dict[str, Handler]] = {
            "/system/info": {"GET": self._info},
            "/system/functions": {
                "GET": self._list,
                "POST": self._create,
                "PUT": self._update,
                "DELETE": self._remove,
            },
            "/system/secrets": {
                "GET": self._secrets,
                "POST": self._put_secret,
                "PUT": self._put_secret,
                "DELETE": self._delete_secret,
            },
            "/system/namespaces": {"GET": self._namespaces},
            "/system/logs": {"GET": self._logs},
            "/ui/": {"GET": self._page},
        }
        namespace: dict[str, Handler] = dict.fromkeys(
            ("GET", "POST", "PUT", "DELETE"), self._namespace
        )
        self._below: dict[str, dict[str, Handler]] = {
            "/system/function/": {"GET": self._status},
            "/system/scale-function/": {"POST": self._scale},
            "/system/namespace/": namespace,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request: first whether it may be made at all, then by its path."""
        refusal = self._access.refusal(request.headers.getall("Host", []), request.headers)
        if refusal is not None:
            return _closing(request, _error(403, refusal))
        if self._networks is not None and not await self._networks.admits(request):
            return _closing(request, _error(403, "this address is for containers of this machine"))
        path = request.raw_path
        if path.startswith("/function/"):
            return await self._invocation.handle(request)
        if not path.startswith("/"):
            return _closing(request, _error(400, "400 Bad Request: the target is not a path"))
        return await self._by_path(request, unquote(path.partition("?")[0]))

    def close(self) -> None:
        """End what would go on for ever."""
        for task in self._following:
            task.cancel()
        self._registry.close()

    async def _by_path(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if path == "/healthz":
            return web.Response(status=200 if request.method == "GET" else 405)
        if path == "/":
            return web.Response(status=307, headers={"Location": "/ui/"})
        if path == "/v2" or path.startswith("/v2/"):
            return await self._to_registry(request, path)
        methods, name = self._find(path)
        if methods is None:
            return _closing(request, _error(404, "404 page not found"))
        handler = methods.get(request.method)
        if handler is None:
            return _closing(request, web.Response(status=405))
        if not self._admits(request):
            return _closing(request, _unauthorized())
        try:
            return await handler(request, name)
        except Refused as error:
            return _closing(request, _error(error.status, error.text))

    def _find(self, path: str) -> tuple[dict[str, Handler] | None, str]:
        if path in self._routes:
            return self._routes[path], ""
        for prefix, methods in self._below.items():
            if path.startswith(prefix):
                name = path[len(prefix) :]
                # A namespace's route is there without a name, and says what is missing.
                known = "/" not in name and (name or prefix == "/system/namespace/")
                return (methods, name) if known else (None, "")
        return None, ""

    def _admits(self, request: web.BaseRequest) -> bool:
        return self._access.admits(request.headers.get("Authorization"))

    async def _to_registry(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if self._admits(request):
            return await self._registry.handle(request, path)
        response = RegistryError(401, "UNAUTHORIZED", "authentication required").response()
        response.headers["Www-Authenticate"] = 'Basic realm="Restricted"'
        return _closing(request, response)

    # Looking

    async def _info(self, _request: web.BaseRequest, _name: str) -> web.StreamResponse:
        version = {"sha": "", "release": self._version}
        return _json(
            {
                "provider": {
                    "provider": "away",
                    "version": version,
                    "orchestration": self._deployments.orchestration,
                },
                "version": {"commit_message": "", **version},
                "arch": platform.machine(),
            }
        )

    async def _page(self, _request: web.BaseRequest, _name: str) -> web.StreamResponse:
        return web.Response(
            text=_PAGE,
            content_type="text/html",
            headers={
                "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
                "X-Content-Type-Options": "nosniff",
            },
        )

    async def _list(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        _check_namespace(_query(request))
        return _json([_described(each, listed=True) for each in self._deployments.all()])

    async def _status(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        _check_namespace(_query(request))
        function = self._deployments.get(name)
        if function is None:
            return web.Response(status=404)
        return _json(_described(function, listed=False))

    async def _namespaces(self, _request: web.BaseRequest, _name: str) -> web.StreamResponse:
        return _json([NAMESPACE])

    async def _namespace(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        """Answer for one namespace: there is none but the default, which is not made or removed."""
        if not name:
            raise Refused(400, "namespace is required")
        if request.method == "GET":
            raise Refused(404, f"namespace {name} not found")
        fields = read_object(await _body(request), "types.FunctionNamespace")
        if request.method != "POST":
            status = 400 if name == NAMESPACE else 404
            raise Refused(status, f"namespace {name} cannot be changed or is not there")
        labels = fields.get("labels")
        if not isinstance(labels, dict) or labels.get("openfaas") not in ("1", "true"):
            raise Refused(400, 'a namespace needs the label "openfaas": "1"')
        if name == NAMESPACE:
            raise Refused(409, f"namespace {name} already exists")
        raise Refused(501, f"this gateway has no namespaces beside {NAMESPACE}")

    # Deploying

    async def _create(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        deployment = read_deployment(await _body(request))
        return await _to_its_end(self._deployments.create(deployment))

    async def _update(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        deployment = read_deployment(await _body(request))
        return await _to_its_end(self._deployments.update(deployment))

    async def _remove(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        fields = read_object(await _body(request), "requests.DeleteFunctionRequest")
        name, namespace = texts(
            fields, "functionName", "namespace", type_name="DeleteFunctionRequest"
        )
        _check_namespace({"namespace": namespace})
        if not name:
            raise Refused(400, "functionName is required")
        return await _to_its_end(self._deployments.remove(name))

    async def _scale(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        try:
            fields = read_object(await _body(request), "types.ScaleServiceRequest")
            service, namespace = texts(
                fields, "serviceName", "namespace", type_name="ScaleServiceRequest"
            )
        except Refused as error:
            raise Refused(error.status, "Error unmarshalling request body") from None
        replicas = fields.get("replicas", 0)
        if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 0:
            raise Refused(400, "Error unmarshalling request body")
        _check_namespace({"namespace": namespace})
        # One replica, whatever is asked for: none is raised to one, and there are never more.
        return await _to_its_end(self._deployments.wake(service or name))

    # Secrets

    async def _secrets(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        _check_namespace(_query(request))
        names = self._store.secrets.names()
        found = [{"name": each, "namespace": NAMESPACE} for each in names]
        # OpenFaaS's provider forgets the Content-Type, and Go makes it plain text.
        return web.Response(
            body=go_json(found).encode(), content_type="text/plain", charset="utf-8"
        )

    async def _put_secret(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        name, value = _read_secret(await _body(request))
        self._store.secrets.put(name, value)
        return web.Response(status=200)

    async def _delete_secret(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        _check_namespace(_query(request))
        name = _secret_name(_secret_fields(await _body(request)))
        if not self._store.secrets.delete(name):
            raise Refused(500, f"remove {name}: no such file or directory")
        return web.Response(status=200)

    # Logs

    async def _logs(self, request: web.BaseRequest, _name: str) -> web.StreamResponse:
        query = _query(request)
        tail, since = _read_tail(query.get("tail", "")), _read_since(query.get("since", ""))
        name = query.get("name", "")
        function = self._deployments.get(name)
        if function is None or query.get("namespace", NAMESPACE) not in ("", NAMESPACE):
            return web.Response(status=200, content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        number = function.log.next
        for line in function.log.lines(since, tail):
            await response.write(as_json(line, name, NAMESPACE))
        if query.get("follow", "").lower() in ("1", "t", "true"):
            await self._follow(response, function, number)
        return response

    async def _follow(self, response: web.StreamResponse, function: Function, number: int) -> None:
        """Write lines as they come, until the client or the gateway goes."""
        task = asyncio.current_task()
        assert task is not None
        self._following.add(task)
        name = function.deployment.name
        try:
            while self._deployments.get(name) is function:
                lines = await function.log.following(number)
                number = function.log.next
                await response.write(b"".join(as_json(line, name, NAMESPACE) for line in lines))
        finally:
            self._following.discard(task)


def _described(function: Function, *, listed: bool) -> dict[str, Any]:
    """Describe a function as the list does, or as the status of one; counts only where not zero."""
    deployment = function.deployment
    found: dict[str, Any] = {
        "name": deployment.name,
        "image": deployment.image,
        "namespace": deployment.namespace,
    }
    process = deployment.env_process or deployment.image_env.get("fprocess", "")
    if process:
        found["envProcess"] = process
    image_env = {key: each for key, each in deployment.image_env.items() if key != "PATH"}
    found["envVars"] = {**image_env, **deployment.env_vars}
    if deployment.secrets:
        found["secrets"] = list(deployment.secrets)
    found["labels"] = deployment.labels
    found["annotations"] = deployment.annotations
    if listed and deployment.limits.get("memory"):
        found["limits"] = {"memory": deployment.limits["memory"]}
    counts = {"replicas": function.replicas}
    if listed:
        counts = {"invocationCount": function.invocations, **counts}
    else:
        counts["availableReplicas"] = int(function.available)
    found.update({key: each for key, each in counts.items() if each})
    found["createdAt"] = deployment.created_at
    return found


async def _to_its_end(work: Coroutine[Any, Any, None]) -> web.StreamResponse:
    """Do a change to its end, also when the client that asked for it goes away."""
    task = asyncio.ensure_future(work)
    # Its error is for the client; without one it is for nobody.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(task)
    return web.Response(status=200)


async def _body(request: web.BaseRequest) -> bytes:
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    data = bytearray()
    async for piece in request.content.iter_any():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise Refused(413, f"the request's body has more than {MAX_BODY_BYTES} bytes")
    return bytes(data)


def _query(request: web.BaseRequest) -> dict[str, str]:
    _, _, query = request.raw_path.partition("?")
    try:
        parts = parse_qs(query, keep_blank_values=True, errors="replace", max_num_fields=100)
    except ValueError:
        raise Refused(400, "the query has too many fields") from None
    return {name: values[0] for name, values in parts.items()}


def _check_namespace(query: dict[str, str]) -> None:
    if query.get("namespace", "") not in ("", NAMESPACE):
        raise Refused(400, "namespace not valid")


def _secret_fields(body: bytes) -> dict[str, Any]:
    try:
        return read_object(body, "types.Secret")
    except Refused as error:
        raise Refused(500, error.text) from None


def _secret_name(fields: dict[str, Any]) -> str:
    name, namespace = texts(fields, "name", "namespace", type_name="Secret")
    _check_namespace({"namespace": namespace})
    if not _SECRET_NAME.match(name) or ".." in name or name.startswith("."):
        raise Refused(
            400,
            "a secret's name has letters, digits, '-', '_' and '.', does not begin with a dot"
            " and is not empty",
        )
    return name


def _read_secret(body: bytes) -> tuple[str, bytes]:
    fields = _secret_fields(body)
    name = _secret_name(fields)
    value, raw = texts(fields, "value", "rawValue", type_name="Secret")
    if not raw:
        return name, value.encode("utf-8", "replace")
    try:
        return name, base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "the secret's rawValue is not base64") from None


def _read_tail(text: str) -> int | None:
    if not text:
        return None
    if not text.lstrip("-").isdecimal() or not text.isascii() or len(text) > 9:
        raise Refused(500, "unknown log request error (422)")
    return int(text) if int(text) >= 0 else None


def _read_since(text: str) -> datetime:
    if not text:
        return datetime.now(UTC) - LOG_WINDOW
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refused(500, "unknown log request error (422)") from None


def _json(value: object) -> web.Response:
    return web.Response(body=go_json(value).encode(), content_type="application/json")


def _error(status: int, text: str) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff"}
    body = (text + "\n").encode("utf-8", "replace")
    return web.Response(
        status=status, body=body, content_type="text/plain", charset="utf-8", headers=headers
    )


def _unauthorized() -> web.Response:
    headers = {"Www-Authenticate": 'Basic realm="Restricted"'}
    return web.Response(status=401, text="invalid credentials", headers=headers)


def _closing(request: web.BaseRequest, response: web.Response) -> web.Response:
    """End the connection after an answer to a request whose body nobody will read."""
    if request.body_exists and not request.content.at_eof():
        response.force_close()
    return response

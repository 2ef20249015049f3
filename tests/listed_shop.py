"""A gateway of real sockets whose functions run and can be replaced, for what happens to kept lists."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import textwrap

from away import protocol, signatures
from away.module_descriptions import ModuleDescription, module_annotations
from tests import servers

PASSWORD = "a-shop-whose-list-is-kept"
UNKNOWN = b"error finding function x.openfaas-fn: server returned non-200 status code (404)"


class Shop(servers.Server):
    """Functions by name; what is asked of it is counted by ``lists`` and ``calls``."""

    def __init__(self, **functions):
        self.functions = functions
        self.modules = {}  # name → functions of a module that was published whole
        self.extra = {}
        super().__init__(self._answer)

    @property
    def lists(self):
        return self._count("/system/functions", "GET")

    @property
    def calls(self):
        return self._count("/function/")

    def _count(self, beginning, *methods):
        return sum(
            each.path.startswith(beginning) and (not methods or each.method in methods)
            for each in self.requests
        )

    def environment(self, gateway="shop", **more):
        """Return the variables that name this gateway to a process."""
        head = f"AWAY_GATEWAY_{gateway.upper()}"
        return {f"{head}_URL": self.url, f"{head}_PASSWORD": PASSWORD, **more}

    def _answer(self, seen):
        if seen.path.startswith("/system/functions") and seen.method == "DELETE":
            del self.functions[json.loads(seen.body)["functionName"]]
            return servers.answer(202)
        if seen.path.startswith("/system/functions"):
            listed = [self._listed(name) for name in self.functions]
            return servers.json([*listed, *map(self._listed_module, self.modules)])
        if seen.path.startswith("/system/function/"):
            return servers.answer(404, b"not found")
        name = seen.path.removeprefix("/function/")
        module, _, member = name.partition("/")
        known = self.modules.get(module, {}) if member else self.functions
        if (member or name) not in known:
            return servers.answer(404, UNKNOWN)
        function = known[member or name]
        call = protocol.read_call(seen.body, allow_unsafe=False)
        try:
            body = protocol.pack_value(self._run(function, call.args, call.kwargs))
        except TypeError as error:
            body = protocol.pack_error(error)
        headers = {
            "Content-Type": protocol.CONTENT_TYPE,
            protocol.PROTOCOL_HEADER: protocol.PROTOCOL_VERSION,
            protocol.LENGTH_HEADER: str(len(body)),
            protocol.DIGEST_HEADER: self._digest(function),
        }
        return servers.answer(200, body, headers)

    def _run(self, function, args, kwargs):
        found = function(*args, **kwargs)
        if hasattr(found, "send"):  # a coroutine that waits for nothing
            with contextlib.closing(found):
                try:
                    found.send(None)
                except StopIteration as ended:
                    return ended.value
        return found

    def _digest(self, function):
        code = function.__code__
        return hashlib.sha256(repr((code.co_code, code.co_varnames)).encode()).hexdigest()

    def _listed(self, name):
        description = signatures.describe(self.functions[name])
        digest = self._digest(self.functions[name])
        told = description._replace(entry=f"shop:{name}", digest=digest)
        annotations = {**signatures.to_annotations(told), **self.extra.get("annotations", {})}
        return {"name": name, "image": "x", **self.extra, "annotations": annotations}

    def _listed_module(self, name):
        functions = {key: signatures.describe(each) for key, each in self.modules[name].items()}
        whole = ModuleDescription(functions=functions, constants={}, entry=f"{name}:*")
        own = signatures.Description(entry=f"{name}:*")
        annotations = {**signatures.to_annotations(own), **module_annotations(whole)}
        return {"name": name, "image": "x", "annotations": annotations}


def child(code, *, status=0, **environment):
    """Run code in a fresh interpreter; return what it printed, or how it failed."""
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == status, ran.stderr
    return (ran.stdout + ran.stderr).strip()

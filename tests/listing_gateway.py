"""A gateway of a few lines: lists what a test makes up, counts requests, can be slow or wrong."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from away import config, signatures

PASSWORD = "not-to-be-shown"

_numbers = itertools.count()


@contextlib.contextmanager
def configured(prefix, url, password=PASSWORD):
    """Give a gateway a name that no other test has; it and what was imported by it are gone then."""
    name = f"{prefix}{next(_numbers)}"
    config.configure(name, url=url, user="admin", password=password, connect_timeout=3)
    try:
        yield name
    finally:
        config.forget(name)
        for package in ("away.remote", "away.remote.aio"):
            sys.modules.pop(f"{package}.{name}", None)
            if package in sys.modules:
                vars(sys.modules[package]).pop(name, None)


def published(name, entry="", kind="sync", parameters=("n",), doc="", **more):
    """Describe a function as Away's annotations do."""
    description = signatures.Description(
        kind=kind,
        parameters=tuple(signatures.Parameter(each, annotation="int") for each in parameters),
        returns="int",
        doc=doc,
        entry=entry or f"shop:{name.replace('-', '_')}",
        digest="0" * 64,
    )
    return {"name": name, "annotations": signatures.to_annotations(description), **more}


class Gateway:
    """A server that lists functions; what it is asked for stands in ``asked``."""

    def __init__(self):
        self.functions = []
        self.asked = []
        self.seconds = 0.0
        self.answer = None  # (status, headers, body) in place of the list
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked.append(self.path)
                time.sleep(outer.seconds)
                status, headers, body = outer.reply(self.headers.get("Authorization"))
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def reply(self, authorization):
        if self.answer is not None:
            return self.answer
        wanted = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        if authorization != f"Basic {wanted}":
            return 401, {"Www-Authenticate": 'Basic realm="Restricted"'}, b"invalid credentials\n"
        body = json.dumps([{"image": "x", "namespace": "", **each} for each in self.functions])
        return 200, {"Content-Type": "application/json"}, body.encode()

    @property
    def lists(self):
        return sum(path.startswith("/system/functions") for path in self.asked)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

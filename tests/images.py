"""Small images for tests, built and pushed by hand: nothing of Away's client has a part in it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import sys
import tarfile
from urllib.parse import urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(files: dict[str, str | bytes], *, links: dict[str, str] | None = None) -> bytes:
    """Return a tar with these files, and symbolic links by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


class Registry:
    """Speaks the OCI distribution API to a gateway, on one connection."""

    def __init__(self, url: str, user: str, password: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host = f"{parts.hostname}:{parts.port}"
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {token}"}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def call(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, {**self.headers, **(headers or {})})
        answer = self.connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def push_blob(self, repository: str, data: bytes) -> dict[str, object]:
        digest = digest_of(data)
        status, _, _ = self.call("HEAD", f"/v2/{repository}/blobs/{digest}")
        if status == 404:
            status, headers, _ = self.call("POST", f"/v2/{repository}/blobs/uploads/", b"")
            assert status == 202
            status, _, body = self.call("PUT", f"{headers['Location']}?digest={digest}", data)
            assert status == 201, body
        return {"digest": digest, "size": len(data)}

    def base(self) -> tuple[dict, dict]:
        """Return the manifest and config of the gateway's base image."""
        _, _, body = self.call("GET", f"/v2/away/python/manifests/{MINOR}")
        manifest = json.loads(body)
        _, _, body = self.call("GET", f"/v2/away/python/blobs/{manifest['config']['digest']}")
        return manifest, json.loads(body)

    def push_image(
        self,
        name: str,
        layers: list[bytes] | None = None,
        *,
        files: dict[str, str | bytes] | None = None,
        command: list[str] | None = None,
        env: list[str] | None = None,
        folder: str = "/",
        on_base: bool = True,
        media_type: str = LAYER,
        diff_ids: list[str] | None = None,
    ) -> str:
        """Push an image on the base and return its reference."""
        repository, _, tag = name.partition(":")
        layers = layers if layers is not None else [tar_of(files or {})]
        manifest, config = self.base()
        below = manifest["layers"] if on_base else []
        diffs = config["rootfs"]["diff_ids"] if on_base else []
        above = [{"mediaType": media_type, **self.push_blob(repository, each)} for each in layers]
        own = [digest_of(each) for each in layers] if diff_ids is None else diff_ids
        config["rootfs"]["diff_ids"] = diffs + own
        config["config"] |= {"Cmd": command or [], "Env": env or [], "WorkingDir": folder}
        config_bytes = json.dumps(config).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **self.push_blob(repository, config_bytes)},
            "layers": [*below, *above],
        }
        path = f"/v2/{repository}/manifests/{tag or 'latest'}"
        status, _, body = self.call(
            "PUT", path, json.dumps(document).encode(), {"Content-Type": MANIFEST}
        )
        assert status == 201, body
        return f"{self.host}/{name}"

    def deploy(self, name: str, image: str, method: str = "POST", **fields) -> None:
        body = json.dumps({"service": name, "image": image, **fields}).encode()
        status, _, text = self.call(method, "/system/functions", body)
        assert status == 200, text


# A function of a few lines that reads chunked bodies and has every manner that the contract's
# checks know: X-Reflect, /status/N, /redirect, /stream.
ECHO = r"""
import json, os, re, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def answer(self):
        body = self.body()
        path, _, query = self.path.partition("?")
        fields = {k: v[0] for k, v in parse_qs(query).items()}
        if self.headers.get("X-Reflect"):
            self.send(200, json.dumps({"method": self.command, "path": path, "query": query,
                "headers": self.headers.items(), "body_len": len(body)}).encode())
        elif found := re.fullmatch(r"/status/(\d+)", path):
            self.send(int(found[1]), b"status " + found[1].encode(), {"X-Fn": "1"})
        elif path == "/redirect":
            self.send(int(fields["code"]), b"", {"Location": fields["to"]})
        elif path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            for number in range(int(fields["n"])):
                time.sleep(int(fields["ms"]) / 1000)
                self.wfile.write(b"10\r\n%016d\r\n" % number)
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        elif path == "/print":
            print("printed", body.decode(), flush=True)
            self.send(200, b"")
        elif path == "/exit":
            os._exit(3)
        elif path == "/half":
            self.send_response(200)
            self.send_header("Content-Length" if fields.get("known") else "Transfer-Encoding",
                             fields.get("known") or "chunked")
            self.end_headers()
            piece = b"x" * int(fields["send"])
            self.wfile.write(piece if fields.get("known") else b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
            os._exit(3)  # what was written is sent all the same
        elif path == "/pid":
            self.send(200, str(os.getpid()).encode())
        elif path == "/env":
            self.send(200, json.dumps(dict(os.environ)).encode())
        elif path == "/secret":
            with open(os.path.join(os.environ["AWAY_SECRETS_DIR"], fields["name"])) as file:
                self.send(200, file.read().encode())
        elif path == "/flood":
            os.write(1, (b"y" * 99 + b"\n") * int(fields["lines"]))
            self.send(200, b"flooded")
        elif path == "/family":
            import subprocess, sys
            code = "import os,time; os.fork(); os.setsid() if os.getpgrp() != os.getpid() else 0; time.sleep(600)"
            for new in (True, False):
                subprocess.Popen([sys.executable, "-c", code], start_new_session=new)
            self.send(200, b"")
        elif path == "/escape":
            import subprocess, sys
            for code in ("", "os.fork() and os._exit(0); os.setsid();"):
                subprocess.Popen(
                    [sys.executable, "-c", f"import os,time; {code} time.sleep(600)"], env={}, cwd="/",
                    start_new_session=True, stdin=-3, stdout=-3, stderr=-3)
            self.send(200, b"")
        else:
            self.send(200, body)

    def send(self, status, body, headers={}):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer

    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

print("echo listens", flush=True)
Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
"""


def push_echo(registry: Registry, name: str = "ctr/echo:1") -> str:
    return registry.push_image(
        name, files={"srv/echo.py": ECHO}, command=["python3", "-u", "/srv/echo.py"], folder="/srv"
    )

"""What an editor does: speaks the Language Server Protocol with pyright, over pipes."""

from __future__ import annotations

import json
import subprocess
import sys


class LanguageServer:
    """Pyright's language server, with one project open."""

    def __init__(self, project, python):
        self._project, self._python, self._last = project, str(python), 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pyright.langserver", "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=project,
        )
        uri = project.as_uri()
        markdown = {"hover": {"contentFormat": ["markdown"]}, "completion": {}}
        self.ask(
            "initialize",
            processId=None,
            rootUri=uri,
            workspaceFolders=[{"uri": uri, "name": "project"}],
            capabilities={"textDocument": markdown, "workspace": {"configuration": True}},
        )
        self._send(method="initialized", params={})

    def open(self, name, text):
        """Open a file of the project with this text; return what names it."""
        uri = (self._project / name).as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self._send(method="textDocument/didOpen", params={"textDocument": document})
        return {"uri": uri}

    def ask(self, method, **params):
        """Send a request and return its result, answering what the server asks meanwhile."""
        self._last += 1
        asked = self._last
        self._send(id=asked, method=method, params=params)
        while True:
            message = self._receive()
            if "method" not in message:
                if message["id"] == asked:
                    assert "error" not in message, message
                    return message["result"]
            elif "id" in message:
                self._send(id=message["id"], result=self._answer(message))

    def close(self):
        self.ask("shutdown")
        self._send(method="exit")
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _answer(self, message):
        if message["method"] != "workspace/configuration":
            return None
        return [
            {"pythonPath": self._python} if each.get("section") == "python" else {}
            for each in message["params"]["items"]
        ]

    def _send(self, **message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self):
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the language server ended"
        return json.loads(self._process.stdout.read(length))

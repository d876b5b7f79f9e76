"""The page on loopback, for ``hangdiag serve``. Only this machine's browser is answered."""

from __future__ import annotations

import json
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hangdiag.web import site

#: A trace of this many bytes is taken.
MOST_BYTES = 64 * 1024 * 1024


def make_server(port: int, pyodide: Path | None = None) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 (``port`` 0: any free one). With ``pyodide``, traces do not even reach it."""

    class Handler(_Handler):
        engine = pyodide

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


@cache
def _own_file(name: str) -> bytes:
    return site.package_archive() if name == "hangdiag.zip" else site.page_file(name)


class _Handler(BaseHTTPRequestHandler):
    engine: Path | None = None
    server_version = "hangdiag"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        """The page's files, by a fixed list of names."""
        if not self._is_ours():
            return
        path = urlsplit(self.path).path
        name = "index.html" if path == "/" else path.removeprefix("/")
        if name == "engine.json":
            kind = "pyodide" if self.engine is not None else "server"
            self._send(200, ".json", json.dumps({"engine": kind}).encode())
        elif name in ("index.html", "page.css", "page.js", "worker.js", "hangdiag.zip"):
            self._send(200, Path(name).suffix, _own_file(name))
        elif self.engine is not None and name.removeprefix("pyodide/") in site.PYODIDE_FILES and name.startswith("pyodide/"):
            self._send(200, Path(name).suffix, (self.engine / name.removeprefix("pyodide/")).read_bytes())
        else:
            self._send(404, ".txt", b"no such page")

    def do_POST(self) -> None:
        """A trace in, its report out."""
        if not self._is_ours():
            return
        parts = urlsplit(self.path)
        length = self.headers.get("Content-Length", "")
        if parts.path != "/report" or not length.isdigit():
            self._send(404, ".txt", b"no such page")
        elif int(length) > MOST_BYTES:
            self.close_connection = True
            self._send(413, ".txt", b"the trace is larger than 64 MB; use hangdiag analyze")
        else:
            from hangdiag.web.engine import answer

            query = parse_qs(parts.query)
            data = self.rfile.read(int(length))
            good, text = answer(data, query.get("name", ["pasted text"])[0][:200], query.get("redact", ["1"])[0] != "0")
            self._send(200 if good else 422, ".txt", text.encode("utf-8", "replace"))

    def _is_ours(self) -> bool:
        """Does the request come from our own page? A foreign page may reach loopback through a name of its own."""
        port = self.server.server_port  # type: ignore[attr-defined]
        ours = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in ours and (origin is None or origin.removeprefix("http://") in ours):
            return True
        self.close_connection = True
        self._send(403, ".txt", b"only this machine's own page is answered")
        return False

    def _send(self, code: int, suffix: str, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", site.TYPES.get(suffix, "text/plain; charset=utf-8"))
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", site.policy())
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged: a trace is nobody's business."""

"""The page's server: its files, its answer, and whom it answers."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import sys
import threading
import zipfile

import pytest

from hangdiag.web import site
from hangdiag.web.engine import answer
from hangdiag.web.server import MOST_BYTES, make_server
from tests.report.helpers import SAMPLES


@pytest.fixture
def server():
    made = make_server(0)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made.server_port
    made.shutdown()
    made.server_close()
    thread.join(5)


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response, text


def test_the_page_and_its_files(server):
    response, text = ask(server, "GET", "/")
    assert response.status == 200
    assert b"Content-Security-Policy" in text
    assert response.headers["Content-Security-Policy"] == site.policy()
    for name in ("page.css", "page.js", "worker.js"):
        assert ask(server, "GET", f"/{name}")[0].status == 200
    assert json.loads(ask(server, "GET", "/engine.json")[1]) == {"engine": "server"}
    for name in ("../../etc/passwd", "pyodide/pyodide.mjs", "server.py", "__init__.py", "..%2f", "index.html/"):
        assert ask(server, "GET", f"/{name}")[0].status == 404


def test_a_trace_and_its_report(server):
    data = (SAMPLES / "deadlock.procstat.txt").read_bytes()
    response, text = ask(server, "POST", "/report?name=x.txt&redact=1", data)
    assert response.status == 200
    assert b"DEADLOCK (proven)" in text
    assert b"x.txt" in text


def test_what_is_no_trace(server):
    response, text = ask(server, "POST", "/report", b"hello\n")
    assert response.status == 422
    assert b"no thread recognised" in text


def test_foreign_pages_are_not_answered(server):
    assert ask(server, "GET", "/", Host="evil.example:80")[0].status == 403
    assert ask(server, "POST", "/report", b"x", Origin="http://evil.example")[0].status == 403
    assert ask(server, "POST", "/report", b"x", Origin="null")[0].status == 403
    assert ask(server, "GET", "/", Origin=f"http://localhost:{server}")[0].status == 200


def test_a_trace_that_is_too_large(server):
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=30)
    connection.putrequest("POST", "/report")
    connection.putheader("Content-Length", str(MOST_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413


def test_it_listens_on_loopback_alone():
    made = make_server(0)
    assert made.server_address[0] == "127.0.0.1"
    made.server_close()


def test_the_package_in_the_page_works_alone(tmp_path):
    """With the standard library and nothing else, as in the browser."""
    archive = site.package_archive()
    assert archive == site.package_archive()
    names = zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert not any(name.startswith(("hangdiag/cli/", "hangdiag/live/")) or "__pycache__" in name for name in names)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from hangdiag.web.engine import answer\n"
        "good, text = answer(open(sys.argv[2], 'rb').read())\n"
        "assert good and 'DEADLOCK (proven)' in text, text\n"
        "assert not {'typer', 'rich', 'pygdbmi'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", script, str(tmp_path), str(SAMPLES / "deadlock.textdump.tar")],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_static_site(tmp_path):
    fake = tmp_path / "pyodide"
    fake.mkdir()
    for name in site.PYODIDE_FILES:
        (fake / name).write_text(name)
    site.write_site(tmp_path / "site", fake)
    found = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert found == {"index.html", "page.css", "page.js", "worker.js", "hangdiag.zip", "engine.json"} | {
        f"pyodide/{name}" for name in site.PYODIDE_FILES
    }


def test_an_archive_may_be_dropped():
    good, text = answer((SAMPLES / "deadlock.textdump.tar").read_bytes(), "textdump.tar")
    assert good
    assert "ddb.txt" in text

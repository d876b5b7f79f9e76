"""From a paste to the visible verdict, offline: on loopback, and with Python in the browser."""

from __future__ import annotations

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hangdiag.web.server import make_server
from hangdiag.web.site import PYODIDE_FILES, write_site
from tests.browser.conftest import until
from tests.report.helpers import SAMPLES, text_of

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
#: The npm package pyodide, unpacked: "npm install" puts it here.
PYODIDE = Path(os.environ.get("HANGDIAG_PYODIDE", ROOT / "node_modules" / "pyodide"))


def engines():
    missing = not all((PYODIDE / name).is_file() for name in PYODIDE_FILES)
    skip = pytest.mark.skipif(missing, reason="Pyodide is not there (npm install, or HANGDIAG_PYODIDE=DIR)")
    return [pytest.param(None, id="loopback"), pytest.param(PYODIDE, id="pyodide", marks=skip)]


@pytest.fixture(params=engines())
def page(request, browser):
    server = make_server(0, request.param)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    yield browser
    browser.get("about:blank")
    server.shutdown()
    server.server_close()
    thread.join(5)


def paste(page, text):
    page.execute_script("document.getElementById('trace').value = arguments[0]", text)
    page.find_element("id", "go").click()
    return answer(page)


def answer(page):
    def said():
        text = page.find_element("id", "status").text
        return "" if text.startswith(("Starting", "Reading")) else text

    return until(said, 90)


def report(page):
    frame = page.find_element("id", "report")
    page.switch_to.frame(frame)
    until(lambda: page.execute_script("return document.documentElement.dataset.ready") == "yes")
    text = page.find_element("css selector", "body").text
    count = len(page.find_elements("css selector", "#graph .node.core"))
    page.switch_to.default_content()
    return text, count


def test_from_a_paste_to_the_verdict(page):
    assert "stands below" in paste(page, text_of("deadlock.ddb.txt"))
    text, core = report(page)
    assert "DEADLOCK (PROVEN)" in text
    assert core == 4
    assert "win11" not in text
    link = page.find_element("id", "save")
    assert link.is_displayed()
    assert link.get_attribute("href").startswith("blob:")


@pytest.mark.skipif(not (PYODIDE / "pyodide.mjs").is_file(), reason="Pyodide is not there (npm install, or HANGDIAG_PYODIDE=DIR)")
def test_the_static_site_needs_no_server_of_ours(browser, tmp_path):
    write_site(tmp_path, PYODIDE)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    assert "stands below" in paste(browser, text_of("deadlock.procstat.txt"))
    assert "DEADLOCK" in report(browser)[0]
    browser.get("about:blank")
    server.shutdown()
    server.server_close()


def test_a_file_is_read(page):
    page.find_element("id", "file").send_keys(str(SAMPLES / "deadlock.textdump.tar"))
    assert "stands below" in answer(page)
    assert "DEADLOCK" in report(page)[0]


def test_what_is_no_trace_is_said(browser):
    server = make_server(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.get(f"http://127.0.0.1:{server.server_port}/")
    assert "no thread recognised" in paste(browser, "good morning")
    assert not browser.find_element("id", "report").is_displayed()
    # a refusal is an answer, but Chromium notes its status in the console
    assert all("422" in entry["message"] for entry in browser.get_log("browser"))
    browser.get("about:blank")
    server.shutdown()
    server.server_close()


def test_nothing_pasted(page):
    page.find_element("id", "go").click()
    assert "Paste a trace first" in answer(page)


def test_the_frame_is_sandboxed(page):
    assert page.find_element("id", "report").get_attribute("sandbox") == "allow-scripts"

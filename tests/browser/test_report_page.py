"""The HTML report as a person meets it: opened from disk, clicked, typed, printed."""

from __future__ import annotations

import base64

import pytest

from hangdiag.report.summary_forms import diagnose_paths, source_texts, write_report
from tests.browser.conftest import until
from tests.report.helpers import HOSTILE, NAMES, SAMPLES, read_again
from tests.report.test_html import big_capture
from tests.traces import T, procstat, vcpus

pytestmark = pytest.mark.browser


@pytest.fixture
def opened(browser, tmp_path):
    def open_report(html):
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        browser.get(file.as_uri())
        until(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
        assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"
        return browser

    return open_report


def of_sample(name):
    paths = [str(SAMPLES / name)]
    diagnoses = diagnose_paths(paths)
    return write_report(diagnoses, "html", source_texts(paths, None, diagnoses))


def nodes(page):
    return page.find_elements("css selector", "#graph .node")


def named(page, text):
    (node,) = [item for item in nodes(page) if item.get_attribute("aria-label").startswith(text)]
    return node


def click(page, node):
    page.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].dispatchEvent(new MouseEvent('click'))", node)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_opens(opened, name):
    page = opened(of_sample(name))
    assert page.find_element("css selector", "h1").text
    assert page.find_elements("css selector", "#table .row")


def test_the_cycle_is_visible(opened):
    page = opened(of_sample("deadlock.ddb.txt"))
    assert "DEADLOCK (PROVEN)" in page.find_element("css selector", ".finding h2").text
    core = page.find_elements("css selector", "#graph .node.core")
    assert len(core) == 4
    frame = page.find_element("id", "graph").rect
    for node in core:
        box = node.rect
        assert box["width"] > 50
        assert frame["x"] <= box["x"] + box["width"] / 2 <= frame["x"] + frame["width"]
    assert page.find_elements("css selector", "#graph .edge.cycle")


def test_selecting_a_thread_shows_its_stack_and_its_lines(opened):
    page = opened(of_sample("deadlock.ddb.txt"))
    click(page, named(page, "vcpu 2"))
    detail = page.find_element("id", "detail").text
    for part in ("vcpu 2", "vcpu_set_state_locked", "100045", "Waits for", "Waited for by", "Evidence"):
        assert part in detail
    assert "selected" in named(page, "vcpu 2").get_attribute("class")
    marked = [line.text for line in page.find_elements("css selector", "#source .marked")]
    assert any("Tracing" in line and "100045" in line for line in marked)
    assert any("vcpu_set_state_locked" in line for line in marked)


def test_a_neighbour_can_be_reached_from_the_detail(opened):
    page = opened(of_sample("deadlock.ddb.txt"))
    click(page, named(page, "vcpu 2"))
    button = page.find_element("css selector", "#detail ul button")
    name = button.text
    click(page, button)
    assert page.find_element("css selector", "#detail h2").text == name


def test_victims_fold_and_filters_narrow(opened):
    page = opened(of_sample("deadlock.ddb.txt"))
    before = len(nodes(page))
    page.execute_script("document.getElementById('focus').value = 'cycle'; document.getElementById('focus').dispatchEvent(new Event('change'))")
    assert len(nodes(page)) == 4 < before
    page.execute_script("document.getElementById('kind').value = 'rendezvous'; document.getElementById('kind').dispatchEvent(new Event('change'))")
    assert len(nodes(page)) == 3
    assert page.find_element("id", "count").text.startswith("3 of ")


def test_many_victims_are_one_node_until_asked(opened):
    threads = [*vcpus("started", "lock one"), *(T(100900 + n, "-", "lock one", 3000 + n, "bhyvectl") for n in range(12))]
    text = procstat(threads)
    page = opened(write_report(read_again(text), "html", [text]))
    (folded,) = [node for node in nodes(page) if "stuck behind it" in node.get_attribute("aria-label")]
    click(page, folded)
    assert len(nodes(page)) == 14


def test_by_keyboard_alone(opened):
    from selenium.webdriver.common.keys import Keys

    page = opened(of_sample("deadlock.ddb.txt"))
    node = named(page, "vcpu 3")
    page.execute_script("arguments[0].focus()", node)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.find_element("css selector", "#detail h2").text.startswith("vcpu 3")
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert "node" in page.switch_to.active_element.get_attribute("class")

    def focused(attribute):
        # the table draws its rows anew: an element that was found a moment ago may be gone
        return page.execute_script("return document.activeElement.getAttribute(arguments[0])", attribute)

    page.execute_script("document.querySelector(\"#table .row[tabindex='0']\").focus()")
    first = int(focused("data-row"))
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    until(lambda: focused("data-row") == str(first + 1))
    page.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: focused("aria-selected") == "true")
    page.switch_to.active_element.send_keys(Keys.END)
    count = page.find_element("id", "table").get_attribute("aria-rowcount")
    until(lambda: focused("aria-rowindex") == count)


def test_search_and_sort(opened):
    page = opened(of_sample("deadlock.ddb.txt"))
    search = page.find_element("id", "search")
    search.send_keys("vioapic_mmio_write")
    until(lambda: page.find_element("id", "count").text.startswith("1 of "))
    assert "vcpu 1" in page.find_element("css selector", "#table .row").text
    search.clear()
    search.send_keys(" ")
    until(lambda: not page.find_element("id", "count").text.startswith("1 of "))
    tid = page.find_elements("css selector", "#table .head button")[2]
    click(page, tid)
    shown = [int(row.find_elements("css selector", "span")[2].text) for row in page.find_elements("css selector", "#table .row")[:5]]
    assert shown == sorted(shown)


def test_a_hostile_capture_runs_nothing(opened):
    text = procstat([*vcpus("started", "lock one"), T(100900, "<script>alert(1)", "lock one", 12, "<img src=x>")])
    # a reader would take the tags off: the page must not need that
    shown = text + f"{HOSTILE}<script>document.title='owned'</script>\n"
    page = opened(write_report(read_again(text), "html", [shown], redact=False))
    assert page.title != "owned"
    assert page.find_elements("css selector", "img") == []
    assert len(page.find_elements("css selector", "script")) == 3
    assert any("<script>alert(1)" in node.get_attribute("aria-label") for node in nodes(page))
    assert "</script><img" in page.find_element("id", "source").text


def test_scripts_that_are_not_ours_are_refused(chromium, opened):
    page = opened(of_sample("idle.procstat.txt"))
    page.execute_script("const s = document.createElement('script'); s.textContent = 'document.title = \"owned\"'; document.body.append(s)")
    assert page.title != "owned"
    (entry,) = chromium.get_log("browser")
    assert "Content Security Policy" in entry["message"] or "content security policy" in entry["message"].lower()


def test_ten_thousand_threads_are_usable_at_once(opened):
    text = big_capture(10_000)
    html = write_report(read_again(text), "html", [text])
    page = opened(html)
    took = page.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert took < 3000, f"{took} ms; 1 s is allowed on a free machine"
    assert "10004 of 10004" in page.find_element("id", "count").text
    # only the rows that can be seen exist
    assert len(page.find_elements("css selector", "#table .row")) < 80
    spent = page.execute_script(
        "const t = document.getElementById('table'), begin = performance.now();"
        "for (let i = 0; i < 40; i++) { t.scrollTop = i * 5000; t.dispatchEvent(new Event('scroll')); t.offsetHeight; }"
        "return (performance.now() - begin) / 40"
    )
    assert spent < 100, f"{spent:.0f} ms a scroll"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_schemes(opened, scheme):
    page = opened(of_sample("deadlock.ddb.txt"))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    colours = page.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor].map((c) => c.match(/[0-9.]+/g).slice(0, 3).map(Number))"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    text, ground = (sum(colour) / 3 for colour in colours)
    assert abs(text - ground) > 150
    assert (text < ground) == (scheme == "light")


def test_it_prints(opened):
    page = opened(of_sample("deadlock.procstat.txt"))
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000


def test_names_and_roles(opened):
    page = opened(of_sample("deadlock.ddb.txt"))
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('button, select, input, iframe, [role=button], [role=grid], [role=region]')]"
        ".filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.length || e.textContent.trim()))"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []
    assert page.execute_script("return document.documentElement.lang") == "en"
    assert page.execute_script("return document.querySelectorAll('h1').length") == 1

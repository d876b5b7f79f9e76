"""The HTML file: self-contained, small, closed to what a capture says. (tests/browser opens it.)"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import time
import zlib
from html.parser import HTMLParser

import pytest

from hangdiag.report.html import MOST_BYTES, as_html, asset
from hangdiag.report.summary_forms import diagnose_paths, source_texts, write_report
from tests.report.helpers import HOSTILE, NAMES, SAMPLES, read_again, sample, text_of
from tests.traces import T, procstat, vcpus

VOID = {"meta", "link", "br", "input", "img"}


class Page(HTMLParser):
    """Collects elements, attributes and the texts of scripts; complains about what is not closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.scripts, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("script", "style"):
            self.scripts.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            tag, attributes, before = self.scripts[-1]
            self.scripts[-1] = (tag, attributes, before + data)
        else:
            self.words.append(data)


def data_of(page):
    (element,) = [item for item in page.scripts if item[1].get("id") == "data"]
    if element[1]["data-form"] == "json":
        return json.loads(element[2])
    return json.loads(zlib.decompress(base64.b64decode(element[2])))


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_one_closed_small_file(name):
    paths = [str(SAMPLES / name)]
    diagnoses = diagnose_paths(paths)
    made = write_report(diagnoses, "html", source_texts(paths, None, diagnoses))
    assert len(made.encode()) < MOST_BYTES
    page = Page(made)
    assert page.open == []
    for tag, attributes in page.elements:
        # nothing is loaded, nothing runs but the two scripts
        assert "src" not in attributes
        assert "style" not in attributes
        assert not any(key.startswith("on") for key in attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
    data = data_of(page)
    assert len(data["threads"]) == len(diagnoses[-1].capture.threads) or len(diagnoses) > 1


def test_the_policy_admits_exactly_its_scripts():
    page = Page(as_html(sample("deadlock.ddb.txt")))
    (policy,) = [item["content"] for tag, item in page.elements if tag == "meta" and "http-equiv" in item]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, attributes, text in page.scripts:
        digest = "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        assert (digest in policy) == (attributes.get("id") != "data"), tag


def test_a_hostile_capture_is_text():
    text = procstat([*vcpus("started", "lock one"), T(100900, "<script>alert(1)", "lock one", 12, "<img src=x>")])
    made = write_report(read_again(text), "html", [text + HOSTILE + "\n<!-- --><script>\n"], redact=False)
    page = Page(made)
    assert page.open == []
    assert len(page.scripts) == 4
    assert not any(tag in ("img", "b") for tag, _ in page.elements)
    data = data_of(page)
    assert HOSTILE in data["sources"][0]["text"]
    assert "<img src=x>" in data["words"]
    assert "&lt;img src=x&gt;/&lt;script&gt;alert(1)" in made


def test_without_scripts_the_report_is_whole():
    page = Page(as_html(sample("deadlock.procstat.txt")))
    shown = "".join(page.words)
    for part in ("DEADLOCK (proven)", "closes the cycle", "Signature", "Before rebooting", "KSTACK", "Other threads"):
        assert part in shown


def test_evidence_lines_are_those_of_the_text():
    text = text_of("deadlock.procstat.txt")
    data = data_of(Page(as_html(read_again(text), [text])))
    fields = {name: index for index, name in enumerate(data["fields"])}
    lines = data["sources"][0]["text"].split("\n")
    for thread in data["threads"]:
        assert str(thread[fields["tid"]]) in lines[thread[fields["first"]] - 1]


def big_capture(threads):
    pick = random.Random(1)
    stacks = ["disk", "kqueue", "mutex in userland"]
    made = vcpus("started", "lock one", "joined", "joined") + [
        T(200000 + number, f"thr{number % 10}", pick.choice(stacks), 3000 + number // 10, f"proc{number % 37}") for number in range(threads)
    ]
    return procstat(made)


def test_ten_thousand_threads():
    text = big_capture(10_000)
    diagnoses = read_again(text)
    begin = time.perf_counter()
    made = write_report(diagnoses, "html", [text])
    took = time.perf_counter() - begin
    assert len(made.encode()) < MOST_BYTES
    assert len(data_of(Page(made))["threads"]) == 10_004
    assert took < 9, f"{took:.1f} s; 3 s are allowed on a free machine"


def test_a_text_without_room_is_shortened_to_the_evidence():
    noise = random.Random(2)
    text = procstat(vcpus("started", "lock one")) + "\n".join(f"{noise.getrandbits(400):x}" for _ in range(12_000)) + "\n"
    made = as_html(read_again(text), [text])
    assert len(made.encode()) < MOST_BYTES
    lines = data_of(Page(made))["sources"][0]["text"].split("\n")
    assert "vcpu 0" in lines[1]
    assert lines[9000] == "\u2026"


def test_the_library_keeps_its_licence():
    assert "Permission is hereby granted" in asset("dagre.min.js")[:1200]
    assert "Permission is hereby granted" in asset("dagre.LICENSE")
    assert "sourceMappingURL" not in asset("dagre.min.js")
    assert "</script" not in asset("dagre.min.js") + asset("report.js")
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", asset("report.js"))

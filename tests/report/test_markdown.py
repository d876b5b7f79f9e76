"""A Markdown parser finds the report's own structure, and nothing of the capture's."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from hangdiag.report.markdown import as_markdown, block, code, text
from tests.report.helpers import NAMES, claims, read_again, sample
from tests.traces import T, procstat, vcpus

PARSER = MarkdownIt("commonmark")


def shown(tokens):
    """All text that a reader would see."""
    words = []
    for token in tokens:
        words += [child.content for child in token.children or [] if child.type in ("text", "code_inline")]
        if token.type == "fence":
            words.append(token.content)
    return "\n".join(words)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_parses(name):
    diagnosis = sample(name)[0]
    tokens = PARSER.parse(as_markdown([diagnosis]))
    kinds = {token.type for token in tokens}
    assert "html_block" not in kinds
    assert not any(child.type in ("html_inline", "image", "link_open") for token in tokens for child in token.children or [])
    headings = [tokens[index + 1].content for index, token in enumerate(tokens) if token.type == "heading_open"]
    assert "Host" in headings
    assert diagnosis.findings[0].summary.split()[0] in shown(tokens)


def test_the_threads_block_reads_back():
    diagnosis = sample("deadlock.procstat.txt")[0]
    fences = [token.content for token in PARSER.parse(as_markdown([diagnosis])) if token.type == "fence"]
    threads = next(content for content in fences if "KSTACK" in content)
    assert claims(read_again(threads)[0]) == claims(diagnosis)


def test_the_mermaid_block_is_there():
    diagnosis = sample("deadlock.procstat.txt")[0]
    assert any(token.info == "mermaid" for token in PARSER.parse(as_markdown([diagnosis])) if token.type == "fence")


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://x/y)", "**b** _i_ `c` ~~s~~", "# head", "- item",
     "1. item", "@everyone", "a|b", "&lt;&#60;", "````", "\\", "> quote", "<!-- c -->"],
)  # fmt: skip
def test_text_is_shown_as_it_is(hostile):
    assert shown(PARSER.parse(text(hostile))) == hostile
    (paragraph, *_) = PARSER.parse(text(hostile))
    assert paragraph.type == "paragraph_open"
    assert PARSER.parse(code(hostile))[1].children[0].type == "code_inline"
    (fence,) = PARSER.parse("\n".join(block([hostile, "```", "~~~"])))
    assert fence.content == f"{hostile}\n```\n~~~\n"


def test_a_hostile_thread_name():
    threads = [*vcpus("started", "lock one"), T(100900, "<script>x</script>", "disk", 12, "[a](b)")]
    tokens = PARSER.parse(as_markdown(read_again(procstat(threads))))
    assert not any(token.type == "html_block" for token in tokens)
    assert not any(child.type in ("html_inline", "link_open") for token in tokens for child in token.children or [])

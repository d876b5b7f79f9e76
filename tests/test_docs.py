"""The documentation: does it build, is everything in it, and does it say what the program does?"""

from __future__ import annotations

import html
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import hangdiag.cli
from hangdiag.knowledge.check import check_knowledge
from hangdiag.knowledge.load import parse_rules
from hangdiag.knowledge.model import BugFix, BugRule, SignatureThread, WaitRule
from tests.traces import KNOWLEDGE

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import blocks  # noqa: E402
import generate  # noqa: E402

WRITTEN = sorted(DOCS.glob("*.md"))
TOP = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site as mkdocs builds it, which fails where a written page says what the program does not."""
    pytest.importorskip("mkdocs")
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return target


class _Page(HTMLParser):
    """What a page links to and loads, and the anchors that it has."""

    def __init__(self):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.anchors.update(value for key, value in attributes if key in ("id", "name") and value)
        if tag == "a" and known.get("href"):
            self.links.append(known["href"])
        elif tag in ("link", "script", "img", "iframe"):
            self.loads += [known[key] for key in ("href", "src") if known.get(key)]


@cache
def parsed(path):
    """What is in a page of the site."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


# The site


def test_no_dead_link_in_the_site(site):
    pages = {path: parsed(path) for path in site.rglob("*.html") if path.name != "404.html"}
    dead = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = unquote(link.partition("?")[0]).partition("#")
            target = (path.parent / name).resolve() if name else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert dead == []


def test_the_site_loads_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        assert [address for address in parsed(path).loads if re.match(r"(https?:)?//", address)] == []
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//", path.read_text(encoding="utf-8"))


def test_every_rule_is_in_the_site(site):
    for rule in KNOWLEDGE.waits:
        assert rule.id in parsed(site / generate.wait_page(rule.subsystem).replace(".md", ".html")).anchors
    for bug in KNOWLEDGE.bugs:
        assert bug.id in parsed(site / generate.bug_page(bug.subsystem).replace(".md", ".html")).anchors
    assert (site / "schema" / "hangdiag-1.schema.json").is_file()
    assert (site / "man" / "hangdiag.1").is_file()


def test_nothing_is_written_to_the_tree(site):
    assert not (DOCS / "reference").exists()
    assert not list(site.rglob("*.py"))


# Generated pages, without mkdocs


@cache
def sections(page):
    """The entries of a page by rule."""
    return dict(re.findall(r"^## [^\n]* \{#([a-z0-9-]+)\}\n(.*?)(?=^## |\Z)", generate.pages()[page], re.M | re.S))


def test_every_wait_has_an_entry():
    for rule in KNOWLEDGE.waits:
        entry = sections(generate.wait_page(rule.subsystem))[rule.id]
        for said in (*rule.wmesg, *rule.stack):
            assert generate.code(said) in entry
        for said in (rule.waits_for, rule.ended_by, rule.look_next, rule.releases, *rule.references):
            assert said is None or generate.linked(said) in entry
        for row in (
            "kind",
            "wmesg",
            "waits for",
            "ended by",
            "is it normal",
            "a signal",
            "releases",
            "references",
            "verified",
        ):
            assert f"| {row} | " in entry


def test_every_bug_has_an_entry():
    for bug in KNOWLEDGE.bugs:
        entry = sections(generate.bug_page(bug.subsystem))[bug.id]
        for said in (bug.workaround, bug.affected, bug.verified, *bug.references):
            assert said is None or generate.linked(said) in entry
        for fix in bug.fix:
            assert fix.commit is None or fix.commit in entry


def test_the_indexes_are_complete():
    words = KNOWLEDGE.words
    common = words.switch | words.queue | words.primitives
    for rule in KNOWLEDGE.waits:
        for message in rule.wmesg:
            assert f"| {generate.code(message)} | " in generate.pages()["reference/waits/by-wmesg.md"]
        for function in generate.functions_of(rule) - common:
            assert f"| {generate.code(function)} | " in generate.pages()["reference/waits/by-function.md"]
    for bug in KNOWLEDGE.bugs:
        assert f"#{bug.id})" in generate.pages()["reference/bugs/index.md"]


@pytest.fixture(scope="module")
def markdown():
    """Imported before the first example, whose time is taken."""
    return pytest.importorskip("markdown")


hostile = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" \n"), min_size=1)


@given(
    hostile
    | st.sampled_from(
        ["<script>", "[a](b)", "![x](y)", "a|b", "{#id}", "*a* _b_ `c`", "&lt;", "\\_", "[TOC]", "1. a"]
    )
)
def test_text_of_rules_is_text(markdown, value):
    flat = " ".join(value.split())
    page = f"# A\n\n## {generate.text(value)} {{#x}}\n\n" + generate.table(
        ("k", "v"), [("v", "(" + generate.text(value) + ")"), ("c", "(" + generate.code(value) + ")")]
    )
    made = markdown.markdown(page, extensions=["tables", "fenced_code", "toc", "attr_list"])
    tags = {"h1", "h2", "table", "thead", "tbody", "tr", "th", "td", "code", "wbr"}
    assert set(re.findall(r"<(\w+)", made)) <= tags
    cells = re.findall(r"<td>\((.*?)\)</td>", re.sub("</?code>|<wbr>", "", made))
    cells = [html.unescape(cell) for cell in cells]
    assert [" ".join(cell.split()) for cell in cells] == [flat, flat]


@given(
    st.sampled_from(["https://a.b/c", "http://x"]) | st.just(""),
    st.text(st.characters(codec="ascii", exclude_categories=("C",))),
)
def test_a_link_leads_nowhere_else(markdown, lead, value):
    made = markdown.markdown(f"- {generate.linked(lead + value)}", extensions=["tables", "attr_list"])
    links = re.findall(r'<a href="([^"]*)">', made)
    assert all(re.match(r"https?://", html.unescape(link)) for link in links)
    assert set(re.findall(r"<([^>]*)>", re.sub(r'<a href="[^"<>]*">', "", made))) <= {
        "/a",
        "wbr",
        "ul",
        "/ul",
        "li",
        "/li",
    }


def test_a_block_of_code_ends_where_it_should():
    assert generate.fenced("~~~\n````\n~~~~~").count("~~~~~~") == 2


# Blocks of written pages


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (
            "```run hangdiag rules list --bugs\n= no such line\nWhy.\n```",
            "docs/a.md:2: .* prints no line with 'no such line'",
        ),
        ("```run rm -rf x\n```", "does not run hangdiag"),
        ("```run hangdiag analyze no-such-file\n```", "failed with 3"),
        ("```schema tool\nname: the program\n```", "field 'version' of tool without an explanation"),
        ("```schema tool\nname: a\nversion: b\ncolour: c\n```", "no field 'colour' of tool"),
        ("```schema nothing\n```", "no object 'nothing'"),
        ("```api\nhangdiag.no_such_name\n```", "no hangdiag.no_such_name"),
        ("```python run\nraise SystemExit(1)\n```", "the example failed with 1"),
    ],
)
def test_a_stale_page_fails(page, why):
    with pytest.raises(blocks.Stale, match=why):
        blocks.expand(f"# A\n{page}\n", "docs/a.md")


def test_a_link_out_of_the_site_becomes_the_name_of_the_file():
    page = "[The license](../LICENSE), [`samples/README.md`](../samples/README.md#a), [gone](../no-such-file), [here](json.md)"
    shown = "The license (`LICENSE`), `samples/README.md`, [gone](../no-such-file), [here](json.md)"
    assert blocks.expand(page, "docs/a.md") == shown


def test_every_part_of_the_schema_is_explained():
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    explained = {
        "" if path == "." else path
        for paths in re.findall(r"^```schema (.*)$", page, re.M)
        for path in paths.split()
    }
    assert set(blocks.schema_objects()) == explained


def test_every_public_name_is_documented():
    page = (DOCS / "library.md").read_text(encoding="utf-8")
    for name in hangdiag.__all__:
        assert name == "__version__" or f"\nhangdiag.{name}\n" in page


def test_every_key_of_a_rule_is_described():
    page = (DOCS / "writing-rules.md").read_text(encoding="utf-8")
    for kind in (WaitRule, BugRule, BugFix, SignatureThread):
        for field in fields(kind):
            assert field.name == "file" or re.search(rf"\b{field.name}\b", page), (
                f"{kind.__name__}.{field.name}"
            )


def test_the_rules_on_the_page_about_rules_are_right():
    stack = (ROOT / "rules" / "stack.toml").read_text(encoding="utf-8")
    page = (DOCS / "writing-rules.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```toml\n(.*?)^```$", page, re.M | re.S)
    assert len(shown) == 3
    for body in shown:
        made = parse_rules([("stack.toml", stack), ("shown.toml", body)])
        # a known bug is told by the waits that are shipped
        made = replace(made, waits=made.waits or KNOWLEDGE.waits)
        assert [str(problem) for problem in check_knowledge(made) if problem.grave] == []


# Links of written pages, as a reader of the repository follows them


def anchors_of(markdown):
    """The anchors that headings make."""
    found = set(re.findall(r"\{#([\w-]+)\}", markdown))
    for heading in re.findall(
        r"^#+ (.*?)\s*(?:\{#.*)?$", re.sub(r"^```.*?^```$", "", markdown, flags=re.M | re.S), re.M
    ):
        plain = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        found.update((re.sub(r"[-\s]+", "-", plain), re.sub(r"\s", "-", plain)))
    return found


@pytest.mark.parametrize("path", TOP + WRITTEN, ids=lambda path: path.name)
def test_no_dead_relative_link(path):
    page = path.read_text(encoding="utf-8")
    # links in code are examples
    prose = re.sub(r"`[^`\n]+`", "", re.sub(r"^```(?!run|schema).*?^```$", "", page, flags=re.M | re.S))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if target.is_relative_to(DOCS / "reference"):
            there = generate.pages().get(target.relative_to(DOCS).as_posix())
            assert there is not None, link
        else:
            assert target.exists(), link
            there = target.read_text(encoding="utf-8") if target.suffix == ".md" else ""
        assert not anchor or anchor in anchors_of(there), link


# The command line


def command_line():
    """Every command by name ("rules list"): its options, the forms of each. Also those that no name leads to yet."""
    from hangdiag.cli.app import make_app

    found = {}

    def visit(command, name):
        forms = [{*parameter.opts, *parameter.secondary_opts} for parameter in command.params]
        found[name] = [{form for form in option if form.startswith("-")} for option in forms]
        for inner, below in getattr(command, "commands", {}).items():
            visit(below, f"{name} {inner}".strip())

    for module in pkgutil.iter_modules(hangdiag.cli.__path__):
        loaded = importlib.import_module(f"hangdiag.cli.{module.name}")
        command = getattr(loaded, "app", None) or getattr(loaded, module.name, None)
        if command is None or module.name == "app":
            continue
        app = typer.Typer()
        app.callback()(lambda: None)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=module.name)
        else:
            app.command(module.name)(command)
        visit(typer.main.get_command(app), "")
    visit(typer.main.get_command(make_app()), "")
    return {name: [option for option in options if option] for name, options in found.items()}


COMMANDS = command_line()
CALLABLE = [name for name in COMMANDS if name and not any(other.startswith(name + " ") for other in COMMANDS)]


def forms(name):
    """All forms of all options of a command."""
    return {"--help"}.union(*COMMANDS[name])


def manual():
    """The manual's options: those that the synopsis of a command shows, and those that its section describes.

    The sections that are no command's describe options of several commands: they are found under "".
    """
    text = (ROOT / generate.MAN).read_text(encoding="utf-8")
    used, described = {}, {"": set()}
    for part in text[text.index(".Sh SYNOPSIS") : text.index(".Sh DESCRIPTION")].split(".Nm\n")[1:]:
        name = " ".join(re.findall(r"\bCm (\S+)", part.partition("\n")[0]))
        flags = re.findall(r"\bFl (-?[\w-]+)", part)
        used[name] = {f"-{flag}" for flag in flags if flag.startswith("-")}
        used[name] |= {f"-{letter}" for flag in flags if not flag.startswith("-") for letter in flag}
    body = text[text.index(".Sh DESCRIPTION") : text.index(".Sh ENVIRONMENT")]
    for part in re.split(r"^\.Ss ", body, flags=re.M):
        title = part.partition("\n")[0]
        name = title.removeprefix("hangdiag ") if title.startswith("hangdiag ") else ""
        flags = re.findall(r"\bFl (-?[\w-]+)", "\n".join(re.findall(r"^\.It Fl.*", part, re.M)))
        described.setdefault(name, set()).update(f"-{flag}" for flag in flags)
    return used, described


@pytest.mark.parametrize("name", CALLABLE)
def test_every_command_and_option_is_in_the_manual(name):
    used, described = manual()
    assert name in used, "no synopsis"
    for option in COMMANDS[name]:
        assert option & used[name], "not in the synopsis"
        assert option <= described[name] | described[""], "not described"


def test_the_options_without_a_command_are_in_the_manual():
    assert forms("") <= manual()[1][""]


def test_the_manual_invents_nothing():
    used, described = manual()
    assert set(used) == set(CALLABLE)
    for name, options in [*used.items(), *described.items()]:
        assert options <= (forms(name) if name else set().union(*map(forms, COMMANDS))), name


def test_the_manual_is_right_mdoc():
    program = shutil.which("mandoc")
    if program is None:
        pytest.skip("mandoc is not installed")
    done = subprocess.run(
        [program, "-T", "lint", str(ROOT / generate.MAN)], capture_output=True, text=True, check=False
    )
    # which other manuals are there depends on the machine
    of_the_machine = re.compile(r"referenced manual not found|outdated mandoc\.db|mandoc\.db: ")
    assert [
        line for line in (done.stdout + done.stderr).splitlines() if not of_the_machine.search(line)
    ] == []


def code_of(markdown):
    """Everything set as code: blocks and spans, a line each."""
    found = []
    for block in re.findall(r"^```[^\n]*\n(.*?)^```$", markdown, re.M | re.S):
        found += block.splitlines()
    found += re.findall(r"^```run (.*)$", markdown, re.M)
    rest = re.sub(r"^```.*?^```$", "", markdown, flags=re.M | re.S)
    found += re.findall(r"`([^`\n]+)`", rest)
    found += re.findall(r"^    (.*)$", rest, re.M)
    return found


@pytest.mark.parametrize("path", TOP + WRITTEN, ids=lambda path: path.name)
def test_the_commands_of_a_page_exist(path):
    for line in code_of(path.read_text(encoding="utf-8")):
        for call in re.findall(r"^\s*(?:\$ |.*\| *)?hangdiag (-?[a-z][^;&>]*)", line):
            # what follows two spaces or a capital letter is an argument or a remark
            words = re.split(r"\s{2,}|\s[A-Z(\[]", call, maxsplit=1)[0].split()
            names = [words[0]] if not words[0].startswith("-") else [""]
            if names == ["rules"] and len(words) > 1:
                names = [f"rules {word}" for word in words[1].split("|")]
            for name in names:
                assert name in COMMANDS, line
                assert {word.partition("=")[0] for word in words if word.startswith("--")} <= forms(name), (
                    line
                )


@pytest.mark.parametrize("path", TOP, ids=lambda path: path.name)
def test_the_make_targets_of_a_page_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for line in code_of(path.read_text(encoding="utf-8")):
        for target in re.findall(r"^make ([a-z]+)", line.strip()):
            assert target in targets


def test_the_files_that_a_page_names_exist():
    for path in TOP + WRITTEN:
        for line in code_of(path.read_text(encoding="utf-8")):
            for name in re.findall(r"\b(?:samples|rules|hangdiag|docs)/[\w./*-]+\w", line):
                assert list(ROOT.glob(name)) or name.endswith(".html"), f"{path.name}: {name}"

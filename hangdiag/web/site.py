"""The page's files: from the installed package for ``hangdiag serve``, or written out for a static site.

    python -m hangdiag.web.site DIRECTORY [PYODIDE]

PYODIDE is the npm package pyodide, unpacked (node_modules/pyodide). It is not part of hangdiag:
13 MB that only the page needs.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from importlib.resources import files
from pathlib import Path

from hangdiag.report.html import asset, content_hash
from hangdiag.resources import data_folder, walk

#: What of the npm package the page loads.
PYODIDE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".zip": "application/zip",
}
#: Parts of the package that the page does not need, and whose imports a browser does not have.
_LEFT_OUT = ("hangdiag/live/", "hangdiag/cli/", "hangdiag/collect/")


def policy() -> str:
    """The page's Content-Security-Policy. It admits the report's own scripts, since its frame inherits it."""
    scripts = " ".join(content_hash(asset(name)) for name in ("dagre.min.js", "report.js"))
    return (
        f"default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {scripts};"
        f" style-src 'self' {content_hash(asset('report.css'))};"
        " worker-src 'self'; connect-src 'self'; img-src data:; frame-src 'self'; base-uri 'none'; form-action 'none'"
    )


def page_file(name: str) -> bytes:
    """One of the page's own files."""
    data = files("hangdiag.web").joinpath(name).read_bytes()
    if name == "index.html":
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'
        data = data.replace(b"<!--POLICY-->", meta.encode())
    return data


def package_archive() -> bytes:
    """hangdiag itself as a zip file, laid out as in its wheel: the same bytes for the same package."""
    members = {f"hangdiag/{path}": entry for path, entry in walk(files("hangdiag"), "") if "__pycache__" not in path}
    for path, entry in walk(data_folder("rules"), ".toml"):
        members[f"hangdiag/data/rules/{path}"] = entry
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            if not name.startswith(_LEFT_OUT):
                archive.writestr(zipfile.ZipInfo(name), members[name].read_bytes(), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def write_site(target: Path, pyodide: Path | None) -> None:
    """Write the static page with everything that it loads into ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("index.html", "page.css", "page.js", "worker.js"):
        (target / name).write_bytes(page_file(name))
    (target / "hangdiag.zip").write_bytes(package_archive())
    (target / "engine.json").write_text(json.dumps({"engine": "pyodide"}), encoding="ascii")
    if pyodide is not None:
        (target / "pyodide").mkdir(exist_ok=True)
        for name in PYODIDE_FILES:
            (target / "pyodide" / name).write_bytes((pyodide / name).read_bytes())


def _main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print("usage: python -m hangdiag.web.site DIRECTORY [PYODIDE]", file=sys.stderr)
        return 2
    pyodide = Path(arguments[1]) if len(arguments) > 1 else None
    if pyodide is not None and (missing := [name for name in PYODIDE_FILES if not (pyodide / name).is_file()]):
        print(f"hangdiag: {pyodide}: {missing[0]} is missing; run 'npm install' and name node_modules/pyodide", file=sys.stderr)
        return 2
    write_site(Path(arguments[0]), pyodide)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))

"""``hangdiag serve``: the page for pasting, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def serve(
    port: Annotated[
        int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)
    ] = 8731,
    pyodide: Annotated[
        Optional[Path],
        typer.Option(help="The npm package pyodide, unpacked: diagnose in the browser.", metavar="DIR"),
    ] = None,
) -> None:
    """Serve a page on this machine alone: paste a trace, read the report."""
    from hangdiag.cli import common
    from hangdiag.errors import UsageError
    from hangdiag.web.server import make_server
    from hangdiag.web.site import PYODIDE_FILES

    if pyodide is not None and not all((pyodide / name).is_file() for name in PYODIDE_FILES):
        raise UsageError(
            f"{pyodide}: not the npm package pyodide; run 'npm install pyodide' and name node_modules/pyodide"
        )
    try:
        server = make_server(port, pyodide)
    except OSError as error:
        raise UsageError(f"port {port}: {error.strerror}; choose another with --port") from None
    common.write(f"http://127.0.0.1:{server.server_address[1]}/   (Ctrl-C ends it)\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        common.write("\n")
    finally:
        server.server_close()

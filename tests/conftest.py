"""What holds for all tests."""

import gc
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILED = ROOT / "hangdiag" / "data" / "rules.json"

# As hangdiag itself does (hangdiag/__main__.py): captures are trees of many small values without cycles.
gc.set_threshold(200_000, 50, 100)

# What pytest makes of the assertions in tests and in hypothesis may be kept: to make it again takes each worker seconds.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Other packages' strategies: trio's, which comes with selenium, takes long to import.
os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")


def pytest_configure(config):
    """Compile rules that were changed since the build: every command that is tested would read them all as TOML."""
    if hasattr(config, "workerinput") or not COMPILED.exists():
        return
    sources = [*(ROOT / "rules").rglob("*.toml"), *(ROOT / "hangdiag" / "knowledge").glob("*.py")]
    if max(path.stat().st_mtime for path in sources) > COMPILED.stat().st_mtime:
        from hangdiag.knowledge.load import compile_rules

        compile_rules(COMPILED)

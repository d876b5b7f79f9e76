"""Build hook: ship rules/ compiled to JSON, which loads many times faster than TOML."""

from __future__ import annotations

import sys
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Writes hangdiag/data/rules.json from rules/*.toml."""

    def initialize(self, version: str, build_data: dict) -> None:
        root = Path(self.root)
        sys.path.insert(0, str(root))
        try:
            from hangdiag.knowledge.load import compile_rules

            target = root / "hangdiag" / "data" / "rules.json"
            compile_rules(target)
        finally:
            sys.path.remove(str(root))
        build_data["artifacts"].append("hangdiag/data/rules.json")

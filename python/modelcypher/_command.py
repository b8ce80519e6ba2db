"""The command mc of an installed package."""
from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    program = Path(__file__).with_name("bin") / "mc"
    if not program.exists():
        sys.exit(f"mc: {program} is missing: install the package again")
    os.execv(program, ["mc", *sys.argv[1:]])

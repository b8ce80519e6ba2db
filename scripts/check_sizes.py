"""Fails for a file of ours longer than 1,000 lines, warns above 600."""
from __future__ import annotations

import sys

import ours

LIMIT, WARN = 1000, 600


def main() -> int:
    bad = 0
    for name in ours.files():
        if not ours.is_code(name) and not name.endswith(".md"):
            continue
        lines = ours.read(name).count("\n")
        if lines > LIMIT:
            print(f"{name}: {lines} lines, at most {LIMIT}: split it by topic", file=sys.stderr)
            bad += 1
        elif lines > WARN:
            print(f"{name}: warning: {lines} lines, aim at {WARN}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

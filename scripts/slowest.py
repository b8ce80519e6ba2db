"""Prints the slowest tests of a ctest run and one closing line.

usage: slowest.py CTEST_JUNIT_XML COUNT
"""
from __future__ import annotations

import sys
import xml.etree.ElementTree as ET


def summary(path: str, count: int) -> list[str]:
    try:
        cases = ET.parse(path).getroot().findall("testcase")
    except (OSError, ET.ParseError) as e:
        return [f"no results: {e}"]
    times = sorted(((float(c.get("time", "0")), c.get("name", "?")) for c in cases), reverse=True)
    failed = [c.get("name", "?") for c in cases if c.find("failure") is not None or c.get("status") == "fail"]
    skipped = sum(c.find("skipped") is not None for c in cases)
    lines = [f"slowest {min(count, len(times))} of {len(times)} test programs:"]
    lines += [f"  {t:8.2f} s  {name}" for t, name in times[:count]]
    closing = f"{len(cases) - len(failed) - skipped} passed, {len(failed)} failed"
    if skipped:
        closing += f", {skipped} skipped"
    closing += f" of {len(cases)} test programs, {sum(t for t, _ in times):.1f} s of test time"
    if failed:
        closing += f" (failed: {', '.join(sorted(failed))})"
    return lines + [closing]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print("\n".join(summary(sys.argv[1], int(sys.argv[2]))))

"""Writes docs/verified/tests-ISA.md: what `./dev test --full` showed on this kind of machine, and when.

usage: write_verified.py CTEST_LINE PYTEST_LINE CTEST_STATUS PYTEST_STATUS
"""
from __future__ import annotations

import datetime
import subprocess
import sys

import ours

sys.path.insert(0, str(ours.ROOT / "bench"))
from peers import machine  # noqa: E402


def main() -> None:
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    ctest, pytest = sys.argv[1:3]
    passed = sys.argv[3] == "0" and sys.argv[4] == "0"
    here = machine()
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    dirty = " with changes" if ours.git("status", "--porcelain", "--untracked-files=no").strip() else ""
    rows = {"result": "passed" if passed else "**failed**", "ctest": ctest, "pytest": pytest,
            "commit": ours.git("rev-parse", "--short=12", "HEAD").strip() + dirty,
            "day": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
            "CPU": f"{here['cpu']}, {here['cores']} cores", "compiler": compiler}
    folder = ours.ROOT / "docs" / "verified"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"tests-{here['isa']}.md"
    page.write_text(f"# All tests on {here['isa']}\n\nWritten by `./dev test --full`.\n\n| | |\n|---|---|\n"
                    + "".join(f"| {k} | {v} |\n" for k, v in rows.items()))
    print(f"wrote {page.relative_to(ours.ROOT)}")


if __name__ == "__main__":
    main()

"""Runs the public suite of the Python array API standard on our package and on others, one after the other in one run.

usage: array_api.py SUITE [--max-examples N] [--path DIR ...] [MODULE ...]

SUITE is a checkout of data-apis/array-api-tests (with its submodule); the interpreter needs what the suite needs (pytest,
hypothesis, ndindex). MODULEs default to modelcypher array_api_strict numpy mlx.core; one that can't be imported is left out
and named. DIRs are added to the path of the modules. Counts and the names of what fails go to docs/verified/array-api.json,
the counts also into the table of docs/array-api.md.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys

import ours

VERSION = "2025.12"
COUNTS = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)\b")
NAMES = re.compile(r"^(FAILED|ERROR) \S*?(test_\w+\.py::.*?)(?: - .*)?$", re.M)


def version_of(module: str, env: dict[str, str]) -> str | None:
    code = (f"import importlib, importlib.metadata as m; importlib.import_module('{module}')\n"
            f"print(m.version('{module.split('.')[0]}'.replace('_', '-')))")
    r = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    if r.returncode == 0:
        return r.stdout.strip()
    return "of this checkout" if module == "modelcypher" and "PackageNotFoundError" in r.stderr else None


def run(module: str, suite: str, examples: int, env: dict[str, str]) -> dict:
    r = subprocess.run([sys.executable, "-m", "pytest", "-q", f"--max-examples={examples}", "-rfE", "--tb=no", "-W", "ignore",
                        "-p", "no:cacheprovider", "array_api_tests"], cwd=suite, capture_output=True, text=True,
                       env={**env, "ARRAY_API_TESTS_MODULE": module, "ARRAY_API_TESTS_VERSION": VERSION, "COLUMNS": "300"})
    closing = (r.stdout.rstrip().splitlines() or [""])[-1]
    counts = {kind.rstrip("s") if kind.startswith("error") else kind: int(n) for n, kind in COUNTS.findall(closing)}
    if not counts.get("passed"):
        raise SystemExit(f"array_api: the suite did not run on {module}:\n{r.stdout[-2000:]}{r.stderr[-2000:]}")
    failing = sorted({name for _, name in NAMES.findall(r.stdout)})
    return {**counts, "failing": failing if len(failing) <= 60 else failing[:60] + [f"and {len(failing) - 60} more"]}


MARKS = "<!-- counts: written by scripts/array_api.py -->", "<!-- end of counts -->"


def write_table(facts: dict) -> None:
    rows = ["| library | passed | failed | errors | skipped |", "|---|---|---|---|---|"]
    for name, r in facts["modules"].items():
        rows.append(f"| {name} ({r['version']}) | " + " | ".join(f"{r.get(k, 0):,}" for k in ("passed", "failed", "error",
            "skipped")) + " |")
    page = ours.ROOT / "docs/array-api.md"
    before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n" + "\n".join(rows) + f"\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("modules", nargs="*", default=["modelcypher", "array_api_strict", "numpy", "mlx.core"])
    parser.add_argument("--max-examples", type=int, default=20)
    parser.add_argument("--path", action="append", default=[])
    args = parser.parse_args()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*map(os.path.abspath, args.path), os.environ.get("PYTHONPATH",
        "")]).strip(os.pathsep)}
    results, absent = {}, []
    for module in args.modules:
        version = version_of(module, env)
        if version is None:
            absent.append(module)
            print(f"{module}: can't be imported, left out", flush=True)
            continue
        results[module] = {"version": version, **run(module, args.suite, args.max_examples, env)}
        print(f"{module} {version}: " + ", ".join(f"{n} {k}" for k, n in results[module].items() if isinstance(n, int)), flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ours.ROOT, capture_output=True, text=True).stdout.strip()
    facts = {"schema": "mc.array-api/1", "date": datetime.date.today().isoformat(), "commit": commit, "standard": VERSION,
             "max_examples": args.max_examples, "absent": absent, "modules": results}
    target = ours.ROOT / "docs/verified/array-api.json"
    target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_table(facts)
    print(f"wrote {target.relative_to(ours.ROOT)} and docs/array-api.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())

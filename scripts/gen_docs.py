"""Writes the documents that are made from the code: docs/errors.md from include/mc/errors.def.

usage: gen_docs.py [--check]      --check writes nothing and fails when a document is stale
"""
from __future__ import annotations

import re
import sys

import ours

STRING = r'"((?:\\.|[^"\\])*)"'
ROW = re.compile(rf"^MC_ERROR\((\w+),\s*{STRING},\s*{STRING},\s*{STRING}\)", re.M)
GROUPS = {"0": "The command", "1": "Arrays and operations", "2": "Files", "3": "Models, text and data",
          "4": "Engines and devices", "5": "Memory", "9": "ModelCypher itself"}


def errors_md(definition: str) -> str:
    rows = [tuple(s.replace('\\"', '"').replace("\\\\", "\\") for s in r) for r in ROW.findall(definition)]
    if len(rows) != len(re.findall(r"^MC_ERROR\(", definition, re.M)):
        raise SystemExit("gen_docs: include/mc/errors.def has a row of another form than MC_ERROR(name, id, summary, next)")
    ids = [r[1] for r in rows]
    if len(set(ids)) != len(ids):
        raise SystemExit("gen_docs: include/mc/errors.def uses an id twice")
    out = ["# Errors", "",
           "Made by `scripts/gen_docs.py` from `include/mc/errors.def`; do not edit.", "",
           "Every failure says what happened, where, and what to do next. On the terminal it reads",
           "`error[CODE]: where: what` and `  next: what to do` on stderr; with `--output json` it is an object",
           "`{\"schema\": \"mc.error/1\", \"error\": {\"code\", \"message\", \"where\", \"next\"}}` on stdout. A code never",
           "changes its meaning. The next step below is the general one; a message may carry a better one.", "",
           "Exit codes of `mc`: 0 done, 1 error (of `mc parity` also: engines disagree), 2 the command line is wrong, "
           "3 a check failed, 130 stopped by Ctrl-C.", ""]
    group = None
    for name, code, summary, fix in rows:
        g = code.removeprefix("MC-E")[1]
        if g != group:
            group = g
            out += [f"## {GROUPS[g]}", "", "| code | in C++ | what it means | what to do |", "|---|---|---|---|"]
        out.append(f"| {code} | `{name}` | {summary} | {fix} |")
        following = ids.index(code) + 1
        if following == len(ids) or ids[following].removeprefix("MC-E")[1] != g:
            out.append("")
    return "\n".join(out).rstrip() + "\n"


def main() -> int:
    made = {"docs/errors.md": errors_md(ours.read("include/mc/errors.def"))}
    stale = [n for n, text in made.items() if not (ours.ROOT / n).is_file() or ours.read(n) != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"{name} is stale: run scripts/gen_docs.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ours.ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ours.ROOT / name).write_text(made[name], encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

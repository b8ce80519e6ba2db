"""docs/operations.md lists each method of the protocol once, with a counterpart that a public header declares."""
import re

import ours

ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \|", re.M)


def rows():
    return ROW.findall(ours.read("docs/operations.md"))


def test_every_method_has_one_row():
    names = [name for name, _ in rows()]
    assert len(names) == len(set(names)) == 78


def test_counterparts_are_declared():
    headers = "\n".join(re.sub(r"//.*", "", p.read_text()) for p in sorted((ours.ROOT / "include/mc").glob("*.h")))
    for _, here in rows():
        # A function, a method, a class, or a name in one of the lists that macros declare from.
        assert re.search(rf"\b{here}\s*\(|\bX\({here}\)|MC_DECLARE\({here}\)|class MC_API {here}\b", headers), here

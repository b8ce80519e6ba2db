"""The checks catch what they are for."""
import json
import pathlib
import re

import check_includes
import gen_docs
import pytest

TREE = {"src/base/log.h", "src/core/node.h", "src/prims/op.h", "src/transforms/vjp.h", "src/runtime/run.h",
        "src/backends/numpy/plan.h", "src/backends/cuda/stream.h", "src/models/llama.h", "src/io/gguf.h",
        "src/io/detail/map.h", "tools/mc/output.h", "tests/unit/util.h"}


@pytest.mark.parametrize("name, included", [
    ("src/core/node.cpp", "core/node.h"), ("src/core/node.cpp", "base/log.h"), ("src/core/node.cpp", "node.h"),
    ("src/runtime/eval.cpp", "transforms/vjp.h"), ("src/backends/numpy/a.cpp", "backends/numpy/plan.h"),
    ("src/backends/numpy/a.cpp", "runtime/run.h"), ("src/models/a.cpp", "mc/nn.h"), ("src/models/a.cpp", "llama.h"),
    ("src/io/detail/a.cpp", "map.h"), ("src/io/detail/a.cpp", "detail/map.h"), ("tools/mc/main.cpp", "output.h"),
    ("src/models/a.cpp", "utf8proc.h"), ("include/mc/ops.h", "mc/array.h"),
])
def test_allowed_include(name, included):
    assert check_includes.include_fault(name, included, TREE) is None


@pytest.mark.parametrize("name, included, why", [
    ("src/base/log.cpp", "core/node.h", "stands above"), ("src/core/a.cpp", "prims/op.h", "stands above"),
    ("src/transforms/a.cpp", "runtime/run.h", "stands above"), ("src/runtime/a.cpp", "backends/numpy/plan.h", "engine"),
    ("src/backends/numpy/a.cpp", "backends/cuda/stream.h", "includes engine cuda"),
    ("src/backends/numpy/a.cpp", "models/llama.h", "stands above"), ("src/models/a.cpp", "core/node.h", "outside user"),
    ("src/models/a.cpp", "io/gguf.h", "outside user"), ("src/io/a.cpp", "runtime/run.h", "outside user"),
    ("tools/mc/main.cpp", "base/log.h", "outside user"), ("tools/mc/main.cpp", "models/llama.h", "outside user"),
    ("include/mc/ops.h", "core/node.h", "public header"), ("src/runtime/a.cpp", "models/llama.h", "stands above"),
])
def test_refused_include(name, included, why):
    assert why in check_includes.include_fault(name, included, TREE)


def test_engine_is_named_in_code_only_by_itself():
    text = '// numpy may be named here\n/* and\nmlx here */ int a = 1\'000;\nconst char* s = "jax";  // cuda\nNumpyThing x;\n'
    faults = check_includes.check_file("src/runtime/a.cpp", text, TREE)
    assert [f.split(": ", 1)[0] for f in faults] == ["src/runtime/a.cpp:5", "src/runtime/a.cpp:4"]
    assert check_includes.check_file("src/backends/jax/a.cpp", 'const char* s = "jax";', TREE) == []
    assert check_includes.check_file("cmake/engines.cmake", "mc_engine(NAME jax)", TREE) == []
    assert check_includes.check_file("CMakeLists.txt", "# jax\nfind_package(jax)", TREE) != []


def test_comment_like_strings_stay():
    assert check_includes.strip_comments('a("//x"); // y\n"\\"/*" R"q(// z)q" /* b\n */c') == 'a("//x"); \n"\\"/*" R"q(// z)q" \nc'


def test_error_page_has_every_row_and_refuses_what_it_cannot_read():
    row = 'MC_ERROR(Usage, "MC-E0001", "a \\"b\\"", "do c")\n'
    page = gen_docs.errors_md(row)
    assert '| MC-E0001 | `Usage` | a "b" | do c |' in page
    with pytest.raises(SystemExit, match="twice"):
        gen_docs.errors_md(row + row.replace("Usage", "Other"))
    with pytest.raises(SystemExit, match="another form"):
        gen_docs.errors_md(row + "MC_ERROR(Odd, kId, x)\n")


def test_the_engines_page_tells_what_the_record_of_the_suite_does():
    """docs/backends.md names counts of cases: those of docs/verified, for both CPU plugins."""
    docs = pathlib.Path(check_includes.__file__).parents[1] / "docs"
    told = re.search(r"all ([\d,]+) forward and ([\d,]+) decomposed cases", (docs / "backends.md").read_text()).groups()
    engines = json.loads((docs / "verified/conformance-engines-cpu.json").read_text())["engines"]
    plugins = [e for name, e in engines.items() if name.startswith("jax")]
    assert len(plugins) == 2
    for e in plugins:
        assert [int(n.replace(",", "")) for n in told] == [e["passed"]["fwd"], e["passed"]["dec"]]
        assert e["failed"] == e["skipped"] == 0

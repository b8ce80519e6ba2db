"""README's C++ examples compile against the headers, and run on the library that was built."""
import os
import re
import shutil
import subprocess

import ours
import pytest

BLOCKS = re.findall(r"^```cpp\n(.*?)^```", ours.read("README.md"), re.M | re.S)
MODELS = os.environ.get("MC_MODELS", str(ours.ROOT / "models"))
MC = os.environ.get("MC_BIN", str(ours.ROOT / "build/release/bin/mc"))


@pytest.mark.skipif(not shutil.which("g++"), reason="g++ is not installed")
@pytest.mark.skipif("MC_SANITIZER" in os.environ, reason="the example is not built with the sanitizer that the library needs")
def test_the_examples_compile_and_run(tmp_path):
    assert len(BLOCKS) == 2
    body = "\n".join(BLOCKS).replace('#include "mc/mc.h"', "").replace("models/", MODELS + "/")
    source = tmp_path / "readme.cpp"
    source.write_text('#include <cstdio>\n#include "mc/mc.h"\nint main() {\n' + body +
                      '  std::printf("\\n%zu %lld\\n", values.size(), static_cast<long long>(states[1].shape(2)));\n}\n')
    lib = os.path.join(os.path.dirname(os.path.dirname(MC)), "lib")
    subprocess.run(["g++", "-std=c++20", "-I", str(ours.ROOT / "include"), str(source), "-L", lib, "-lmodelcypher", f"-Wl,-rpath,{lib}",
                    "-o", str(tmp_path / "readme")], check=True, timeout=300)
    r = subprocess.run([tmp_path / "readme"], capture_output=True, text=True, check=True, timeout=120)
    assert "Paris" in r.stdout and r.stdout.endswith("\n32 576\n")

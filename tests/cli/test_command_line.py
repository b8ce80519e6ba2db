"""The command line itself: options anywhere, suggestions, forms of output, pipes. Needs no model."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MC = Path(os.environ.get("MC_BIN", ROOT / "build" / "release" / "bin" / "mc"))


def mc(*args, **options):
    return subprocess.run([MC, *args], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, **options)


def error(result, code=2):
    assert result.returncode == code, result
    told = json.loads(result.stdout)
    assert told["schema"] == "mc.error/1" and result.stderr == b""
    return told["error"]


def test_version():
    assert mc("--version").stdout.startswith(b"mc ")
    assert json.loads(mc("--version", "--output", "json").stdout)["schema"] == "mc.version/1"


def test_nothing_is_a_usage_error_with_help_on_stderr():
    r = mc()
    assert r.returncode == 2 and r.stdout == b"" and b"usage: mc COMMAND" in r.stderr


@pytest.mark.parametrize("command", [[], ["infer"], ["score"], ["probe", "capture"], ["bench"], ["model", "info"],
                                     ["backends"], ["doctor"], ["ops"], ["cache", "ls"], ["cache", "clear"], ["completion"]])
def test_help_three_ways(command):
    texts = [mc(*command, "--help"), mc(*command, "-h"), mc("help", *command), mc("--help", *command)]
    assert {t.returncode for t in texts} == {0}
    assert len({t.stdout for t in texts}) == 1
    text = texts[0].stdout.decode()
    assert "examples:" in text and "exit codes:" in text and "130" in text
    assert all(len(line) <= 160 for line in text.splitlines())


PROBES = ("capture", "merge", "cka", "neighbours", "procrustes", "rank", "dimension", "geodesic", "direction", "lens", "entropy")


def test_help_of_a_group():
    each = [mc("probe", command, "--help").stdout + b"\n" for command in PROBES]
    assert mc("probe", "--help").stdout == b"".join(each)


@pytest.mark.parametrize("args, meant", [
    (["infr", "--model", "x"], "infer"), (["scroe"], "score"), (["backend"], "backends"), (["probe", "captur"], "probe capture"),
    (["score", "--modle", "x"], "--model"), (["score", "--theads", "2"], "--threads"), (["score", "--txt", "x"], "--text"),
    (["infer", "--max-token", "5"], "--max-tokens"), (["infer", "--top_k", "5"], "--top-k"), (["--ouput", "yaml", "doctor"], "--output"),
    (["--versio"], "--version"), (["score", "--precision", "fasst"], "fast"), (["doctor", "--log-level", "warn"], "warning"),
])
def test_nearest_is_suggested(args, meant):
    assert f"did you mean '{meant}'?" in error(mc(*args, "--output", "json"))["message"]


@pytest.mark.parametrize("args, words", [
    (["score", "--text", "x"], ["--model"]), (["score", "--model", "m"], ["--text", "--file"]),
    (["score", "m", "--text", "x", "--file", "y"], ["only one"]), (["score", "m", "extra", "--text", "x"], ["extra"]),
    (["score", "m", "--model", "n", "--text", "x"], ["twice"]), (["score", "m", "--text", "x", "--text", "y"], ["twice"]),
    (["score", "m", "--text"], ["needs a value"]), (["score", "m", "--text", "--threads", "2"], ["needs a value"]),
    (["score", "m", "--quiet=yes", "--text", "x"], ["no value"]), (["score", "m", "--text", "x", "--threads", "0"], ["1 to 1024"]),
    (["score", "m", "--text", "x", "--threads", "1e2"], ["whole number"]), (["score", "m", "--text", "x", "--seed", "-1"], ["0 to"]),
    (["infer", "m", "-p", "x", "--temperature", "nan"], ["number"]), (["infer", "m", "-p", "x", "--top-p", "1.5"], ["0 to 1"]),
    (["infer", "m", "-p", "x", "--top-k", "5"], ["--top-k", "temperature"]), (["infer", "m", "-p", "x", "--stop", ""], ["--stop"]),
    (["probe", "capture", "m", "--data", "d", "--out", "o"], ["--layers"]),
    (["probe", "capture", "m", "--data", "d", "--out", "o", "--layers", "1,,2"], ["no layers"]),
    (["probe"], ["capture"]), (["doctor", "--threads", "2"], ["does not take"]), (["doctor", "now"], ["one word too many"]),
    (["score", "m", "--text", "x", "--batch-size", "2"], ["jsonl"]), (["--quiet"], ["no command"]),
])
def test_usage_errors(args, words):
    told = error(mc(*args, "--output", "json"))
    assert told["code"] == "MC-E0001" and "--help" in told["next"]
    for word in words:
        assert word in told["message"] + told["where"] + told["next"]


def test_output_twice_is_refused():
    assert mc("doctor", "--output", "json", "--output", "json").returncode == 2


@pytest.mark.parametrize("args", [
    ["--output", "json", "model", "info", "/no/x"], ["model", "--output", "json", "info", "/no/x"],
    ["model", "info", "--output=json", "--model", "/no/x"], ["model", "info", "-m", "/no/x", "--output", "json"],
    ["--model", "/no/x", "model", "info", "--output", "json"], ["--output", "json", "model", "info", "--", "/no/x"],
])
def test_options_stand_anywhere(args):
    told = error(mc(*args), 1)
    assert (told["code"], told["where"]) == ("MC-E0201", "/no/x")


def test_text_errors_go_to_stderr():
    r = mc("model", "info", "/no/x")
    assert (r.returncode, r.stdout) == (1, b"")
    first, second = r.stderr.decode().splitlines()
    assert first.startswith("error[MC-E0201]: /no/x: ") and second.startswith("  next: ")


HARD = ["", " lead", "trail ", "yes", "No", "null", "~", "1", "1.5", "1e5", "0x1f", "1:30", "2024-01-01", "- a", "a: b", "a #b", "#",
        "'q'", '"q"', "back\\slash", "line\nfeed", "tab\t", "cr\r", "\x01\x1b[31m", "\x7f\x85", "\u2028\u2029\ufeff", "Zürich 東京 🙂",
        "{a}", "[a]", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", "=", "<<", "a,b", "true", "key:", "---", "...", "x" * 300]


@pytest.mark.parametrize("text", HARD, ids=ascii)
def test_any_string_survives_json_and_yaml(text):
    name = "/no/such/dir/" + text if text else "/no/such/dir/x"
    told = error(mc("model", "info", name, "--output", "json"), 1)
    assert told["where"] == name
    r = mc("model", "info", name, "--output", "yaml")
    assert yaml.safe_load(r.stdout.decode()) == {"schema": "mc.error/1", "error": told}
    # The whole string as a scalar of its own, plain where it can be.
    r = mc("score", "m", "--text", "x", "--precision", text, "--output", "yaml")
    assert f"'{text}'" in yaml.safe_load(r.stdout.decode())["error"]["message"]


def test_bytes_that_are_no_utf8_become_replacement_characters():
    told = error(mc("model", "info", b"/no/\xff\xc3(\xe2\x82\xf5", "--output", "json"), 1)
    assert told["where"] == "/no/\ufffd\ufffd(\ufffd\ufffd\ufffd"


def test_yaml_equals_json():
    for command in (["doctor"], ["backends"], ["ops"]):
        # Addresses, which doctor shows where memory is shared, are each run's own.
        texts = [re.sub("0x[0-9a-f]+", "0x", mc(*command, "--output", form).stdout.decode()) for form in ("json", "yaml")]
        a, b = json.loads(texts[0]), yaml.safe_load(texts[1])
        a.pop("available_memory_bytes", None), b.pop("available_memory_bytes", None)
        assert a == b


def test_reader_that_goes_away_ends_the_program_quietly():
    read_end, write_end = os.pipe()
    os.close(read_end)
    r = subprocess.run([MC, "--help"], stdout=write_end, stderr=subprocess.PIPE, timeout=60)
    os.close(write_end)
    assert r.returncode == -signal.SIGPIPE and r.stderr == b""


def test_full_disk_is_an_error():
    with open("/dev/full", "wb") as full:
        r = subprocess.run([MC, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert r.returncode == 1 and b"MC-E0203" in r.stderr


def test_ops_names_every_primitive_and_the_host_engine_refuses_none():
    rows = json.loads(mc("ops", "--output", "json").stdout)["ops"]
    defined = re.findall(r'^MC_OP\(\w+, "(\w+)", (\w+)\)', (ROOT / "src/prims/ops.def").read_text(), re.M)
    assert [(r["name"], r["kind"]) for r in rows] == [(name, kind.lower()) for name, kind in defined]
    refused = [r["name"] for r in rows if not set(r["engines"]["numpy"].values()) & {"native", "decomposed"}]
    assert refused == []
    assert json.loads(mc("ops", "matmul", "--output", "json").stdout)["ops"] == [r for r in rows if r["name"] == "matmul"]
    assert "did you mean 'matmul'?" in error(mc("ops", "matmull", "--output", "json"))["message"]


# --- completion


def complete(line, script=None):
    """What bash offers at the end of `line`."""
    script = script or mc("completion", "bash").stdout.decode()
    words = line.split(" ")
    split = [part for w in words for part in (re.split(r"(=)", w) if w.startswith("--") and "=" in w else [w])]
    code = (script + "\nCOMP_WORDS=(" + " ".join(f"'{w}'" for w in split) + f")\nCOMP_CWORD={len(split) - 1}\n"
            "_mc\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n")
    r = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and r.stderr == "", r.stderr
    return set(r.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_that_the_shell_reads(shell):
    script = mc("completion", shell).stdout
    assert b"complete -o default -F _mc mc modelcypher" in script
    # zsh reads it through its emulation of bash's completion: one body for both.
    assert subprocess.run(["bash", "-n"], input=script, capture_output=True, timeout=60).stderr == b""


@pytest.mark.parametrize("line, offered", [
    ("mc ", {"infer", "chat", "score", "tokenize", "embed", "probe", "plan", "parity", "bench", "model", "backends",
             "doctor", "ops", "cache", "completion"}),
    ("mc sc", {"score"}),
    ("mc probe ", set(PROBES)), ("mc --quiet model ", {"info"}), ("mc completion ", {"bash", "zsh"}),
    ("mc score --output ", {"text", "json", "yaml"}), ("mc score --output=j", {"json"}), ("mc bench --dtype b", {"bf16"}),
    ("mc --output json sc", {"score"}), ("mc --output=json sc", {"score"}), ("mc probe capture --pool ", {"none", "last", "mean"}),
    ("mc score --max", set()), ("mc infer --max", {"--max-tokens"}), ("mc infer -m x.gguf --temp", {"--temperature",
        "--template-variables"}),
    ("mc infer --prompt ", set()),
])
def test_completion_offers(line, offered):
    assert complete(line) == offered


def test_completion_knows_every_option():
    for command in ("infer", "score", "bench", "probe capture", "model info", "ops"):
        told = set(re.findall(r"^  (--[a-z-]+)", mc(*command.split(), "--help").stdout.decode(), re.M))
        assert complete(f"mc {command} --") == told, command


def test_completion_of_another_shell_is_refused():
    assert "bash" in error(mc("completion", "fish", "--output", "json"))["next"]
    assert error(mc("completion", "--output", "json"))["code"] == "MC-E0001"


# --- operations of engines that are not here


def test_ops_lists_engines_that_are_not_here():
    here = {b["name"]: b["available"] for b in json.loads(mc("backends", "--output", "json").stdout)["backends"]}
    told = json.loads(mc("ops", "--output", "json").stdout)
    assert {e["name"] for e in told["not_here"]} == {name for name, ok in here.items() if not ok}
    assert all(e["message"] and e["next"] for e in told["not_here"])
    for op in told["ops"]:
        assert set(op["engines"]) == set(here)
        for name, dtypes in op["engines"].items():
            assert dtypes.keys() == op["engines"]["numpy"].keys() and dtypes
            assert ("unknown" in dtypes.values()) == (not here[name])
    text = mc("ops", "softmax").stdout.decode()
    for name, ok in here.items():
        assert name in text
        assert ok or f"{name} is unknown here" in text


def test_the_cache_is_listed_and_cleared(tmp_path):
    env = {**os.environ, "MODELCYPHER_CACHE": str(tmp_path)}
    assert mc("cache", "ls", env=env).stdout == f"{tmp_path}/v1 is empty\n".encode()
    for kind, size in (("nvrtc", 7), ("xla", 1000)):
        (tmp_path / "v1" / kind).mkdir(parents=True)
        (tmp_path / "v1" / kind / "file").write_bytes(b"x" * size)
    (tmp_path / "v1" / "xla" / "counts").write_bytes(b"mhh")
    told = json.loads(mc("cache", "ls", "--output", "json", env=env).stdout)
    assert told["schema"] == "mc.cache/1"
    rows = [(k["kind"], k["files"], k["bytes"], k["hits"], k["misses"]) for k in told["kinds"]]
    assert rows == [("nvrtc", 1, 7, 0, 0), ("xla", 1, 1000, 2, 1)]
    assert error(mc("cache", "clear", "--kind", "pack", "--output", "json", env=env), 1)["code"] == "MC-E0101"
    assert b"of xla" in mc("cache", "clear", "--kind", "xla", env=env).stdout
    assert [k["kind"] for k in json.loads(mc("cache", "ls", "--output", "json", env=env).stdout)["kinds"]] == ["nvrtc"]
    assert mc("cache", "clear", env=env).returncode == 0
    assert not list((tmp_path / "v1").iterdir())

"""What importing costs, what errors are, threads, memory."""
from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import modelcypher as mc
import pytest
from package_under_test import resident


def python(build_path, code: str, **env) -> str:
    import os

    r = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(build_path), **env}, capture_output=True, text=True,
                       timeout=120)  # fmt: skip
    assert r.returncode == 0, r.stderr
    return r.stdout.strip()


def test_import_is_light(build_path):
    code = ("import sys, time; t = time.perf_counter(); import modelcypher; s = time.perf_counter() - t;"
            "print(s, [m for m in ('numpy', 'jax', 'mlx', 'torch') if m in sys.modules],"
            "[l.split('/')[-1].strip() for l in open('/proc/self/maps') if 'mc_engine' in l])")
    runs = [python(build_path, code).split(" ", 1) for _ in range(5)]
    assert runs[0][1] == "[] []"
    assert min(float(r[0]) for r in runs) < 0.1


def test_guide_quick_start(build_path):
    assert python(build_path, "import modelcypher as mc; print(mc.array([1, 2, 3]) + 1)") == "[2, 3, 4]"


@pytest.mark.parametrize("call, builtin, name", [
    (lambda: mc.array([1, 2]) + mc.array([1, 2, 3]), ValueError, "ShapeMismatch"),
    (lambda: mc.array([1], "float31"), TypeError, "DtypeMismatch"),
    (lambda: mc.load("/does/not/exist.gguf"), FileNotFoundError, "FileNotFound"),
    (lambda: mc.Device("abacus"), ValueError, "UnknownBackend"),
    (lambda: mc.linalg.cholesky(mc.array([[-1.0]])).eval(), ArithmeticError, None),
])  # fmt: skip
def test_errors_are_pythons(call, builtin, name):
    with pytest.raises(builtin) as caught:
        call()
    error = caught.value
    assert isinstance(error, mc.errors.Error)
    assert error.code.startswith("MC-") and error.hint and error.code in str(error)
    if name:
        assert isinstance(error, getattr(mc.errors, name))


def test_other_threads_run_during_eval():
    x = mc.random.normal((1500, 1500), key=mc.random.key(1))
    x.eval()
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.perf_counter()
    y = x
    for _ in range(6):
        y = y @ x * 1e-2
    y.eval()
    end = time.perf_counter()
    stop.set()
    thread.join()
    during = [t for t in ticks if begin < t < end]
    # Were the GIL held there would be none or one; a tick takes a millisecond and the machine may be busy.
    assert len(during) > (end - begin) * 50


def test_arrays_from_several_threads():
    results = [None] * 4

    def work(i):
        a = mc.full((100,), float(i))
        for _ in range(50):
            a = a + 1
        results[i] = a.sum().item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert results == [100 * (i + 50) for i in range(4)]


def test_no_leak_in_eval():
    a = mc.ones(1000)

    def step():
        b = a * 2 + 1
        b.eval()
        memoryview(b)
        mc.from_dlpack(b).sum().item()

    for _ in range(1000):
        step()
    gc.collect()
    before_rss, before = resident(), mc.memory_stats("numpy")["active"]
    for _ in range(10_000):
        step()
    gc.collect()
    assert mc.memory_stats("numpy")["active"] <= before
    assert resident() - before_rss < 4 << 20  # 10,000 results kept would be 40 MB


def test_ctrl_c(build_path):
    code = ("import os, signal, threading, time, modelcypher as mc\n"
            # A test run started in the background hands SIGINT down as ignored, and Python keeps it so.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "x = mc.ones((2000, 2000))\n"
            "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
            "try:\n"
            "    while True:\n"
            "        (x @ x).eval()\n"
            "except KeyboardInterrupt:\n"
            "    print('stopped')\n")
    assert python(build_path, code) == "stopped"

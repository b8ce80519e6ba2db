"""Arrays on a GPU and PyTorch's tensors there: one memory, seen by its address."""
from __future__ import annotations

import gc

import modelcypher as mc
import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available() or not any(s["name"] == "cuda" and s["available"] for s in mc.backend_status()):
    pytest.skip("no GPU that PyTorch and the engine cuda both see", allow_module_level=True)


@pytest.fixture(autouse=True)
def on_the_gpu():
    before = mc.default_device()
    mc.set_default_device("cuda")
    yield
    mc.set_default_device(before)


def test_a_tensor_comes_in_without_a_copy():
    t = torch.arange(1000.0, device="cuda") * 2
    a = mc.from_dlpack(t)
    assert a._device_address() == t.data_ptr()
    assert repr(a.device).startswith("cuda")
    np.testing.assert_array_equal(np.asarray(a + 1), np.arange(1000.0) * 2 + 1)


def test_an_array_goes_out_without_a_copy():
    a = mc.array(np.arange(12, dtype=np.float32).reshape(3, 4)) * 3
    t = torch.from_dlpack(a)
    assert t.is_cuda and t.shape == (3, 4)
    assert t.data_ptr() == a._device_address()
    np.testing.assert_array_equal(t.cpu().numpy(), np.arange(12).reshape(3, 4) * 3)
    assert a.__dlpack_device__() == (2, t.device.index)


@pytest.mark.parametrize("name", ["bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64"])
def test_dtypes_both_ways(name):
    t = torch.tensor([[0, 1, 2], [3, 4, 5]], device="cuda").to(getattr(torch, name))
    a = mc.from_dlpack(t)
    assert a.dtype.name == name and a._device_address() == t.data_ptr()
    back = torch.from_dlpack(a)
    assert back.dtype == t.dtype and back.data_ptr() == t.data_ptr() and torch.equal(back, t)


def test_each_waits_for_the_other():
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        t = torch.zeros(1 << 20, device="cuda")
        torch.cuda._sleep(200_000_000)  # about a tenth of a second
        t.fill_(5)
        a = mc.from_dlpack(t)
    assert (mc.sum(a) / 5).item() == 1 << 20
    x = mc.ones((2048, 2048))
    for _ in range(20):
        x = mc.matmul(x, x) * (1 / 2048)
    with torch.cuda.stream(side):
        assert torch.from_dlpack(x).min().item() == 1


def test_memory_outlives_its_maker():
    t = torch.full((1 << 18,), 3.0, device="cuda")
    a = mc.from_dlpack(t)
    del t
    gc.collect()
    torch.full((1 << 18,), 9.0, device="cuda")
    assert mc.min(a).item() == 3
    b = mc.full((1 << 18,), 4.0) + 1
    u = torch.from_dlpack(b)
    del b
    gc.collect()
    for _ in range(4):
        (mc.full((1 << 18,), 7.0) + 1).eval()
    assert u.min().item() == 5 and u.max().item() == 5


def test_memory_that_is_not_row_major_is_copied():
    t = torch.arange(6.0, device="cuda").reshape(2, 3).T
    assert mc.from_dlpack(t).tolist() == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises((ValueError, BufferError)):
        mc.from_dlpack(t, copy=False)


def test_to_host_memory():
    a = mc.array([1.0, 2.0]) + 1
    assert np.from_dlpack(a, device="cpu").tolist() == [2, 3]
    assert mc.from_dlpack(torch.ones(3, device="cuda"), copy=True).tolist() == [1, 1, 1]

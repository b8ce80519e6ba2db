"""The protocol: every method on every engine, with one meaning (docs/python.md)."""
from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import _array, _mc, _transforms, fast
from .. import _ops as ops
from .._mc import Array
from . import _in_jax

Axis = int | Sequence[int] | None


@dataclasses.dataclass(frozen=True)
class FloatInfo:
    eps: float
    tiny: float
    max: float
    min: float


@dataclasses.dataclass(frozen=True)
class Stream:
    """What new_stream gives. Engines run one graph after another, so work in a stream is ordered as outside of one."""

    device: str
    number: int


def _on_device(f: Callable) -> Callable:
    @functools.wraps(f)
    def call(self: Backend, *args: Any, **kwargs: Any) -> Any:
        with _mc.device_scope(self.device):
            return f(self, *args, **kwargs)

    return call


def _creates(f: Callable) -> Callable:
    """What is created lies on this engine, whichever is the default where it is used."""
    f._creates = True
    return f


class Backend:
    """One engine's device behind the protocol. Use NumPyBackend, CUDABackend, JAXBackend or MLXBackend."""

    name = ""

    def __init__(self, device: str | None = None):
        if not self.name:
            raise TypeError("Backend is abstract: use NumPyBackend, CUDABackend, JAXBackend or MLXBackend")
        self.device = _mc.Device(device or self.name)
        self._streams = 0

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name, f in list(vars(Backend).items()):
            if name.startswith("_") or not callable(f) or name in ("stream", "new_stream", *vars(cls)):
                continue
            setattr(cls, name, cls._wrapped(f))

    @classmethod
    def _wrapped(cls, f: Callable) -> Callable:
        placed = cls._on_own_device(f)

        @functools.wraps(f)
        def call(self: Backend, *args: Any, **kwargs: Any) -> Any:
            if "jax" in sys.modules and _in_jax.traced((args, kwargs)):
                return _in_jax.called_from_jax(placed, self, args, kwargs)
            return placed(self, *args, **kwargs)

        return call

    @classmethod
    def _on_own_device(cls, f: Callable) -> Callable:
        scoped = _on_device(f)
        if not getattr(f, "_creates", False):
            return scoped

        @functools.wraps(f)
        def call(self: Backend, *args: Any, **kwargs: Any) -> Array:
            return self._placed(scoped(self, *args, **kwargs))

        return call

    def _placed(self, a: Array) -> Array:
        if _mc.default_device() == self.device:
            return a
        with _mc.device_scope(self.device):
            if not a.is_evaluated:
                a.eval()
            return _mc.to_device(a, self.device)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.device!r})"

    # ---- creation

    @_creates
    def array(self, data: Any, dtype: Any = None) -> Array:
        return _mc.array(data, dtype)

    @_creates
    def zeros(self, shape: Any, dtype: Any = None) -> Array:
        return _mc.zeros(shape, dtype)

    @_creates
    def ones(self, shape: Any, dtype: Any = None) -> Array:
        return _mc.ones(shape, dtype)

    @_creates
    def full(self, shape: Any, fill_value: Any, dtype: Any = None) -> Array:
        return _mc.full(shape, fill_value, dtype)

    def zeros_like(self, array: Any, dtype: Any = None) -> Array:
        return ops.zeros_like(array, dtype=dtype)

    def ones_like(self, array: Any, dtype: Any = None) -> Array:
        return ops.ones_like(array, dtype=dtype)

    @_creates
    def eye(self, n: int, m: int | None = None, dtype: Any = None) -> Array:
        return _mc.eye(n, n if m is None else m, 0, dtype)

    @_creates
    def arange(self, start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Array:
        return ops.arange(start, stop, step, dtype=dtype)

    @_creates
    def linspace(self, start: float, stop: float, num: int, dtype: Any = None) -> Array:
        return ops.linspace(start, stop, num, dtype=dtype)

    def diag(self, array: Any, k: int = 0) -> Array:
        return _mc.diag(array, k)

    # ---- shape

    def shape(self, array: Any) -> tuple[int, ...]:
        return _mc.array(array).shape

    def reshape(self, array: Any, shape: Any) -> Array:
        return _mc.reshape(array, shape)

    def squeeze(self, array: Any, axis: Axis = None) -> Array:
        return _mc.squeeze(array, axis)

    def expand_dims(self, array: Any, axis: Any) -> Array:
        return _mc.expand_dims(array, axis)

    def transpose(self, array: Any, axes: Sequence[int] | None = None) -> Array:
        return _mc.transpose(array, axes)

    def stack(self, arrays: Sequence[Any], axis: int = 0) -> Array:
        return _mc.stack(arrays, axis)

    def concatenate(self, arrays: Sequence[Any], axis: int = 0) -> Array:
        return _mc.concatenate(arrays, axis)

    def broadcast_to(self, array: Any, shape: Any) -> Array:
        return _mc.broadcast_to(array, shape)

    # ---- reductions

    def sum(self, array: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return _mc.sum(array, axis, keepdims)

    def mean(self, array: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return _mc.mean(array, axis, keepdims)

    def var(self, array: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return _mc.var(array, axis, keepdims, 0)

    def std(self, array: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return _mc.std(array, axis, keepdims, 0)

    def max(self, array: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return _mc.max(array, axis, keepdims)

    def min(self, array: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return _mc.min(array, axis, keepdims)

    def argmax(self, array: Any, axis: int | None = None) -> Array:
        return _mc.argmax(array, axis, False)

    def argmin(self, array: Any, axis: int | None = None) -> Array:
        return _mc.argmin(array, axis, False)

    # ---- elementwise

    def sqrt(self, array: Any) -> Array:
        return _mc.sqrt(array)

    def exp(self, array: Any) -> Array:
        return _mc.exp(array)

    def log(self, array: Any) -> Array:
        return _mc.log(array)

    def abs(self, array: Any) -> Array:
        return _mc.abs(array)

    def sign(self, array: Any) -> Array:
        return _mc.sign(array)

    def sin(self, array: Any) -> Array:
        return _mc.sin(array)

    def cos(self, array: Any) -> Array:
        return _mc.cos(array)

    def arccos(self, array: Any) -> Array:
        return _mc.arccos(array)

    def maximum(self, lhs: Any, rhs: Any) -> Array:
        return _mc.maximum(lhs, rhs)

    def minimum(self, lhs: Any, rhs: Any) -> Array:
        return _mc.minimum(lhs, rhs)

    def clip(self, array: Any, min_val: Any, max_val: Any) -> Array:
        return ops.clip(array, min_val, max_val)

    def where(self, condition: Any, x: Any, y: Any) -> Array:
        return _mc.where(condition, x, y)

    def softmax(self, array: Any, axis: int = -1) -> Array:
        return _mc.softmax(array, axis)

    def cumsum(self, array: Any, axis: int | None = None) -> Array:
        return _mc.cumsum(array, axis, False)

    # ---- linear algebra

    def matmul(self, lhs: Any, rhs: Any) -> Array:
        return _mc.matmul(lhs, rhs)

    def dot(self, a: Any, b: Any) -> Array:
        return _mc.dot(a, b)

    def svd(self, array: Any, compute_uv: bool = True) -> Any:
        return _mc.svd(array) if compute_uv else _mc.svdvals(array)

    def norm(self, array: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return _mc.norm(array, axis, keepdims)

    def det(self, array: Any) -> Array:
        return _mc.det(array)

    def eigh(self, array: Any) -> tuple[Array, Array]:
        return _mc.eigh(array)

    def solve(self, a: Any, b: Any) -> Array:
        return _mc.solve(a, b)

    def inv(self, array: Any) -> Array:
        return _mc.inv(array)

    def cholesky(self, array: Any) -> Array:
        return _mc.cholesky(array)

    def trace(self, array: Any) -> Array:
        return _mc.trace(array, 0)

    def qr(self, array: Any) -> tuple[Array, Array]:
        return _mc.qr(array)

    # ---- indexing and sorting

    def take(self, array: Any, indices: Any, axis: int | None = None) -> Array:
        return _mc.take(array, indices, axis)

    def sort(self, array: Any, axis: int = -1) -> Array:
        return _mc.sort(array, axis)

    def argsort(self, array: Any, axis: int = -1) -> Array:
        return _mc.argsort(array, axis)

    def argpartition(self, array: Any, kth: int, axis: int = -1) -> Array:
        return _mc.argpartition(array, kth, axis)

    def partition(self, array: Any, kth: int, axis: int = -1) -> Array:
        return _mc.partition(array, kth, axis)

    # ---- random

    def random_seed(self, seed: int) -> None:
        _mc.random_seed(seed)

    @_creates
    def random_normal(self, shape: Any, dtype: Any = None) -> Array:
        return _mc.random_normal(shape, dtype, 0.0, 1.0, None)

    @_creates
    def random_uniform(self, low: float = 0.0, high: float = 1.0, shape: Any = None, dtype: Any = None) -> Array:
        return _mc.random_uniform(low, high, () if shape is None else shape, dtype, None)

    @_creates
    def random_randint(self, low: int, high: int, shape: Any = None) -> Array:
        return _mc.random_randint(low, high, () if shape is None else shape, None, None)

    def random_categorical(self, logits: Any, num_samples: int = 1) -> Array:
        return _mc.random_categorical(logits, num_samples, None)

    # ---- types

    def astype(self, array: Any, dtype: Any) -> Array:
        return _mc.astype(array, dtype)

    def to_numpy(self, array: Any) -> Any:
        """A copy on the host that may be written to; bfloat16 is widened to float32."""
        return _array._to_numpy(_mc.array(array), copy=True)

    def dtype(self, array: Any) -> Any:
        return _mc.array(array).dtype

    def finfo(self, dtype: Any = None) -> FloatInfo:
        _, eps, high, low, tiny, _ = _mc.finfo(_mc.float32 if dtype is None else dtype)
        return FloatInfo(eps, tiny, high, low)

    # ---- quantization

    def quantize(self, weight: Any, group_size: int = 64, bits: int = 4, mode: str = "affine") -> tuple[Array, Array, Array]:
        return fast.quantize(weight, group_size, bits, mode)

    def dequantize(self, weight: Any, scales: Any, biases: Any = None, group_size: int = 64, bits: int = 4,
                   mode: str = "affine") -> Array:
        return fast.dequantize(weight, scales, biases, group_size, bits, mode)

    # ---- masks and the control of computing

    @_creates
    def create_causal_mask(self, seq_len: int, dtype: Any = None) -> Array:
        return _mc.create_causal_mask(seq_len, dtype)

    def eval(self, *arrays: Any) -> None:
        """Computes the arrays, also in lists, tuples and dicts; without arguments waits for everything that was started."""
        if not arrays:
            _mc.eval()
        else:
            _mc.eval(*_leaves(arrays))

    def async_eval(self, *arrays: Any) -> None:
        """Starts computing and returns; errors come at the next eval."""
        _mc.async_eval(*_leaves(arrays))

    def clear_cache(self) -> None:
        _mc.clear_cache()

    def new_stream(self, device: str = "gpu") -> Stream:
        """A handle for stream(). Every engine here runs graphs in one queue: it orders nothing differently."""
        self._streams += 1
        return Stream(device, self._streams)

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[Stream]:
        """`with backend.stream(s):` computes on this backend's device."""
        if not isinstance(stream, Stream):
            raise TypeError("stream takes what new_stream gave")
        with _mc.device_scope(self.device):
            yield stream

    def synchronize(self) -> None:
        _mc.synchronize(self.device)

    def compile(self, fun: Callable, inputs: Any = None, outputs: Any = None, shapeless: bool = False) -> Callable:
        return self._here(_transforms.compile(fun, inputs, outputs, shapeless))

    def vmap(self, fun: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
        return self._here(_transforms.vmap(fun, in_axes, out_axes))

    def grad(self, fun: Callable, argnums: int | Sequence[int] = 0) -> Callable:
        return self._here(_transforms.grad(fun, argnums))

    def value_and_grad(self, fun: Callable, argnums: int | Sequence[int] = 0) -> Callable:
        return self._here(_transforms.value_and_grad(fun, argnums))

    def vjp(self, fun: Callable, primals: Sequence[Any], cotangents: Any) -> tuple[Any, Any]:
        return _transforms.vjp(fun, primals, cotangents)

    def _here(self, f: Callable) -> Callable:
        @functools.wraps(f)
        def call(*args: Any, **kwargs: Any) -> Any:
            with _mc.device_scope(self.device):
                return f(*args, **kwargs)

        return call

    # ---- fused operations

    def rms_norm(self, x: Any, weight: Any, eps: float = 1e-5) -> Array:
        return _mc.rms_norm(x, weight, eps)

    def layer_norm(self, x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
        return _mc.layer_norm(x, weight, bias, eps)

    def rope(self, x: Any, dims: int, traditional: bool = False, base: float = 10000.0, scale: float = 1.0, offset: Any = 0) -> Array:
        return _mc.rope(x, dims, traditional, base, scale, offset, None)

    def scaled_dot_product_attention(self, q: Any, k: Any, v: Any, scale: float, mask: Any = None) -> Array:
        return fast.scaled_dot_product_attention(q, k, v, scale, mask)


def _leaves(tree: Any) -> list[Array]:
    from .. import _tree

    return _tree.flatten(tree, lambda x: isinstance(x, Array))[0]


PROTOCOL = tuple(n for n, f in vars(Backend).items() if callable(f) and not n.startswith("_"))

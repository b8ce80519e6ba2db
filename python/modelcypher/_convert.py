"""Objects of other libraries to arrays: DLPack, then `__array__`, then anything that can be iterated."""
from __future__ import annotations

from typing import Any

from . import _mc


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> _mc.Array:
    """An array of another library, on the same memory where that is row-major and the host's, or that of a GPU on which an
    engine in use computes. The other library must not change it afterwards: arrays are values. `copy=True` always
    copies, `copy=False` raises where a copy is needed."""
    how = -1 if copy is None else int(copy)
    if isinstance(x, _mc.Array):
        a = _mc.array(x)
    elif (shared := None if copy else _on_device(x, copy)) is not None:
        a = shared
    else:
        want_host: dict[str, Any] = {}
        if hasattr(x, "__dlpack_device__") and int(x.__dlpack_device__()[0]) not in (1, 3):
            if copy is False:
                raise BufferError("memory that is not the host's can't be used without a copy")
            want_host = {"dl_device": (1, 0), "copy": True}
        try:
            capsule = x.__dlpack__(max_version=(1, 1), **want_host)
        except TypeError:  # before DLPack 1.0
            if want_host:
                raise
            capsule = x.__dlpack__()
        a = _mc.from_dlpack_capsule(capsule, how)
    return a if device is None else _mc.to_device(a, device)


def _on_device(x: Any, copy: bool | None) -> _mc.Array | None:
    """The same memory of a device that an engine in use computes on; None where there is none such."""
    kind, number = map(int, x.__dlpack_device__()) if hasattr(x, "__dlpack_device__") else (1, 0)
    stream = None if kind in (1, 3) else _mc.dlpack_stream(kind, number)
    if stream is None:
        return None
    try:  # the other library makes our stream wait for its own
        capsule = x.__dlpack__(stream=stream, max_version=(1, 1))
    except TypeError:  # before DLPack 1.0
        capsule = x.__dlpack__(stream=stream)
    try:
        return _mc.from_dlpack_capsule(capsule, -1)
    except ValueError:  # not row-major
        if copy is False:
            raise
        return None


def _from_numpy(n: Any) -> _mc.Array:
    name = n.dtype.name
    if name == "bfloat16":  # ml_dtypes' type has no buffer format
        return _mc.bitcast(_mc.array(n.view("uint16")), "bfloat16")
    if n.dtype.hasobject or n.dtype.kind in "USMmV":
        raise TypeError(f"NumPy's dtype {n.dtype} has no dtype here; convert it first")
    return _mc.array(memoryview(n.astype(n.dtype.newbyteorder("="), copy=False)))


def foreign(x: Any) -> _mc.Array:
    """Called by the extension for what is neither array, number, list nor buffer."""
    made_by = type(x).__module__.partition(".")[0]
    if made_by != "numpy" and hasattr(x, "__dlpack__"):
        try:
            return from_dlpack(x, copy=True)
        except BufferError:
            if not hasattr(x, "__array__"):
                raise
    if made_by == "numpy" or hasattr(x, "__array__"):
        import numpy

        n = numpy.asarray(x)
        if isinstance(n, numpy.ndarray):
            return _from_numpy(n)
    if isinstance(x, (str, bytes)) or not hasattr(x, "__iter__"):
        raise TypeError(f"can't make an array of a {type(x).__name__}")
    return _mc.array(list(x))

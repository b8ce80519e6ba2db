// Python's numbers, sequences and buffers to arrays, and back.
#include <algorithm>
#include <complex>
#include <cstring>

#include "common.h"
#include "mc/detail/str.h"
#include "mc/ops.h"

namespace mcpy {
namespace {

bool is_number(PyObject* p) { return PyFloat_Check(p) || PyLong_Check(p) || PyComplex_Check(p); }
bool is_sequence(PyObject* p) { return PyList_Check(p) || PyTuple_Check(p); }

// Rank of a leaf's kind: what a list of several kinds becomes.
enum Kind { kBool, kInt, kFloat, kComplex };

struct Scan {
  Shape shape;
  Kind kind = kBool;
  bool empty = true, wide = false, huge = false;  // beyond int32, beyond int64
  bool nested_arrays = false;
};

[[noreturn]] void ragged() {
  throw mc::Error(mc::ErrorCode::ShapeMismatch, "the nested lists have different lengths", "array",
                  "give every list of one level the same length");
}

void scan(PyObject* p, int depth, Scan& s) {
  if (is_sequence(p)) {
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(p);
    if (depth == s.shape.size())
      s.shape.push_back(n);
    else if (s.shape[depth] != n)
      ragged();
    PyObject** items = PySequence_Fast_ITEMS(p);
    for (Py_ssize_t i = 0; i < n; ++i) {
      if (i > 0 && !is_sequence(items[i]) && depth + 1 < s.shape.size()) ragged();
      if (i > 0 && is_sequence(items[i]) && depth + 1 == s.shape.size()) ragged();
      scan(items[i], depth + 1, s);
      if (s.nested_arrays) return;
    }
    return;
  }
  if (!is_number(p)) {
    s.nested_arrays = true;
    return;
  }
  Kind kind = kComplex;
  if (PyBool_Check(p)) {
    kind = kBool;
  } else if (PyLong_Check(p)) {
    kind = kInt;
    int overflow = 0;
    const long long v = PyLong_AsLongLongAndOverflow(p, &overflow);
    if (overflow) s.huge = true;
    if (overflow || v > INT32_MAX || v < INT32_MIN) s.wide = true;
  } else if (PyFloat_Check(p)) {
    kind = kFloat;
  }
  s.kind = s.empty ? kind : std::max(s.kind, kind);
  s.empty = false;
}

template <class T, class Get>
void fill(PyObject* p, T*& out, const Get& get) {
  if (!is_sequence(p)) {
    *out++ = get(p);
    return;
  }
  PyObject** items = PySequence_Fast_ITEMS(p);
  for (Py_ssize_t i = 0, n = PySequence_Fast_GET_SIZE(p); i < n; ++i) fill(items[i], out, get);
}

template <class T, class Get>
Array filled(PyObject* p, const Shape& shape, Dtype dtype, const Get& get) {
  std::vector<T> data(static_cast<size_t>(shape.numel()));
  T* out = data.data();
  fill(p, out, get);
  if (PyErr_Occurred()) raise_pending();
  return Array::from_bytes(data.data(), shape, dtype);
}

std::complex<double> complex_value(PyObject* p) {
  const Py_complex c = PyComplex_AsCComplex(p);
  return {c.real, c.imag};
}

Array from_nested(PyObject* p, std::optional<Dtype> want) {
  Scan s;
  scan(p, 0, s);
  if (s.nested_arrays) {
    Arrays parts;
    if (!is_sequence(p))
      throw nb::type_error(mc::cat("can't make an array of a ", Py_TYPE(p)->tp_name).c_str());
    PyObject** items = PySequence_Fast_ITEMS(p);
    for (Py_ssize_t i = 0, n = PySequence_Fast_GET_SIZE(p); i < n; ++i) parts.push_back(to_array(items[i]));
    const Array whole = mc::stack(parts);
    return want ? mc::astype(whole, *want) : whole;
  }
  Array a;
  if (s.empty) return mc::zeros(s.shape, want.value_or(Dtype::F32));
  if (s.kind == kComplex) {
    a = filled<std::complex<double>>(p, s.shape, Dtype::C128, complex_value);
    return mc::astype(a, want.value_or(Dtype::C64));
  }
  if (s.kind == kFloat || (want && mc::is_inexact(*want))) {
    if (want.value_or(Dtype::F32) == Dtype::F32)
      return filled<float>(p, s.shape, Dtype::F32,
                           [](PyObject* x) { return static_cast<float>(PyFloat_AsDouble(x)); });
    a = filled<double>(p, s.shape, Dtype::F64, PyFloat_AsDouble);
    return mc::astype(a, *want);
  }
  if (s.kind == kBool) {
    a = filled<uint8_t>(p, s.shape, Dtype::Bool,
                        [](PyObject* x) { return static_cast<uint8_t>(x == Py_True); });
    return want ? mc::astype(a, *want) : a;
  }
  if (s.huge || want == Dtype::U64)
    a = filled<uint64_t>(p, s.shape, Dtype::U64,
                         [](PyObject* x) { return static_cast<uint64_t>(PyLong_AsUnsignedLongLong(x)); });
  else
    a = filled<int64_t>(p, s.shape, Dtype::I64,
                        [](PyObject* x) { return static_cast<int64_t>(PyLong_AsLongLong(x)); });
  if (want && mc::is_integer(*want) && !s.huge) {  // a number that does not fit is an error, as in NumPy 2
    const mc::IntInfo info = mc::iinfo(*want);
    const Array& host = a;
    const int64_t n = host.size();
    const auto* v = static_cast<const int64_t*>(nullptr);
    std::vector<int64_t> copy;
    if (want != Dtype::U64 && want != Dtype::I64) {
      copy = host.to_vector<int64_t>();
      v = copy.data();
      for (int64_t i = 0; i < n; ++i)
        if (v[i] < info.min || (v[i] > 0 && static_cast<uint64_t>(v[i]) > info.max)) {
          PyErr_Format(PyExc_OverflowError, "%lld does not fit %s", static_cast<long long>(v[i]),
                       std::string(mc::dtype_name(*want)).c_str());
          raise_pending();
        }
    }
  }
  return mc::astype(a, want ? *want : s.huge ? Dtype::U64 : s.wide ? Dtype::I64 : Dtype::I32);
}

std::optional<Dtype> dtype_of_format(const char* f, Py_ssize_t itemsize) {
  if (!f) return Dtype::U8;
  if (*f == '@' || *f == '=' || *f == '<' || *f == '|') ++f;
  const std::string s = f;
  const auto by_size = [&](Dtype one) {
    return static_cast<Dtype>(static_cast<int>(one) + (itemsize == 1   ? 0
                                                       : itemsize == 2 ? 1
                                                       : itemsize == 4 ? 2
                                                                       : 3));
  };
  if (s == "?") return Dtype::Bool;
  if (s == "e") return Dtype::F16;
  if (s == "f") return Dtype::F32;
  if (s == "d") return Dtype::F64;
  if (s == "Zf") return Dtype::C64;
  if (s == "Zd") return Dtype::C128;
  if (s == "b" || s == "h" || s == "i" || s == "l" || s == "q" || s == "n") return by_size(Dtype::I8);
  if (s == "B" || s == "c" || s == "H" || s == "I" || s == "L" || s == "Q" || s == "N")
    return by_size(Dtype::U8);
  return {};
}

struct BufferHolder {
  Py_buffer view = {};
  bool held = false;
  ~BufferHolder() {
    if (held) PyBuffer_Release(&view);
  }
};

nb::object number(const char* p, Dtype d, const Array&) {
  switch (d) {
    case Dtype::Bool:
      return nb::bool_(*p != 0);
      // clang-format off
#define MC_INT(D, T)              \
  case Dtype::D: {                \
    T v;                          \
    std::memcpy(&v, p, sizeof v); \
    return nb::int_(v);           \
  }
      MC_INT(U8, uint8_t)
      MC_INT(U16, uint16_t)
      MC_INT(U32, uint32_t)
      MC_INT(U64, uint64_t) MC_INT(I8, int8_t) MC_INT(I16, int16_t) MC_INT(I32, int32_t) MC_INT(I64, int64_t)
#undef MC_INT
          // clang-format on
          case Dtype::F64 : {
        double v;
        std::memcpy(&v, p, sizeof v);
        return nb::float_(v);
      }
    case Dtype::C128: {
      double v[2];
      std::memcpy(v, p, sizeof v);
      return nb::steal(PyComplex_FromDoubles(v[0], v[1]));
    }
    default: break;
  }
  throw mc::Error(mc::ErrorCode::Internal, "no Python number for this dtype");
}

nb::object nested(const char*& p, const Shape& shape, int axis, Dtype d, const Array& a) {
  if (axis == shape.size()) {
    nb::object v = number(p, d, a);
    p += mc::itemsize(d);
    return v;
  }
  nb::list out;
  for (int64_t i = 0; i < shape[axis]; ++i) out.append(nested(p, shape, axis + 1, d, a));
  return out;
}

}  // namespace

nb::object to_list(const Array& a) {
  // Narrow floats are widened exactly.
  Array wide = a;
  if (mc::is_floating(a.dtype())) wide = mc::astype(a, Dtype::F64);
  if (mc::is_complex(a.dtype())) wide = mc::astype(a, Dtype::C128);
  std::vector<char> bytes(wide.nbytes() + 1);
  {
    nb::gil_scoped_release nogil;
    wide.to_bytes(bytes.data());
  }
  const char* p = bytes.data();
  return nested(p, a.shape(), 0, wide.dtype(), a);
}

bool to_scalar(nb::handle h, Scalar* out) {
  PyObject* p = h.ptr();
  if (PyFloat_Check(p)) {
    *out = Scalar(PyFloat_AS_DOUBLE(p));
    return true;
  }
  if (PyBool_Check(p)) {
    *out = Scalar(p == Py_True);
    return true;
  }
  if (!PyLong_Check(p)) return false;
  int overflow = 0;
  const long long v = PyLong_AsLongLongAndOverflow(p, &overflow);
  if (!overflow) {
    *out = Scalar(static_cast<int64_t>(v));
    return true;
  }
  const unsigned long long u = PyLong_AsUnsignedLongLong(p);
  if (PyErr_Occurred()) raise_pending();
  *out = Scalar(static_cast<uint64_t>(u));
  return true;
}

Array array_from_buffer(nb::handle h, bool copy) {
  auto holder = std::make_shared<BufferHolder>();
  if (PyObject_GetBuffer(h.ptr(), &holder->view, PyBUF_FULL_RO) != 0) raise_pending();
  holder->held = true;
  const Py_buffer& v = holder->view;
  const std::optional<Dtype> dtype = dtype_of_format(v.format, v.itemsize);
  if (!dtype)
    throw mc::Error(mc::ErrorCode::DtypeMismatch,
                    mc::cat("a buffer of format \"", v.format, "\" has no dtype here"), "array",
                    "convert it with NumPy's astype first");
  Shape shape;
  for (int i = 0; i < v.ndim; ++i) shape.push_back(v.shape[i]);
  const bool dense = PyBuffer_IsContiguous(&v, 'C');
  if (dense && !copy) {
    // The buffer is given back under the GIL, wherever the array dies: a memoryview holds it.
    nb::object view = nb::steal(PyMemoryView_FromObject(h.ptr()));
    return Array::wrap(v.buf, shape, *dtype, keep_object(view));
  }
  if (!copy)
    throw mc::Error(mc::ErrorCode::InvalidArgument,
                    "memory that is not row-major can't be used without a copy", "copy",
                    "leave copy=False out, or make it contiguous first");
  if (dense) return Array::from_bytes(v.buf, shape, *dtype);
  std::vector<char> bytes(static_cast<size_t>(v.len) + 1);
  if (PyBuffer_ToContiguous(bytes.data(), const_cast<Py_buffer*>(&v), v.len, 'C') != 0) raise_pending();
  return Array::from_bytes(bytes.data(), shape, *dtype);
}

bool array_like(nb::handle h) {
  PyObject* p = h.ptr();
  if (is_array(h) || is_number(p)) return true;
  if (PyUnicode_Check(p) || PyBytes_Check(p)) return false;
  return PyObject_CheckBuffer(p) || nb::hasattr(h, "__dlpack__") || nb::hasattr(h, "__array__");
}

Array to_array(nb::handle h, std::optional<Dtype> dtype) {
  if (is_array(h)) {
    const Array& a = array_ref(h);
    return dtype && *dtype != a.dtype() ? mc::astype(a, *dtype) : a;
  }
  PyObject* p = h.ptr();
  if (is_number(p) || is_sequence(p)) return from_nested(p, dtype);
  Array a;
  if (!PyUnicode_Check(p) && PyObject_CheckBuffer(p) && !nb::hasattr(h, "__cuda_array_interface__")) {
    Py_buffer probe;
    if (PyObject_GetBuffer(p, &probe, PyBUF_FULL_RO) == 0) {
      const bool known = dtype_of_format(probe.format, probe.itemsize).has_value();
      PyBuffer_Release(&probe);
      if (known) {
        a = array_from_buffer(h, true);
        return dtype ? mc::astype(a, *dtype) : a;
      }
    }
    PyErr_Clear();
  }
  // Everything else is Python's business: DLPack, __array__, ranges, types that NumPy does not know.
  nb::object made = nb::module_::import_("modelcypher._convert").attr("foreign")(h);
  a = array_ref(made);
  return dtype ? mc::astype(a, *dtype) : a;
}

Shape to_shape(nb::handle h) {
  Shape s;
  const auto one = [&](nb::handle x) {
    const Py_ssize_t v = PyNumber_AsSsize_t(x.ptr(), PyExc_OverflowError);
    if (v == -1 && PyErr_Occurred()) raise_pending();
    s.push_back(v);
  };
  if (PyIndex_Check(h.ptr()) && !(is_array(h) && array_ref(h).ndim() > 0)) {
    one(h);
    return s;
  }
  for (nb::handle x : nb::iter(h)) one(x);
  return s;
}

std::optional<int> to_axis(nb::handle h) {
  if (h.is_none()) return {};
  const Py_ssize_t v = PyNumber_AsSsize_t(h.ptr(), PyExc_OverflowError);
  if (v == -1 && PyErr_Occurred()) raise_pending();
  if (v > INT32_MAX || v < -INT32_MAX) throw nb::index_error("axis out of range");
  return static_cast<int>(v);
}

Arrays to_arrays(nb::handle h) {
  Arrays out;
  for (nb::handle x : nb::iter(h)) out.push_back(to_array(x));
  return out;
}

nb::list to_pylist(const Arrays& arrays) {
  nb::list out;
  for (const Array& a : arrays) out.append(nb::cast(a));
  return out;
}

}  // namespace mcpy

// The class Array: operators, properties, the buffer protocol.
#include <complex>
#include <cstring>
#include <memory>

#include "binary.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/share.h"
#include "mc/ops.h"
#include "mc/print.h"

namespace mcpy {
namespace {

const char* buffer_format(Dtype d) {
  switch (d) {
    case Dtype::Bool: return "?";
    case Dtype::U8: return "B";
    case Dtype::U16: return "H";
    case Dtype::U32: return "I";
    case Dtype::U64: return "Q";
    case Dtype::I8: return "b";
    case Dtype::I16: return "h";
    case Dtype::I32: return "i";
    case Dtype::I64: return "q";
    case Dtype::F16: return "e";
    case Dtype::F32: return "f";
    case Dtype::F64: return "d";
    case Dtype::C64: return "Zf";
    case Dtype::C128: return "Zd";
    case Dtype::BF16: break;
  }
  return nullptr;
}

bool on_host(const Array& a) { return mc::device_name(a.device()).rfind("numpy", 0) == 0; }

struct Exported {
  Array array;
  std::unique_ptr<char[]> bytes;  // of arrays that lie elsewhere
  Py_ssize_t shape[mc::kMaxRank], strides[mc::kMaxRank];
};

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  try {
    const Array& a = array_ref(self);
    const char* format = buffer_format(a.dtype());
    if (!format) {
      PyErr_SetString(PyExc_BufferError,
                      "bfloat16 has no buffer format: use numpy.asarray, which widens to float32, or DLPack");
      return -1;
    }
    if (flags & PyBUF_WRITABLE) {
      PyErr_SetString(
          PyExc_BufferError,
          "arrays are values and their memory is read-only: take a copy, for example by to_numpy()");
      return -1;
    }
    auto e = std::make_unique<Exported>();
    e->array = a;
    const void* data = nullptr;
    {
      nb::gil_scoped_release nogil;
      e->array.eval();
      if (on_host(e->array)) {
        data = e->array.host_data();
      } else {
        e->bytes.reset(new char[a.nbytes() + 1]);
        e->array.to_bytes(e->bytes.get());
        data = e->bytes.get();
      }
    }
    const int n = a.ndim();
    Py_ssize_t stride = static_cast<Py_ssize_t>(mc::itemsize(a.dtype()));
    view->itemsize = stride;
    for (int i = n - 1; i >= 0; --i) {
      e->shape[i] = a.shape()[i];
      e->strides[i] = stride;
      stride *= a.shape()[i];
    }
    view->buf = const_cast<void*>(data);
    view->len = static_cast<Py_ssize_t>(a.nbytes());
    view->readonly = 1;
    view->format = (flags & PyBUF_FORMAT) ? const_cast<char*>(format) : nullptr;
    view->ndim = n;
    view->shape = (flags & PyBUF_ND) ? e->shape : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? e->strides : nullptr;
    view->suboffsets = nullptr;
    view->internal = e.release();
    view->obj = Py_NewRef(self);
    return 0;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_BufferError, error.what());
    return -1;
  }
}

void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<Exported*>(view->internal); }

PyType_Slot slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                       {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
                       {0, nullptr}};

nb::object not_implemented() { return nb::borrow(Py_NotImplemented); }

template <class C>
void operators(C& cls, const char* name, const char* reverse, Binary f) {
  cls.def(
      name,
      [f](nb::handle x, nb::handle y) -> nb::object {
        if (!array_like(y)) return not_implemented();
        return nb::cast(call(f, x, y));
      },
      nb::arg().none());
  if (reverse)
    cls.def(
        reverse,
        [f](nb::handle x, nb::handle y) -> nb::object {
          if (!array_like(y)) return not_implemented();
          return nb::cast(call(f, y, x));
        },
        nb::arg().none());
}

Array one_element(const Array& a) {
  if (a.size() != 1)
    throw mc::Error(mc::ErrorCode::ShapeMismatch,
                    mc::cat("only an array of one element is a number, this one has shape ", a.shape().str()),
                    "item", "index it, or use tolist()");
  nb::gil_scoped_release nogil;
  a.eval();
  return a;
}

nb::object item(const Array& a) {
  const Array v = one_element(a);
  if (mc::is_bool(v.dtype())) return nb::bool_(v.item<double>() != 0);
  if (mc::is_unsigned(v.dtype())) return nb::int_(v.item<uint64_t>());
  if (mc::is_integer(v.dtype())) return nb::int_(v.item<int64_t>());
  if (mc::is_complex(v.dtype())) {
    const auto c = v.item<std::complex<double>>();
    return nb::steal(PyComplex_FromDoubles(c.real(), c.imag()));
  }
  return nb::float_(v.item<double>());
}

nb::tuple shape_tuple(const Array& a) {
  const Shape& s = a.shape();
  nb::object t = nb::steal(PyTuple_New(s.size()));
  for (int i = 0; i < s.size(); ++i) PyTuple_SET_ITEM(t.ptr(), i, PyLong_FromLongLong(s[i]));
  return nb::borrow<nb::tuple>(t);
}

nb::bytes to_bytes(const Array& a) {
  nb::object out = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(a.nbytes())));
  if (!out.ptr()) raise_pending();
  char* p = PyBytes_AS_STRING(out.ptr());
  {
    nb::gil_scoped_release nogil;
    a.to_bytes(p);
  }
  return nb::borrow<nb::bytes>(out);
}

Arrays leaves(nb::args args) {
  Arrays out;
  for (nb::handle h : args)
    if (is_array(h)) out.push_back(array_ref(h));
  return out;
}

}  // namespace

void bind_array(nb::module_& m) {
  nb::class_<Array> c(m, "Array", nb::type_slots(slots), nb::is_weak_referenceable(),
                      "An immutable, lazy, n-dimensional value. Operations build a graph; eval runs it.");
  c.def_prop_ro("shape", &shape_tuple)
      .def_prop_ro("ndim", [](const Array& a) { return a.ndim(); })
      .def_prop_ro("size", [](const Array& a) { return a.size(); })
      .def_prop_ro("nbytes", [](const Array& a) { return a.nbytes(); })
      .def_prop_ro("itemsize", [](const Array& a) { return mc::itemsize(a.dtype()); })
      .def_prop_ro("dtype", [](const Array& a) { return dtype_object(a.dtype()); })
      .def_prop_ro("device", [](const Array& a) { return a.device(); })
      .def_prop_ro("is_evaluated", [](const Array& a) { return a.is_evaluated(); })
      .def("eval",
           [](nb::handle self) {
             const Array a = array_ref(self);
             nb::gil_scoped_release nogil;
             a.eval();
           })
      .def("item", &item)
      .def("tolist", &to_list)
      .def("tobytes", &to_bytes)
      .def("_assign", [](Array& a, nb::handle other) { a = array_ref(other); })
      .def("_text",
           [](const Array& a) {
             std::string s;
             {
               nb::gil_scoped_release nogil;
               s = mc::to_string(a);
             }
             return s.empty() ? nb::str("") : nb::str(s.c_str(), s.size());
           })
      .def("_host_address",
           [](const Array& a) {
             nb::gil_scoped_release nogil;
             return reinterpret_cast<uintptr_t>(a.host_data());
           })
      .def("_device_address",
           [](const Array& a) {
             nb::gil_scoped_release nogil;
             return reinterpret_cast<uintptr_t>(mc::device_data(a));
           })
      .def("__bool__", [](const Array& a) { return one_element(a).item<std::complex<double>>() != 0.0; })
      .def("__float__", [](const Array& a) { return one_element(a).item<double>(); })
      .def("__complex__",
           [](const Array& a) {
             const auto v = one_element(a).item<std::complex<double>>();
             return nb::steal(PyComplex_FromDoubles(v.real(), v.imag()));
           })
      .def("__int__", [](const Array& a) { return nb::steal(PyNumber_Long(item(a).ptr())); })
      .def("__index__",
           [](const Array& a) {
             if (a.ndim() != 0 || !mc::is_integer(a.dtype()))
               throw nb::type_error("only an integer array of shape () is an index");
             return item(a);
           })
      .def("__len__",
           [](const Array& a) {
             if (a.ndim() == 0) throw nb::type_error("an array of shape () has no length");
             return a.shape()[0];
           })
      .def("__neg__", [](const Array& a) { return mc::negative(a); })
      .def("__abs__", [](const Array& a) { return mc::abs(a); })
      .def("__invert__",
           [](const Array& a) { return mc::is_bool(a.dtype()) ? mc::logical_not(a) : mc::bitwise_not(a); });
  operators(c, "__add__", "__radd__", MCPY_BINARY(add));
  operators(c, "__sub__", "__rsub__", MCPY_BINARY(subtract));
  operators(c, "__mul__", "__rmul__", MCPY_BINARY(multiply));
  operators(c, "__truediv__", "__rtruediv__", MCPY_BINARY(divide));
  operators(c, "__floordiv__", "__rfloordiv__", MCPY_BINARY(floor_divide));
  operators(c, "__mod__", "__rmod__", MCPY_BINARY(remainder));
  operators(c, "__pow__", "__rpow__", MCPY_BINARY(power));
  operators(c, "__and__", "__rand__", MCPY_BINARY(bitwise_and));
  operators(c, "__or__", "__ror__", MCPY_BINARY(bitwise_or));
  operators(c, "__xor__", "__rxor__", MCPY_BINARY(bitwise_xor));
  operators(c, "__lshift__", "__rlshift__", MCPY_BINARY(left_shift));
  operators(c, "__rshift__", "__rrshift__", MCPY_BINARY(right_shift));
  operators(c, "__eq__", nullptr, MCPY_BINARY(equal));
  operators(c, "__ne__", nullptr, MCPY_BINARY(not_equal));
  operators(c, "__lt__", nullptr, MCPY_BINARY(less));
  operators(c, "__le__", nullptr, MCPY_BINARY(less_equal));
  operators(c, "__gt__", nullptr, MCPY_BINARY(greater));
  operators(c, "__ge__", nullptr, MCPY_BINARY(greater_equal));
  c.def("__matmul__", [](nb::handle x, nb::handle y) -> nb::object {
    if (!array_like(y)) return not_implemented();
    return nb::cast(mc::matmul(array_ref(x), to_array(y)));
  });
  c.def("__rmatmul__", [](nb::handle x, nb::handle y) -> nb::object {
    if (!array_like(y)) return not_implemented();
    return nb::cast(mc::matmul(to_array(y), array_ref(x)));
  });

  m.def(
      "array", [](nb::handle data, nb::handle dtype) { return to_array(data, to_dtype_or_none(dtype)); },
      nb::arg("data"), nb::arg("dtype").none() = nb::none());
  m.def("wrap_buffer", [](nb::handle h) { return array_from_buffer(h, false); });
  m.def("from_bytes", [](nb::bytes data, nb::handle shape, nb::handle dtype) {
    const Shape s = to_shape(shape);
    const Dtype d = to_dtype(dtype);
    if (static_cast<size_t>(s.numel()) * mc::itemsize(d) != data.size())
      throw nb::value_error("wrong number of bytes for this shape");
    return Array::from_bytes(data.c_str(), s, d);
  });
  m.def("eval", [](nb::args args) {
    const Arrays a = leaves(args);
    drain();
    nb::gil_scoped_release nogil;
    if (a.empty())
      mc::eval();
    else
      mc::eval(a);
  });
  m.def("async_eval", [](nb::args args) {
    const Arrays a = leaves(args);
    nb::gil_scoped_release nogil;
    mc::async_eval(a);
  });
  m.def(
      "to_device", [](const Array& a, nb::handle d) { return mc::to_device(a, to_device_value(d)); },
      nb::arg("a"), nb::arg("device").none());
  m.def("graph_text", [](nb::args args) { return nb::str(mc::graph_text(leaves(args)).c_str()); });
  m.def("profile_start", [](nb::str path) { mc::profile_start(path.c_str()); });
  m.def("profile_stop", [] { mc::profile_stop(); });
}

}  // namespace mcpy

// What the files of the extension share: conversions between Python's objects and ModelCypher's values.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mc/array.h"
#include "mc/error.h"
#include "mc/transforms.h"

namespace nb = nanobind;

namespace mcpy {

using mc::Array;
using mc::Arrays;
using mc::Dtype;
using mc::Scalar;
using mc::Shape;

// A dtype as Python sees it.
struct DtypeObject {
  Dtype value;
};

// Keeps a Python object alive from C++. May be released on any thread: without the GIL the reference waits
// for the next drain(), because taking the GIL there could deadlock with a lock of the library.
std::shared_ptr<void> keep_object(nb::handle object);
void drain();

inline bool is_array(nb::handle h) { return nb::isinstance<Array>(h); }
inline Array& array_ref(nb::handle h) { return *nb::inst_ptr<Array>(h); }
// Python's bool, int or float as a number without a dtype of its own. Throws OverflowError beyond 64 bits.
bool to_scalar(nb::handle h, Scalar* out);
// Any array-like: an Array, a number, nested sequences, an object with the buffer protocol, DLPack or
// __array__.
Array to_array(nb::handle h, std::optional<Dtype> dtype = {});
Array array_from_buffer(nb::handle h, bool copy);
// Number or nested lists.
nb::object to_list(const Array& a);
// Whether h is something that to_array takes, for operators.
bool array_like(nb::handle h);

// A DtypeObject, a name, Python's bool, int, float or complex, or NumPy's dtype.
Dtype to_dtype(nb::handle h);
std::optional<Dtype> to_dtype_or_none(nb::handle h);
nb::object dtype_object(Dtype d);
// An int or a sequence of ints.
Shape to_shape(nb::handle h);
std::optional<int> to_axis(nb::handle h);
// A sequence of array-likes.
Arrays to_arrays(nb::handle h);
nb::list to_pylist(const Arrays& arrays);
mc::Device to_device_value(nb::handle h);

// Throws Python's pending error.
[[noreturn]] inline void raise_pending() { throw nb::python_error(); }

// Sends Ctrl-C to the library while it runs without the GIL; the Python handler that was there is called
// after.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

 private:
  bool installed_ = false;
};

void bind_core(nb::module_& m);
void bind_array(nb::module_& m);
void bind_elementwise(nb::module_& m);
void bind_shape(nb::module_& m);
void bind_reduce(nb::module_& m);
void bind_linalg(nb::module_& m);
void bind_fft(nb::module_& m);
void bind_fast(nb::module_& m);
void bind_dlpack(nb::module_& m);
void bind_transforms(nb::module_& m);
void bind_model(nb::module_& m);
void bind_probe(nb::module_& m);

}  // namespace mcpy

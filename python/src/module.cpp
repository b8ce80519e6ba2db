// The extension modelcypher._mc: errors, dtypes, devices, and the list of its parts.
#include <atomic>
#include <csignal>
#include <mutex>

#include "common.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/interrupt.h"
#include "mc/log.h"
#include "mc/op_table.h"
#include "mc/system.h"

namespace mcpy {
namespace {

std::mutex waiting_mutex;
std::vector<PyObject*> waiting;
std::atomic<bool> any_waiting{false};

void release_object(PyObject* object) {
  if (!Py_IsInitialized()) return;
  if (PyGILState_Check()) {
    Py_DECREF(object);
    return;
  }
  const std::lock_guard<std::mutex> lock(waiting_mutex);
  waiting.push_back(object);
  any_waiting = true;
}

// The classes of modelcypher.errors carry the names of mc::ErrorCode's rows.
void translate(const std::exception_ptr& p, void*) {
  try {
    std::rethrow_exception(p);
  } catch (const mc::Error& e) {
    if (e.code() == mc::ErrorCode::Interrupted) {
      mc::clear_interrupt();
      if (PyErr_CheckSignals() != 0) return;  // Python's own KeyboardInterrupt
    }
    try {
      nb::object make = nb::module_::import_("modelcypher.errors").attr("make");
      nb::object error = make(mc::error_info(e.code()).name, std::string(e.id()).c_str(), e.what(),
                              e.where().c_str(), e.next().c_str());
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    } catch (nb::python_error& inner) {
      inner.restore();
    }
  }
}

void (*previous_handler)(int) = nullptr;
void on_interrupt(int signal) {
  mc::request_interrupt();
  if (previous_handler) previous_handler(signal);  // Python's, which notes the signal
}

nb::dict memory_dict(const mc::MemoryStats& s) {
  nb::dict d;
  d["active"] = s.active;
  d["peak"] = s.peak;
  d["cached"] = s.cached;
  d["limit"] = s.limit;
  return d;
}

nb::list strings(const std::vector<std::string>& items) {
  nb::list out;
  for (const std::string& s : items) out.append(nb::str(s.c_str(), s.size()));
  return out;
}

nb::list status_list() {
  nb::list out;
  for (const mc::BackendStatus& s : mc::backend_status()) {
    nb::dict d, facts;
    for (const auto& [k, v] : s.facts) facts[k.c_str()] = v.c_str();
    d["name"] = s.name.c_str();
    d["available"] = s.available;
    d["message"] = s.message.c_str();
    d["fix"] = s.fix.c_str();
    d["devices"] = strings(s.devices);
    d["facts"] = facts;
    out.append(d);
  }
  return out;
}

const char* support_name(mc::OpSupport s) {
  constexpr const char* kNames[] = {"none", "unknown", "native", "decomposed"};
  return kNames[static_cast<int>(s)];
}

nb::list op_list() {
  nb::list out;
  for (const mc::OpInfo& op : mc::op_table()) {
    nb::dict d, engines;
    nb::list dtypes;
    for (Dtype t : op.dtypes) dtypes.append(dtype_object(t));
    for (const mc::OpOnEngine& e : op.engines) {
      nb::list support;
      for (mc::OpSupport s : e.support) support.append(support_name(s));
      engines[e.backend.c_str()] = support;
    }
    d["name"] = op.name.c_str();
    d["kind"] = op.kind.c_str();
    d["doc"] = op.doc.c_str();
    d["differentiable"] = op.differentiable;
    d["dtypes"] = dtypes;
    d["engines"] = engines;
    out.append(d);
  }
  return out;
}

class Scope {
 public:
  explicit Scope(const mc::Device& d) : device_(d) {}
  void enter() { scope_ = std::make_unique<mc::DeviceScope>(device_); }
  void leave() { scope_.reset(); }

 private:
  mc::Device device_;
  std::unique_ptr<mc::DeviceScope> scope_;
};

// Engines that a caller named in an error are loaded without the GIL: that may take a second.
mc::Device parse(const std::string& spec) {
  nb::gil_scoped_release nogil;
  return mc::parse_device(spec);
}

}  // namespace

std::shared_ptr<void> keep_object(nb::handle object) {
  drain();
  return {object.inc_ref().ptr(), [](void* p) { release_object(static_cast<PyObject*>(p)); }};
}

void drain() {
  if (!any_waiting) return;
  std::vector<PyObject*> taken;
  {
    const std::lock_guard<std::mutex> lock(waiting_mutex);
    taken.swap(waiting);
    any_waiting = false;
  }
  for (PyObject* p : taken) Py_DECREF(p);
}

InterruptScope::InterruptScope() {
  if (PyErr_CheckSignals() != 0) raise_pending();
  struct sigaction old = {};
  sigaction(SIGINT, nullptr, &old);
  if (old.sa_handler == SIG_IGN || old.sa_handler == SIG_DFL || old.sa_handler == on_interrupt) return;
  previous_handler = old.sa_handler;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  installed_ = true;
}

InterruptScope::~InterruptScope() {
  if (!installed_) return;
  struct sigaction action = {};
  action.sa_handler = previous_handler;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  mc::clear_interrupt();
}

Dtype to_dtype(nb::handle h) {
  if (nb::isinstance<DtypeObject>(h)) return nb::inst_ptr<DtypeObject>(h)->value;
  if (PyUnicode_Check(h.ptr())) return mc::parse_dtype(nb::borrow<nb::str>(h).c_str());
  PyObject* p = h.ptr();
  if (p == reinterpret_cast<PyObject*>(&PyBool_Type)) return Dtype::Bool;
  if (p == reinterpret_cast<PyObject*>(&PyLong_Type)) return Dtype::I32;
  if (p == reinterpret_cast<PyObject*>(&PyFloat_Type)) return Dtype::F32;
  if (p == reinterpret_cast<PyObject*>(&PyComplex_Type)) return Dtype::C64;
  // NumPy's dtype has .name; NumPy's scalar types (np.float32) have __name__.
  for (const char* attr : {"name", "__name__"})
    if (nb::hasattr(h, attr)) {
      nb::object name = h.attr(attr);
      if (PyUnicode_Check(name.ptr())) {
        std::string s = nb::borrow<nb::str>(name).c_str();
        if (s == "bool_") s = "bool";
        return mc::parse_dtype(s);
      }
    }
  throw mc::Error(mc::ErrorCode::DtypeMismatch,
                  mc::cat(nb::borrow<nb::str>(nb::repr(h)).c_str(), " is no dtype"), "dtype",
                  "use modelcypher.float32, a name such as \"float32\", or NumPy's dtype");
}

std::optional<Dtype> to_dtype_or_none(nb::handle h) {
  if (h.is_none()) return {};
  return to_dtype(h);
}

nb::object dtype_object(Dtype d) {
  static nb::handle table[mc::kDtypeCount];  // live as long as the module's attributes, which hold them
  nb::handle& slot = table[static_cast<int>(d)];
  if (!slot.ptr()) slot = nb::cast(DtypeObject{d}).release();
  return nb::borrow(slot);
}

mc::Device to_device_value(nb::handle h) {
  if (h.is_none()) return mc::default_device();
  if (nb::isinstance<mc::Device>(h)) return *nb::inst_ptr<mc::Device>(h);
  if (PyUnicode_Check(h.ptr())) return parse(nb::borrow<nb::str>(h).c_str());
  throw nb::type_error(
      "a device is a modelcypher.Device or a name such as \"numpy\", \"cuda:1\", \"mlx:cpu\"");
}

void bind_core(nb::module_& m) {
  nb::register_exception_translator(translate);

  nb::class_<DtypeObject>(m, "Dtype", "The type of an array's elements.")
      .def_prop_ro("name",
                   [](DtypeObject d) { return nb::str(std::string(mc::dtype_name(d.value)).c_str()); })
      .def_prop_ro("itemsize", [](DtypeObject d) { return mc::itemsize(d.value); })
      .def_prop_ro("kind",
                   [](DtypeObject d) {
                     return mc::is_bool(d.value)         ? "bool"
                            : mc::is_unsigned(d.value)   ? "unsigned integer"
                            : mc::is_signed_int(d.value) ? "signed integer"
                            : mc::is_complex(d.value)    ? "complex floating"
                                                         : "real floating";
                   })
      .def("__repr__",
           [](DtypeObject d) { return nb::str(mc::cat("modelcypher.", mc::dtype_name(d.value)).c_str()); })
      .def("__hash__", [](DtypeObject d) { return static_cast<Py_ssize_t>(d.value) + 77; })
      .def(
          "__eq__",
          [](DtypeObject d, nb::handle other) -> bool {
            if (other.is_none()) return false;
            try {
              return to_dtype(other) == d.value;
            } catch (const mc::Error&) {
              return false;
            }
          },
          nb::arg().none())
      .def("__reduce__", [](DtypeObject d) {
        return nb::make_tuple(nb::module_::import_("modelcypher._mc").attr("parse_dtype"),
                              nb::make_tuple(std::string(mc::dtype_name(d.value)).c_str()));
      });
  for (int i = 0; i < mc::kDtypeCount; ++i) {
    const Dtype d = static_cast<Dtype>(i);
    m.attr(std::string(mc::dtype_name(d)).c_str()) = dtype_object(d);
  }
  m.def("parse_dtype", [](nb::handle h) { return dtype_object(to_dtype(h)); });
  m.def("promote",
        [](nb::handle a, nb::handle b) { return dtype_object(mc::promote(to_dtype(a), to_dtype(b))); });
  m.def("real_dtype", [](nb::handle a) { return dtype_object(mc::real_dtype(to_dtype(a))); });
  m.def("finfo", [](nb::handle d) {
    const mc::FloatInfo f = mc::finfo(to_dtype(d));
    return nb::make_tuple(f.bits, f.eps, f.max, f.min, f.tiny, dtype_object(mc::real_dtype(to_dtype(d))));
  });
  m.def("iinfo", [](nb::handle d) {
    const mc::IntInfo f = mc::iinfo(to_dtype(d));
    return nb::make_tuple(f.bits, f.max, f.min, dtype_object(to_dtype(d)));
  });

  nb::class_<mc::Device>(m, "Device", "One device of one engine.")
      .def("__init__",
           [](mc::Device* self, nb::handle spec) { new (self) mc::Device(to_device_value(spec)); })
      .def("__repr__", [](const mc::Device& d) { return nb::str(mc::device_name(d).c_str()); })
      .def("__hash__",
           [](const mc::Device& d) {
             return static_cast<Py_ssize_t>(reinterpret_cast<uintptr_t>(d.backend) >> 4) + d.index;
           })
      .def("__eq__", [](const mc::Device& d, nb::handle other) {
        if (nb::isinstance<mc::Device>(other)) return *nb::inst_ptr<mc::Device>(other) == d;
        if (!PyUnicode_Check(other.ptr())) return false;
        const std::string name = nb::borrow<nb::str>(other).c_str(), own = mc::device_name(d);
        return name == own || mc::cat(name, ":0") == own;
      });
  m.def("default_device", [] {
    nb::gil_scoped_release nogil;
    return mc::default_device();
  });
  m.def("set_default_device", [](nb::handle d) { mc::set_default_device(to_device_value(d)); });
  nb::class_<Scope>(m, "device_scope",
                    "Makes a device the default of this thread: with device_scope(\"cuda\"): ...")
      .def("__init__", [](Scope* self, nb::handle d) { new (self) Scope(to_device_value(d)); })
      .def("__enter__", [](Scope& s) { s.enter(); })
      .def("__exit__", [](Scope& s, nb::args) { s.leave(); });
  m.def("backend_status", &status_list);
  m.def("op_table", &op_list);
  m.def("memory_stats", [](nb::handle d) { return memory_dict(mc::memory_stats(to_device_value(d))); });
  m.def("set_memory_limit",
        [](nb::handle d, size_t n) { return mc::set_memory_limit(to_device_value(d), n); });
  m.def("reset_peak_memory", [](nb::handle d) { mc::reset_peak_memory(to_device_value(d)); });
  m.def("clear_cache", [] { mc::clear_cache(); });
  m.def("num_threads", [] { return mc::num_threads(); });
  m.def("set_num_threads", [](int n) { mc::set_num_threads(n); });
  m.def("set_log_level", [](int n) { mc::set_log_level(n); });
  m.def("peak_rss_bytes", [] { return mc::peak_rss_bytes(); });
  m.def(
      "synchronize",
      [](nb::handle d) {
        if (d.is_none()) {
          nb::gil_scoped_release nogil;
          mc::synchronize();
        } else {
          const mc::Device device = to_device_value(d);
          nb::gil_scoped_release nogil;
          mc::synchronize(device);
        }
      },
      nb::arg("device").none() = nb::none());
}

}  // namespace mcpy

NB_MODULE(_mc, m) {
  // Exit is not the time to report what a notebook still holds.
  nb::set_leak_warnings(false);
  mcpy::bind_core(m);
  mcpy::bind_array(m);
  mcpy::bind_dlpack(m);
  mcpy::bind_elementwise(m);
  mcpy::bind_shape(m);
  mcpy::bind_reduce(m);
  mcpy::bind_linalg(m);
  mcpy::bind_fft(m);
  mcpy::bind_fast(m);
  mcpy::bind_transforms(m);
  mcpy::bind_model(m);
  mcpy::bind_probe(m);
  m.attr("version") = MC_VERSION;
}

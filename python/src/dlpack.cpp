// DLPack both ways. The layouts are those of DLPack 1.0, a public ABI.
#include <cstring>

#include "common.h"
#include "mc/detail/str.h"
#include "mc/ops.h"
#include "mc/share.h"

namespace mcpy {
namespace {

struct DLDevice {
  int32_t type, id;
};
struct DLType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct Managed {
  DLTensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct ManagedVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr int32_t kCpu = 1;
constexpr uint64_t kReadOnly = 1, kCopied = 2;
enum Code : uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

DLType type_of(Dtype d) {
  const Code code = mc::is_bool(d)         ? kBool
                    : mc::is_unsigned(d)   ? kUint
                    : mc::is_signed_int(d) ? kInt
                    : mc::is_complex(d)    ? kComplex
                    : d == Dtype::BF16     ? kBfloat
                                           : kFloat;
  return {code, static_cast<uint8_t>(8 * mc::itemsize(d)), 1};
}

Dtype dtype_from(DLType t) {
  for (int i = 0; i < mc::kDtypeCount && t.lanes == 1; ++i) {
    const DLType own = type_of(static_cast<Dtype>(i));
    if (own.code == t.code && own.bits == t.bits) return static_cast<Dtype>(i);
  }
  throw mc::Error(mc::ErrorCode::DtypeMismatch,
                  mc::cat("DLPack's type code ", int(t.code), " of ", int(t.bits), " bits has no dtype here"),
                  "from_dlpack", "convert it first");
}

template <class T>
struct Export {
  T managed = {};
  Array array;
  std::unique_ptr<char[]> bytes;
  mc::Device device;  // whose memory it is, if not the host's
  int64_t shape[mc::kMaxRank], strides[mc::kMaxRank];
  // What its reader still runs on the memory ends before that serves something else.
  static void destroy(T* m) {
    auto* e = static_cast<Export*>(m->context);
    if (e->device.backend) mc::settle(e->device);
    delete e;
  }
};

template <class T>
void capsule_destructor(PyObject* capsule) {
  const char* name = std::is_same_v<T, Managed> ? "dltensor" : "dltensor_versioned";
  if (!PyCapsule_IsValid(capsule, name)) return;  // consumed
  T* m = static_cast<T*>(PyCapsule_GetPointer(capsule, name));
  if (m && m->deleter) m->deleter(m);
}

template <class T>
nb::object exported(const Array& a, bool copy, bool on_device) {
  auto e = std::make_unique<Export<T>>();
  e->array = a;
  const void* data = nullptr;
  DLDevice place{kCpu, 0};
  {
    nb::gil_scoped_release nogil;
    e->array.eval();
    if (on_device) {
      e->device = a.device();
      if (copy) e->array = mc::to_device(e->array, e->device);
      data = mc::device_data(e->array);
      const mc::SharedDevice s = mc::shared_device(e->device);
      place = {s.type, s.id};
    } else if (!copy) {
      data = e->array.host_data();
    } else {
      e->bytes.reset(new char[a.nbytes() + 1]);
      e->array.to_bytes(e->bytes.get());
      data = e->bytes.get();
      e->array = Array();
    }
  }
  int64_t stride = 1;
  const int n = a.ndim();
  for (int i = n - 1; i >= 0; --i) {
    e->shape[i] = a.shape()[i];
    e->strides[i] = stride;
    stride *= a.shape()[i];
  }
  e->managed.tensor = {const_cast<void*>(data), place, n, type_of(a.dtype()), e->shape, e->strides, 0};
  e->managed.context = e.get();
  e->managed.deleter = Export<T>::destroy;
  if constexpr (std::is_same_v<T, ManagedVersioned>) {
    e->managed.major = 1;
    e->managed.flags = copy ? kCopied : kReadOnly;
  }
  const char* name = std::is_same_v<T, Managed> ? "dltensor" : "dltensor_versioned";
  nb::object capsule = nb::steal(PyCapsule_New(&e->managed, name, capsule_destructor<T>));
  if (!capsule.ptr()) raise_pending();
  e.release();
  return capsule;
}

template <class T>
struct Import {
  T* managed;
  ~Import() {
    if (managed && managed->deleter) managed->deleter(managed);
  }
};

template <class T>
Array imported(T* managed, int copy) {
  // The exporter's deleter may need the GIL: a capsule carries it to where drain() has it.
  auto keep = std::make_unique<Import<T>>();
  keep->managed = managed;
  const DLTensor& t = managed->tensor;
  const Dtype dtype = dtype_from(t.dtype);
  const bool on_host = t.device.type == kCpu || t.device.type == 3;  // 3: pinned host memory
  const mc::Device device = on_host ? mc::Device() : mc::device_sharing(t.device.type, t.device.id);
  if (!on_host && !device.backend)
    throw mc::Error(mc::ErrorCode::DeviceUnavailable,
                    mc::cat("DLPack device type ", t.device.type, " is memory of no engine in use"),
                    "from_dlpack", "move it to the host first, for example by .cpu()");
  if (!on_host && copy == 1)
    throw mc::Error(mc::ErrorCode::InvalidArgument, "a copy is made through the host", "from_dlpack",
                    "ask the other library for host memory");
  Shape shape, order;
  bool dense = true;
  int64_t stride = 1;
  for (int i = 0; i < t.ndim; ++i) shape.push_back(t.shape[i]);
  if (t.strides)
    for (int i = t.ndim - 1; i >= 0; --i) {
      if (t.shape[i] != 1 && t.strides[i] != stride) dense = false;
      stride *= t.shape[i];
    }
  if (shape.numel() == 0) return mc::zeros(shape, dtype);
  const char* data = static_cast<const char*>(t.data) + t.byte_offset;
  if (dense && copy != 1) {
    nb::object holder = nb::steal(PyCapsule_New(keep.get(), "mc_dlpack", [](PyObject* c) {
      delete static_cast<Import<T>*>(PyCapsule_GetPointer(c, "mc_dlpack"));
    }));
    if (!holder.ptr()) raise_pending();
    keep.release();
    if (!on_host) return mc::wrap_device(device, data, shape, dtype, keep_object(holder));
    return Array::wrap(data, shape, dtype, keep_object(holder));
  }
  if (dense) return Array::from_bytes(data, shape, dtype);
  if (copy == 0 || !on_host)
    throw mc::Error(mc::ErrorCode::InvalidArgument,
                    "memory that is not row-major can't be used without a copy", "copy",
                    "leave copy=False out, or make it contiguous first");
  const size_t item = mc::itemsize(dtype);
  std::vector<char> bytes(static_cast<size_t>(shape.numel()) * item);
  Shape at = Shape::filled(t.ndim, 0);
  for (char* out = bytes.data(); out < bytes.data() + bytes.size(); out += item) {
    int64_t offset = 0;
    for (int i = 0; i < t.ndim; ++i) offset += at[i] * t.strides[i];
    std::memcpy(out, data + offset * static_cast<int64_t>(item), item);
    for (int i = t.ndim - 1; i >= 0 && ++at[i] == t.shape[i]; --i) at[i] = 0;
  }
  return Array::from_bytes(bytes.data(), shape, dtype);
}

}  // namespace

void bind_dlpack(nb::module_& m) {
  m.def("to_dlpack", [](const Array& a, bool versioned, bool copy, bool on_device) {
    // A capsule without a version can't say that memory is read-only: its reader gets a copy to write to.
    return versioned ? exported<ManagedVersioned>(a, copy, on_device) : exported<Managed>(a, true, on_device);
  });
  // DLPack's name of the device where the array lies: (1, 0) where its data have no address that others could
  // use.
  m.def("dlpack_device", [](const Array& a) {
    const mc::SharedDevice s = mc::shared_device(a.device());
    return s.type ? nb::make_tuple(s.type, s.id) : nb::make_tuple(kCpu, 0);
  });
  // The stream of the engine in use that shares such memory; None if there is none.
  m.def("dlpack_stream", [](int32_t type, int32_t id) -> nb::object {
    const mc::Device d = mc::device_sharing(type, id);
    if (!d.backend) return nb::none();
    return nb::int_(mc::shared_device(d).stream);
  });
  m.def("from_dlpack_capsule", [](nb::handle capsule, int copy) {
    drain();
    if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
      auto* p = static_cast<ManagedVersioned*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
      if (p->major != 1) throw nb::buffer_error("this version of DLPack is not known here: 1.x is");
      PyCapsule_SetName(capsule.ptr(), "used_dltensor_versioned");
      return imported(p, copy);
    }
    if (!PyCapsule_IsValid(capsule.ptr(), "dltensor"))
      throw nb::type_error("not a DLPack capsule, or one that was used already");
    auto* p = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    return imported(p, copy);
  });
}

}  // namespace mcpy

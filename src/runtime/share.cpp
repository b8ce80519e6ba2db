#include "mc/share.h"

#include "core/node.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "runtime/backend.h"
#include "runtime/registry.h"
#include "runtime/run.h"
#include "transforms/trace.h"

namespace mc {

SharedDevice shared_device(const Device& device) {
  return engine_of(device, "shared_device").shared_device(device);
}

Device device_sharing(int32_t type, int32_t id) {
  default_device();  // loads the default engine
  for (Backend* b : loaded_backends())
    for (int i = 0; i < static_cast<int>(b->devices().size()); ++i) {
      const SharedDevice s = b->shared_device({b, i});
      if (s.type == type && s.id == id) return {b, i};
    }
  return {};
}

const void* device_data(const Array& array) {
  array.eval();
  const Device device = array.device();
  const SharedDevice s = shared_device(device);
  if (s.type == 0)
    throw Error(ErrorCode::DeviceUnavailable,
                cat("arrays on ", device_name(device), " have no address that others could use"),
                "device_data", "use to_vector or to_bytes");
  Value v;
  {
    GraphLock lock;
    v = place(array, device);
  }
  synchronize(device);
  return v.host();
}

void settle(const Device& device) noexcept {
  try {
    device.backend->settle(device);
  } catch (...) {  // whoever reads next is told
  }
}

Array wrap_device(const Device& device, const void* data, const Shape& shape, Dtype dtype,
                  std::shared_ptr<const void> keep) {
  const Aval aval{shape, dtype};
  if (!data && aval.nbytes())
    throw Error(ErrorCode::InvalidArgument, cat("null memory for an array of shape ", shape.str()),
                "wrap_device");
  if (shared_device(device).type == 0)
    throw Error(ErrorCode::DeviceUnavailable, cat(device_name(device), " can't use memory by its address"),
                "wrap_device", "copy it through the host");
  BufferPtr buffer(new Buffer);
  buffer->device = device;
  buffer->data = const_cast<void*>(data);
  buffer->bytes = aval.nbytes();
  buffer->release = [](Buffer& b) { settle(b.device); };
  buffer->keep = std::move(keep);
  return make_leaf(aval, {std::move(buffer), 0});
}

}  // namespace mc

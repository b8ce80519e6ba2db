// Memory shared with other libraries by its address, as DLPack names it.
#pragma once

#include <cstdint>
#include <memory>

#include "mc/array.h"
#include "mc/device.h"

namespace mc {

// DLPack's type and number of a device, and the stream on which the engine works there. Type 0: host memory,
// or an engine whose arrays have no address that others could use.
struct SharedDevice {
  int32_t type = 0, id = 0;
  uintptr_t stream = 0;
};
MC_API SharedDevice shared_device(const Device& device);
// The device that DLPack names so, of the default engine or one that is in use; an empty one if there is
// none.
MC_API Device device_sharing(int32_t type, int32_t id);

// Evaluates, waits for the device, and gives the address of row-major data there, valid while the array
// lives. Throws DeviceUnavailable where arrays have none.
MC_API const void* device_data(const Array& array);
// Uses row-major memory of the device without a copy while `keep` lives, which goes when nothing on the
// device uses the memory any more. The memory must not change.
MC_API Array wrap_device(const Device& device, const void* data, const Shape& shape, Dtype dtype,
                         std::shared_ptr<const void> keep);
// Waits for everything on the device, other libraries' work too; throws nothing.
MC_API void settle(const Device& device) noexcept;

}  // namespace mc

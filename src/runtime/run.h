// Steps of evaluation shared by eval and compile.
#pragma once

#include "runtime/backend.h"

namespace mc {

// The one device that evaluated inputs lie on; an empty one where all are host memory of no engine. Throws if
// they lie on several.
Device placed_device(const Arrays& inputs);
// The same, or the default.
Device device_of(const Arrays& inputs);
// The evaluated array's value on the device, uploaded if it is host memory that belongs to no engine yet.
Value place(const Array& array, const Device& device);

}  // namespace mc

// Steps of evaluation shared by eval and compile.
#pragma once

#include "runtime/backend.h"

namespace mc {

// The one device that evaluated inputs lie on, else the default. Throws if they lie on several.
Device device_of(const Arrays& inputs);
// The evaluated array's value on the device, uploaded if it is host memory that belongs to no engine yet.
Value place(const Array& array, const Device& device);

}  // namespace mc

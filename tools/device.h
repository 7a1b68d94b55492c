// The devices that a program was built with: device_cpu.cpp or device_cuda.cpp, chosen by the build.
#pragma once

#include "tools/experiment/device.h"

namespace hp {

// Throws hp::Error where the device is not there, or this build does not know it.
OpenedDevice open_device(const Experiment& experiment);

}  // namespace hp

// The devices that a program was built with: device_cpu.cpp or device_cuda.cpp, chosen by the build.
#pragma once

#include <memory>

#include "runtime/observer.h"
#include "tools/experiment/device.h"

namespace hp {

// As OpenDevice says. Throws hp::Error where the device is not there, or this build does not know it.
OpenedDevice open_device(const Experiment& experiment, const std::filesystem::path& cache);

// Marks what runs for the profiler of the device's maker; null where none has loaded itself into this process.
std::unique_ptr<Observer> open_ranges();

}  // namespace hp

// The device that an experiment runs on: its kernels, and what decides the last bits besides the data.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/kernels.h"
#include "tools/experiment/experiment.h"

namespace hp {

struct OpenedDevice {
  std::unique_ptr<Kernels> kernels;
  std::string engine;  // "cpu, avx512, 2 threads"
};
using OpenDevice = std::function<OpenedDevice(const Experiment&)>;

// The CPU; throws hp::Error where the experiment asks for another device.
OpenedDevice open_cpu(const Experiment& experiment);

}  // namespace hp

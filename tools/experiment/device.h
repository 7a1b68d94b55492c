// The device that an experiment runs on: its kernels, and what decides the last bits besides the data.
#pragma once

#include <filesystem>
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
// `cache` is the folder of the features, where a device may keep what it measured; it need not be there yet.
using OpenDevice = std::function<OpenedDevice(const Experiment&, const std::filesystem::path& cache)>;

// The CPU; throws hp::Error where the experiment asks for another device.
OpenedDevice open_cpu(const Experiment& experiment, const std::filesystem::path& cache);

}  // namespace hp

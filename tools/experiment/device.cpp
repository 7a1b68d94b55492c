#include "tools/experiment/device.h"

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"

namespace hp {

OpenedDevice open_cpu(const Experiment& experiment, const std::filesystem::path&) {
  require(experiment.device == "cpu",
          "[device] this program was built without the CUDA backend; got device '{}'; expected 'cpu', or a build with "
          "cmake --preset cuda",
          experiment.device);
  auto kernels = std::make_unique<CpuKernels>(CpuOptions{.threads = experiment.threads});
  const char* isa = kernels->isa() == Isa::avx512 ? "avx512" : kernels->isa() == Isa::avx2 ? "avx2" : "baseline";
  const std::string engine = fmt::format("cpu, {}, {} threads", isa, kernels->threads());
  return {std::move(kernels), engine};
}

}  // namespace hp

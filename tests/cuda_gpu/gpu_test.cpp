// Every declared case (tests/cases) on a real GPU; skipped where there is none. Run it with ./test.sh --gpu.
#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include <string>

#include "kernels/cuda/cuda_kernels.h"
#include "runtime/error.h"
#include "tests/cases/cases.h"

namespace hp {

namespace {

void check_cases(bool large) {
  constexpr double most_bytes = 1 << 18;
  std::unique_ptr<CudaKernels> kernels;
  try {
    kernels = std::make_unique<CudaKernels>();
  } catch (const Error& error) {
    MESSAGE("skipped: " << std::string(error.what()));
    return;
  }
  MESSAGE(kernels->device_name());
  for (const cases::Family& family : cases::all_families()) {
    for (const cases::KernelCase& kernel_case : family.make()) {
      if ((cases::bytes_moved(kernel_case) > most_bytes) != large) continue;
      const std::vector<std::string> wrong = cases::check(*kernels, kernel_case);
      CHECK_MESSAGE(wrong.empty(), fmt::format("{}: {}", kernel_case.name, fmt::join(wrong, "; ")));
    }
  }
}

}  // namespace

TEST_CASE("small cases on the GPU") { check_cases(false); }
TEST_CASE("large cases on the GPU") { check_cases(true); }

}  // namespace hp

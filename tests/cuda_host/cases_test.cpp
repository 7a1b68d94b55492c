// Every declared case (tests/cases) on the CUDA kernels, which run on the host in three orders of their threads.
#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include "kernels/cuda/cuda_kernels.h"
#include "tests/cases/cases.h"
#include "tests/cuda_host/machine.h"

namespace hp {

namespace {

std::vector<cases::Array> outputs_of(Kernels& kernels, const cases::KernelCase& kernel_case) {
  cases::PreparedCase prepared(kernels, kernel_case);
  prepared.run();
  return prepared.download();
}

// Small cases are checked by every test run, and under the sanitizers; large ones have the label "slow".
#ifdef HP_LARGE_CASES
constexpr bool large = true;
#else
constexpr bool large = false;
#endif
#if defined(__SANITIZE_ADDRESS__)
constexpr double most_bytes = 1 << 14, most_flops = 1e6;  // fibers are slow under the sanitizers
#else
constexpr double most_bytes = 1 << 18, most_flops = 2e7;
#endif

// Right in one order of the threads; the same bits in two others.
void check_family(const std::vector<cases::KernelCase>& family) {
  using cuda_host::Schedule;
  CudaKernels kernels;
  CHECK(!family.empty());
  for (const cases::KernelCase& kernel_case : family) {
    if ((cases::bytes_moved(kernel_case) > most_bytes || kernel_case.flops > most_flops) != large) continue;
    CAPTURE(kernel_case.name);
    cuda_host::set_schedule(Schedule::forward);
    const std::vector<std::string> wrong = cases::check(kernels, kernel_case);
    CHECK_MESSAGE(wrong.empty(), fmt::format("{}", fmt::join(wrong, "; ")));
    const std::vector<cases::Array> forward = outputs_of(kernels, kernel_case);
    cuda_host::set_schedule(Schedule::reverse);
    CHECK(cases::same_bits(forward, outputs_of(kernels, kernel_case)));
    cuda_host::set_schedule(Schedule::shuffled);
    CHECK(cases::same_bits(forward, outputs_of(kernels, kernel_case)));
  }
  cuda_host::set_schedule(Schedule::forward);
}

}  // namespace

TEST_CASE("elementwise kernels") { check_family(cases::elementwise_cases()); }
TEST_CASE("relevance kernels") { check_family(cases::relevance_cases()); }
TEST_CASE("row kernels") { check_family(cases::rows_cases()); }
TEST_CASE("norm kernels") { check_family(cases::norm_cases()); }
TEST_CASE("attention kernels") { check_family(cases::attention_cases()); }
TEST_CASE("B-cos kernels") { check_family(cases::bcos_cases()); }
TEST_CASE("losses") { check_family(cases::losses_cases()); }
TEST_CASE("convolution kernels") { check_family(cases::conv_cases()); }
TEST_CASE("matrix products") { check_family(cases::matmul_cases()); }
TEST_CASE("pooling kernels") { check_family(cases::pool_cases()); }
TEST_CASE("resizing kernels") { check_family(cases::resize_cases()); }
TEST_CASE("copies of blocks") { check_family(cases::move_cases()); }
TEST_CASE("heat-map kernels") { check_family(cases::maps_cases()); }
TEST_CASE("optimiser steps") { check_family(cases::optimisers_cases()); }

}  // namespace hp

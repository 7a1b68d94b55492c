// Every declared case (tests/cases) on the CPU. Run again with fewer instruction sets and threads by CMakeLists.txt.
#include <doctest/doctest.h>
#include <fmt/ranges.h>

#include "kernels/cpu/cpu_kernels.h"
#include "tests/cases/cases.h"

namespace hp {

namespace {

void check_family(const std::vector<cases::KernelCase>& family) {
  CpuKernels kernels;
  CHECK(!family.empty());
  for (const cases::KernelCase& kernel_case : family) {
    const std::vector<std::string> wrong = cases::check(kernels, kernel_case);
    CHECK_MESSAGE(wrong.empty(), fmt::format("{}: {}", kernel_case.name, fmt::join(wrong, "; ")));
  }
}

}  // namespace

TEST_CASE("elementwise kernels") { check_family(cases::elementwise_cases()); }
TEST_CASE("relevance kernels") { check_family(cases::relevance_cases()); }
TEST_CASE("row kernels") { check_family(cases::rows_cases()); }
TEST_CASE("layer norm and group norm") { check_family(cases::norm_cases()); }
TEST_CASE("products of attention") { check_family(cases::attention_cases()); }
TEST_CASE("kernels of B-cos networks") { check_family(cases::bcos_cases()); }
TEST_CASE("losses") { check_family(cases::losses_cases()); }
TEST_CASE("convolution kernels") { check_family(cases::conv_cases()); }
TEST_CASE("matrix products") { check_family(cases::matmul_cases()); }
TEST_CASE("pooling kernels") { check_family(cases::pool_cases()); }
TEST_CASE("resizing kernels") { check_family(cases::resize_cases()); }
TEST_CASE("copies of blocks") { check_family(cases::move_cases()); }
TEST_CASE("heat-map kernels") { check_family(cases::maps_cases()); }
TEST_CASE("optimiser steps") { check_family(cases::optimisers_cases()); }

// Stronger than promised, and what makes experiments comparable across machines.
TEST_CASE("the number of threads changes no bit of the kernels with own loops") {
  CpuKernels one({.threads = 1}), three({.threads = 3});
  for (const auto make : {cases::elementwise_cases, cases::relevance_cases, cases::rows_cases, cases::norm_cases,
                          cases::bcos_cases, cases::losses_cases, cases::maps_cases, cases::optimisers_cases}) {
    for (const cases::KernelCase& kernel_case : make()) {
      cases::PreparedCase first(one, kernel_case), second(three, kernel_case);
      first.run();
      second.run();
      CHECK_MESSAGE(cases::same_bits(first.download(), second.download()), kernel_case.name);
    }
  }
}

}  // namespace hp

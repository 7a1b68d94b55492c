// The declared kernel cases by family; each function lives in a file of its family's name.
#pragma once

#include <string>
#include <vector>

#include "tests/cases/kernel_case.h"

namespace hp::cases {

std::vector<KernelCase> elementwise_cases();
std::vector<KernelCase> relevance_cases();
std::vector<KernelCase> rows_cases();
std::vector<KernelCase> norm_cases();
std::vector<KernelCase> attention_cases();
std::vector<KernelCase> bcos_cases();
std::vector<KernelCase> losses_cases();
std::vector<KernelCase> conv_cases();
std::vector<KernelCase> matmul_cases();
std::vector<KernelCase> pool_cases();
std::vector<KernelCase> resize_cases();
std::vector<KernelCase> move_cases();
std::vector<KernelCase> maps_cases();
std::vector<KernelCase> optimisers_cases();

struct Family {
  std::string name;
  std::vector<KernelCase> (*make)();
};
const std::vector<Family>& all_families();

}  // namespace hp::cases

// What tests say and ask of the stand-in for cuDNN's choice of algorithms.
#pragma once

#include <vector>

namespace cuda_host {

// A measurement finds the algorithms 0 and 1 of a pass, in the order of their speed.
struct CudnnChoice {
  int fastest = 0;
  bool is_fastest_deterministic = true;  // the other one is
  int measurements = 0;                  // made so far
  std::vector<int> used{};               // the algorithms of all calls
};
CudnnChoice& cudnn_choice();

}  // namespace cuda_host

// Optimizer: changes weights by their gradients: stochastic gradient descent, Adam and AdamW (protocol.md 3.4, 4.1).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/kernels.h"
#include "runtime/weight.h"

namespace hp {

// sgd:   g += decay w; v = momentum v + g; w -= rate (nesterov ? g + momentum v : v)
// adam:  Kingma and Ba 2015, the decay in the gradient (g += decay w)
// adamw: Loshchilov and Hutter 2019, w *= 1 - rate decay before Adam's step
// As torch.optim has them.
enum class OptimizerKind { sgd, adam, adamw };

std::string_view name_of(OptimizerKind);
OptimizerKind optimizer_kind(std::string_view name);  // throws hp::Error that lists the three

// Factors on the learning rate and on the weight decay of all parameters whose names fit a pattern ("layer4.*").
struct ParameterGroup {
  std::string pattern;
  double rate = 1, decay = 1;
};

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0.9;  // of sgd
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // of adam and adamw
  double weight_decay = 0;
  bool decays_vectors = true;  // false: norms' parameters and biases (tensors of one axis) are not decayed
  double clip_norm = 0;        // above this the gradient of all parameters together is scaled down to it; 0: never
  std::vector<ParameterGroup> groups;  // the first whose pattern fits a name counts

  void check() const;  // throws hp::Error that names the setting out of range
};

class Optimizer {
 public:
  struct Parameter {
    std::string name;
    Weight* weight = nullptr;  // on the kernels' device; must outlive the optimiser
  };
  // Its memory of past gradients: "<parameter>.velocity", or ".first_moment" and ".second_moment".
  struct Memory {
    std::string name;
    Tensor tensor;  // on the device
  };

  Optimizer(OptimizerSettings settings, std::vector<Parameter> parameters, Kernels& kernels);

  // One gradient for each parameter, in their order; clipping changes them in place.
  void step(double learning_rate, std::span<const Tensor> gradients);

  std::span<const Memory> memory() const { return memory_; }
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }  // with the memory's values: goes on from an earlier state

 private:
  struct Factors {
    double rate = 1, decay = 1;
  };
  Factors factors_of(const Parameter& parameter) const;
  void clip(std::span<const Tensor> gradients);

  OptimizerSettings settings_;
  std::vector<Parameter> parameters_;
  std::vector<Factors> factors_;
  std::vector<Memory> memory_;
  Kernels& kernels_;
  Tensor squares_;  // of each gradient's norm
  int64_t steps_ = 0;
};

}  // namespace hp

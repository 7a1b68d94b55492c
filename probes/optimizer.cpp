#include "probes/optimizer.h"

#include <cmath>

#include "probes/device_copies.h"
#include "runtime/error.h"
#include "runtime/graph.h"
#include "runtime/text.h"

namespace hp {
namespace {

std::vector<std::string> memories_of(OptimizerKind kind) {
  if (kind == OptimizerKind::sgd) return {".velocity"};
  return {".first_moment", ".second_moment"};
}

void check_range(const char* setting, double value, double low, double below) {
  require(value >= low && value < below, "[optimizer] {} out of range; got {}; expected {} to below {}", setting, value,
          low, below);
}

}  // namespace

std::string_view name_of(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::sgd:
      return "sgd";
    case OptimizerKind::adam:
      return "adam";
    case OptimizerKind::adamw:
      return "adamw";
  }
  return "?";
}

OptimizerKind optimizer_kind(std::string_view name) {
  for (const OptimizerKind kind : {OptimizerKind::sgd, OptimizerKind::adam, OptimizerKind::adamw}) {
    if (name_of(kind) == name) return kind;
  }
  fail("[optimizer] unknown optimiser; got {}; expected sgd, adam or adamw", printable(name));
}

void OptimizerSettings::check() const {
  check_range("momentum", momentum, 0, 1);
  check_range("beta1", beta1, 0, 1);
  check_range("beta2", beta2, 0, 1);
  require(epsilon > 0, "[optimizer] epsilon out of range; got {}; expected above 0", epsilon);
  require(weight_decay >= 0, "[optimizer] weight_decay out of range; got {}; expected at least 0", weight_decay);
  require(clip_norm >= 0, "[optimizer] clip_norm out of range; got {}; expected at least 0", clip_norm);
  for (const ParameterGroup& group : groups) {
    require(group.rate >= 0 && group.decay >= 0,
            "[optimizer] factors of group {} out of range; got rate {} and decay {}; expected at least 0",
            printable(group.pattern), group.rate, group.decay);
  }
}

Optimizer::Optimizer(OptimizerSettings settings, std::vector<Parameter> parameters, Kernels& kernels)
    : settings_(std::move(settings)), parameters_(std::move(parameters)), kernels_(kernels) {
  settings_.check();
  for (const Parameter& parameter : parameters_) {
    factors_.push_back(factors_of(parameter));
    for (const std::string& memory : memories_of(settings_.kind)) {
      memory_.push_back({parameter.name + memory, zeros(kernels, parameter.weight->tensor().shape())});
    }
  }
  squares_ = zeros(kernels, {static_cast<int64_t>(parameters_.size())});
}

Optimizer::Factors Optimizer::factors_of(const Parameter& parameter) const {
  Factors factors;
  for (const ParameterGroup& group : settings_.groups) {
    if (!glob(group.pattern, parameter.name)) continue;
    factors = {group.rate, group.decay};
    break;
  }
  if (!settings_.decays_vectors && parameter.weight->tensor().shape().rank() <= 1) factors.decay = 0;
  return factors;
}

// As torch's clip_grad_norm_: all gradients times max / (norm + 1e-6) where that is below 1.
void Optimizer::clip(std::span<const Tensor> gradients) {
  for (size_t i = 0; i < gradients.size(); ++i) {
    const float* g = gradients[i].floats();
    kernels_.row_dots({1, gradients[i].count()}, 1, g, g, squares_.floats() + i);
  }
  std::vector<float> squares(gradients.size());
  kernels_.download(squares_.floats(), squares.size() * sizeof(float), squares.data());
  double total = 0;
  for (const float square : squares) total += square;
  const double factor = settings_.clip_norm / (std::sqrt(total) + 1e-6);
  if (!(factor < 1)) return;
  for (const Tensor& gradient : gradients) {
    kernels_.scale_add(gradient.count(), static_cast<float>(factor), gradient.floats(), 0, gradient.floats());
  }
}

void Optimizer::step(double learning_rate, std::span<const Tensor> gradients) {
  require(gradients.size() == parameters_.size(), "[optimizer] wrong number of gradients; got {}; expected {}",
          gradients.size(), parameters_.size());
  if (settings_.clip_norm > 0) clip(gradients);
  ++steps_;
  // Of the rounded beta, whose powers the moments hold.
  const auto correction = [&](double beta) {
    return static_cast<float>(1 - std::pow(static_cast<double>(static_cast<float>(beta)), steps_));
  };
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Weight& weight = *parameters_[i].weight;
    const auto rate = static_cast<float>(learning_rate * factors_[i].rate);
    const auto decay = static_cast<float>(settings_.weight_decay * factors_[i].decay);
    const int64_t n = gradients[i].count();
    if (settings_.kind == OptimizerKind::sgd) {
      const SgdStep sgd{rate, static_cast<float>(settings_.momentum), decay, settings_.nesterov};
      kernels_.sgd_step(n, sgd, gradients[i].floats(), memory_[i].tensor.floats(), weight.tensor().floats());
    } else {
      const AdamStep adam{.learning_rate = rate,
                          .beta1 = static_cast<float>(settings_.beta1),
                          .beta2 = static_cast<float>(settings_.beta2),
                          .epsilon = static_cast<float>(settings_.epsilon),
                          .weight_decay = decay,
                          .correction1 = correction(settings_.beta1),
                          .correction2 = correction(settings_.beta2),
                          .decoupled = settings_.kind == OptimizerKind::adamw};
      kernels_.adam_step(n, adam, gradients[i].floats(), memory_[2 * i].tensor.floats(),
                         memory_[2 * i + 1].tensor.floats(), weight.tensor().floats());
    }
    weight.touch();
  }
}

}  // namespace hp

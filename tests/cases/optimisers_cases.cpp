#include <fmt/format.h>

#include <cmath>

#include "tests/cases/cases.h"

namespace hp::cases {

namespace {

KernelCase sgd_case(int64_t n, const SgdStep& step) {
  return {.name = fmt::format("sgd_step {} momentum {} decay {}{}", n, step.momentum, step.weight_decay,
                              step.nesterov ? " nesterov" : ""),
          .inputs = {uniform(n, -1, 1, 1)},
          .outputs = {output_starting_as(uniform(n, -1, 1, 2)), output_starting_as(uniform(n, -1, 1, 3))},
          .call = [=](Kernels& k, const Arguments& a) { k.sgd_step(n, step, a.in(0), a.out(0), a.out(1)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  const double g = in[0][i] + step.weight_decay * out[1][i];
                  const double v = step.momentum * out[0][i] + g;
                  out[0][i] = v;
                  out[1][i] -= step.learning_rate * (step.nesterov ? g + step.momentum * v : v);
                }
              }};
}

KernelCase adam_case(int64_t n, const AdamStep& step) {
  return {.name = fmt::format("adam_step {} decay {}{}", n, step.weight_decay, step.decoupled ? " decoupled" : ""),
          .inputs = {uniform(n, -1, 1, 4)},
          .outputs = {output_starting_as(uniform(n, -1, 1, 5)), output_starting_as(uniform(n, 0.01, 1, 6)),
                      output_starting_as(uniform(n, -1, 1, 7))},
          .call = [=](Kernels& k, const Arguments& a) { k.adam_step(n, step, a.in(0), a.out(0), a.out(1), a.out(2)); },
          .reference =
              [=](const Values& in, Values& out) {
                for (int64_t i = 0; i < n; ++i) {
                  double &m = out[0][i], &v = out[1][i], &w = out[2][i], g = in[0][i];
                  const double decay = step.weight_decay, rate = step.learning_rate;
                  if (step.decoupled) {
                    w *= 1 - rate * decay;
                  } else {
                    g += decay * w;
                  }
                  m = step.beta1 * m + (1 - static_cast<double>(step.beta1)) * g;
                  v = step.beta2 * v + (1 - static_cast<double>(step.beta2)) * g * g;
                  w -= rate * (m / step.correction1) / (std::sqrt(v / step.correction2) + step.epsilon);
                }
              }};
}

}  // namespace

std::vector<KernelCase> optimisers_cases() {
  std::vector<KernelCase> cases;
  for (const int64_t n : {1, 7, 64, 1003, 2048000}) {
    cases.push_back(sgd_case(n, {.learning_rate = 0.1f}));
    cases.push_back(sgd_case(n, {.learning_rate = 0.1f, .momentum = 0.9f, .weight_decay = 1e-2f}));
    cases.push_back(sgd_case(n, {.learning_rate = 0.1f, .momentum = 0.9f, .weight_decay = 1e-2f, .nesterov = true}));
    AdamStep adam{.learning_rate = 0.1f, .weight_decay = 1e-2f, .correction1 = 0.19f, .correction2 = 0.002f};
    cases.push_back(adam_case(n, adam));
    adam.decoupled = true;
    cases.push_back(adam_case(n, adam));
  }
  return cases;
}

}  // namespace hp::cases

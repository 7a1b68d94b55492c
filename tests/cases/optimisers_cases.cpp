#include <fmt/format.h>

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

}  // namespace

std::vector<KernelCase> optimisers_cases() {
  std::vector<KernelCase> cases;
  for (const int64_t n : {1, 7, 64, 1003, 2048000}) {
    cases.push_back(sgd_case(n, {.learning_rate = 0.1f}));
    cases.push_back(sgd_case(n, {.learning_rate = 0.1f, .momentum = 0.9f, .weight_decay = 1e-2f}));
    cases.push_back(sgd_case(n, {.learning_rate = 0.1f, .momentum = 0.9f, .weight_decay = 1e-2f, .nesterov = true}));
  }
  return cases;
}

}  // namespace hp::cases

// The checks of tests/cases must catch a wrong kernel: each case here is wrong in one way.
#include <doctest/doctest.h>

#include <limits>

#include "kernels/cpu/cpu_kernels.h"
#include "tests/cases/kernel_case.h"

namespace hp {

namespace {

using cases::Arguments;
using cases::KernelCase;
using cases::Values;

// y = 2 x for two targets: right, with a right derivative.
KernelCase doubling() {
  const auto twice = [](const Values& in, Values& out) {
    for (size_t i = 0; i < out[0].size(); ++i) out[0][i] = 2 * in[1][i];
  };
  const auto forward = [](const Values& in, Values& out) {
    for (size_t i = 0; i < out[0].size(); ++i) out[0][i] = 2 * in[0][i];
  };
  return {.name = "doubling",
          .inputs = {cases::uniform(5, -1, 1, 1), cases::per_target(cases::uniform(10, -1, 1, 2))},
          .outputs = {cases::per_target(cases::output(10))},
          .call = [](Kernels& k, const Arguments& a) { k.scale_add(5 * a.targets, 2, a.in(1), 0, a.out(0)); },
          .reference = twice,
          .targets = 2,
          .derivatives = {{.by = 0, .message = 1, .output = 0, .forward = forward}},
          .in_place = 1};
}

// The right call, then `spoil`.
template <class Spoil>
bool caught(const std::string& complaint, Spoil spoil) {
  KernelCase wrong = doubling();
  spoil(wrong);
  CpuKernels kernels;
  for (const std::string& found : cases::check(kernels, wrong)) {
    if (found.find(complaint) != std::string::npos) return true;
  }
  return false;
}

template <class After>
auto after_the_call(After after) {
  return [=](KernelCase& wrong) {
    const cases::Call right = wrong.call;
    wrong.call = [=](Kernels& k, const Arguments& a) {
      right(k, a);
      after(k, a);
    };
  };
}

}  // namespace

TEST_CASE("the checks accept a right kernel") {
  CpuKernels kernels;
  CHECK(cases::check(kernels, doubling()).empty());
}

TEST_CASE("the checks catch a wrong kernel") {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(caught("differs from the reference",
               after_the_call([](Kernels& k, const Arguments& a) { k.fill(1, 0.5f, a.out(0) + 3); })));
  CHECK(caught("differs from the reference",
               after_the_call([](Kernels& k, const Arguments& a) { k.fill(1, nan, a.out(0) + 3); })));
  CHECK(
      caught("differs from the reference", [](KernelCase& wrong) { wrong.call = [](Kernels&, const Arguments&) {}; }));
  CHECK(caught("wrote behind output 0",
               after_the_call([](Kernels& k, const Arguments& a) { k.fill(1, 0, a.out(0) + 5 * a.targets); })));
  CHECK(caught("wrote before output 0",
               after_the_call([](Kernels& k, const Arguments& a) { k.fill(1, 0, a.out(0) - 1); })));
  CHECK(caught("changed input 1",
               after_the_call([](Kernels& k, const Arguments& a) { k.fill(1, 0, const_cast<float*>(a.in(1))); })));
  CHECK(caught("a walk of its own", after_the_call([](Kernels& k, const Arguments& a) {
                 if (a.targets == 1) k.fill(1, 0.5f, a.out(0));
               })));
  CHECK(caught("finite differences", [](KernelCase& wrong) {
    wrong.derivatives[0].forward = [](const Values& in, Values& out) {
      for (size_t i = 0; i < out[0].size(); ++i) out[0][i] = in[0][i] * in[0][i];
    };
  }));
  int calls = 0;
  CHECK(caught("a second run gives other bits", after_the_call([&calls](Kernels& k, const Arguments& a) {
                 k.fill(1, static_cast<float>(++calls), a.out(0));
               })));
  CHECK(caught("in-place use gives other bits", after_the_call([](Kernels& k, const Arguments& a) {
                 if (a.out(0) != a.in(1)) k.fill(1, 0.25f, a.out(0));
               })));
}

}  // namespace hp

// A NaN in the input must reach the output: a broken network may not look like a working one.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/device_arrays.h"

namespace hp {

namespace {

using cases::Arguments;
using Vector = std::vector<float>;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr Rows shape{3, 40};
constexpr Maps maps{3, 5, 8};

// Three rows, or maps, of 40 elements; the second one holds a NaN.
Vector with_nan(size_t position) {
  Vector x(120);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.25f + 0.01f * static_cast<float>(i % 40);
  x[40 + position] = nan;
  return x;
}

// `per_row` outputs each: all of the second row's are NaN, none of the others'.
void check_second(const Vector& y, size_t per_row) {
  REQUIRE(y.size() == 3 * per_row);
  for (size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i / per_row == 1));
}

}  // namespace

TEST_CASE("a NaN makes its row of a softmax, a sum or a loss NaN") {
  const Vector ones(120, 1.0f);
  for (const size_t position : {0, 17, 33, 39}) {
    const Vector x = with_nan(position);
    const auto rows = [&](int64_t per_row, const cases::Call& call) {
      check_second(run_kernel({x, ones}, 3 * per_row, call), static_cast<size_t>(per_row));
    };
    rows(40, [](Kernels& k, const Arguments& a) { k.softmax(shape, a.in(0), a.out(0)); });
    rows(40, [](Kernels& k, const Arguments& a) { k.log_softmax(shape, a.in(0), a.out(0)); });
    rows(40, [](Kernels& k, const Arguments& a) { k.softmax_vjp(shape, 1, a.in(1), a.in(0), a.out(0)); });
    rows(40, [](Kernels& k, const Arguments& a) { k.log_softmax_vjp(shape, 1, a.in(1), a.in(0), a.out(0)); });
    rows(1, [](Kernels& k, const Arguments& a) { k.row_dots(shape, 1, nullptr, a.in(0), a.out(0)); });
    rows(1, [](Kernels& k, const Arguments& a) { k.row_dots(shape, 1, a.in(1), a.in(0), a.out(0)); });
    rows(1, [](Kernels& k, const Arguments& a) { k.cross_entropy(shape, a.in(0), a.in(1), 1, a.out(0), nullptr); });
    rows(1,
         [](Kernels& k, const Arguments& a) { k.binary_cross_entropy(shape, a.in(0), a.in(1), 1, a.out(0), nullptr); });
  }
}

TEST_CASE("a NaN makes the metrics of its map NaN") {
  const Vector ones(120, 1.0f);
  for (const size_t position : {0, 17, 33, 39}) {
    const Vector x = with_nan(position);
    const auto metric = [&](int64_t per_map, const cases::Call& call) {
      check_second(run_kernel({x, ones}, 3 * per_map, call), static_cast<size_t>(per_map));
    };
    metric(1, [](Kernels& k, const Arguments& a) { k.entropy(maps, a.in(0), a.out(0)); });
    metric(1, [](Kernels& k, const Arguments& a) { k.gini(maps, 1e-7f, a.in(0), a.out(0)); });
    metric(2, [](Kernels& k, const Arguments& a) { k.mask_sums(maps, a.in(0), a.in(1), a.out(0)); });
    metric(1, [](Kernels& k, const Arguments& a) { k.cell_sums(maps, 1, a.in(0), a.out(0)); });
  }
}

TEST_CASE("a NaN denominator or output makes the ratios NaN") {
  const Vector x = with_nan(17), ones(120, 1.0f);
  const auto only_there = [](const Vector& y) {
    for (size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i % 120 == 57));
  };
  only_there(run_kernel({ones, x}, 120, [](Kernels& k, const Arguments& a) {
    k.stabilised_ratio(120, 120, 1e-6f, a.in(0), a.in(1), a.out(0));
  }));
  only_there(run_kernel({ones, x}, 120, [](Kernels& k, const Arguments& a) {
    k.scale_by_ratio(120, 120, 1e-6f, a.in(0), a.in(0), a.in(1), a.out(0));
  }));
  only_there(run_kernel({ones, x}, 120, [](Kernels& k, const Arguments& a) {
    k.gamma_ratio(120, 1e-6f, 0.25f, a.in(0), a.in(1), a.in(0), a.out(0));
  }));
  only_there(run_kernel({ones, x}, 240, [](Kernels& k, const Arguments& a) {
    k.gamma_ratios_any(120, 1e-6f, 0.25f, a.in(0), a.in(1), a.in(0), a.out(0), a.out(0) + 120);
  }));
}

TEST_CASE("a NaN logit never looks like a correct answer") {
  const auto rank = [](const Vector& x, int32_t label) {
    CpuKernels kernels;
    const Rows row{1, static_cast<int64_t>(x.size())};
    const cases::KernelCase kernel_case{
        .inputs = {cases::values(x), {.ints = {label}, .is_int = true}},
        .outputs = {cases::output_ints(1)},
        .call = [=](Kernels& k, const Arguments& a) { k.label_ranks(row, a.in(0), a.in_ints(1), a.out_ints(0)); }};
    cases::PreparedCase prepared(kernels, kernel_case);
    prepared.run();
    return prepared.download()[0].ints[0];
  };
  CHECK(rank(Vector(1000, nan), 3) == 999);
  CHECK(rank({1, nan, 3}, 1) == 2);
  CHECK(rank({1, nan, 3}, 2) == 1);
  CHECK(rank({1, 2, 2, 2}, 2) == 1);  // ties count when their column is lower
}

}  // namespace hp

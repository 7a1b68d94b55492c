// What the declared cases cannot say of convolutions: which packed weights go with which shapes, and that one image's
// result does not depend on its neighbours in the batch or on what is fused into the call.
#include <doctest/doctest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "tests/cases/kernel_case.h"

namespace hp {

namespace {

using cases::uniform;

const Conv2d body{.batch = 1,
                  .height = 14,
                  .width = 14,
                  .channels = 64,
                  .filters = 96,
                  .kernel_height = 3,
                  .kernel_width = 3,
                  .stride = 1,
                  .padding = 1};
const Conv2d stem{.batch = 1,
                  .height = 32,
                  .width = 32,
                  .channels = 3,
                  .filters = 64,
                  .kernel_height = 7,
                  .kernel_width = 7,
                  .stride = 2,
                  .padding = 3};

int64_t x_count(const Conv2d& c) { return c.batch * c.height * c.width * c.channels; }
int64_t y_count(const Conv2d& c) { return c.batch * c.out_height() * c.out_width() * c.filters; }

Conv2d fast(Conv2d conv) {
  conv.fast = true;
  return conv;
}

Conv2d with_side(Conv2d conv, int64_t side) {
  conv.height = conv.width = side;
  return conv;
}

// Large enough for the forward pass to save products.
Conv2d smooth(Conv2d conv) {
  conv.smooth = true;
  return with_side(conv, 24);
}

Conv2d with_batch(Conv2d conv, int64_t batch) {
  conv.batch = batch;
  return conv;
}

std::vector<float> forward(Kernels& kernels, const Conv2d& conv, const Packed& weight, const std::vector<float>& x,
                           const Epilogue& epilogue = {}) {
  std::vector<float> y(y_count(conv));
  kernels.conv2d(conv, weight, epilogue, x.data(), y.data());
  return y;
}

}  // namespace

TEST_CASE("shapes that name the same layout share a packed weight") {
  CpuKernels kernels;
  const std::vector<float> w = uniform(body.weight_count(), -1, 1, 1).floats;
  const Conv2d larger = with_batch(body, 4);
  REQUIRE(kernels.pack_format(body, PackUse::forward) == kernels.pack_format(larger, PackUse::forward));
  const std::vector<float> x = uniform(x_count(larger), -1, 1, 2).floats;
  const auto packed = kernels.pack(body, PackUse::forward, w.data()),
             own = kernels.pack(larger, PackUse::forward, w.data());
  CHECK(forward(kernels, larger, *packed, x) == forward(kernels, larger, *own, x));
}

TEST_CASE("a weight that was packed for another shape or use is refused") {
  CpuKernels kernels;
  const std::vector<float> w = uniform(std::max(body.weight_count(), stem.weight_count()), -1, 1, 1).floats;
  const auto for_body = kernels.pack(body, PackUse::forward, w.data());
  const auto for_stem = kernels.pack(stem, PackUse::forward, w.data());
  std::vector<float> x(std::max(x_count(body), x_count(stem))), y(std::max(y_count(body), y_count(stem)));
  CHECK_THROWS_AS(kernels.conv2d(body, *for_stem, {}, x.data(), y.data()), Error);
  CHECK_THROWS_AS(kernels.conv2d_input_gradient(stem, *for_stem, y.data(), x.data()), Error);
  CHECK_THROWS_AS(kernels.conv2d_input_gradient(stem, *for_body, y.data(), x.data()), Error);
  CHECK_THROWS_AS(kernels.conv2d_input_gradient(body, *for_stem, y.data(), x.data()), Error);
}

TEST_CASE("gradients that may save products have packed weights of their own; the forward pass keeps its bits") {
  CpuKernels kernels;
  const std::vector<float> w = uniform(body.weight_count(), -1, 1, 1).floats;
  const std::vector<float> x = uniform(x_count(body), -1, 1, 2).floats;
  std::vector<float> dy(y_count(body)), dx(x_count(body)), exact_dx(x_count(body));
  const auto layout = [&](const Conv2d& conv) { return kernels.pack_format(conv, PackUse::input_gradient); };
  CHECK(layout(fast(body)) != layout(body));
  CHECK(layout(fast(body)) == layout(with_batch(fast(body), 4)));
  CHECK(layout(fast(stem)) == layout(stem));
  CHECK(kernels.pack_format(fast(body), PackUse::forward) == kernels.pack_format(body, PackUse::forward));
  const auto forward_weight = kernels.pack(fast(body), PackUse::forward, w.data());
  CHECK(forward(kernels, fast(body), *forward_weight, x) == forward(kernels, body, *forward_weight, x));
  const auto exact = kernels.pack(body, PackUse::input_gradient, w.data()),
             saving = kernels.pack(fast(body), PackUse::input_gradient, w.data());
  CHECK_THROWS_AS(kernels.conv2d_input_gradient(fast(body), *exact, dy.data(), dx.data()), Error);
  CHECK_THROWS_AS(kernels.conv2d_input_gradient(body, *saving, dy.data(), dx.data()), Error);
  dy = uniform(y_count(body), -1, 1, 3).floats;
  kernels.conv2d_input_gradient(fast(body), *saving, dy.data(), dx.data());
  kernels.conv2d_input_gradient(body, *exact, dy.data(), exact_dx.data());
  CHECK(dx != exact_dx);
}

TEST_CASE("smooth convolutions have packed weights of their own, for both directions") {
  CpuKernels kernels;
  const Conv2d saving = smooth(body), plain = with_side(body, 24);
  const std::vector<float> w = uniform(plain.weight_count(), -1, 1, 1).floats;
  const std::vector<float> x = uniform(x_count(plain), -1, 1, 2).floats;
  std::set<std::string> formats;
  for (const Conv2d& conv : {plain, saving}) {
    for (const PackUse use : {PackUse::forward, PackUse::input_gradient}) {
      formats.insert(kernels.pack_format(conv, use));
      CHECK(kernels.pack_format(conv, use) == kernels.pack_format(with_batch(conv, 4), use));
    }
  }
  CHECK(formats.size() >= 3);
  CHECK(kernels.pack_format(saving, PackUse::forward) != kernels.pack_format(saving, PackUse::input_gradient));
  const auto exact = kernels.pack(plain, PackUse::forward, w.data()),
             own = kernels.pack(saving, PackUse::forward, w.data()),
             adjoint = kernels.pack(saving, PackUse::input_gradient, w.data());
  CHECK(forward(kernels, saving, *own, x) != forward(kernels, plain, *exact, x));
  CHECK_THROWS_AS(forward(kernels, saving, *exact, x), Error);
  CHECK_THROWS_AS(forward(kernels, saving, *adjoint, x), Error);
  CHECK_THROWS_AS(forward(kernels, plain, *own, x), Error);
  for (const PackUse use : {PackUse::forward, PackUse::input_gradient}) {  // too few tiles
    CHECK(kernels.pack_format(with_side(saving, 8), use) == kernels.pack_format(with_side(plain, 8), use));
  }
}

TEST_CASE("threads and batches change no bit of a convolution that saves products") {
  Conv2d few = smooth(body);  // fewer tiles than weights
  few.channels = few.filters = 96;
  for (const Conv2d& conv : {smooth(body), few}) {
    const Conv2d larger = with_batch(conv, 3);
    const std::vector<float> w = uniform(conv.weight_count(), -1, 1, 1).floats;
    const std::vector<float> x = uniform(x_count(larger), -1, 1, 2).floats;
    std::vector<std::vector<float>> results;
    for (const int threads : {1, 2, 5}) {
      CpuKernels kernels({threads});
      const auto packed = kernels.pack(conv, PackUse::forward, w.data());
      results.push_back(forward(kernels, larger, *packed, x));
      const std::vector<float> first(x.begin(), x.begin() + x_count(conv));
      const std::vector<float> alone = forward(kernels, conv, *packed, first);
      CHECK(std::equal(alone.begin(), alone.end(), results.back().begin()));
    }
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
  }
}

TEST_CASE("an epilogue changes no bit of the convolution under it") {
  CpuKernels kernels;
  const Conv2d wide{.batch = 2, .height = 9, .width = 9, .channels = 64, .filters = 128, .stride = 2};
  const Conv2d wide3{.batch = 2,
                     .height = 9,
                     .width = 9,
                     .channels = 64,
                     .filters = 64,
                     .kernel_height = 3,
                     .kernel_width = 3,
                     .padding = 1};
  for (const Conv2d& conv : {body, stem, with_batch(body, 3), wide, wide3, smooth(body)}) {
    const std::vector<float> w = uniform(conv.weight_count(), -1, 1, 1).floats;
    const std::vector<float> x = uniform(x_count(conv), -1, 1, 2).floats;
    const std::vector<float> addend = uniform(y_count(conv), -1, 1, 3).floats;
    const auto packed = kernels.pack(conv, PackUse::forward, w.data());
    std::vector<float> expected = forward(kernels, conv, *packed, x);
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = std::max(expected[i] + addend[i], 0.0f);
    CHECK(forward(kernels, conv, *packed, x, {.addend = addend.data(), .activation = Function::relu}) == expected);
    std::vector<float> in_place = addend;
    kernels.conv2d(conv, *packed, {.addend = in_place.data(), .activation = Function::relu}, x.data(), in_place.data());
    CHECK(in_place == expected);
  }
}

TEST_CASE("an image's result hardly depends on the rest of its batch") {
  CpuKernels kernels;
  for (const Conv2d& conv : {body, stem, fast(body)}) {
    const Conv2d larger = with_batch(conv, 5);
    const std::vector<float> w = uniform(conv.weight_count(), -1, 1, 1).floats;
    const std::vector<float> dy = uniform(y_count(larger), -1, 1, 2).floats;
    const auto packed = kernels.pack(conv, PackUse::input_gradient, w.data());
    const auto packed_larger = kernels.pack(larger, PackUse::input_gradient, w.data());
    std::vector<float> all(x_count(larger)), one(x_count(conv));
    kernels.conv2d_input_gradient(larger, *packed_larger, dy.data(), all.data());
    for (int64_t image = 0; image < larger.batch; ++image) {
      kernels.conv2d_input_gradient(conv, *packed, dy.data() + image * y_count(conv), one.data());
      const std::vector<double> want(all.begin() + image * x_count(conv), all.begin() + (image + 1) * x_count(conv));
      CHECK(cases::relative_error({one.begin(), one.end()}, want) < 1e-6);
    }
  }
}

TEST_CASE("the caller's number of OpenMP threads is left alone") {
  const int before = omp_get_max_threads();
  CpuKernels kernels({.threads = before + 1});
  CHECK(kernels.threads() == before + 1);
  std::vector<float> a(4, 1.0f), y(4);
  kernels.matmul({.m = 2, .n = 2, .k = 2}, a.data(), a.data(), y.data());
  CHECK(y == std::vector<float>(4, 2.0f));
  CHECK(omp_get_max_threads() == before);
}

TEST_CASE("no more threads are started than the kernels were given") {
  const std::filesystem::path tasks = "/proc/self/task";
  if (!std::filesystem::exists(tasks)) {
    MESSAGE("skipped: this system does not list a process's threads");
    return;
  }
  const auto thread_count = [&] {
    return std::distance(std::filesystem::directory_iterator(tasks), std::filesystem::directory_iterator());
  };
  const auto running = thread_count();
  const int before = omp_get_max_threads();
  omp_set_num_threads(static_cast<int>(running) + 2);
  CpuKernels kernels({.threads = 1});
  const std::vector<float> filters = uniform(body.weight_count(), -1, 1, 1).floats;
  const std::vector<float> x = uniform(x_count(body), -1, 1, 2).floats;
  const auto weight = kernels.pack(body, PackUse::forward, filters.data());
  const auto adjoint = kernels.pack(body, PackUse::input_gradient, filters.data());
  const std::vector<float> y = forward(kernels, body, *weight, x);
  std::vector<float> dx(x_count(body)), dw(body.weight_count()), product(256 * 256);
  kernels.conv2d_input_gradient(body, *adjoint, y.data(), dx.data());
  kernels.conv2d_weight_gradient(body, dx.data(), y.data(), dw.data());
  kernels.matmul({.m = 256, .n = 256, .k = 16}, y.data(), y.data(), product.data());
  omp_set_num_threads(before);
  CHECK(thread_count() == running);
}

}  // namespace hp

// The choice among cuDNN's algorithms: measured once for a shape, deterministic, kept for the next run.
#include <doctest/doctest.h>

#include "kernels/cuda/cuda_kernels.h"
#include "tests/cuda_host/cudnn.h"
#include "tests/files.h"

namespace hp {

namespace {

// What the next measurements find; set back at the end.
struct Speeds {
  explicit Speeds(int fastest, bool deterministic = true) {
    cuda_host::cudnn_choice() = {.fastest = fastest, .is_fastest_deterministic = deterministic};
  }
  ~Speeds() { cuda_host::cudnn_choice() = {}; }
  Speeds(const Speeds&) = delete;
  Speeds& operator=(const Speeds&) = delete;
};

struct Run {
  std::vector<int> used;  // forward, input's gradient, weight's gradient
  int measurements;
  bool operator==(const Run&) const = default;
};

// A program that computes one convolution and its gradients, twice.
Run run(const std::string& file, MathMode math = MathMode::fp32, int64_t batch = 1) {
  cuda_host::CudnnChoice& choice = cuda_host::cudnn_choice();
  choice.used.clear();
  choice.measurements = 0;
  CudaKernels kernels({.math = math, .algorithms = file});
  const Conv2d conv{.batch = batch, .height = 3, .width = 3, .channels = 4, .filters = 4};
  const size_t bytes = static_cast<size_t>(batch) * 3 * 3 * 4 * sizeof(float);
  const Storage x = kernels.allocate(bytes), y = kernels.allocate(bytes), w = kernels.allocate(4 * 4 * sizeof(float));
  const auto at = [](const Storage& storage) { return reinterpret_cast<float*>(storage.data()); };
  const auto packed = kernels.pack(conv, PackUse::forward, at(w));
  for (int i = 0; i < 2; ++i) {
    kernels.conv2d(conv, *packed, {}, at(x), at(y));
    kernels.conv2d_input_gradient(conv, *packed, at(y), at(x));
    kernels.conv2d_weight_gradient(conv, at(x), at(y), at(w));
  }
  kernels.synchronize();
  REQUIRE(choice.used.size() == 6);
  CHECK(std::vector(choice.used.begin() + 3, choice.used.end()) ==
        std::vector(choice.used.begin(), choice.used.begin() + 3));
  choice.used.resize(3);
  return {choice.used, choice.measurements};
}

}  // namespace

TEST_CASE("algorithms: what was the fastest once stays, in this run and the next") {
  const test::TemporaryFolder folder;
  const std::string file = (folder / "cache/algorithms.txt").string();
  {
    const Speeds speeds(0);
    CHECK(run(file) == Run{{0, 0, 0}, 3});
  }
  const Speeds speeds(1);
  CHECK(run(file) == Run{{0, 0, 0}, 0});
  CHECK(run(file, MathMode::fp32, 2) == Run{{1, 1, 1}, 3});  // another shape
  CHECK(run(file, MathMode::tf32) == Run{{1, 1, 1}, 3});
  CHECK(run(file) == Run{{0, 0, 0}, 0});
  CHECK(run(file, MathMode::tf32) == Run{{1, 1, 1}, 0});
}

TEST_CASE("algorithms: without a file nothing is measured, and a slow algorithm is used if it alone is deterministic") {
  const test::TemporaryFolder folder;
  const Speeds speeds(0, false);
  CHECK(run("") == Run{{1, 1, 1}, 0});
  CHECK(run((folder / "algorithms.txt").string()) == Run{{1, 1, 1}, 3});
}

TEST_CASE("algorithms: a file of another machine, or a damaged one, counts for nothing and is replaced") {
  const test::TemporaryFolder folder;
  const std::string file = (folder / "algorithms.txt").string();
  std::string text;
  {
    const Speeds speeds(0);
    run(file);
    text = test::read_file(file);
  }
  const Speeds speeds(1);
  const size_t machine = text.find("CUDA on the host, cuDNN 90000");
  REQUIRE(machine != std::string::npos);
  std::string other = text;
  other.replace(machine, 4, "Cuda");
  for (const std::string& damaged : {other, std::string(), text.substr(0, text.size() / 2), text + "forward: x\n",
                                     text + "forward\n", std::string(1000, '\0'), "another title\n" + text}) {
    CAPTURE(damaged);
    test::write_file(file, damaged);
    CHECK(run(file) == Run{{1, 1, 1}, 3});
    CHECK(run(file) == Run{{1, 1, 1}, 0});
  }
}

}  // namespace hp

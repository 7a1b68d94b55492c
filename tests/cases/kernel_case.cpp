#include "tests/cases/kernel_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/golden/formula.h"

namespace hp::cases {

namespace {

constexpr size_t sentinels = 64;
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

float sentinel(size_t index) { return 1000.5f + static_cast<float>(index); }

// The block of one target; arrays that are not per target are shared by all.
Array block_of(const Array& array, int targets, int target) {
  if (target < 0 || !array.per_target) return array;
  const size_t size = array.count() / static_cast<size_t>(targets);
  const auto cut = [&](auto& from) {
    using Vector = std::decay_t<decltype(from)>;
    return from.empty() ? Vector{} : Vector(from.begin() + target * size, from.begin() + (target + 1) * size);
  };
  return {cut(array.floats), cut(array.ints), array.is_int, true};
}

const void* bytes_of(const Array& array) {
  return array.is_int ? static_cast<const void*>(array.ints.data()) : array.floats.data();
}

Array download_array(Kernels& kernels, const void* device, const Array& like) {
  Array result = like;
  void* host = like.is_int ? static_cast<void*>(result.ints.data()) : result.floats.data();
  kernels.download(device, like.bytes(), host);
  return result;
}

Values all_doubles(const std::vector<Array>& arrays) {
  Values result;
  for (const Array& array : arrays) result.push_back(as_doubles(array));
  return result;
}

struct Run {
  std::vector<Array> outputs;
  std::vector<std::string> complaints;
};

Run run_once(Kernels& kernels, const KernelCase& kernel_case, int target = -1, std::optional<size_t> overlay = {}) {
  PreparedCase prepared(kernels, kernel_case, target, overlay);
  prepared.run();
  return {prepared.download(), prepared.intact()};
}

std::vector<std::string> check_reference(const KernelCase& kernel_case, const std::vector<Array>& got) {
  std::vector<std::string> wrong;
  Values want = all_doubles(kernel_case.outputs);
  kernel_case.reference(all_doubles(kernel_case.inputs), want);
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = relative_error(got[i], want[i]);
    if (error <= kernel_case.tolerance) continue;
    wrong.push_back(
        fmt::format("output {} differs from the reference by {:.3g}, allowed {:.3g}", i, error, kernel_case.tolerance));
  }
  return wrong;
}

std::vector<std::string> check_targets(Kernels& kernels, const KernelCase& kernel_case, const std::vector<Array>& got) {
  std::vector<std::string> wrong;
  for (int target = 0; kernel_case.targets > 1 && target < kernel_case.targets; ++target) {
    const Run single = run_once(kernels, kernel_case, target);
    for (size_t i = 0; i < got.size(); ++i) {
      const std::vector<double> want = as_doubles(block_of(got[i], kernel_case.targets, target));
      const double error = relative_error(single.outputs[i], want);
      if (error <= 1e-6) continue;
      wrong.push_back(fmt::format("output {} of target {} differs from a walk of its own by {:.3g}", i, target, error));
    }
  }
  return wrong;
}

// Central differences at up to 40 elements of inputs[by], for every target.
std::string check_derivative(const KernelCase& kernel_case, const Derivative& derivative, const Array& got) {
  constexpr double step = 1e-5;
  const auto targets = static_cast<size_t>(kernel_case.targets);
  Values inputs = all_doubles(kernel_case.inputs);
  const std::vector<double> message = inputs[derivative.message];
  const std::vector<double> gradient = as_doubles(got);
  std::vector<double>& x = inputs[derivative.by];
  const size_t samples = std::min<size_t>(x.size(), 40);
  Values above = {std::vector<double>(message.size() / targets)}, below = above;
  std::vector<double> estimated, computed;
  for (size_t sample = 0; sample < samples; ++sample) {
    const size_t i = golden::sample_index(sample, samples, x.size(), 11);
    const double value = x[i];
    x[i] = value + step;
    derivative.forward(inputs, above);
    x[i] = value - step;
    derivative.forward(inputs, below);
    x[i] = value;
    for (size_t target = 0; target < targets; ++target) {
      double slope = 0;
      for (size_t j = 0; j < above[0].size(); ++j) {
        slope += message[target * above[0].size() + j] * (above[0][j] - below[0][j]);
      }
      estimated.push_back(slope / (2 * step));
      computed.push_back(gradient[target * x.size() + i]);
    }
  }
  const double error = relative_error(computed, estimated);
  const double allowed = std::max(kernel_case.tolerance, 2e-6);
  if (error <= allowed) return "";
  return fmt::format("gradient by input {} differs from finite differences by {:.3g}, allowed {:.3g}", derivative.by,
                     error, allowed);
}

}  // namespace

Array uniform(int64_t count, double low, double high, uint32_t seed) {
  Array array;
  for (int64_t i = 0; i < count; ++i) {
    array.floats.push_back(static_cast<float>(low + (high - low) * golden::unit(i, seed)));
  }
  return array;
}

Array uniform_ints(int64_t count, int32_t low, int32_t high, uint32_t seed) {
  Array array{.is_int = true};
  for (int64_t i = 0; i < count; ++i) {
    array.ints.push_back(low + static_cast<int32_t>(golden::mix(i, seed) % static_cast<uint32_t>(high - low)));
  }
  return array;
}

Array values(std::vector<float> floats) { return {.floats = std::move(floats)}; }

Array relu_like(int64_t count, uint32_t seed) {
  Array array = uniform(count, -1, 1, seed);
  for (float& value : array.floats) value = std::max(value, 0.0f);
  return array;
}

Array per_target(Array array) {
  array.per_target = true;
  return array;
}

Array output(int64_t count) { return {.floats = std::vector<float>(static_cast<size_t>(count), nan)}; }

Array output_ints(int64_t count) {
  return {.ints = std::vector<int32_t>(static_cast<size_t>(count), -12345), .is_int = true};
}

std::vector<double> as_doubles(const Array& array) {
  if (array.is_int) return {array.ints.begin(), array.ints.end()};
  return {array.floats.begin(), array.floats.end()};
}

bool same_bits(const std::vector<Array>& a, const std::vector<Array>& b) {
  return std::ranges::equal(a, b, [](const Array& x, const Array& y) {
    return x.bytes() == y.bytes() && (x.bytes() == 0 || std::memcmp(bytes_of(x), bytes_of(y), x.bytes()) == 0);
  });
}

double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (got.size() != want.size()) return infinity;
  double difference = 0, scale = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (got[i] == want[i] && std::isinf(want[i])) continue;
    if (!std::isfinite(got[i]) || !std::isfinite(want[i])) return infinity;
    difference = std::max(difference, std::abs(got[i] - want[i]));
    scale = std::max(scale, std::abs(want[i]));
  }
  return difference / (scale > 0 ? scale : 1);
}

double relative_error(const Array& got, const std::vector<double>& want) {
  return relative_error(as_doubles(got), want);
}

void* PreparedCase::Buffer::data() const { return storage.data() + sentinels * sizeof(float); }

PreparedCase::Buffer PreparedCase::make_buffer(const Array& array) {
  std::vector<float> bits(array.count() + 2 * sentinels);
  for (size_t i = 0; i < sentinels; ++i) {
    bits[i] = sentinel(i);
    bits[sentinels + array.count() + i] = sentinel(i + sentinels);
  }
  if (array.count() > 0) std::memcpy(bits.data() + sentinels, bytes_of(array), array.bytes());
  Storage storage = kernels_.allocate(bits.size() * sizeof(float));
  kernels_.upload(bits.data(), bits.size() * sizeof(float), storage.data());
  return {std::move(storage), array};
}

PreparedCase::PreparedCase(Kernels& kernels, const KernelCase& kernel_case, int target, std::optional<size_t> overlay)
    : kernels_(kernels),
      case_(kernel_case),
      targets_(target < 0 ? kernel_case.targets : 1),
      overlay_(std::move(overlay)) {
  for (const Array& array : case_.inputs) inputs_.push_back(make_buffer(block_of(array, case_.targets, target)));
  for (const Array& array : case_.outputs) outputs_.push_back(make_buffer(block_of(array, case_.targets, target)));
}

void PreparedCase::run() {
  std::vector<void*> inputs, outputs;
  for (const Buffer& buffer : inputs_) inputs.push_back(buffer.data());
  for (const Buffer& buffer : outputs_) outputs.push_back(buffer.data());
  if (overlay_) outputs[0] = inputs[*overlay_];
  case_.call(kernels_, Arguments(inputs, outputs, targets_));
}

std::vector<Array> PreparedCase::download() {
  std::vector<Array> results;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const void* from = i == 0 && overlay_ ? inputs_[*overlay_].data() : outputs_[i].data();
    results.push_back(download_array(kernels_, from, outputs_[i].initial));
  }
  return results;
}

std::vector<std::string> PreparedCase::intact() const {
  std::vector<std::string> wrong;
  const auto check_sentinels = [&](const Buffer& buffer, const std::string& what) {
    std::vector<float> bits(buffer.initial.count() + 2 * sentinels);
    kernels_.download(buffer.storage.data(), bits.size() * sizeof(float), bits.data());
    for (size_t i = 0; i < 2 * sentinels; ++i) {
      const size_t position = i < sentinels ? i : buffer.initial.count() + i;
      if (bits[position] == sentinel(i)) continue;
      wrong.push_back(fmt::format("the kernel wrote {} {}", i < sentinels ? "before" : "behind", what));
      return;
    }
  };
  for (size_t i = 0; i < outputs_.size(); ++i) check_sentinels(outputs_[i], fmt::format("output {}", i));
  for (size_t i = 0; i < inputs_.size(); ++i) {
    check_sentinels(inputs_[i], fmt::format("input {}", i));
    if (overlay_ && *overlay_ == i) continue;
    if (same_bits({download_array(kernels_, inputs_[i].data(), inputs_[i].initial)}, {inputs_[i].initial})) continue;
    wrong.push_back(fmt::format("the kernel changed input {}", i));
  }
  return wrong;
}

std::vector<std::string> check(Kernels& kernels, const KernelCase& kernel_case) {
  Run first = run_once(kernels, kernel_case);
  std::vector<std::string> wrong = std::move(first.complaints);
  const auto add = [&](const std::vector<std::string>& more) { wrong.insert(wrong.end(), more.begin(), more.end()); };

  add(check_reference(kernel_case, first.outputs));
  const Run second = run_once(kernels, kernel_case);
  if (!same_bits(first.outputs, second.outputs)) wrong.push_back("a second run gives other bits");
  if (kernel_case.in_place) {
    const Run overlaid = run_once(kernels, kernel_case, -1, kernel_case.in_place);
    add(overlaid.complaints);
    if (!same_bits({first.outputs[0]}, {overlaid.outputs[0]})) wrong.push_back("in-place use gives other bits");
  }
  add(check_targets(kernels, kernel_case, first.outputs));
  for (const Derivative& derivative : kernel_case.derivatives) {
    const std::string complaint = check_derivative(kernel_case, derivative, first.outputs[derivative.output]);
    if (!complaint.empty()) wrong.push_back(complaint);
  }
  return wrong;
}

double bytes_moved(const KernelCase& kernel_case) {
  double bytes = 0;
  for (const Array& array : kernel_case.inputs) bytes += static_cast<double>(array.bytes());
  for (const Array& array : kernel_case.outputs) bytes += static_cast<double>(array.bytes());
  return bytes;
}

}  // namespace hp::cases

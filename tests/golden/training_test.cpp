// Training against PyTorch in double precision (README.md, "Training").
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/graph_training.h"
#include "probes/optimizer.h"
#include "probes/schedule.h"
#include "runtime/safetensors.h"
#include "tests/golden/formula.h"
#include "tests/golden/reference_network.h"
#include "tests/places.h"

using namespace hp;
using namespace hp::golden;

namespace {

SafetensorsFile golden_file(const std::string& name) {
  return SafetensorsFile(test::source_folder() / "tests/golden" / (name + ".safetensors"));
}

std::vector<float> values_of(const SafetensorsFile& file, const std::string& name) {
  const SafetensorsEntry* entry = file.find(name);
  REQUIRE_MESSAGE(entry != nullptr, "no tensor " << name);
  const Tensor tensor = to_tensor(*entry);
  return {tensor.floats(), tensor.floats() + tensor.count()};
}

double l2(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

double l2_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < b.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum);
}

struct OptimiserCase {
  std::string name;
  OptimizerSettings settings;
  double rate = 0.1;
};

std::vector<OptimiserCase> optimiser_cases() {
  OptimizerSettings plain, momentum;
  momentum.weight_decay = 0.01;
  OptimizerSettings nesterov = momentum, adam = momentum, adamw = momentum, clipped, groups;
  plain.momentum = 0;
  nesterov.nesterov = true;
  adam.kind = OptimizerKind::adam;
  adamw.kind = OptimizerKind::adamw;
  clipped.clip_norm = 2;
  groups.weight_decay = 0.02;
  groups.groups = {{"weight", 10, 1}, {"*", 1, 0}};
  return {{"sgd", plain},         {"momentum", momentum}, {"nesterov", nesterov}, {"adam", adam, 0.01},
          {"adamw", adamw, 0.01}, {"clipped", clipped},   {"groups", groups}};
}

}  // namespace

TEST_CASE("golden: optimisers follow torch's for a hundred steps") {
  const SafetensorsFile file = golden_file("optimisers");
  constexpr size_t elements = 64;
  CpuKernels kernels;
  for (const OptimiserCase& optimiser : optimiser_cases()) {
    CAPTURE(optimiser.name);
    Weight weight(Tensor::host({elements}, signed_tensor("optimiser/weight", elements)));
    Weight bias(Tensor::host({elements}, signed_tensor("optimiser/bias", elements)));
    Optimizer steps(optimiser.settings, {{"weight", &weight}, {"bias", &bias}}, kernels);
    double worst = 0;
    for (int step = 0; step < 100; ++step) {
      const Tensor gradients[] = {
          Tensor::host({elements}, signed_tensor(fmt::format("optimiser/weight/{}", step), elements)),
          Tensor::host({elements}, signed_tensor(fmt::format("optimiser/bias/{}", step), elements))};
      steps.step(optimiser.rate, gradients);
      if ((step + 1) % 10 != 0) continue;
      const std::vector<float> want = values_of(file, fmt::format("{}/{}", optimiser.name, step + 1));
      std::vector<float> got(weight.tensor().floats(), weight.tensor().floats() + elements);
      got.insert(got.end(), bias.tensor().floats(), bias.tensor().floats() + elements);
      worst = std::max(worst, l2_distance(got, want) / l2(want));
    }
    MESSAGE(optimiser.name << ": largest relative error " << worst);
    CHECK(worst <= 1e-6);
  }
}

TEST_CASE("golden: schedules follow torch's for a hundred steps") {
  const SafetensorsFile file = golden_file("optimisers");
  for (const char* kind : {"constant", "multi_step", "step", "cosine"}) {
    for (const int64_t warmup : {0, 2}) {
      Schedule schedule;
      schedule.decay = decay_kind(kind);
      if (schedule.decay == Schedule::Decay::cosine && warmup > 0) continue;
      schedule.milestones = {12, 16};
      schedule.step_epochs = 6;
      schedule.epochs = 20;
      schedule.warmup_epochs = warmup;
      const std::vector<float> want = values_of(file, fmt::format("schedule/{}/{}", kind, warmup));
      std::vector<float> got;
      for (int64_t step = 0; step < 100; ++step) {
        got.push_back(static_cast<float>(schedule.factor({step / 5, step % 5, 5})));
      }
      CAPTURE(kind);
      CAPTURE(warmup);
      for (size_t i = 0; i < want.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-6).scale(1e-3));
    }
  }
}

namespace {

// The state of a step, by README.md's formula; `name` as the reference calls the tensor.
Tensor moved(const Tensor& base, const std::string& name, int step) {
  const auto size = static_cast<size_t>(base.count());
  const std::vector<float> u = signed_tensor(fmt::format("step{}/{}", step, name), size);
  const bool vector = base.shape().rank() == 1;
  const double root_mean_square = l2({base.floats(), size}) / std::sqrt(static_cast<double>(size));
  const double scale = vector ? 0.02 : static_cast<double>(static_cast<float>(0.02 * root_mean_square));
  Tensor result = Tensor::host(base.shape());
  for (size_t i = 0; i < size; ++i) {
    const double value = base.floats()[i], by = scale * u[i];
    result.floats()[i] = static_cast<float>(vector ? value * (1 + by) : value + by);
  }
  return result;
}

class TrainingCheck {
 public:
  explicit TrainingCheck(ReferenceNetwork network)
      : network_(std::move(network)), file_(golden_file(network_.name + "_training")) {
    const nlohmann::json header = nlohmann::json::parse(file_.metadata().at("golden"));
    names_ = header.at("names").get<std::vector<std::string>>();
    states_ = header.at("states").get<std::vector<int>>();
    samples_ = header.at("samples");
    const int64_t batch = header.at("batch"), side = header.at("side");
    images_ = {batch, side, side, 3};
    network_.backbone = build_backbone(network_.backbone.architecture, {batch, side, side});
    graph_ = network_.backbone.graph;
    graph_.alias("logits", network_.append_classifier(graph_, {network_.backbone.features()}));
  }

  void check_steps() {
    const std::vector<float> stored = values_of(file_, "samples"), norms = values_of(file_, "l2"),
                             errors = values_of(file_, "error");
    const size_t count = names_.size();
    double worst[3] = {}, share[3] = {};
    REQUIRE(norms.size() == count * states_.size());
    for (size_t row = 0; row < states_.size(); ++row) {
      const int step = states_[row];
      const std::map<std::string, Tensor> got = run_step(step);
      // A ReLU that rounding flips moves every gradient below it: the largest error of the step's gradients counts.
      double step_error = 0;
      const size_t first = row * count;
      for (size_t i = 0; i < count; ++i) {
        if (kind_of(names_[i]) == 1) step_error = std::max<double>(step_error, errors[first + i]);
      }
      for (size_t i = 0; i < count; ++i) {
        const int kind = kind_of(names_[i]);
        const Tensor& tensor = got.at(names_[i]);
        const auto size = static_cast<size_t>(tensor.count()), taken = std::min<size_t>(samples_, size);
        std::vector<float> values;
        for (size_t k = 0; k < taken; ++k)
          values.push_back(tensor.floats()[sample_index(k, taken, size, fnv1a(names_[i]))]);
        const std::span<const float> want(stored.data() + (first + i) * samples_, taken);
        // The sample's distance relative to the share of the norm that it has on average.
        const double part = norms[first + i] * std::sqrt(static_cast<double>(taken) / static_cast<double>(size));
        const double norm = std::abs(l2({tensor.floats(), size}) - norms[first + i]) / norms[first + i];
        const double error = std::max(norm, l2_distance(values, want) / part);
        const double tolerance = std::max(1e-4, 3 * (kind == 1 ? step_error : errors[first + i]));
        worst[kind] = std::max(worst[kind], error);
        share[kind] = std::max(share[kind], error / tolerance);
        CHECK_MESSAGE(error <= tolerance, fmt::format("{} step {} {}: relative error {:.2e}, tolerance {:.2e}",
                                                      network_.name, step, names_[i], error, tolerance));
      }
    }
    MESSAGE(
        fmt::format("{}: largest relative error (share of the tolerance): loss {:.1e} ({:.2f}), gradients {:.1e} "
                    "({:.2f}), running statistics {:.1e} ({:.2f})",
                    network_.name, worst[0], share[0], worst[1], share[1], worst[2], share[2]));
  }

  void check_free_run() {
    OptimizerSettings settings;
    settings.nesterov = true;
    settings.weight_decay = 1e-4;
    GraphTraining training({graph_, LossKind::ce}, state(0), settings, kernels_);
    const std::vector<float> want = values_of(file_, "free");
    double worst = 0;
    for (size_t step = 0; step < want.size(); ++step) {
      training.reset_loss_sum();
      accumulate(training, static_cast<int>(step % 2), LossKind::ce);
      training.update(0.01);
      const double loss = training.loss_sum() / static_cast<double>(images_[0]);
      worst = std::max(worst, std::abs(loss - want[step]) / want[step]);
    }
    MESSAGE(network_.name << ": ten free steps, largest relative difference of the loss " << worst);
    CHECK(worst <= 1e-2);
  }

 private:
  static int kind_of(const std::string& name) {
    return name == "loss" ? 0 : name.find("running_") == std::string::npos ? 1 : 2;
  }

  // "linear.weight" is "head.weight" here.
  std::string own_name(const std::string& name) const {
    return name.starts_with(network_.classifier + ".") ? network_.weights + name.substr(network_.classifier.size())
                                                       : name;
  }
  std::string reference_name(const std::string& name) const {
    return name.starts_with(network_.weights + ".") ? network_.classifier + name.substr(network_.weights.size()) : name;
  }

  Parameters state(int step) const {
    Parameters state;
    for (const Node& node : graph_.nodes()) {
      if (node.kind != OpKind::parameter) continue;
      const Tensor& base = network_.parameters.at(node.name);
      const bool input = node.name.starts_with("model_input.");
      const Tensor values = input ? base : moved(base, reference_name(node.name), step);
      state.set(node.name, values.reshaped(node.shape));
    }
    return state;
  }

  void accumulate(GraphTraining& training, int step, LossKind loss) {
    const auto batch = static_cast<size_t>(images_[0]), classes = static_cast<size_t>(network_.classes);
    const std::string name = fmt::format("step{}/", step);
    Labels labels(network_.classes, false);
    std::vector<int64_t> samples;
    for (size_t i = 0; i < batch; ++i) {
      const int label = static_cast<int>(mix(i, fnv1a(name + "labels")) % static_cast<uint32_t>(classes));
      labels.add({&label, 1});
      samples.push_back(static_cast<int64_t>(i));
    }
    const Tensor targets = Tensor::host({images_[0], network_.classes});
    write_targets(loss, labels, samples, {targets.floats(), batch * classes});
    training.accumulate(Tensor::host(images_, image_tensor(name + "image", static_cast<size_t>(images_.count()))),
                        targets);
  }

  std::map<std::string, Tensor> run_step(int step) {
    const LossKind losses[] = {LossKind::ce, LossKind::bce, LossKind::uo_bce};
    GraphTraining training({graph_, losses[step % 3]}, state(step), {}, kernels_);
    accumulate(training, step, losses[step % 3]);
    std::map<std::string, Tensor> found;
    found["loss"] = Tensor::host({1}, std::vector<float>{training.loss_sum() / static_cast<float>(images_[0])});
    for (size_t i = 0; i < training.trained().size(); ++i) {
      found[reference_name(training.trained()[i])] = training.gradients()[i];
    }
    Parameters after;
    training.store(after);
    for (const std::string& name : names_) {
      if (kind_of(name) == 2) found[name] = after.at(own_name(name));
    }
    return found;
  }

  ReferenceNetwork network_;
  SafetensorsFile file_;
  CpuKernels kernels_;
  Graph graph_;
  Shape images_;
  std::vector<std::string> names_;
  std::vector<int> states_;
  size_t samples_ = 0;
};

void check_training(const std::string& name) {
  std::optional<ReferenceNetwork> network = reference_network(name);
  if (!network) return;  // it has said so
  TrainingCheck check(std::move(*network));
  check.check_steps();
  check.check_free_run();
}

}  // namespace

TEST_CASE("golden: training steps of resnet20") { check_training("resnet20"); }
TEST_CASE("golden: training steps of resnet18") { check_training("resnet18"); }

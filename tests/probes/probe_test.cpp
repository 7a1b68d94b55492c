#include "probes/probe.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/evaluation.h"
#include "probes/graph_training.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tests/probes/toy.h"

using namespace hp;
using namespace hp::test;

namespace {

GraphTraining training_of(const Probe& probe, const Shape& features, Kernels& kernels) {
  Trainee trainee{{}, probe.spec().loss};
  probe.build(trainee.graph, trainee.graph.input("features", features));
  return GraphTraining(std::move(trainee), probe.parameters, {}, kernels);
}

// The loss of a linear head, restated in double precision.
struct Restated {
  Tensor maps;
  const Labels& labels;
  ProbeSpec spec;

  double operator()(const std::vector<double>& weight, const std::vector<double>& bias) const {
    const Shape& shape = maps.shape();
    const int64_t pixels = shape[1] * shape[2], channels = shape[3], classes = labels.classes();
    double total = 0;
    for (int64_t b = 0; b < shape[0]; ++b) {
      std::vector<double> z(static_cast<size_t>(classes), spec.logit_constant);
      for (int64_t k = 0; k < classes; ++k) {
        double& logit = z[static_cast<size_t>(k)];
        for (int64_t p = 0; p < pixels; ++p) {
          double at_pixel = bias.empty() ? 0 : bias[static_cast<size_t>(k)];
          for (int64_t c = 0; c < channels; ++c) {
            at_pixel += weight[static_cast<size_t>(k * channels + c)] *
                        static_cast<double>(maps.floats()[(b * pixels + p) * channels + c]);
          }
          logit += at_pixel / static_cast<double>(pixels);
        }
      }
      total += of_sample(z, labels.label(b));
    }
    return total / static_cast<double>(shape[0]);
  }

  double of_sample(const std::vector<double>& z, int label) const {
    const auto classes = static_cast<double>(z.size());
    double sum = 0;
    if (spec.loss == LossKind::ce) {
      for (const double other : z) sum += std::exp(other);
      return std::log(sum) - z[static_cast<size_t>(label)];
    }
    for (size_t k = 0; k < z.size(); ++k) {
      const double off = spec.loss == LossKind::uo_bce ? 1 / classes : 0;
      sum += std::log1p(std::exp(z[k])) - z[k] * (static_cast<int>(k) == label ? 1 : off);
    }
    return sum / classes;
  }
};

std::vector<double> doubles(const Tensor& tensor) { return {tensor.floats(), tensor.floats() + tensor.count()}; }

// Central difference of `loss` in element `i` of `values`, which is one of the arguments it captures.
template <class Loss>
double difference(std::vector<double>& values, size_t i, const Loss& loss) {
  constexpr double step = 1e-5;
  const double at = values[i];
  values[i] = at + step;
  const double above = loss();
  values[i] = at - step;
  const double below = loss();
  values[i] = at;
  return (above - below) / (2 * step);
}

void check_gradient(LossKind loss, bool bias) {
  CAPTURE(name_of(loss));
  CAPTURE(bias);
  constexpr int64_t batch = 6, classes = 4, channels = 5;
  const Labels labels = cyclic_labels(batch, classes);
  const Tensor maps = random_maps({batch, 3, 2, channels}, 11);
  const ProbeSpec spec{"p", HeadKind::linear, loss, bias, off_logit(classes), 0};
  Probe probe = Probe::fresh(spec, channels, class_names(classes), 3);
  std::vector<double> weight = doubles(probe.parameters.at("head.weight")), offsets;
  if (bias) offsets = doubles(probe.parameters.at("head.bias"));
  const Restated restated{maps, labels, spec};
  const auto value = [&] { return restated(weight, offsets); };

  CpuKernels kernels;
  GraphTraining training = training_of(probe, maps.shape(), kernels);
  const Tensor targets = Tensor::host({batch, classes});
  const std::vector<int64_t> samples{0, 1, 2, 3, 4, 5};
  write_targets(loss, labels, samples, {targets.floats(), static_cast<size_t>(targets.count())});
  training.accumulate(maps, targets);
  training.update(1);  // one step subtracts the gradient
  training.store(probe.parameters);
  CHECK(training.loss_sum() == doctest::Approx(batch * value()).epsilon(1e-6));
  const Tensor moved = probe.parameters.at("head.weight");
  for (size_t i = 0; i < weight.size(); ++i) {
    CHECK(weight[i] - static_cast<double>(moved.floats()[i]) ==
          doctest::Approx(difference(weight, i, value)).epsilon(1e-5).scale(0.05));
  }
  for (size_t i = 0; i < offsets.size(); ++i) {
    CHECK(offsets[i] - static_cast<double>(probe.parameters.at("head.bias").floats()[i]) ==
          doctest::Approx(difference(offsets, i, value)).epsilon(1e-5).scale(0.05));
  }
}

}  // namespace

TEST_CASE("a head's parameter gradients equal finite differences of the loss") {
  for (const LossKind loss : {LossKind::ce, LossKind::bce, LossKind::uo_bce}) {
    check_gradient(loss, true);
    check_gradient(loss, false);
  }
}

TEST_CASE("gradients of the parts of a step add up") {
  const Tensor maps = random_maps({4, 2, 2, 3}, 1), targets = Tensor::host({4, 2});
  write_targets(LossKind::ce, cyclic_labels(4, 2), std::vector<int64_t>{0, 1, 2, 3},
                {targets.floats(), static_cast<size_t>(targets.count())});
  CpuKernels kernels;
  const ProbeSpec spec{"p", HeadKind::linear, LossKind::ce, true, 0, 0};
  Probe whole = Probe::fresh(spec, 3, class_names(2), 1), parts = Probe::fresh(spec, 3, class_names(2), 1);
  GraphTraining one = training_of(whole, maps.shape(), kernels), two = training_of(parts, maps.shape(), kernels);
  for (int round = 0; round < 2; ++round) {  // the second round starts from zero again
    one.accumulate(maps, targets);
    one.update(0.5);
    two.accumulate(maps.rows(0, 2), targets.rows(0, 2), 0.5F);  // the parts' losses are means over half the samples
    two.accumulate(maps.rows(2, 4), targets.rows(2, 4), 0.5F);
    two.update(0.5);
  }
  one.store(whole.parameters);
  two.store(parts.parameters);
  for (int64_t i = 0; i < 6; ++i) {
    CHECK(parts.parameters.at("head.weight").floats()[i] ==
          doctest::Approx(whole.parameters.at("head.weight").floats()[i]).epsilon(1e-6));
  }
}

TEST_CASE("a new probe is uniform within 1/sqrt(channels), by seed and name alone") {
  const ProbeSpec ce{"a", HeadKind::linear, LossKind::ce, true, 0, 0};
  const ProbeSpec bce{"b", HeadKind::linear, LossKind::bce, true, 0, 0};
  const Probe a = Probe::fresh(ce, 400, class_names(50), 7), b = Probe::fresh(bce, 400, class_names(50), 7);
  const Probe c = Probe::fresh(ce, 400, class_names(50), 8);
  const std::vector<float> weight = values_of(a.parameters.at("head.weight"));
  CHECK(weight == values_of(b.parameters.at("head.weight")));
  CHECK(weight != values_of(c.parameters.at("head.weight")));
  double sum = 0, squares = 0;
  for (const float value : weight) {
    CHECK_UNARY(std::abs(value) <= 0.05F);
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  const auto count = static_cast<double>(weight.size());
  CHECK(sum / count == doctest::Approx(0).scale(1).epsilon(0.001));
  CHECK(squares / count == doctest::Approx(0.05 * 0.05 / 3).epsilon(0.03));  // variance of a uniform distribution
  CHECK(a.parameters.at("head.bias").shape() == Shape{50});
  CHECK_FALSE(Probe::fresh({"x", HeadKind::linear, LossKind::ce, false, 0, 0}, 4, class_names(3), 1)
                  .parameters.contains("head.bias"));
}

TEST_CASE("logits from pooled features equal those from maps") {
  CpuKernels kernels;
  const Tensor maps = random_maps({5, 7, 7, 64}, 2);
  Tensor pooled = Tensor::host({5, 1, 1, 64});
  for (int64_t b = 0; b < 5; ++b) {
    for (int64_t c = 0; c < 64; ++c) {
      double sum = 0;
      for (int64_t p = 0; p < 49; ++p) sum += maps.floats()[(b * 49 + p) * 64 + c];
      pooled.floats()[b * 64 + c] = static_cast<float>(sum / 49);
    }
  }
  const Probe probe = Probe::fresh({"p", HeadKind::linear, LossKind::ce, true, -2, 0}, 64, class_names(10), 5);
  const std::vector<float> from_maps = predict(probe, FeatureTensor(maps), 5, kernels)->logits;
  const std::vector<float> from_pooled = predict(probe, FeatureTensor(pooled), 2, kernels)->logits;
  REQUIRE(from_maps.size() == 50);
  for (size_t i = 0; i < from_maps.size(); ++i)
    CHECK(from_maps[i] == doctest::Approx(from_pooled[i]).epsilon(1e-6).scale(1));
}

TEST_CASE("a head's graph has the protocol's order and named nodes") {
  CpuKernels kernels;
  const Probe plain = Probe::fresh({"p", HeadKind::linear, LossKind::ce, true, 0, 0}, 8, class_names(3), 1);
  const Head head = plain.head({2, 4, 5, 8}, true, kernels);
  CHECK(head.graph.node(head.graph.find("head")).shape == Shape{2, 4, 5, 3});
  CHECK(head.graph.node(head.graph.find("head.pool")).inputs == std::vector<int>{head.graph.find("head")});
  CHECK(head.graph.node(head.logits()).shape == Shape{2, 3});
  CHECK(head.graph.node(head.features()).is_nonnegative);
  CHECK(head.graph.node(head.logits()).kind == OpKind::reshape);
  const Probe shifted = Probe::fresh({"p", HeadKind::linear, LossKind::ce, true, 1, 0}, 8, class_names(3), 1);
  CHECK(shifted.head({2, 4, 5, 8}, false, kernels).graph.contains("head.flat"));
  CHECK_THROWS_WITH_AS(plain.head({2, 4, 5, 9}, true, kernels), doctest::Contains("features do not fit"), Error);
}

TEST_CASE("a probe's file gives the same probe back") {
  const TemporaryFolder folder;
  ProbeSpec spec{"linear-uobce", HeadKind::linear, LossKind::uo_bce, true, off_logit(1000), 0};
  Probe probe = Probe::fresh(spec, 6, {"cat", "d\"og", "sch\xC3\xB6n"}, 4);
  probe.provenance["epochs"] = "12";
  probe.save(folder / "probe.safetensors");
  const Probe back = Probe::load(folder / "probe.safetensors");
  CHECK(back.spec().name == "linear-uobce");
  CHECK(back.spec().loss == LossKind::uo_bce);
  CHECK(back.spec().logit_constant == spec.logit_constant);
  CHECK(back.spec().bias);
  CHECK(back.classes() == probe.classes());
  CHECK(back.channels() == 6);
  CHECK(back.provenance == probe.provenance);
  CHECK(values_of(back.parameters.at("head.weight")) == values_of(probe.parameters.at("head.weight")));
  CHECK(values_of(back.parameters.at("head.bias")) == values_of(probe.parameters.at("head.bias")));
}

TEST_CASE("files that are no probe are refused") {
  const TemporaryFolder folder;
  const auto path = folder / "x.safetensors";
  const auto write = [&](const std::map<std::string, std::string>& metadata, const Shape& shape) {
    Parameters file;
    const Tensor weight = Tensor::host(shape);
    std::fill_n(weight.floats(), weight.count(), 0.5F);
    file.set("head.weight", weight);
    file.metadata = metadata;
    save_safetensors(path, file);
  };
  std::map<std::string, std::string> good{{"kind", "hp probe"}, {"name", "p"},           {"head", "linear"},
                                          {"loss", "ce"},       {"logit_constant", "0"}, {"classes", "[\"a\",\"b\"]"}};
  write(good, {2, 3, 1, 1});
  CHECK_NOTHROW(Probe::load(path));
  write({}, {2, 3, 1, 1});
  CHECK_THROWS_WITH_AS(Probe::load(path), doctest::Contains("is no probe"), Error);
  write(good, {3, 3, 1, 1});
  CHECK_THROWS_WITH_AS(Probe::load(path), doctest::Contains("head.weight does not fit"), Error);
  write(good, {2, 3});
  CHECK_THROWS_AS(Probe::load(path), Error);
  for (const auto& [key, value] : std::map<std::string, std::string>{{"loss", "mse"},
                                                                     {"head", "tail"},
                                                                     {"classes", "{"},
                                                                     {"classes", "[1]"},
                                                                     {"logit_constant", "1x"},
                                                                     {"logit_constant", "nan"},
                                                                     {"kind", "backbone"}}) {
    CAPTURE(key);
    auto bad = good;
    bad[key] = value;
    write(bad, {2, 3, 1, 1});
    CHECK_THROWS_AS(Probe::load(path), Error);
  }
}

TEST_CASE("a B-cos classifier of a checkpoint becomes a frozen B-cos probe with the file's logit constant") {
  Parameters backbone;
  const std::vector<float> weight{3, 0, 4, 0, 5, 0};
  backbone.set("head.linear.weight", Tensor::host({2, 3}, weight));
  backbone.metadata["logit_constant"] = "-0.5";
  const ProbeSpec spec{"own", HeadKind::converted, LossKind::bce, true, 0, 0};
  const Probe probe = Probe::converted(spec, backbone, 3, class_names(2));
  CHECK(probe.spec().head == HeadKind::bcos_linear);
  CHECK_FALSE(probe.trainable());
  CHECK_FALSE(probe.reads_pooled());
  CpuKernels kernels;
  const std::vector<float> x{3, 0, 4};
  const std::vector<float> logits = predict(probe, FeatureTensor(Tensor::host({1, 1, 1, 3}, x)), 1, kernels)->logits;
  CHECK(logits[0] == doctest::Approx(4.5));  // |cos| = 1, u = 5
  CHECK(logits[1] == doctest::Approx(-0.5));
  const hp::test::TemporaryFolder folder;
  probe.save(folder / "p.safetensors");
  CHECK_FALSE(Probe::load(folder / "p.safetensors").trainable());
}

TEST_CASE("a zero-shot head compares directions and scales") {
  const std::vector<float> rows{10, 0, 0, 6, 8, 0};  // unit vectors times a logit scale of 10
  Parameters parameters;
  parameters.set("head.weight", Tensor::host({2, 3, 1, 1}, rows));
  ProbeSpec spec{"zs", HeadKind::zero_shot, LossKind::ce, false, 0, 0};
  const Probe probe = Probe::given(spec, 3, {"cat", "dog"}, parameters);
  CpuKernels kernels;
  const std::vector<float> x{0, 7, 0};
  CHECK(predict(probe, FeatureTensor(Tensor::host({1, 1, 1, 3}, x)), 1, kernels)->logits == std::vector<float>{0, 8});
  const Probe turned = probe.for_classes({"dog", "cat"});
  CHECK(turned.classes() == std::vector<std::string>{"dog", "cat"});
  CHECK(predict(turned, FeatureTensor(Tensor::host({1, 1, 1, 3}, x)), 1, kernels)->logits == std::vector<float>{8, 0});
  CHECK_THROWS_WITH_AS(probe.for_classes({"dog", "cow"}), doctest::Contains("lacks class 'cow'"), Error);
  CHECK_THROWS_WITH_AS(probe.for_classes({"dog"}), doctest::Contains("has 2 classes; the data has 1"), Error);
  CHECK_THROWS_WITH_AS(Probe::fresh(spec, 3, class_names(2), 1), doctest::Contains("zero-shot head has its weights"),
                       Error);
  CHECK_THROWS_WITH_AS(Probe::given(spec, 4, {"cat", "dog"}, parameters), doctest::Contains("head.weight does not fit"),
                       Error);
}

TEST_CASE("the classifier of a checkpoint becomes a probe") {
  Parameters backbone;
  const std::vector<float> weight{1, 2, 3, 4, 5, 6}, bias{7, 8};
  backbone.set("head.weight", Tensor::host({2, 3}, weight));
  backbone.set("head.bias", Tensor::host({2}, bias));
  const ProbeSpec spec{"own", HeadKind::converted, LossKind::ce, true, 0, 0};
  const Probe probe = Probe::converted(spec, backbone, 3, class_names(2));
  CHECK_FALSE(probe.trainable());
  CHECK(probe.parameters.at("head.weight").shape() == Shape{2, 3, 1, 1});
  CHECK(values_of(probe.parameters.at("head.weight")) == weight);
  CpuKernels kernels;
  const std::vector<float> ones{1, 1, 1};
  CHECK(predict(probe, FeatureTensor(Tensor::host({1, 1, 1, 3}, ones)), 1, kernels)->logits ==
        std::vector<float>{13, 23});
  CHECK_THROWS_WITH_AS(Probe::converted(spec, backbone, 3, class_names(3)), doctest::Contains("does not fit"), Error);
  CHECK_THROWS_WITH_AS(Probe::converted(spec, Parameters(), 3, class_names(2)), doctest::Contains("no classifier"),
                       Error);
  CHECK_THROWS_AS(Probe::fresh(spec, 3, class_names(2), 1), Error);
}

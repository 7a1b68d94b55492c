// MLP and B-cos heads: their parameters, files, training, and what they refuse.
#include "probes/heads.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/evaluation.h"
#include "probes/trainer.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tests/probes/toy.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr int64_t classes = 5, channels = classes + 2;

ProbeSpec spec_of(HeadKind head, int layers, LossKind loss = LossKind::bce) {
  ProbeSpec spec{.name = std::string(name_of(head)), .head = head, .loss = loss, .layers = layers};
  spec.logit_constant = protocol_logit_constant(spec, classes, false);
  return spec;
}

Probe fresh(const ProbeSpec& spec) { return Probe::fresh(spec, channels, class_names(classes), 3); }

std::vector<std::string> names_of(const Probe& probe) {
  std::vector<std::string> names = probe.parameters.names();
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> names_of(HeadKind head, int layers) { return names_of(fresh(spec_of(head, layers))); }

}  // namespace

TEST_CASE("heads have the parameters of the protocol") {
  using Names = std::vector<std::string>;
  CHECK(names_of(HeadKind::linear, 1) == Names{"head.bias", "head.weight"});
  CHECK(names_of(HeadKind::bcos_linear, 1) == Names{"head.fc0.linear.weight"});
  CHECK(names_of(HeadKind::mlp, 2) == Names{"head.bn0.bias", "head.bn0.running_mean", "head.bn0.running_var",
                                            "head.bn0.weight", "head.fc0.bias", "head.fc0.weight", "head.fc1.bias",
                                            "head.fc1.weight"});
  CHECK(names_of(HeadKind::bcos_mlp, 3) == Names{"head.bn0.running_var", "head.bn0.weight", "head.bn1.running_var",
                                                 "head.bn1.weight", "head.fc0.linear.weight", "head.fc1.linear.weight",
                                                 "head.fc2.linear.weight"});
  ProbeSpec wide = spec_of(HeadKind::mlp, 0);
  CHECK(fresh(wide).spec().layers == 3);
  CHECK(fresh(wide).parameters.at("head.fc1.weight").shape() == Shape{channels, channels, 1, 1});
  wide.hidden = 11;
  const Probe probe = fresh(wide);
  CHECK(probe.parameters.at("head.fc1.weight").shape() == Shape{11, 11, 1, 1});
  const float bound = 1 / std::sqrt(11.0F);
  for (const float value : values_of(probe.parameters.at("head.fc2.weight"))) CHECK(std::abs(value) <= bound);
  for (const float value : values_of(probe.parameters.at("head.bn1.weight"))) CHECK(value == 1);
  CHECK_FALSE(probe.reads_pooled());
}

TEST_CASE("heads of one, two and three layers have the paper's width, or the features' own where nothing is said") {
  CpuKernels kernels;
  for (const HeadKind kind : {HeadKind::mlp, HeadKind::bcos_mlp}) {
    for (const int layers : {2, 3}) {
      for (const int64_t hidden : {0, 11}) {
        CAPTURE(name_of(kind));
        CAPTURE(layers);
        CAPTURE(hidden);
        ProbeSpec spec = spec_of(kind, layers);
        spec.hidden = hidden;
        const Probe probe = fresh(spec);
        CHECK(probe.spec().hidden == (hidden == 0 ? channels : hidden));
        const std::string part = is_bcos(kind) ? ".linear.weight" : ".weight";
        const int64_t width = probe.spec().hidden;
        for (int layer = 0; layer < layers; ++layer) {
          const Shape want{layer + 1 == layers ? classes : width, layer == 0 ? channels : width, 1, 1};
          CHECK(probe.parameters.at(fmt::format("head.fc{}{}", layer, part)).shape() == want);
        }
        const Head head = probe.head({2, 3, 3, channels}, true, kernels);
        CHECK(head.graph.node(head.logits()).shape == Shape{2, classes});
      }
    }
  }
  // One layer is the linear kind.
  CHECK(fresh(spec_of(HeadKind::linear, 1)).spec().layers == 1);
  CHECK(fresh(spec_of(HeadKind::bcos_linear, 1)).spec().layers == 1);
  CHECK_THROWS_WITH_AS(fresh(spec_of(HeadKind::mlp, 1)), doctest::Contains("layers do not fit head mlp; got 1"), Error);
}

TEST_CASE("logit constants are those of the protocol") {
  const float off = off_logit(classes);
  const auto constant = [](HeadKind head, LossKind loss, bool bias, bool multi_label) {
    ProbeSpec spec{.name = "p", .head = head, .loss = loss, .bias = bias};
    return protocol_logit_constant(spec, classes, multi_label);
  };
  CHECK(constant(HeadKind::linear, LossKind::uo_bce, false, false) == 0);
  CHECK(constant(HeadKind::mlp, LossKind::ce, false, false) == 0);
  CHECK(constant(HeadKind::mlp, LossKind::uo_bce, true, false) == 0);
  CHECK(constant(HeadKind::mlp, LossKind::uo_bce, false, false) == off);
  CHECK(constant(HeadKind::mlp, LossKind::bce, false, true) == 0);
  CHECK(constant(HeadKind::bcos_linear, LossKind::ce, true, false) == off);
  CHECK(constant(HeadKind::bcos_mlp, LossKind::uo_bce, true, false) == off);
  CHECK(constant(HeadKind::bcos_mlp, LossKind::uo_bce, true, true) == 0);
  CHECK(off_logit(1000) == doctest::Approx(-6.906754778648554));
}

TEST_CASE("MLP and B-cos heads train together, with running statistics, and classify by them") {
  const FeatureTensor features(separable_maps(120, classes, 3, 21));
  const Labels labels = cyclic_labels(120, classes);
  CpuKernels kernels;
  std::vector<Probe> probes;
  for (const auto& [head, layers, loss, rate] :
       {std::tuple(HeadKind::mlp, 3, LossKind::bce, 0.5), std::tuple(HeadKind::mlp, 2, LossKind::ce, 0.1),
        std::tuple(HeadKind::bcos_mlp, 3, LossKind::bce, 0.5), std::tuple(HeadKind::bcos_mlp, 2, LossKind::uo_bce, 0.5),
        std::tuple(HeadKind::bcos_linear, 1, LossKind::ce, 0.5)}) {
    ProbeSpec spec = spec_of(head, layers, loss);
    spec.hidden = 16;
    spec.learning_rate = rate;
    probes.push_back(fresh(spec));
  }
  std::vector<Probe*> pointers;
  for (Probe& probe : probes) pointers.push_back(&probe);
  Recipe recipe;
  recipe.learning_rate = 0.1;
  recipe.epochs = 40;
  recipe.batch_size = 32;
  const TrainingReport report = train(pointers, features, labels, recipe, kernels);
  REQUIRE(report.epochs == 40);
  for (size_t i = 0; i < probes.size(); ++i) {
    const Probe& probe = probes[i];
    CAPTURE(probe.spec().name);
    CAPTURE(probe.spec().layers);
    // Uniform off labels and the bounded cosine of one layer keep a loss from 0.
    CHECK(report.curves.back().probes[i].loss < 0.9 * report.curves.front().probes[i].loss);
    const Accuracy score = accuracy(*predict(probe, features, 50, kernels), labels);
    CHECK(score.top1 > 0.9);
    if (!probe.parameters.contains("head.bn0.running_var")) continue;
    for (const float value : values_of(probe.parameters.at("head.bn0.running_var"))) CHECK(value != 1);
  }
}

TEST_CASE("heads come back from their files as they were") {
  const TemporaryFolder folder;
  for (const auto& [head, layers] :
       {std::pair(HeadKind::mlp, 3), std::pair(HeadKind::bcos_linear, 1), std::pair(HeadKind::bcos_mlp, 2)}) {
    ProbeSpec spec = spec_of(head, layers);
    spec.hidden = 9;
    spec.b = is_bcos(head) ? 1.75F : 2.0F;
    spec.temperature = 0.5F;
    const Probe probe = fresh(spec);
    const std::filesystem::path path = folder / (probe.spec().name + ".safetensors");
    probe.save(path);
    const Probe back = Probe::load(path);
    CHECK(back.spec().head == head);
    CHECK(back.spec().layers == layers);
    CHECK(back.spec().hidden == probe.spec().hidden);
    CHECK(back.spec().b == probe.spec().b);
    CHECK(back.spec().temperature == 0.5F);
    CHECK(back.spec().logit_constant == probe.spec().logit_constant);
    CHECK(names_of(back) == names_of(probe));
    for (const std::string& name : probe.parameters.names())
      CHECK(values_of(back.parameters.at(name)) == values_of(probe.parameters.at(name)));
  }
}

TEST_CASE("a head's file that lacks a tensor, or has one too large, is refused") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "p.safetensors";
  fresh(spec_of(HeadKind::mlp, 3)).save(path);
  const Parameters whole = load_safetensors(path);
  const auto write = [&](const std::string& without, const std::string& key = "", const std::string& value = "") {
    Parameters file;
    file.metadata = whole.metadata;
    if (!key.empty()) file.metadata[key] = value;
    for (const std::string& name : whole.names()) {
      if (name != without) file.set(name, whole.at(name));
    }
    save_safetensors(path, file);
  };
  write("head.bn1.running_var");
  CHECK_THROWS_WITH_AS(Probe::load(path), doctest::Contains("head.bn1.running_var"), Error);
  write("", "layers", "1");
  CHECK_THROWS_WITH_AS(Probe::load(path), doctest::Contains("layers do not fit head mlp; got 1"), Error);
  write("", "layers", "900000");
  CHECK_THROWS_WITH_AS(Probe::load(path), doctest::Contains("expected 2 to 8"), Error);
  write("", "layers", "2");
  CHECK_THROWS_WITH_AS(Probe::load(path), doctest::Contains("head.fc1.weight does not fit"), Error);
  write("", "temperature", "nan");
  CHECK_THROWS_WITH_AS(Probe::load(path), doctest::Contains("temperature out of range"), Error);
}

TEST_CASE("settings that do not fit the kind of head are refused") {
  CHECK_THROWS_WITH_AS(fresh(spec_of(HeadKind::linear, 2)), doctest::Contains("expected 1 (more are mlp"), Error);
  CHECK_THROWS_WITH_AS(fresh(spec_of(HeadKind::bcos_mlp, 1)), doctest::Contains("one layer is bcos-linear"), Error);
  ProbeSpec spec = spec_of(HeadKind::bcos_linear, 1);
  spec.b = 0.5F;
  CHECK_THROWS_WITH_AS(fresh(spec), doctest::Contains("b out of range; got 0.5"), Error);
  CHECK_THROWS_WITH_AS(head_kind("bcos"), doctest::Contains("expected linear, mlp, bcos-linear"), Error);
}

// From images to metrics on the CUDA kernels, against the CPU: features, training, logits, maps and their scores.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "attribution/method.h"
#include "attribution/metrics/metric.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cuda/cuda_kernels.h"
#include "probes/evaluation.h"
#include "probes/trainer.h"
#include "tests/attribution/networks.h"
#include "tests/attribution/transformer_network.h"
#include "tests/cuda_host/device.h"
#include "tests/cuda_host/machine.h"
#include "tests/probes/toy.h"

namespace hp {

namespace {

constexpr int64_t samples = 12, explained = 2, side = 32, classes = 3;

using Results = std::map<std::string, std::vector<float>>;

class Pipeline {
 public:
  Pipeline(const Folded& backbone, Kernels& kernels) : backbone_(backbone), kernels_(kernels) {}

  // Everything that an experiment computes on the device, by name. The methods are names with options.
  Results run(std::vector<Probe> probes, const std::vector<std::pair<std::string, nlohmann::json>>& methods) {
    const FeatureTensor features(this->features());
    results_["features"] = values_of(features_);
    explain(probes, methods);  // as they are, so that what training adds to rounding stays apart
    train_all(probes, features);
    return std::move(results_);
  }

 private:
  Tensor upload(const Tensor& host) {
    const Tensor tensor = pool_.take(host.shape());
    kernels_.upload(host.floats(), host.bytes(), tensor.floats());
    return tensor;
  }

  std::vector<float> download(const Tensor& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.count()));
    kernels_.download(tensor.floats(), tensor.bytes(), values.data());
    return values;
  }

  Tensor features() {
    const Graph graph = backbone_.graph.with_batch(samples);
    const Parameters parameters = on_device(backbone_.parameters, kernels_);
    Executor executor(graph, parameters, kernels_, Keep::outputs, {graph.find("features")});
    const Activations activations = executor.run(upload(images(samples)));
    const Tensor& value = activations.value(graph.find("features"));
    features_ = Tensor::host(value.shape(), download(value));
    return features_;
  }

  void train_all(std::vector<Probe>& probes, const FeatureTensor& features) {
    const Labels labels = test::cyclic_labels(samples, classes);
    Recipe recipe;
    recipe.learning_rate = 0.01;
    recipe.epochs = 3;
    recipe.batch_size = 5;  // the last batch is smaller
    std::vector<Probe*> all;
    for (Probe& probe : probes) all.push_back(&probe);
    const TrainingReport report = train(all, features, labels, recipe, kernels_);
    for (size_t i = 0; i < probes.size(); ++i) {
      const std::string& name = probes[i].spec().name;
      for (const std::string& parameter : probes[i].parameters.names())
        results_[fmt::format("{} {}", name, parameter)] = values_of(probes[i].parameters.at(parameter));
      for (const Progress& epoch : report.curves)
        results_[name + " loss"].push_back(static_cast<float>(epoch.probes[i].loss));
      results_[name + " logits"] = predict(probes[i], features, 7, kernels_)->logits;
    }
  }

  void explain(const std::vector<Probe>& probes, const std::vector<std::pair<std::string, nlohmann::json>>& methods) {
    const Shape map = backbone_.graph.node(backbone_.graph.find("features")).shape;
    std::vector<Head> heads;
    for (const Probe& probe : probes) heads.push_back(probe.head(map, false, kernels_));
    Session session(backbone_, heads, kernels_);
    std::vector<int> targets;
    std::vector<Subject> subjects;
    for (int c = 0; c < classes; ++c) targets.insert(targets.end(), explained, c);
    for (size_t row = 0; row < probes.size() * targets.size(); ++row)
      subjects.push_back({"image", targets[row % targets.size()], static_cast<int>(row % 4), {}});
    for (const auto& [name, options] : methods) {
      const Tensor maps = make_attribution(name, options)->explain(session, upload(images(explained)), targets).map;
      results_["map " + name + options.dump()] = download(maps);
      for (const auto& [metric, settings] : std::map<std::string, nlohmann::json>{{"grid_pointing", {{"cells", 2}}},
                                                                                  {"entropy", nlohmann::json::object()},
                                                                                  {"gini", nlohmann::json::object()}}) {
        std::vector<float>& scores = results_[fmt::format("{} {}{}", metric, name, options.dump())];
        for (const Record& record : make_metric(metric, settings)->score(session.context(), maps, subjects))
          scores.push_back(static_cast<float>(record.value));
      }
    }
  }

  static std::vector<float> values_of(const Tensor& tensor) { return test::values_of(tensor); }
  Tensor images(int64_t count) const {
    const int64_t side = backbone_.graph.node(backbone_.graph.find("image")).shape[1];
    return Tensor::host({count, side, side, 3}, test::formula_images(count, side));
  }

  const Folded& backbone_;
  Kernels& kernels_;
  ArenaPool pool_{kernels_};
  Tensor features_;
  Results results_;
};

Probe fresh_probe(HeadKind kind, LossKind loss, int64_t channels) {
  ProbeSpec spec{.name = std::string(name_of(kind)) + " " + std::string(name_of(loss)), .head = kind, .loss = loss};
  spec.layers = kind == HeadKind::linear ? 1 : 2;
  spec.hidden = 6;
  if (kind != HeadKind::linear) spec.bias = false;
  return Probe::fresh(spec, channels, test::class_names(classes), 5);
}

void check_pipeline(const Folded& backbone, const std::vector<std::pair<std::string, nlohmann::json>>& methods) {
  const int64_t channels = backbone.graph.node(backbone.graph.find("features")).shape[-1];
  const auto probes = [&] {
    std::vector<Probe> all;
    all.push_back(fresh_probe(HeadKind::linear, LossKind::ce, channels));
    all.push_back(fresh_probe(HeadKind::mlp, LossKind::bce, channels));
    all.push_back(fresh_probe(HeadKind::bcos_mlp, LossKind::uo_bce, channels));
    return all;
  };
  CpuKernels cpu;
  const Results want = Pipeline(backbone, cpu).run(probes(), methods);
  cuda_host::machinery().guard = true;
  for (const auto schedule :
       {cuda_host::Schedule::forward, cuda_host::Schedule::reverse, cuda_host::Schedule::shuffled}) {
    cuda_host::set_schedule(schedule);
    CudaKernels cuda;
    const Results got = Pipeline(backbone, cuda).run(probes(), methods);
    REQUIRE(got.size() == want.size());
    for (const auto& [name, values] : want) {
      const double limit = name.find("lrp") != std::string::npos ? 1e-3 : 1e-4;
      CHECK_MESSAGE(test::distance(got.at(name), values) < limit, name);
    }
  }
  cuda_host::set_schedule(cuda_host::Schedule::forward);
  cuda_host::machinery().guard = false;
}

}  // namespace

TEST_CASE("a tiny ResNet: features, probes, maps and scores are the CPU's, in any order of the threads") {
  const Backbone backbone = build_backbone("small_resnet10_w4", {1, side, side});
  check_pipeline(fold_norms(backbone.graph, test::formula_parameters(backbone.graph)),
                 {{"ixg", nlohmann::json::object()},
                  {"guided_backprop", nlohmann::json::object()},
                  {"intgrad", {{"nodes", 3}}},
                  {"gradcam", nlohmann::json::object()},
                  {"lrp", {{"composite", "epsilon_gamma_box"}}},
                  {"lrp", {{"composite", "epsilon_alpha2_beta1"}}}});
}

TEST_CASE("a B-cos network: the same, with its contribution maps") {
  check_pipeline(test::bcos_backbone(16), {{"bcos", nlohmann::json::object()}, {"ixg", nlohmann::json::object()}});
}

TEST_CASE("a tiny vision transformer: the same, with the methods that read attention") {
  check_pipeline(test::small_transformer(), {{"ixg", nlohmann::json::object()},
                                             {"intgrad", {{"nodes", 2}}},
                                             {"gradcam", nlohmann::json::object()},
                                             {"raw_attention", nlohmann::json::object()},
                                             {"attention_rollout", nlohmann::json::object()},
                                             {"chefer", {{"variant", "relevance"}}},
                                             {"lrp", {{"composite", "cp_lrp"}}},
                                             {"lrp", {{"composite", "attn_lrp"}}}});
}

TEST_CASE("a B-cos transformer: the same") {
  check_pipeline(test::bcos_transformer(), {{"bcos", nlohmann::json::object()}, {"ixg", nlohmann::json::object()}});
}

TEST_CASE("a tiny ResNet trained as a whole follows the CPU's") {
  const auto trained = [](Kernels& kernels) {
    Backbone backbone = build_backbone("small_resnet10_w4", {1, side, side});
    const Probe probe = fresh_probe(HeadKind::linear, LossKind::ce, backbone.channels());
    probe.build(backbone.graph, Value{backbone.features()});
    TrainedNetwork network{"tiny", backbone.graph, LossKind::ce, test::formula_parameters(backbone.graph)};
    Recipe recipe;
    recipe.learning_rate = 0.01;  // a few steps that end near where they began: rounding must not grow
    recipe.epochs = 2;
    recipe.batch_size = 6;
    const FeatureTensor images(Tensor::host({samples, side, side, 3}, test::formula_images(samples, side)));
    FeatureInputs inputs(images);
    train(network, inputs, test::cyclic_labels(samples, classes), recipe, kernels);
    Results results;
    for (const std::string& name : network.parameters.names())
      results[name] = test::values_of(network.parameters.at(name));
    return results;
  };
  CpuKernels cpu;
  CudaKernels cuda;
  const Results want = trained(cpu), got = trained(cuda);
  for (const auto& [name, values] : want) CHECK_MESSAGE(test::distance(got.at(name), values) < 1e-3, name);
}

}  // namespace hp

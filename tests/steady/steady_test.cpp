// A steady state: after the first call with the same shapes nothing is allocated and no weight is packed again.
#include <doctest/doctest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "attribution/method.h"
#include "kernels/cpu/cpu_kernels.h"
#include "probes/graph_training.h"
#include "probes/probe.h"
#include "tests/attribution/transformer_network.h"
#include "tests/steady/allocations.h"

using namespace hp;
using test::Allocations;
using test::allocations_so_far;

namespace {

constexpr int64_t batch = 4, side = 32, classes = 10;

// What `run` allocates after two calls: the second may still need what the first has not given back.
Allocations in_steady_state(const std::function<void()>& run) {
  if (!test::counts_allocations()) MESSAGE("skipped: allocations are not counted under the address sanitizer");
  run();
  run();
  const Allocations before = allocations_so_far();
  for (int i = 0; i < 3; ++i) run();
  const Allocations after = allocations_so_far();
  return {after.arrays - before.arrays, after.large - before.large};
}

void check_steady(const std::function<void()>& run) {
  const Allocations more = in_steady_state(run);
  CHECK(more.arrays == 0);
  CHECK(more.large == 0);
}

int64_t packs_made(const Parameters& parameters) {
  int64_t packs = 0;
  for (const std::string& name : parameters.names()) packs += parameters.weight(name).packs_made();
  return packs;
}

Tensor images() { return Tensor::host({batch, side, side, 3}, test::formula_images(batch, side)); }

// A network, by default a ResNet-20, with two heads, explained again and again.
struct Explained {
  CpuKernels kernels;
  Folded backbone;
  Shape features = backbone.graph.node(backbone.graph.find("features")).shape;
  std::vector<Head> heads = test::small_heads({"one", "two"}, features, classes);
  Session session{backbone, heads, kernels};
  Tensor input;
  std::vector<int> targets;

  explicit Explained(int targets_per_image, Folded net = test::small_resnet(), int64_t own_side = side)
      : backbone(std::move(net)),
        input(Tensor::host({batch, own_side, own_side, 3}, test::formula_images(batch, own_side))) {
    for (int64_t i = 0; i < targets_per_image * batch; ++i) targets.push_back(static_cast<int>(i % classes));
  }
};

}  // namespace

TEST_CASE("steady state: a counted allocation is seen") {
  if (!test::counts_allocations()) return;
  const Allocations before = allocations_so_far();
  const Tensor array = Tensor::host({1});
  std::vector<float> block(1 << 14);
  const Allocations after = allocations_so_far();
  CHECK(array.count() + static_cast<int64_t>(block.size()) > 0);
  CHECK(after.arrays == before.arrays + 1);
  CHECK(after.large == before.large + 1);
}

TEST_CASE("steady state: forward passes") {
  CpuKernels kernels;
  const Folded net = test::small_resnet();
  const Graph graph = net.graph.with_batch(batch);
  const Parameters parameters = on_device(net.parameters, kernels);
  const Tensor input = images();
  for (const Keep keep : {Keep::outputs, Keep::everything}) {
    Executor executor(graph, parameters, kernels, keep);
    check_steady([&] { executor.run(input); });
  }
  const int64_t packs = packs_made(parameters);
  Executor(graph, parameters, kernels, Keep::outputs).run(input);
  CHECK(packs_made(parameters) == packs);  // another executor of the same shape finds the packs
}

namespace {

using Methods = std::vector<std::pair<std::string, nlohmann::json>>;

void check_methods(Explained& net, const Methods& methods) {
  for (const auto& [name, options] : methods) {
    CAPTURE(name);
    CAPTURE(options.dump());
    const AttributionPtr method = make_attribution(name, options);
    method->explain(net.session, net.input, net.targets);
    const int64_t packs = packs_made(net.session.parameters());
    check_steady([&] { method->explain(net.session, net.input, net.targets); });
    CHECK(packs_made(net.session.parameters()) == packs);
  }
}

}  // namespace

TEST_CASE("steady state: every method, three targets for two heads") {
  const Methods methods = {{"ixg", {}},
                           {"guided_backprop", {}},
                           {"gradcam", {}},
                           {"gradcam", {{"layer", "layer2.1.conv1"}}},
                           {"intgrad", {{"nodes", 4}, {"images_at_once", 8}}},
                           {"lrp", {{"composite", "epsilon_gamma_box"}}},
                           {"lrp", {{"composite", "epsilon_gamma_box"}, {"residual", "copy"}}},
                           {"lrp", {{"composite", "epsilon_plus_flat"}}},
                           {"lrp", {{"composite", "epsilon_alpha2_beta1"}}}};
  Explained net(3);
  check_methods(net, methods);
}

TEST_CASE("steady state: every method of transformers") {
  Explained net(3, test::small_transformer(), 4);
  check_methods(net, {{"ixg", {}},
                      {"gradcam", {}},
                      {"raw_attention", {}},
                      {"attention_rollout", {}},
                      {"chefer", {}},
                      {"chefer", {{"variant", "relevance"}}},
                      {"lrp", {{"composite", "cp_lrp"}}},
                      {"lrp", {{"composite", "attn_lrp"}}}});
}

TEST_CASE("steady state: B-cos networks, maps large enough for their patch norms to be seen") {
  constexpr int64_t wide = 96;
  Explained net(2, test::bcos_backbone(wide), wide);
  check_methods(net, {{"bcos", {}}, {"ixg", {}}});
  Explained transformer(2, test::bcos_transformer(), 4);
  check_methods(transformer, {{"bcos", {}}, {"ixg", {}}});
}

TEST_CASE("steady state: Integrated Gradients takes the same memory for any number of points") {
  auto session_bytes = [](int nodes) {
    Explained net(1);
    const nlohmann::json options = {{"nodes", nodes}, {"images_at_once", 8}};
    make_attribution("intgrad", options)->explain(net.session, net.input, net.targets);
    return net.session.bytes();
  };
  const size_t few = session_bytes(4);
  CHECK(few > 0);
  CHECK(session_bytes(32) == few);
}

TEST_CASE("steady state: training packs changed weights where they lie") {
  CpuKernels kernels;
  Backbone backbone = build_backbone("cifar_resnet20", {batch, side, side});
  Graph& graph = backbone.graph;
  ProbeSpec spec;
  spec.name = "probe";
  const Probe probe = Probe::fresh(spec, backbone.channels(), std::vector<std::string>(classes, "class"), 1);
  probe.build(graph, Value{graph.find("features")});
  GraphTraining training({graph, LossKind::ce}, test::formula_parameters(graph), {}, kernels);
  const Tensor input = images();
  const Tensor targets = Tensor::host({batch, classes}, std::vector<float>(batch * classes, 0.1F));
  auto step = [&] {
    training.accumulate(input, targets);
    training.update(0.01);
  };
  // What a step leaves behind is given back before the next one's forward pass.
  step();
  const Allocations before = allocations_so_far();
  step();
  CHECK(allocations_so_far().arrays == before.arrays);
  check_steady(step);
}

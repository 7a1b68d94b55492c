// What hp-inspect shows of graphs, rules and tensors: sums that agree with the graph, and texts that fit a terminal.
#include "tools/inspect/views.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "attribution/walk_cost.h"
#include "runtime/error.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tests/tools/experiment/synthetic.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;

namespace {

void check_fits(const std::string& text) {
  CAPTURE(text);
  std::istringstream lines(text);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    if (!contains(line, "hp-inspect ")) CHECK(line.size() <= 100);  // a command has the file as it was given
  }
  CHECK(count <= 24);
}

Model synthetic_model(const TemporaryFolder& folder) {
  write_weights(folder / "weights.safetensors");
  ModelChoice choice;
  choice.model = (folder / "weights.safetensors").string();
  return open_model(choice);
}

Model architecture(const std::string& name) {
  ModelChoice choice;
  choice.model = name;
  return open_model(choice);
}

}  // namespace

TEST_CASE("graph: numbers of the graph, in text that fits, JSON and Graphviz") {
  for (const char* name : {"resnet50", "resnet152", "cifar_resnet20", "cifar_resnet110_b"}) {
    const Model model = architecture(name);
    const std::string text = graph_view(model, {});
    check_fits(text);
    CHECK(contains(text, "next: hp-inspect graph"));
    CHECK(contains(text, "layer3"));
    const json graph = json::parse(graph_view(model, {Format::json, false}));
    CHECK(graph["flops"].get<double>() == forward_cost(model.backbone()).flops);
    double bytes = 0;
    int64_t parameters = 0;
    for (const json& node : graph["nodes"]) {
      bytes += node["bytes"].get<double>();
      parameters += node["parameters"].get<int64_t>();
      CHECK(model.backbone().contains(node["name"].get<std::string>()));
    }
    CHECK(graph["bytes"].get<double>() == doctest::Approx(bytes));
    CHECK(parameters == model.network.folded.parameters.count());
    CHECK(graph["edges"].size() >= graph["nodes"].size() - 1);
    const std::string all = graph_view(model, {Format::text, true});
    CHECK(std::count(all.begin(), all.end(), '\n') == static_cast<int64_t>(graph["nodes"].size()) + 3);
    CHECK(graph_view(model, {Format::dot, false}).starts_with("digraph"));
  }
  CHECK(contains(graph_view(architecture("resnet50"), {}), "8.17 GFLOP"));
  ModelChoice large;
  large.model = "resnet18";
  large.side = 448;
  CHECK(contains(graph_view(open_model(large), {}), "one 448x448 image"));
}

TEST_CASE("rules: every node with its rule, and the costs of the walk") {
  const TemporaryFolder folder;
  const Model model = synthetic_model(folder);
  const std::string text = rules_view(model, "epsilon_gamma_box", {});
  check_fits(text);
  for (const char* part : {"gamma(0.25)", "z_box", "norm", "pass", "kind conv2d", "first conv2d"})
    CHECK_MESSAGE(contains(text, part), part);
  const json rules = json::parse(rules_view(model, "epsilon_gamma_box", {Format::json, false}));
  double prepare = 0, per_target = 0;
  bool head = false;
  for (const json& node : rules["nodes"]) {
    prepare += node["prepare"]["flops"].get<double>();
    per_target += node["per_target"]["flops"].get<double>();
    head = head || node["name"] == "head";
    if (node["name"] == "conv1") CHECK(node["rule"] == "z_box");
  }
  CHECK(head);
  const Composite composite = parse_composite("epsilon_gamma_box").build(model.box());
  const WalkCost below = walk_cost(model.backbone(), composite, model.backbone().find("model_input"));
  const WalkCost above = walk_cost(model.head, composite.without_first(), model.head.find("features"));
  CHECK(prepare == doctest::Approx(below.prepare.flops + above.prepare.flops));
  CHECK(per_target == doctest::Approx(below.per_target.flops + above.per_target.flops));
  const std::string all =
      rules_view(model, R"({"rules": [{"at": "layer3.*", "rule": "z_plus"}]})", {Format::text, true});
  CHECK(contains(all, "name layer3.*"));
  std::istringstream lines(all);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 100);
  check_fits(rules_view(architecture("resnet50"), "epsilon_plus_flat", {}));
  CHECK_THROWS_WITH_AS(rules_view(model, R"({"rules": [{"at": "layer9.*", "rule": "z_plus"}]})", {}),
                       doctest::Contains("layer9"), Error);
  CHECK_THROWS_AS(rules_view(model, "epsilon_gama_box", {}), Error);
  CHECK_THROWS_AS(rules_view(model, "{broken", {}), Error);
  CHECK_THROWS_AS(rules_view(model, "gradient", {Format::dot, false}), Error);
}

TEST_CASE("models: what is neither file nor architecture, and files that are no models") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(architecture("resnet51"), doctest::Contains("resnet50"), Error);
  Parameters other;
  other.set("a", Tensor::host({2}, std::vector<float>{1, 2}));
  save_safetensors(folder / "other.safetensors", other);
  CHECK_THROWS_WITH_AS(architecture((folder / "other.safetensors").string()), doctest::Contains("architecture"), Error);
  write_file(folder / "text.safetensors", "not a model");
  CHECK_THROWS_AS(architecture((folder / "text.safetensors").string()), Error);
  ModelChoice choice;
  choice.model = "resnet18";
  choice.probe = folder / "probe.safetensors";
  CHECK_THROWS_WITH_AS(open_model(choice), doctest::Contains("probe"), Error);
}

TEST_CASE("tensor: statistics of finite values, and what is not finite comes first") {
  const TemporaryFolder folder;
  Parameters parameters;
  parameters.metadata["architecture"] = "none";
  for (int i = 0; i < 30; ++i)
    parameters.set("layer" + std::to_string(100 + i), Tensor::host({4}, std::vector<float>{1, 2, 3, 6}));
  save_safetensors(folder / "many.safetensors", parameters);
  const std::string text = tensor_view(folder / "many.safetensors", {});
  check_fits(text);
  CHECK(contains(text, "30 tensors"));
  CHECK(contains(text, "all finite"));
  CHECK(contains(text, "18 more"));
  CHECK(contains(tensor_view(folder / "many.safetensors", {Format::text, true}), "layer129"));

  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  write_npy(folder / "broken.npy", Tensor::host({2, 3}, std::vector<float>{1, nan, -4, infinity, 0, 2}));
  const json broken = json::parse(tensor_view(folder / "broken.npy", {Format::json, false}));
  CHECK(broken["kind"] == "npy");
  const json& tensor = broken["tensors"][0];
  CHECK(tensor["shape"] == json({2, 3}));
  CHECK(tensor["not_finite"] == 2);
  CHECK(tensor["least"] == -4);
  CHECK(tensor["most"] == 2);
  CHECK(tensor["mean"] == doctest::Approx(-0.25));
  CHECK(contains(tensor_view(folder / "broken.npy", {}), "2 NOT FINITE"));
  write_npy(folder / "empty.npy", Tensor::host({0, 3}));
  CHECK(contains(tensor_view(folder / "empty.npy", {}), "all finite"));

  const std::string whole = read_file(folder / "many.safetensors");
  for (const size_t length : {size_t{0}, size_t{5}, size_t{40}, whole.size() - 1}) {
    write_file(folder / "cut.safetensors", whole.substr(0, length));
    CHECK_THROWS_AS(tensor_view(folder / "cut.safetensors", {}), Error);
  }
  CHECK_THROWS_AS(tensor_view(folder / "absent.npy", {}), Error);
  CHECK_THROWS_AS(tensor_view(folder.path(), {}), Error);
  CHECK_THROWS_AS(tensor_view(folder / "broken.npy", {Format::dot, false}), Error);
}

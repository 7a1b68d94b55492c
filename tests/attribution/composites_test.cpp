#include "attribution/composites.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "attribution/rules/linear_rules.h"
#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/ops/norm.h"
#include "tests/support/small_nets.h"

using namespace hp;
using hp::testing::formula_parameters;
using hp::testing::small_resnet;
using nlohmann::json;

namespace {

const InputBox box{{-2, -2, -2}, {2, 2, 2}};

Graph folded_resnet() {
  const Graph g = small_resnet(1);
  return fold_norms(g, formula_parameters(g)).graph;
}

// "rule <- reason" of a node.
std::string choice_at(const Graph& graph, const Composite& composite, const std::string& node) {
  const Choice choice = composite.assign(graph)[static_cast<size_t>(graph.find(node))];
  return choice.rule->name() + " <- " + choice.reason;
}

std::string choice_at(const Graph& graph, const json& value, const std::string& node) {
  return choice_at(graph, CompositeSpec::parse(value, "lrp").build(box), node);
}

std::string parse_error(const json& value) {
  try {
    CompositeSpec::parse(value, "/attributions/0/options/composite");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("composites: what each gives to a residual network") {
  const Graph g = folded_resnet();
  CHECK(choice_at(g, nullptr, "conv1") == "z_box <- first conv2d");
  CHECK(choice_at(g, nullptr, "conv2") == "gamma(0.25) <- kind conv2d");
  CHECK(choice_at(g, nullptr, "shortcut") == "gamma(0.25) <- kind conv2d");
  CHECK(choice_at(g, nullptr, "relu2") == "pass <- kind relu");
  CHECK(choice_at(g, nullptr, "add") == "norm <- kind add");
  CHECK(choice_at(g, nullptr, "pool") == "norm <- kind avg_pool");
  CHECK(choice_at(g, nullptr, "maxpool") == "vjp <- default");
  CHECK(choice_at(g, nullptr, "flat") == "vjp <- default");
  CHECK(choice_at(g, nullptr, "logits") == "epsilon(1e-06) <- kind linear");

  CHECK(choice_at(g, "epsilon_plus", "conv1") == "z_plus <- kind conv2d");
  CHECK(choice_at(g, "epsilon_plus_flat", "conv1") == "flat <- first conv2d or linear");
  CHECK(choice_at(g, "epsilon_plus_flat", "conv2") == "z_plus <- kind conv2d");
  CHECK(choice_at(g, "epsilon_plus_flat", "logits") == "epsilon(1e-06) <- kind linear");
  CHECK(choice_at(g, "epsilon_alpha2_beta1", "conv1") == "alpha_beta(2, 1) <- kind conv2d");
  CHECK(choice_at(g, "epsilon_alpha2_beta1_flat", "conv1") == "flat <- first conv2d or linear");
  CHECK(choice_at(g, "excitation_backprop", "logits") == "z_plus <- kind linear");
  CHECK(choice_at(g, "excitation_backprop", "relu1") == "relu mask <- kind relu");
  CHECK(choice_at(g, "guided_backprop", "relu1") == "guided relu <- kind relu");
  CHECK(choice_at(g, "deconvnet", "relu1") == "deconvnet relu <- kind relu");
  CHECK(choice_at(g, "gradient", "conv1") == "vjp <- default");
  CHECK(choice_at(g, "guided_backprop", "conv1") == "vjp <- default");
  CHECK(choice_at(g, "attn_lrp", "conv1") == "epsilon(1e-06) <- kind conv2d");
  CHECK(choice_at(g, "attn_lrp", "add") == "vjp <- kind add");

  for (const std::string& name : composite_names()) {
    for (const char* residual : {"norm", "copy"}) {
      json value = {{"base", name}};
      if (name.starts_with("epsilon")) value["residual"] = residual;
      const Composite composite = CompositeSpec::parse(value, "lrp").build(box);
      CHECK_NOTHROW(composite.assign(g));
      CHECK_NOTHROW(composite.assign(small_resnet(1)));  // not folded
      CHECK_NOTHROW(composite.without_first().assign(g));
    }
  }
}

TEST_CASE("composites: a head's first convolution is not the network's") {
  const Composite head = CompositeSpec{}.build(box).without_first();
  CHECK(choice_at(folded_resnet(), head, "conv1") == "gamma(0.25) <- kind conv2d");
}

TEST_CASE("composites: the first weighted op of a network without convolutions") {
  Graph g;
  Value x = g.input("x", {1, 4});
  x = g.add(std::make_shared<LinearOp>(), {x, g.parameter("a", {3, 4})}, "first");
  g.add(std::make_shared<LinearOp>(), {x, g.parameter("b", {2, 3})}, "second");
  CHECK(choice_at(g, "epsilon_plus_flat", "first") == "flat <- first conv2d or linear");
  CHECK(choice_at(g, "epsilon_plus_flat", "second") == "epsilon(1e-06) <- kind linear");
}

TEST_CASE("composites: copied residuals carry relevance and pin values before their ReLUs") {
  const Graph g = folded_resnet();
  const Composite copy = CompositeSpec::parse({{"residual", "copy"}}, "lrp").build(box);
  CHECK(choice_at(g, copy, "add") == "vjp on relevance <- kind add");
  CHECK(copy.pins(g).size() == 3);
  CHECK(CompositeSpec{}.build(box).pins(g).empty());
  for (const Choice& choice : copy.assign(g)) {
    if (choice.rule) CHECK(choice.rule->takes() == Form::relevance);
  }
}

TEST_CASE("composites: rules of an experiment file") {
  const Graph g = folded_resnet();
  const json value = {{"base", "epsilon_gamma_box"},
                      {"gamma", 0.5},
                      {"rules",
                       {{{"at", "conv2"}, {"rule", "epsilon"}, {"epsilon", 0.01}},
                        {{"at", "*3"}, {"rule", "alpha_beta"}, {"alpha", 3}},
                        {{"on", "linear"}, {"rule", "z_plus"}, {"zero_bias", true}},
                        {{"first", "conv2d"}, {"rule", "flat"}}}}};
  CHECK(choice_at(g, value, "conv1") == "flat <- first conv2d");
  CHECK(choice_at(g, value, "conv2") == "epsilon(0.01) <- name conv2");
  CHECK(choice_at(g, value, "conv3") == "alpha_beta(3, 2) <- name *3");
  CHECK(choice_at(g, value, "relu3") == "pass <- kind relu");  // a wildcard passes over what its rule does not fit
  CHECK(choice_at(g, value, "shortcut") == "gamma(0.5) <- kind conv2d");
  CHECK(choice_at(g, value, "logits") == "z_plus(zero bias) <- kind linear");
  // The name of a folded batch norm stands for the convolution that it was merged into.
  CHECK(choice_at(g, {{"rules", {{{"at", "bn3"}, {"rule", "z_plus"}}}}}, "conv3") == "z_plus <- name bn3");
  CHECK(choice_at(g, {{"zero_bias", true}}, "conv2") == "gamma(0.25, zero bias) <- kind conv2d");

  const CompositeSpec spec = CompositeSpec::parse({{"rules", {{{"at", "layer9.*"}, {"rule", "flat"}}}}}, "lrp");
  const Graph* graphs[] = {&g};
  CHECK(unused_patterns(spec, graphs) == std::vector<std::string>{"layer9.*"});
  CHECK(unused_patterns(CompositeSpec::parse(value, "lrp"), graphs).empty());
}

TEST_CASE("composites: equal keys mean equal rules") {
  const auto key = [](const json& value) { return CompositeSpec::parse(value, "lrp").key(); };
  CHECK(key(nullptr) == key("epsilon_gamma_box"));
  CHECK(key({{"gamma", 0.25}}) == key(nullptr));
  CHECK(key({{"gamma", 0.5}}) != key(nullptr));
  CHECK(key({{"residual", "copy"}}) != key(nullptr));
  CHECK(key({{"rules", {{{"on", "conv2d"}, {"rule", "flat"}}}}}) !=
        key({{"rules", {{{"first", "conv2d"}, {"rule", "flat"}}}}}));
}

TEST_CASE("composites: errors name the place and the nearest valid word") {
  const std::string unknown = parse_error({{"gama", 1}});
  CHECK(mentions(unknown, "[/attributions/0/options/composite]"));
  CHECK(mentions(unknown, "did you mean gamma?"));
  CHECK(mentions(parse_error("epsilon_gama_box"), "did you mean epsilon_gamma_box?"));
  CHECK(mentions(parse_error({{"base", "epsilon_plus"}, {"gamma", 1}}), "unknown option; got 'gamma'"));
  CHECK(mentions(parse_error({{"gamma", -1}}), "'gamma' is not a number in range; got -1"));
  CHECK(mentions(parse_error({{"residual", "copies"}}), "expected one of norm, copy"));
  CHECK(mentions(parse_error({{"rules", 3}}), "expected a list"));
  CHECK(mentions(parse_error({{"rules", {3}}}), "/rules/0]"));
  const json good = {{"on", "conv2d"}, {"rule", "flat"}};
  const auto rules_error = [&](const json& rule) { return parse_error({{"rules", {good, rule}}}); };
  CHECK(
      mentions(rules_error({{"rule", "flat"}}), "[/attributions/0/options/composite/rules/1] a rule needs one place"));
  CHECK(mentions(rules_error({{"at", "a"}, {"on", "conv2d"}, {"rule", "flat"}}), "got 2 of them"));
  CHECK(mentions(rules_error({{"on", "conv2"}, {"rule", "flat"}}), "did you mean conv2d?"));
  CHECK(mentions(rules_error({{"on", "conv2d"}, {"rule", "z_pluss"}}), "did you mean z_plus?"));
  CHECK(mentions(rules_error({{"on", "conv2d"}}), "'rule' is missing"));
  CHECK(mentions(rules_error({{"on", "conv2d"}, {"rule", "flat"}, {"epsilon", 1}}), "unknown option; got 'epsilon'"));
  CHECK(mentions(rules_error({{"at", "a"}, {"rule", "alpha_beta"}, {"alpha", 2}, {"beta", 2}}), "alpha - beta = 1"));
  CHECK(mentions(rules_error({{"at", "a"}, {"rule", "z_box"}, {"low", {0, 0}}, {"high", {1}}}), "2 low and 1 high"));
  CHECK(mentions(rules_error({{"at", "a"}, {"rule", "z_box"}, {"low", "x"}}), "list of numbers"));
  CHECK_THROWS_WITH_AS(CompositeSpec{}.build({}), doctest::Contains("z_box has no bounds"), Error);
}

TEST_CASE("composites: a table to read") {
  const std::string table = composite_table(folded_resnet(), CompositeSpec{}.build(box));
  CHECK(mentions(table, "node      op"));
  CHECK(mentions(table, "conv1     conv2d pad 1     z_box           first conv2d\n"));
  CHECK(mentions(table, "logits    linear           epsilon(1e-06)  kind linear\n"));
  size_t begin = 0;
  for (size_t end = table.find('\n'); end != std::string::npos; begin = end + 1, end = table.find('\n', begin))
    CHECK(end - begin <= 100);
}

TEST_CASE("composites: the box of a normalised input") {
  const std::vector<float> mean{0.5f, 0.25f}, variance{0.25f, 0.0625f};
  const InputBox found = normalised_box(mean, variance);
  CHECK(found.low == std::vector<float>{-1, -1});
  CHECK(found.high == std::vector<float>{1, 3});
}

// Relevance node by node: sums that add up, the same relevance as the method's, and leaks by name.
#include "tools/inspect/relevance.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "attribution/composites.h"
#include "attribution/method.h"
#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "tests/attribution/networks.h"
#include "tests/attribution/transformer_network.h"
#include "tools/inspect/relevance_view.h"

using namespace hp;
using namespace hp::test;

namespace {

const InputBox box{.low = {-2.2F, -2.1F, -1.9F}, .high = {2.3F, 2.5F, 2.7F}};

// A bug as it might be made: a rule that gives its inputs twice what it should.
class Doubling final : public Rule {
 public:
  explicit Doubling(RulePtr inner) : inner_(std::move(inner)) {}
  std::string name() const override { return "doubling"; }
  std::vector<Shape> prepared_shapes(const NodeView& view) const override { return inner_->prepared_shapes(view); }
  void prepare(const NodeView& view, std::span<Tensor> prepared) const override { inner_->prepare(view, prepared); }
  void pull(const NodeView& view, std::span<const Tensor> prepared, const Message& out, int which,
            Tensor in) const override {
    inner_->pull(view, prepared, out, which, in);
    view.context.kernels.scale_add(in.count(), 1, in.floats(), 1, in.floats());
  }

 private:
  RulePtr inner_;
};

Tensor image(int64_t side) { return Tensor::host({1, side, side, 3}, formula_images(1, side)); }

WalkPlan plan(const std::string& composite) { return {composite, parse_composite(composite).build(box), {}}; }

}  // namespace

TEST_CASE("relevance: without biases nothing is lost, whatever the rules") {
  CpuKernels kernels;
  const Folded net = block_without_biases(8);
  const Head head = small_head("head", {1, 8, 8, 6}, 4, false);
  Session session(net, std::span(&head, 1), kernels);
  for (const char* composite : {"epsilon_gamma_box", "epsilon_plus", "gradient"}) {
    CAPTURE(composite);
    const RelevanceReport report = relevance_of(session, image(8), 2, plan(composite));
    CHECK(report.target == 2);
    CHECK(report.nodes.front().node == "logits");
    CHECK(report.nodes.back().node == "model_input");
    CHECK(report.nodes.front().sum == doctest::Approx(report.logit));
    CHECK(report.kept() == doctest::Approx(1).epsilon(1e-3));
    CHECK(report.leaks(1e-3).empty());
    const std::string text = conservation_text(report);
    CHECK(text.find("no node loses or creates") != std::string::npos);
  }
}

TEST_CASE("relevance: a rule that doubles is named, and nothing else, wherever it is planted") {
  CpuKernels kernels;
  const Folded net = block_without_biases(8);
  const Head head = small_head("head", {1, 8, 8, 6}, 4, false);
  for (const char* planted : {"conv1", "conv2", "conv3", "relu2", "add", "head.pool"}) {
    CAPTURE(planted);
    Session session(net, std::span(&head, 1), kernels);
    Composite composite = parse_composite("gradient").build(box);
    composite.at(planted, std::make_shared<Doubling>(std::make_shared<VjpRule>()));
    const RelevanceReport report = relevance_of(session, image(8), 1, {planted, composite, {}});
    const std::vector<const NodeRelevance*> leaks = report.leaks(0.01);
    REQUIRE(leaks.size() == 1);
    CHECK(leaks[0]->node == planted);
    CHECK(leaks[0]->rule == "doubling");
    CHECK(leaks[0]->handed_on == doctest::Approx(2 * leaks[0]->sum).epsilon(1e-4));
    const std::string text = conservation_text(report);
    CAPTURE(text);
    CHECK(text.find("1 node loses or creates") != std::string::npos);
    CHECK(text.find("doubling") != std::string::npos);
  }
}

TEST_CASE("relevance: what is lost on the way is what is missing at its end, and it is the method's relevance") {
  CpuKernels kernels;
  const Folded net = small_resnet();
  const Head head = small_head("head", {1, 8, 8, 64}, 5);
  Session session(net, std::span(&head, 1), kernels);
  const Tensor picture = image(32);
  const RelevanceReport report = relevance_of(session, picture, -1, plan("epsilon_plus"));
  CHECK(report.logits.size() == 5);
  for (float logit : report.logits) CHECK(static_cast<double>(logit) <= report.logit);
  double lost = 0, largest = 0;
  for (const NodeRelevance& node : report.nodes) {
    CAPTURE(node.node);
    CHECK(node.sum == doctest::Approx(node.positive + node.negative));
    double channels = 0;
    for (double channel : node.channels) channels += channel;
    CHECK(channels == doctest::Approx(node.sum).epsilon(1e-6));
    CHECK(static_cast<int64_t>(node.channels.size()) == node.relevance.shape().columns());
    lost += node.lost();
    largest = std::max(largest, std::fabs(node.sum));
    // Only where a bias may take its share.
    if (!node.has_bias) CHECK(std::fabs(node.lost()) < 2e-3 * std::fabs(report.logit) + 1e-3 * node.positive);
  }
  CHECK(std::fabs(report.logit - lost - report.nodes.back().sum) < 1e-3 * largest);
  CHECK(report.at("head").has_bias);
  CHECK_FALSE(report.at("layer1.0.add").has_bias);
  CHECK(report.at("layer1.0.add").is_cut);
  CHECK_FALSE(report.at("layer1.0.conv1").is_cut);
  CHECK_THROWS_AS(report.at("layer9"), Error);

  const std::vector<int> targets{report.target};
  const AttributionPtr method = make_attribution("lrp", {{"composite", {{"base", "epsilon_plus"}}}});
  Watch watch;
  watch.layers = {"layer2.0.conv1", "layer3.1.add"};
  watch.conservation = true;
  const Explanation explanation = method->explain(session, picture, targets, watch);
  for (const auto& [layer, relevance] : explanation.layers) {
    const Tensor& mine = report.at(layer).relevance;
    CHECK(distance({mine.floats(), static_cast<size_t>(mine.count())},
                   {relevance.floats(), static_cast<size_t>(relevance.count())}) < 1e-6);
  }
  for (const Conservation::Cut& cut : explanation.conservation->cuts)
    CHECK(report.at(cut.node).sum == doctest::Approx(cut.sums[0]).epsilon(1e-3));
}

TEST_CASE("relevance: what each softmax creates or loses under AttnLRP is the formula's, and nothing else leaks") {
  CpuKernels kernels;
  const Folded net = small_transformer(false);
  const Head head = small_head("head", {1, 1, 1, 8}, 5, false, false);
  Session session(net, std::span(&head, 1), kernels);
  const Tensor picture = image(4);
  Parameters all = with_head(net, head);
  all.set("head.bias", Tensor::host({5}, std::vector<float>(5)));
  const Pass pass = session.forward(picture, plan("gradient"));
  const Tensor& x = pass.activations().value(net.graph.find("model_input"));
  const Grid patches = patches_of({x.floats(), static_cast<size_t>(x.count())});
  for (const int target : {0, 3}) {
    CAPTURE(target);
    const RelevanceReport report =
        relevance_of(session, picture, target, plan(R"({"base": "attn_lrp", "epsilon": 0})"));
    DenseTransformer dense({}, all);
    const DenseTransformer::Relevance want = dense.explain(patches, target, true);
    const std::vector<const NodeRelevance*> softmaxes = report.softmaxes();
    REQUIRE(softmaxes.size() == 2);
    double created = 0;
    for (size_t i = 0; i < 2; ++i) {
      const size_t block = 1 - i;  // the walk comes to the last one first
      CHECK(softmaxes[i]->node == fmt::format("blocks.{}.attn.softmax", block));
      CHECK(-softmaxes[i]->lost() == doctest::Approx(want.softmax_gains[block]).epsilon(2e-3));
      created -= softmaxes[i]->lost();
    }
    CHECK(std::fabs(created / report.logit) > 1e-3);  // else nothing was tested
    CHECK(report.kept() - 1 == doctest::Approx(created / report.logit).epsilon(2e-3));
    for (const NodeRelevance* leak : report.leaks(1e-3)) CHECK(leak->is_softmax);
    const std::string text = softmax_text(report);
    CAPTURE(text);
    CHECK(text.starts_with(
        fmt::format("softmax: 2 nodes, together {:+.1f} % of the logit", 100 * created / report.logit)));
    CHECK(text.find("blocks.1.attn.softmax") < text.find("blocks.0.attn.softmax"));
  }
  const RelevanceReport constant = relevance_of(session, picture, 0, plan(R"({"base": "cp_lrp", "epsilon": 0})"));
  CHECK(constant.softmaxes().empty());
  CHECK(softmax_text(constant).empty());
  CHECK(constant.kept() == doctest::Approx(1).epsilon(1e-3));
}

TEST_CASE("relevance: which nodes are shown") {
  CpuKernels kernels;
  const Folded net = small_resnet();
  const Head head = small_head("head", {1, 8, 8, 64}, 5);
  Session session(net, std::span(&head, 1), kernels);
  const RelevanceReport report = relevance_of(session, image(32), 0, plan("epsilon_plus"));
  const auto names = [&](const std::string& layer, bool all) {
    std::vector<std::string> names;
    for (const NodeRelevance* node : shown_nodes(report, net.graph, head.graph, layer, all))
      names.push_back(node->node);
    return names;
  };
  CHECK(names("", false) == std::vector<std::string>{"logits", "head.pool", "layer3.2", "layer2.2", "layer1.2", "relu",
                                                     "conv1", "model_input"});
  CHECK(names("", true).size() == report.nodes.size());
  CHECK(names("head*", false) == std::vector<std::string>{"head.pool", "head"});
  CHECK(names("bn1", false) == std::vector<std::string>{"conv1"});  // folded into it
  CHECK_THROWS_AS(names("layer9*", false), Error);
}

TEST_CASE("relevance: a logit of 0 and a class that is none are refused") {
  CpuKernels kernels;
  const Folded net = block_without_biases(8);
  Head head = small_head("head", {1, 8, 8, 6}, 4, false);
  Session session(net, std::span(&head, 1), kernels);
  CHECK_THROWS_AS(relevance_of(session, image(8), 4, plan("gradient")), Error);
  const std::vector<float> black(192, 0.0F);
  const std::vector<float> zeros(24, 0.0F);
  head.parameters.set("head.weight", Tensor::host({4, 6, 1, 1}, zeros));
  Session dead(net, std::span(&head, 1), kernels);
  CHECK_THROWS_WITH_AS(relevance_of(dead, Tensor::host({1, 8, 8, 3}, black), 0, plan("gradient")),
                       doctest::Contains("a logit of 0"), Error);
}

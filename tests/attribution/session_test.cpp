// The session: heads and targets stacked in one walk, batches, chunks, caches, other shapes, errors.
#include "attribution/session.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "attribution/composites.h"
#include "attribution/conservation.h"
#include "attribution/method.h"
#include "attribution/target_batches.h"
#include "runtime/error.h"
#include "runtime/pool_first.h"
#include "runtime/subgraph.h"
#include "tests/attribution/device.h"
#include "tests/attribution/networks.h"
#include "tests/attribution/transformer_network.h"

namespace hp {
namespace {

using test::distance;
using test::TestDevice;

const Shape small_features{1, 8, 8, 64};

std::vector<Head> three_heads() { return test::small_heads({"first", "second", "third"}, small_features, 10); }

TEST_CASE("three heads and nine targets in one walk are twenty-seven walks") {
  TestDevice device;
  const Folded backbone = test::small_resnet();
  const std::vector<Head> heads = three_heads();
  const Tensor images = device.tensor({2, 32, 32, 3}, test::formula_images(2, 32));
  std::vector<int> targets;
  for (int t = 0; t < 9; ++t) targets.insert(targets.end(), {t, (t + 3) % 10});
  Session together(backbone, heads, device.kernels());
  for (const char* name : {"ixg", "gradcam", "guided_backprop"}) {
    CAPTURE(name);
    const AttributionPtr method = make_attribution(name, {});
    const std::vector<float> all = device.values(method->explain(together, images, targets).map);
    REQUIRE(all.size() == 27 * 2 * 32 * 32);
    for (size_t h = 0; h < 3; ++h) {
      Session alone(backbone, std::span(heads).subspan(h, 1), device.kernels());
      for (size_t t = 0; t < 9; ++t) {
        const Explanation one = method->explain(alone, images, std::span(targets).subspan(2 * t, 2));
        const std::span<const float> part = std::span(all).subspan((h * 9 + t) * 2 * 1024, 2 * 1024);
        CHECK(distance(part, device.values(one.map)) < 1e-6);
      }
    }
  }
}

// Where every message is tapped, each has memory of its own.
TEST_CASE("messages that share memory are the same to the bit, with every composite") {
  TestDevice device;
  const Folded backbone = test::small_resnet();
  const std::vector<Head> heads = test::small_heads({"head"}, small_features, 10);
  const Tensor images = device.tensor({1, 32, 32, 3}, test::formula_images(1, 32));
  const std::vector<int> targets = {0, 4, 9};
  Session session(backbone, heads, device.kernels());
  for (const std::string& name : composite_names()) {
    CAPTURE(name);
    const WalkPlan plan{name, CompositeSpec::parse(name, "test").build({{-2, -2, -2}, {2, 2, 2}}), {}};
    const Pass pass = session.forward(images, plan);
    const int input = pass.graph().find("model_input");
    std::vector<Tap> everything;
    for (int i = input; i <= pass.graph().find("features"); ++i) {
      if (pass.graph().node(i).op) everything.push_back({i, Tap::Keep::message});
    }
    const Tap one{input, Tap::Keep::message};
    const std::vector<float> got = device.values(session.walk(pass, targets, {}, std::span(&one, 1)).at(input).data);
    CHECK(got == device.values(session.walk(pass, targets, {}, everything).at(input).data));
    CHECK(test::largest(got) > 0);
  }
}

TEST_CASE("the size of the chunks of a walk changes nothing") {
  TestDevice device;
  const Folded backbone = test::small_resnet();
  const std::vector<Head> heads = three_heads();
  const Tensor images = device.tensor({1, 32, 32, 3}, test::formula_images(1, 32));
  const std::vector<int> targets = {0, 4, 9, 2, 7};
  Session large(backbone, heads, device.kernels());
  const AttributionPtr method = make_attribution("ixg", {});
  const std::vector<float> want = device.values(method->explain(large, images, targets).map);
  for (size_t bytes : {size_t{1}, size_t{600000}, size_t{1500000}}) {
    Session small(backbone, heads, device.kernels(), bytes);
    CHECK(distance(device.values(method->explain(small, images, targets).map), want) < 1e-6);
  }
}

// Conservation reads every cut, so that all values are kept.
TEST_CASE("GradCAM keeps nothing below its layer, and its maps are the same") {
  TestDevice device;
  const Folded backbone = test::small_resnet();
  const Tensor images = device.tensor({2, 32, 32, 3}, test::formula_images(2, 32));
  const std::vector<int> targets = {0, 4, 9, 2, 7, 5};
  for (const char* layer : {"features", "layer3.2.conv2", "layer2.0.conv1"}) {
    CAPTURE(layer);
    const AttributionPtr method = make_attribution("gradcam", {{"layer", layer}});
    Session whole(backbone, three_heads(), device.kernels()), upper(backbone, three_heads(), device.kernels());
    const std::vector<float> want = device.values(method->explain(whole, images, targets, {{}, true}).map);
    CHECK(distance(device.values(method->explain(upper, images, targets).map), want) < 1e-6);
    CHECK(upper.bytes() < whole.bytes() * 2 / 3);
  }
}

TEST_CASE("a pass refuses walks below its floor") {
  TestDevice device;
  Session session(test::small_resnet(), three_heads(), device.kernels());
  const WalkPlan plan{.name = "upper", .composite = {}, .pins = {"layer3.0.conv1"}, .floor = "layer3.0.conv1"};
  const Pass pass = session.forward(device.tensor({1, 32, 32, 3}, test::formula_images(1, 32)), plan);
  const std::vector<int> target = {5};
  const Tap end{pass.graph().find("layer3.0.conv1"), Tap::Keep::message};
  CHECK(session.walk(pass, target, {}, std::span(&end, 1)).at(end.node).data.count() > 0);
  const Tap below{pass.graph().find("layer1.0.conv1"), Tap::Keep::message};
  CHECK_THROWS_WITH_AS(session.walk(pass, target, {}, std::span(&below, 1)),
                       doctest::Contains("kept nothing below 'layer3.0.conv1'"), Error);
}

// What an op says that its adjoint does not read is not there in a lean pass.
TEST_CASE("a lean pass keeps less and gives the same gradients, on every kind of backbone") {
  TestDevice device;
  const Backbone resnet = build_backbone("cifar_resnet20_b", {1, 32, 32});
  const Backbone clip = build_backbone("clip_rn50_trunk_w8", {1, 64, 64});
  const std::tuple<Folded, int64_t, const char*> networks[] = {
      {test::small_resnet(), 32, "layer2.0.conv2"},
      {test::unfolded(resnet.graph, test::formula_parameters(resnet.graph)), 32, "layer1.0.conv2"},
      {test::bcos_backbone(12), 12, "conv3"},
      {fold_norms(clip.graph, test::formula_parameters(clip.graph)), 64, "layer1.0.conv3"},
      {test::small_transformer(), 4, ""},
      {test::bcos_transformer(), 4, ""}};
  for (const auto& [backbone, side, spared] : networks) {
    CAPTURE(backbone.graph.size());
    const Shape features = backbone.graph.node(backbone.graph.find("features")).shape;
    const std::vector<Head> heads = test::small_heads({"a", "b"}, features, 4);
    const Tensor images = device.tensor({2, side, side, 3}, test::formula_images(2, side));
    const std::vector<int> targets = {0, 3, 1, 2};
    std::vector<float> maps[2], logits[2];
    size_t bytes[2] = {0, 0};
    for (const bool lean : {false, true}) {
      Session session(backbone, heads, device.kernels());
      const Pass pass = session.forward(images, {.name = "gradient", .composite = {}, .pins = {}, .lean = lean});
      const Tap tap{pass.graph().find("model_input"), Tap::Keep::message};
      const RelevanceTrace trace = session.walk(pass, targets, {}, std::span(&tap, 1));
      maps[lean] = device.values(session.relevance(pass, tap.node, trace.at(tap.node)));
      logits[lean] = session.target_logits(pass, targets);
      bytes[lean] = session.bytes();
      CHECK(pass.activations().kept(pass.graph().find("features")));
      if (*spared) CHECK(pass.activations().kept(pass.graph().find(spared)) == !lean);
    }
    CHECK(distance(logits[1], logits[0]) < 1e-6);
    CHECK(distance(maps[1], maps[0]) < 2e-6);
    CHECK(bytes[1] <= bytes[0]);
    if (*spared) CHECK(bytes[1] < bytes[0]);
  }
}

TEST_CASE("heads may pool before their last 1x1 convolution: the same logits and gradients") {
  TestDevice device;
  const Folded backbone = test::small_resnet();
  const Tensor images = device.tensor({2, 32, 32, 3}, test::formula_images(2, 32));
  const std::vector<int> targets = {0, 4, 9, 2};
  Session session(backbone, three_heads(), device.kernels());
  const WalkPlan as_built{"as built", {}, {}};
  const Pass pass = session.forward(images, as_built);
  const Tap tap{pass.graph().find("model_input"), Tap::Keep::message};
  const RelevanceTrace trace = session.walk(pass, targets, {}, std::span(&tap, 1));
  const Explanation pooled = make_attribution("gradient", {})->explain(session, images, targets);
  CHECK(distance(device.values(pooled.raw), device.values(trace.at(tap.node).data)) < 1e-5);
  CHECK(distance(pooled.logits, session.target_logits(pass, targets)) < 1e-5);
  WalkPlan pooling = as_built;
  pooling.pool_first = true;
  const Graph& graph = session.forward(images, pooling).head(0).graph();
  CHECK(graph.node(graph.find("head")).shape == Shape{2, 1, 1, 10});
  CHECK(graph.node(graph.find("head")).inputs[0] == graph.find("head.pool"));
}

TEST_CASE("only 1x1 convolutions that end in a global pool trade places with it") {
  const auto pooled = [](int64_t kernel, bool relu_between, PoolParams pool) {
    Graph graph;
    Value x = test::conv(graph, graph.input("features", {2, 6, 6, 4}, true), "first", 5, 1, true);
    x = test::conv(graph, relu(graph, x, "relu"), "last", 3, kernel, true);
    if (relu_between) x = relu(graph, x, "between");
    graph.alias("head", x);
    graph.add(std::make_shared<AvgPoolOp>(pool), {x}, "pool");
    return pool_first(graph);
  };
  const Graph moved = pooled(1, false, {});
  CHECK(moved.node(moved.find("first")).shape == Shape{2, 6, 6, 5});
  CHECK(moved.node(moved.find("pool")).shape == Shape{2, 1, 1, 5});
  CHECK(moved.node(moved.find("head")).shape == Shape{2, 1, 1, 3});
  CHECK(moved.find("head") == moved.find("last"));
  for (const Graph& kept : {pooled(3, false, {}), pooled(1, true, {}), pooled(1, false, {.window = 2, .stride = 2})}) {
    CHECK(kept.node(kept.find("last")).shape == Shape{2, 6, 6, 3});
    CHECK(kept.node(kept.find("pool")).shape[3] == 3);
  }
}

TEST_CASE("a batch of four is four batches of one") {
  TestDevice device;
  Session session(test::small_resnet(), three_heads(), device.kernels());
  const std::vector<float> images = test::formula_images(4, 32);
  const std::vector<int> targets = {1, 2, 3, 4, 9, 8, 7, 6};
  const Tensor four = device.tensor({4, 32, 32, 3}, images);
  for (const char* name : {"ixg", "gradcam", "guided_backprop", "gradient"}) {
    CAPTURE(name);
    const AttributionPtr method = make_attribution(name, {});
    const Explanation all = method->explain(session, four, targets);
    const std::vector<float> maps = device.values(all.map);
    for (size_t b = 0; b < 4; ++b) {
      const std::vector<float> one(images.begin() + static_cast<ptrdiff_t>(b * 3072),
                                   images.begin() + static_cast<ptrdiff_t>((b + 1) * 3072));
      const std::vector<int> own = {targets[b], targets[4 + b]};
      const Explanation single = method->explain(session, device.tensor({1, 32, 32, 3}, one), own);
      const std::vector<float> single_maps = device.values(single.map);
      for (size_t stacked = 0; stacked < 6; ++stacked) {
        CHECK(distance(std::span(maps).subspan((stacked * 4 + b) * 1024, 1024),
                       std::span(single_maps).subspan(stacked * 1024, 1024)) < 1e-5);
        CHECK(all.logits[stacked * 4 + b] == doctest::Approx(single.logits[stacked]).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("one session serves several image sizes, and the same again, without making anything new") {
  TestDevice device;
  Session session(test::small_resnet(), three_heads(), device.kernels());
  const AttributionPtr method = make_attribution("ixg", {});
  const std::vector<int> target = {5};
  for (int round = 0; round < 2; ++round) {
    for (int64_t side : {32, 96}) {
      const Tensor image = device.tensor({1, side, side, 3}, test::formula_images(1, side));
      CHECK(method->explain(session, image, target).map.shape() == Shape{3, side, side});
    }
    CHECK(session.shapes_cached() == 2);
  }
  session.clear();
  CHECK(session.shapes_cached() == 0);
}

TEST_CASE("a pass from the model input is the pass from the image") {
  TestDevice device;
  Session session(test::small_resnet(), three_heads(), device.kernels());
  const WalkPlan gradient{"gradient", {}, {}};
  const Pass whole = session.forward(device.tensor({2, 32, 32, 3}, test::formula_images(2, 32)), gradient);
  const Tensor input = whole.activations().value(whole.graph().find("model_input"));
  const Pass rest = session.forward(input, gradient, Start::model_input);
  CHECK(!rest.graph().contains("image"));
  for (size_t head = 0; head < 3; ++head) CHECK(session.logits(rest, head) == session.logits(whole, head));
}

TEST_CASE("relevance is conserved at every cut of a network without biases") {
  TestDevice device;
  const Folded net = test::block_without_biases(8);
  const std::vector<Head> heads = test::small_heads({"a", "b"}, {1, 8, 8, 6}, 4, false);
  Session session(net, heads, device.kernels());
  const std::vector<int> targets = {0, 3, 2, 1};
  const Tensor images = device.tensor({2, 8, 8, 3}, test::formula_images(2, 8));
  const Explanation explanation =
      make_attribution("ixg", {})->explain(session, images, targets, {{"relu1", "model_input"}, true});
  REQUIRE(explanation.conservation);
  std::vector<std::string> names;
  for (const Conservation::Cut& cut : explanation.conservation->cuts) {
    names.push_back(cut.node);
    CHECK(cut.sums.size() == 8);
    CHECK(explanation.conservation->error(cut) < 1e-4);
  }
  CHECK(names == std::vector<std::string>{"block", "add", "relu1", "conv1", "model_input"});
  CHECK(explanation.conservation->start == explanation.logits);
  CHECK(explanation.layers.at("relu1").shape() == Shape{8, 8, 8, 6});
  CHECK(device.values(explanation.layers.at("model_input")) == device.values(explanation.raw));
}

TEST_CASE("wrong targets, heads and layers are named") {
  TestDevice device;
  const Folded backbone = test::small_resnet();
  Session session(backbone, three_heads(), device.kernels());
  const Tensor images = device.tensor({2, 32, 32, 3}, test::formula_images(2, 32));
  const AttributionPtr method = make_attribution("ixg", {});
  const std::vector<int> odd = {1, 2, 3}, high = {1, 10}, good = {1, 2};
  CHECK_THROWS_WITH_AS(method->explain(session, images, odd), doctest::Contains("got 3 for 2 images"), Error);
  CHECK_THROWS_WITH_AS(method->explain(session, images, high),
                       "[session] no such class; got 10; expected 0 to 9 of head 'first'", Error);
  CHECK_THROWS_WITH_AS(method->explain(session, images, good, {{"layer9"}, false}),
                       doctest::Contains("no such node; got 'layer9'"), Error);
  CHECK_THROWS_AS(make_attribution("gradcam", {{"layer", "layer9"}})->explain(session, images, good), Error);
  const std::vector<Head> wrong = test::small_heads({"wide"}, {1, 8, 8, 65}, 10);
  CHECK_THROWS_WITH_AS(Session(backbone, wrong, device.kernels()),
                       doctest::Contains("head 'wide' does not fit the backbone"), Error);
  CHECK_THROWS_AS(Session(backbone, {}, device.kernels()), Error);
}

TEST_CASE("a part of a graph keeps names and aliases, and refuses what comes from elsewhere") {
  Graph graph;
  const Value a = graph.input("a", {1, 4}), b = graph.input("b", {1, 4});
  const Value mid = graph.add(std::make_shared<ActivationOp>(OpKind::relu), {a}, "mid");
  const Value w = graph.parameter("w", {2, 4});
  const Value y = graph.add(std::make_shared<LinearOp>(), {mid, w}, "y");
  graph.alias("out", y);
  const Value mixed = graph.add(std::make_shared<AddOp>(), {mid, b}, "mixed");
  const Graph from_mixed = subgraph_from(graph, mixed.index);
  CHECK(from_mixed.size() == 1);
  CHECK_THROWS_WITH_AS(subgraph_from(graph, mid.index), doctest::Contains("also reads the input 'b'"), Error);
  Graph plain;
  const Value p = plain.input("a", {1, 4});
  const Value q = plain.add(std::make_shared<ActivationOp>(OpKind::relu), {p}, "mid");
  plain.alias("out", plain.add(std::make_shared<LinearOp>(), {q, plain.parameter("w", {2, 4})}, "y"));
  const Graph part = subgraph_from(plain, q.index);
  CHECK((part.contains("out") && part.contains("mid") && part.contains("w") && !part.contains("a")));
  const Shape wide{7, 4};
  CHECK(with_input_shapes(part, std::span(&wide, 1)).node(part.find("out")).shape == Shape{7, 2});
  const Shape wrong{7, 5};
  CHECK_THROWS_AS(with_input_shapes(part, std::span(&wrong, 1)), Error);
}

TEST_CASE("images with different numbers of targets are grouped, and results come back in order") {
  const std::vector<std::vector<int>> targets = {{5}, {1, 2}, {}, {3}, {4, 0}, {7}, {8, 9}};
  const std::vector<TargetBatch> batches = batch_by_targets(targets, 2);
  REQUIRE(batches.size() == 4);
  CHECK(batches[0].images == std::vector<int64_t>{0, 3});
  CHECK(batches[1].images == std::vector<int64_t>{5});
  CHECK(batches[2].images == std::vector<int64_t>{1, 4});
  CHECK(batches[2].targets == std::vector<int>{1, 4, 2, 0});
  CHECK(batches[3].targets == std::vector<int>{8, 9});
  std::vector<int> rows;  // what a method would return: head * 100 + class
  for (const TargetBatch& batch : batches) {
    for (int head = 0; head < 2; ++head) {
      for (int target : batch.targets) rows.push_back(100 * head + target);
    }
  }
  std::vector<int> sorted;
  for (int64_t row : rows_in_order(batches, 2)) sorted.push_back(rows[static_cast<size_t>(row)]);
  CHECK(sorted == std::vector<int>{5, 1, 2, 3, 4, 0, 7, 8, 9, 105, 101, 102, 103, 104, 100, 107, 108, 109});
  CHECK(origin(batches[2], 7).image == 4);
  CHECK(origin(batches[2], 7).target == 1);
  CHECK(origin(batches[2], 7).head == 1);
}

}  // namespace
}  // namespace hp

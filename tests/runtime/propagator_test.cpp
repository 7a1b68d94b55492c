#include "runtime/propagator.h"

#include <doctest/doctest.h>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/ops/loss.h"
#include "runtime/ops/norm.h"
#include "tests/support/small_nets.h"

using namespace hp;
using testing::formula_parameters;
using testing::formula_tensor;
using testing::relative_error;
using testing::same_bits;
using testing::small_resnet;

namespace {

// One-hot multipliers [targets * batch, classes].
Tensor seeds(const std::vector<int>& classes, int64_t batch, int64_t columns) {
  Tensor t = Tensor::host({static_cast<int64_t>(classes.size()) * batch, columns});
  std::fill_n(t.floats(), t.count(), 0.0f);
  for (size_t i = 0; i < classes.size(); ++i) {
    for (int64_t b = 0; b < batch; ++b) t.floats()[(static_cast<int64_t>(i) * batch + b) * columns + classes[i]] = 1;
  }
  return t;
}

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.count(); ++i) sum += static_cast<double>(a.floats()[i]) * b.floats()[i];
  return sum;
}

Tensor moved(const Tensor& x, const Tensor& direction, float step) {
  Tensor y = Tensor::host(x.shape());
  for (int64_t i = 0; i < x.count(); ++i) y.floats()[i] = x.floats()[i] + step * direction.floats()[i];
  return y;
}

struct Fixture {
  CpuKernels kernels;
  Graph unfolded = small_resnet(2);
  Folded net = fold_norms(unfolded, formula_parameters(unfolded));
  Executor executor{net.graph, net.parameters, kernels, Keep::everything};
  Tensor image = formula_tensor("image", {2, 8, 8, 3});
  int input = net.graph.find("image"), logits = net.graph.find("logits");
  Entry entry(const std::vector<int>& classes) {
    return {logits, {seeds(classes, 2, 5), Form::multiplier, static_cast<int>(classes.size())}};
  }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "walk: the gradient is the directional derivative") {
  const Activations pass = executor.run(image);
  Propagator propagator(net.graph, Composite(), kernels);
  const Entry e = entry({3});
  const Tap tap{input, Tap::Keep::message};
  const RelevanceTrace trace = propagator.run(pass, {&e, 1}, {&tap, 1});
  const Tensor direction = formula_tensor("direction", image.shape());
  // Small enough that no ReLU changes its sign for most directions; the middle of three step sizes decides.
  const float step = 1e-3f;
  const Tensor up = moved(image, direction, step), down = moved(image, direction, -step);
  const Activations above = executor.run(up), below = executor.run(down);
  double difference = 0;
  for (int b = 0; b < 2; ++b) {
    difference +=
        static_cast<double>(above.value(logits).floats()[b * 5 + 3]) - below.value(logits).floats()[b * 5 + 3];
  }
  CHECK(dot(trace.at(input).data, direction) == doctest::Approx(difference / (2 * step)).epsilon(5e-3));
  CHECK(trace.defaults().size() > 5);
}

TEST_CASE_FIXTURE(Fixture, "walk: several targets equal single walks, whatever the chunks") {
  const Activations pass = executor.run(image);
  Propagator whole(net.graph, Composite(), kernels), chunked(net.graph, Composite(), kernels, 1),
      pairs(net.graph, Composite(), kernels, 120000);
  const Tap tap{input, Tap::Keep::message};
  const Entry all = entry({0, 3, 1, 4, 2});
  const RelevanceTrace together = whole.run(pass, {&all, 1}, {&tap, 1});
  const RelevanceTrace one_by_one = chunked.run(pass, {&all, 1}, {&tap, 1});
  const RelevanceTrace by_pairs = pairs.run(pass, {&all, 1}, {&tap, 1});
  CHECK(relative_error(one_by_one.at(input).data, together.at(input).data) < 1e-6);
  CHECK(relative_error(by_pairs.at(input).data, together.at(input).data) < 1e-6);
  const std::vector<int> order{0, 3, 1, 4, 2};
  for (int i = 0; i < 5; ++i) {
    const Entry single = entry({order[static_cast<size_t>(i)]});
    const RelevanceTrace alone = whole.run(pass, {&single, 1}, {&tap, 1});
    CHECK(relative_error(together.at(input).data.rows(2 * i, 2 * i + 2), alone.at(input).data) < 1e-6);
  }
}

TEST_CASE_FIXTURE(Fixture, "walk: two entries add up, inner messages can be seeds, sums equal the dot with the value") {
  const Activations pass = executor.run(image);
  Propagator propagator(net.graph, Composite(), kernels);
  const int middle = net.graph.find("relu3");
  const std::vector<Tap> taps{{input, Tap::Keep::message}, {middle, Tap::Keep::message}};
  const Entry e = entry({2});
  const RelevanceTrace full = propagator.run(pass, {&e, 1}, taps);
  const Entry from_middle{middle, full.at(middle)};
  const RelevanceTrace lower = propagator.run(pass, {&from_middle, 1}, {&taps[0], 1});
  CHECK(same_bits(lower.at(input).data, full.at(input).data));
  const std::vector<Entry> both{e, from_middle};
  const RelevanceTrace twice = propagator.run(pass, both, {&taps[0], 1});
  Tensor doubled = moved(full.at(input).data, full.at(input).data, 1.0f);
  CHECK(relative_error(twice.at(input).data, doubled) < 1e-6);
  const Tap sums{middle, Tap::Keep::sums};
  const RelevanceTrace summed = propagator.run(pass, {&e, 1}, {&sums, 1});
  const Tensor value = pass.value(middle), message = full.at(middle).data;
  CHECK(summed.sums(middle)[0] == doctest::Approx(dot(value.rows(0, 1), message.rows(0, 1))).epsilon(1e-5));
  CHECK(summed.sums(middle)[1] == doctest::Approx(dot(value.rows(1, 2), message.rows(1, 2))).epsilon(1e-5));
  CHECK_THROWS_AS(summed.at(middle), Error);
}

TEST_CASE_FIXTURE(Fixture, "walk: a message goes where its tap says, and a tapped entry is its own message") {
  const Activations pass = executor.run(image);
  Propagator propagator(net.graph, Composite(), kernels);
  const Entry e = entry({2, 4});
  const Tap tap{input, Tap::Keep::message};
  const Tensor want = propagator.run(pass, {&e, 1}, {&tap, 1}).at(input).data;
  const Tensor place = Tensor::host(want.shape());
  const Tap placed{input, Tap::Keep::message, place};
  const RelevanceTrace trace = propagator.run(pass, {&e, 1}, {&placed, 1});
  CHECK(trace.at(input).data.floats() == place.floats());
  CHECK(same_bits(place, want));
  const Tap small{input, Tap::Keep::message, place.rows(0, 1)};
  CHECK_THROWS_WITH_AS(propagator.run(pass, {&e, 1}, {&small, 1}), doctest::Contains("does not fit its place"), Error);
  const std::vector<Tap> both{{logits, Tap::Keep::message}, {input, Tap::Keep::message}};
  const RelevanceTrace shared = propagator.run(pass, {&e, 1}, both);
  CHECK(shared.at(logits).data.floats() == e.message.data.floats());
  CHECK(same_bits(shared.at(input).data, want));
  // Two entries at one node add up: neither of them is the message.
  const std::vector<Entry> twice{e, e};
  const RelevanceTrace sum = propagator.run(pass, twice, {both.data(), 1});
  CHECK(sum.at(logits).data.floats() != e.message.data.floats());
  CHECK(sum.at(logits).data.floats()[2] == 2 * e.message.data.floats()[2]);
}

TEST_CASE_FIXTURE(Fixture, "walk: a steady state allocates nothing") {
  const Activations pass = executor.run(image);
  Propagator propagator(net.graph, Composite(), kernels);
  const Entry e = entry({2, 1});
  const Tap tap{input, Tap::Keep::message};
  for (int i = 0; i < 2; ++i) propagator.run(pass, {&e, 1}, {&tap, 1});
  const size_t bytes = propagator.bytes();
  for (int i = 0; i < 3; ++i) propagator.run(pass, {&e, 1}, {&tap, 1});
  CHECK(propagator.bytes() == bytes);
}

// Where every message is tapped, each has memory of its own.
TEST_CASE("walk: messages that share memory are the same to the bit, in random graphs") {
  CpuKernels kernels;
  size_t bytes_shared = 0, bytes_alone = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    uint64_t draws = 0;
    auto below = [&](int count) { return static_cast<int>(golden::mix(draws++, seed) % static_cast<uint32_t>(count)); };
    Graph g;
    const Shape shape{2, 5};
    std::vector<Value> values{g.input("x", shape)};
    const int count = 3 + below(10);
    while (g.size() <= count) {
      // Mostly the last values, so that chains and residual blocks are frequent.
      auto pick = [&] { return values[static_cast<size_t>(std::max(g.size() - 1 - below(4), 0))]; };
      const std::string name = fmt::format("n{}", g.size());
      const Value a = pick(), b = pick();
      const int kind = below(5);
      if (kind == 0) {
        values.push_back(relu(g, a, name));
      } else if (kind == 1) {
        values.push_back(g.add(std::make_shared<AffineOp>(1.5f, 0.25f), {a}, name));
      } else if (kind == 2) {
        values.push_back(g.add(std::make_shared<MulOp>(), {a, b}, name));
      } else {
        values.push_back(g.add(std::make_shared<AddOp>(), {a, b}, name));
      }
    }
    Parameters none;
    Executor executor(g, none, kernels, Keep::everything);
    const Activations pass = executor.run(formula_tensor("x", shape));
    std::vector<Entry> entries;
    auto enter = [&](int node, const std::string& name) {
      entries.push_back({node, {formula_tensor(name, {6, 5}), Form::multiplier, 3}});
    };
    enter(g.size() - 1, "m");
    if (below(2) == 1) enter(1 + below(g.size() - 1), "n");
    std::vector<Tap> all, some;
    for (int i = 0; i < g.size(); ++i) all.push_back({i, Tap::Keep::message});
    some.push_back(all[0]);
    if (below(3) == 0) some.push_back(all[static_cast<size_t>(below(g.size()))]);
    Propagator shared(g, Composite(), kernels), alone(g, Composite(), kernels);
    const RelevanceTrace got = shared.run(pass, entries, some), want = alone.run(pass, entries, all);
    CHECK(same_bits(got.at(0).data, want.at(0).data));
    bytes_shared += shared.bytes(), bytes_alone += alone.bytes();
  }
  CHECK(bytes_shared < bytes_alone);
}

TEST_CASE("walk: parameter gradients of a train-mode network are directional derivatives of the loss") {
  CpuKernels kernels;
  Graph g;
  const int64_t batch = 6;
  const Value x = g.input("x", {batch, 4, 4, 3});
  const Value t = g.input("t", {batch, 4});
  const Value w = g.parameter("conv.weight", {8, 3, 3, 3});
  Conv2dOp::Params same;
  same.padding = 1;
  Value y = g.add(std::make_shared<Conv2dOp>(same), {x, w}, "conv");
  const Value s = g.add(std::make_shared<BatchStatisticsOp>(), {y}, "bn.statistics");
  const Value gamma = g.parameter("bn.weight", {8}), beta = g.parameter("bn.bias", {8});
  y = g.add(std::make_shared<BatchNormaliseOp>(1e-5f), {y, s, gamma, beta}, "bn");
  y = g.add(std::make_shared<ActivationOp>(OpKind::sigmoid), {y}, "act");
  y = g.add(std::make_shared<AvgPoolOp>(), {y}, "pool");
  y = g.add(std::make_shared<ReshapeOp>(Shape{8}), {y}, "flat");
  const Value fw = g.parameter("fc.weight", {4, 8}), fb = g.parameter("fc.bias", {4});
  y = g.add(std::make_shared<LinearOp>(), {y, fw, fb}, "logits");
  const Value loss = g.add(std::make_shared<LossOp>(OpKind::cross_entropy), {y, t}, "loss");
  Parameters parameters = formula_parameters(g);
  Tensor targets = Tensor::host({batch, 4});
  for (int64_t i = 0; i < targets.count(); ++i) targets.floats()[i] = i % 4 == (i / 4) % 4 ? 1.0f : 0.0f;
  const std::vector<Tensor> inputs{formula_tensor("x", {batch, 4, 4, 3}), targets};
  Executor executor(g, parameters, kernels, Keep::everything);
  Propagator propagator(g, Composite(), kernels);
  Tensor one = Tensor::host({1});
  one.floats()[0] = 1;
  const Entry e{loss.index, {one, Form::multiplier, 1}};
  std::vector<Tap> taps;
  for (const std::string& name : parameters.names()) taps.push_back({g.find(name), Tap::Keep::message});
  const RelevanceTrace trace = propagator.run(executor.run(inputs), {&e, 1}, taps);
  for (const std::string& name : parameters.names()) {
    CAPTURE(name);
    const Tensor original = parameters.at(name);
    const Tensor direction = formula_tensor("direction " + name, original.shape());
    const float step = 2e-2f;
    double values[2];
    for (int side = 0; side < 2; ++side) {
      parameters.set(name, moved(original, direction, side ? -step : step));
      values[side] = executor.run(inputs).value(loss.index).floats()[0];
    }
    parameters.set(name, original);
    const double slope = (values[0] - values[1]) / (2 * step);
    CHECK(dot(trace.at(g.find(name)).data, direction) == doctest::Approx(slope).epsilon(2e-2).scale(1e-3));
  }
}

TEST_CASE("walk: nothing passes a detach") {
  CpuKernels kernels;
  Graph g;
  const Value x = g.input("x", {2, 3});
  const Value d = g.add(std::make_shared<DetachOp>(), {x}, "d");
  const Value y = g.add(std::make_shared<MulOp>(), {x, d}, "y");
  const Parameters none;
  Executor executor(g, none, kernels, Keep::everything);
  const Tensor input = formula_tensor("x", {2, 3});
  const Activations pass = executor.run(input);
  Tensor ones = Tensor::host({2, 3});
  std::fill_n(ones.floats(), 6, 1.0f);
  const Entry e{y.index, {ones, Form::multiplier, 1}};
  const Tap tap{x.index, Tap::Keep::message};
  Propagator propagator(g, Composite(), kernels);
  CHECK(
      same_bits(propagator.run(pass, {&e, 1}, {&tap, 1}).at(x.index).data, input));  // y = x * sg(x): dy/dx = x, not 2x
}

TEST_CASE("rules: relevance must not run through a softmax by default") {
  Graph g;
  const Value x = g.input("x", {2, 3});
  g.add(std::make_shared<SoftmaxOp>(false), {x}, "p");
  Composite composite;
  composite.otherwise(std::make_shared<VjpRule>(Form::relevance));
  CHECK_THROWS_WITH_AS(composite.assign(g), doctest::Contains("'p'"), Error);
}

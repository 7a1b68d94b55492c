// The ops of transformers: attention as one step and as visible nodes, tokens, positions, and a walk for several
// targets.
#include "runtime/ops/attention.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/executor.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/resize_positions.h"
#include "runtime/ops/token_map.h"
#include "runtime/ops/tokens.h"
#include "runtime/propagator.h"
#include "tests/support/small_nets.h"

using namespace hp;
using hp::testing::formula_tensor;

namespace {

struct Net {
  Graph graph;
  Parameters parameters;
  CpuKernels kernels;
  std::unique_ptr<Executor> executor;

  Value parameter(const std::string& name, Shape shape) {
    parameters.set(name, formula_tensor(name, shape));
    return graph.parameter(name, shape);
  }
  Activations run(const Tensor& x, Keep keep = Keep::everything, std::vector<int> pinned = {}) {
    executor = std::make_unique<Executor>(graph, parameters, kernels, keep, std::move(pinned));
    return executor->run(x);
  }
};

template <class OpType, class... Arguments>
Value add(Graph& graph, const std::vector<Value>& inputs, const std::string& name, Arguments&&... arguments) {
  return graph.add(std::make_shared<OpType>(std::forward<Arguments>(arguments)...), inputs, name);
}

Value linear(Net& net, Value x, int64_t out, const std::string& name) {
  const Value w = net.parameter(name + ".weight", {out, net.graph.shape(x).columns()});
  return add<LinearOp>(net.graph, {x, w, net.parameter(name + ".bias", {out})}, name);
}

// tokens [2, 5, 12] -> attention of 3 heads, a GELU behind a linear op, layer norm -> [2, 5, 12]
Value small_block(Net& net, Value x) {
  const Value normed =
      add<LayerNormOp>(net.graph, {x, net.parameter("norm.weight", {12}), net.parameter("norm.bias", {12})}, "norm");
  const Value q = linear(net, normed, 12, "attn.q"), k = linear(net, normed, 12, "attn.k"),
              v = linear(net, normed, 12, "attn.v");
  const Value mixed = add_attention(net.graph, q, k, v, {.heads = 3}, "attn");
  const Value sum = add<AddOp>(net.graph, {linear(net, mixed, 12, "attn.proj"), x}, "add");
  return linear(net, add<ActivationOp>(net.graph, {linear(net, sum, 20, "fc1")}, "gelu", OpKind::gelu), 12, "fc2");
}

std::vector<float> floats_of(const Tensor& tensor) { return {tensor.floats(), tensor.floats() + tensor.count()}; }

// d(sum of seed * output)/d(x or a parameter), for `targets` seeds.
std::vector<float> walk(Net& net, const Activations& activations, const Tensor& seeds, int targets,
                        const std::string& at) {
  const Composite gradient;
  Propagator propagator(net.graph, gradient, net.kernels);
  const Entry entry{net.graph.size() - 1, {seeds, Form::multiplier, targets}};
  const Tap tap{net.graph.find(at), Tap::Keep::message};
  return floats_of(propagator.run(activations, std::span(&entry, 1), std::span(&tap, 1)).at(tap.node).data);
}

double loss(Net& net, const Tensor& x, const Tensor& seed) {
  const Activations activations = net.run(x);
  const Tensor& y = activations.value(net.graph.size() - 1);
  double sum = 0;
  for (int64_t i = 0; i < y.count(); ++i) sum += static_cast<double>(y.floats()[i]) * seed.floats()[i];
  return sum;
}

// The walk's gradient at `at` against central differences of the loss.
void check_gradient(Net& net, const Tensor& x, const std::string& at) {
  const Tensor seed = formula_tensor("seed", net.graph.node(net.graph.size() - 1).shape);
  const std::vector<float> gradient = walk(net, net.run(x), seed, 1, at);
  float* values = at == "x" ? x.floats() : net.parameters.at(at).floats();
  double largest = 0;
  for (const float g : gradient) largest = std::max(largest, std::abs(static_cast<double>(g)));
  const auto touch = [&] {
    if (at != "x") net.parameters.weight(at).touch();
  };
  for (size_t i = 0; i < gradient.size(); i += 1 + gradient.size() / 23) {
    const float before = values[i], step = 0.01f;
    values[i] = before + step;
    touch();
    const double up = loss(net, x, seed);
    values[i] = before - step;
    touch();
    const double down = loss(net, x, seed);
    values[i] = before;
    touch();
    CHECK_MESSAGE(std::abs((up - down) / (2 * step) - gradient[i]) < 3e-3 * largest, at, " ", i);
  }
}

}  // namespace

TEST_CASE("attention: fused and visible are the same") {
  Net net;
  small_block(net, net.graph.input("x", {2, 5, 12}));
  const Tensor x = formula_tensor("x", {2, 5, 12});
  const int qk = net.graph.find("attn.qk"), scale = net.graph.find("attn.scale"),
            softmax = net.graph.find("attn.softmax");
  const Activations visible = net.run(x, Keep::everything, {qk, scale});
  for (const Keep keep : {Keep::outputs, Keep::everything}) {
    const Activations fused = net.run(x, keep, {softmax});
    CHECK_FALSE(fused.kept(qk));
    CHECK_FALSE(fused.kept(scale));
    CHECK(fused.kept(softmax));
    CHECK(net.executor->plan().steps().size() < 13);
    const int end = net.graph.size() - 1;
    CHECK(testing::relative_error(fused.value(softmax), visible.value(softmax)) < 1e-6);
    CHECK(testing::relative_error(fused.value(end), visible.value(end)) < 1e-6);
  }
  CHECK_FALSE(net.run(x, Keep::outputs).kept(net.graph.find("fc1")));  // inside the GELU's step
  CHECK(net.run(x, Keep::everything).kept(net.graph.find("fc1")));
  CHECK_THROWS_AS(net.run(x).value(qk), Error);
  // By hand: the first row of the second head of the second image.
  const Tensor q = visible.value(net.graph.find("attn.q")), k = visible.value(net.graph.find("attn.k"));
  double scores[5], total = 0;
  for (int key = 0; key < 5; ++key) {
    double dot = 0;
    for (int c = 4; c < 8; ++c) dot += static_cast<double>(q.floats()[60 + c]) * k.floats()[60 + 12 * key + c];
    total += scores[key] = std::exp(dot / 2);
  }
  const float* weights = visible.value(softmax).floats() + 3 * 25 + 25;
  for (int key = 0; key < 5; ++key) CHECK(std::abs(weights[key] - scores[key] / total) < 1e-6);
}

TEST_CASE("attention: gradients of inputs and parameters by finite differences") {
  Net net;
  small_block(net, net.graph.input("x", {2, 5, 12}));
  const Tensor x = formula_tensor("x", {2, 5, 12});
  for (const char* at :
       {"x", "norm.weight", "norm.bias", "attn.q.weight", "attn.k.weight", "attn.v.weight", "fc1.bias"}) {
    check_gradient(net, x, at);
  }
}

TEST_CASE("attention: targets share a pass") {
  Net net;
  small_block(net, net.graph.input("x", {2, 5, 12}));
  const Activations activations = net.run(formula_tensor("x", {2, 5, 12}));
  const Tensor seeds = formula_tensor("seeds", {6, 5, 12});
  const std::vector<float> together = walk(net, activations, seeds, 3, "x");
  for (int target = 0; target < 3; ++target) {
    const std::vector<float> alone = walk(net, activations, seeds.rows(2 * target, 2 * target + 2), 1, "x");
    for (size_t i = 0; i < alone.size(); ++i) {
      CHECK(std::abs(together[target * alone.size() + i] - alone[i]) < 1e-5);
    }
  }
}

TEST_CASE("matmul: all four orders, values and gradients") {
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      Net net;
      const Value x = net.graph.input("x", {2, 3, 4, 6});
      const Value a = add<ReshapeOp>(net.graph, {x}, "a", Shape{3, 4, 6});
      const int64_t inner = transpose_a ? 4 : 6;
      const Value b = add<ReshapeOp>(net.graph, {linear(net, x, 6, "fc")}, "b",
                                     transpose_b == (inner == 6) ? Shape{3, 4, 6} : Shape{3, 6, 4});
      const Value y = add<MatmulOp>(net.graph, {a, b}, "y", MatmulParams{transpose_a, transpose_b});
      CHECK(net.graph.shape(y)[2] == (transpose_a ? 6 : 4));
      const Tensor input = formula_tensor("x", {2, 3, 4, 6});
      check_gradient(net, input, "x");
      const Tensor seeds = formula_tensor("seeds", net.graph.shape(y).with(0, 4));
      const Activations activations = net.run(input);
      const std::vector<float> both = walk(net, activations, seeds, 2, "x");
      const std::vector<float> second = walk(net, activations, seeds.rows(2, 4), 1, "x");
      for (size_t i = 0; i < second.size(); ++i) CHECK(std::abs(both[second.size() + i] - second[i]) < 1e-5);
    }
  }
}

TEST_CASE("tokens: patches, a class token and positions") {
  Net net;
  const Value x = net.graph.input("x", {2, 4, 6, 3});
  const Value map = add<PatchifyOp>(net.graph, {x}, "map", 2);
  CHECK(net.graph.shape(map) == Shape{2, 2, 3, 12});
  const Value patches = add<TokensOfMapOp>(net.graph, {map}, "patches");
  const Value tokens = add<PrependOp>(net.graph, {patches, net.parameter("cls", {1, 1, 12})}, "tokens");
  const Value placed = add<PositionAddOp>(net.graph, {tokens, net.parameter("pos", {7, 12})}, "placed");
  add<SliceOp>(net.graph, {placed}, "some", SliceOp::Params{.axis = 1, .begin = 0, .step = 2});
  const Tensor image = formula_tensor("x", {2, 4, 6, 3});
  const Activations activations = net.run(image);
  const float* patch = activations.value(patches.index).floats() + 72 + 4 * 12;  // second image, row 1, column 1
  for (int i = 0; i < 12; ++i) {
    const int row = 2 + i / 6, column = 2 + i / 3 % 2;
    CHECK(patch[i] == image.floats()[72 + (row * 6 + column) * 3 + i % 3]);
  }
  const float* y = activations.value(placed.index).floats() + 84;
  const float *cls = net.parameters.at("cls").floats(), *pos = net.parameters.at("pos").floats();
  for (int i = 0; i < 12; ++i) {
    CHECK(y[i] == cls[i] + pos[i]);
    CHECK(y[60 + i] == patch[i] + pos[60 + i]);
  }
  for (const char* at : {"x", "cls", "pos"}) check_gradient(net, image, at);
  CHECK_THROWS_AS(add<PatchifyOp>(net.graph, {x}, "odd", 4), Error);
  CHECK_THROWS_AS(add<PositionAddOp>(net.graph, {tokens, net.graph.parameter("short", {6, 12})}, "bad"), Error);
}

TEST_CASE("tokens: the fixed embedding is a constant that is computed once") {
  Net net;
  const Value x = net.graph.input("x", {1, 6, 8});
  const Value fixed = add<SinCosOp>(net.graph, {}, "fixed", 2, 3, 8);
  const Value y = add<PositionAddOp>(net.graph, {x, fixed}, "y");
  const Tensor zero = Tensor::host({1, 6, 8});
  std::fill_n(zero.floats(), 48, 0.0f);
  const Tensor values = net.run(zero).value(y.index);
  for (int i = 0; i < 6; ++i) {
    for (int k = 0; k < 2; ++k) {
      const double w = k == 0 ? 1 : 1e-4, column = i % 3, row = i / 3;
      CHECK(std::abs(values.floats()[i * 8 + k] - std::sin(column * w)) < 1e-7);
      CHECK(std::abs(values.floats()[i * 8 + 2 + k] - std::cos(column * w)) < 1e-7);
      CHECK(std::abs(values.floats()[i * 8 + 4 + k] - std::sin(row * w)) < 1e-7);
      CHECK(std::abs(values.floats()[i * 8 + 6 + k] - std::cos(row * w)) < 1e-7);
    }
  }
  CHECK(net.graph.node(fixed.index).is_constant);
  CHECK(net.graph.with_batch(4).shape(y)[0] == 4);
}

TEST_CASE("tokens: rows of a fused projection") {
  Net net;
  const Value x = net.graph.input("x", {2, 3, 4});
  const Value fused = net.parameter("qkv", {12, 4});
  const Value w = add<RowsOp>(net.graph, {fused}, "k", 4, 4);
  add<LinearOp>(net.graph, {x, w}, "y");
  check_gradient(net, formula_tensor("x", {2, 3, 4}), "qkv");
  CHECK_THROWS_AS(add<RowsOp>(net.graph, {fused}, "bad", 10, 4), Error);
}

// torch.nn.functional.interpolate (2.x, float64) of sin(0.7 i) + i / 10 on a grid of 5 x 5 to 7 x 4: by size, by the
// scale factors 7.1 / 5 and 4.1 / 5, and by size with antialias.
TEST_CASE("positions: bicubic resizing is torch's, and its gradient is its adjoint") {
  using Params = ResizePositionsOp::Params;
  const Params size{.prefix = 1, .height = 5, .width = 5, .out_height = 7, .out_width = 4};
  Params dino = size, antialiased = size;
  dino.source = PositionSource::dino, antialiased.antialias = true;
  const std::pair<Params, std::vector<double>> cases[] = {
      {size, {0.07071233, 1.09176117, 1.35158489, 0.7744864,  -0.07574326, -0.05254788, 0.27815737,
              0.79057999, 0.57776902, 0.22470269, 0.29797714, 0.85373869,  1.70238593,  2.15214982,
              1.83815231, 1.09024356, 0.71257173, 0.99254137, 1.61290369,  2.24315153,  1.4985813,
              1.46323712, 1.7433508,  2.24888536, 3.17739823, 2.98381399,  2.19391689,  1.47389837}},
      {dino, {0.06014372, 1.07069027, 1.36349805, 0.82716123, -0.07272944, -0.03064559, 0.28213071,
              0.75852078, 0.53332398, 0.16000085, 0.23045273, 0.80832508,  1.67964155,  2.11511603,
              1.82456726, 1.09978378, 0.7772398,  1.07091923, 1.61854142,  2.15034246,  1.34858944,
              1.32320958, 1.67589089, 2.27393323, 3.10745706, 2.93972437,  2.21828454,  1.53601559}},
      {antialiased, {0.12019822, 1.01319391, 1.28351793, 0.81550325, -0.01986766, 0.07595981, 0.394459,
                     0.78453183, 0.50435017, 0.22057569, 0.33061016, 0.83667363,  1.7400579,  2.11432072,
                     1.80438975, 1.12135411, 0.74630854, 1.00560641, 1.61935517,  2.21931156, 1.58131429,
                     1.56876728, 1.78674622, 2.15808196, 3.1454435,  2.92661052,  2.16568341, 1.50544233}}};
  for (const auto& [params, want] : cases) {
    Net net;
    const Value x = net.graph.input("x", {2, 29, 2});
    const Value p = net.parameter("pos", {1, 26, 2});
    add<PositionAddOp>(net.graph, {x, add<ResizePositionsOp>(net.graph, {p}, "resized", params)}, "y");
    check_gradient(net, formula_tensor("x", {2, 29, 2}), "pos");
    float* values = net.parameters.at("pos").floats();
    values[1] = 9;
    for (int i = 0; i < 25; ++i) values[2 * i + 2] = static_cast<float>(std::sin(i * 0.7) + i / 10.0);
    net.parameters.weight("pos").touch();
    const Tensor zero = Tensor::host({2, 29, 2});
    std::fill_n(zero.floats(), zero.count(), 0.0f);
    const Activations activations = net.run(zero);
    const float* y = activations.value(net.graph.size() - 1).floats() + 58;  // of the second image
    CHECK(y[1] == 9);
    for (size_t i = 0; i < want.size(); ++i) CHECK(std::abs(y[2 * i + 2] - want[i]) < 1e-6);
  }
}

// Each rule against its wording on the op's dense matrix, in both forms and wherever it may stand.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "attribution/rules/activation_rules.h"
#include "attribution/rules/linear_rules.h"
#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/propagator.h"
#include "tests/attribution/dense_rules.h"
#include "tests/support/small_nets.h"

using namespace hp;
using hp::rules::LinearOptions;
using hp::testing::formula_parameters;
using hp::testing::formula_tensor;
using test::DenseOp;
using test::DenseOptions;
using test::DenseRules;
using test::Vector;

namespace {

// What stands behind the op under test.
enum class Behind { nothing, relu, addition };

struct Layer {
  std::string name;
  OpPtr op;
  Shape input, weight;  // no weight: rank 0
};

std::vector<Layer> weighted_layers() {
  auto conv = [](Conv2dOp::Params params) { return std::make_shared<Conv2dOp>(params); };
  return {{"3x3 pad 1", conv({.padding = 1}), {2, 5, 4, 3}, {6, 3, 3, 3}},
          {"3x3/2 pad 1", conv({.stride = 2, .padding = 1}), {2, 6, 5, 3}, {5, 3, 3, 3}},
          {"3x3/2", conv({.stride = 2}), {2, 6, 5, 2}, {4, 2, 3, 3}},
          {"3x3 pad 1 groups 2", conv({.padding = 1, .groups = 2}), {2, 4, 4, 4}, {6, 2, 3, 3}},
          {"1x1", conv({}), {2, 3, 4, 5}, {7, 5, 1, 1}},
          {"1x1/2", conv({.stride = 2}), {2, 5, 5, 4}, {6, 4, 1, 1}},
          {"linear", std::make_shared<LinearOp>(), {2, 7}, {5, 7}},
          {"3x3 wide", conv({.padding = 1}), {1, 4, 4, 8}, {6, 8, 3, 3}},
          {"linear wide", std::make_shared<LinearOp>(), {2, 64}, {10, 64}}};
}

RulePtr make_rule(const std::string& rule, const DenseOptions& dense, LinearOptions options) {
  if (rule == "epsilon") return rules::epsilon(options);
  if (rule == "norm") return rules::norm(options);
  if (rule == "z_plus") return rules::z_plus(options);
  if (rule == "alpha_beta")
    return rules::alpha_beta(static_cast<float>(dense.alpha), static_cast<float>(dense.beta), options);
  if (rule == "gamma") return rules::gamma(static_cast<float>(dense.gamma), options);
  if (rule == "w_square") return rules::w_square(options);
  if (rule == "flat") return rules::flat(options);
  const size_t channels = dense.low.size();
  std::vector<float> low, high;
  for (size_t c = 0; c < channels; ++c) {
    low.push_back(static_cast<float>(dense.low[c]));
    high.push_back(static_cast<float>(dense.high[c]));
  }
  return rules::z_box(low, high, options);
}

Composite composite_of(RulePtr rule, Form form) {
  Composite composite;
  composite.otherwise(std::make_shared<VjpRule>(form));
  composite.on(OpKind::conv2d, rule).on(OpKind::linear, rule);
  composite.on(OpKind::relu, rules::pass(form)).on(OpKind::add, rules::norm({.form = form}));
  composite.on(OpKind::avg_pool, rules::norm({.form = form}));
  if (form == Form::relevance) composite.reads_preactivations();
  return composite;
}

// Alpha-beta has N = z - P, which cancels where little that is negative arrives: P / |N| times float32's rounding. That
// happens where a handful of inputs makes an output, not in layers of real size (2e-7 to 7e-7 for 27 inputs and more).
double tolerance_of(const std::string& rule, const Layer& layer, double tolerance) {
  return rule == "alpha_beta" && layer.weight.count() / layer.weight[0] < 28 ? 10 * tolerance : tolerance;
}

// The relevance of a tapped node, whatever form its message has.
std::vector<float> relevance_of(const RelevanceTrace& trace, const Activations& pass, int node) {
  const Message& message = trace.at(node);
  const Tensor value = pass.value(node);
  std::vector<float> r(message.data.floats(), message.data.floats() + message.data.count());
  for (size_t i = 0; i < r.size() && message.form == Form::multiplier; ++i)
    r[i] *= value.floats()[i % static_cast<size_t>(value.count())];
  return r;
}

double relative_error(const Vector& got, const Vector& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return got.size() == want.size() && norm > 0 ? std::sqrt(difference / norm) : 1e30;
}

Vector doubles(const float* begin, int64_t count) { return Vector(begin, begin + count); }

// One layer with what stands behind it, walked with one rule.
class LayerTest {
 public:
  LayerTest(const Layer& layer, Behind behind, bool nonnegative, bool bias) : layer_(layer), behind_(behind) {
    Value y = graph_.input("x", layer.input, nonnegative);
    x_ = y.index;
    std::vector<Value> inputs{y, graph_.parameter("layer.weight", layer.weight)};
    if (bias) inputs.push_back(graph_.parameter("layer.bias", {layer.weight[0]}));
    y = graph_.add(layer.op, inputs, "layer");
    node_ = y.index;
    if (behind == Behind::addition) {
      const Value other = graph_.input("other", graph_.shape(y));
      y = graph_.add(std::make_shared<AddOp>(), {y, other}, "sum");
    }
    if (behind != Behind::nothing) y = relu(graph_, y, "relu");
    top_ = y.index;
    parameters_ = formula_parameters(graph_);
    if (bias) parameters_.set("layer.bias", formula_tensor("bias", {layer.weight[0]}, 0.5f));
    x_tensor_ = formula_tensor("x " + layer.name, layer.input, nonnegative ? 0.5f : 1.0f, nonnegative ? 0.5f : 0.0f);
    for (int64_t i = 0; i < x_tensor_.count(); i += 4) x_tensor_.floats()[i] = 0;  // as behind a ReLU
    other_ = formula_tensor("other", graph_.node(node_).shape);
  }

  // The relevance of x by the walk, [targets, batch, input].
  Vector walked(const RulePtr& rule, Form form, int targets) {
    const Composite composite = composite_of(rule, form);
    Executor executor(graph_, parameters_, kernels_, Keep::everything, composite.pins(graph_));
    std::vector<Tensor> inputs{x_tensor_};
    if (behind_ == Behind::addition) inputs.push_back(other_);
    const Activations pass = executor.run(inputs);
    Propagator propagator(graph_, composite, kernels_);
    const Entry entry{top_, {message(targets), Form::multiplier, targets}};
    const Tap tap{x_, Tap::Keep::message};
    const RelevanceTrace trace = propagator.run(pass, {&entry, 1}, {&tap, 1});
    const std::vector<float> r = relevance_of(trace, pass, x_);
    return Vector(r.begin(), r.end());
  }

  // The same by the rule's wording; `absorbed` takes what B.8 says the sum over each image is.
  Vector worded(const std::string& rule, DenseOptions options, int targets, Vector* absorbed = nullptr) {
    ArenaPool pool(kernels_);
    const int64_t batch = layer_.input[0], inputs = x_tensor_.count() / batch, outputs = other_.count() / batch;
    std::vector<Operand> operands;
    for (int input : graph_.node(node_).inputs) {
      const Node& node = graph_.node(input);
      operands.push_back({input == x_ ? x_tensor_.rows(0, 1) : parameters_.at(node.name), nullptr});
    }
    const DenseOp dense = test::dense_of({kernels_, pool}, *layer_.op, operands);
    if (!options.low.empty()) {
      const size_t channels = options.low.size();
      for (size_t i = channels; i < dense.inputs; ++i) {
        options.low.push_back(options.low[i - channels]);
        options.high.push_back(options.high[i - channels]);
      }
    }
    const Tensor m = message(targets);
    Vector all;
    for (int64_t row = 0; row < targets * batch; ++row) {
      const Vector x = doubles(x_tensor_.floats() + row % batch * inputs, inputs);
      const Vector z = dense.forward(x);
      const float* other = other_.floats() + row % batch * outputs;
      Vector r(z.size());
      for (size_t j = 0; j < z.size(); ++j) {
        const double sum = behind_ == Behind::addition ? z[j] + other[j] : z[j];
        const double value = behind_ == Behind::nothing ? sum : test::positive(sum);
        r[j] = m.floats()[static_cast<size_t>(row) * z.size() + j] * value;
        if (behind_ == Behind::addition) r[j] *= z[j] / test::stab(sum, options.stabiliser);
      }
      const DenseRules reference(dense, x, options);
      const Vector result = reference.apply(rule, r);
      all.insert(all.end(), result.begin(), result.end());
      if (absorbed) absorbed->push_back(reference.absorbed(rule, r));
    }
    return all;
  }

 private:
  Tensor message(int targets) const {
    const Shape& shape = graph_.node(top_).shape;
    return formula_tensor("message", shape.with(0, shape[0] * targets));
  }

  Layer layer_;
  Behind behind_;
  CpuKernels kernels_{{.threads = 1}};
  Graph graph_;
  Parameters parameters_;
  Tensor x_tensor_, other_;
  int x_ = -1, node_ = -1, top_ = -1;
};

const std::vector<std::string> multiples = {"epsilon", "z_plus", "alpha_beta", "gamma"};

DenseOptions dense_options(const std::string& rule, const Layer& layer, bool zero_bias) {
  DenseOptions options;
  options.zero_bias = zero_bias;
  if (rule != "z_box") return options;
  for (int64_t c = 0; c < layer.input[-1]; ++c) {
    options.low.push_back(-2.0 - 0.25 * static_cast<double>(c));
    options.high.push_back(1.5 + 0.5 * static_cast<double>(c));
  }
  return options;
}

void check_rule(const std::string& rule, bool zero_bias, double tolerance) {
  constexpr int targets = 3;
  double worst = 0;
  for (const Layer& layer : weighted_layers()) {
    for (const Behind behind : {Behind::nothing, Behind::relu, Behind::addition}) {
      for (const bool nonnegative : {true, false}) {
        for (const bool bias : {true, false}) {
          LayerTest test(layer, behind, nonnegative, bias);
          const DenseOptions dense = dense_options(rule, layer, zero_bias);
          const Vector want = test.worded(rule, dense, targets);
          for (const Form form : {Form::multiplier, Form::relevance}) {
            const RulePtr r = make_rule(rule, dense, {.form = form, .zero_bias = zero_bias});
            const double error = relative_error(test.walked(r, form, targets), want);
            CAPTURE(layer.name);
            CAPTURE(static_cast<int>(behind));
            CAPTURE(nonnegative);
            CAPTURE(bias);
            CAPTURE(static_cast<int>(form));
            CHECK(error < tolerance_of(rule, layer, tolerance));
            worst = std::max(worst, error);
          }
        }
      }
    }
  }
  MESSAGE(fmt::format("{}{}: largest relative error {:.1e}", rule, zero_bias ? " without bias" : "", worst));
}

}  // namespace

TEST_CASE("rules: every rule is its wording on the dense matrix") {
  for (const char* rule : {"epsilon", "z_plus", "alpha_beta", "gamma", "z_box", "w_square", "flat"}) {
    check_rule(rule, false, 1e-5);
  }
}

// Without its bias a denominator may vanish where z does not, which multiplies float32's rounding.
TEST_CASE("rules: without biases in the denominators") {
  for (const char* rule : {"z_plus", "alpha_beta", "w_square"}) check_rule(rule, true, 1e-5);
  for (const char* rule : {"epsilon", "gamma"}) check_rule(rule, true, 1e-4);
}

TEST_CASE("rules: three targets are three walks") {
  const Layer layer = weighted_layers()[3];
  for (const std::string& rule : multiples) {
    LayerTest test(layer, Behind::addition, false, true);
    const RulePtr r = make_rule(rule, {}, {});
    const Vector three = test.walked(r, Form::multiplier, 3), one = test.walked(r, Form::multiplier, 1);
    // The message of the first target is the beginning of that of three.
    CHECK(relative_error(Vector(three.begin(), three.begin() + static_cast<ptrdiff_t>(one.size())), one) < 1e-6);
  }
}

TEST_CASE("rules: what a layer absorbs") {
  for (const Layer& layer : weighted_layers()) {
    for (const std::string rule : {"epsilon", "z_plus", "alpha_beta", "gamma", "w_square", "flat"}) {
      for (const bool nonnegative : {true, false}) {
        LayerTest test(layer, Behind::addition, nonnegative, true);
        Vector absorbed;
        test.worded(rule, {}, 2, &absorbed);
        const Vector r = test.walked(make_rule(rule, {}, {}), Form::multiplier, 2);
        const size_t inputs = r.size() / absorbed.size();
        for (size_t row = 0; row < absorbed.size(); ++row) {
          double sum = 0, size = 0;
          for (size_t i = 0; i < inputs; ++i) sum += r[row * inputs + i], size += std::abs(r[row * inputs + i]);
          CAPTURE(layer.name);
          CAPTURE(rule);
          CHECK(std::abs(sum - absorbed[row]) < 1e-5 * size);
        }
      }
    }
  }
}

TEST_CASE("rules: norm on additions and average pooling") {
  CpuKernels kernels;
  for (const Form form : {Form::multiplier, Form::relevance}) {
    Graph g;
    const Shape shape{2, 4, 4, 3};
    const Value a = g.input("a", shape), b = g.input("b", shape);
    const Value sum = g.add(std::make_shared<AddOp>(), {a, b}, "sum");
    const Value pool =
        g.add(std::make_shared<AvgPoolOp>(PoolParams{.window = 2, .stride = 2, .padding = 0}), {sum}, "pool");
    const Parameters parameters;
    Executor executor(g, parameters, kernels, Keep::everything);
    const std::vector<Tensor> inputs{formula_tensor("a", shape), formula_tensor("b", shape)};
    const Activations pass = executor.run(inputs);
    Propagator propagator(g, composite_of(rules::norm({.form = form}), form), kernels);
    const Entry entry{pool.index, {formula_tensor("m", {6, 2, 2, 3}), Form::multiplier, 3}};
    const std::vector<Tap> taps{{a.index, Tap::Keep::message}, {b.index, Tap::Keep::message}};
    const RelevanceTrace trace = propagator.run(pass, {&entry, 1}, taps);

    // Worded: R_sum = sum_i / 4 * R / stab(mean), then R_a = a R_sum / stab(a + b).
    Vector want_a, want_b;
    for (int64_t i = 0; i < 3 * shape.count(); ++i) {
      const int64_t n = i % shape.count(), c = n % 3, column = n / 3 % 4, row = n / 12 % 4, image = i / 48;
      const int64_t cell = ((image % 2 * 2 + row / 2) * 2 + column / 2) * 3 + c, out = cell + i / 96 * 24;
      double mean = 0;
      for (int64_t k = 0; k < 4; ++k) {
        const int64_t at = ((image % 2 * 4 + row / 2 * 2 + k / 2) * 4 + column / 2 * 2 + k % 2) * 3 + c;
        mean += (static_cast<double>(inputs[0].floats()[at]) + inputs[1].floats()[at]) / 4;
      }
      const double x = inputs[0].floats()[n], y = inputs[1].floats()[n];
      const double r = entry.message.data.floats()[out] * mean / test::stab(mean, 1e-6f) * (x + y) / 4;
      want_a.push_back(x * r / test::stab(x + y, 1e-6f));
      want_b.push_back(y * r / test::stab(x + y, 1e-6f));
    }
    const std::vector<float> got_a = relevance_of(trace, pass, a.index), got_b = relevance_of(trace, pass, b.index);
    CHECK(relative_error(Vector(got_a.begin(), got_a.end()), want_a) < 1e-5);
    CHECK(relative_error(Vector(got_b.begin(), got_b.end()), want_b) < 1e-5);
  }
}

namespace {

// protocol.md 9: relevance by channel, then row, then column, entering as M = R / z.
Vector protocol_walk(const RulePtr& rule, Form form) {
  CpuKernels kernels;
  Graph g;
  const Value x = g.input("x", {1, 3, 3, 1});
  const Value w = g.parameter("w", {2, 1, 2, 2}), b = g.parameter("b", {2});
  const Value y = g.add(std::make_shared<Conv2dOp>(Conv2dOp::Params{}), {x, w, b}, "conv");
  Parameters parameters;
  parameters.set("w", Tensor::host({2, 1, 2, 2}, std::vector<float>{1, -2, 0.5f, 0, -1, 0.3f, 2, -0.7f}));
  parameters.set("b", Tensor::host({2}, std::vector<float>{0.25f, -0.5f}));
  Executor executor(g, parameters, kernels, Keep::everything);
  const Activations pass =
      executor.run(Tensor::host({1, 3, 3, 1}, std::vector<float>{1, -1, 2, 0, 3, -2, .5f, -.5f, 1}));
  const float r[2][4] = {{1, 2, 3, 4}, {-1, 0.5f, 0, 2}};
  Tensor m = Tensor::host({1, 2, 2, 2});
  for (int64_t i = 0; i < 8; ++i) m.floats()[i] = r[i % 2][i / 2] / pass.value(y.index).floats()[i];
  Propagator propagator(g, composite_of(rule, form), kernels);
  const Entry entry{y.index, {m, Form::multiplier, 1}};
  const Tap tap{x.index, Tap::Keep::message};
  const std::vector<float> got = relevance_of(propagator.run(pass, {&entry, 1}, {&tap, 1}), pass, x.index);
  return Vector(got.begin(), got.end());
}

}  // namespace

TEST_CASE("rules: the protocol's golden numbers") {
  const Vector gamma{.05128202, 1.15215635, 2.25710559, 0, 5.09460449, 2.55779529, -.10714284, .23135236, .24137929};
  const Vector box{-.06746027, 1.08963561, .75935829,  1.29456604, 2.44631100,
                   2.63326526, 1.15384579, 1.55411232, .63636351};
  for (const Form form : {Form::multiplier, Form::relevance}) {
    const Vector got_gamma = protocol_walk(rules::gamma(0.25f, {.form = form}), form);
    const Vector got_box = protocol_walk(rules::z_box({-2}, {3}, {.form = form}), form);
    for (size_t i = 0; i < gamma.size(); ++i) {
      CHECK(got_gamma[i] == doctest::Approx(gamma[i]).epsilon(1e-6));
      CHECK(got_box[i] == doctest::Approx(box[i]).epsilon(1e-6));
    }
  }
  CpuKernels kernels;
  Graph g;
  const Value x = g.input("x", {1, 2, 2, 1}), y = g.add(std::make_shared<AvgPoolOp>(), {x}, "pool");
  const Parameters parameters;
  Executor executor(g, parameters, kernels, Keep::everything);
  const Activations pass = executor.run(Tensor::host({1, 2, 2, 1}, std::vector<float>{1, -2, 3, 4}));
  const Tensor m = Tensor::host({1, 1, 1, 1}, std::vector<float>{2 / 1.5f});
  const Vector want{.33333313, -.66666627, .99999940, 1.33333254};
  for (const Form form : {Form::multiplier, Form::relevance}) {
    Propagator propagator(g, composite_of(rules::norm({.form = form}), form), kernels);
    const Entry entry{y.index, {m, Form::multiplier, 1}};
    const Tap tap{x.index, Tap::Keep::message};
    const std::vector<float> got = relevance_of(propagator.run(pass, {&entry, 1}, {&tap, 1}), pass, x.index);
    for (size_t i = 0; i < 4; ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-6));
  }
}

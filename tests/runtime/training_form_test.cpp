#include "runtime/training_form.h"

#include <doctest/doctest.h>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/ops/activation.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/shape_ops.h"
#include "runtime/propagator.h"
#include "tests/support/small_nets.h"

using namespace hp;
using testing::formula_tensor;
using testing::relative_error;

namespace {

const Shape map_shape{4, 5, 5, 6};

Value norm_of(Graph& graph, Value x, const std::string& name) {
  std::vector<Value> inputs{x};
  for (const char* part : {".running_mean", ".running_var", ".weight", ".bias"}) {
    inputs.push_back(graph.parameter(name + part, {map_shape[3]}));
  }
  return graph.add(std::make_shared<BatchNormOp>(1e-5f), inputs, name);
}

Value relu_of(Graph& graph, Value x, const std::string& name) {
  return graph.add(std::make_shared<ActivationOp>(OpKind::relu), {x}, name);
}

// bn1 -> relu1, and bn2, which a ReLU and a sum read.
Graph two_norms() {
  Graph graph;
  const Value x = graph.input("x", map_shape);
  const Value y = relu_of(graph, norm_of(graph, x, "bn1"), "relu1");
  const Value z = norm_of(graph, y, "bn2");
  graph.add(std::make_shared<AddOp>(), {z, relu_of(graph, z, "relu2")}, "sum");
  return graph;
}

// The same for training, node by node.
Graph two_norms_apart() {
  Graph graph;
  const Value x = graph.input("x", map_shape);
  auto norm = [&](Value from, const std::string& name) {
    const Value weight = graph.parameter(name + ".weight", {map_shape[3]});
    const Value bias = graph.parameter(name + ".bias", {map_shape[3]});
    return graph.add(std::make_shared<BatchNormTrainOp>(1e-5f), {from, weight, bias}, name);
  };
  const Value y = relu_of(graph, norm(x, "bn1"), "relu1");
  const Value z = norm(y, "bn2");
  graph.add(std::make_shared<AddOp>(), {z, relu_of(graph, z, "relu2")}, "sum");
  return graph;
}

// The gradients of sum(direction * sum) by x and the parameters.
std::vector<Tensor> gradients(const Graph& graph) {
  CpuKernels kernels;
  Parameters parameters;
  std::vector<Tap> taps{{graph.find("x"), Tap::Keep::message}};
  for (const char* name : {"bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias"}) {
    parameters.set(name, formula_tensor(name, {map_shape[3]}));
    taps.push_back({graph.find(name), Tap::Keep::message});
  }
  Executor executor(graph, parameters, kernels, Keep::everything);
  const Activations pass = executor.run(formula_tensor("image", map_shape));
  Propagator propagator(graph, Composite(), kernels);
  const Entry entry{graph.find("sum"), {formula_tensor("direction", map_shape), Form::multiplier, 1}};
  const RelevanceTrace trace = propagator.run(pass, {&entry, 1}, taps);
  std::vector<Tensor> result;
  for (const Tap& tap : taps) {
    const Tensor& data = trace.at(tap.node).data;
    result.push_back(Tensor::host(data.shape(), std::span(data.floats(), static_cast<size_t>(data.count()))));
  }
  return result;
}

}  // namespace

TEST_CASE("training form: a ReLU that alone reads a batch norm becomes part of it") {
  const Graph graph = two_norms();
  const TrainingForm form = training_form(graph);
  CHECK(form.graph.find("bn1") == form.graph.find("relu1"));
  CHECK(form.graph.node(form.graph.find("bn1")).op->describe() == "batch_norm_train relu");
  CHECK(form.graph.find("bn2") != form.graph.find("relu2"));
  CHECK(form.graph.node(form.graph.find("bn2")).op->describe() == "batch_norm_train");
  REQUIRE(form.norms.size() == 2);
  CHECK(form.norms[0].node == form.graph.find("bn1"));
  CHECK(form.norms[0].mean == "bn1.running_mean");
  CHECK(form.norms[1].values == 4 * 5 * 5);
}

TEST_CASE("training form: its gradients are those of the nodes apart") {
  const std::vector<Tensor> together = gradients(training_form(two_norms()).graph),
                            apart = gradients(two_norms_apart());
  REQUIRE(together.size() == apart.size());
  for (size_t i = 0; i < apart.size(); ++i) {
    CAPTURE(i);
    CHECK(relative_error(together[i], apart[i]) < 1e-5);
  }
}

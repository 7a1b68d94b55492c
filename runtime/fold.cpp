#include "runtime/fold.h"

#include <cmath>
#include <vector>

#include "runtime/error.h"
#include "runtime/ops/norm.h"

namespace hp {

namespace {

// The conv2d or linear that a batch norm can be folded into; -1 if there is none.
int foldable_into(const Graph& graph, int norm) {
  const Node& node = graph.node(norm);
  if (node.kind != OpKind::batch_norm || node.inputs.size() != 5) return -1;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (graph.node(node.inputs[i]).kind != OpKind::parameter) return -1;
  }
  const Node& weighted = graph.node(node.inputs[0]);
  const bool fits = (weighted.kind == OpKind::conv2d || weighted.kind == OpKind::linear) &&
                    weighted.consumers.size() == 1 && graph.node(weighted.inputs[1]).kind == OpKind::parameter &&
                    graph.node(weighted.inputs[1]).consumers.size() == 1;
  return fits ? node.inputs[0] : -1;
}

struct FoldedWeights {
  Tensor weight, bias;
};

FoldedWeights fold_weights(const Graph& graph, int weighted, int norm, const Parameters& parameters) {
  auto values = [&](int node) { return parameters.at(graph.node(node).name).floats(); };
  const std::vector<int>& in = graph.node(norm).inputs;
  const float *mean = values(in[1]), *variance = values(in[2]), *gamma = values(in[3]), *beta = values(in[4]);
  const double epsilon = static_cast<const BatchNormOp&>(*graph.node(norm).op).epsilon();
  const std::vector<int>& own = graph.node(weighted).inputs;
  const Tensor& w = parameters.at(graph.node(own[1]).name);
  const float* bias = own.size() > 2 ? values(own[2]) : nullptr;
  const int64_t filters = w.shape()[0], taps = w.count() / filters;
  FoldedWeights folded{Tensor::host(w.shape()), Tensor::host({filters})};
  const float* from = w.floats();
  float *to = folded.weight.floats(), *shift = folded.bias.floats();
  for (int64_t f = 0; f < filters; ++f) {
    const double k = gamma[f] / std::sqrt(variance[f] + epsilon);
    for (int64_t t = f * taps; t < (f + 1) * taps; ++t) to[t] = static_cast<float>(k * from[t]);
    shift[f] = static_cast<float>(((bias ? bias[f] : 0.0) - mean[f]) * k + beta[f]);
  }
  return folded;
}

}  // namespace

Folded fold_batch_norm(const Graph& graph, const Parameters& parameters) {
  Folded folded;
  folded.parameters.metadata = parameters.metadata;
  std::vector<int> norm_of(static_cast<size_t>(graph.size()), -1);  // conv -> its batch norm
  std::vector<bool> dropped(static_cast<size_t>(graph.size()), false);
  for (int i = 0; i < graph.size(); ++i) {
    const int weighted = foldable_into(graph, i);
    if (weighted < 0) continue;
    norm_of[static_cast<size_t>(weighted)] = i;
    for (size_t input = 1; input < 5; ++input) dropped[static_cast<size_t>(graph.node(i).inputs[input])] = true;
    const std::vector<int>& own = graph.node(weighted).inputs;
    if (own.size() > 2) dropped[static_cast<size_t>(own[2])] = true;
  }
  std::vector<Value> moved(static_cast<size_t>(graph.size()));
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    const size_t index = static_cast<size_t>(i);
    if (dropped[index]) continue;
    if (node.kind == OpKind::input) {
      moved[index] = folded.graph.input(node.name, node.shape, node.is_nonnegative);
    } else if (node.kind == OpKind::parameter) {
      moved[index] = folded.graph.parameter(node.name, node.shape);
      folded.parameters.set(node.name, parameters.at(node.name));
    } else if (node.kind == OpKind::batch_norm && moved[static_cast<size_t>(node.inputs[0])].index >= 0 &&
               norm_of[static_cast<size_t>(node.inputs[0])] == i) {
      moved[index] = moved[static_cast<size_t>(node.inputs[0])];
    } else {
      std::vector<Value> inputs;
      for (int input : node.inputs) {
        if (!dropped[static_cast<size_t>(input)]) inputs.push_back(moved[static_cast<size_t>(input)]);
      }
      if (norm_of[index] >= 0) {
        const FoldedWeights weights = fold_weights(graph, i, norm_of[index], parameters);
        const std::string bias = node.name + ".bias";
        folded.parameters.set(graph.node(node.inputs[1]).name, weights.weight);
        folded.parameters.set(bias, weights.bias);
        folded.bias_of[node.name] = bias;
        inputs.push_back(folded.graph.parameter(bias, weights.bias.shape()));
      }
      moved[index] = folded.graph.add(node.op, inputs, node.name);
    }
  }
  for (const auto& [name, index] : graph.names()) {
    const Value value = moved[static_cast<size_t>(index)];
    if (value.index >= 0 && !folded.graph.contains(name)) folded.graph.alias(name, value);
  }
  return folded;
}

Parameters on_device(const Parameters& parameters, Kernels& kernels) {
  Parameters moved;
  moved.metadata = parameters.metadata;
  for (const std::string& name : parameters.names()) {
    const Tensor& tensor = parameters.at(name);
    if (tensor.device() == kernels.device()) {
      moved.set(name, tensor);
      continue;
    }
    Tensor copy(tensor.shape(), tensor.dtype(), std::make_shared<Storage>(kernels.allocate(tensor.bytes())));
    kernels.upload(tensor.bytes_begin(), tensor.bytes(), copy.bytes_begin());
    moved.set(name, copy);
  }
  return moved;
}

}  // namespace hp

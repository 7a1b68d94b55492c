#include "runtime/fold.h"

#include <cmath>
#include <vector>

#include "runtime/error.h"
#include "runtime/ops/bcos.h"
#include "runtime/ops/norm.h"
#include "runtime/ops/uncentred_norm.h"

namespace hp {

namespace {

bool is_product(const Node& node) { return node.kind == OpKind::conv2d || node.kind == OpKind::linear; }

// A value of that kind which nothing else reads?
bool is_own(const Graph& graph, int node, OpKind kind) {
  return graph.node(node).kind == kind && graph.node(node).consumers.size() == 1;
}

bool has_parameters(const Graph& graph, const Node& norm) {
  for (size_t i = 1; i < norm.inputs.size(); ++i) {
    if (graph.node(norm.inputs[i]).kind != OpKind::parameter) return false;
  }
  return true;
}

// The conv2d or linear that a batch norm can be folded into; -1 if there is none.
int foldable_into(const Graph& graph, int norm) {
  const Node& node = graph.node(norm);
  if (node.kind != OpKind::batch_norm || node.inputs.size() != 5 || !has_parameters(graph, node)) return -1;
  const Node& weighted = graph.node(node.inputs[0]);
  const bool fits =
      is_product(weighted) && weighted.consumers.size() == 1 && is_own(graph, weighted.inputs[1], OpKind::parameter);
  return fits ? node.inputs[0] : -1;
}

// The unit filters that an uncentred norm can be folded into; -1 if there are none.
int foldable_filters(const Graph& graph, int norm) {
  const Node& node = graph.node(norm);
  if (node.kind != OpKind::uncentred_norm || !has_parameters(graph, node)) return -1;
  if (!is_own(graph, node.inputs[0], OpKind::bcos_scale)) return -1;
  const Node& scale = graph.node(node.inputs[0]);
  const Node& product = graph.node(scale.inputs[0]);
  if (static_cast<const BcosScaleOp&>(*scale.op).b() != 2 || !is_product(product)) return -1;
  const bool fits = product.consumers.size() == 1 && product.inputs.size() == 2 &&
                    is_own(graph, product.inputs[1], OpKind::unit_norm) &&
                    is_own(graph, graph.node(product.inputs[1]).inputs[0], OpKind::parameter);
  return fits ? product.inputs[1] : -1;
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

Tensor fold_filters(const Graph& graph, int filters, int norm, const Parameters& parameters) {
  auto values = [&](int node) -> const Tensor& { return parameters.at(graph.node(node).name); };
  const std::vector<int>& in = graph.node(norm).inputs;
  const Tensor &variance = values(in[1]), &weight = values(in[2]), &w = values(graph.node(filters).inputs[0]);
  const double epsilon = static_cast<const UncentredNormOp&>(*graph.node(norm).op).epsilon();
  const int64_t count = w.shape()[0], taps = w.count() / count;
  Tensor folded = Tensor::host(w.shape());
  for (int64_t f = 0; f < count; ++f) {
    const int64_t channel = f % weight.count();  // one number for all, or one for each
    const double k = weight.floats()[channel] / std::sqrt(variance.floats()[channel] + epsilon);
    const float* from = w.floats() + f * taps;
    double square = 0;
    for (int64_t t = 0; t < taps; ++t) square += static_cast<double>(from[t]) * from[t];
    const double factor = std::copysign(std::sqrt(std::abs(k)), k) / std::sqrt(square);
    for (int64_t t = 0; t < taps; ++t) folded.floats()[f * taps + t] = static_cast<float>(factor * from[t]);
  }
  return folded;
}

}  // namespace

Folded fold_norms(const Graph& graph, const Parameters& parameters) {
  Folded folded;
  folded.parameters.metadata = parameters.metadata;
  std::vector<int> norm_of(static_cast<size_t>(graph.size()), -1);  // conv, or unit filters -> the norm
  std::vector<bool> dropped(static_cast<size_t>(graph.size()), false), merged(dropped.size(), false);
  for (int i = 0; i < graph.size(); ++i) {
    const int weighted = foldable_into(graph, i), into = weighted < 0 ? foldable_filters(graph, i) : weighted;
    if (into < 0) continue;
    norm_of[static_cast<size_t>(into)] = i;
    merged[static_cast<size_t>(i)] = true;
    const std::vector<int>& inputs = graph.node(i).inputs;
    for (size_t input = 1; input < inputs.size(); ++input) dropped[static_cast<size_t>(inputs[input])] = true;
    const std::vector<int>& own = graph.node(into).inputs;
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
    } else if (merged[index]) {
      moved[index] = moved[static_cast<size_t>(node.inputs[0])];
    } else if (node.kind == OpKind::unit_norm && norm_of[index] >= 0) {
      folded.parameters.set(graph.node(node.inputs[0]).name, fold_filters(graph, i, norm_of[index], parameters));
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

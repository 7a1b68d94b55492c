#include "attribution/methods/bcos.h"

#include <fmt/ranges.h>

#include <map>

#include "attribution/rules/attention_rules.h"
#include "attribution/rules/bcos_rules.h"
#include "runtime/error.h"
#include "runtime/ops/activation.h"

namespace hp {

namespace {

// Explanation mode (attribution.md E.2): what depends on the image besides the value that is passed on is a constant.
Composite frozen_scales() {
  return Composite()
      .on(OpKind::bcos_scale, rules::detached_scale())
      .on(OpKind::layer_norm, rules::detached_statistics())
      .on(OpKind::group_norm, rules::detached_statistics())
      .on(OpKind::attention_values, rules::values_only());
}

// Is the product scaled, perhaps behind a max-out?
bool is_scaled(const Graph& graph, const Node& product) {
  for (const int consumer : product.consumers) {
    const Node& next = graph.node(consumer);
    if (next.kind == OpKind::bcos_scale || (next.kind == OpKind::max_out && is_scaled(graph, next))) return true;
  }
  return false;
}

// A query, key or value: attention has it and nobody else.
bool is_attended(const Graph& graph, const Node& node) {
  for (const int consumer : node.consumers) {
    const OpKind kind = graph.node(consumer).kind;
    if (kind != OpKind::attention_scores && kind != OpKind::attention_values) return false;
  }
  return !node.consumers.empty();
}

bool is_dynamic_linear(const Graph& graph, const Node& node) {
  switch (node.kind) {
    case OpKind::conv2d:
    case OpKind::linear:  // the queries, keys and values of a B-cos transformer are plain products (protocol.md 1.4)
      return node.inputs.size() == 2 && (is_scaled(graph, node) || is_attended(graph, node));
    case OpKind::layer_norm:
    case OpKind::group_norm:
      return node.inputs.size() < 3;  // a bias would be no part of the image's
    case OpKind::affine:              // the scale of attention
      return static_cast<const AffineOp&>(*node.op).shift() == 0;
    case OpKind::softmax:  // of attention: a constant
      return !node.consumers.empty() && graph.node(node.consumers[0]).kind == OpKind::attention_values;
    case OpKind::attention_scores:
    case OpKind::attention_values:
    case OpKind::patchify:
    case OpKind::position_add:  // has a share of its own in the logit
    case OpKind::unit_norm:
    case OpKind::patch_norm:
    case OpKind::bcos_scale:
    case OpKind::max_out:
    case OpKind::uncentred_norm:
    case OpKind::avg_pool:
    case OpKind::resize:
    case OpKind::add:
    case OpKind::concat:
    case OpKind::slice:
    case OpKind::pad:
    case OpKind::reshape:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string conventional_parts(const Graph& backbone) {
  std::map<std::string, int> others;
  const int end = backbone.find("features");
  for (int i = backbone.find("model_input") + 1; i <= end; ++i) {
    const Node& node = backbone.node(i);
    if (!node.op || node.is_constant || is_dynamic_linear(backbone, node)) continue;
    const bool product = node.kind == OpKind::conv2d || node.kind == OpKind::linear;
    ++others[product ? std::string(name_of(node.kind)) + " without a B-cos scale" : std::string(name_of(node.kind))];
  }
  std::vector<std::string> parts;
  for (const auto& [what, count] : others) parts.push_back(fmt::format("{} {}", count, what));
  return fmt::format("{}", fmt::join(parts, ", "));
}

void require_bcos(const Graph& backbone) {
  const std::string parts = conventional_parts(backbone);
  require(parts.empty(),
          "[bcos] the backbone is no B-cos network, so that no weights explain its logits in full; got {}; expected "
          "B-cos layers up to the features. For this backbone, B-cos probes on it included, there are ixg, gradient, "
          "guided_backprop, intgrad, gradcam and lrp",
          parts);
}

BcosMethod::BcosMethod()
    : WalkMethod("bcos", {.name = "bcos", .composite = frozen_scales(), .pins = {}, .lean = true}, Reading::relevance) {
}

Explanation BcosMethod::run(const Question& question) const {
  require_bcos(question.session.backbone());
  return WalkMethod::run(question);
}

}  // namespace hp

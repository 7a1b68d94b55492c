#include "attribution/methods/token_attention.h"

#include <algorithm>
#include <cmath>

#include "attribution/methods/token_layers.h"
#include "attribution/methods/walk_method.h"
#include "attribution/rules/attention_rules.h"
#include "attribution/rules/bcos_rules.h"
#include "attribution/rules/linear_rules.h"
#include "runtime/error.h"

namespace hp {

namespace {

// Messages of attention maps that a walk may hold at once.
constexpr int64_t tapped_bytes = int64_t{1} << 29;

// What class-agnostic methods say of every head and target: the same map for each.
Explanation same_for_all(const Question& question, const Pass& pass, const TokenRows& rows) {
  Explanation explanation;
  set_logits(explanation, question.session.target_logits(pass, question.targets));
  require(question.watch.layers.empty() && !question.watch.conservation,
          "[attention] the method walks nowhere; got layers or a conservation report to watch; expected neither");
  rows.read(question, static_cast<int64_t>(explanation.logits.size()) / pass.batch(), explanation);
  return explanation;
}

class RawAttention final : public Attribution {
 public:
  explicit RawAttention(RawAttentionOptions options) : options_(options) {}
  std::string name() const override { return "raw_attention"; }
  MethodCost cost(const Graph& backbone) const override { return {forward_cost(backbone), {}}; }

 private:
  Explanation run(const Question& question) const override {
    Session& session = question.session;
    const Pass pass = session.forward(question.images, gradient_walk());
    const TokenLayers layers = token_layers(pass.graph(), name(), 0);
    const Tensor& maps = pass.activations().value(layers.softmaxes.back());
    TokenRows rows(session.context(), layers, pass.batch(), options_.readout, name());
    rows.replace(attention(session.context(), maps));
    return same_for_all(question, pass, rows);
  }

  Tensor attention(Context context, const Tensor& maps) const {
    const Shape& shape = maps.shape();
    if (options_.head < 0) return fuse_heads(context, maps, HeadFusion::mean);
    require(options_.head < shape[1], "[raw_attention] no such head; got {}; expected 0 to {}, or -1 for their mean",
            options_.head, shape[1] - 1);
    const int64_t pairs = shape[2] * shape[3];
    const Tensor one = context.scratch.take(Shape{shape[0], shape[2], shape[3]});
    context.kernels.copy_block({.extent = {1, 1, shape[0], pairs},
                                .src_offset = options_.head * pairs,
                                .src_stride = {0, 0, shape[1] * pairs, 1},
                                .dst_stride = {0, 0, pairs, 1}},
                               maps.floats(), one.floats());
    return one;
  }

  RawAttentionOptions options_;
};

class AttentionRollout final : public Attribution {
 public:
  explicit AttentionRollout(RolloutOptions options) : options_(options) {}
  std::string name() const override { return "attention_rollout"; }
  MethodCost cost(const Graph& backbone) const override { return {forward_cost(backbone), {}}; }

 private:
  Explanation run(const Question& question) const override {
    Session& session = question.session;
    const Pass pass = session.forward(question.images, gradient_walk());
    const TokenLayers layers = token_layers(pass.graph(), name(), options_.tokens.first);
    TokenRows rows(session.context(), layers, pass.batch(), options_.tokens.readout, name());
    for (auto layer = layers.softmaxes.rbegin(); layer != layers.softmaxes.rend(); ++layer) {
      const Tensor fused = fuse_heads(session.context(), pass.activations().value(*layer), options_.fusion);
      if (options_.discard > 0) discard_smallest(session.context().kernels, fused);
      rows.roll_out(fused);
    }
    return same_for_all(question, pass, rows);
  }

  // On the host: a few thousand numbers of each image and layer, once for all targets. Ties: the first goes first.
  void discard_smallest(Kernels& kernels, const Tensor& fused) const {
    const int64_t pairs = fused.shape()[1] * fused.shape()[2];
    const auto count = static_cast<int64_t>(std::floor(options_.discard * static_cast<double>(pairs)));
    std::vector<float> values(static_cast<size_t>(fused.count()));
    kernels.download(fused.floats(), fused.bytes(), values.data());
    std::vector<int64_t> order(static_cast<size_t>(pairs));
    for (int64_t row = 0; row < fused.shape()[0]; ++row) {
      float* map = values.data() + row * pairs;
      for (int64_t i = 0; i < pairs; ++i) order[static_cast<size_t>(i)] = i;
      std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return map[a] < map[b]; });
      for (int64_t i = 0; i < count; ++i) {
        if (order[static_cast<size_t>(i)] != 0) map[order[static_cast<size_t>(i)]] = 0;
      }
    }
    kernels.upload(values.data(), fused.bytes(), fused.floats());
    kernels.synchronize();
  }

  RolloutOptions options_;
};

// The LRP of Chefer et al. 2021 above the attention maps (attribution.md F.3).
Composite chefer_relevance() {
  const rules::LinearOptions plain{.form = Form::relevance, .stabiliser = 1e-9f, .zero_bias = true};
  Composite composite;
  composite.otherwise(std::make_shared<VjpRule>(Form::relevance)).reads_preactivations();
  for (OpKind kind : {OpKind::linear, OpKind::conv2d}) composite.on(kind, rules::z_plus(plain));
  for (OpKind kind : {OpKind::layer_norm, OpKind::group_norm, OpKind::softmax, OpKind::affine, OpKind::relu,
                      OpKind::gelu, OpKind::gelu_tanh, OpKind::quick_gelu, OpKind::silu, OpKind::sigmoid, OpKind::tanh,
                      OpKind::position_add, OpKind::unit_norm})
    composite.on(kind, rules::identity());
  for (OpKind kind : {OpKind::attention_scores, OpKind::attention_values, OpKind::matmul, OpKind::mul})
    composite.on(kind, rules::half_relevance());
  composite.on(OpKind::avg_pool, rules::norm({.form = Form::relevance, .stabiliser = 1e-9f}));
  composite.on(OpKind::batch_norm, rules::epsilon({.form = Form::relevance, .stabiliser = 1e-9f}));
  // Of B-cos heads, whose scale is taken as a constant, and of their norms.
  composite.on(OpKind::bcos_scale, rules::detached_scale(Form::relevance));
  composite.on(OpKind::patch_norm, std::make_shared<VjpRule>());  // has no message, since the scale carries none
  composite.on(OpKind::uncentred_norm, rules::epsilon({.form = Form::relevance, .stabiliser = 1e-9f}));
  composite.on(OpKind::add, rules::rescaled_sum());
  return composite;
}

class Chefer final : public Attribution {
 public:
  explicit Chefer(CheferOptions options) : options_(options) {}
  std::string name() const override { return "chefer"; }
  MethodCost cost(const Graph& backbone) const override {
    const TokenLayers layers = token_layers(backbone, name(), options_.tokens.first);
    const WalkCost walk = walk_cost(backbone, {}, layers.softmaxes.front());
    if (options_.variant == CheferVariant::attention) return {walk.forward + walk.prepare, walk.per_target};
    const WalkCost relevance = walk_cost(backbone, chefer_relevance(), layers.softmaxes.front());
    return {2 * walk.forward + walk.prepare + relevance.prepare, walk.per_target + relevance.per_target};
  }

 private:
  Explanation run(const Question& question) const override {
    Session& session = question.session;
    const Pass pass = session.forward(question.images, gradient_walk());
    const TokenLayers layers = token_layers(pass.graph(), name(), options_.tokens.first);
    Explanation explanation;
    set_logits(explanation, session.target_logits(pass, question.targets));
    require(question.watch.layers.empty() && !question.watch.conservation,
            "[chefer] its walk is the gradient's; got layers or a conservation report to watch; expected neither");
    Pass relevance;
    if (options_.variant == CheferVariant::relevance) {
      relevance = session.forward(question.images, {"chefer relevance", chefer_relevance(), {}});
    }
    const auto rows = static_cast<int64_t>(explanation.logits.size());
    TokenRows all(session.context(), layers, rows, options_.tokens.readout, name());
    // As many targets at a time as there is room for the messages of all layers.
    const int64_t heads = static_cast<int64_t>(session.head_count()), batch = pass.batch();
    const auto targets = static_cast<int64_t>(question.targets.size()) / batch;
    int64_t bytes = 0;
    for (int layer : layers.softmaxes) bytes += pass.activations().value(layer).count() * int64_t{sizeof(float)};
    const int64_t together = std::clamp<int64_t>(tapped_bytes / std::max<int64_t>(1, bytes * heads), 1, targets);
    for (int64_t first = 0; first < targets; first += together) {
      const int64_t count = std::min(together, targets - first);
      const TokenRows part =
          rows_of(question, layers, pass, relevance, explanation.logits, first * batch, count * batch);
      // Part of each head's rows.
      session.context().kernels.copy_block({.extent = {1, 1, heads, count * batch * layers.tokens},
                                            .src_stride = {0, 0, count * batch * layers.tokens, 1},
                                            .dst_offset = first * batch * layers.tokens,
                                            .dst_stride = {0, 0, targets * batch * layers.tokens, 1}},
                                           part.values().floats(), all.values().floats());
    }
    all.read(question, 1, explanation);
    return explanation;
  }

  // The rows of question.targets[begin, begin + count) of all heads.
  TokenRows rows_of(const Question& question, const TokenLayers& layers, const Pass& pass, const Pass& relevance,
                    const std::vector<float>& logits, int64_t begin, int64_t count) const {
    Session& session = question.session;
    auto [kernels, scratch] = session.context();
    const std::span<const int> targets =
        question.targets.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
    std::vector<Tap> taps;
    for (int layer : layers.softmaxes) taps.push_back({layer, Tap::Keep::message});
    const RelevanceTrace gradients = session.walk(pass, targets, {}, taps);
    RelevanceTrace shares;
    if (options_.variant == CheferVariant::relevance) {
      const std::vector<float> seeds = unit_seeds(question, logits, begin, count);
      shares = session.walk(relevance, targets, seeds, taps);
    }
    const int64_t rows = count * static_cast<int64_t>(session.head_count());
    TokenRows result(session.context(), layers, rows, options_.tokens.readout, name());
    for (auto layer = layers.softmaxes.rbegin(); layer != layers.softmaxes.rend(); ++layer) {
      const Tensor& gradient = gradients.at(*layer).data;
      const Tensor& maps = pass.activations().value(*layer);
      const Tensor& factor = options_.variant == CheferVariant::relevance ? shares.at(*layer).data : maps;
      const Tensor products = scratch.take(gradient.shape());
      kernels.combine(Binary::multiply, products.count(), factor.count(), gradient.floats(), factor.floats(),
                      products.floats());
      kernels.apply(Function::positive_part, products.count(), products.floats(), products.floats());
      result.add_product(fuse_heads(session.context(), products, HeadFusion::mean));
    }
    return result;
  }

  // Relevance starts at 1: a multiplier of 1 / logit; a logit of 0 has none.
  static std::vector<float> unit_seeds(const Question& question, const std::vector<float>& logits, int64_t begin,
                                       int64_t count) {
    std::vector<float> seeds;
    const auto all = static_cast<int64_t>(question.targets.size());
    for (int64_t head = 0; head < static_cast<int64_t>(question.session.head_count()); ++head) {
      for (int64_t row = begin; row < begin + count; ++row) {
        const float logit = logits[static_cast<size_t>(head * all + row)];
        seeds.push_back(logit == 0 ? 0 : 1 / logit);
      }
    }
    return seeds;
  }

  CheferOptions options_;
};

}  // namespace

AttributionPtr raw_attention_method(RawAttentionOptions options) {
  return std::make_unique<const RawAttention>(options);
}

AttributionPtr attention_rollout_method(RolloutOptions options) {
  return std::make_unique<const AttentionRollout>(options);
}

AttributionPtr chefer_method(CheferOptions options) { return std::make_unique<const Chefer>(options); }

}  // namespace hp

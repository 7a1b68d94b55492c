#include "attribution/method.h"

#include <fmt/ranges.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "attribution/methods/bcos.h"
#include "attribution/methods/gradcam.h"
#include "attribution/methods/integrated_gradients.h"
#include "attribution/methods/lrp.h"
#include "attribution/methods/token_attention.h"
#include "attribution/methods/walk_method.h"
#include "attribution/options.h"
#include "runtime/error.h"

namespace hp {

namespace {

using MethodBuilder = std::function<AttributionPtr(Options&)>;

AttributionPtr build_gradcam(Options& options) {
  GradCamOptions chosen;
  chosen.layer = options.text("layer", chosen.layer);
  chosen.relu = options.flag("relu", chosen.relu);
  return std::make_unique<const GradCam>(std::move(chosen));
}

AttributionPtr build_intgrad(Options& options) {
  IntegratedGradientsOptions chosen;
  chosen.nodes = static_cast<int>(options.integer("nodes", chosen.nodes, 1, 1000));
  chosen.images_at_once = static_cast<int>(options.integer("images_at_once", chosen.images_at_once, 1, 4096));
  return std::make_unique<const IntegratedGradients>(chosen);
}

AttributionPtr build_lrp(Options& options) {
  LrpOptions chosen;
  const nlohmann::json composite = options.raw("composite");
  chosen.composite = CompositeSpec::parse(composite, "lrp/composite");
  constexpr Residual residuals[] = {Residual::norm, Residual::copy};
  if (options.has("residual")) {
    require(!composite.is_object() || !composite.contains("residual"),
            "[lrp] 'residual' is given twice; got one beside the composite and one in it; expected one");
    chosen.composite.residual = residuals[options.choice("residual", 0, {"norm", "copy"})];
  }
  constexpr RelevanceStart starts[] = {RelevanceStart::logit, RelevanceStart::one, RelevanceStart::abs};
  chosen.start = starts[options.choice("start", 0, {"logit", "one", "abs"})];
  return std::make_unique<const Lrp>(std::move(chosen));
}

Readout readout_option(Options& options) {
  constexpr Readout readouts[] = {Readout::automatic, Readout::class_token, Readout::patches};
  return readouts[options.choice("readout", 0, {"auto", "class_token", "patches"})];
}

TokenOptions token_options(Options& options) {
  return {static_cast<int>(options.integer("first", 0, 0, 1000)), readout_option(options)};
}

AttributionPtr build_raw_attention(Options& options) {
  return raw_attention_method({static_cast<int>(options.integer("head", -1, -1, 1000)), readout_option(options)});
}

AttributionPtr build_rollout(Options& options) {
  constexpr HeadFusion fusions[] = {HeadFusion::mean, HeadFusion::max, HeadFusion::min};
  RolloutOptions chosen;
  chosen.tokens = token_options(options);
  chosen.fusion = fusions[options.choice("fusion", 0, {"mean", "max", "min"})];
  chosen.discard = options.number("discard", 0, 0, 1);
  return attention_rollout_method(chosen);
}

AttributionPtr build_chefer(Options& options) {
  constexpr CheferVariant variants[] = {CheferVariant::attention, CheferVariant::relevance};
  CheferOptions chosen;
  chosen.tokens = token_options(options);
  chosen.variant = variants[options.choice("variant", 0, {"attention", "relevance"})];
  return chefer_method(chosen);
}

const std::map<std::string, MethodBuilder>& method_builders() {
  static const std::map<std::string, MethodBuilder> builders = {
      {"attention_rollout", build_rollout},
      {"bcos", [](Options&) { return std::make_unique<const BcosMethod>(); }},
      {"chefer", build_chefer},
      {"gradcam", build_gradcam},
      {"gradient", [](Options&) { return gradient_method(); }},
      {"guided_backprop", [](Options&) { return guided_backprop_method(); }},
      {"intgrad", build_intgrad},
      {"lrp", build_lrp},
      {"raw_attention", build_raw_attention},
      {"ixg", [](Options&) { return input_x_gradient_method(); }},
  };
  return builders;
}

}  // namespace

Explanation Attribution::explain(Session& session, const Tensor& images, std::span<const int> targets,
                                 const Watch& watch) const {
  require(images.shape().rank() == 4 && images.shape()[0] > 0,
          "[{}] images of the wrong shape; got {}; expected [batch, height, width, channels]", name(),
          images.shape().str());
  return run({session, images, targets, watch});
}

AttributionPtr make_attribution(const std::string& name, const nlohmann::json& options) {
  const auto found = method_builders().find(name);
  require(found != method_builders().end(), "[method] unknown attribution method; got '{}'; expected one of {}", name,
          fmt::join(attribution_names(), ", "));
  Options reader(options, name);
  AttributionPtr method = found->second(reader);
  reader.finish();
  return method;
}

std::vector<std::string> attribution_names() {
  std::vector<std::string> names;
  for (const auto& [name, builder] : method_builders()) names.push_back(name);
  return names;
}

}  // namespace hp

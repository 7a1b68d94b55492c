// CompositeSpec::parse: a composite as an experiment file writes it.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "attribution/composites.h"
#include "attribution/options.h"
#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {

namespace {

constexpr double largest = 1e6;

std::string choose(Options& options, std::string_view key, const std::vector<std::string>& choices) {
  return choices[options.choice(key, 0, choices)];
}

// Kinds of op that a rule may be given to.
std::vector<std::string> kinds() {
  std::vector<std::string> names;
  for (OpKind kind : {OpKind::conv2d,
                      OpKind::linear,
                      OpKind::batch_norm,
                      OpKind::relu,
                      OpKind::sigmoid,
                      OpKind::tanh,
                      OpKind::affine,
                      OpKind::softmax,
                      OpKind::log_softmax,
                      OpKind::max_pool,
                      OpKind::avg_pool,
                      OpKind::resize,
                      OpKind::add,
                      OpKind::mul,
                      OpKind::bcos_scale,
                      OpKind::max_out,
                      OpKind::uncentred_norm,
                      OpKind::concat,
                      OpKind::slice,
                      OpKind::pad,
                      OpKind::reshape,
                      OpKind::gelu,
                      OpKind::gelu_tanh,
                      OpKind::quick_gelu,
                      OpKind::silu,
                      OpKind::layer_norm,
                      OpKind::group_norm,
                      OpKind::matmul,
                      OpKind::attention_scores,
                      OpKind::attention_values,
                      OpKind::position_add,
                      OpKind::prepend,
                      OpKind::patchify,
                      OpKind::unit_norm})
    names.emplace_back(name_of(kind));
  return names;
}

std::vector<float> numbers(Options& options, std::string_view key, const std::string& where) {
  const nlohmann::json value = options.raw(key);
  if (value.is_null()) return {};
  const bool fits = value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), [](const auto& v) {
                      return v.is_number() && v >= -largest && v <= largest;
                    });
  require(fits, "[{}] '{}' has the wrong type; got {}; expected a list of numbers, one per channel", where, key,
          value.dump());
  return value.get<std::vector<float>>();
}

bool has_bias_option(const std::string& rule) {
  return rule == "epsilon" || rule == "norm" || rule == "z_plus" || rule == "alpha_beta" || rule == "gamma" ||
         rule == "w_square";
}

void parse_place(const nlohmann::json& value, const std::string& where, Options& options, RuleSpec& spec) {
  const int places = static_cast<int>(value.contains("at")) + value.contains("on") + value.contains("first");
  require(places == 1, "[{}] a rule needs one place; got {} of them; expected one of at, on, first", where, places);
  if (value.contains("at")) {
    spec.place = RuleSpec::Place::at;
    spec.where = options.text("at", "");
    require(!spec.where.empty(), "[{}] 'at' is empty; got \"\"; expected the name of a node, or a pattern", where);
  } else {
    spec.place = value.contains("on") ? RuleSpec::Place::on : RuleSpec::Place::first;
    spec.where = choose(options, value.contains("on") ? "on" : "first", kinds());
  }
}

RuleSpec parse_rule(const nlohmann::json& value, const std::string& where, const CompositeSpec& base) {
  Options options(value, where);
  RuleSpec spec;
  require(value.is_object(), "[{}] not a rule; got {}; expected {{\"at\": ..., \"rule\": ...}}", where, value.dump());
  parse_place(value, where, options, spec);
  require(value.contains("rule"), "[{}] 'rule' is missing; got none; expected the name of a rule", where);
  spec.rule = choose(options, "rule", rule_names());
  if (spec.rule == "epsilon" || spec.rule == "norm")
    spec.epsilon = static_cast<float>(options.number("epsilon", 1e-6, 0, largest));
  if (spec.rule == "gamma") spec.gamma = static_cast<float>(options.number("gamma", 0.25, 0, largest));
  if (spec.rule == "alpha_beta") {
    spec.alpha = static_cast<float>(options.number("alpha", 2, 1, largest));
    spec.beta = static_cast<float>(options.number("beta", spec.alpha - 1.0, 0, largest));
    require(std::abs(spec.alpha - spec.beta - 1) < 1e-5f,
            "[{}] alpha and beta do not conserve relevance; got {} and {}; expected alpha - beta = 1", where,
            spec.alpha, spec.beta);
  }
  if (spec.rule == "z_box") {
    spec.low = numbers(options, "low", where);
    spec.high = numbers(options, "high", where);
    require(spec.low.size() == spec.high.size(),
            "[{}] bounds do not fit each other; got {} low and {} high; expected "
            "as many",
            where, spec.low.size(), spec.high.size());
  }
  if (has_bias_option(spec.rule)) spec.zero_bias = options.flag("zero_bias", base.zero_bias);
  options.finish();
  return spec;
}

}  // namespace

CompositeSpec CompositeSpec::parse(const nlohmann::json& value, const std::string& where) {
  if (value.is_string()) return parse({{"base", value}}, where);
  Options options(value, where);
  CompositeSpec spec;
  spec.base = choose(options, "base", composite_names());
  const bool is_lrp = spec.base != "gradient" && spec.base != "guided_backprop" && spec.base != "deconvnet";
  if (spec.base == "epsilon_gamma_box") spec.gamma = static_cast<float>(options.number("gamma", 0.25, 0, largest));
  const bool is_attention = spec.base == "attn_lrp" || spec.base == "cp_lrp";
  if (spec.base.starts_with("epsilon") || is_attention)
    spec.epsilon = static_cast<float>(options.number("epsilon", 1e-6, 0, largest));
  if (is_lrp) {
    if (!is_attention)
      spec.residual = options.choice("residual", 0, {"norm", "copy"}) == 1 ? Residual::copy : Residual::norm;
    spec.zero_bias = options.flag("zero_bias", false);
  }
  const nlohmann::json list = options.raw("rules");
  options.finish();
  require(list.is_null() || list.is_array(), "[{}] 'rules' has the wrong type; got {}; expected a list", where,
          list.dump());
  for (size_t i = 0; i < list.size(); ++i)
    spec.rules.push_back(parse_rule(list[i], fmt::format("{}/rules/{}", where, i), spec));
  return spec;
}

}  // namespace hp

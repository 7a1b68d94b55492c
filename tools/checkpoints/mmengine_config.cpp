#include "tools/checkpoints/mmengine_config.h"

#include <cctype>
#include <charconv>

#include "probes/probe.h"
#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {
namespace {

// The loss of a head has a type, too.
constexpr int own = 1;

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// What stands behind "key=" or "'key':", spaces left out, or nothing. `depth`: of the brackets that it stands in; -1:
// any.
std::optional<std::string_view> argument(std::string_view text, std::string_view key, int depth) {
  int level = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '(' || text[at] == '{' || text[at] == '[') ++level;
    if (text[at] == ')' || text[at] == '}' || text[at] == ']') --level;
    if ((depth >= 0 && level != depth) || !text.substr(at).starts_with(key) || (at > 0 && in_word(text[at - 1])))
      continue;
    std::string_view rest = text.substr(at + key.size());
    const auto skip = [&](std::string_view characters) {
      while (!rest.empty() && characters.find(rest.front()) != characters.npos) rest.remove_prefix(1);
    };
    skip("'\"");
    skip(" ");
    if (!rest.starts_with('=') && !rest.starts_with(':')) continue;
    rest.remove_prefix(1);
    skip(" ");
    return rest;
  }
  return std::nullopt;
}

// From the bracket that `text` starts with to its partner.
std::string_view bracketed(std::string_view text) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(' || text[i] == '{' || text[i] == '[') ++depth;
    if (text[i] == ')' || text[i] == '}' || text[i] == ']') --depth;
    if (depth == 0) return text.substr(0, i + 1);
  }
  return text;
}

std::optional<double> number_argument(std::string_view text, std::string_view key) {
  const std::optional<std::string_view> value = argument(text, key, own);
  double number = 0;
  if (!value || std::from_chars(value->data(), value->data() + value->size(), number).ec != std::errc())
    return std::nullopt;
  return number;
}

}  // namespace

std::optional<HeadConfig> parse_head_config(std::string_view config) {
  std::optional<std::string_view> head = argument(config, "head", -1);
  if (!head) return std::nullopt;
  if (head->starts_with("dict")) head->remove_prefix(4);
  const std::string_view text = bracketed(*head);
  const std::optional<std::string_view> type = argument(text, "type", own);
  if (!type || type->size() < 2) return std::nullopt;
  const char quote = type->front();
  const size_t end = type->find(quote, 1);
  if ((quote != '\'' && quote != '"') || end == type->npos) return std::nullopt;
  HeadConfig result;
  result.type = type->substr(1, end - 1);
  result.type = result.type.substr(result.type.rfind('.') + 1);  // "mmpretrain.LinearClsHead"
  result.logit_bias = number_argument(text, "logit_bias");
  result.logit_temperature = number_argument(text, "logit_temperature");
  const auto flag = argument(text, "logit_layer_flag", own);
  result.logit_layer_flag = flag && flag->starts_with("True");
  return result;
}

std::optional<HeadConfig> head_config(const Checkpoint& checkpoint) {
  const auto found = checkpoint.metadata.find("meta.cfg");
  return found == checkpoint.metadata.end() ? std::nullopt : parse_head_config(found->second);
}

float logit_constant(const HeadConfig& config, int64_t classes) {
  require(!config.logit_temperature, "[probe] head {} has a temperature, {}; such heads are not read",
          printable(config.type), config.logit_temperature.value_or(0));
  const bool zero = config.logit_bias == 0.0;
  const float given = zero ? 0.0F : static_cast<float>(config.logit_bias.value_or(off_logit(classes)));
  if (config.type == "LinearClsHead") return config.logit_layer_flag ? off_logit(classes) : 0.0F;
  if (config.type == "BcosLinearClsHeadOld") return 0;
  if (config.type == "BcosLinearClsHead") return zero ? off_logit(classes) : given;  // 0 is falsy there
  if (config.type == "MultiLayerLinearClsHead" || config.type == "MultiLabelLinearClsHead" ||
      config.type == "BcosMultiLabelLinearClsHead")
    return given;
  fail(
      "[probe] unknown class of head in the file's configuration; got {}; expected LinearClsHead, "
      "MultiLayerLinearClsHead, BcosLinearClsHead, MultiLabelLinearClsHead, BcosMultiLabelLinearClsHead or "
      "BcosLinearClsHeadOld; give --logit-constant",
      printable(config.type));
}

}  // namespace hp

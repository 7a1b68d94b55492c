#include "attribution/options.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {

Options::Options(const nlohmann::json& values, std::string where) : values_(values), where_(std::move(where)) {
  if (values_.is_null()) values_ = nlohmann::json::object();
  require(values_.is_object(), "[{}] options are not an object; got {}; expected {{...}}", where_, values_.type_name());
}

const nlohmann::json* Options::find(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.emplace_back(key);
  const auto found = values_.find(std::string(key));
  return found == values_.end() ? nullptr : &*found;
}

bool Options::flag(std::string_view key, bool otherwise) {
  const nlohmann::json* value = find(key);
  if (!value) return otherwise;
  require(value->is_boolean(), "[{}] '{}' has the wrong type; got {}; expected true or false", where_, key,
          value->dump());
  return value->get<bool>();
}

int64_t Options::integer(std::string_view key, int64_t otherwise, int64_t low, int64_t high) {
  const nlohmann::json* value = find(key);
  if (!value) return otherwise;
  require(value->is_number_integer() && *value >= low && *value <= high,
          "[{}] '{}' is not a whole number in range; got {}; expected {} to {}", where_, key, value->dump(), low, high);
  return value->get<int64_t>();
}

double Options::number(std::string_view key, double otherwise, double low, double high) {
  const nlohmann::json* value = find(key);
  if (!value) return otherwise;
  require(value->is_number() && *value >= low && *value <= high,
          "[{}] '{}' is not a number in range; got {}; expected {} to {}", where_, key, value->dump(), low, high);
  return value->get<double>();
}

std::string Options::text(std::string_view key, std::string_view otherwise) {
  const nlohmann::json* value = find(key);
  if (!value) return std::string(otherwise);
  require(value->is_string(), "[{}] '{}' has the wrong type; got {}; expected a text", where_, key, value->dump());
  return value->get<std::string>();
}

size_t Options::choice(std::string_view key, size_t otherwise, const std::vector<std::string>& choices) {
  const nlohmann::json* value = find(key);
  if (!value) return otherwise;
  const auto found =
      value->is_string() ? std::find(choices.begin(), choices.end(), value->get<std::string>()) : choices.end();
  const std::string near =
      found == choices.end() && value->is_string() ? nearest_word(value->get<std::string>(), choices) : "";
  require(found != choices.end(), "[{}] '{}' has no such choice; got {}; expected one of {}{}", where_, key,
          value->dump(), fmt::join(choices, ", "), near.empty() ? "" : " (did you mean " + near + "?)");
  return static_cast<size_t>(found - choices.begin());
}

nlohmann::json Options::raw(std::string_view key) {
  const nlohmann::json* value = find(key);
  return value ? *value : nlohmann::json();
}

void Options::finish() const {
  for (const auto& [key, value] : values_.items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    const std::string near = nearest_word(key, known_);
    fail("[{}] unknown option; got {}; expected {}{}{}", where_, printable(key), known_.empty() ? "none" : "one of ",
         fmt::join(known_, ", "), near.empty() ? "" : " (did you mean " + near + "?)");
  }
}

}  // namespace hp

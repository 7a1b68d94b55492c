#include "tools/experiment/changes.h"

#include <fmt/format.h>

#include <set>

namespace hp {

namespace {

using nlohmann::json;

std::string value_text(const json* value) {
  if (!value) return "none";
  const std::string text = value->dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

const json* element(const json& object, const std::string& key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

void compare(const json* before, const json* now, const std::string& path, std::vector<std::string>& changes) {
  if (before && now && *before == *now) return;
  const bool objects = before && now && before->is_object() && now->is_object();
  const bool lists = before && now && before->is_array() && now->is_array() && before->size() == now->size();
  if (objects) {
    std::set<std::string> keys;
    for (const json* side : {before, now}) {
      for (const auto& [key, value] : side->items()) keys.insert(key);
    }
    for (const std::string& key : keys)
      compare(element(*before, key), element(*now, key), fmt::format("{}/{}", path, key), changes);
  } else if (lists) {
    for (size_t i = 0; i < before->size(); ++i)
      compare(&(*before)[i], &(*now)[i], fmt::format("{}/{}", path, i), changes);
  } else {
    changes.push_back(fmt::format("{}: {} -> {}", path.empty() ? "/" : path, value_text(before), value_text(now)));
  }
}

}  // namespace

std::vector<std::string> changes_between(const json& before, const json& now) {
  std::vector<std::string> changes;
  compare(&before, &now, "", changes);
  return changes;
}

}  // namespace hp

#include "tools/checkpoints/key_map.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/checkpoints/embedded_key_maps.h"

namespace hp {
namespace {

using nlohmann::json;

// The texts that the stars of `pattern` stand for, each as short as possible from the left; nothing if the name does
// not match.
std::optional<std::vector<std::string_view>> match(std::string_view pattern, std::string_view name) {
  std::vector<std::string_view> captured;
  size_t star = pattern.find('*');
  if (!name.starts_with(pattern.substr(0, star))) return std::nullopt;
  if (star == pattern.npos) return name.size() == pattern.size() ? std::optional(captured) : std::nullopt;
  name.remove_prefix(star);
  for (;;) {
    pattern.remove_prefix(star + 1);
    star = pattern.find('*');
    const std::string_view literal = pattern.substr(0, star);
    if (star == pattern.npos) {  // the last star reaches up to the end
      if (!name.ends_with(literal)) return std::nullopt;
      captured.push_back(name.substr(0, name.size() - literal.size()));
      return captured;
    }
    const size_t at = name.find(literal);
    if (at == name.npos) return std::nullopt;
    captured.push_back(name.substr(0, at));
    name.remove_prefix(at + literal.size());
  }
}

std::string fill(std::string_view pattern, std::span<const std::string_view> captured) {
  std::string name;
  size_t next = 0;
  for (const char c : pattern) {
    if (c == '*' && next < captured.size()) {
      name += captured[next++];
    } else {
      name += c;
    }
  }
  return name;
}

std::vector<KeyRule> parse_rules(const json& rules) {
  std::vector<KeyRule> parsed;
  for (const json& rule : rules) {
    KeyRule& last = parsed.emplace_back();
    last.from = rule.at("from").get<std::string>();
    if (rule.contains("to")) last.to = rule.at("to").get<std::string>();
    if (rule.contains("drop")) last.reason = rule.at("drop").get<std::string>();
    if (rule.contains("transpose")) last.transpose = rule.at("transpose").get<bool>();
    require(rule.size() == (rule.contains("transpose") ? 3U : 2U) && last.to.has_value() == last.reason.empty(),
            "a rule has 'from' and either 'to' or 'drop', and may have 'transpose'");
    const auto stars = [](const std::string& text) { return std::count(text.begin(), text.end(), '*'); };
    require(!last.to || stars(*last.to) <= stars(last.from), "'{}' has more stars than '{}'", last.to.value_or(""),
            last.from);
  }
  return parsed;
}

std::vector<std::string> texts(const json& map, const char* key) {
  return map.contains(key) ? map.at(key).get<std::vector<std::string>>() : std::vector<std::string>{};
}

std::string logit_constant(const json& map) {
  if (!map.contains("logit_constant")) return "";
  const json& value = map.at("logit_constant");
  require(value.is_number() || value == "off", "'logit_constant' is a number or \"off\"");
  return value.is_number() ? value.dump() : "off";
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) { return match(pattern, name).has_value(); }

KeyMap parse_key_map(std::string_view name, std::string_view text) {
  try {
    const json map = json::parse(text);
    size_t members = 7;
    for (const char* optional : {"needs", "lacks", "logit_constant"}) members += map.contains(optional) ? 1 : 0;
    require(map.size() == members,
            "got {} members; expected about, architectures, wrappers, prefixes, inside, outside, preprocessing, and "
            "perhaps needs, lacks, logit_constant",
            map.size());
    return {.name = std::string(name),
            .about = map.at("about").get<std::string>(),
            .architectures = map.at("architectures").get<std::vector<std::string>>(),
            .wrappers = map.at("wrappers").get<std::vector<std::string>>(),
            .prefixes = map.at("prefixes").get<std::vector<std::string>>(),
            .inside = parse_rules(map.at("inside")),
            .outside = parse_rules(map.at("outside")),
            .preprocessing = map.at("preprocessing").dump(),
            .needs = texts(map, "needs"),
            .lacks = texts(map, "lacks"),
            .logit_constant = logit_constant(map)};
  } catch (const std::exception& error) {
    fail("[key map] models/keymaps/{}.json: {}", name, error.what());
  }
}

std::vector<KeyMap> key_maps() {
  std::vector<KeyMap> maps;
  for (const EmbeddedKeyMap& map : embedded_key_maps()) maps.push_back(parse_key_map(map.name, map.json));
  return maps;
}

std::optional<KeyMap> canonical_key_map(const std::map<std::string, std::string>& metadata) {
  for (const char* key : {"architecture", "preprocessing", "classes", "converter"})
    if (!metadata.contains(key)) return std::nullopt;
  const std::string& preprocessing = metadata.at("preprocessing");
  const json stored = json::parse(preprocessing, nullptr, false);
  const auto channels = [&](const char* key) {
    const auto found = stored.is_object() ? stored.find(key) : stored.end();
    const bool numbers = found != stored.end() && found->is_array() && found->size() == 3 &&
                         std::all_of(found->begin(), found->end(), [](const json& value) { return value.is_number(); });
    require(numbers, "[convert] the metadata's preprocessing is not usable; got {}; expected three numbers as '{}'",
            printable(preprocessing), key);
  };
  channels("mean"), channels("std");
  return KeyMap{.name = std::string(canonical_map),
                .about = "",
                .architectures = {metadata.at("architecture")},
                .wrappers = {""},
                .prefixes = {""},
                .inside = {{"model_input.*", std::nullopt, "follows from the preprocessing"}, {"*", "*", ""}},
                .outside = {},
                .preprocessing = preprocessing,
                .needs = {},
                .lacks = {},
                .logit_constant = ""};
}

Renamed rename(std::span<const KeyRule> rules, std::string_view name) {
  for (const KeyRule& rule : rules) {
    const auto captured = match(rule.from, name);
    if (!captured) continue;
    if (!rule.to) return {std::nullopt, rule.reason};
    return {fill(*rule.to, *captured), "", rule.transpose};
  }
  return {std::nullopt, "not part of the backbone"};
}

}  // namespace hp

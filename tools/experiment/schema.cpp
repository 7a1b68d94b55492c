#include "tools/experiment/schema.h"

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/experiment/embedded_schema.h"

namespace hp {

namespace {

using nlohmann::json;

constexpr uint64_t largest_integer = std::numeric_limits<int64_t>::max();

std::string short_dump(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

std::string at(const std::string& path) { return path.empty() ? "/" : path; }

bool has_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") {
    return value.is_number_integer() && (!value.is_number_unsigned() || value.get<uint64_t>() <= largest_integer);
  }
  if (type == "number") return value.is_number();
  return false;
}

void check_type(const json& schema, const json& value, const std::string& path) {
  if (!schema.contains("type")) return;
  const json& type = schema["type"];
  const std::vector<std::string> types =
      type.is_array() ? type.get<std::vector<std::string>>() : std::vector{type.get<std::string>()};
  const bool fits = std::any_of(types.begin(), types.end(), [&](const std::string& t) { return has_type(value, t); });
  require(fits, "[experiment] {}: wrong type; got {}; expected {}", at(path), short_dump(value),
          fmt::join(types, " or "));
}

void check_range(const json& schema, const json& value, const std::string& path) {
  if (!value.is_number()) return;
  const double number = value.get<double>();
  auto bound = [&](const char* key) { return schema.at(key).get<double>(); };
  const bool ok = (!schema.contains("minimum") || number >= bound("minimum")) &&
                  (!schema.contains("maximum") || number <= bound("maximum")) &&
                  (!schema.contains("exclusiveMinimum") || number > bound("exclusiveMinimum")) &&
                  (!schema.contains("exclusiveMaximum") || number < bound("exclusiveMaximum"));
  if (ok) return;
  std::string wanted;
  const std::pair<const char*, const char*> words[] = {
      {"minimum", "at least"}, {"exclusiveMinimum", "above"}, {"maximum", "at most"}, {"exclusiveMaximum", "below"}};
  for (const auto& [key, word] : words) {
    if (schema.contains(key)) wanted += fmt::format("{}{} {}", wanted.empty() ? "" : " and ", word, schema[key].dump());
  }
  fail("[experiment] {}: out of range; got {}; expected {}", at(path), value.dump(), wanted);
}

void check_choice(const json& schema, const json& value, const std::string& path) {
  if (!schema.contains("enum") ||
      std::find(schema["enum"].begin(), schema["enum"].end(), value) != schema["enum"].end())
    return;
  const auto choices = schema["enum"].get<std::vector<std::string>>();
  const std::string near = value.is_string() ? nearest_word(value.get<std::string>(), choices) : "";
  fail("[experiment] {}: unknown value; got {}; expected {}{}", at(path), short_dump(value), fmt::join(choices, ", "),
       near.empty() ? "" : " (did you mean " + near + "?)");
}

json checked_at(const json& schema, const json& value, const std::string& path);

json checked_object(const json& schema, const json& value, const std::string& path) {
  if (!schema.contains("properties")) return value;
  const json& properties = schema["properties"];
  std::vector<std::string> known;
  for (const auto& [key, property] : properties.items()) known.push_back(key);
  for (const auto& [key, element] : value.items()) {
    if (properties.contains(key)) continue;
    const std::string near = nearest_word(key, known);
    fail("[experiment] {}/{}: unknown key; got {}; expected one of {}{}", path, printable(key), short_dump(element),
         fmt::join(known, ", "), near.empty() ? "" : " (did you mean " + near + "?)");
  }
  for (const json& key : schema.value("required", json::array())) {
    require(value.contains(key.get<std::string>()), "[experiment] {}: missing key; got none; expected \"{}\"", at(path),
            key.get<std::string>());
  }
  json result = json::object();
  for (const auto& [key, property] : properties.items()) {
    const bool given = value.contains(key);
    if (!given && !property.contains("default")) continue;
    result[key] = checked_at(property, given ? value[key] : property["default"], fmt::format("{}/{}", path, key));
  }
  return result;
}

json checked_at(const json& schema, const json& value, const std::string& path) {
  check_type(schema, value, path);
  check_range(schema, value, path);
  check_choice(schema, value, path);
  if (value.is_string()) {
    require(value.get_ref<const std::string&>().size() >= schema.value("minLength", size_t{0}),
            "[experiment] {}: too short; got \"\"; expected some text", at(path));
  }
  if (value.is_object()) return checked_object(schema, value, path);
  if (value.is_array() && schema.contains("items")) {
    require(value.size() >= schema.value("minItems", size_t{0}),
            "[experiment] {}: too few elements; got {}; expected at least {}", at(path), value.size(),
            schema.value("minItems", 0));
    json result = json::array();
    for (size_t i = 0; i < value.size(); ++i)
      result.push_back(checked_at(schema["items"], value[i], fmt::format("{}/{}", path, i)));
    return result;
  }
  return value;
}

}  // namespace

json checked(const json& schema, const json& value) { return checked_at(schema, value, ""); }

const json& experiment_schema() {
  static const json schema = json::parse(embedded_experiment_schema);
  return schema;
}

json parse_json(std::string_view text, const std::string& where) {
  // The parser keeps the last of two equal keys in silence; a callback sees both.
  std::vector<std::set<std::string>> keys;
  std::string repeated;
  constexpr int deepest = 64;
  auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    require(depth <= deepest, "[experiment] {}: nested too deeply; got more than {} levels; expected an experiment",
            where, deepest);
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      repeated = parsed.get<std::string>();
    return true;
  };
  json value;
  try {
    value = json::parse(text, watch);
  } catch (const json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 9: ...": the end tells what, the number nothing.
    const std::string_view reason = error.what();
    fail("[experiment] {}: not JSON; got {}; expected an experiment file", where,
         printable(reason.substr(std::min(reason.size(), reason.find(']') + 2))));
  }
  require(repeated.empty(), "[experiment] {}: key given twice; got a second \"{}\"; expected each key once", where,
          printable(repeated));
  return value;
}

}  // namespace hp

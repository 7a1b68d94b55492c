// Options: reads the settings of a method or metric from JSON; whatever it was not asked for is an error.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hp {

// Every reader names a key once, with its default. finish() then fails on keys that nothing read. All errors are
// hp::Error: "[where] what; got ...; expected ...".
class Options {
 public:
  Options(const nlohmann::json& values, std::string where);  // an object, or null for none

  bool has(std::string_view key) { return find(key) != nullptr; }
  bool flag(std::string_view key, bool otherwise);
  int64_t integer(std::string_view key, int64_t otherwise, int64_t low, int64_t high);
  double number(std::string_view key, double otherwise, double low, double high);
  std::string text(std::string_view key, std::string_view otherwise);
  // One of `choices`; returns its position.
  size_t choice(std::string_view key, size_t otherwise, const std::vector<std::string>& choices);
  // The value as it is, for a reader that knows more; null if absent.
  nlohmann::json raw(std::string_view key);

  void finish() const;

 private:
  const nlohmann::json* find(std::string_view key);

  nlohmann::json values_;
  std::string where_;
  std::vector<std::string> known_;
};

}  // namespace hp

#include "tools/experiment/changes.h"

#include <doctest/doctest.h>

using hp::changes_between;
using nlohmann::json;

namespace {

using Texts = std::vector<std::string>;

Texts changes(const char* before, const char* now) { return changes_between(json::parse(before), json::parse(now)); }

}  // namespace

TEST_CASE("changes: every key that differs, with both values") {
  CHECK(changes(R"({"a": 1, "b": {"c": [1, 2]}})", R"({"b": {"c": [1, 2]}, "a": 1})").empty());
  CHECK(changes(R"({"b": {"d": 1, "c": 2}, "a": "x"})", R"({"b": {"d": 1.5, "c": 2}, "a": "y"})") ==
        Texts{"/a: \"x\" -> \"y\"", "/b/d: 1 -> 1.5"});
  CHECK(changes(R"({"a": {"b": 1}})", R"({"a": {"c": null}})") == Texts{"/a/b: 1 -> none", "/a/c: none -> null"});
  CHECK(changes(R"([{"a": 1}, {"a": 2}])", R"([{"a": 1}, {"a": 3}])") == Texts{"/1/a: 2 -> 3"});
  CHECK(changes(R"({"a": [1, 2]})", R"({"a": [1]})") == Texts{"/a: [1,2] -> [1]"});
  CHECK(changes(R"({"a": [1]})", R"({"a": {"b": 1}})") == Texts{"/a: [1] -> {\"b\":1}"});
  CHECK(changes("1", "2") == Texts{"/: 1 -> 2"});
  CHECK(changes("1", "1.0").empty());
}

TEST_CASE("changes: long values are cut") {
  const json before{{"a", std::string(500, 'x')}};
  const Texts texts = changes_between(before, json::object());
  REQUIRE(texts.size() == 1);
  CHECK(texts[0].size() < 90);
  CHECK(texts[0].find("... -> none") != std::string::npos);
}

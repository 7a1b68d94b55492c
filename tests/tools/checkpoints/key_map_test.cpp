#include <doctest/doctest.h>

#include "runtime/error.h"
#include "tests/tools/checkpoints/hollow_checkpoint.h"
#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/key_map.h"

using namespace hp;
using namespace hp::test;

TEST_CASE("key maps: patterns") {
  const std::vector<KeyRule> rules{{"*.counter", std::nullopt, "a counter"},
                                   {"blocks.*.ln_*.*", "b.*.norm*.*", ""},
                                   {"one", "two", ""},
                                   {"x*y", "*", ""}};
  CHECK(rename(rules, "a.counter").reason == "a counter");
  CHECK(*rename(rules, "blocks.11.ln_2.weight").name == "b.11.norm2.weight");
  CHECK(*rename(rules, "one").name == "two");
  CHECK(*rename(rules, "xy").name == "");
  CHECK(*rename(rules, "xxyy").name == "xy");
  CHECK_FALSE(rename(rules, "one.more").name);
  CHECK_FALSE(rename(rules, "blocks.1").name);
  CHECK_FALSE(rename(rules, "x").name);
  CHECK(rename(std::vector<KeyRule>{{"proj", "proj.weight", "", true}}, "proj").transpose);
}

TEST_CASE("key maps: every one parses, is used by an architecture and is tried") {
  for (const KeyMap& map : key_maps()) {
    CAPTURE(map.name);
    CHECK_FALSE(map.about.empty());
    CHECK_FALSE(matching_architectures(map.architectures).empty());
    CHECK_FALSE(map.wrappers.empty());
    CHECK_FALSE(map.prefixes.empty());
    CHECK(canonical_key_map(
              {{"architecture", ""}, {"classes", "0"}, {"converter", ""}, {"preprocessing", map.preprocessing}})
              .has_value());
  }
}

TEST_CASE("key maps: broken ones are refused by their file") {
  const auto refusal = [](const std::string& json) -> std::string {
    try {
      parse_key_map("broken", json);
    } catch (const Error& error) {
      return error.what();
    }
    return "parsed";
  };
  const auto with = [](const std::string& inside) {
    return R"({"about":"","architectures":[],"wrappers":[],"prefixes":[],"inside":[)" + inside +
           R"(],"outside":[],"preprocessing":{}})";
  };
  CHECK(refusal(with("")) == "parsed");
  CHECK(contains(refusal("{}"), "models/keymaps/broken.json"));
  CHECK(contains(refusal(with(R"({"from":"a"})")), "'from' and either 'to' or 'drop'"));
  CHECK(contains(refusal(with(R"({"from":"a","to":"*"})")), "more stars"));
  CHECK(contains(refusal("{"), "broken.json"));
}

// The rules of JSON Schema that experiments are checked by, and what a user reads when one is broken.
#include "tools/experiment/schema.h"

#include <doctest/doctest.h>

#include "tests/tools/experiment/synthetic.h"
#include "tools/experiment/experiment.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;

namespace {

json minimal() {
  return json::parse(R"({
    "name": "x", "backbone": {"weights": "w.safetensors"}, "data": {"type": "voc", "root": "d"},
    "probes": [{"name": "a"}, {"name": "b"}],
    "attributions": [{"method": "lrp"}], "evaluations": [{"metric": "gridpg"}, {"metric": "epg"}]
  })");
}

// The complaint about the minimal experiment with one value changed.
std::string complaint(const std::string& pointer, const json& value) {
  json file = minimal();
  file[json::json_pointer(pointer)] = value;
  return error_of([&] { checked(experiment_schema(), file); });
}

std::string parse_complaint(const std::string& text) {
  return error_of([&] { parse_json(text, "e.json"); });
}

}  // namespace

TEST_CASE("schema: the minimal experiment passes, and gets every default") {
  const json full = checked(experiment_schema(), minimal());
  CHECK(full["seed"] == 1);
  CHECK(full["probes"][1]["loss"] == "ce");
  CHECK(full["training"]["epochs"] == 30);
  CHECK(full["data"]["preprocess"] == json::object());
  CHECK(full["memory"]["message_bytes"] == 134217728);
  CHECK(checked(experiment_schema(), full) == full);
}

TEST_CASE("schema: an unknown key is named with its path and the nearest key") {
  CHECK(complaint("/probes/1/los", "bce") ==
        "[experiment] /probes/1/'los': unknown key; got \"bce\"; expected one of b, bias, file, head, hidden, layers, "
        "learning_rate, logit_constant, loss, name, temperature (did you mean loss?)");
  CHECK(contains(complaint("/sede", 3), "/'sede': unknown key; got 3"));
  CHECK(contains(complaint("/sede", 3), "(did you mean seed?)"));
  CHECK(contains(complaint("/data/batchsize", 3), "(did you mean batch_size?)"));
  CHECK(contains(complaint("/data/preprocess/croop", 3), "/data/preprocess/'croop'"));
  CHECK(contains(complaint("/training/epoch", 3), "(did you mean epochs?)"));
  CHECK_FALSE(contains(complaint("/zzzzzzzzzzzz", 3), "did you mean"));
  // What the key holds is cut, and what a terminal could take for a command is not printed.
  const std::string hostile = complaint("/\x1b[2J\n", std::string(5000, 'a'));
  CHECK(hostile.size() < 400);
  CHECK(hostile.find('\x1b') == std::string::npos);
  CHECK(hostile.find('\n') == std::string::npos);
}

TEST_CASE("schema: wrong types") {
  CHECK(complaint("/seed", "one") == "[experiment] /seed: wrong type; got \"one\"; expected integer");
  CHECK(contains(complaint("/seed", 1.5), "/seed: wrong type; got 1.5; expected integer"));
  CHECK(contains(complaint("/seed", 1.0), "/seed: wrong type"));
  CHECK(contains(complaint("/seed", true), "/seed: wrong type"));
  CHECK(contains(complaint("/seed", nullptr), "/seed: wrong type; got null"));
  CHECK(contains(complaint("/name", 7), "/name: wrong type; got 7; expected string"));
  CHECK(contains(complaint("/probes", json::object()), "/probes: wrong type; got {}; expected array"));
  CHECK(contains(complaint("/probes/0", "ce"), "/probes/0: wrong type"));
  CHECK(contains(complaint("/probes/0/bias", 1), "/probes/0/bias: wrong type; got 1; expected boolean"));
  CHECK(contains(complaint("/probes/0/logit_constant", true), "expected number or string"));
  CHECK(contains(complaint("/evaluations/1/methods", "lrp"), "/evaluations/1/methods: wrong type"));
  CHECK(contains(complaint("/evaluations/1/methods", {"lrp", 3}), "/evaluations/1/methods/1: wrong type"));
  CHECK(contains(error_of([] { checked(experiment_schema(), json::array()); }), "/: wrong type; got []"));
  CHECK(contains(error_of([] { checked(experiment_schema(), nullptr); }), "/: wrong type; got null"));
  // An integer that no 64-bit number holds.
  CHECK(contains(complaint("/data/train_limit", 18446744073709551615U), "/data/train_limit: wrong type"));
  CHECK(contains(complaint("/evaluations/0/per_class", 9223372036854775808U), "/evaluations/0/per_class"));
}

TEST_CASE("schema: ranges") {
  CHECK(complaint("/threads", -1) ==
        "[experiment] /threads: out of range; got -1; expected at least 0 and at most 4096");
  CHECK(contains(complaint("/threads", 4097), "/threads: out of range"));
  CHECK(complaint("/threads", 4096).empty());
  CHECK(contains(complaint("/training/learning_rate", 0),
                 "/training/learning_rate: out of range; got 0; expected above 0"));
  CHECK(contains(complaint("/statistics/confidence", 1), "expected above 0 and below 1"));
  CHECK(contains(complaint("/statistics/confidence", 0), "expected above 0 and below 1"));
  CHECK(contains(complaint("/evaluations/0/confidence", 1.01), "/evaluations/0/confidence: out of range"));
  CHECK(complaint("/evaluations/0/confidence", 1).empty());
  CHECK(contains(complaint("/memory/message_bytes", 1024), "/memory/message_bytes: out of range"));
}

TEST_CASE("schema: choices, missing keys, empty texts and lists") {
  CHECK(complaint("/probes/1/loss", "bc") ==
        "[experiment] /probes/1/loss: unknown value; got \"bc\"; expected ce, bce, uo_bce (did you mean bce?)");
  CHECK(contains(complaint("/device", "tpu"), "/device: unknown value"));
  CHECK(contains(complaint("/name", ""), "/name: too short"));
  CHECK(contains(complaint("/probes", json::array()), "/probes: too few elements; got 0; expected at least 1"));
  for (const char* key : {"name", "backbone", "data", "probes"}) {
    json file = minimal();
    file.erase(key);
    CHECK(error_of([&] { checked(experiment_schema(), file); }) ==
          std::string("[experiment] /: missing key; got none; expected \"") + key + "\"");
  }
  json file = minimal();
  file["probes"][1].erase("name");
  CHECK(contains(error_of([&] { checked(experiment_schema(), file); }),
                 "/probes/1: missing key; got none; expected \"name\""));
}

TEST_CASE("parse_json: text that is no JSON, or says a thing twice") {
  CHECK(contains(parse_complaint(""), "[experiment] e.json: not JSON"));
  CHECK(contains(parse_complaint("{\"a\": 1,}"), "line 1, column 9"));
  CHECK(contains(parse_complaint("{\n\"a\": 01}"), "line 2"));
  CHECK(contains(parse_complaint("\xff\xfe"), "not JSON"));
  CHECK(contains(parse_complaint(std::string("{\"a\0b\": 1", 9)), "not JSON"));
  CHECK(contains(parse_complaint("{\"a\": 1e999}"), "not JSON"));
  CHECK(contains(parse_complaint("{} {}"), "not JSON"));
  CHECK(contains(parse_complaint("PK\x03\x04"), "not JSON"));
  CHECK(contains(parse_complaint(R"({"a": 1, "b": {"c": 1, "c": 2}})"), "key given twice; got a second \"'c'\""));
  CHECK(contains(parse_complaint(R"({"seed": 1, "seed": 1})"), "key given twice"));
  CHECK(contains(parse_complaint(R"({"a": 1, "\u0061": 2})"), "key given twice"));
  CHECK(parse_complaint(R"([{"a": 1}, {"a": 2}, {"b": {"a": 3}, "a": 4}])").empty());
  for (const std::string& text : {parse_complaint("{\"a\":\n\n tru"), parse_complaint("{\n\n")})
    CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("parse_json: nesting bombs") {
  for (const size_t depth : {size_t{66}, size_t{1000}, size_t{3'000'000}}) {
    CHECK(contains(parse_complaint(std::string(depth, '[')), "nested too deeply"));
    std::string objects;
    for (size_t i = 0; i < std::min<size_t>(depth, 300'000); ++i) objects += "{\"a\":";
    CHECK(contains(parse_complaint(objects), "nested too deeply"));
  }
  CHECK(parse_complaint(std::string(60, '[') + std::string(60, ']')).empty());
}

TEST_CASE("set_value: paths") {
  json file = minimal();
  set_value(file, "training.epochs=5");
  set_value(file, "probes.1.loss=bce");
  set_value(file, "probes.2={\"name\": \"c\"}");
  set_value(file, "data.root=/a b/c=d");
  set_value(file, "evaluations.0.methods=[\"lrp\"]");
  set_value(file, "features.dtype=\"float16\"");
  set_value(file, "name=007");
  CHECK(file["training"]["epochs"] == 5);
  CHECK(file["probes"][1]["loss"] == "bce");
  CHECK(file["probes"][2]["name"] == "c");
  CHECK(file["data"]["root"] == "/a b/c=d");
  CHECK(file["evaluations"][0]["methods"] == json{"lrp"});
  CHECK(file["features"]["dtype"] == "float16");
  CHECK(file["name"] == "007");
  CHECK(error_of([&] { Experiment::parse(file, "."); }).empty());
  json lists = json::object();
  set_value(lists, "probes.0.name=first");
  CHECK(lists == json::parse(R"({"probes": [{"name": "first"}]})"));
}

TEST_CASE("set_value: places that are none") {
  for (const std::string assignment :
       {"", "=", "=3", "seed", "name.x=1", "probes.x=1", "probes.-1.loss=ce", "probes.9.loss=ce", "probes.-=1",
        "probes.99999999999999999999=1", "probes.4000000000=1", "a..b=1", ".a=1", "a.=1", "probes.0x1.loss=ce"}) {
    CAPTURE(assignment);
    json file = minimal();
    const std::string text = error_of([&] { set_value(file, assignment); });
    CHECK(contains(text, "[experiment] --set "));
    CHECK(text.find('\n') == std::string::npos);
  }
  json file = minimal();
  CHECK(contains(error_of([&] { set_value(file, "seed=" + std::string(50000, '[') + std::string(50000, ']')); }),
                 "nested too deeply"));
  CHECK(contains(error_of([&] { set_value(file, R"(data={"type": "voc", "type": "voc"})"); }), "key given twice"));
  json list = json::array();
  CHECK(contains(error_of([&] { set_value(list, "seed=1"); }), "no such place"));
  // A key that is known to nobody is set, and refused with everything else.
  set_value(file, "trianing.epochs=5");
  CHECK(contains(error_of([&] { Experiment::parse(file, "."); }), "(did you mean training?)"));
}

// Experiment::parse: every key of the schema arrives somewhere, names are safe, and our own files are valid.
#include "tools/experiment/experiment.h"
#include "tests/places.h"

#include <doctest/doctest.h>

#include <map>

#include "attribution/composites.h"
#include "attribution/method.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/experiment/schema.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

std::string text_of(const std::vector<std::string>& words) { return fmt::format("[{}]", fmt::join(words, "|")); }

std::string text_of(const DataConfig& d) {
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {}", d.scenes.str(), d.scenes.train, d.scenes.test, d.type,
                     d.root.string(), d.train, d.test, text_of(d.classes), d.train_subset.limit, d.train_subset.seed,
                     d.test_subset.limit, d.test_subset.seed, static_cast<int>(d.voc_boxes));
}

std::string text_of(const Recipe& r) {
  std::string rates;
  for (int64_t epoch = 0; epoch < 30; ++epoch) rates += fmt::format(" {}", r.schedule.factor({epoch, 0, 1}));
  return fmt::format("{} {} {} {} {} {} {}{}", r.learning_rate, r.optimizer.momentum, r.optimizer.weight_decay,
                     r.optimizer.nesterov, r.epochs, r.batch_size, r.shuffle.seed, rates);
}

std::string text_of(const Augmentation& a) {
  return fmt::format("{} {} {} {} {}", static_cast<int>(a.crop), a.size, a.min_area, a.padding, a.flip);
}

std::string text_of(const PretrainSpec& p) {
  const OptimizerSettings& o = p.recipe.optimizer;
  const Schedule& s = p.recipe.schedule;
  std::string text =
      fmt::format("{} {} {} {} {} {} {} ", p.model, static_cast<int>(p.loss), p.zero_residual, fmt::join(p.mean, "|"),
                  fmt::join(p.deviation, "|"), text_of(p.augmentation), text_of(p.recipe));
  text += fmt::format("{} {} {} {} {} ", static_cast<int>(o.kind), o.decays_vectors, o.clip_norm,
                      p.recipe.label_smoothing, p.recipe.accumulate);
  text += fmt::format("{} {} {} {} {} {} {}", static_cast<int>(s.decay), fmt::join(s.milestones, "|"), s.step_epochs,
                      s.gamma, s.per_step, s.warmup_epochs, s.warmup_start);
  for (const ParameterGroup& group : o.groups) text += fmt::format(" {} {} {}", group.pattern, group.rate, group.decay);
  return text;
}

// Everything an experiment says, but for `resolved`: what the program acts on.
std::string fingerprint(const Experiment& e) {
  std::string text = fmt::format("{} {} {} {} {} {} ", e.name, e.seed, e.device, e.math, e.threads, e.weights.string());
  text += text_of(e.data) + e.preprocess.dump() + text_of(e.recipe) + text_of(e.augmentation) + text_of(e.layers);
  text += fmt::format("{} {} {} {} {} ", e.batch_size, e.workers, e.cache.string(), e.feature_form, e.half_features);
  for (size_t i = 0; i < e.probes.size(); ++i) {
    const ProbeSpec& p = e.probes[i];
    text += fmt::format("{} {} {} {} {} {} {} ", p.name, static_cast<int>(p.head), static_cast<int>(p.loss), p.bias,
                        p.logit_constant, p.learning_rate, static_cast<int>(e.constants[i]));
    text += e.probe_files[i].string();
  }
  for (const ProbeSpec& p : e.probes) text += fmt::format("{} {} {} ", p.hidden, p.layers, p.temperature);
  if (e.pretrain) text += text_of(*e.pretrain) + " ";
  if (e.shift) {
    text += fmt::format("{} {} {} {} {} {} ", e.shift->probe, static_cast<int>(e.shift->direction),
                        fmt::join(e.shift->scales, "|"), e.shift->cells, e.shift->grids, e.shift->confidence);
  }
  for (const AttributionSpec& a : e.attributions) text += fmt::format("{} {} {} ", a.name, a.method, a.options.dump());
  for (const EvaluationSpec& v : e.evaluations) {
    text += fmt::format("{} {} {} {} {} {} {} {} {} {} ", v.name, static_cast<int>(v.kind), text_of(v.methods),
                        v.images.grids, v.images.cells, v.images.confidence, v.images.per_class, v.count, v.smoothing,
                        v.region);
  }
  return text + fmt::format("{} {} {} {} {} {} {}", e.backbone_features, e.resamples, e.interval, e.gallery, e.raw_maps,
                            e.message_bytes, e.explain_batch);
}

// An object with every key of a schema: its default, or the least that is allowed.
json complete(const json& schema) {
  if (schema.contains("properties")) {
    json value = json::object();
    for (const auto& [key, property] : schema["properties"].items()) value[key] = complete(property);
    return value;
  }
  if (schema.contains("default") && !schema["default"].is_null()) return schema["default"];
  if (schema.contains("enum")) return schema["enum"][0];
  if (schema["type"] == "array") return json::array({complete(schema["items"])});
  if (schema["type"] == "string") return "text";
  return schema.value("minimum", json(0));
}

// Two probes, two attributions, an evaluation on grids and one on images, each with every key.
json complete_experiment() {
  json file = complete(experiment_schema());
  file["data"]["root"] = "text";
  file["pretrain"]["groups"] = {
      complete(experiment_schema()["properties"]["pretrain"]["properties"]["groups"]["items"])};
  const json& items = experiment_schema()["properties"];
  file["probes"] = {complete(items["probes"]["items"]), complete(items["probes"]["items"])};
  file["probes"][1]["name"] = "second";
  file["attributions"] = {complete(items["attributions"]["items"]), complete(items["attributions"]["items"])};
  file["attributions"][1]["name"] = "second";
  file["evaluations"] = {complete(items["evaluations"]["items"]), complete(items["evaluations"]["items"])};
  file["evaluations"][1]["name"] = "second";
  file["evaluations"][1]["metric"] = "epg";
  return file;
}

// Another valid value; several where the schema cannot say which are valid together with the rest.
std::vector<json> alternatives(const json& schema, const json& value) {
  std::vector<json> others;
  for (const json& choice : schema.value("enum", json::array())) {
    if (choice != value) others.push_back(choice);
  }
  if (!others.empty()) return others;
  if (value.is_boolean()) return {!value.get<bool>()};
  if (value.is_number_integer() && schema["type"] == "integer") return {value.get<int64_t>() + 1};
  if (value.is_number()) return {0.25};
  if (value.is_string()) return {"another"};
  if (value.is_array()) return {json::array({"another"}), json::array({"second"})};
  return {json::object({{"nodes", 3}})};
}

// Calls `visit` for every leaf of the schema with its place in a complete experiment.
template <class Visit>
void walk(const json& schema, const json& value, const json::json_pointer& place, const Visit& visit) {
  if (schema.contains("properties")) {
    for (const auto& [key, property] : schema["properties"].items()) walk(property, value[key], place / key, visit);
  } else if (schema.contains("items") && schema["items"].contains("properties")) {
    for (size_t i = 0; i < value.size(); ++i) walk(schema["items"], value[i], place / i, visit);
  } else {
    visit(schema, value, place);
  }
}

// "/probes/1/loss" -> "/probes/loss": list elements share their keys.
std::string without_indices(const std::string& place) {
  std::string text;
  for (const char c : place) {
    if (c >= '0' && c <= '9') continue;
    if (c == '/' && !text.empty() && text.back() == '/') continue;
    text += c;
  }
  return text;
}

std::vector<fs::path> experiment_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(hp::test::source_folder() / "experiments"))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  return files;
}

json minimal() {
  return json::parse(R"({"name": "x", "backbone": {"weights": "w"}, "data": {"type": "voc", "root": "d"},
                         "probes": [{"name": "a"}], "attributions": [{"method": "lrp"}],
                         "evaluations": [{"metric": "gridpg"}]})");
}

std::string complaint(const std::string& pointer, const json& value) {
  json file = minimal();
  file[json::json_pointer(pointer)] = value;
  return error_of([&] { Experiment::parse(file, "."); });
}

}  // namespace

TEST_CASE("experiment: every key of the schema changes what the program does") {
  const json file = complete_experiment();
  const std::string before = fingerprint(Experiment::parse(file, "/folder"));
  std::map<std::string, bool> changes;  // key: whether a change of it, in any element of a list, was seen
  walk(experiment_schema(), file, json::json_pointer(), [&](const json& schema, const json& value, const auto& place) {
    bool& seen = changes[without_indices(place.to_string())];
    for (const json& other : alternatives(schema, value)) {
      json changed = file;
      changed[place] = other;
      std::string after = before;
      const std::string refused = error_of([&] { after = fingerprint(Experiment::parse(changed, "/folder")); });
      // What is refused was read too, if the complaint is about it.
      seen = seen || after != before || contains(refused, place.to_string());
    }
  });
  CHECK(changes.size() == 112);
  for (const auto& [key, seen] : changes) CHECK_MESSAGE(seen, key);
}

TEST_CASE("experiment: the preprocessing of the file overrides that of the weights, key by key") {
  const std::string stored = R"({"resize": 256, "crop": 224, "interpolation": "bilinear"})";
  const std::string as_is = preprocess_of(stored, json::object()).str();
  const json changes = {{"resize", "squash"}, {"size", 300}, {"crop", 128}, {"interpolation", "bicubic"}};
  for (const auto& [key, value] : changes.items()) {
    CAPTURE(key);
    CHECK(experiment_schema()["properties"]["data"]["properties"]["preprocess"]["properties"].contains(key));
    CHECK(preprocess_of(stored, {{key, value}}).str() != as_is);
  }
  CHECK(experiment_schema()["properties"]["data"]["properties"]["preprocess"]["properties"].size() == changes.size());
  CHECK(preprocess_of(R"({"resize": 32, "crop": 32, "interpolation": "none"})", json::object()).resize ==
        ResizeMode::none);
  for (const char* hostile : {"", "[]", "{", "null", R"({"resize": "x", "interpolation": "bilinear"})",
                              R"({"resize": -5, "crop": 3, "interpolation": "bilinear"})", R"({"interpolation": 3})",
                              R"({"resize": 8, "crop": 224, "interpolation": "bilinear"})"}) {
    CAPTURE(hostile);
    CHECK_FALSE(error_of([&] { preprocess_of(hostile, json::object()); }).empty());
  }
}

TEST_CASE("experiment: the CPU refuses to round the inputs of products, a CUDA device does not") {
  json file = complete_experiment();
  CHECK(Experiment::parse(file, ".").math == "fp32");
  for (const char* math : {"tf32", "bf16"}) {
    file["math"] = math;
    file["device"] = "cpu";
    CHECK(error_of([&] { Experiment::parse(file, "."); }) ==
          fmt::format("[experiment] /math: the CPU multiplies in float32 alone; got \"{}\"; expected \"fp32\", or a "
                      "device \"cuda\"",
                      math));
    file["device"] = "cuda:1";
    const Experiment experiment = Experiment::parse(file, ".");
    CHECK(experiment.math == math);
    CHECK(experiment.resolved["math"] == math);
  }
}

TEST_CASE("experiment: what the schema lists is what the program knows") {
  const json& properties = experiment_schema()["properties"];
  const auto types = properties["data"]["properties"]["type"]["enum"].get<std::vector<std::string>>();
  CHECK(std::vector<std::string>(data_types().begin(), data_types().end()) == types);
  const json& probe = properties["probes"]["items"]["properties"];
  for (const std::string head : probe["head"]["enum"]) CHECK(name_of(head_kind(head)) == head);
  for (const std::string loss : probe["loss"]["enum"]) CHECK(name_of(loss_kind(loss)) == loss);
  const std::string methods = properties["attributions"]["items"]["properties"]["method"]["description"];
  for (const std::string& method : attribution_names()) CHECK_MESSAGE(contains(methods, method), method);
  // Every key but the self-explaining ones of `training` tells what it is for.
  walk(experiment_schema(), complete_experiment(), json::json_pointer(),
       [](const json& schema, const json&, const auto& place) {
         if (!contains(place.to_string(), "/training/"))
           CHECK_MESSAGE(schema.contains("description"), place.to_string());
       });
}

TEST_CASE("experiment: our own experiments are valid") {
  CHECK(experiment_files().size() >= 3);
  for (const fs::path& file : experiment_files()) {
    CAPTURE(file.string());
    Experiment experiment;
    CHECK(error_of([&] {
            experiment = Experiment::parse(parse_json(read_file(file), file.string()), file.parent_path());
          }).empty());
    for (const AttributionSpec& attribution : experiment.attributions)
      CHECK(error_of([&] { make_attribution(attribution.method, attribution.options); }).empty());
    CHECK(experiment.resolved == checked(experiment_schema(), experiment.resolved));
  }
}

// Experiments, or parts of them, that the documentation shows as ```json blocks.
TEST_CASE("experiment: the documentation uses known keys") {
  int blocks = 0;
  std::vector<fs::path> pages{hp::test::source_folder() / "README.md"};
  for (const auto& entry : fs::recursive_directory_iterator(hp::test::source_folder() / "docs"))
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  for (const fs::path& page : pages) {
    const std::string text = read_file(page);
    for (size_t at = text.find("```json\n"); at != std::string::npos; at = text.find("```json\n", at + 1)) {
      const size_t begin = at + 8, end = text.find("```", begin);
      REQUIRE(end != std::string::npos);
      json shown = parse_json(text.substr(begin, end - begin), page.string());
      if (!shown.is_object() || !shown.contains("backbone")) continue;
      ++blocks;
      CAPTURE(page.string());
      CHECK(error_of([&] { Experiment::parse(shown, "."); }) == "");
    }
  }
  MESSAGE("experiments in the documentation: ", blocks);
}

TEST_CASE("experiment: names are file names") {
  for (const char* name :
       {"../x", "a/b", "", ".", "..", ".hidden", "a\\b", "a b", "a\nb", "a\x01", "\xc3\xa9", "a:b", "*"}) {
    CAPTURE(name);
    for (const char* place : {"/name", "/probes/0/name", "/attributions/0/name", "/evaluations/0/name"}) {
      CAPTURE(place);
      const std::string text = complaint(place, name);
      CHECK(contains(text, place));
      CHECK(text.find('\n') == std::string::npos);
      CHECK(text.find('\x01') == std::string::npos);
    }
  }
  CHECK(contains(complaint("/name", std::string(65, 'a')), "/name: not usable as a file name"));
  CHECK(complaint("/name", std::string(64, 'a')).empty());
  CHECK(complaint("/name", "resnet-56_v1.2").empty());
  // A method that names no method is no way around this.
  CHECK(contains(complaint("/attributions/0/method", "../../x"), "not usable as a file name"));
}

TEST_CASE("experiment: names are unique") {
  CHECK(contains(complaint("/probes/1", {{"name", "a"}}), "/probes/1/name: name taken; got a second \"a\""));
  CHECK(contains(complaint("/attributions/1", {{"method", "lrp"}}), "/attributions/1/name: name taken"));
  CHECK(complaint("/attributions/1", {{"method", "lrp"}, {"name", "lrp-2"}}).empty());
  CHECK(contains(complaint("/evaluations/1", {{"metric", "gridpg"}}), "/evaluations/1/name: name taken"));
}

TEST_CASE("experiment: values that contradict each other") {
  CHECK(contains(complaint("/evaluations/0/on", "images"), "/evaluations/0/on: does not fit the metric"));
  CHECK(contains(complaint("/evaluations/0", {{"metric", "epg"}, {"on", "grids"}}), "/evaluations/0/on"));
  CHECK(complaint("/evaluations/0", {{"metric", "gini"}, {"on", "images"}}).empty());
  CHECK(contains(complaint("/evaluations/0/methods", {"lpr"}),
                 "unknown attribution; got 'lpr'; expected one of lrp (did you mean lrp?)"));
  CHECK(contains(complaint("/attributions", json::array()), "nothing to evaluate"));
  CHECK(contains(complaint("/probes/0/logit_constant", "on"), "/probes/0/logit_constant: unknown value"));
  CHECK(contains(complaint("/probes/0/logit_constant", 1e300), "/probes/0/logit_constant: out of range"));
  CHECK(complaint("/probes/0/logit_constant", "off").empty());
}

TEST_CASE("experiment: scenes have no folder, every other type has one") {
  CHECK(contains(complaint("/data", {{"type", "voc"}}), "/data/root: missing; got nothing"));
  CHECK(contains(complaint("/data", {{"type", "scenes"}, {"root", "d"}}), "/data/root: not used; got 'd'"));
  CHECK(complaint("/data", {{"type", "scenes"}}).empty());
  json file = minimal();
  file["data"] = {{"type", "scenes"},
                  {"scenes", {{"size", 96}, {"classes", 4}, {"mode", "multi-label"}, {"train", 7}, {"test", 3}}}};
  const Experiment experiment = Experiment::parse(file, ".");
  CHECK(experiment.data.scenes.str() == "96 pixels, 4 classes, multi-label, seed 1, clutter 0.5");
  CHECK(open_dataset(experiment.data, Split::train)->size() == 7);
  CHECK(open_dataset(experiment.data, Split::test)->size() == 3);
}

TEST_CASE("experiment: relative paths count from its file") {
  json file = minimal();
  file["backbone"]["weights"] = "../w.safetensors";
  file["data"]["root"] = "/absolute/data";
  file["features"]["cache"] = "cache";
  const Experiment experiment = Experiment::parse(file, "/a/b");
  CHECK(experiment.weights == "/a/w.safetensors");
  CHECK(experiment.data.root == "/absolute/data");
  CHECK(experiment.cache == "/a/b/cache");
  CHECK(Experiment::parse(minimal(), "/a/b").cache.empty());
}

#include "tools/experiment/experiment.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/experiment/schema.h"

namespace hp {

namespace {

using nlohmann::json;

std::filesystem::path beside(const std::filesystem::path& folder, const std::string& path) {
  const std::filesystem::path given(path);
  return given.is_absolute() || given.empty() ? given : (folder / given).lexically_normal();
}

// Names become file names.
void check_name(const std::string& name, const std::string& path) {
  const bool plain = std::all_of(name.begin(), name.end(),
                                 [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  require(plain && !name.empty() && name.size() <= 64 && name[0] != '.',
          "[experiment] {}: not usable as a file name; got {}; expected at most 64 letters, digits, '-', '_' or '.'",
          path, printable(name));
}

void check_unique(std::set<std::string>& seen, const std::string& name, const std::string& path) {
  check_name(name, path);
  require(seen.insert(name).second, "[experiment] {}: name taken; got a second \"{}\"; expected unique names", path,
          name);
}

scenes::Config parse_scenes(const json& keys) {
  scenes::Config config;
  config.size = keys["size"];
  config.classes = keys["classes"];
  config.train = keys["train"];
  config.test = keys["test"];
  config.seed = keys["seed"];
  config.multi_label = keys["mode"] == "multi-label";
  config.clutter = keys["clutter"];
  config.check();
  return config;
}

DataConfig parse_data(const json& data, const std::filesystem::path& folder, uint64_t seed) {
  DataConfig config;
  config.type = data["type"];
  const bool made = config.type == "scenes";
  require(made || data["root"] != "",
          "[experiment] /data/root: missing; got nothing; expected the folder of the data set");
  require(!made || data["root"] == "",
          "[experiment] /data/root: not used; got {}; expected none, since scenes are made and not read",
          printable(data["root"].get<std::string>()));
  config.root = beside(folder, data["root"]);
  config.train = data["train"];
  config.test = data["test"];
  config.classes = data["classes"].get<std::vector<std::string>>();
  config.train_subset.limit = data["train_limit"];
  config.test_subset.limit = data["test_limit"];
  config.train_subset.seed = config.test_subset.seed = seed;
  config.scenes = parse_scenes(data["scenes"]);
  config.voc_boxes = data["voc_boxes"] == "one_based" ? VocBoxes::one_based : VocBoxes::as_written;
  return config;
}

void parse_probes(const json& probes, const std::filesystem::path& folder, Experiment& experiment) {
  std::set<std::string> seen;
  for (size_t i = 0; i < probes.size(); ++i) {
    const json& probe = probes[i];
    const std::string path = fmt::format("/probes/{}", i);
    ProbeSpec spec;
    spec.name = probe["name"];
    check_unique(seen, spec.name, path + "/name");
    spec.head = head_kind(probe["head"].get<std::string>());
    spec.loss = loss_kind(probe["loss"].get<std::string>());
    spec.bias = probe["bias"];
    spec.learning_rate = probe["learning_rate"];
    spec.layers = probe["layers"];
    spec.hidden = probe["hidden"];
    spec.b = probe["b"];
    spec.temperature = probe["temperature"];
    const json& constant = probe["logit_constant"];
    const LogitConstant source = constant == "off"    ? LogitConstant::off
                                 : constant == "auto" ? LogitConstant::automatic
                                                      : LogitConstant::given;
    require(source != LogitConstant::given || constant.is_number(),
            "[experiment] {}/logit_constant: unknown value; got {}; expected a number, \"off\" or \"auto\"", path,
            constant.dump());
    require(source != LogitConstant::given || std::abs(constant.get<double>()) <= 1e6,
            "[experiment] {}/logit_constant: out of range; got {}; expected at most 1e6 either way", path,
            constant.dump());
    if (source == LogitConstant::given) spec.logit_constant = constant.get<float>();
    const std::string file = probe["file"];
    require(file.empty() || spec.head == HeadKind::converted || spec.head == HeadKind::zero_shot,
            "[experiment] {}/file: not used by head {}; got {}; expected head converted or zero-shot", path,
            name_of(spec.head), printable(file));
    require(!file.empty() || spec.head != HeadKind::zero_shot,
            "[experiment] {}/file: missing; expected the probe that convert-weights --zero-shot wrote", path);
    experiment.probes.push_back(spec);
    experiment.constants.push_back(source);
    experiment.probe_files.push_back(file.empty() ? std::filesystem::path() : beside(folder, file));
  }
}

Recipe parse_recipe(const json& training, uint64_t seed) {
  Recipe recipe;
  recipe.learning_rate = training["learning_rate"];
  recipe.optimizer.momentum = training["momentum"];
  recipe.optimizer.weight_decay = training["weight_decay"];
  recipe.optimizer.nesterov = training["nesterov"];
  recipe.epochs = training["epochs"];
  recipe.batch_size = training["batch_size"];
  recipe.shuffle.seed = seed;
  const std::string schedule = training["schedule"];
  if (schedule == "s1") recipe.schedule = Schedule::s1(recipe.epochs);
  if (schedule == "s2") recipe.schedule = Schedule::s2(recipe.epochs);
  if (schedule == "s3") recipe.schedule = Schedule::s3();
  recipe.check();
  return recipe;
}

OptimizerSettings parse_optimizer(const json& pretrain) {
  OptimizerSettings settings;
  settings.kind = optimizer_kind(pretrain["optimizer"].get<std::string>());
  settings.momentum = pretrain["momentum"];
  settings.nesterov = pretrain["nesterov"];
  settings.weight_decay = pretrain["weight_decay"];
  settings.decays_vectors = pretrain["decay_vectors"];
  settings.clip_norm = pretrain["clip_norm"];
  for (const json& group : pretrain["groups"]) {
    settings.groups.push_back({group["parameters"], group["rate"], group["decay"]});
  }
  return settings;
}

Schedule parse_schedule(const json& pretrain) {
  Schedule schedule;
  schedule.decay = decay_kind(pretrain["schedule"].get<std::string>());
  schedule.milestones = pretrain["milestones"].get<std::vector<int64_t>>();
  schedule.step_epochs = pretrain["step_epochs"];
  schedule.gamma = pretrain["gamma"];
  schedule.epochs = pretrain["epochs"];
  schedule.per_step = pretrain["cosine_per_step"];
  schedule.warmup_epochs = pretrain["warmup_epochs"];
  schedule.warmup_start = pretrain["warmup_start"];
  return schedule;
}

Augmentation parse_augmentation(const json& augment) {
  Augmentation augmentation;
  const std::string crop = augment["crop"];
  augmentation.crop = crop == "resized"  ? RandomCrop::resized
                      : crop == "padded" ? RandomCrop::padded
                                         : RandomCrop::none;
  augmentation.size = augment["size"];
  augmentation.min_area = augment["min_area"];
  augmentation.padding = augment["padding"];
  augmentation.flip = augment["flip"];
  augmentation.check();
  return augmentation;
}

PretrainSpec parse_pretrain(const json& pretrain, uint64_t seed) {
  PretrainSpec spec;
  spec.model = pretrain["model"];
  spec.loss = loss_kind(pretrain["loss"].get<std::string>());
  spec.recipe.learning_rate = pretrain["learning_rate"];
  spec.recipe.optimizer = parse_optimizer(pretrain);
  spec.recipe.label_smoothing = pretrain["label_smoothing"];
  spec.recipe.schedule = parse_schedule(pretrain);
  spec.recipe.epochs = pretrain["epochs"];
  spec.recipe.batch_size = pretrain["batch_size"];
  spec.recipe.accumulate = pretrain["accumulate"];
  spec.recipe.shuffle.seed = seed;
  spec.recipe.check();
  spec.zero_residual = pretrain["zero_residual"];
  spec.mean = pretrain["mean"].get<std::vector<float>>();
  spec.deviation = pretrain["std"].get<std::vector<float>>();
  require(spec.mean.size() == 3 && spec.deviation.size() == 3,
          "[experiment] /pretrain: mean and std need a number a channel; got {} and {}; expected 3", spec.mean.size(),
          spec.deviation.size());
  spec.augmentation = parse_augmentation(pretrain["augment"]);
  return spec;
}

void parse_attributions(const json& attributions, Experiment& experiment) {
  std::set<std::string> seen;
  for (size_t i = 0; i < attributions.size(); ++i) {
    const json& item = attributions[i];
    const std::string method = item["method"];
    AttributionSpec spec{item.value("name", method), method, item["options"]};
    check_unique(seen, spec.name, fmt::format("/attributions/{}/name", i));
    experiment.attributions.push_back(spec);
  }
}

// Maps are files <method>.<probe>.<target>.png beside overview.<method>.png, and names may hold dots.
void check_file_names(const Experiment& experiment) {
  std::set<std::string> seen;
  for (size_t i = 0; i < experiment.attributions.size(); ++i) {
    const std::string& method = experiment.attributions[i].name;
    require(method != "overview" && !method.starts_with("overview."),
            "[experiment] /attributions/{}/name: taken for file names; got \"{}\"; expected another name", i, method);
    for (const ProbeSpec& probe : experiment.probes)
      require(seen.insert(method + "." + probe.name).second,
              "[experiment] /attributions/{}/name: two pairs of attribution and probe would name the same file; got "
              "\"{}.{}\" again; expected names without dots",
              i, method, probe.name);
  }
}

// Where `key` leads from `place`: a member of an object, or an element of a list, at most one behind its last. Null if
// nowhere.
json* element(json& place, const std::string& key) {
  if (key.empty()) return nullptr;
  if (place.is_null()) place = key == "0" ? json::array() : json::object();
  if (place.is_object()) return &place[key];
  const bool digits =
      key.size() <= 9 && std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!place.is_array() || !digits) return nullptr;
  const size_t index = std::stoul(key);
  if (index == place.size()) place.push_back(nullptr);
  return index < place.size() ? &place[index] : nullptr;
}

EvaluationKind kind_of(const std::string& metric) {
  if (metric == "epg") return EvaluationKind::epg;
  if (metric == "entropy") return EvaluationKind::entropy;
  return metric == "gini" ? EvaluationKind::gini : EvaluationKind::gridpg;
}

EvaluationSpec parse_evaluation(const json& item, const std::string& path, const Experiment& experiment) {
  EvaluationSpec spec;
  spec.name = item.value("name", item["metric"].get<std::string>());
  spec.kind = kind_of(item["metric"]);
  spec.smoothing = item["smoothing"];
  spec.region = item["region"];
  const std::string on = item["on"];
  const bool grids = on == "auto" ? spec.kind != EvaluationKind::epg : on == "grids";
  require(!(spec.kind == EvaluationKind::gridpg && !grids) && !(spec.kind == EvaluationKind::epg && grids),
          "[experiment] {}/on: does not fit the metric; got \"{}\"; expected \"{}\" for {}", path, on,
          grids ? "images" : "grids", item["metric"].get<std::string>());
  spec.images.grids = grids;
  spec.count = item[grids ? "grids" : "images"];
  if (grids) {
    spec.images = {true, item["cells"], item["confidence"], item["per_class"]};
  } else {
    spec.images = {false, 1, 0, 0};
  }
  std::vector<std::string> names;
  for (const AttributionSpec& attribution : experiment.attributions) names.push_back(attribution.name);
  spec.methods = item["methods"].get<std::vector<std::string>>();
  for (const std::string& method : spec.methods) {
    const std::string near = nearest_word(method, names);
    require(std::find(names.begin(), names.end(), method) != names.end(),
            "[experiment] {}/methods: unknown attribution; got {}; expected one of {}{}", path, printable(method),
            fmt::join(names, ", "), near.empty() ? "" : " (did you mean " + near + "?)");
  }
  if (spec.methods.empty()) spec.methods = names;
  require(!spec.methods.empty(), "[experiment] {}: nothing to evaluate; got no attributions; expected at least one",
          path);
  return spec;
}

std::optional<ShiftSpec> parse_shift(const json& file) {
  if (!file.contains("shift")) return std::nullopt;
  const json& shift = file["shift"];
  ShiftSpec spec{shift["probe"], shift_direction(shift["direction"].get<std::string>()),
                 shift["scales"].get<std::vector<double>>()};
  std::set<double> seen;
  for (const double scale : spec.scales) {
    require(std::abs(scale) <= 1000 && seen.insert(scale).second,
            "[experiment] /shift/scales: out of range, or there twice; got {}; expected different numbers of at most "
            "1000 either way",
            scale);
  }
  spec.cells = shift["cells"];
  spec.grids = shift["grids"];
  spec.confidence = shift["confidence"];
  return spec;
}

}  // namespace

Experiment Experiment::parse(const json& file, const std::filesystem::path& folder) {
  Experiment e;
  e.resolved = checked(experiment_schema(), file);
  const json& r = e.resolved;
  e.name = r["name"];
  check_name(e.name, "/name");
  e.seed = r["seed"];
  e.device = r["device"];
  e.math = r["math"];
  require(
      e.math == "fp32" || e.device != "cpu",
      "[experiment] /math: the CPU multiplies in float32 alone; got \"{}\"; expected \"fp32\", or a device \"cuda\"",
      e.math);
  e.threads = r["threads"];
  e.weights = beside(folder, r["backbone"]["weights"]);
  e.backbone_features = r["backbone"]["features"];
  if (r.contains("pretrain")) e.pretrain = parse_pretrain(r["pretrain"], e.seed);
  e.data = parse_data(r["data"], folder, e.seed);
  e.preprocess = r["data"]["preprocess"];
  e.batch_size = r["data"]["batch_size"];
  e.workers = r["data"]["workers"];
  e.cache = beside(folder, r["features"]["cache"]);
  e.feature_form = r["features"]["form"];
  e.half_features = r["features"]["dtype"] == "float16";
  parse_probes(r["probes"], folder, e);
  e.recipe = parse_recipe(r["training"], e.seed);
  if (r["training"].contains("augment")) e.augmentation = parse_augmentation(r["training"]["augment"]);
  parse_attributions(r["attributions"], e);
  check_file_names(e);
  std::set<std::string> seen;
  for (size_t i = 0; i < r["evaluations"].size(); ++i) {
    const std::string path = fmt::format("/evaluations/{}", i);
    e.evaluations.push_back(parse_evaluation(r["evaluations"][i], path, e));
    check_unique(seen, e.evaluations.back().name, path + "/name");
  }
  e.shift = parse_shift(r);
  e.resamples = r["statistics"]["resamples"];
  e.interval = r["statistics"]["confidence"];
  e.gallery = r["output"]["gallery"];
  e.raw_maps = r["output"]["raw_maps"];
  e.layers = r["output"]["layers"].get<std::vector<std::string>>();
  e.message_bytes = r["memory"]["message_bytes"];
  e.explain_batch = r["memory"]["explain_batch"];
  return e;
}

void set_value(json& file, const std::string& assignment) {
  const size_t equal = assignment.find('=');
  require(equal != std::string::npos && equal > 0,
          "[experiment] --set {}: no value; got no '='; expected path=value, e.g. training.epochs=5",
          printable(assignment));
  const std::string path = assignment.substr(0, equal), text = assignment.substr(equal + 1);
  json value = text;
  if (json::accept(text)) value = parse_json(text, "--set " + path);
  json* place = &file;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    place = element(*place, path.substr(begin, end - begin));
    require(place != nullptr,
            "[experiment] --set {}: no such place; got {}; expected a path into the experiment, e.g. probes.0.loss",
            printable(assignment), printable(path));
    begin = end + 1;
  }
  *place = std::move(value);
}

Preprocess preprocess_of(const std::string& metadata, const json& overrides) {
  const json stored = json::parse(metadata, nullptr, false);
  require(
      stored.is_object(),
      "[experiment] the weights file says nothing usable of preprocessing; got \"{}\"; convert the checkpoint again",
      metadata.substr(0, 60));
  Preprocess preprocess;
  try {
    // The file names the shorter side; "none" means that images already have their size.
    const std::string interpolation = overrides.value("interpolation", stored.value("interpolation", "none"));
    const bool as_is = stored.value("interpolation", "none") == "none";
    const std::string resize = overrides.value("resize", as_is ? "none" : "shorter");
    preprocess.resize = resize == "shorter"  ? ResizeMode::shorter
                        : resize == "squash" ? ResizeMode::squash
                                             : ResizeMode::none;
    preprocess.size = preprocess.resize == ResizeMode::none ? 0 : overrides.value("size", stored.value("resize", 0));
    preprocess.crop = overrides.value("crop", as_is ? 0 : stored.value("crop", 0));
    preprocess.interpolation = interpolation == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
  } catch (const json::exception& error) {
    fail("[experiment] the weights file's preprocessing is not usable; got {}; convert the checkpoint again",
         metadata.substr(0, 60));
  }
  preprocess.check();
  return preprocess;
}

}  // namespace hp

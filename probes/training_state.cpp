#include "probes/training_state.h"

#include <nlohmann/json.hpp>

#include "probes/digest.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"

namespace hp {
namespace {

using nlohmann::json;

constexpr const char* format_name = "hp training state 1";

std::string advice(const std::filesystem::path& file) {
  return fmt::format("delete {} to train from the beginning", file.string());
}

json to_json(const Progress& progress) {
  json epoch{{"epoch", progress.epoch},
             {"epochs", progress.epochs},
             {"step", progress.step},
             {"steps", progress.steps},
             {"seen", progress.seen},
             {"learning_rate", progress.learning_rate},
             {"rate", progress.samples_per_second}};
  if (progress.evaluation) epoch["evaluation"] = *progress.evaluation;
  for (const ProbeProgress& probe : progress.probes) {
    epoch["probes"].push_back({{"name", probe.name}, {"loss", probe.loss}, {"top1", probe.top1}});
  }
  return epoch;
}

Progress progress_from(const json& epoch) {
  Progress progress{.epoch = epoch.at("epoch"),
                    .epochs = epoch.at("epochs"),
                    .step = epoch.at("step"),
                    .steps = epoch.at("steps"),
                    .seen = epoch.at("seen"),
                    .learning_rate = epoch.at("learning_rate"),
                    .samples_per_second = epoch.at("rate"),
                    .probes = {},
                    .evaluation = {}};
  if (epoch.contains("evaluation")) progress.evaluation = epoch["evaluation"].get<double>();
  for (const json& probe : epoch.at("probes"))
    progress.probes.push_back({probe.at("name"), probe.at("loss"), probe.at("top1")});
  return progress;
}

json to_json(const TrainingPosition& position) {
  json all{{"epoch", position.epoch}, {"step", position.step}, {"seen", position.seen}};
  all["tallies"] = json::array();
  all["curves"] = json::array();
  for (const TrainingPosition::Tally& tally : position.tallies) {
    all["tallies"].push_back({{"loss", tally.loss}, {"right", tally.right}});
  }
  for (const Progress& epoch : position.curves) all["curves"].push_back(to_json(epoch));
  return all;
}

TrainingPosition position_from(const json& all) {
  TrainingPosition position;
  position.epoch = all.at("epoch");
  position.step = all.at("step");
  position.seen = all.at("seen");
  for (const json& tally : all.at("tallies")) position.tallies.push_back({tally.at("loss"), tally.at("right")});
  for (const json& epoch : all.at("curves")) position.curves.push_back(progress_from(epoch));
  require(position.epoch >= 0 && position.step >= 0 && position.seen >= 0, "[training] negative position");
  return position;
}

void check_format(const std::string& format) {
  require(format == format_name, "[training] no training state; got format {}; expected '{}'", printable(format),
          format_name);
}

// Over every tensor, its name and shape, and the metadata.
std::string digest_of(const Parameters& file) {
  std::string all;
  for (const auto& [key, value] : file.metadata) {
    if (key != "digest") all += fmt::format("{}={}\n", key, value);
  }
  std::map<std::string, const Tensor*> sorted;
  for (const std::string& name : file.names()) sorted[name] = &file.at(name);
  for (const auto& [name, tensor] : sorted) {
    all += fmt::format("{} {} {}\n", name, tensor->shape().str(),
                       sha256_of(std::span(tensor->bytes_begin(), tensor->bytes())));
  }
  return sha256_of(all);
}

}  // namespace

void save_training_state(const std::filesystem::path& file, const TrainingState& state) {
  Parameters all;
  json optimizers = json::array();
  for (size_t i = 0; i < state.learners.size(); ++i) {
    const Parameters& learner = state.learners[i];
    for (const std::string& name : learner.names()) all.set(fmt::format("{}/{}", i, name), learner.at(name));
    optimizers.push_back(learner.metadata);
  }
  all.metadata["format"] = format_name;
  all.metadata["experiment"] = state.experiment;
  all.metadata["position"] = to_json(state.position).dump();
  all.metadata["learners"] = optimizers.dump();
  all.metadata["digest"] = digest_of(all);
  save_safetensors(file, all);
}

std::string experiment_of_state(const std::filesystem::path& file) {
  try {
    auto metadata = SafetensorsFile(file).metadata();
    check_format(metadata["format"]);
    return metadata["experiment"];
  } catch (const Error& error) {
    fail("[training] the state {} is damaged; got {}; {}", file.string(), error.what(), advice(file));
  }
}

TrainingState load_training_state(const std::filesystem::path& file, const std::string& experiment, size_t learners) {
  Parameters all;
  try {
    all = load_safetensors(file);
    check_format(all.metadata["format"]);
    require(all.metadata["digest"] == digest_of(all), "[training] its contents do not fit their digest");
  } catch (const Error& error) {
    fail("[training] the state {} is damaged; got {}; {}", file.string(), error.what(), advice(file));
  }
  require(all.metadata["experiment"] == experiment,
          "[training] the state {} belongs to another experiment, data set or machine; got other settings; restore "
          "them, or {}",
          file.string(), advice(file));
  TrainingState state;
  state.experiment = experiment;
  try {
    state.position = position_from(json::parse(all.metadata["position"]));
    const json optimizers = json::parse(all.metadata["learners"]);
    require(optimizers.size() == learners && state.position.tallies.size() == learners,
            "[training] {} learners; expected {}", optimizers.size(), learners);
    for (const json& metadata : optimizers) {
      state.learners.emplace_back().metadata = metadata.get<std::map<std::string, std::string>>();
    }
    for (const std::string& name : all.names()) {
      const size_t slash = name.find('/');
      const size_t learner = slash == std::string::npos ? learners : std::stoul(name.substr(0, slash));
      require(learner < learners, "[training] tensor of an unknown learner");
      state.learners[learner].set(name.substr(slash + 1), all.at(name));
    }
  } catch (const std::exception& error) {
    fail("[training] the state {} is not usable; got {}; {}", file.string(), error.what(), advice(file));
  }
  return state;
}

}  // namespace hp

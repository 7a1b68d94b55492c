#include "tools/experiment/run.h"

#include <fmt/core.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <system_error>

#include "runtime/error.h"
#include "runtime/file.h"
#include "runtime/out_of_memory.h"
#include "tools/experiment/changes.h"
#include "tools/experiment/checks.h"
#include "tools/experiment/evaluation_run.h"
#include "tools/experiment/given_probes.h"
#include "tools/experiment/output_folder.h"
#include "tools/experiment/plan_text.h"
#include "tools/experiment/pretrain_run.h"
#include "tools/experiment/schema.h"
#include "tools/experiment/shift_run.h"
#include "tools/report/report.h"

namespace hp {

namespace {

void write_text(const std::filesystem::path& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void add_facts(Results& results, const Experiment& experiment, const Network& network, const SplitData& train,
               const SplitData& test, const std::string& engine) {
  results.facts.emplace_back("backbone", fmt::format("{}, {:.2f} M parameters", network.architecture,
                                                     static_cast<double>(network.folded.parameters.count()) * 1e-6));
  results.facts.emplace_back(
      "weights", fmt::format("{} (sha256 {})", experiment.weights.filename().string(), network.sha256.substr(0, 16)));
  results.facts.emplace_back(
      "images",
      fmt::format("{}: {} train, {} test, {} classes, {}x{}", experiment.data.type, train.images->size(),
                  test.images->size(), train.images->classes().size(), network.shape.width, network.shape.height));
  results.facts.emplace_back("seed", std::to_string(experiment.seed));
  results.facts.emplace_back("device", engine);
}

void check_unchanged(const std::filesystem::path& file, const Experiment& experiment) {
  if (!std::filesystem::exists(file)) return;
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const std::vector<std::string> changes = changes_between(parse_json(text, file.string()), experiment.resolved);
  require(
      changes.empty(),
      "[experiment] --resume goes on with the experiment of {} only; got other values: {}; undo the changes, or run "
      "without --resume to compute anew what depends on them",
      file.string(), fmt::join(changes, ", "));
}

// The network as it will be, so that mistakes are found before the backbone is trained.
Network network_before_pretraining(const Experiment& experiment, const Dataset& images) {
  const bool trained = !experiment.pretrain || std::filesystem::exists(experiment.weights);
  return trained ? load_network(experiment, images)
                 : make_network(untrained_weights(experiment, images), experiment, images);
}

// The complete results of an earlier run of the same experiment, which a run that is stopped must not replace.
bool holds_complete(const std::filesystem::path& folder, const Experiment& experiment) {
  try {
    const MappedFile file(folder / "results.json");
    const auto text = file.bytes();
    const nlohmann::json results = nlohmann::json::parse(reinterpret_cast<const char*>(text.data()),
                                                         reinterpret_cast<const char*>(text.data()) + text.size());
    return results.at("complete") == true && results.at("experiment") == experiment.resolved;
  } catch (const Error&) {
    return false;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

// Runs one stage; where memory runs out, says how much it takes and which setting takes less.
template <class Stage>
auto within_memory(const std::string& what, const std::string& advice, Stage&& stage) {
  constexpr std::string_view text = "[memory] not enough memory for {}; got less than {}; lower {}";
  try {
    return stage();
  } catch (const OutOfMemory& error) {
    fail(text, what, fmt::format("the {} MiB that are needed at once", error.mebibytes()), advice);
  } catch (const std::bad_alloc&) {
    fail(text, what, "what is needed", advice);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) throw;
    fail(text, what, "a thread needs", "threads or data.workers");
  }
}

}  // namespace

Outcome run_experiment(const Experiment& given, const RunOptions& options, const std::atomic<bool>& cancelled) {
  const auto start = std::chrono::steady_clock::now();
  const Experiment experiment = with_given_heads(given);
  if (options.resume) check_unchanged(options.output / "experiment.json", experiment);
  SplitData train, test;
  Network network;
  {
    const Observed observed(options.observer, "run/open");
    train = open_split(experiment, Split::train), test = open_split(experiment, Split::test);
    network = network_before_pretraining(experiment, *train.images);
    check_experiment(experiment, network, train, test);
  }
  if (options.dry_run) {
    fmt::print("{}", plan_text(experiment, network, train, test));
    return Outcome::complete;
  }
  const std::filesystem::path cache = experiment.cache.empty() ? options.output / "features" : experiment.cache;
  const OpenedDevice device = options.open_device(experiment, cache);
  const OutputFolder folder(options.output);
  write_text(folder.path() / "experiment.json", experiment.resolved.dump(2) + "\n");
  Journal journal(folder.path() / "run.log");
  device.kernels->observe(options.observer);
  const std::string& engine = device.engine;
  journal.say(fmt::format("{}: {} on {}", experiment.name, network.architecture, engine));

  Results results;
  results.name = experiment.name;
  results.experiment = experiment.resolved;
  results.classes = train.images->classes();
  const bool keeps_complete = holds_complete(folder.path(), experiment);
  if (keeps_complete) journal.say("the complete results of an earlier run stay until this one is complete");
  auto save = [&] {
    if (keeps_complete && !results.complete) return;
    const Observed observed(options.observer, "run/save");
    write_results(folder.path(), results);
    write_report(folder.path(), results);
  };
  if (experiment.pretrain) {
    results.pretraining = pretrain(
        {experiment, train, test, *device.kernels, engine, folder.path() / "pretraining.state", journal, cancelled});
    if (!results.pretraining) {
      journal.say("stopped; the same command goes on from here");
      return Outcome::cancelled;
    }
    network = load_network(experiment, *train.images);
  }
  add_facts(results, experiment, network, train, test, engine);
  const FeatureRun run{experiment, network, *device.kernels, engine, cache, journal, cancelled};
  auto stages = [&] {
    const bool computed =
        within_memory("the features", fmt::format("data.batch_size ({})", experiment.batch_size), [&] {
          return (!needs_train_features(experiment) || compute_features(train, run, results.notes)) &&
                 compute_features(test, run, results.notes);
        });
    if (!computed) return false;
    std::filesystem::create_directories(folder.path() / "probes");
    const TestedProbes probes =
        within_memory("the probes", fmt::format("training.batch_size ({})", experiment.recipe.batch_size),
                      [&] { return train_and_test(run, train, test, folder.path()); });
    results.probes = probes.results;
    if (!probes.complete) return false;
    save();
    const std::string settings =
        fmt::format("memory.explain_batch ({}) or memory.message_bytes ({}), or use fewer cells a grid",
                    experiment.explain_batch, experiment.message_bytes);
    return within_memory("the attributions", settings, [&] {
      const EvaluationRun evaluation{run, test, probes, folder.path(), results, save, !keeps_complete};
      return evaluate(evaluation) && run_shift({run, train, test, probes, folder.path(), results, save});
    });
  };
  results.complete = stages();
  results.facts.emplace_back("time", fmt::format("{:.0f} s", seconds_since(start)));
  save();
  if (results.complete) {
    journal.say(fmt::format("done in {:.1f} s", seconds_since(start)));
    fmt::print("{}", results_table(results));
  } else {
    journal.say("stopped; the same command goes on from here");
  }
  return results.complete ? Outcome::complete : Outcome::cancelled;
}

}  // namespace hp

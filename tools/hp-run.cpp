// hp-run: runs an experiment file.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>

#include "runtime/error.h"
#include "runtime/observers.h"
#include "runtime/out_of_memory.h"
#include "tools/device.h"
#include "tools/experiment/journal.h"
#include "tools/experiment/run.h"
#include "tools/experiment/schema.h"
#include "tools/export/export.h"
#include "tools/trace/profile.h"
#include "tools/trace/trace_file.h"

namespace {

std::atomic<bool> cancelled = false;

// The first Ctrl-C ends the current batch and writes what there is; a second one ends the program at once.
void on_interrupt(int signal) {
  if (cancelled) std::_Exit(128 + signal);
  cancelled = true;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  hp::require(file.good(), "[hp-run] cannot read {}; expected an experiment file", path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Arguments {
  std::filesystem::path experiment;
  std::vector<std::string> settings;
  std::filesystem::path output;
  std::string device;
  int threads = -1;
  std::filesystem::path export_folder;
  bool dry_run = false, resume = false;
  std::filesystem::path trace;
  bool profile = false;
};

// Writes the experiment's data set as files, and does nothing else.
bool export_files(const hp::Experiment& experiment, const std::filesystem::path& folder) {
  const auto train = hp::open_dataset(experiment.data, hp::Split::train);
  const auto test = hp::open_dataset(experiment.data, hp::Split::test);
  hp::Journal journal("");
  hp::ExportOptions options{.folder = folder, .cancelled = &cancelled};
  options.progress = [&](const std::string& split, int64_t done, int64_t total) {
    if (done == 0) journal.start("export (" + split + ")", total, "images");
    journal.advance(done);
    if (done == total) journal.finish();
  };
  const bool complete = hp::export_data(*train, *test, options);
  if (complete) fmt::print("data: {}\n", folder.string());
  return complete;
}

int run(const Arguments& arguments) {
  nlohmann::json file = hp::parse_json(read_text(arguments.experiment), arguments.experiment.string());
  hp::require(file.is_object(), "[experiment] {}: no experiment; got JSON of another kind; expected an object",
              arguments.experiment.string());
  for (const std::string& setting : arguments.settings) hp::set_value(file, setting);
  if (!arguments.device.empty()) file["device"] = arguments.device;
  if (arguments.threads >= 0) file["threads"] = arguments.threads;
  const std::filesystem::path folder = std::filesystem::absolute(arguments.experiment).parent_path();
  const hp::Experiment experiment = hp::Experiment::parse(file, folder);
  if (!arguments.export_folder.empty()) return export_files(experiment, arguments.export_folder) ? 0 : 1;
  hp::RunOptions options{arguments.output, arguments.dry_run, nullptr, hp::open_device};
  hp::Observers observers;
  const std::unique_ptr<hp::Observer> ranges = hp::open_ranges();
  if (ranges) observers.add(*ranges);
  std::optional<hp::Recorder> recorder;
  std::optional<hp::AtomicFile> trace_file;  // opened first: a place that cannot be written to is known at once
  if (!arguments.trace.empty()) trace_file.emplace(arguments.trace);
  if (trace_file || arguments.profile) observers.add(recorder.emplace());
  if (!observers.empty()) options.observer = &observers;
  options.resume = arguments.resume;
  if (options.output.empty()) options.output = std::filesystem::path("out") / experiment.name;
  const hp::Outcome outcome = hp::run_experiment(experiment, options, cancelled);
  if (outcome == hp::Outcome::complete && !options.dry_run)
    fmt::print("\nreport: {}\n", (options.output / "report.html").string());
  if (recorder) {
    const hp::Trace trace = recorder->trace();
    if (arguments.profile) fmt::print("\n{}", hp::profile_text(trace));
    if (trace_file) {
      hp::write_trace(*trace_file, trace, "hp-run");
      trace_file->commit();
      fmt::print("\ntrace: {} (open it in ui.perfetto.dev or chrome://tracing)\n", arguments.trace.string());
    }
  }
  return outcome == hp::Outcome::complete ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Trains probes on a frozen backbone, explains them, and measures how well the explanations localise."};
  app.footer(
      "The experiment file is described in docs/experiment.schema.json and in README.md.\n"
      "Exit status: 0 success, 1 failure or interruption, 2 bad usage.");
  Arguments arguments;
  app.add_option("experiment", arguments.experiment, "experiment file (JSON)")->required()->check(CLI::ExistingFile);
  app.add_option("--set", arguments.settings, "change a value of the file: training.epochs=5 (repeatable)")->take_all();
  app.add_option("--output", arguments.output, "folder for results (default: out/<name>)");
  app.add_option("--device", arguments.device, "cpu, cuda or cuda:0 to cuda:7");
  app.add_option("--threads", arguments.threads, "compute threads; 0: all cores")->check(CLI::Range(0, 4096));
  app.add_option("--export-data", arguments.export_folder,
                 "write the experiment's images as image folder, VOC and COCO to a new folder, and do nothing else");
  app.add_flag("--resume", arguments.resume,
               "go on in the output folder, and refuse if the experiment differs from the one there");
  CLI::Option* dry_run =
      app.add_flag("--dry-run", arguments.dry_run, "check everything, print the plan and its expected cost");
  app.add_option("--trace", arguments.trace, "write what ran when to this file, for ui.perfetto.dev")
      ->excludes(dry_run);
  app.add_flag("--profile", arguments.profile, "print the most expensive nodes and phases at the end")
      ->excludes(dry_run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::signal(SIGXFSZ, SIG_IGN);  // a file above the limit is an error of that file, not the end
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  try {
    return run(arguments);
  } catch (const hp::Error& error) {
    fmt::print(stderr, "hp-run: {}\n", error.what());
  } catch (const hp::OutOfMemory& error) {
    fmt::print(stderr, "hp-run: {}; the network alone does not fit\n", error.what());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "hp-run: [memory] not enough memory to begin with; got less than the network takes\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "hp-run: {}\n", error.what());
  }
  return 1;
}

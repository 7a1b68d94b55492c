#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "runtime/error.h"
#include "runtime/file.h"
#include "tests/bench/process.h"
#include "tests/bench/run.h"

namespace hp::bench {

namespace {

using Kind = WorkSpec::Kind;

// Works that share rounds, and the memory that is given back after them.
enum class Group { images, grids, training, processes };

Group group_of(const WorkSpec& work) {
  if (work.kind == Kind::memory || work.kind == Kind::start) return Group::processes;
  if (work.kind == Kind::step || work.kind == Kind::epochs) return Group::training;
  return work.grid ? Group::grids : Group::images;
}

// Shares of the budget: a round of grids takes about ten times as long as one of images.
double share_of(Group group) {
  if (group == Group::processes) return 0.1;
  return group == Group::grids ? 0.5 : 0.2;
}

// A weights file for child processes, removed in the end.
class WeightsFile {
 public:
  WeightsFile(const WorkOptions& options, const Model& model) : path_(options.weights), ours_(options.weights.empty()) {
    if (!ours_) return;
    path_ = std::filesystem::temp_directory_path() / fmt::format("hp-bench-{}.safetensors", getpid());
    save_model(path_, model);
  }
  WeightsFile(const WeightsFile&) = delete;
  WeightsFile& operator=(const WeightsFile&) = delete;
  ~WeightsFile() {
    std::error_code ignored;
    if (ours_) std::filesystem::remove(path_, ignored);
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
  bool ours_;
};

class WorkRun {
 public:
  WorkRun(CpuKernels& kernels, const RunOptions& options, const WorkOptions& works, const Progress& progress)
      : kernels_(kernels),
        options_(options),
        works_(works),
        progress_(progress),
        clock_(options.processor_time),
        meter_(kernels, clock_),
        workshop_(model_of(works), works.sides, kernels) {
    report_.machine = describe_machine(kernels, options.processor_time);
  }

  BenchReport run() {
    const std::vector<WorkSpec> all = works_matching(options_.filter, workshop_.model().is_bcos());
    require(!all.empty(), "[bench] no work has '{}' in its name", options_.filter);
    meter_.measure_copies(report_.limits);
    double shares = 0;
    for (const Group group : groups) shares += select(all, group).empty() ? 0 : share_of(group);
    for (const Group group : groups) {
      const std::vector<WorkSpec> works = select(all, group);
      if (!works.empty()) run_group(works, options_.budget * share_of(group) / shares);
    }
    return std::move(report_);
  }

 private:
  static constexpr Group groups[] = {Group::images, Group::grids, Group::training, Group::processes};

  static std::vector<WorkSpec> select(const std::vector<WorkSpec>& all, Group group) {
    std::vector<WorkSpec> works;
    std::ranges::copy_if(all, std::back_inserter(works), [&](const WorkSpec& work) { return group_of(work) == group; });
    return works;
  }

  void run_group(const std::vector<WorkSpec>& works, double budget) {
    const auto begin = std::chrono::steady_clock::now();
    const bool inside = group_of(works.front()) != Group::processes;
    std::vector<Reading> readings;
    for (const WorkSpec& work : works) {
      progress_("preparing " + work.name);
      readings.push_back(reading_of(work));
      if (inside) workshop_.run(work);  // packs weights, makes primitives, takes memory
    }
    for (int round = 0; round < options_.repeats; ++round) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
      if (round > 0 && options_.budget > 0 && spent.count() > budget) break;
      meter_.measure_flops(report_.limits);
      for (size_t i = 0; i < works.size(); ++i) {
        progress_(fmt::format("round {} of {}: {}", round + 1, options_.repeats, works[i].name));
        readings[i].samples.push_back(sample(works[i]));
      }
    }
    workshop_.clear();
    for (Reading& reading : readings) report_.readings.push_back(std::move(reading));
  }

  Reading reading_of(const WorkSpec& work) {
    Reading reading{.kind = work.kind == Kind::memory ? Reading::Kind::memory : Reading::Kind::work,
                    .name = work.name,
                    .images = static_cast<double>(images_of(work, works_.sides)),
                    .unit = work.unit,
                    .units = work.units};
    reading.flops = workshop_.flops(work);
    return reading;
  }

  double sample(const WorkSpec& work) {
    if (work.kind == Kind::memory) return std::stod(run_process(command_of(work)).output);
    if (work.kind == Kind::start) return run_process(command_of(work)).seconds;
    return clock_.seconds_of([&] { workshop_.run(work); });
  }

  std::vector<std::string> command_of(const WorkSpec& work) {
    const std::filesystem::path program = program_file();
    if (work.method.empty()) return {program.parent_path() / "hp-run", "--help"};
    if (!file_) file_ = std::make_unique<WeightsFile>(works_, workshop_.model());
    return {program.string(),
            "once",
            work.method,
            "--weights",
            file_->path(),
            "--size",
            std::to_string(works_.sides.image),
            "--grid",
            std::to_string(works_.sides.grid),
            "--threads",
            std::to_string(kernels_.threads())};
  }

  CpuKernels& kernels_;
  const RunOptions& options_;
  const WorkOptions& works_;
  const Progress& progress_;
  Clock clock_;
  LimitMeter meter_;
  Workshop workshop_;
  std::unique_ptr<WeightsFile> file_;
  BenchReport report_;
};

}  // namespace

Model model_of(const WorkOptions& options) {
  return options.weights.empty() ? formula_model(options.network) : load_model(options.weights);
}

BenchReport run_works(CpuKernels& kernels, const RunOptions& options, const WorkOptions& works,
                      const Progress& progress) {
  return WorkRun(kernels, options, works, progress).run();
}

std::string works_table(const BenchReport& report) {
  std::string text = fmt::format("{:<18}{:>11}{:>11}{:>9}{:>8}{:>8}{:>8}  {}\n", "work", "min ms", "median ms",
                                 "of peak", "F (min)", "F (med)", "must", "");
  for (const Reading& reading : report.readings) {
    const WorkSpec& work = work_named(reading.name);
    const double best = minimum(reading.samples), middle = median(reading.samples);
    if (reading.kind == Reading::Kind::memory) {
      text += fmt::format("{:<18}{:7.0f} MiB{:7.0f} MiB{:33}  {}\n", work.name, best / (1 << 20), middle / (1 << 20),
                          "", work.text);
      continue;
    }
    const double images = reading.images / 1e3;
    const double share = reading.flops / (best * report.limits.peak());
    const double units = in_units(report, reading, false);
    std::string must;
    if (work.must > 0) must = units > 0 ? fmt::format("{}", work.must) : fmt::format("{:.0f} %", 100 * work.must);
    text += fmt::format("{:<18}{:11.2f}{:11.2f}{:>9}{:>8}{:>8}{:>8}  {}\n", work.name, best / images, middle / images,
                        share > 0 ? fmt::format("{:.1f} %", 100 * share) : "",
                        units > 0 ? fmt::format("{:.2f}", units) : "",
                        units > 0 ? fmt::format("{:.2f}", in_units(report, reading, true)) : "", must, work.text);
  }
  return text + "times are per image; F is the work that the next column's multiple is of, in the same rounds\n";
}

}  // namespace hp::bench

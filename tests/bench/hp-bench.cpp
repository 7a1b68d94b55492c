// hp-bench: times the kernels and whole works against the machine's own limits, and compares two such measurements.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "runtime/error.h"
#include "tests/bench/compare.h"
#include "tests/bench/process.h"
#include "tests/bench/run.h"
#include "tests/bench/serve.h"

namespace {

using namespace hp;
using namespace hp::bench;

struct Arguments {
  RunOptions run;
  WorkOptions works;
  int threads = 0;
  std::string json, once;
  std::vector<std::string> compare;
};

void show_progress(const std::string& text) {
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r\033[K{}", text);
}

void measure(const Arguments& arguments, bool kernels_only) {
  CpuKernels kernels({.threads = arguments.run.processor_time ? 1 : arguments.threads});
  const Machine machine = describe_machine(kernels, arguments.run.processor_time);
  fmt::print("{}\n", text_of(machine));
  if (const std::string warning = load_warning(machine); !warning.empty()) fmt::print("warning: {}\n", warning);
  std::fflush(stdout);
  const BenchReport report = kernels_only ? run_kernels(kernels, arguments.run, show_progress)
                                          : run_works(kernels, arguments.run, arguments.works, show_progress);
  show_progress("");
  fmt::print("peak {:.1f} GFLOP/s ({:.1f} in the worst round), copy {:.1f} GB/s in memory\n",
             report.limits.peak() * 1e-9, minimum(report.limits.flops) * 1e-9,
             report.limits.copies.back().bytes_per_second * 1e-9);
  fmt::print("{}", kernels_only ? kernels_table(report) : works_table(report));
  if (!arguments.json.empty()) save(arguments.json, report);
}

// One work, once, in a process of its own; prints the memory that it held at most, in bytes.
void run_once(const Arguments& arguments) {
  CpuKernels kernels({.threads = arguments.threads});
  Workshop workshop(model_of(arguments.works), arguments.works.sides, kernels);
  workshop.keep_only(work_named(arguments.once));
  workshop.run(work_named(arguments.once));
  fmt::print("{:.0f}\n", peak_memory());
}

void add_work_options(CLI::App& app, Arguments& arguments) {
  app.add_option("--network", arguments.works.network, "an architecture of models/")->capture_default_str();
  app.add_option("--weights", arguments.works.weights, "a file of convert-weights instead of formula weights");
  app.add_option("--size", arguments.works.sides.image, "side of the images")->capture_default_str();
  app.add_option("--grid", arguments.works.sides.grid, "side of the grids")->capture_default_str();
  app.add_option("--rows", arguments.works.sides.rows, "of the features that probes are trained on")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  app.add_option("--threads", arguments.threads, "0: all cores")->check(CLI::Range(0, 4096));
}

void add_run_options(CLI::App& app, Arguments& arguments) {
  app.add_option("--filter", arguments.run.filter, "only what has this in its name");
  app.add_option("--repeats", arguments.run.repeats, "rounds")->capture_default_str()->check(CLI::Range(1, 10000));
  app.add_option("--budget", arguments.run.budget, "seconds after which no further round is started; 0: none");
  app.add_flag("--cpu-time", arguments.run.processor_time, "one thread, and its processor time: for busy machines");
  app.add_option("--json", arguments.json, "write everything measured to this file");
}

}  // namespace

int main(int count, char** values) {
  Arguments arguments;
  CLI::App app("Times hp's kernels and whole works against the limits of the machine.");
  app.footer("Every round measures the peak and then each kernel or work once. Exit status: 0 success, 1 failure.");
  app.add_option("--compare", arguments.compare, "two files of --json: ratios, and what changed beyond the noise")
      ->expected(2)
      ->check(CLI::ExistingFile);
  CLI::App& kernels = *app.add_subcommand("kernels", "every declared case of every kernel");
  add_run_options(kernels, arguments);
  kernels.add_option("--threads", arguments.threads, "0: all cores")->check(CLI::Range(0, 4096));
  CLI::App& works = *app.add_subcommand("works", "forward passes, attributions, grids, training, memory, cold start");
  add_run_options(works, arguments);
  add_work_options(works, arguments);
  CLI::App& serving = *app.add_subcommand("serve", "run works that standard input asks for (tests/bench/peers.py)");
  add_work_options(serving, arguments);
  CLI::App& once = *app.add_subcommand("once", "one work once; prints the bytes that the process held at most");
  once.add_option("work", arguments.once)->required();
  add_work_options(once, arguments);
  CLI11_PARSE(app, count, values);
  try {
    if (!arguments.compare.empty()) {
      fmt::print("{}", text_of(compare(load_report(arguments.compare[0]), load_report(arguments.compare[1]))));
    } else if (kernels) {
      measure(arguments, true);
    } else if (works) {
      measure(arguments, false);
    } else if (serving) {
      CpuKernels device({.threads = arguments.threads});
      serve(device, arguments.works, std::cin, std::cout);
    } else if (once) {
      run_once(arguments);
    } else {
      fmt::print("{}", app.help());
      return 1;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "hp-bench: {}\n", error.what());
    return 1;
  }
}

// convert-weights: a PyTorch checkpoint or safetensors file -> our weights, as safetensors with canonical names.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/conversion.h"
#include "tools/checkpoints/key_map.h"

namespace {

enum ExitCode { done = 0, failed = 1, wrong_usage = 2 };

struct Arguments {
  std::string input, output;
  hp::ConversionOptions options;
  bool list = false;
};

std::string footer() {
  std::string text = "Sources (key maps), with the architectures that each knows:\n";
  for (const hp::KeyMap& map : hp::key_maps()) {
    text += fmt::format("  {:<20}{}\n", map.name, map.about);
    text += fmt::format("  {:<20}{}\n", "", fmt::join(hp::matching_architectures(map.architectures), " "));
  }
  return text +
         "\nExamples:\n"
         "  convert-weights resnet20-12fca82f.th -o resnet20.safetensors\n"
         "  convert-weights dino.pth --list\n"
         "  convert-weights run.pth -o student.safetensors --prefix student.module.backbone.\n"
         "\nNothing in a checkpoint is executed. Exit status: 0 done, 1 failed (nothing is written), 2 wrong usage.\n";
}

void add_options(CLI::App& app, Arguments& arguments) {
  app.add_option("input", arguments.input,
                 "The checkpoint: torch.save's zip or legacy container, or safetensors; recognised by its content")
      ->required();
  app.add_option("-o,--output", arguments.output, "The safetensors file to write");
  app.add_flag("--list", arguments.list, "Print every name, element type and shape in the file, and stop");
  app.add_option("--arch", arguments.options.architecture, "The architecture, instead of the one that fits best");
  app.add_option("--source", arguments.options.source, "The key map, instead of the one that fits best");
  app.add_option("--prefix", arguments.options.prefix,
                 "What the backbone's names start with, as --list prints them, with or without the outer dictionary; "
                 "'.' for nothing");
  app.footer(footer);
}

int run(const Arguments& arguments) {
  const hp::Checkpoint checkpoint = hp::read_checkpoint(arguments.input);
  if (arguments.list) {
    fmt::print("{}", hp::listing(checkpoint));
    return done;
  }
  const hp::Conversion conversion = hp::plan_conversion(checkpoint, arguments.options);
  fmt::print("{}", hp::report(checkpoint, conversion));
  hp::save_safetensors(arguments.output, hp::convert(checkpoint, conversion, arguments.input));
  fmt::print("{:<13}{} ({} bytes)\n", "written", arguments.output, std::filesystem::file_size(arguments.output));
  return done;
}

}  // namespace

int main(int count, char** values) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file above the limit is an error of that file, not the end
  CLI::App app("Converts the weights of a vision backbone to safetensors with canonical names.", "convert-weights");
  Arguments arguments;
  try {
    add_options(app, arguments);
    app.parse(count, values);
    if (arguments.output.empty() && !arguments.list) throw CLI::RequiredError("--output (or --list)");
    return run(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? done : wrong_usage;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", error.what());
    return failed;
  }
}

// convert-weights: a PyTorch checkpoint or safetensors file -> our weights, as safetensors with canonical names.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>

#include "runtime/error.h"
#include "runtime/npy.h"
#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/conversion.h"
#include "tools/checkpoints/head_import.h"
#include "tools/checkpoints/key_map.h"
#include "tools/verify/verify.h"

namespace {

enum ExitCode { done = 0, failed = 1, wrong_usage = 2 };

struct Arguments {
  std::string input, output;
  hp::ConversionOptions options;
  bool list = false;
  std::string probe, classes, embeddings, logit_constant;
  double logit_scale = 0;
  std::string verify, verify_input;
  double tolerance = 1e-4;
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
         "  convert-weights classifier.pth -o backbone.safetensors --probe head.safetensors\n"
         "  convert-weights RN50.pt -o rn50.safetensors --zero-shot texts.npy --classes names.txt --probe "
         "texts.safetensors\n"
         "  convert-weights resnet50.pth -o resnet50.safetensors --verify logits.npy\n"
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
  app.add_option("--probe", arguments.probe,
                 "Write the head of a full mmpretrain classifier, or that of --zero-shot, as a probe to this file");
  app.add_option(
      "--classes", arguments.classes,
      "Names of the probe's classes, one a line; with --zero-shot the text file beside the embeddings if it is "
      "not given");
  app.add_option(
      "--logit-constant", arguments.logit_constant,
      "What the head adds to every logit, a number or 'off' for -ln(classes - 1), instead of what the file's "
      "configuration says");
  app.add_option("--zero-shot", arguments.embeddings,
                 "Embeddings of the classes' texts, .npy or safetensors (class_embeddings), [classes, channels]: with "
                 "--probe they become a classifier");
  app.add_option("--logit-scale", arguments.logit_scale,
                 "The factor on CLIP's cosines (100, not its logarithm), instead of the checkpoint's");
  app.add_option("--verify", arguments.verify,
                 "Logits or features, .npy, that the original gave for --verify-input: nothing is written if the "
                 "converted network gives others");
  app.add_option(
      "--verify-input", arguments.verify_input,
      "Images, .npy [batch, 3, height, width], RGB in [0, 1] before the normalisation; otherwise one image of "
      "the network's size, ((7 channel + 3 row + 5 column) mod 17) / 16");
  app.add_option("--verify-tolerance", arguments.tolerance, "Of |got - expected| / |expected|")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.footer(footer);
}

// "texts.npy" -> "texts.txt", if that is there.
std::string names_beside(const Arguments& arguments) {
  if (!arguments.classes.empty() || arguments.embeddings.empty()) return arguments.classes;
  const std::string beside = std::filesystem::path(arguments.embeddings).replace_extension(".txt").string();
  hp::require(std::filesystem::exists(beside),
              "[zero-shot] the names of the classes are not known; got no {}; expected --classes, one name a line",
              beside);
  return beside;
}

hp::Probe make_probe(const hp::Checkpoint& checkpoint, const Arguments& arguments) {
  const std::string names = names_beside(arguments);
  const std::vector<std::string> classes = names.empty() ? std::vector<std::string>() : hp::read_class_names(names);
  if (arguments.embeddings.empty()) return hp::import_head(checkpoint, {arguments.logit_constant, classes});
  return hp::import_zero_shot({arguments.embeddings, classes, arguments.logit_scale}, &checkpoint);
}

// A probe beside converted weights is made for their features.
void check_fit(const hp::Probe& probe, const hp::Conversion& conversion) {
  const int64_t channels = hp::examine_architecture(conversion.architecture).channels;
  hp::require(probe.channels() == channels,
              "[probe] the head does not fit the features of {}; got {} channels; expected {}; another checkpoint's "
              "embeddings or head?",
              conversion.architecture, probe.channels(), channels);
}

void write_probe(const hp::Probe& probe, const Arguments& arguments) {
  probe.save(arguments.probe);
  fmt::print("{:<13}{}: head {}, {} classes on {} channels, logit constant {}\n", "probe", arguments.probe,
             name_of(probe.spec().head), probe.class_count(), probe.channels(), probe.spec().logit_constant);
}

void verify(const hp::Checkpoint& checkpoint, const hp::Conversion& conversion, const Arguments& arguments) {
  if (arguments.verify.empty()) return;
  const hp::Parameters weights = hp::convert(checkpoint, conversion, arguments.input);
  const hp::Tensor images = arguments.verify_input.empty() ? hp::verification_image(hp::native_side_of(weights))
                                                           : hp::verification_images(arguments.verify_input);
  const hp::Verification found = hp::verify(weights, images, hp::read_npy(arguments.verify));
  hp::require(
      found.error <= arguments.tolerance,
      "[verify] the {} are not those of {}; got a relative error of {:.3g} (largest element {:.3g}); expected at "
      "most {:.3g}; another preprocessing, architecture or precision? (half precision needs --verify-tolerance 1e-2)",
      found.what, arguments.verify, found.error, found.largest, arguments.tolerance);
  fmt::print("{:<13}{} agree: relative error {:.2g}, largest element {:.2g}\n", "verified", found.what, found.error,
             found.largest);
}

int run(const Arguments& arguments) {
  const hp::Checkpoint checkpoint = hp::read_checkpoint(arguments.input);
  if (arguments.list) {
    fmt::print("{}", hp::listing(checkpoint));
    return done;
  }
  // Everything is made and checked before the first file is written.
  std::optional<hp::Conversion> conversion;
  if (!arguments.output.empty()) {
    conversion = hp::plan_conversion(checkpoint, arguments.options);
    fmt::print("{}", hp::report(checkpoint, *conversion));
    verify(checkpoint, *conversion, arguments);
  }
  std::optional<hp::Probe> probe;
  if (!arguments.probe.empty()) probe = make_probe(checkpoint, arguments);
  if (probe && conversion) check_fit(*probe, *conversion);
  if (conversion) {
    hp::convert_file(checkpoint, *conversion, arguments.input, arguments.output);
    fmt::print("{:<13}{} ({} bytes)\n", "written", arguments.output, std::filesystem::file_size(arguments.output));
  }
  if (probe) write_probe(*probe, arguments);
  return done;
}

void check_usage(const Arguments& arguments) {
  if (arguments.output.empty() && arguments.probe.empty() && !arguments.list)
    throw CLI::RequiredError("--output (or --probe or --list)");
  if (!arguments.embeddings.empty() && arguments.probe.empty()) throw CLI::RequiredError("--probe (with --zero-shot)");
  if (!arguments.verify.empty() && arguments.output.empty()) throw CLI::RequiredError("--output (with --verify)");
}

}  // namespace

int main(int count, char** values) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file above the limit is an error of that file, not the end
  CLI::App app("Converts the weights of a vision backbone to safetensors with canonical names.", "convert-weights");
  Arguments arguments;
  try {
    add_options(app, arguments);
    app.parse(count, values);
    check_usage(arguments);
    return run(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? done : wrong_usage;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    fmt::print(stderr, "{}\n", error.what());
    return failed;
  }
}

// hp-inspect: looks into models, rules, relevance and files of tensors.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "runtime/error.h"
#include "tools/inspect/relevance_view.h"

namespace {

enum ExitCode { done = 0, failed = 1, wrong_usage = 2 };

struct Arguments {
  hp::ModelChoice model;
  std::string composite = "epsilon_gamma_box";
  hp::RelevanceRequest relevance;
  std::filesystem::path tensors;
  hp::ViewOptions view;
};

const std::map<std::string, hp::Format> formats = {
    {"text", hp::Format::text}, {"json", hp::Format::json}, {"dot", hp::Format::dot}};

void add_view(CLI::App& command, Arguments& arguments, const char* all) {
  command.add_option("--format", arguments.view.format, "text or json; graph also: dot")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case));
  command.add_flag("--all", arguments.view.all, all);
}

void add_model(CLI::App& command, Arguments& arguments) {
  command.add_option("model", arguments.model.model, "a file made by convert-weights, or an architecture (resnet50)")
      ->required();
  command.add_option("--size", arguments.model.side, "side of the (square) images")->check(CLI::Range(1, 65500));
  command.add_option("--probe", arguments.model.probe, "a probe that hp-run trained, as the classifier");
}

void add_commands(CLI::App& app, Arguments& arguments) {
  CLI::App* graph = app.add_subcommand("graph", "nodes, shapes, parameters, FLOPs, bytes");
  add_model(*graph, arguments);
  add_view(*graph, arguments, "every node instead of one line per stage");

  CLI::App* rules = app.add_subcommand("rules", "which rule of relevance at which node, and its cost");
  add_model(*rules, arguments);
  rules->add_option("composite", arguments.composite, "a name (epsilon_gamma_box, ...) or JSON as in experiments")
      ->required();
  add_view(*rules, arguments, "every node instead of one line per rule");

  CLI::App* relevance = app.add_subcommand("relevance", "one image's relevance from logit to pixel");
  add_model(*relevance, arguments);
  relevance->add_option("image", arguments.relevance.image, "JPEG, PNG or BMP")->required();
  relevance->add_option("--target", arguments.relevance.target,
                        "class, by number or name (default: the highest logit)");
  relevance->add_option("--composite", arguments.relevance.composite, "rules, by name or as JSON")
      ->capture_default_str();
  relevance->add_option("--layer", arguments.relevance.layer, "nodes to show: a name or a pattern (layer3.*)");
  relevance->add_option("--output", arguments.relevance.output, "folder for maps (.npy, .png) and relevance.json");
  add_view(*relevance, arguments, "every node instead of one per stage");

  CLI::App* tensor = app.add_subcommand("tensor", "what a .safetensors or .npy file holds");
  tensor->add_option("file", arguments.tensors, "the file")->required();
  add_view(*tensor, arguments, "every tensor");
  app.require_subcommand(1);
}

std::string view(const std::string& command, Arguments& arguments) {
  if (command == "tensor") return hp::tensor_view(arguments.tensors, arguments.view);
  if (command == "relevance") arguments.model.image = arguments.relevance.image;
  const hp::Model model = hp::open_model(arguments.model);
  if (command == "graph") return hp::graph_view(model, arguments.view);
  if (command == "rules") return hp::rules_view(model, arguments.composite, arguments.view);
  arguments.relevance.view = arguments.view;
  return hp::relevance_view(model, arguments.relevance);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Looks into networks: their graphs, the rules of relevance, one image's relevance, files of tensors.",
               "hp-inspect"};
  app.footer(
      "Examples:\n"
      "  hp-inspect graph resnet50\n"
      "  hp-inspect rules resnet20.safetensors epsilon_gamma_box\n"
      "  hp-inspect relevance resnet20.safetensors horse.jpg --output maps\n"
      "  hp-inspect tensor resnet20.safetensors\n"
      "A walk through them: docs/relevance.md. Exit status: 0 done, 1 failed, 2 wrong usage.");
  Arguments arguments;
  try {
    add_commands(app, arguments);
    app.parse(argc, argv);
    fmt::print("{}", view(app.get_subcommands()[0]->get_name(), arguments));
    return done;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? done : wrong_usage;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "hp-inspect: [memory] not enough memory for this image size; try a smaller --size\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "hp-inspect: {}\n", error.what());
  }
  return failed;
}

#include "tests/tools/experiment/transformers.h"

#include "runtime/safetensors.h"
#include "tests/places.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/conversion.h"

namespace hp::test {

using nlohmann::json;

void convert_golden(const std::string& checkpoint, const std::string& architecture, const std::filesystem::path& file) {
  const std::filesystem::path source = source_folder() / "tests/golden/vit" / checkpoint;
  const Checkpoint read = read_checkpoint(source);
  ConversionOptions options;
  options.architecture = architecture;
  save_safetensors(file, convert(read, plan_conversion(read, options), source));
}

json vit_experiment(const std::filesystem::path& folder) {
  json experiment = grid_experiment(folder);
  experiment["data"]["preprocess"] = {{"resize", "none"},
                                      {"crop", 0}};  // pictures of 32 x 32 are as the networks want them
  experiment["probes"] = json::parse(R"([
    {"name": "linear-ce", "learning_rate": 0.1},
    {"name": "mlp2-bce", "head": "mlp", "layers": 2, "hidden": 12, "loss": "bce", "learning_rate": 0.5},
    {"name": "bcos-mlp2-bce", "head": "bcos-mlp", "layers": 2, "hidden": 12, "loss": "bce", "learning_rate": 0.5}])");
  experiment["attributions"] = json::parse(R"([
    {"method": "ixg"}, {"method": "gradient"}, {"method": "intgrad", "options": {"nodes": 2}}, {"method": "gradcam"},
    {"method": "chefer"}, {"method": "chefer", "name": "chefer-relevance", "options": {"variant": "relevance"}},
    {"method": "attention_rollout"}, {"method": "raw_attention"},
    {"method": "lrp", "name": "cp-lrp", "options": {"composite": "cp_lrp"}},
    {"method": "lrp", "name": "attn-lrp", "options": {"composite": "attn_lrp"}}])");
  experiment["training"]["epochs"] = 10;
  experiment["evaluations"] = json::parse(R"([{"metric": "gridpg", "cells": 2, "grids": 1, "confidence": 0}])");
  experiment["output"] = {{"gallery", 1}, {"raw_maps", false}, {"layers", {"blocks.*"}}};
  return experiment;
}

}  // namespace hp::test

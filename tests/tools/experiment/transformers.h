// Small vision transformers, from the checkpoints that the golden files are about, and experiments on them.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace hp::test {

// A checkpoint of tests/golden/vit, written to `file` as convert-weights writes it.
void convert_golden(const std::string& checkpoint, const std::string& architecture, const std::filesystem::path& file);

// Linear, MLP and B-cos probes on `folder`/data with `folder`/weights.safetensors, and every method for transformers on
// one 2 x 2 grid.
nlohmann::json vit_experiment(const std::filesystem::path& folder);

}  // namespace hp::test

// Small data sets, a backbone with formula weights, and experiments on them, all made on the spot.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "attribution/image.h"
#include "runtime/error.h"
#include "runtime/parameters.h"
#include "tests/files.h"
#include "tools/experiment/run.h"

namespace hp::test {

inline constexpr int synthetic_classes = 6;

// Stripes whose colour, direction and width tell the class, with noise that tells the image. 32 x 32 unless said.
Picture striped_picture(int category, int ordinal, int64_t side = 32);

// <root>/train and <root>/test with a folder "class<k>" for each class.
void write_image_folder(const std::filesystem::path& root, int train_per_class = 12, int test_per_class = 6);

// A VOC tree with three classes ("disc", "ring", "square"): coloured shapes on noise, up to three of them in a 64 x 64
// picture, one in ten marked difficult.
void write_voc(const std::filesystem::path& root, int train, int test);

// CIFAR ResNet-20 with formula weights and a formula classifier for the synthetic classes, as convert-weights writes
// it.
Parameters synthetic_weights();
void write_weights(const std::filesystem::path& file);

// The six methods on 2 x 2 grids of the image folder below `folder`/data with `folder`/weights.safetensors.
nlohmann::json grid_experiment(const std::filesystem::path& folder);
// Binary losses, mAP and epg on `folder`/voc.
nlohmann::json voc_experiment(const std::filesystem::path& folder);

// Image folder and weights for grid_experiment.
void write_inputs(const std::filesystem::path& folder);

// Runs in this process; messages go to standard error.
Outcome run_here(const nlohmann::json& experiment, const std::filesystem::path& output, bool cancelled = false);

// results.json without what differs from run to run: the time it took.
nlohmann::json results_of(const std::filesystem::path& output);

// The text of the hp::Error that `action` throws; empty if it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

bool contains(const std::string& text, std::string_view part);

}  // namespace hp::test

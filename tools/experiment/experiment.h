// Experiment: what one experiment file says, checked and complete.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "probes/feature_manifest.h"
#include "probes/probe.h"
#include "probes/shift.h"
#include "probes/trainer.h"
#include "tools/data/augmentation.h"
#include "tools/data/dataset.h"

namespace hp {

struct AttributionSpec {
  std::string name, method;
  nlohmann::json options;
};

enum class EvaluationKind { gridpg, epg, entropy, gini };

// The images that maps are made of: grids of confident test images, or test images one by one. Evaluations on equal
// sets share their maps.
struct ImageSet {
  bool grids = true;
  int64_t cells = 3;
  double confidence = 0.95;
  int64_t per_class = 100;
  auto operator<=>(const ImageSet&) const = default;
};

struct EvaluationSpec {
  std::string name;
  EvaluationKind kind = EvaluationKind::gridpg;
  std::vector<std::string> methods;  // names of attributions
  ImageSet images;
  int64_t count = 50;              // grids or images, from the first; 0: all images
  std::string region = "box";      // of epg, or "mask"
  std::string smoothing = "box5";  // of gridpg and epg; entropy always smooths by box5, gini never
};

// The softmax-shift experiment.
struct ShiftSpec {
  std::string probe;
  ShiftDirection direction = ShiftDirection::random;
  std::vector<double> scales;
  int64_t cells = 3, grids = 50;
  double confidence = 0.95;
};

// Where a probe's logit constant comes from: the file gives a number, "off" (-ln(C - 1)), or "auto" (the protocol's).
enum class LogitConstant { given, off, automatic };

// A backbone to train from scratch.
struct PretrainSpec {
  std::string model;
  LossKind loss = LossKind::ce;
  Recipe recipe;
  bool zero_residual = true;
  std::vector<float> mean, deviation;  // of the input, on the scale 0 to 1
  Augmentation augmentation;
};

struct Experiment {
  std::string name;
  uint64_t seed = 1;
  std::string device;
  std::string math;  // fp32, tf32, bf16
  int threads = 0;
  std::filesystem::path weights;
  std::string backbone_features = "auto";  // of build_backbone(): what the probes see
  std::optional<PretrainSpec> pretrain;
  DataConfig data;            // its preprocess is only what the file overrides: see preprocess_of
  nlohmann::json preprocess;  // the overrides
  int batch_size = 32, workers = 1;
  std::filesystem::path cache;  // empty: inside the output folder
  std::string feature_form;     // auto, pooled, maps
  bool half_features = false;
  std::vector<ProbeSpec> probes;
  std::vector<LogitConstant> constants;            // per probe
  std::vector<std::filesystem::path> probe_files;  // per probe: where its weights are given; empty: nowhere
  Recipe recipe;
  Augmentation augmentation;  // of the pictures that probes train on; none: their features are computed once
  std::vector<AttributionSpec> attributions;
  std::vector<EvaluationSpec> evaluations;
  std::optional<ShiftSpec> shift;
  int64_t resamples = 2000;
  double interval = 0.95;
  int64_t gallery = 4;
  bool raw_maps = true;
  std::vector<std::string> layers;
  size_t message_bytes = size_t{1} << 27;
  int64_t explain_batch = 8;

  nlohmann::json resolved;  // the file with overrides and defaults filled in

  // Relative paths count from `folder`. Throws hp::Error with the JSON path of the first mistake.
  static Experiment parse(const nlohmann::json& file, const std::filesystem::path& folder);
};

// Sets one value by its path, "training.epochs=5" or "probes.0.loss=\"bce\"": the value is JSON, or text where it is
// not.
void set_value(nlohmann::json& file, const std::string& assignment);

// The preprocessing that a weights file asks for (its metadata "preprocessing"), with an experiment's overrides.
Preprocess preprocess_of(const std::string& metadata, const nlohmann::json& overrides);

}  // namespace hp

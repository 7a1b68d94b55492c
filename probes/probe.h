// Probe: a small classifier on the frozen features of a backbone, as a suffix of a graph and as a file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "probes/loss.h"
#include "runtime/graph.h"
#include "runtime/kernels.h"
#include "runtime/parameters.h"

namespace hp {

// linear: one 1x1 convolution, pooled afterwards (protocol.md 3.1). converted: the same with the classifier that a
// checkpoint came with, which is not trained.
enum class HeadKind { linear, converted };

std::string_view name_of(HeadKind);
HeadKind head_kind(std::string_view name);  // throws hp::Error that lists the kinds

// What an experiment says about a probe.
struct ProbeSpec {
  std::string name;
  HeadKind head = HeadKind::linear;
  LossKind loss = LossKind::ce;
  bool bias = true;
  float logit_constant = 0;  // added to every logit; off_logit() makes every class 1/classes likely under a sigmoid
  double learning_rate = 0;  // 0: that of the recipe
};

// -ln(classes - 1), the logit of probability 1/classes (protocol.md 3.2).
float off_logit(int64_t classes);

// A head for one shape of feature maps: input "features" [batch, height, width, channels], output "logits" [batch,
// classes]. Its parameters lie on the kernels' device.
struct Head {
  std::string name;
  Graph graph;
  Parameters parameters;
  int features() const { return graph.find("features"); }
  int logits() const { return graph.find("logits"); }
};

// Parameters: "head.weight" [classes, channels, 1, 1] and, with bias, "head.bias" [classes], in host memory.
class Probe {
 public:
  // Weight and bias uniform in +-1/sqrt(channels), as torch initialises a convolution (protocol.md 3.2). The numbers
  // depend on the seed and the parameter's name only, so that probes with different losses start from the same point.
  static Probe fresh(ProbeSpec spec, int64_t channels, std::vector<std::string> classes, uint64_t seed);
  // The classifier of a checkpoint: head.weight [classes, channels] (or with two extents of 1 more) and head.bias, if
  // any, of a converted backbone file. Throws hp::Error if there is none or it has other sizes.
  static Probe converted(ProbeSpec spec, const Parameters& backbone, int64_t channels,
                         std::vector<std::string> classes);

  // Throws hp::Error if the file is no probe, or one whose tensors do not fit its metadata.
  static Probe load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;

  // Appends the head to a graph with features [batch, height, width, channels]; the result is [batch, classes]. Nodes:
  // "head" (the 1x1 convolution; its output is the map of logits), "head.pool", "logits".
  Value build(Graph& graph, Value features) const;
  // `nonnegative`: the features come out of a ReLU.
  Head head(const Shape& features, bool nonnegative, Kernels& kernels) const;

  const ProbeSpec& spec() const { return spec_; }
  const std::vector<std::string>& classes() const { return classes_; }
  int64_t class_count() const { return static_cast<int64_t>(classes_.size()); }
  int64_t channels() const { return channels_; }
  bool trainable() const { return spec_.head != HeadKind::converted; }
  // The logits are a function of the mean feature alone, so that pooled features are enough.
  bool reads_pooled() const { return true; }

  Parameters parameters;
  // Free text that goes into the file: seed, epochs, hash of the backbone ...
  std::map<std::string, std::string> provenance;

 private:
  Probe(ProbeSpec spec, int64_t channels, std::vector<std::string> classes);

  ProbeSpec spec_;
  int64_t channels_;
  std::vector<std::string> classes_;
};

}  // namespace hp

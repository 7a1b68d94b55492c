// Probe: a small classifier on the frozen features of a backbone, as a suffix of a graph and as a file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "probes/heads.h"
#include "probes/loss.h"
#include "runtime/graph.h"
#include "runtime/kernels.h"
#include "runtime/parameters.h"

namespace hp {

// What an experiment says about a probe.
struct ProbeSpec {
  std::string name;
  HeadKind head = HeadKind::linear;
  LossKind loss = LossKind::ce;
  bool bias = true;
  float logit_constant = 0;  // added to every logit; off_logit() makes every class 1/classes likely under a sigmoid
  double learning_rate = 0;  // 0: that of the recipe
  int layers = 0;            // convolutions, at most max_layers; 0: 1 for linear kinds, 3 for MLPs
  int64_t hidden = 0;        // channels between two layers; 0: those of the features
  float b = 2;               // the exponent B of B-cos heads
  float temperature = 1;     // logits are divided by it before the constant is added
  bool frozen = false;       // its weights came from elsewhere and are not trained
  static constexpr int max_layers = 8;
};

std::vector<std::string> numbered_classes(int64_t count);  // "0", "1", ...: of a head that names none

// -ln(classes - 1), the logit of probability 1/classes (protocol.md 3.2).
float off_logit(int64_t classes);

// The constant that the protocol gives to a probe where an experiment says nothing (protocol.md 3.2 and 3.7): off_logit
// for B-cos heads and for MLPs with a binary loss and no biases, 0 for all others and for multi-label data.
float protocol_logit_constant(const ProbeSpec& spec, int64_t classes, bool multi_label);

// A head for one shape of feature maps: input "features" [batch, height, width, channels], output "logits" [batch,
// classes]. Its parameters lie on the kernels' device.
struct Head {
  std::string name;
  Graph graph;
  Parameters parameters;
  int features() const { return graph.find("features"); }
  int logits() const { return graph.find("logits"); }
};

// Parameters: those of head_parameters(), in host memory; running statistics among them.
class Probe {
 public:
  // Weights and biases uniform in +-1/sqrt(inputs), as torch initialises a convolution (protocol.md 3.2). The numbers
  // depend on the seed and the parameter's name only, so that probes with different losses start from the same point.
  // Throws hp::Error where the settings do not fit the kind of head.
  static Probe fresh(ProbeSpec spec, int64_t channels, std::vector<std::string> classes, uint64_t seed);
  // The classifier of a checkpoint, of a converted backbone file: head.weight [classes, channels] (or with two extents
  // of 1 more) and head.bias, if any; or head.linear.weight, a B-cos layer, which makes the head bcos-linear with the
  // file's logit constant. Throws hp::Error if there is none or it has other sizes.
  static Probe converted(ProbeSpec spec, const Parameters& backbone, int64_t channels,
                         std::vector<std::string> classes);

  // A head whose weights were made elsewhere, not to be trained. Throws hp::Error where parameters (names and shapes of
  // head_parameters()) do not fit the settings.
  static Probe given(ProbeSpec spec, int64_t channels, std::vector<std::string> classes, const Parameters& parameters);
  // The same head for `classes`, a data set's: where it names its own the rows of its last layer are put into their
  // order, where they are but numbered they stay. Throws hp::Error that names a class that it lacks.
  Probe for_classes(const std::vector<std::string>& classes) const;

  // The same head with tensors of its own, under another name.
  Probe copy(std::string name) const;

  // Throws hp::Error if the file is no probe, or one whose tensors do not fit its metadata.
  static Probe load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;

  // Appends the head to a graph with features [batch, height, width, channels]; the result is [batch, classes]. Nodes:
  // those of build_head(), "head.pool", "logits".
  Value build(Graph& graph, Value features) const;
  // For evaluation, its batch norms folded. `nonnegative`: the features come out of a ReLU.
  Head head(const Shape& features, bool nonnegative, Kernels& kernels) const;

  const ProbeSpec& spec() const { return spec_; }
  const std::vector<std::string>& classes() const { return classes_; }
  int64_t class_count() const { return static_cast<int64_t>(classes_.size()); }
  int64_t channels() const { return channels_; }
  bool trainable() const { return !spec_.frozen; }
  bool reads_pooled() const { return hp::reads_pooled(spec_.head); }

  Parameters parameters;
  // Free text that goes into the file: seed, epochs, hash of the backbone ...
  std::map<std::string, std::string> provenance;

 private:
  Probe(ProbeSpec spec, int64_t channels, std::vector<std::string> classes);
  HeadShape shape() const;

  ProbeSpec spec_;
  int64_t channels_;
  std::vector<std::string> classes_;
};

}  // namespace hp

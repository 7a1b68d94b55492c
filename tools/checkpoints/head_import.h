// Probes out of other programs' files: the heads of mmpretrain's classifiers and the text side of CLIP.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "probes/probe.h"
#include "tools/checkpoints/checkpoint.h"

namespace hp {

struct HeadOptions {
  std::string logit_constant;        // a number, "off" for -ln(classes - 1), or nothing: what the file says
  std::vector<std::string> classes;  // names in the order of the rows; none: numbers
};

// The head of a classifier under "head." (protocol.md 2.7, last entry, and 3.2): one or more 1x1 convolutions, plain or
// B-cos, with batch norms between them. The constant that the head adds to its logits is in no tensor: it follows from
// the head's class and arguments in the configuration that mmengine stores beside the weights, or from the options.
// Throws hp::Error if there is no head, if it is none of those, or if the constant cannot be known.
Probe import_head(const Checkpoint& checkpoint, const HeadOptions& options);

struct TextEmbeddings {
  std::filesystem::path file;        // .npy, or safetensors with "class_embeddings": [classes, channels]
  std::vector<std::string> classes;  // names in the order of the rows
  double logit_scale = 0;            // the factor itself (100, not its logarithm); 0: that of the checkpoint or file
};

// The classifier that CLIP's text side makes: embeddings at unit length times the logit scale. The scale is, unless
// given, exp of "logit_scale" of the checkpoint or of the embeddings' file. Throws hp::Error where sizes do not fit.
Probe import_zero_shot(const TextEmbeddings& embeddings, const Checkpoint* checkpoint);

// One name a line; blank lines at the end do not count. Throws hp::Error for a name that occurs twice.
std::vector<std::string> read_class_names(const std::filesystem::path& path);

}  // namespace hp

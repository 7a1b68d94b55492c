// Deciding how a checkpoint becomes the weights of one of our models, and doing it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/parameters.h"
#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/checkpoint.h"

namespace hp {

// What the user may fix; an empty text is found from the file's names and shapes.
struct ConversionOptions {
  std::string architecture;  // one of known_architectures()
  std::string source;        // the name of a key map
  std::string prefix;        // of the names that belong to the backbone; "." for none
};

struct UsedTensor {
  size_t tensor;  // into Checkpoint::tensors
  // Canonical; the classifier is head.weight [classes, channels] and head.bias [classes], or, where it is a B-cos
  // layer, head.linear.weight [classes, channels].
  std::string name;
  Shape shape;  // as the model has it: a classifier may be stored as a 1x1 convolution
  bool transpose = false;
};

struct DroppedTensor {
  std::string name;  // in the file
  std::string reason;
};

// A conversion that can be judged before anything is written.
struct Conversion {
  std::string architecture, key_map, wrapper, prefix, preprocessing;
  std::string logit_constant;                   // of the classifier, where the source's has one
  std::map<std::string, std::string> metadata;  // of a file with canonical names, which keeps it
  std::vector<UsedTensor> used;                 // in the model's order, the classifier last
  std::vector<DroppedTensor> dropped;
  std::vector<std::string> missing;     // "layer1.0.conv1.weight [16, 16, 3, 3]"
  std::vector<std::string> wrong;       // "conv1.weight: got F32 [16, 3, 5, 5]; expected [16, 3, 3, 3]"
  std::vector<std::string> unexpected;  // belongs to the backbone by its name, but the architecture has no such tensor

  bool complete() const { return missing.empty() && wrong.empty() && unexpected.empty(); }
  int64_t classes = 0;             // rows of the classifier; 0 without one
  int64_t parameters = 0;          // elements, classifier included, running statistics not
  int64_t running_statistics = 0;  // elements
};

// Throws hp::Error if no architecture fits or if the selected dictionary holds objects made by foreign code.
// `architectures` may be kept from one file to the next.
Conversion plan_conversion(const Checkpoint& checkpoint, const ConversionOptions& options,
                           Architectures& architectures);
Conversion plan_conversion(const Checkpoint& checkpoint, const ConversionOptions& options);

// Reads the used tensors as float32 and adds the metadata: architecture, preprocessing, classes, logit_constant
// (where there is one), source, source_sha256, key_map, converter; or keeps that of a file with canonical names, which
// so converts to itself. Throws hp::Error if the conversion is not complete, or on a value that is not finite.
Parameters convert(const Checkpoint& checkpoint, const Conversion& conversion, const std::filesystem::path& source);

// The same into a safetensors file, tensor by tensor: anonymous memory for no more than one of them. The bytes are
// those that save_safetensors would write.
void convert_file(const Checkpoint& checkpoint, const Conversion& conversion, const std::filesystem::path& source,
                  const std::filesystem::path& target);

// The conversion as a few lines of text; the list of what a file holds, one line a tensor.
std::string report(const Checkpoint& checkpoint, const Conversion& conversion);
std::string listing(const Checkpoint& checkpoint);

}  // namespace hp

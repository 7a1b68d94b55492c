// Finding the key map, dictionary and prefix under which a checkpoint's names become those of an architecture.
#pragma once

#include <string>
#include <vector>

#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/checkpoint.h"
#include "tools/checkpoints/conversion.h"
#include "tools/checkpoints/key_map.h"

namespace hp {

// One tensor of the checkpoint as a key map sees it.
struct MappedKey {
  size_t tensor;      // into Checkpoint::tensors
  Renamed canonical;  // nothing: dropped
};

struct KeySelection {
  KeyMap map;
  std::string wrapper, prefix;
  Architecture architecture;
  std::vector<MappedKey> keys;  // every tensor of the file, in its order

  bool canonical() const { return map.name == canonical_map; }
};

inline constexpr const char* bcos_classifier = "head.linear.weight";
bool is_classifier(const std::string& canonical);  // head.weight, head.bias, head.linear.weight

// As the model has it: of a matrix that the source keeps with its axes swapped the other way round.
Shape shape_of(const CheckpointTensor& tensor, bool transpose);

// A file with canonical names says itself what it is, unless the options say something else. Otherwise tries every key
// map, wrapper and prefix that the options leave open and takes the one that comes nearest to an architecture. Throws
// hp::Error if none is near: the message says how far the nearest one is. Throws too if the file fits several that
// differ in architecture or preprocessing: the message names them and what to give.
KeySelection select_keys(const Checkpoint& checkpoint, const ConversionOptions& options, Architectures& architectures);

}  // namespace hp

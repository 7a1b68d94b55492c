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

bool is_classifier(const std::string& canonical);  // head.weight, head.bias

// A file with canonical names says itself what it is, unless the options say something else. Otherwise tries every key
// map, wrapper and prefix that the options leave open and takes the one that comes nearest to an architecture. Throws
// hp::Error if none is near: the message says how far the nearest one is.
KeySelection select_keys(const Checkpoint& checkpoint, const ConversionOptions& options);

}  // namespace hp

// What a weight file holds, whatever its container: named tensors whose values are read on demand, and whatever lies
// beside them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/elements.h"

namespace hp {

// Names are paths through the file's dictionaries, joined by dots: "state_dict.module.conv1.weight".
struct CheckpointTensor {
  std::string name;
  ElementType type;
  StridedView view;  // fits into the storage
  size_t storage;
};

// Anything that is not a tensor: a number, a text, a list, an object of a class that is not ours.
struct CheckpointItem {
  std::string name;
  std::string what;  // "a number (91.78)", "an object of argparse.Namespace"
  bool foreign;      // made by code that was not run: it may have been meant as a tensor
};

// Where the bytes of the storages come from.
class CheckpointStorages {
 public:
  virtual ~CheckpointStorages() = default;
  virtual std::span<const std::byte> open(size_t storage) = 0;  // valid until the next call
};

struct Checkpoint {
  std::string container;  // "PyTorch legacy stream", "PyTorch zip archive", "safetensors"
  std::vector<CheckpointTensor> tensors;
  std::vector<CheckpointItem> items;
  std::map<std::string, std::string> metadata;  // of safetensors; "meta.cfg" of mmengine, the text of a configuration
  std::unique_ptr<CheckpointStorages> storages;

  // The values as a contiguous float32 tensor (int32 stays int32).
  Tensor read(const CheckpointTensor& tensor) const {
    return read_elements(tensor.type, storages->open(tensor.storage), tensor.view);
  }
};

// Recognises the container by its content, never by its suffix. Throws hp::Error, naming the file, with a sentence that
// says what the file is and what to do where it is something else (a web page, a Git-LFS pointer, a tar, ...), is
// damaged or hostile. Nothing in it is executed.
Checkpoint read_checkpoint(const std::filesystem::path& path);

// The SHA-256 of a file, 64 hexadecimal digits.
std::string sha256(const std::filesystem::path& path);

}  // namespace hp

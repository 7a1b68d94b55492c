// The containers that a checkpoint may come in: how to tell them apart and how to read each.
#pragma once

#include <string_view>

#include "runtime/file.h"
#include "tools/checkpoints/checkpoint.h"

namespace hp {

// What to do with the file of a framework whose names no key map knows.
inline constexpr std::string_view foreign_framework_advice =
    "only PyTorch checkpoints and safetensors are read; take the network's PyTorch release, or save its weights as "
    "safetensors with the names and layouts of a source that --help lists (convolutions [out, in, height, width])";

enum class Container { legacy_stream, zip, safetensors };

// Throws hp::Error with advice for everything that is not a checkpoint.
Container recognise(std::span<const std::byte> file);

// Storages that lie in the mapped file as they are.
class MappedStorages : public CheckpointStorages {
 public:
  MappedStorages(MappedFile file, std::vector<std::span<const std::byte>> spans)
      : file_(std::move(file)), spans_(std::move(spans)) {}
  std::span<const std::byte> open(size_t storage) override { return spans_.at(storage); }

 private:
  MappedFile file_;
  std::vector<std::span<const std::byte>> spans_;
};

Checkpoint read_legacy_stream(MappedFile file);
Checkpoint read_zip(MappedFile file);
Checkpoint read_safetensors(MappedFile file, std::string_view where);

}  // namespace hp

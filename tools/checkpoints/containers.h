// The containers that a checkpoint may come in: how to tell them apart and how to read each.
#pragma once

#include "runtime/file.h"
#include "tools/checkpoints/checkpoint.h"

namespace hp {

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

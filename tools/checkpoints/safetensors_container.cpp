// A safetensors file seen as a checkpoint.
#include "runtime/safetensors.h"
#include "runtime/text.h"
#include "tools/checkpoints/containers.h"

namespace hp {
Checkpoint read_safetensors(MappedFile file, std::string_view where) {
  SafetensorsContent content = parse_safetensors(file.bytes(), where);
  Checkpoint checkpoint;
  checkpoint.container = "safetensors";
  std::vector<std::span<const std::byte>> spans;
  for (SafetensorsEntry& entry : content.entries) {
    checkpoint.tensors.push_back(
        {std::move(entry.name), entry.type, StridedView::contiguous(entry.shape), spans.size()});
    spans.push_back(entry.bytes);
  }
  for (const auto& [key, value] : content.metadata)
    checkpoint.items.push_back({"__metadata__." + key, "a text (" + printable(value) + ")", false});
  checkpoint.metadata = std::move(content.metadata);
  checkpoint.storages = std::make_unique<MappedStorages>(std::move(file), std::move(spans));
  return checkpoint;
}

}  // namespace hp

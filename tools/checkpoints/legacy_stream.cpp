// PyTorch's container before 1.6: five pickles (magic, version, system, object, storage keys), then for each key its
// number of elements and its raw bytes.
#include <cstring>
#include <optional>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/checkpoints/containers.h"
#include "tools/checkpoints/legacy_magic.h"
#include "tools/checkpoints/torch_tree.h"
#include "tools/checkpoints/unpickler.h"

namespace hp {
namespace {

void check_preamble(Unpickler& unpickler, const PickleHeap& heap) {
  const auto* magic = heap.as<BigInteger>(unpickler.read());
  require(magic && magic->bytes == legacy_magic, "[checkpoint] the legacy stream's magic number is damaged");
  constexpr int64_t known_version = 1001;
  const ValueId version = unpickler.read();
  const auto* number = heap.as<int64_t>(version);
  require(number && *number == known_version, "[checkpoint] unknown version of the legacy stream; got {}; expected {}",
          describe(heap, version), known_version);
  const ValueId system = unpickler.read();
  const auto* facts = heap.as<Dict>(system);
  require(facts != nullptr, "[checkpoint] the legacy stream's system information is {}; expected a dictionary",
          describe(heap, system));
  for (const auto& [key, value] : facts->items) {
    const auto* name = heap.as<Text>(key);
    if (!name || name->text != "little_endian") continue;
    const auto* little = heap.as<bool>(value);
    require(little && *little,
            "[checkpoint] the file was written on a big-endian machine; load it there and save it as safetensors");
  }
}

// Cuts the bytes behind the pickles into storages, in the order of the key list.
std::vector<std::span<const std::byte>> cut_storages(std::span<const std::byte> rest, const PickleHeap& heap,
                                                     ValueId keys, const std::vector<TorchStorage>& storages) {
  const auto* list = heap.as<Sequence>(keys);
  require(list != nullptr, "[checkpoint] the list of storages is {}; expected a list", describe(heap, keys));
  std::unordered_map<std::string_view, size_t> number_of_key;
  for (size_t i = 0; i < storages.size(); ++i) number_of_key[storages[i].key] = i;
  std::vector<std::optional<std::span<const std::byte>>> found(storages.size());
  for (const ValueId id : list->items) {
    const auto* key = heap.as<Text>(id);
    const auto number = key ? number_of_key.find(key->text) : number_of_key.end();
    require(number != number_of_key.end(), "[checkpoint] the list of storages names one that no tensor uses; got {}",
            describe(heap, id));
    const TorchStorage& storage = storages[number->second];
    require(!found[number->second], "[checkpoint] storage {} is listed twice", printable(storage.key));
    int64_t elements = 0;
    require(rest.size() >= sizeof(elements), "[checkpoint] the file is cut off before storage {}; download it again",
            printable(storage.key));
    std::memcpy(&elements, rest.data(), sizeof(elements));
    rest = rest.subspan(sizeof(elements));
    require(elements == storage.elements, "[checkpoint] storage {} has {} elements; expected {}; the file is damaged",
            printable(storage.key), elements, storage.elements);
    const size_t bytes = static_cast<size_t>(elements) * size_of(storage.type);
    require(bytes <= rest.size(),
            "[checkpoint] the file is cut off inside storage {}; got {} bytes; expected {}; download it again",
            printable(storage.key), rest.size(), bytes);
    found[number->second] = rest.first(bytes);
    rest = rest.subspan(bytes);
  }
  require(rest.empty(), "[checkpoint] {} bytes follow the last storage; expected the end of the file", rest.size());
  std::vector<std::span<const std::byte>> spans;
  for (size_t i = 0; i < storages.size(); ++i) {
    require(found[i].has_value(), "[checkpoint] the file lacks storage {}", printable(storages[i].key));
    spans.push_back(*found[i]);
  }
  return spans;
}

}  // namespace

Checkpoint read_legacy_stream(MappedFile file) {
  PickleHeap heap(file.bytes().size() + spare_bytes);
  TorchObjects objects(heap);
  Unpickler unpickler(file.bytes(), heap, objects);
  check_preamble(unpickler, heap);
  const ValueId root = unpickler.read();
  const ValueId keys = unpickler.read();
  auto spans = cut_storages(file.bytes().subspan(unpickler.position()), heap, keys, objects.storages());
  Checkpoint checkpoint;
  checkpoint.container = "PyTorch legacy stream";
  flatten(heap, objects, root, checkpoint);
  checkpoint.storages = std::make_unique<MappedStorages>(std::move(file), std::move(spans));
  return checkpoint;
}

}  // namespace hp

// PyTorch's container since 1.6: a zip archive of P/data.pkl (the object), P/data/KEY (one storage each), P/version and
// P/byteorder, where P is the name of the saved file. torch.jit.save adds P/constants.pkl and P/code/: then the object
// is a module, and a tensor's name is the path of attributes that leads to it, as in its state_dict().
#include <charconv>
#include <optional>

#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/checkpoints/containers.h"
#include "tools/checkpoints/torch_tree.h"
#include "tools/checkpoints/unpickler.h"
#include "tools/checkpoints/zip_archive.h"

namespace hp {
namespace {

class ZipStorages : public CheckpointStorages {
 public:
  ZipStorages(MappedFile file, ZipArchive archive, std::vector<std::string> members)
      : file_(std::move(file)), archive_(std::move(archive)), members_(std::move(members)), mapped_(members_.size()) {}

  // Stored members are used where they lie. Of packed ones the last stays, because neighbours often share one.
  std::span<const std::byte> open(size_t storage) override {
    std::span<const std::byte>& mapped = mapped_.at(storage);
    if (mapped.empty()) mapped = archive_.mapped(members_.at(storage)).value_or(mapped);
    if (!mapped.empty()) return mapped;
    if (opened_ != storage) {
      opened_.reset();
      bytes_ = archive_.read(members_.at(storage));
      opened_ = storage;
    }
    return bytes_;
  }

 private:
  MappedFile file_;
  ZipArchive archive_;
  std::vector<std::string> members_;
  std::vector<std::span<const std::byte>> mapped_;  // those whose checksum was right
  std::optional<size_t> opened_;
  std::vector<std::byte> bytes_;
};

// What an archive without a data.pkl is, and what to do.
std::string other_archive(const ZipArchive& archive) {
  if (archive.find("model.weights.h5") || (archive.find("config.json") && archive.find("metadata.json")))
    return fmt::format(" of Keras (.keras), no PyTorch checkpoint; {}", foreign_framework_advice);
  const bool arrays = !archive.members().empty() && archive.members().begin()->first.ends_with(".npy");
  return fmt::format("{}, but no PyTorch checkpoint: it holds no data.pkl; {}", arrays ? " of NumPy arrays (.npz)" : "",
                     arrays ? "save the arrays as safetensors" : "unpack it and take the checkpoint inside");
}

// The "P/" in front of every member's name.
std::string find_folder(const ZipArchive& archive) {
  constexpr std::string_view object = "data.pkl";
  std::optional<std::string> folder;
  for (const auto& [name, member] : archive.members()) {
    if (!name.ends_with(object) || (name.size() > object.size() && name[name.size() - object.size() - 1] != '/'))
      continue;
    require(!folder, "[checkpoint] the archive holds two data.pkl; expected one");
    folder = name.substr(0, name.size() - object.size());
  }
  if (!folder) fail("[checkpoint] this is a zip archive{}", other_archive(archive));
  return *folder;
}

std::string small_text(const ZipArchive& archive, const std::string& name) {
  constexpr uint64_t most = 64;
  require(archive.find(name)->bytes <= most, "[checkpoint] member {} is too large; expected at most {} bytes",
          printable(name), most);
  std::string text;
  for (const std::byte byte : archive.read(name)) text += static_cast<char>(byte);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

void check_format(const ZipArchive& archive, const std::string& folder) {
  constexpr int oldest = 1, newest = 10;
  if (archive.find(folder + "version")) {
    const std::string text = small_text(archive, folder + "version");
    int version = 0;
    std::from_chars(text.data(), text.data() + text.size(), version);
    require(version >= oldest && version <= newest,
            "[checkpoint] unknown version of the archive; got {}; expected {} to {}", printable(text), oldest, newest);
  }
  if (archive.find(folder + "byteorder")) {
    const std::string order = small_text(archive, folder + "byteorder");
    require(order == "little",
            "[checkpoint] the file's byte order is {}; expected 'little'; load it where it was written and save it as "
            "safetensors",
            printable(order));
  }
}

}  // namespace

Checkpoint read_zip(MappedFile file) {
  ZipArchive archive(file.bytes());
  const std::string folder = find_folder(archive);
  check_format(archive, folder);
  const std::vector<std::byte> pickle = archive.read(folder + "data.pkl");
  PickleHeap heap(file.bytes().size() + spare_bytes);
  heap.charge_bytes(pickle.size());
  TorchObjects objects(heap);
  Unpickler unpickler(pickle, heap, objects);
  const ValueId root = unpickler.read();
  require(unpickler.position() == pickle.size(), "[checkpoint] {} bytes follow the pickle in data.pkl; expected none",
          pickle.size() - unpickler.position());

  std::vector<std::string> members;
  for (const TorchStorage& storage : objects.storages()) {
    const std::string name = folder + "data/" + std::string(storage.key);
    const ZipMember* member = archive.find(name);
    require(member != nullptr, "[checkpoint] the archive lacks storage {}; it is damaged", printable(name));
    const uint64_t bytes = static_cast<uint64_t>(storage.elements) * size_of(storage.type);
    require(member->bytes == bytes, "[checkpoint] storage {} has {} bytes; expected {}; the file is damaged",
            printable(name), member->bytes, bytes);
    members.push_back(name);
  }
  Checkpoint checkpoint;
  checkpoint.container = "PyTorch zip archive";
  flatten(heap, objects, root, checkpoint);
  if (archive.find(folder + "constants.pkl")) {
    checkpoint.container = "TorchScript archive";  // its program (code/) stays unread
    std::erase_if(checkpoint.items, [](const CheckpointItem& item) { return !item.foreign; });  // "training", ...
  }
  checkpoint.storages = std::make_unique<ZipStorages>(std::move(file), std::move(archive), std::move(members));
  return checkpoint;
}

}  // namespace hp

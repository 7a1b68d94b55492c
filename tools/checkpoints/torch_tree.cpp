#include "tools/checkpoints/torch_tree.h"

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {
namespace {

constexpr int deepest = 32;
constexpr size_t most_names = 1'000'000;
constexpr size_t longest_name = 1024;
constexpr size_t most_name_bytes = 128'000'000;
// Of a name here and wherever it is looked up.
constexpr uint64_t bytes_of_name = 4 * sizeof(CheckpointTensor), copies_of_name = 8;

class Flattener {
 public:
  Flattener(PickleHeap& heap, const TorchObjects& objects, Checkpoint& checkpoint)
      : heap_(heap), objects_(objects), checkpoint_(checkpoint) {}

  void visit(ValueId id, const std::string& name, int depth) {
    if (const auto* dict = heap_.as<Dict>(id)) return visit_dict(*dict, name, depth);
    if (const auto* number = heap_.as<TensorNumber>(id)) {
      const TorchTensor& tensor = objects_.tensors()[number->number];
      checkpoint_.tensors.push_back({name, tensor.type, tensor.view, tensor.storage});
    } else {
      if (const auto* text = heap_.as<Text>(id); text && name == "meta.cfg") {
        heap_.charge_bytes(text->text.size());
        checkpoint_.metadata[name] = std::string(text->text);
      }
      const bool foreign = heap_.as<Foreign>(id) || heap_.as<Global>(id);
      checkpoint_.items.push_back({name, describe(heap_, id), foreign});
    }
  }

 private:
  void visit_dict(const Dict& dict, const std::string& name, int depth) {
    require(depth < deepest,
            "[checkpoint] dictionaries are nested too deeply at {}; expected at most {} levels; the file is damaged or "
            "hostile",
            printable(name), deepest);
    for (const auto& [key, value] : dict.items) {
      std::string path = name + (name.empty() ? "" : ".") + text_of(key);
      ++names_;
      bytes_ += path.size();
      require(path.size() <= longest_name, "[checkpoint] name too long; got {}; expected at most {} bytes",
              printable(path), longest_name);
      require(names_ <= most_names && bytes_ <= most_name_bytes,
              "[checkpoint] too many names; expected at most {}; the file is damaged or hostile", most_names);
      heap_.charge_bytes(bytes_of_name + copies_of_name * path.size());
      visit(value, path, depth + 1);
    }
  }

  std::string text_of(ValueId key) const {
    if (const auto* text = heap_.as<Text>(key)) return std::string(text->text.substr(0, longest_name + 1));
    if (const auto* number = heap_.as<int64_t>(key)) return std::to_string(*number);
    return fmt::format("({})", describe(heap_, key));
  }

  PickleHeap& heap_;
  const TorchObjects& objects_;
  Checkpoint& checkpoint_;
  size_t names_ = 0, bytes_ = 0;
};

}  // namespace

void flatten(PickleHeap& heap, const TorchObjects& objects, ValueId root, Checkpoint& checkpoint) {
  Flattener(heap, objects, checkpoint).visit(root, "", 0);
}

}  // namespace hp

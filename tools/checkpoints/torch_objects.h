// What the globals of a PyTorch checkpoint mean: the only functions that a pickle can call, and they are ours.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/elements.h"
#include "tools/checkpoints/pickle_value.h"

namespace hp {

// A storage that the pickle refers to; its bytes lie elsewhere in the file.
struct TorchStorage {
  std::string_view key;
  ElementType type;  // u8 for an untyped storage
  int64_t elements;
};

struct TorchTensor {
  uint32_t storage;
  ElementType type;
  StridedView view;  // checked against the storage's number of elements
};

// Known: OrderedDict and set, the storage classes, _rebuild_tensor (_v2, _v3), _rebuild_parameter (_with_state),
// torch.Size, torch.device, the list makers of TorchScript; a class of __torch__ becomes a record of its attributes, a
// Dict that BUILD fills. Every other global becomes an inert Foreign: training checkpoints carry many beside their
// weights. Globals that run commands are refused at sight.
class TorchObjects {
 public:
  explicit TorchObjects(PickleHeap& heap) : heap_(heap) {}

  ValueId global(std::string_view module, std::string_view name);  // throws hp::Error for os.system and its like
  ValueId call(ValueId callable, ValueId arguments);               // REDUCE, NEWOBJ
  void build(ValueId object, ValueId state);                       // BUILD: only records keep their state
  ValueId persistent(ValueId id);                                  // ('storage', class, key, location, numel[, view])

  const std::vector<TorchStorage>& storages() const { return storages_; }
  const std::vector<TorchTensor>& tensors() const { return tensors_; }

 private:
  bool torchscript(const Global& global, const std::vector<ValueId>& arguments, ValueId& result);
  ValueId ordered_dict(const std::vector<ValueId>& arguments);
  ValueId sequence(Sequence::Kind kind, const std::vector<ValueId>& arguments);
  ValueId tensor(const std::vector<ValueId>& arguments, bool typed_by_call);
  StridedView view(ValueId offset, ValueId size, ValueId stride) const;
  int64_t integer(ValueId id, std::string_view what) const;

  PickleHeap& heap_;
  std::vector<TorchStorage> storages_;
  std::unordered_map<std::string_view, uint32_t> storage_of_key_;
  std::vector<TorchTensor> tensors_;
};

}  // namespace hp

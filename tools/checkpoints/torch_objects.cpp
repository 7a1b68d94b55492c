#include "tools/checkpoints/torch_objects.h"

#include <algorithm>
#include <array>
#include <optional>

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {
namespace {

struct TypeName {
  std::string_view storage, dtype;
  ElementType type;
};

// torch's names of storage classes and of element types.
constexpr std::array<TypeName, 10> type_names{{{"DoubleStorage", "float64", ElementType::f64},
                                               {"FloatStorage", "float32", ElementType::f32},
                                               {"HalfStorage", "float16", ElementType::f16},
                                               {"BFloat16Storage", "bfloat16", ElementType::bf16},
                                               {"LongStorage", "int64", ElementType::i64},
                                               {"IntStorage", "int32", ElementType::i32},
                                               {"ShortStorage", "int16", ElementType::i16},
                                               {"CharStorage", "int8", ElementType::i8},
                                               {"ByteStorage", "uint8", ElementType::u8},
                                               {"BoolStorage", "bool", ElementType::boolean}}};

std::optional<ElementType> storage_type(const Global& global) {
  if (global.module == "torch.storage" && (global.name == "UntypedStorage" || global.name == "_UntypedStorage"))
    return ElementType::u8;
  for (const TypeName& entry : type_names)
    if (global.module == "torch" && global.name == entry.storage) return entry.type;
  return std::nullopt;
}

std::optional<ElementType> element_type_of(const Global& global) {
  for (const TypeName& entry : type_names)
    if (global.module == "torch" && global.name == entry.dtype) return entry.type;
  return std::nullopt;
}

// No checkpoint has an honest reason to name these: torch.load would run commands or code through them.
bool runs_code(const Global& global) {
  constexpr std::array<std::string_view, 10> modules{"os",  "posix",  "nt",    "subprocess", "sys",
                                                     "pty", "socket", "runpy", "shutil",     "commands"};
  constexpr std::array<std::string_view, 7> functions{"eval", "exec",       "execfile",  "compile",
                                                      "open", "__import__", "breakpoint"};
  const bool builtin = global.module == "builtins" || global.module == "__builtin__";
  return std::find(modules.begin(), modules.end(), global.module) != modules.end() ||
         (builtin && std::find(functions.begin(), functions.end(), global.name) != functions.end());
}

bool is(const Global& global, std::string_view module, std::string_view name) {
  return global.module == module && global.name == name;
}

}  // namespace

ValueId TorchObjects::global(std::string_view module, std::string_view name) {
  const Global global{module, name};
  require(!runs_code(global),
          "[pickle] the file names {}, which would run code in a program that trusts the file; it is refused and "
          "nothing was run; "
          "get the weights from a source that you trust",
          str(global));
  return heap_.add(global);
}

ValueId TorchObjects::call(ValueId callable, ValueId arguments) {
  if (const auto* foreign = heap_.as<Foreign>(callable)) return heap_.add(*foreign);
  const auto* global = heap_.as<Global>(callable);
  require(global != nullptr, "[pickle] {} is called; expected a function or class", describe(heap_, callable));
  const auto* items = heap_.tuple(arguments);
  require(items != nullptr, "[pickle] {} is called with {}; expected a tuple of arguments", str(*global),
          describe(heap_, arguments));
  if (ValueId made = 0; torchscript(*global, *items, made)) return made;
  if (is(*global, "collections", "OrderedDict")) return ordered_dict(*items);
  if (is(*global, "builtins", "set") || is(*global, "__builtin__", "set")) return sequence(Sequence::Kind::set, *items);
  if (is(*global, "torch", "Size")) return sequence(Sequence::Kind::tuple, *items);
  if (global->module == "torch._utils") {
    if (global->name == "_rebuild_tensor" || global->name == "_rebuild_tensor_v2") return tensor(*items, false);
    if (global->name == "_rebuild_tensor_v3") return tensor(*items, true);
    if (global->name == "_rebuild_parameter" || global->name == "_rebuild_parameter_with_state") {
      require(!items->empty(), "[pickle] {} is called without a tensor", str(*global));
      return items->front();
    }
  }
  return heap_.add(Foreign{*global});
}

// What only the archives of torch.jit.save name. Their classes are anonymous: the program that defines them is not
// read.
bool TorchObjects::torchscript(const Global& global, const std::vector<ValueId>& arguments, ValueId& result) {
  const bool tagged = is(global, "torch.jit._pickle", "restore_type_tag");
  if (global.module == "__torch__" || global.module.starts_with("__torch__.")) {
    result = heap_.add(Dict{.items = {}, .record = true});
  } else if ((tagged || is(global, "torch", "device")) && !arguments.empty()) {
    result = arguments.front();
  } else if (global.module == "torch.jit._pickle" && global.name.starts_with("build_") &&
             global.name.ends_with("list")) {
    result = sequence(Sequence::Kind::list, arguments);
  } else {
    return false;
  }
  return true;
}

void TorchObjects::build(ValueId object, ValueId state) {
  auto* record = std::get_if<Dict>(&heap_[object]);
  const auto* attributes = heap_.as<Dict>(state);
  if (!record || !record->record || !attributes || object == state) return;
  heap_.charge(2 * attributes->items.size());
  record->items.insert(record->items.end(), attributes->items.begin(), attributes->items.end());
}

ValueId TorchObjects::ordered_dict(const std::vector<ValueId>& arguments) {
  Dict dict;
  if (!arguments.empty()) {  // Python 2 wrote a list of [key, value]
    const auto* pairs = heap_.as<Sequence>(arguments.front());
    require(pairs != nullptr, "[pickle] OrderedDict is made from {}; expected a list of pairs",
            describe(heap_, arguments.front()));
    heap_.charge(pairs->items.size());
    for (const ValueId id : pairs->items) {
      const auto* pair = heap_.as<Sequence>(id);
      require(pair != nullptr && pair->items.size() == 2, "[pickle] OrderedDict is made from {}; expected pairs",
              describe(heap_, id));
      dict.items.emplace_back(pair->items[0], pair->items[1]);
    }
  }
  return heap_.add(std::move(dict));
}

ValueId TorchObjects::sequence(Sequence::Kind kind, const std::vector<ValueId>& arguments) {
  Sequence result{kind, {}};
  if (!arguments.empty()) {
    const auto* items = heap_.as<Sequence>(arguments.front());
    require(items != nullptr, "[pickle] a set or size is made from {}; expected a list",
            describe(heap_, arguments.front()));
    heap_.charge(items->items.size());
    result.items = items->items;
  }
  return heap_.add(std::move(result));
}

int64_t TorchObjects::integer(ValueId id, std::string_view what) const {
  const auto* value = heap_.as<int64_t>(id);
  require(value != nullptr, "[pickle] the {} of a tensor or storage is {}; expected a number", what,
          describe(heap_, id));
  return *value;
}

StridedView TorchObjects::view(ValueId offset, ValueId size, ValueId stride) const {
  const auto *sizes = heap_.tuple(size), *strides = heap_.tuple(stride);
  require(sizes && strides && sizes->size() == strides->size(),
          "[pickle] a tensor has size {} and stride {}; expected two tuples of one length", describe(heap_, size),
          describe(heap_, stride));
  require(sizes->size() <= Shape::max_rank, "[pickle] a tensor has {} axes; expected at most {}", sizes->size(),
          Shape::max_rank);
  std::vector<int64_t> extents;
  StridedView view;
  view.offset = integer(offset, "offset");
  for (size_t axis = 0; axis < sizes->size(); ++axis) {
    extents.push_back(integer((*sizes)[axis], "size"));
    view.strides[axis] = integer((*strides)[axis], "stride");
  }
  view.shape = Shape(std::span<const int64_t>(extents));
  return view;
}

// (storage, offset, size, stride, ...); version 3 gives the element type as the seventh argument and counts the storage
// in bytes.
ValueId TorchObjects::tensor(const std::vector<ValueId>& arguments, bool typed_by_call) {
  require(arguments.size() >= (typed_by_call ? 7U : 4U),
          "[pickle] a tensor is rebuilt from {} arguments; expected storage, offset, size, stride", arguments.size());
  if (const auto* foreign = heap_.as<Foreign>(arguments[0])) return heap_.add(*foreign);
  const auto* slice = heap_.as<StorageSlice>(arguments[0]);
  require(slice != nullptr, "[pickle] a tensor is rebuilt from {}; expected a storage", describe(heap_, arguments[0]));
  const TorchStorage& storage = storages_[slice->storage];
  TorchTensor tensor{slice->storage, storage.type, view(arguments[1], arguments[2], arguments[3])};
  int64_t first = slice->first, count = slice->count;
  if (typed_by_call) {
    const auto* global = heap_.as<Global>(arguments[6]);
    require(global != nullptr, "[pickle] the element type of a tensor is {}; expected a name",
            describe(heap_, arguments[6]));
    const std::optional<ElementType> type = element_type_of(*global);
    if (!type) return heap_.add(Foreign{*global});
    const auto bytes_per_unit = static_cast<int64_t>(size_of(storage.type)),
               size = static_cast<int64_t>(size_of(*type));
    require(first * bytes_per_unit % size == 0, "[pickle] a tensor of {} starts between two elements", str(*global));
    tensor.type = *type;
    first = first * bytes_per_unit / size;
    count = count * bytes_per_unit / size;
  }
  require(tensor.view.fits(count),
          "[pickle] a tensor reaches outside its storage; got shape {} at offset {}; expected at most {} elements; the "
          "file is damaged",
          tensor.view.shape.str(), tensor.view.offset, count);
  tensor.view.offset += first;
  heap_.charge_bytes(3 * sizeof(TorchTensor));
  tensors_.push_back(tensor);
  return heap_.add(TensorNumber{static_cast<uint32_t>(tensors_.size() - 1)});
}

ValueId TorchObjects::persistent(ValueId id) {
  const auto* parts = heap_.tuple(id);
  require(parts && (parts->size() == 5 || parts->size() == 6),
          "[pickle] a persistent id is {}; expected a tuple of 5 or 6", describe(heap_, id));
  const auto* kind = heap_.as<Text>((*parts)[0]);
  require(kind && kind->text == "storage", "[pickle] a persistent id starts with {}; expected 'storage'",
          describe(heap_, (*parts)[0]));
  const auto* global = heap_.as<Global>((*parts)[1]);
  const auto type = storage_type(global ? *global : Global{});
  require(type.has_value(), "[pickle] unknown kind of storage; got {}; expected one of torch's storages of numbers",
          describe(heap_, (*parts)[1]));
  const auto* key = heap_.as<Text>((*parts)[2]);
  require(key != nullptr, "[pickle] the key of a storage is {}; expected a text", describe(heap_, (*parts)[2]));
  const int64_t elements = integer((*parts)[4], "length");
  constexpr int64_t most_elements = int64_t{1} << 48;  // keeps every later product of elements and bytes in range
  require(elements >= 0 && elements <= most_elements,
          "[pickle] a storage has an impossible length; got {}; expected 0 or more elements", elements);

  const auto [known, added] = storage_of_key_.emplace(key->text, static_cast<uint32_t>(storages_.size()));
  constexpr uint64_t bytes_of_entry = 64;
  heap_.charge_bytes(bytes_of_entry + 3 * sizeof(TorchStorage));
  if (added) storages_.push_back({key->text, *type, elements});
  const TorchStorage& storage = storages_[known->second];
  require(storage.type == *type && storage.elements == elements,
          "[pickle] two descriptions of storage {} disagree; got {} {} and {} {}; the file is damaged",
          printable(key->text), storage.elements, name_of(storage.type), elements, name_of(*type));

  StorageSlice slice{known->second, 0, elements};
  if (parts->size() == 6 && !heap_.as<None>((*parts)[5])) {  // (key of the view, offset, size)
    const auto* part = heap_.tuple((*parts)[5]);
    require(part && part->size() == 3, "[pickle] the view of a storage is {}; expected a tuple of 3",
            describe(heap_, (*parts)[5]));
    slice.first = integer((*part)[1], "offset");
    slice.count = integer((*part)[2], "length");
    require(
        slice.first >= 0 && slice.count >= 0 && slice.first <= elements && slice.count <= elements - slice.first,
        "[pickle] a view reaches outside its storage; got {} elements at {}; expected within {}; the file is damaged",
        slice.count, slice.first, elements);
  }
  return heap_.add(slice);
}

}  // namespace hp

#include "tools/checkpoints/pickle_value.h"

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {
namespace {

constexpr size_t most_values = 8'000'000;
constexpr size_t most_references = 64'000'000;

// Upper bounds, with what growing vectors hold twice.
constexpr uint64_t bytes_of_value = sizeof(PickleValue) + 3 * sizeof(ValueId) + 8, bytes_of_container = 32,
                   bytes_of_reference = 3 * sizeof(ValueId);

struct Describe {
  std::string operator()(const None&) const { return "None"; }
  std::string operator()(bool value) const { return value ? "True" : "False"; }
  std::string operator()(int64_t value) const { return fmt::format("a number ({})", value); }
  std::string operator()(double value) const { return fmt::format("a number ({:.6g})", value); }
  std::string operator()(const BigInteger&) const { return "a large number"; }
  std::string operator()(const Text& text) const { return fmt::format("a text ({})", printable(text.text)); }
  std::string operator()(const Bytes& bytes) const { return fmt::format("{} bytes", bytes.bytes.size()); }
  std::string operator()(const Sequence& sequence) const {
    constexpr std::string_view names[] = {"list", "tuple", "set"};
    return fmt::format("a {} of {}", names[static_cast<size_t>(sequence.kind)], sequence.items.size());
  }
  std::string operator()(const Dict& dict) const { return fmt::format("a dictionary of {}", dict.items.size()); }
  std::string operator()(const Global& global) const { return "the name " + str(global); }
  std::string operator()(const Foreign& foreign) const { return "an object of " + str(foreign.global); }
  std::string operator()(const StorageSlice&) const { return "a bare storage"; }
  std::string operator()(const TensorNumber&) const { return "a tensor"; }
};

}  // namespace

ValueId PickleHeap::add(PickleValue value) {
  require(values_.size() < most_values, "[pickle] too many values; expected at most {}; the file is damaged or hostile",
          most_values);
  charge_bytes(bytes_of_value);
  values_.push_back(std::move(value));
  return static_cast<ValueId>(values_.size() - 1);
}

const std::vector<ValueId>* PickleHeap::tuple(ValueId id) const {
  const auto* sequence = as<Sequence>(id);
  return sequence && sequence->kind == Sequence::Kind::tuple ? &sequence->items : nullptr;
}

void PickleHeap::charge(size_t references) {
  require(references <= most_references - charged_,
          "[pickle] containers too large; expected at most {} members in all; the file is damaged or hostile",
          most_references);
  charged_ += references;
  charge_bytes(bytes_of_container + references * bytes_of_reference);
}

void PickleHeap::charge_bytes(uint64_t bytes) {
  require(bytes <= most_bytes_ - bytes_,
          "[pickle] the objects need more memory than the size of the file explains; expected at most {} bytes; the "
          "file is damaged or hostile",
          most_bytes_);
  bytes_ += bytes;
}

std::string describe(const PickleHeap& heap, ValueId id) { return std::visit(Describe{}, heap[id]); }

std::string str(const Global& global) {
  const std::string name = printable(fmt::format("{}.{}", global.module, global.name));
  return name.substr(1, name.rfind('\'') - 1) + (name.ends_with('\'') ? "" : "...");
}

}  // namespace hp

// The values that a pickle may hold, kept on a heap of their own: containers name their members by number, so that
// hostile nesting, sharing and cycles cost nothing when the values are read or destroyed.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hp {

using ValueId = uint32_t;

struct None {};
struct BigInteger {  // an integer beyond 64 bits: little-endian two's complement
  std::string_view bytes;
};
struct Text {  // str, or a Python 2 string; bytes as the file has them
  std::string_view text;
};
struct Bytes {
  std::string_view bytes;
};
struct Sequence {
  enum class Kind : uint8_t { list, tuple, set } kind;
  std::vector<ValueId> items;
};
struct Dict {
  std::vector<std::pair<ValueId, ValueId>> items;
  bool record = false;  // the attributes of a TorchScript object
};
// A class or function that the pickle names. It is never looked up.
struct Global {
  std::string_view module, name;
};
// What a call of an unknown global would have made. Nothing was called.
struct Foreign {
  Global global;
};
// Elements first .. first + count of a storage.
struct StorageSlice {
  uint32_t storage;
  int64_t first, count;
};
struct TensorNumber {  // into TorchObjects::tensors()
  uint32_t number;
};

using PickleValue = std::variant<None, bool, int64_t, double, BigInteger, Text, Bytes, Sequence, Dict, Global, Foreign,
                                 StorageSlice, TensorNumber>;

// Texts point into the bytes of the pickle, which must outlive the heap.
class PickleHeap {
 public:
  PickleHeap() = default;
  explicit PickleHeap(uint64_t most_bytes) : most_bytes_(most_bytes) {}

  ValueId add(PickleValue value);
  PickleValue& operator[](ValueId id) { return values_[id]; }
  const PickleValue& operator[](ValueId id) const { return values_[id]; }

  template <class T>
  const T* as(ValueId id) const {
    return std::get_if<T>(&values_[id]);
  }
  // The members of a tuple, or nullptr.
  const std::vector<ValueId>* tuple(ValueId id) const;

  // Every copied reference is charged, so that a small file cannot ask for much work. Throws hp::Error beyond the
  // limit.
  void charge(size_t references);
  // Memory that was, or is about to be, taken for what the pickle says, here or elsewhere. Throws hp::Error beyond the
  // limit.
  void charge_bytes(uint64_t bytes);

 private:
  std::deque<PickleValue> values_;
  size_t charged_ = 0;
  uint64_t most_bytes_ = UINT64_MAX, bytes_ = 0;
};

// A checkpoint may take as many bytes as its file has, and these: opcodes of one byte make values of fifty.
inline constexpr uint64_t spare_bytes = uint64_t{40} << 20;

// "a number (0.5)", "a list of 3", "an object of argparse.Namespace": for messages.
std::string describe(const PickleHeap& heap, ValueId id);
std::string str(const Global& global);  // "argparse.Namespace", made safe to print

}  // namespace hp

// Builds checkpoints byte by byte, honest and hostile ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hp::test {

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// Pieces of a pickle. A value is a text of opcodes that pushes one object; pickle() makes a whole pickle of it.
namespace py {

inline std::string pickle(const std::string& value) { return "\x80\x02" + value + "."; }
inline std::string global(std::string_view module, std::string_view name) {
  return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string text(std::string_view value) {
  return "X" + raw(static_cast<uint32_t>(value.size())) + std::string(value);
}
inline std::string integer(int64_t value) { return "\x8a\x08" + raw(value); }
inline std::string number(double value) { return "G" + raw(__builtin_bswap64(__builtin_bit_cast(uint64_t, value))); }
inline std::string none() { return "N"; }
inline std::string boolean(bool value) { return value ? "\x88" : "\x89"; }

inline std::string tuple(const std::vector<std::string>& items) {
  std::string bytes = "(";
  for (const std::string& item : items) bytes += item;
  return bytes + "t";
}
inline std::string list(const std::vector<std::string>& items) {
  std::string bytes = "](";
  for (const std::string& item : items) bytes += item;
  return bytes + "e";
}
inline std::string integers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(integer(value));
  return tuple(items);
}
using Items = std::vector<std::pair<std::string, std::string>>;  // keys are plain texts, values are opcodes
inline std::string dict(const Items& items) {
  std::string bytes = "}(";
  for (const auto& [key, value] : items) bytes += text(key) + value;
  return bytes + "u";
}
inline std::string call(const std::string& callable, const std::string& arguments) {
  return callable + arguments + "R";
}

}  // namespace py

struct StorageSpec {
  std::string key;
  std::vector<float> values;
  std::string class_name = "FloatStorage";
  int64_t announced = -1;  // elements in the persistent id; -1: as many as there are

  int64_t elements() const { return static_cast<int64_t>(values.size()); }
  std::string bytes() const { return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}; }
};

// The persistent id of a storage, with the sixth member that only the legacy stream has.
inline std::string persistent(const StorageSpec& storage, bool legacy, const std::string& view = py::none()) {
  std::vector<std::string> parts{py::text("storage"), py::global("torch", storage.class_name), py::text(storage.key),
                                 py::text("cpu"),
                                 py::integer(storage.announced < 0 ? storage.elements() : storage.announced)};
  if (legacy) parts.push_back(view);
  return py::tuple(parts) + "Q";
}

struct TensorSpec {
  std::vector<int64_t> size, stride;
  int64_t offset = 0;
};

inline std::string tensor(const std::string& persistent_id, const TensorSpec& spec) {
  return py::call(
      py::global("torch._utils", "_rebuild_tensor_v2"),
      py::tuple({persistent_id, py::integer(spec.offset), py::integers(spec.size), py::integers(spec.stride),
                 py::boolean(false), py::call(py::global("collections", "OrderedDict"), py::tuple({}))}));
}

// The whole file in either container.
struct LegacySpec {
  std::string object;  // opcodes
  std::vector<StorageSpec> storages;
  bool little_endian = true;
  int64_t version = 1001;
};
std::string legacy_file(const LegacySpec& spec);

struct ZipSpec {
  std::vector<std::pair<std::string, std::string>> members;  // name, content
  bool deflate = false;
};
std::string zip_file(const ZipSpec& spec);
// The archive of an object with its storages, as torch.save lays it out.
ZipSpec torch_archive(const std::string& object, const std::vector<StorageSpec>& storages);

}  // namespace hp::test

// Reading and writing .safetensors: 8-byte little-endian header length, JSON header, raw little-endian data.
// Format: https://huggingface.co/docs/safetensors. A file is hostile input: every size and offset is checked before
// use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/parameters.h"

namespace hp {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as the file says it: "F32", "BF16", "I64", ...
  Shape shape;
  std::span<const std::byte> bytes;  // inside the mapped file
};

// A mapped file with a checked header. Refused: headers above 100 MB, duplicate keys, holes, overlaps, offsets outside
// the file, a size that is not shape x element size, unknown element types.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in the order of their data
  const SafetensorsEntry* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
  std::span<const std::byte> mapped_;
};

// The entry's values as a float32 tensor (from F64, F32, F16, BF16, and integers); int32 is kept for "I32".
Tensor to_tensor(const SafetensorsEntry&);

// All tensors of a file, converted by to_tensor, with its metadata. NaN or infinite values are refused by name.
Parameters load_safetensors(const std::filesystem::path& path);

// Writes a temporary file beside `path`, then renames it: a reader never sees half a file.
void save_safetensors(const std::filesystem::path& path, const Parameters& parameters);

}  // namespace hp

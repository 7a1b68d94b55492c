// Reading and writing .safetensors: 8-byte little-endian header length, JSON header, raw little-endian data.
// Format: https://huggingface.co/docs/safetensors. A file is hostile input: every size and offset is checked before
// use.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/elements.h"
#include "runtime/file.h"
#include "runtime/parameters.h"

namespace hp {

struct SafetensorsEntry {
  std::string name;
  ElementType type;
  Shape shape;
  std::span<const std::byte> bytes;  // contiguous, row-major, not aligned
};

struct SafetensorsContent {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

// Checks `file`, the bytes of a whole file, and lists what it holds; the entries point into it. `where` names the file
// in messages. Refused, each with its own sentence: a header that is cut off, above 100 MB, no JSON object or with a
// key twice; an entry with an unknown element type, a wrong size or offsets outside the file; data with holes or
// overlaps; bytes after the data.
SafetensorsContent parse_safetensors(std::span<const std::byte> file, std::string_view where);

// A mapped file with a checked header.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::vector<SafetensorsEntry>& entries() const { return content_.entries; }
  const SafetensorsEntry* find(std::string_view name) const;  // nullptr if the file has none
  const std::map<std::string, std::string>& metadata() const { return content_.metadata; }

 private:
  MappedFile file_;
  SafetensorsContent content_;
};

// The entry's values, copied, as float32; only I32 stays int32.
Tensor to_tensor(const SafetensorsEntry&);

// Throws hp::Error if a float32 tensor holds a NaN or an infinity; `what` names it.
void require_finite(const Tensor&, std::string_view what);

// All tensors of a file, converted by to_tensor, with its metadata. NaN or infinite values are refused by name.
Parameters load_safetensors(const std::filesystem::path& path);

// Writes a file tensor by tensor, so that no two have to be in memory: the data in the order of tensors(), each in as
// many pieces as is convenient. Nothing is at `path` before commit().
class SafetensorsWriter {
 public:
  struct Slot {
    std::string name;
    ElementType type;
    Shape shape;
    size_t bytes() const { return static_cast<size_t>(shape.count()) * size_of(type); }
  };

  SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> tensors,
                    std::map<std::string, std::string> metadata);

  const std::vector<Slot>& tensors() const { return tensors_; }  // by element size, then by name
  void write(std::span<const std::byte> bytes);
  // A value of the metadata that is known only at the end takes the place of one as long.
  void set_metadata(const std::string& key, const std::string& value);
  void commit();

 private:
  std::filesystem::path path_;
  std::vector<Slot> tensors_;
  std::map<std::string, std::string> metadata_;
  AtomicFile file_;
  size_t left_ = 0;
};

// Writes through a temporary file, so that a reader never sees half of it. Tensors lie in host memory; the data is
// ordered by element size, then by name, and begins at a multiple of 64 bytes. The same parameters give the same bytes.
void save_safetensors(const std::filesystem::path& path, const Parameters& parameters);

}  // namespace hp

#include "runtime/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/safetensors_header.h"
#include "runtime/text.h"

namespace hp {
namespace {

static_assert(std::endian::native == std::endian::little, "the data is read and written without swapping bytes");

constexpr size_t length_bytes = 8;
constexpr uint64_t longest_header = 100'000'000;
// A header byte becomes at most 12 bytes of entries: so a small file stays small in memory, and a large one may have
// many tensors.
constexpr uint64_t free_header = uint64_t{4} << 20, header_share = 16;
constexpr size_t data_alignment = 64;

std::string_view header_text(std::span<const std::byte> file, std::string_view where) {
  require(file.size() >= length_bytes, "[safetensors] {}: too short for a header; got {} bytes; expected at least 8",
          where, file.size());
  uint64_t length = 0;
  std::memcpy(&length, file.data(), length_bytes);
  require(length <= longest_header, "[safetensors] {}: header too large; got {} bytes; expected at most {}", where,
          length, longest_header);
  require(length <= file.size() - length_bytes,
          "[safetensors] {}: the header is cut off; got {} bytes; expected {}; download it again", where,
          file.size() - length_bytes, length);
  require(length <= free_header + file.size() / header_share,
          "[safetensors] {}: header too large for its file; got {} bytes; expected at most {}; the file is damaged or "
          "hostile",
          where, length, free_header + file.size() / header_share);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + length_bytes, length);
  require(text.starts_with('{'), "[safetensors] {}: the header is not a JSON object; expected it to start with '{{'",
          where);
  return text;
}

// Checked size of the data that a header entry announces.
SafetensorsEntry checked_entry(HeaderEntry& entry, std::span<const std::byte> data, std::string_view where) {
  const std::string name = printable(entry.name);
  const std::optional<ElementType> type = element_type(entry.dtype);
  require(type.has_value(),
          "[safetensors] {}: unknown element type of {}; got {}; expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 "
          "or BOOL",
          where, name, printable(entry.dtype));
  for (const uint64_t extent : entry.shape)
    require(extent <= uint64_t{1} << 60, "[safetensors] {}: extent too large in the shape of {}; got {}", where, name,
            extent);
  const std::vector<int64_t> extents(entry.shape.begin(), entry.shape.end());
  const Shape shape{std::span<const int64_t>(extents)};  // checks the product
  require(
      entry.begin <= entry.end && entry.end <= data.size(),
      "[safetensors] {}: the data of {} lies outside the file; got {}..{}; expected within {} bytes; the file is cut "
      "off or damaged, download it again",
      where, name, entry.begin, entry.end, data.size());
  const uint64_t wanted = static_cast<uint64_t>(shape.count()) * size_of(*type);
  require(entry.end - entry.begin == wanted, "[safetensors] {}: wrong size of {}; got {} bytes; expected {} for {} {}",
          where, name, entry.end - entry.begin, wanted, entry.dtype, shape.str());
  return {std::move(entry.name), *type, shape, data.subspan(entry.begin, entry.end - entry.begin)};
}

using Slot = SafetensorsWriter::Slot;

std::string header_of(const std::vector<Slot>& order, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t begin = 0;
  for (const Slot& slot : order) {
    const size_t end = begin + slot.bytes();
    header[slot.name] = {
        {"dtype", name_of(slot.type)}, {"shape", slot.shape.extents()}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  while ((length_bytes + text.size()) % data_alignment != 0) text += ' ';
  return text;
}

}  // namespace

SafetensorsContent parse_safetensors(std::span<const std::byte> file, std::string_view where) {
  const std::string_view text = header_text(file, where);
  const std::span<const std::byte> data = file.subspan(length_bytes + text.size());
  Header header = parse_header(text, where);
  std::stable_sort(header.entries.begin(), header.entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  SafetensorsContent content{{}, std::move(header.metadata)};
  uint64_t position = 0;
  for (HeaderEntry& entry : header.entries) {
    content.entries.push_back(checked_entry(entry, data, where));
    const SafetensorsEntry& last = content.entries.back();
    require(entry.begin == position, "[safetensors] {}: {} before the data of {}; got offset {}; expected {}", where,
            entry.begin > position ? "a hole" : "an overlap", printable(last.name), entry.begin, position);
    position = entry.end;
  }
  require(position == data.size(),
          "[safetensors] {}: the data does not end where the last tensor does; got {} bytes; expected {}", where,
          data.size(), position);
  return content;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), content_(parse_safetensors(file_.bytes(), path.string())) {}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::find_if(entries().begin(), entries().end(),
                                  [&](const SafetensorsEntry& entry) { return entry.name == name; });
  return found == entries().end() ? nullptr : &*found;
}

Tensor to_tensor(const SafetensorsEntry& entry) {
  return read_elements(entry.type, entry.bytes, StridedView::contiguous(entry.shape));
}

void require_finite(const Tensor& tensor, std::string_view what) {
  if (tensor.dtype() != DType::float32) return;
  const std::span<const float> values(tensor.floats(), static_cast<size_t>(tensor.count()));
  const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  require(bad == values.end(),
          "[weights] {} holds a value that is not finite; got {} at element {} of {}; expected numbers", what,
          bad == values.end() ? 0.0F : *bad, bad - values.begin(), tensor.shape().str());
}

Parameters load_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  Parameters parameters;
  for (const SafetensorsEntry& entry : file.entries()) {
    Tensor tensor = to_tensor(entry);
    require_finite(tensor, fmt::format("{} of {}", printable(entry.name), path.string()));
    parameters.set(entry.name, std::move(tensor));
  }
  parameters.metadata = file.metadata();
  return parameters;
}

// Larger elements first, so that every tensor is aligned to its element; then by name, so that the file is
// reproducible.
SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<Slot> tensors,
                                     std::map<std::string, std::string> metadata)
    : path_(path), tensors_(std::move(tensors)), metadata_(std::move(metadata)), file_(path) {
  std::sort(tensors_.begin(), tensors_.end(), [](const Slot& a, const Slot& b) {
    const size_t left = size_of(a.type), right = size_of(b.type);
    return left != right ? left > right : a.name < b.name;
  });
  for (const Slot& slot : tensors_) left_ += slot.bytes();
  const std::string header = header_of(tensors_, metadata_);
  const uint64_t length = header.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(header);
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  require(bytes.size() <= left_, "[safetensors] {}: more data than was announced", path_.string());
  left_ -= bytes.size();
  file_.write(bytes);
}

void SafetensorsWriter::set_metadata(const std::string& key, const std::string& value) {
  std::string& kept = metadata_[key];
  require(kept.size() == value.size(), "[safetensors] {}: metadata '{}' has another length; got {}; expected {}",
          path_.string(), key, value.size(), kept.size());
  kept = value;
  const std::string header = header_of(tensors_, metadata_);
  file_.rewrite(length_bytes, std::as_bytes(std::span(header)));
}

void SafetensorsWriter::commit() {
  require(left_ == 0, "[safetensors] {}: {} bytes of data are missing", path_.string(), left_);
  file_.commit();
}

void save_safetensors(const std::filesystem::path& path, const Parameters& parameters) {
  std::vector<Slot> slots;
  for (const std::string& name : parameters.names()) {
    const Tensor& tensor = parameters.at(name);
    require(tensor.device() == Device::cpu && !tensor.empty(),
            "[safetensors] cannot write {}: {} is not in host memory; copy it there first", path.string(),
            printable(name));
    slots.push_back({name, element_type(tensor.dtype()), tensor.shape()});
  }
  SafetensorsWriter writer(path, std::move(slots), parameters.metadata);
  for (const Slot& slot : writer.tensors()) {
    const Tensor& tensor = parameters.at(slot.name);
    writer.write({tensor.bytes_begin(), tensor.bytes()});
  }
  writer.commit();
}

}  // namespace hp

// The values of a conversion: in memory, or from the mapped checkpoint into a file.
#include <algorithm>
#include <cstring>
#include <future>
#include <unordered_map>

#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"
#include "tools/checkpoints/conversion.h"
#include "tools/checkpoints/key_selection.h"

namespace hp {
namespace {

constexpr std::string_view converter = "convert-weights 0.1.0";
constexpr size_t digest_digits = 64;

CheckpointTensor as_model_has_it(const Checkpoint& checkpoint, const UsedTensor& used) {
  CheckpointTensor tensor = checkpoint.tensors[used.tensor];
  if (used.transpose) {
    tensor.view.shape = shape_of(tensor, true);
    std::swap(tensor.view.strides[0], tensor.view.strides[1]);
  }
  return tensor;
}

std::string joined(const std::vector<std::string>& names) {
  constexpr size_t shown = 5;
  std::string text;
  for (size_t i = 0; i < names.size() && i < shown; ++i) text += (i ? "; " : "") + names[i];
  return names.size() > shown ? fmt::format("{}; and {} more", text, names.size() - shown) : text;
}

void require_complete(const Conversion& conversion, const std::filesystem::path& source) {
  require(conversion.missing.empty(), "[convert] {}: {} tensors of {} are missing: {}", source.string(),
          conversion.missing.size(), conversion.architecture, joined(conversion.missing));
  require(conversion.wrong.empty(), "[convert] {}: {} tensors do not fit {}: {}", source.string(),
          conversion.wrong.size(), conversion.architecture, joined(conversion.wrong));
  require(conversion.unexpected.empty(),
          "[convert] {}: {} has no {} of these tensors, so the file is of another network: {}", source.string(),
          conversion.architecture, conversion.unexpected.size(), joined(conversion.unexpected));
}

std::map<std::string, std::string> metadata_of(const Conversion& conversion, const std::filesystem::path& source,
                                               const std::string& digest) {
  if (!conversion.metadata.empty()) return conversion.metadata;
  std::map<std::string, std::string> metadata{{"architecture", conversion.architecture},
                                              {"preprocessing", conversion.preprocessing},
                                              {"classes", std::to_string(conversion.classes)},
                                              {"source", source.filename().string()},
                                              {"source_sha256", digest},
                                              {"key_map", conversion.key_map},
                                              {"converter", std::string(converter)}};
  if (!conversion.logit_constant.empty()) metadata["logit_constant"] = conversion.logit_constant;
  return metadata;
}

Tensor read_finite(const Checkpoint& checkpoint, const UsedTensor& used, const std::filesystem::path& source) {
  const CheckpointTensor tensor = as_model_has_it(checkpoint, used);
  const Tensor values = checkpoint.read(tensor).reshaped(used.shape);
  require_finite(values, fmt::format("{} ({} of {})", used.name, printable(tensor.name), source.string()));
  return values;
}

// Whether no float32 among the bytes, of any alignment, is a NaN or an infinity.
bool all_finite(std::span<const std::byte> bytes) {
  constexpr uint32_t exponent = 0x7F800000;
  const auto* data = reinterpret_cast<const char*>(bytes.data());
  unsigned bad = 0;
  for (size_t i = 0; i < bytes.size() / sizeof(uint32_t); ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
    bad |= (bits & exponent) == exponent ? 1U : 0U;
  }
  return bad == 0;
}

// The tensor's bytes in the mapped file, where they are what has to be written.
std::span<const std::byte> as_it_lies(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  if (tensor.type != ElementType::f32) return {};
  const StridedView contiguous = StridedView::contiguous(tensor.view.shape);
  for (int axis = 0; axis < tensor.view.shape.rank(); ++axis) {
    const auto i = static_cast<size_t>(axis);
    if (tensor.view.shape[axis] != 1 && tensor.view.strides[i] != contiguous.strides[i]) return {};
  }
  const std::span<const std::byte> storage = checkpoint.storages->open(tensor.storage);
  const auto begin = static_cast<size_t>(tensor.view.offset) * sizeof(float),
             bytes = static_cast<size_t>(tensor.view.shape.count()) * sizeof(float);
  return begin <= storage.size() && bytes <= storage.size() - begin ? storage.subspan(begin, bytes)
                                                                    : std::span<const std::byte>();
}

void write_tensor(const Checkpoint& checkpoint, const UsedTensor& used, const std::filesystem::path& source,
                  SafetensorsWriter& writer) {
  constexpr size_t piece = size_t{1} << 20;  // is in the cache when it is written
  std::span<const std::byte> bytes = as_it_lies(checkpoint, as_model_has_it(checkpoint, used));
  Tensor values;
  if (bytes.empty()) {
    values = read_finite(checkpoint, used, source);
    return writer.write({values.bytes_begin(), values.bytes()});
  }
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), piece))) {
    const std::span<const std::byte> next = bytes.first(std::min(bytes.size(), piece));
    if (!all_finite(next)) read_finite(checkpoint, used, source);  // says which value
    writer.write(next);
  }
}

}  // namespace

Parameters convert(const Checkpoint& checkpoint, const Conversion& conversion, const std::filesystem::path& source) {
  require_complete(conversion, source);
  Parameters parameters;
  for (const UsedTensor& used : conversion.used) parameters.set(used.name, read_finite(checkpoint, used, source));
  parameters.metadata = metadata_of(conversion, source, conversion.metadata.empty() ? sha256(source) : "");
  return parameters;
}

void convert_file(const Checkpoint& checkpoint, const Conversion& conversion, const std::filesystem::path& source,
                  const std::filesystem::path& target) {
  require_complete(conversion, source);
  const bool digests = conversion.metadata.empty();
  std::future<std::string> digest;  // takes as long as all the rest
  if (digests) digest = std::async(std::launch::async, [&] { return sha256(source); });
  std::vector<SafetensorsWriter::Slot> slots;
  std::unordered_map<std::string, const UsedTensor*> used_of;
  for (const UsedTensor& used : conversion.used) {
    slots.push_back({used.name, ElementType::f32, used.shape});
    used_of[used.name] = &used;
  }
  SafetensorsWriter writer(target, std::move(slots), metadata_of(conversion, source, std::string(digest_digits, '0')));
  for (const SafetensorsWriter::Slot& slot : writer.tensors())
    write_tensor(checkpoint, *used_of.at(slot.name), source, writer);
  if (digests) writer.set_metadata("source_sha256", digest.get());
  writer.commit();
}

}  // namespace hp

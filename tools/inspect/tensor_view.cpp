// hp-inspect tensor.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/file.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "runtime/text.h"
#include "tools/inspect/views.h"
#include "tools/text/table.h"
#include "tools/text/units.h"

namespace hp {

namespace {

constexpr size_t most_lines = 12;  // of a summary
constexpr size_t most_metadata = 6;

struct TensorLine {
  std::string name, type;
  Shape shape;
  double least = 0, most = 0, mean = 0;  // of the finite values
  int64_t finite = 0, not_finite = 0;
};

struct Content {
  std::string kind;
  std::vector<TensorLine> tensors;
  std::map<std::string, std::string> metadata;
};

template <class T>
void count(std::span<const T> values, TensorLine& line) {
  double sum = 0;
  line.least = std::numeric_limits<double>::infinity();
  line.most = -line.least;
  for (const T value : values) {
    const auto number = static_cast<double>(value);
    if (!std::isfinite(number)) {
      ++line.not_finite;
      continue;
    }
    line.least = std::min(line.least, number);
    line.most = std::max(line.most, number);
    sum += number;
    ++line.finite;
  }
  if (line.finite > 0) line.mean = sum / static_cast<double>(line.finite);
}

TensorLine line_of(const std::string& name, const std::string& type, const Tensor& tensor) {
  TensorLine line{name, type, tensor.shape()};
  const auto size = static_cast<size_t>(tensor.count());
  if (tensor.dtype() == DType::int32) {
    count(std::span<const int32_t>(tensor.data<int32_t>(), size), line);
  } else {
    count(std::span<const float>(tensor.floats(), size), line);
  }
  return line;
}

bool is_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view begin(reinterpret_cast<const char*>(file.bytes().data()),
                               std::min<size_t>(file.bytes().size(), 6));
  return begin == std::string_view("\x93NUMPY", 6);
}

Content read(const std::filesystem::path& path) {
  if (is_npy(path)) return {"npy", {line_of(path.filename().string(), "F32", read_npy(path))}, {}};
  const SafetensorsFile file(path);
  Content content{"safetensors", {}, file.metadata()};
  for (const SafetensorsEntry& entry : file.entries())
    content.tensors.push_back(line_of(entry.name, std::string(name_of(entry.type)), to_tensor(entry)));
  std::sort(content.tensors.begin(), content.tensors.end(),
            [](const TensorLine& a, const TensorLine& b) { return a.name < b.name; });
  return content;
}

std::string number_text(const TensorLine& line, double number) {
  return line.finite > 0 ? fmt::format("{:.4g}", number) : "-";
}

std::string metadata_text(const Content& content, bool all) {
  std::string text;
  size_t shown = 0;
  for (const auto& [key, value] : content.metadata) {
    if (!all && shown++ == most_metadata)
      return text + fmt::format("  ... {} more\n", content.metadata.size() - most_metadata);
    text += fmt::format("  {} = {}\n", plain(key, 30), plain(value, 64));
  }
  return text;
}

std::string text_view(const std::filesystem::path& path, const Content& content, bool all) {
  int64_t values = 0, not_finite = 0;
  for (const TensorLine& line : content.tensors) {
    values += line.shape.count();
    not_finite += line.not_finite;
  }
  std::string text =
      fmt::format("{}: {}, {} tensor{}, {} values, {}\n{}\n", plain(path.string(), 60), content.kind,
                  content.tensors.size(), content.tensors.size() == 1 ? "" : "s", count_text(values),
                  not_finite ? fmt::format("{} NOT FINITE", not_finite) : "all finite", metadata_text(content, all));
  std::vector<TensorLine> lines = content.tensors;
  // What is broken comes first.
  std::stable_partition(lines.begin(), lines.end(), [](const TensorLine& line) { return line.not_finite > 0; });
  TextTable table({"name", "type", "shape", "least", "most", "mean", "not finite"}, 3);
  const size_t shown = all ? lines.size() : std::min(lines.size(), most_lines);
  for (size_t i = 0; i < shown; ++i) {
    const TensorLine& line = lines[i];
    table.add({plain(line.name, 34), line.type, line.shape.str(), number_text(line, line.least),
               number_text(line, line.most), number_text(line, line.mean),
               line.not_finite ? std::to_string(line.not_finite) : "-"});
  }
  text += table.text();
  if (shown < lines.size())
    text += fmt::format("\n{} more; next: hp-inspect tensor {} --all\n", lines.size() - shown, path.string());
  return text;
}

std::string json_view(const Content& content) {
  nlohmann::json json = {{"kind", content.kind}, {"metadata", content.metadata}, {"tensors", nlohmann::json::array()}};
  for (const TensorLine& line : content.tensors) {
    const std::span<const int64_t> extents = line.shape.extents();
    nlohmann::json tensor = {{"name", line.name},
                             {"type", line.type},
                             {"shape", std::vector<int64_t>(extents.begin(), extents.end())},
                             {"not_finite", line.not_finite}};
    if (line.finite > 0) tensor.update({{"least", line.least}, {"most", line.most}, {"mean", line.mean}});
    json["tensors"].push_back(std::move(tensor));
  }
  return json.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string tensor_view(const std::filesystem::path& file, const ViewOptions& options) {
  require(options.format != Format::dot, "[inspect] tensors have no picture; got --format dot; expected text or json");
  const Content content = read(file);
  return options.format == Format::json ? json_view(content) : text_view(file, content, options.all);
}

}  // namespace hp

#include "tools/checkpoints/npy_reader.h"

#include <charconv>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/elements.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "runtime/text.h"

namespace hp {
namespace {

constexpr std::string_view npy_magic{"\x93NUMPY", 6};

// The text behind "'key':" in the header, a Python literal, up to `end` characters that may follow it.
std::string_view value_of(std::string_view header, std::string_view key, std::string_view where) {
  const std::string quoted = "'" + std::string(key) + "'";
  size_t at = header.find(quoted);
  require(at != header.npos, "[npy] {}: the header has no {}; the file is damaged", where, quoted);
  at = header.find(':', at + quoted.size());
  require(at != header.npos, "[npy] {}: the header has no value for {}; the file is damaged", where, quoted);
  std::string_view rest = header.substr(at + 1);
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  return rest;
}

ElementType npy_type(std::string_view descr, std::string_view where) {
  constexpr std::pair<std::string_view, ElementType> known[] = {
      {"'<f4'", ElementType::f32}, {"'<f8'", ElementType::f64}, {"'<f2'", ElementType::f16},
      {"'<i8'", ElementType::i64}, {"'<i2'", ElementType::i16}, {"'|u1'", ElementType::u8}};
  for (const auto& [name, type] : known)
    if (descr.starts_with(name)) return type;
  fail("[npy] {}: element type not read; got {}; expected float16, float32 or float64 (little-endian)", where,
       printable(descr.substr(0, descr.find(','))));
}

Shape npy_shape(std::string_view text, std::string_view where) {
  require(text.starts_with('('), "[npy] {}: the shape is no tuple; the file is damaged", where);
  text = text.substr(1, text.find(')') - 1);
  std::vector<int64_t> extents;
  while (!text.empty()) {
    int64_t extent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
    require(error == std::errc() && extents.size() < Shape::max_rank && extent >= 0,
            "[npy] {}: shape not read; got ({}); expected at most {} extents", where, text, Shape::max_rank);
    extents.push_back(extent);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    while (text.starts_with(',') || text.starts_with(' ')) text.remove_prefix(1);
  }
  return Shape(std::span<const int64_t>(extents));
}

}  // namespace

Tensor read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string where = path.string();
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  require(text.starts_with(npy_magic) && text.size() >= 12, "[npy] {} is no .npy file; save the array with numpy.save",
          where);
  const bool wide = text[6] != 1;  // version 1 counts the header in 2 bytes, later ones in 4
  const size_t prefix = wide ? 12 : 10;
  uint32_t length = 0;
  std::memcpy(&length, text.data() + 8, wide ? 4 : 2);
  require(text[6] >= 1 && text[6] <= 3 && length <= text.size() - prefix, "[npy] {}: the header is damaged", where);
  const std::string_view header = text.substr(prefix, length);
  const ElementType type = npy_type(value_of(header, "descr", where), where);
  const Shape shape = npy_shape(value_of(header, "shape", where), where);
  const std::span<const std::byte> data = file.bytes().subspan(prefix + length);
  require(shape.count() >= 0 && static_cast<uint64_t>(shape.count()) <= data.size() &&
              static_cast<uint64_t>(shape.count()) * size_of(type) == data.size(),
          "[npy] {}: the data has another size than the header says; got {} bytes for {}; the file is cut off", where,
          data.size(), shape.str());
  StridedView view = StridedView::contiguous(shape);
  if (value_of(header, "fortran_order", where).starts_with("True")) {
    int64_t stride = 1;
    for (int axis = 0; axis < shape.rank(); ++axis) {
      view.strides[static_cast<size_t>(axis)] = stride;
      stride *= shape[axis];
    }
  }
  return read_elements(type, data, view);
}

}  // namespace hp

#include "runtime/npy.h"

#include <charconv>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/elements.h"
#include "runtime/error.h"
#include "runtime/file.h"
#include "runtime/text.h"

namespace hp {

namespace {

constexpr std::string_view magic("\x93NUMPY", 6);
constexpr size_t alignment = 64;  // of the data, as the format asks for

std::string header_of(const Shape& shape) {
  std::string extents;
  for (int axis = 0; axis < shape.rank(); ++axis) extents += fmt::format("{}, ", shape[axis]);
  if (shape.rank() > 1) extents.resize(extents.size() - 2);
  if (shape.rank() == 1) extents.pop_back();  // a tuple of one is written (3,)
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", extents);
  const size_t used = magic.size() + 4 + header.size() + 1;
  header.append((alignment - used % alignment) % alignment, ' ');
  return header + '\n';
}

// What stands behind "'key':" in the header, up to `end`.
std::string_view field(std::string_view header, std::string_view key, std::string_view end, const std::string& path) {
  const size_t at = header.find(fmt::format("'{}':", key));
  require(at != std::string_view::npos, "[npy] {}: no '{}' in the header; got {}; expected one", path, key,
          printable(header));
  header.remove_prefix(at + key.size() + 3);
  while (header.starts_with(' ')) header.remove_prefix(1);
  const size_t stop = header.find(end);
  require(stop != std::string_view::npos, "[npy] {}: '{}' does not end; got {}; expected {}", path, key,
          printable(header), end);
  return header.substr(0, stop);
}

Shape parse_shape(std::string_view header, const std::string& path) {
  std::string_view text = field(header, "shape", ")", path);
  require(text.starts_with('('), "[npy] {}: shape not read; got {}; expected a tuple", path, printable(text));
  text.remove_prefix(1);
  std::vector<int64_t> extents;
  while (true) {
    while (text.starts_with(' ') || text.starts_with(',')) text.remove_prefix(1);
    if (text.empty()) return Shape(extents);
    int64_t extent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
    require(error == std::errc() && extent >= 0,
            "[npy] {}: shape not read; got {}; expected numbers that are not negative", path, printable(text));
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    extents.push_back(extent);
  }
}

ElementType element_type(std::string_view header, const std::string& path) {
  constexpr std::pair<std::string_view, ElementType> known[] = {
      {"'<f4'", ElementType::f32}, {"'<f8'", ElementType::f64}, {"'<f2'", ElementType::f16},
      {"'<i8'", ElementType::i64}, {"'<i2'", ElementType::i16}, {"'|u1'", ElementType::u8}};
  const std::string_view type = field(header, "descr", ",", path);
  for (const auto& [name, found] : known) {
    if (type == name) return found;
  }
  fail("[npy] {}: element type not read; got {}; expected little-endian float16, float32 or float64", path,
       printable(type));
}

// Of an array whose first axis runs fastest, if the header says so.
StridedView view_of(const Shape& shape, std::string_view header, const std::string& path) {
  const std::string_view order = field(header, "fortran_order", ",", path);
  require(order == "False" || order == "True", "[npy] {}: fortran_order not read; got {}; expected True or False", path,
          printable(order));
  StridedView view = StridedView::contiguous(shape);
  int64_t stride = 1;
  for (int axis = 0; order == "True" && axis < shape.rank(); ++axis) {
    view.strides[static_cast<size_t>(axis)] = stride;
    stride *= shape[axis];
  }
  return view;
}

}  // namespace

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  require(!tensor.empty() && tensor.dtype() == DType::float32 && tensor.device() == Device::cpu,
          "[npy] {}: only host float32 tensors can be written", path.string());
  const std::string header = header_of(tensor.shape());
  require(header.size() <= std::numeric_limits<uint16_t>::max(), "[npy] {}: header too long", path.string());
  AtomicFile file(path);
  file.write(magic);
  const char version_and_length[] = {1, 0, static_cast<char>(header.size() & 255),
                                     static_cast<char>(header.size() >> 8)};
  file.write(std::string_view(version_and_length, sizeof version_and_length));
  file.write(header);
  file.write({tensor.bytes_begin(), tensor.bytes()});
  file.commit();
}

Tensor read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string name = path.string();
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  require(bytes.size() >= magic.size() + 4 && bytes.starts_with(magic),
          "[npy] {} is no .npy file; save the array with numpy.save", name);
  const int version = static_cast<unsigned char>(bytes[magic.size()]);
  require(version >= 1 && version <= 3, "[npy] {}: unknown format version; got {}; expected 1 to 3", name, version);
  const size_t length_bytes = version == 1 ? 2 : 4, begin = magic.size() + 2 + length_bytes;
  require(bytes.size() >= begin, "[npy] {}: truncated header; got {} bytes", name, bytes.size());
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) {
    length |= static_cast<size_t>(static_cast<unsigned char>(bytes[magic.size() + 2 + i])) << (8 * i);
  }
  require(length <= bytes.size() - begin, "[npy] {}: truncated header; got {} bytes; expected {}", name,
          bytes.size() - begin, length);
  const std::string_view header = bytes.substr(begin, length), data = bytes.substr(begin + length);
  const ElementType type = element_type(header, name);
  const Shape shape = parse_shape(header, name);
  const auto count = static_cast<uint64_t>(shape.count());
  require(count <= data.size() && count * size_of(type) == data.size(),
          "[npy] {}: data does not fit the shape; got {} bytes for {}; the file is cut off or damaged", name,
          data.size(), shape.str());
  return read_elements(type, file.bytes().subspan(begin + length), view_of(shape, header, name));
}

}  // namespace hp

#include "tools/data/image.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include "runtime/error.h"
#include "tools/data/jpeg.h"
#include "tools/data/raster.h"

namespace hp {
namespace {

constexpr int64_t max_file_bytes = int64_t{1} << 30;

bool starts_with(std::span<const uint8_t> bytes, std::string_view mark) {
  return bytes.size() >= mark.size() && std::equal(mark.begin(), mark.end(), bytes.begin(),
                                                   [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; });
}

// What a refused file is, for the error text.
std::string_view foreign_format(std::span<const uint8_t> bytes) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 5> marks = {
      {{"GIF8", "a GIF file"},
       {"RIFF", "a RIFF file (WebP?)"},
       {"II*", "a TIFF file"},
       {"MM", "a TIFF file"},
       {"P6", "a PPM file"}}};
  for (const auto& [mark, format] : marks) {
    if (starts_with(bytes, mark)) return format;
  }
  return "an unknown format";
}

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::error_code error;
  require(std::filesystem::is_regular_file(path, error), "[image] {}: no such file", path.string());
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  require(file.good(), "[image] {}: cannot be opened; check its permissions", path.string());
  const int64_t size = file.tellg();
  require(size > 0, "[image] {}: the file is empty", path.string());
  require(size <= max_file_bytes, "[image] {}: {} bytes; expected at most {}", path.string(), size, max_file_bytes);
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), size);
  require(file.gcount() == size, "[image] {}: cannot be read; got {} of {} bytes", path.string(), file.gcount(), size);
  return bytes;
}

}  // namespace

Image::Image(int height, int width) : height(height), width(width) {
  require(height > 0 && width > 0 && height <= max_image_side && width <= max_image_side &&
              int64_t{height} * width <= max_image_area,
          "[image] {} x {} pixels; expected sides of 1 to {} and at most {} pixels", width, height, max_image_side,
          max_image_area);
  pixels.resize(static_cast<size_t>(height) * static_cast<size_t>(width) * 3);
}

Image decode_image(std::span<const uint8_t> bytes, std::string_view name) {
  require(!bytes.empty(), "[image] {}: the file is empty", name);
  require(bytes.size() <= static_cast<size_t>(max_file_bytes), "[image] {}: {} bytes; expected at most {}", name,
          bytes.size(), max_file_bytes);
  if (starts_with(bytes, "\xFF\xD8\xFF")) return decode_jpeg(bytes, name);
  if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) return decode_png(bytes, name);
  if (starts_with(bytes, "BM")) return decode_bmp(bytes, name);
  fail("[image] {}: got {}; expected JPEG, PNG or BMP", name, foreign_format(bytes));
}

Image decode_image(const std::filesystem::path& path) { return decode_image(read_file(path), path.string()); }

Image orient(const Image& image, int orientation) {
  require(orientation >= 1 && orientation <= 8, "[image] orientation {}; expected 1 to 8", orientation);
  // A result pixel (y, x) comes from (y, x), or from (x, y) where the axes are exchanged, then mirrored along either
  // axis.
  const bool exchange = orientation >= 5;
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image result(exchange ? image.width : image.height, exchange ? image.height : image.width);
  for (int y = 0; y < result.height; ++y) {
    uint8_t* out = result.row(y);
    for (int x = 0; x < result.width; ++x, out += 3) {
      const int along_y = exchange ? x : y;
      const int along_x = exchange ? y : x;
      const int from_y = mirror_y ? image.height - 1 - along_y : along_y;
      const int from_x = mirror_x ? image.width - 1 - along_x : along_x;
      std::copy_n(image.row(from_y) + static_cast<ptrdiff_t>(from_x) * 3, 3, out);
    }
  }
  return result;
}

Tensor to_float(std::span<const Image* const> images) {
  require(!images.empty(), "[image] no images to convert");
  const Image& first = *images.front();
  Tensor result = Tensor::host({static_cast<int64_t>(images.size()), first.height, first.width, 3});
  float* out = result.floats();
  for (const Image* image : images) {
    require(image->height == first.height && image->width == first.width,
            "[image] images of one batch differ in size; got {} x {} and {} x {}; set resize or crop", first.width,
            first.height, image->width, image->height);
    for (const uint8_t byte : image->pixels) *out++ = static_cast<float>(byte) / 255.0F;
  }
  return result;
}

Tensor to_float(std::span<const Image> images) {
  std::vector<const Image*> pointers;
  for (const Image& image : images) pointers.push_back(&image);
  return to_float(pointers);
}

}  // namespace hp

#include "tools/data/raster.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <new>

#include "runtime/error.h"
#include "tools/data/exif.h"

// stb_image is a header that carries its own source; only the two decoders that are used get compiled, visible in this
// file alone.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS 65500
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace hp {
namespace {

uint32_t big_endian(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 | bytes[at + 3];
}

int64_t little_endian(std::span<const uint8_t> bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) value |= uint32_t{bytes[at + i]} << (8 * i);
  return count == 2 ? int64_t{static_cast<int16_t>(value)} : int64_t{static_cast<int32_t>(value)};
}

// CRC-32 of ISO 3309, as PNG specification annex D defines it.
uint32_t checksum(std::span<const uint8_t> bytes) {
  static constexpr auto table = [] {
    std::array<uint32_t, 256> entries{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value & 1 ? 0xEDB88320U ^ (value >> 1) : value >> 1;
      entries[i] = value;
    }
    return entries;
  }();
  uint32_t value = 0xFFFFFFFFU;
  for (const uint8_t byte : bytes) value = table[(value ^ byte) & 0xFF] ^ (value >> 8);
  return ~value;
}

// Compressed bytes that a picture of this header can need: deflate adds next to nothing to what it cannot shrink. More
// of them would be there to fill the memory (they unpack to a thousand times their size).
size_t most_compressed_bytes(std::span<const uint8_t> header) {
  const size_t width = std::min<size_t>(big_endian(header, 0), max_image_side);
  const size_t height = std::min<size_t>(big_endian(header, 4), max_image_side);
  constexpr size_t deepest_pixel = 8, row_overhead = 32, slack = 65536;
  return height * (width * deepest_pixel + row_overhead) / 100 * 101 + slack;
}

// Walks the chunks from the signature to IEND; returns the orientation that an eXIf chunk asks for.
int check_png_chunks(std::span<const uint8_t> bytes, std::string_view name) {
  constexpr size_t signature = 8, frame = 12;  // frame: length, type, checksum
  int orientation = 1;
  size_t compressed = 0, most_compressed = 0;
  for (size_t at = signature;;) {
    require(at + frame <= bytes.size(), "[image] {}: truncated PNG file; got {} bytes, no end chunk", name,
            bytes.size());
    const size_t length = big_endian(bytes, at);
    const std::string_view type(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    require(length <= bytes.size() - at - frame, "[image] {}: truncated PNG file; chunk at byte {} announces {} bytes",
            name, at, length);
    const auto body = bytes.subspan(at + 8, length);
    require(checksum(bytes.subspan(at + 4, length + 4)) == big_endian(bytes, at + 8 + length),
            "[image] {}: damaged PNG file; wrong checksum of the chunk at byte {}", name, at);
    if (at == signature) {
      require(type == "IHDR" && length == 13, "[image] {}: not a readable PNG file: no header", name);
      most_compressed = most_compressed_bytes(body);
    }
    if (type == "IEND") return orientation;
    if (type == "eXIf") orientation = exif_orientation(body);
    if (type == "IDAT") compressed += length;
    require(compressed <= most_compressed, "[image] {}: {} compressed bytes; expected at most {} for its size", name,
            compressed, most_compressed);
    at += frame + length;
  }
}

Image decode_with_stb(std::span<const uint8_t> bytes, std::string_view name) {
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  if (stbi_info_from_memory(bytes.data(), size, &width, &height, &channels)) {
    require(int64_t{width} * height <= max_image_area, "[image] {}: {} x {} pixels; expected at most {} pixels", name,
            width, height, max_image_area);
  }
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes.data(), size, &width, &height, &channels, 3), std::free);
  if (!pixels && std::string_view(stbi_failure_reason()) == "outofmem")
    throw std::bad_alloc();  // no fault of the file's
  require(pixels != nullptr, "[image] {}: not a readable picture: {}", name, stbi_failure_reason());
  Image image(height, width);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.begin());
  return image;
}

}  // namespace

Image decode_png(std::span<const uint8_t> bytes, std::string_view name) {
  const int orientation = check_png_chunks(bytes, name);
  Image image = decode_with_stb(bytes, name);
  return orientation == 1 ? image : orient(image, orientation);
}

Image decode_bmp(std::span<const uint8_t> bytes, std::string_view name) {
  require(bytes.size() >= 30, "[image] {}: truncated BMP file; got {} bytes", name, bytes.size());
  const bool core = little_endian(bytes, 14, 4) == 12;  // OS/2 header: 16-bit sizes
  const int64_t data = little_endian(bytes, 10, 4);
  const int64_t width = little_endian(bytes, 18, core ? 2 : 4);
  const int64_t height = std::abs(little_endian(bytes, core ? 20 : 22, core ? 2 : 4));
  const int64_t bits = little_endian(bytes, core ? 24 : 28, 2);
  require(width > 0 && height > 0 && bits > 0 && bits <= 32 && data > 0,
          "[image] {}: not a readable BMP file; got {} x {} x {} bits", name, width, height, bits);
  require(width <= max_image_side && height <= max_image_side,
          "[image] {}: {} x {} pixels; expected sides of at most {}", name, width, height, max_image_side);
  const int64_t row = (width * bits + 31) / 32 * 4;
  const int64_t needed = data + row * (height - 1) + (width * bits + 7) / 8;
  require(needed <= static_cast<int64_t>(bytes.size()), "[image] {}: truncated BMP file; got {} bytes; expected {}",
          name, bytes.size(), needed);
  return decode_with_stb(bytes, name);
}

}  // namespace hp

// Helpers of the data tests: golden pixels, small files made on the spot, a folder that cleans up after itself.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "tests/places.h"
#include "tools/data/image.h"

namespace hp::test {

inline const std::filesystem::path golden_images = hp::test::source_folder() / "tests/golden/images";
inline const std::filesystem::path shared_data = hp::test::shared_folder() / "data";

inline std::vector<uint8_t> read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path.string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write_bytes(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(file.good());
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  write_bytes(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

// Binary PPM, as the golden files are written.
inline Image read_ppm(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int width = 0, height = 0, maximum = 0;
  file >> magic >> width >> height >> maximum;
  REQUIRE_MESSAGE((file.good() && magic == "P6" && maximum == 255), path.string());
  file.get();
  Image image(height, width);
  file.read(reinterpret_cast<char*>(image.pixels.data()), static_cast<std::streamsize>(image.pixels.size()));
  REQUIRE(file.gcount() == static_cast<std::streamsize>(image.pixels.size()));
  return image;
}

// Uncompressed 24-bit BMP: the simplest file with exact pixels.
inline std::vector<uint8_t> bmp_bytes(const Image& image) {
  const size_t row = (static_cast<size_t>(image.width) * 3 + 3) / 4 * 4;
  std::vector<uint8_t> bytes(54 + row * static_cast<size_t>(image.height));
  const auto put = [&](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
  };
  bytes[0] = 'B', bytes[1] = 'M';
  put(2, static_cast<uint32_t>(bytes.size()));
  put(10, 54), put(14, 40);
  put(18, static_cast<uint32_t>(image.width)), put(22, static_cast<uint32_t>(image.height));
  bytes[26] = 1, bytes[28] = 24;
  for (int y = 0; y < image.height; ++y) {
    uint8_t* out = &bytes[54 + row * static_cast<size_t>(image.height - 1 - y)];
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) out[3 * x + c] = image.row(y)[3 * x + 2 - c];
    }
  }
  return bytes;
}

inline Image plain_image(int height, int width, uint8_t value) {
  Image image(height, width);
  std::fill(image.pixels.begin(), image.pixels.end(), value);
  return image;
}

// The largest difference of two images' bytes; 256 where the sizes differ.
inline int distance(const Image& a, const Image& b) {
  if (a.height != b.height || a.width != b.width) return 256;
  int largest = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return largest;
}

// The text of the hp::Error that `action` throws; empty if it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "hp_data_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace hp::test

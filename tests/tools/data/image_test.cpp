// Decoding: Pillow's pixels from every golden file, and hp::Error, never a crash, from damaged ones.
#include "tools/data/image.h"

#include <nlohmann/json.hpp>

#include "fixtures.h"

using namespace hp;
using namespace hp::test;

TEST_CASE("every golden image decodes to Pillow's pixels") {
  const auto index = nlohmann::json::parse(std::ifstream(golden_images / "index.json"));
  REQUIRE(index.at("decode").size() >= 30);
  for (const auto& entry : index.at("decode")) {
    const auto file = entry.at("file").get<std::string>();
    CAPTURE(file);
    const Image image = decode_image(golden_images / file);
    CHECK(image.height == entry.at("height"));
    CHECK(image.width == entry.at("width"));
    CHECK(distance(image, read_ppm(golden_images / entry.at("pixels").get<std::string>())) == 0);
  }
}

TEST_CASE("the content decides, not the suffix") {
  const TemporaryFolder folder;
  write_bytes(folder / "really_a_png.jpg", read_bytes(golden_images / "rgb.png"));
  CHECK(decode_image(folder / "really_a_png.jpg") == decode_image(golden_images / "rgb.png"));
}

TEST_CASE("orientations are the eight symmetries of the rectangle") {
  Image image(2, 3);
  for (size_t i = 0; i < 6; ++i) image.pixels[3 * i] = static_cast<uint8_t>('a' + i);  // abc / def
  const auto letters = [&](int orientation) {
    const Image result = orient(image, orientation);
    std::string text;
    for (int y = 0; y < result.height; ++y, text += '/') {
      for (int x = 0; x < result.width; ++x) text += static_cast<char>(result.row(y)[3 * x]);
    }
    return text;
  };
  CHECK(letters(1) == "abc/def/");
  CHECK(letters(2) == "cba/fed/");
  CHECK(letters(3) == "fed/cba/");
  CHECK(letters(4) == "def/abc/");
  CHECK(letters(5) == "ad/be/cf/");
  CHECK(letters(6) == "da/eb/fc/");
  CHECK(letters(7) == "fc/eb/da/");
  CHECK(letters(8) == "cf/be/ad/");
}

TEST_CASE("files that hold no picture are refused by name") {
  const TemporaryFolder folder;
  write_text(folder / "empty.jpg", "");
  write_text(folder / "words.jpg", "These are words, not pixels.");
  write_text(folder / "moving.gif", "GIF89a\x01\x01");
  CHECK(contains(error_of([&] { decode_image(folder / "empty.jpg"); }), "empty.jpg: the file is empty"));
  CHECK(contains(error_of([&] { decode_image(folder / "words.jpg"); }), "words.jpg: got an unknown format"));
  CHECK(contains(error_of([&] { decode_image(folder / "moving.gif"); }), "moving.gif: got a GIF file; expected JPEG"));
  CHECK(contains(error_of([&] { decode_image(folder / "absent.jpg"); }), "absent.jpg: no such file"));
  CHECK(contains(error_of([&] { decode_image(folder.path()); }), "no such file"));
}

TEST_CASE("every truncated file is refused by name") {
  for (const char* file : {"rgb_420.jpg", "rgb_420_progressive.jpg", "grey.jpg", "cmyk_adobe.jpg", "exif_6.jpg",
                           "rgb.png", "rgb_interlaced.png", "palette_4bit.png", "rgb_16bit.png", "rgb.bmp"}) {
    CAPTURE(file);
    const auto bytes = read_bytes(golden_images / file);
    // Both ends are cut byte by byte, the middle in steps. The last row's padding may be missing from a BMP.
    const size_t spare = std::string(file) == "rgb.bmp" ? 2 : 0;
    for (size_t length = 0; length + spare < bytes.size();
         length += length < 700 || length + 40 > bytes.size() ? 1 : 37) {
      CAPTURE(length);
      CHECK(contains(error_of([&] { decode_image(std::span(bytes).first(length), file); }), file));
    }
  }
}

TEST_CASE("damaged bytes give an error or some picture, never a crash") {
  for (const char* file :
       {"rgb_420.jpg", "rgb_420_progressive.jpg", "ycck_adobe.jpg", "exif_5.jpg", "palette.png", "rgb.bmp"}) {
    const auto original = read_bytes(golden_images / file);
    int refused = 0, decoded = 0;
    for (size_t at = 0; at < original.size(); at += at < 64 ? 1 : 7) {
      for (const uint8_t value : {uint8_t{0x00}, uint8_t{0xFF}, static_cast<uint8_t>(original[at] ^ 0x10)}) {
        auto bytes = original;
        bytes[at] = value;
        if (error_of([&] { decode_image(bytes, file); }).empty()) {
          ++decoded;
        } else {
          ++refused;
        }
      }
    }
    CAPTURE(file);
    CHECK(refused > 0);
    CHECK(decoded > 0);
  }
}

TEST_CASE("a flipped bit in a PNG is found by its checksum") {
  auto bytes = read_bytes(golden_images / "rgb.png");
  bytes[bytes.size() / 2] ^= 1;
  CHECK(contains(error_of([&] { decode_image(bytes, "flipped"); }), "wrong checksum"));
}

TEST_CASE("a PNG with far more compressed bytes than its size can need is refused") {
  // One pixel, and 70,000 bytes of image data: the checksum is right, so only the amount gives it away.
  const auto chunk = [](const std::string& type, const std::vector<uint8_t>& body) {
    std::vector<uint8_t> bytes;
    const auto put = [&](uint32_t value) {
      for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(value >> shift));
    };
    put(static_cast<uint32_t>(body.size()));
    bytes.insert(bytes.end(), type.begin(), type.end());
    bytes.insert(bytes.end(), body.begin(), body.end());
    uint32_t checksum = 0xFFFFFFFFU;  // CRC-32, bit by bit
    for (size_t i = 4; i < bytes.size(); ++i) {
      checksum ^= bytes[i];
      for (int bit = 0; bit < 8; ++bit) checksum = (checksum >> 1) ^ (checksum & 1 ? 0xEDB88320U : 0);
    }
    put(~checksum);
    return bytes;
  };
  std::vector<uint8_t> png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  for (const auto& part : {chunk("IHDR", {0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0}),
                           chunk("IDAT", std::vector<uint8_t>(70000)), chunk("IEND", {})}) {
    png.insert(png.end(), part.begin(), part.end());
  }
  CHECK(contains(error_of([&] { decode_image(png, "bomb"); }), "bomb: 70000 compressed bytes; expected at most"));
}

TEST_CASE("absurd sizes are refused before memory is taken") {
  auto jpeg = read_bytes(golden_images / "rgb_420.jpg");
  const std::vector<uint8_t> frame = {0xFF, 0xC0};
  const auto at = std::search(jpeg.begin(), jpeg.end(), frame.begin(), frame.end());
  REQUIRE(at != jpeg.end());
  std::fill_n(at + 5, 4, uint8_t{0xFD});  // height and width 65021
  CHECK(contains(error_of([&] { decode_image(jpeg, "huge"); }), "huge: 65021 x 65021 pixels"));

  auto bmp = read_bytes(golden_images / "rgb.bmp");
  for (const size_t size_at : {18, 22}) bmp[size_at + 2] = 0x7F;
  CHECK(contains(error_of([&] { decode_image(bmp, "huge"); }), "huge"));
  bmp[21] = bmp[25] = 0x80;  // negative
  CHECK(contains(error_of([&] { decode_image(bmp, "huge"); }), "huge"));
  CHECK_THROWS_AS(Image(65500, 65500), Error);
  CHECK_THROWS_AS(Image(0, 5), Error);
}

TEST_CASE("a JPEG that its file cannot hold is refused before memory is taken") {
  for (const auto& [name, start] : {std::pair("rgb_420.jpg", 0xC0), std::pair("rgb_420_progressive.jpg", 0xC2)}) {
    CAPTURE(name);
    auto jpeg = read_bytes(golden_images / name);
    const std::vector<uint8_t> frame = {0xFF, static_cast<uint8_t>(start)};
    const auto at = std::search(jpeg.begin(), jpeg.end(), frame.begin(), frame.end());
    REQUIRE(at != jpeg.end());
    for (const int high_byte : {5, 7}) at[high_byte] = 0x30;  // height and width above 12288
    CHECK(contains(error_of([&] { decode_image(jpeg, "large"); }), "large: truncated JPEG file; got "));
  }
}

TEST_CASE("to_float divides by 255 and insists on one size") {
  Image image = plain_image(2, 3, 51);
  image.pixels[0] = 255;
  image.pixels[1] = 0;
  const Image images[] = {image, plain_image(2, 3, 128)};
  const Tensor tensor = to_float(images);
  CHECK(tensor.shape() == Shape{2, 2, 3, 3});
  CHECK(tensor.floats()[0] == 1.0F);
  CHECK(tensor.floats()[1] == 0.0F);
  CHECK(tensor.floats()[2] == 51.0F / 255.0F);
  CHECK(tensor.floats()[18] == 128.0F / 255.0F);
  const Image unequal[] = {image, plain_image(3, 2, 0)};
  CHECK(contains(error_of([&] { to_float(unequal); }), "3 x 2 and 2 x 3"));
}

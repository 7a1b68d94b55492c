// Pictures, PNG and .npy files: what is written can be read back, what is wrong is refused.
#include <doctest/doctest.h>
#include <stb_image.h>

#include <cmath>
#include <limits>

#include "attribution/image.h"
#include "runtime/error.h"
#include "runtime/npy.h"
#include "tests/files.h"

namespace hp {
namespace {

TEST_CASE("npy files of every rank come back") {
  const test::TemporaryFolder folder;
  const std::vector<Shape> shapes = {Shape{}, {5}, {2, 3}, {2, 0, 4}, {1, 2, 3, 4, 1, 1, 2, 1}};
  for (const Shape& shape : shapes) {
    Tensor tensor = Tensor::host(shape);
    for (int64_t i = 0; i < tensor.count(); ++i) tensor.floats()[i] = 0.25f * static_cast<float>(i) - 1;
    write_npy(folder / "a.npy", tensor);
    const Tensor back = read_npy(folder / "a.npy");
    CHECK(back.shape() == shape);
    for (int64_t i = 0; i < tensor.count(); ++i) CHECK(back.floats()[i] == tensor.floats()[i]);
  }
}

TEST_CASE("an npy file has the bytes that NumPy writes") {
  const test::TemporaryFolder folder;
  const std::vector<float> one = {1.0f};
  write_npy(folder / "a.npy", Tensor::host({1}, one));
  const std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
  std::string want("\x93NUMPY\x01\x00\x76\x00", 10);
  want += dictionary + std::string(118 - 1 - dictionary.size(), ' ') + '\n' + std::string("\x00\x00\x80\x3f", 4);
  CHECK(test::read_file(folder / "a.npy") == want);
}

TEST_CASE("damaged npy files are refused") {
  const test::TemporaryFolder folder;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  write_npy(folder / "a.npy", Tensor::host({2, 3}, values));
  const std::string good = test::read_file(folder / "a.npy");
  for (size_t size = 0; size < good.size(); ++size) {
    test::write_file(folder / "b.npy", good.substr(0, size));
    CHECK_THROWS_AS(read_npy(folder / "b.npy"), Error);
  }
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    bad.replace(bad.find(from), from.size(), to);
    test::write_file(folder / "b.npy", bad);
    CHECK_THROWS_AS(read_npy(folder / "b.npy"), Error);
  };
  refused("<f4", "<f8");
  refused("<f4", "|O8");
  refused("False", "Maybe");
  refused("(2, 3)", "(2, 4)");
  refused("(2, 3)", "(-2,3)");
  refused("(2, 3)", "(2, x)");
  refused("(2, 3), }           ", "(4611686018427387904");
  refused("shape", "shane");
  CHECK_THROWS_AS(read_npy(folder / "missing.npy"), Error);
  CHECK_THROWS_AS(write_npy(folder / "no/such/folder.npy", Tensor::host({1}, std::vector<float>{1})), Error);
}

TEST_CASE("heat colours are blue, white and red around 0") {
  const std::vector<float> map = {-2, -1, 0, 1, 2, std::numeric_limits<float>::quiet_NaN()};
  const Picture picture = heat_picture(map, 2, 3);
  CHECK(picture.rgb == std::vector<uint8_t>{0, 0, 255, 128, 128, 255, 255, 255, 255,    // -2 -1 0
                                            255, 128, 128, 255, 0, 0, 128, 128, 128});  // 1 2 NaN
  // With an outlier, a percentile gives the others their colour back.
  const std::vector<float> outlier = {1, -1, 1, -1, 1000, 1, -1, 1, -1, 1};
  CHECK(heat_picture(outlier, 2, 5).rgb[1] == 255);
  CHECK(heat_picture(outlier, 2, 5, {90}).rgb[1] == 0);
  const std::vector<float> zero(4, 0.0f);
  CHECK(heat_picture(zero, 2, 2).rgb == std::vector<uint8_t>(12, 255));
  CHECK_THROWS_AS(heat_picture(map, 2, 2), Error);
}

TEST_CASE("pictures are enlarged and joined pixel by pixel") {
  const Picture small = picture_of(std::vector<float>{0, 0.5f, 1, 2, -1, 0.2f}, 1, 2);
  CHECK(small.rgb == std::vector<uint8_t>{0, 128, 255, 255, 0, 51});
  const Picture large = enlarged(small, 2);
  CHECK((large.width == 4 && large.height == 2));
  CHECK(std::vector<uint8_t>(large.rgb.begin() + 12, large.rgb.begin() + 24) ==
        std::vector<uint8_t>{0, 128, 255, 0, 128, 255, 255, 0, 51, 255, 0, 51});
  const Picture both = montage(std::vector<Picture>{small, large}, 1);
  CHECK((both.width == 7 && both.height == 2));
  CHECK(std::vector<uint8_t>(both.rgb.begin(), both.rgb.begin() + 12) ==
        std::vector<uint8_t>{0, 128, 255, 255, 0, 51, 255, 255, 255, 0, 128, 255});
  CHECK(both.rgb[21] == 255);  // white below the smaller picture
}

TEST_CASE("PNG files come back pixel by pixel") {
  const test::TemporaryFolder folder;
  Picture picture{37, 11, {}};
  for (int i = 0; i < 37 * 11 * 3; ++i) picture.rgb.push_back(static_cast<uint8_t>(i * i % 251));
  write_png(folder / "a.png", picture);
  int width = 0, height = 0, channels = 0;
  uint8_t* pixels = stbi_load((folder / "a.png").c_str(), &width, &height, &channels, 0);
  REQUIRE(pixels != nullptr);
  CHECK((width == 37 && height == 11 && channels == 3));
  CHECK(std::equal(picture.rgb.begin(), picture.rgb.end(), pixels));
  stbi_image_free(pixels);
  CHECK_THROWS_AS(write_png(folder / "no/such/folder.png", picture), Error);
  CHECK_THROWS_AS(encode_png({3, 3, {}}), Error);
}

}  // namespace
}  // namespace hp

// Resizing equals Pillow's bit for bit; the geometry moves boxes with the pixels.
#include "tools/data/resize.h"

#include <map>
#include <nlohmann/json.hpp>

#include "fixtures.h"
#include "tests/golden/formula.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;

namespace {

Image source_of(const json& entry) {
  static const std::map<std::string, golden::Pattern> patterns = {
      {"noise", golden::Pattern::noise}, {"blocks", golden::Pattern::blocks}, {"smooth", golden::Pattern::smooth}};
  Image image(entry.at("height"), entry.at("width"));
  image.pixels = golden::pattern_bytes(patterns.at(entry.at("pattern")), entry.at("seed_name").get<std::string>(),
                                       static_cast<size_t>(image.height), static_cast<size_t>(image.width));
  return image;
}

Interpolation filter_of(const json& entry) {
  return entry.at("filter") == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
}

json golden_index() { return json::parse(std::ifstream(golden_images / "index.json")); }

Image expected_of(const json& entry) { return read_ppm(golden_images / entry.at("pixels").get<std::string>()); }

}  // namespace

TEST_CASE("resize equals Pillow's on every golden case") {
  const json cases = golden_index().at("resize");
  REQUIRE(cases.size() >= 20);
  for (const json& entry : cases) {
    CAPTURE(entry.dump());
    CHECK(distance(resize(source_of(entry), entry.at("out_height"), entry.at("out_width"), filter_of(entry)),
                   expected_of(entry)) == 0);
  }
}

TEST_CASE("shorter side and centre crop equal torchvision's on every golden case") {
  const json cases = golden_index().at("crop");
  REQUIRE(cases.size() >= 10);
  for (const json& entry : cases) {
    CAPTURE(entry.dump());
    const Image source = source_of(entry);
    const Geometry geometry = Geometry::identity(source.height, source.width)
                                  .shorter_side_to(entry.at("short_side"))
                                  .centre_crop(entry.at("crop"));
    CHECK(geometry.resized_height == entry.at("out_height"));
    CHECK(geometry.resized_width == entry.at("out_width"));
    CHECK(geometry.top == entry.at("top"));
    CHECK(geometry.left == entry.at("left"));
    CHECK(distance(apply(geometry, source, filter_of(entry)), expected_of(entry)) == 0);
  }
}

TEST_CASE("a crop larger than the image pads with black, as torchvision does") {
  const Geometry geometry = Geometry::identity(4, 9).centre_crop(7);
  CHECK(geometry.top == -1);  // 3 rows to add: 1 above, 2 below
  CHECK(geometry.left == 1);
  const Image result = apply(geometry, plain_image(4, 9, 200), Interpolation::bilinear);
  REQUIRE(result.height == 7);
  for (int y = 0; y < 7; ++y) {
    for (int i = 0; i < 21; ++i) CHECK(int{result.row(y)[i]} == (y >= 1 && y < 5 ? 200 : 0));
  }
  CHECK(crop(plain_image(2, 2, 9), 5, 5, 2, 3) == plain_image(2, 3, 0));
  CHECK(crop(plain_image(2, 2, 9), -5, -7, 2, 3) == plain_image(2, 3, 0));
}

TEST_CASE("crop offsets round half to even") {
  for (const auto& [side, offset] :
       std::map<int, int>{{10, 0}, {11, 0}, {12, 1}, {13, 2}, {14, 2}, {15, 2}, {17, 4}, {19, 4}, {21, 6}}) {
    CHECK(Geometry::identity(side, side).centre_crop(10).top == offset);
  }
}

TEST_CASE("coordinates follow a marked pixel through resize and crop") {
  Image source(60, 90);  // a white block at rows [20, 40), columns [30, 48)
  for (int y = 20; y < 40; ++y) std::fill_n(source.row(y) + 30 * 3, 18 * 3, uint8_t{255});
  const Geometry geometry = Geometry::identity(60, 90).shorter_side_to(120).centre_crop(100);
  CHECK(geometry.x(30) == 20);  // 180 wide, 40 cut off at the left
  CHECK(geometry.x(48) == 56);
  CHECK(geometry.y(20) == 30);
  CHECK(geometry.y(40) == 70);
  const Image result = apply(geometry, source, Interpolation::bilinear);
  CHECK(int{result.row(50)[21 * 3]} > 128);
  CHECK(int{result.row(50)[18 * 3]} < 128);
  CHECK(int{result.row(31)[40 * 3]} > 128);
  CHECK(int{result.row(28)[40 * 3]} < 128);
}

TEST_CASE("sides that would explode are refused") {
  CHECK(contains(error_of([] { Geometry::identity(1, 65500).shorter_side_to(256); }), "makes the longer one 16768000"));
  CHECK_THROWS_AS(resize(plain_image(3, 3, 0), 0, 4, Interpolation::bilinear), Error);
  CHECK_THROWS_AS(apply(Geometry::identity(3, 4), plain_image(4, 3, 0), Interpolation::bilinear), Error);
}

// Boxes and masks follow the pixels through every mode.
#include "tools/data/preprocess.h"

#include "fixtures.h"
#include "tools/data/box.h"

using namespace hp;
using namespace hp::test;

namespace {

// A white rectangle on black, with its box and its mask.
Sample marked(int height, int width, const Box& box) {
  Sample sample;
  sample.image = Image(height, width);
  Mask mask{.category = box.category, .height = height, .width = width};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto fx = static_cast<float>(x), fy = static_cast<float>(y);
      const bool inside = fx >= box.x0 && fx < box.x1 && fy >= box.y0 && fy < box.y1;
      std::fill_n(sample.image.row(y) + 3 * x, 3, inside ? uint8_t{255} : uint8_t{0});
      mask.covered.push_back(inside);
    }
  }
  sample.labels = {box.category};
  sample.boxes = {box};
  sample.masks = {mask};
  return sample;
}

}  // namespace

TEST_CASE("squash scales both axes on their own") {
  const Preprocess squash{.resize = ResizeMode::squash, .size = 40};
  const Sample result =
      apply(squash, marked(80, 20, {.category = 3, .x0 = 5, .y0 = 20, .x1 = 15, .y1 = 60, .difficult = true}));
  CHECK(result.image.height == 40);
  CHECK(result.image.width == 40);
  CHECK(result.boxes == std::vector<Box>{{.category = 3, .x0 = 10, .y0 = 10, .x1 = 30, .y1 = 30, .difficult = true}});
  CHECK(squash.output_side() == 40);
  CHECK(result.geometry.source_height == 80);
}

TEST_CASE("box, mask and pixels agree after shorter side and crop") {
  for (const auto& [height, width] : {std::pair{64, 96}, std::pair{96, 64}, std::pair{50, 50}}) {
    const Preprocess preprocess{.resize = ResizeMode::shorter, .size = 100, .crop = 88};
    const Sample result =
        apply(preprocess, marked(height, width, {.category = 1, .x0 = 20, .y0 = 15, .x1 = 40, .y1 = 45}));
    REQUIRE(result.boxes.size() == 1);
    REQUIRE(result.masks.size() == 1);
    const Box& box = result.boxes[0];
    int disagreements = 0;
    for (int y = 0; y < 88; ++y) {
      for (int x = 0; x < 88; ++x) {
        const float cx = static_cast<float>(x) + 0.5F, cy = static_cast<float>(y) + 0.5F;
        const bool in_box = cx >= box.x0 && cx < box.x1 && cy >= box.y0 && cy < box.y1;
        const bool in_mask = result.masks[0].covered[static_cast<size_t>(y * 88 + x)] != 0;
        const bool in_image = result.image.row(y)[3 * x] > 128;  // 128: an edge through the centre
        const bool near_corner =
            std::min(std::abs(cx - box.x0), std::abs(cx - box.x1)) < 1 &&
            std::min(std::abs(cy - box.y0), std::abs(cy - box.y1)) < 1;  // two ramps multiply there
        disagreements += in_box != in_mask || (in_box != in_image && !near_corner);
      }
    }
    CHECK(disagreements == 0);
  }
}

TEST_CASE("boxes are cut by the crop, dropped outside it, and labels stay") {
  const Preprocess crop{.crop = 10};
  Sample sample = marked(30, 30, {.category = 0, .x0 = 5, .y0 = 5, .x1 = 15, .y1 = 15});
  sample.boxes.push_back({.category = 0, .x0 = 0, .y0 = 0, .x1 = 9, .y1 = 9});
  const Sample result = apply(crop, sample);
  CHECK(result.boxes == std::vector<Box>{{.category = 0, .x0 = 0, .y0 = 0, .x1 = 5, .y1 = 5}});
  CHECK(result.labels == std::vector<int>{0});
}

TEST_CASE("a padded crop shifts boxes and masks") {
  const Sample result = apply({.crop = 12}, marked(8, 8, {.category = 0, .x0 = 0, .y0 = 0, .x1 = 3, .y1 = 2}));
  CHECK(result.boxes == std::vector<Box>{{.category = 0, .x0 = 2, .y0 = 2, .x1 = 5, .y1 = 4}});
  CHECK(std::count(result.masks[0].covered.begin(), result.masks[0].covered.end(), 1) == 6);
  CHECK(result.masks[0].covered[2 * 12 + 2] == 1);
}

TEST_CASE("clipping says what it did") {
  Box inside{.x0 = 1, .y0 = 1, .x1 = 4, .y1 = 4}, over{.x0 = -2, .y0 = 1, .x1 = 9, .y1 = 4};
  Box outside{.x0 = 6, .y0 = 1, .x1 = 9, .y1 = 4}, inverted{.x0 = 4, .y0 = 1, .x1 = 2, .y1 = 4};
  CHECK(clip(inside, 5, 5) == Clipped::no);
  CHECK(clip(over, 5, 5) == Clipped::partly);
  CHECK(over == Box{.x0 = 0, .y0 = 1, .x1 = 5, .y1 = 4});
  CHECK(clip(outside, 5, 5) == Clipped::away);
  CHECK(clip(inverted, 5, 5) == Clipped::away);
}

TEST_CASE("contradicting sizes are refused, and the text names every choice") {
  CHECK_NOTHROW(Preprocess{}.check());
  CHECK_NOTHROW((Preprocess{.resize = ResizeMode::shorter, .size = 256, .crop = 224}).check());
  CHECK_THROWS_AS((Preprocess{.resize = ResizeMode::shorter}).check(), Error);
  CHECK_THROWS_AS((Preprocess{.size = 20}).check(), Error);
  CHECK_THROWS_AS((Preprocess{.resize = ResizeMode::squash, .size = 20, .crop = 21}).check(), Error);
  CHECK_THROWS_AS((Preprocess{.crop = -1}).check(), Error);
  CHECK(Preprocess{}.str() == "as it is");
  CHECK((Preprocess{.resize = ResizeMode::shorter, .size = 256, .crop = 224}).str() ==
        "shorter 256 bilinear, crop 224");
  CHECK((Preprocess{.resize = ResizeMode::squash, .size = 8, .interpolation = Interpolation::bicubic}).str() ==
        "squash 8 bicubic");
}

// Augmentation against its definitions: distributions, the pictures themselves, boxes and masks, the loader's stage.
#include "tools/data/augmentation.h"

#include <array>
#include <cmath>
#include <random>

#include "fixtures.h"
#include "tools/data/loader.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr int draws = 20000;

// The largest distance between the distribution of `values` and one given by its cumulative function.
template <class Cumulative>
double kolmogorov(std::vector<double> values, Cumulative&& cumulative) {
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  double largest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double expected = cumulative(values[i]);
    largest = std::max({largest, std::abs(expected - static_cast<double>(i) / count),
                        std::abs(expected - static_cast<double>(i + 1) / count)});
  }
  return largest;
}

// The distance that one sample in a thousand exceeds (Kolmogorov's distribution).
double critical(int count) { return 1.95 / std::sqrt(static_cast<double>(count)); }

// Sum of (count - expected)^2 / expected over equally likely values.
double chi_square(std::span<const int> counts, int total) {
  const double expected = static_cast<double>(total) / static_cast<double>(counts.size());
  double sum = 0;
  for (const int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

AugmentationKey key(int64_t image) { return {.seed = 11, .epoch = 3, .image = image}; }

// RandomResizedCrop by its definition (protocol.md 3.5) with another generator; nothing: the centre is taken.
struct Reference {
  std::mt19937_64 random{5};
  bool part(double low, double high, int height, int width, double& w, double& h) {
    for (int i = 0; i < 10; ++i) {
      const double area = height * width * std::uniform_real_distribution(low, high)(random);
      const double aspect = std::exp(std::uniform_real_distribution(std::log(0.75), std::log(4.0 / 3.0))(random));
      w = std::round(std::sqrt(area * aspect));
      h = std::round(std::sqrt(area / aspect));
      if (w > 0 && w <= width && h > 0 && h <= height) return true;
    }
    return false;
  }
};

// A picture whose pixels tell where they come from: (y, x, 7).
Image coordinates(int height, int width) {
  Image image(height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* pixel = image.row(y) + 3 * x;
      pixel[0] = static_cast<uint8_t>(y), pixel[1] = static_cast<uint8_t>(x), pixel[2] = 7;
    }
  }
  return image;
}

// A white rectangle on black with its box and mask.
Sample marked(int height, int width, const Box& box) {
  Sample sample;
  sample.image = Image(height, width);
  Mask mask{.category = box.category, .height = height, .width = width};
  mask.covered.resize(static_cast<size_t>(height) * static_cast<size_t>(width));
  for (int y = static_cast<int>(box.y0); y < static_cast<int>(box.y1); ++y) {
    for (int x = static_cast<int>(box.x0); x < static_cast<int>(box.x1); ++x) {
      std::fill_n(sample.image.row(y) + 3 * x, 3, uint8_t{255});
      mask.covered[static_cast<size_t>(y * width + x)] = 1;
    }
  }
  sample.labels = {box.category};
  sample.boxes = {box};
  sample.masks = {mask};
  return sample;
}

}  // namespace

TEST_CASE("resized crop: area, aspect and offsets are uniform where every try is accepted") {
  // Parts of at most half a large square always fit, so that nothing is refused and rounding is small.
  const Augmentation augmentation{.crop = RandomCrop::resized, .size = 64, .min_area = 0.08, .max_area = 0.5};
  constexpr int side = 2000;
  std::vector<double> areas, aspects, tops, lefts;
  for (int i = 0; i < draws; ++i) {
    const View view = random_view(augmentation, side, side, key(i));
    areas.push_back(static_cast<double>(view.height) * view.width / (double{side} * side));
    aspects.push_back(std::log(static_cast<double>(view.width) / view.height));
    tops.push_back((view.top + 0.5) / (side - view.height + 1));
    lefts.push_back((view.left + 0.5) / (side - view.width + 1));
    REQUIRE((view.top >= 0 && view.left >= 0 && view.top + view.height <= side && view.left + view.width <= side));
    REQUIRE((view.result_height == 64 && view.result_width == 64));
  }
  const double bound = std::log(4.0 / 3.0);
  CHECK(kolmogorov(areas, [](double a) { return std::clamp((a - 0.08) / 0.42, 0.0, 1.0); }) < critical(draws));
  CHECK(kolmogorov(aspects, [&](double a) { return std::clamp((a + bound) / (2 * bound), 0.0, 1.0); }) <
        critical(draws));
  CHECK(kolmogorov(tops, [](double a) { return a; }) < critical(draws));
  CHECK(kolmogorov(lefts, [](double a) { return a; }) < critical(draws));
}

TEST_CASE("resized crop: refused tries and the centre are those of the definition") {
  // Two samples are compared here, so the critical distance is that of half the draws.
  for (const auto& [height, width, low, high] :
       {std::tuple{500, 500, 0.08, 1.0}, std::tuple{333, 500, 0.08, 1.0}, std::tuple{500, 600, 0.9, 1.0}}) {
    CAPTURE(height);
    CAPTURE(low);
    const Augmentation augmentation{.crop = RandomCrop::resized, .size = 64, .min_area = low, .max_area = high};
    Reference reference;
    std::vector<double> areas, aspects, wanted_areas, wanted_aspects;
    for (int i = 0; i < draws; ++i) {
      const View view = random_view(augmentation, height, width, key(i));
      areas.push_back(static_cast<double>(view.height) * view.width);
      aspects.push_back(static_cast<double>(view.width) / view.height);
      double w = width, h = height;
      if (!reference.part(low, high, height, width, w, h)) w = width, h = height;
      if (width * 3 > height * 4 && h == height && w == width) w = std::round(height * 4.0 / 3.0);  // the centre
      wanted_areas.push_back(w * h);
      wanted_aspects.push_back(w / h);
    }
    const auto compare = [](const std::vector<double>& got, std::vector<double> wanted) {
      std::sort(wanted.begin(), wanted.end());
      double largest = 0;  // of the two empirical distributions, at the values themselves
      std::vector<double> sorted = got;
      std::sort(sorted.begin(), sorted.end());
      for (const double at : wanted) {
        const auto below = [&](const std::vector<double>& list) {
          return static_cast<double>(std::upper_bound(list.begin(), list.end(), at) - list.begin());
        };
        largest = std::max(largest, std::abs(below(sorted) - below(wanted)) / draws);
      }
      return largest;
    };
    CHECK(compare(areas, wanted_areas) < critical(draws / 2));
    CHECK(compare(aspects, wanted_aspects) < critical(draws / 2));
  }
}

TEST_CASE("resized crop: the centre of pictures in which no part fits") {
  const Augmentation whole{.crop = RandomCrop::resized, .size = 32, .min_area = 1, .max_area = 1};
  const View wide = random_view(whole, 30, 300, key(0));  // aspect 10 becomes 4/3
  CHECK((wide.height == 30 && wide.width == 40 && wide.top == 0 && wide.left == 130));
  const View tall = random_view(whole, 300, 30, key(0));
  CHECK((tall.height == 40 && tall.width == 30 && tall.top == 130 && tall.left == 0));
  const View pixel = random_view(whole, 1, 1, key(0));
  CHECK((pixel.height == 1 && pixel.width == 1));
}

TEST_CASE("flips come at their rate, anew each epoch") {
  for (const double rate : {0.5, 0.1}) {
    const Augmentation augmentation{.flip = rate};
    int flipped = 0, same = 0;
    for (int i = 0; i < draws; ++i) {
      const bool first = random_view(augmentation, 8, 8, {.seed = 1, .epoch = 0, .image = i}).flipped;
      const bool second = random_view(augmentation, 8, 8, {.seed = 1, .epoch = 1, .image = i}).flipped;
      flipped += first;
      same += first == second;
    }
    const auto near = [](int count, double share) {  // within four standard deviations
      return std::abs(count - draws * share) < 4 * std::sqrt(draws * share * (1 - share));
    };
    CHECK(near(flipped, rate));
    CHECK(near(same, rate * rate + (1 - rate) * (1 - rate)));
  }
  CHECK(random_view({.flip = 1}, 8, 8, key(0)).flipped);
  CHECK(!random_view({}, 8, 8, key(0)).flipped);
}

TEST_CASE("padded crop: all 81 offsets are equally likely, and outside is black") {
  const Augmentation augmentation{.crop = RandomCrop::padded, .size = 32, .padding = 4};
  std::array<int, 81> counts{};
  for (int i = 0; i < draws; ++i) {
    const View view = random_view(augmentation, 32, 32, key(i));
    REQUIRE((view.top >= -4 && view.top <= 4 && view.left >= -4 && view.left <= 4));
    REQUIRE((view.height == 32 && view.width == 32 && view.result_height == 32 && view.result_width == 32));
    ++counts[static_cast<size_t>((view.top + 4) * 9 + view.left + 4)];
  }
  CHECK(chi_square(counts, draws) < 124.8);  // 80 degrees of freedom, one in a thousand exceeds it

  Sample sample;
  sample.image = coordinates(32, 32);
  for (int i = 0; i < 50; ++i) {
    const View view = random_view(augmentation, 32, 32, key(i));
    const Image image = apply(view, Interpolation::bilinear, sample).image;
    int wrong = 0;
    for (int y = 0; y < 32; ++y) {
      for (int x = 0; x < 32; ++x) {
        const int from_y = y + view.top, from_x = x + view.left;
        const bool inside = from_y >= 0 && from_y < 32 && from_x >= 0 && from_x < 32;
        const uint8_t* pixel = image.row(y) + 3 * x;
        wrong += pixel[0] != (inside ? from_y : 0) || pixel[1] != (inside ? from_x : 0) || pixel[2] != (inside ? 7 : 0);
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a resized crop is the part, resized on its own, then mirrored") {
  const Image image = coordinates(60, 80);
  Sample sample;
  sample.image = image;
  const View view{.top = 10, .left = 20, .height = 30, .width = 40, .result_height = 16, .result_width = 24};
  View mirrored = view;
  mirrored.flipped = true;
  const Image got = apply(view, Interpolation::bilinear, sample).image;
  CHECK(got == resize(crop(image, 10, 20, 30, 40), 16, 24, Interpolation::bilinear));
  const Image flipped = apply(mirrored, Interpolation::bilinear, sample).image;
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 24; ++x) {
      for (int c = 0; c < 3; ++c) REQUIRE(flipped.row(y)[3 * x + c] == got.row(y)[3 * (23 - x) + c]);
    }
  }
}

TEST_CASE("boxes and masks follow a padded crop exactly, over its border and mirrored") {
  const Augmentation augmentation{.crop = RandomCrop::padded, .size = 24, .padding = 8, .flip = 0.5};
  const Box box{.category = 1, .x0 = 1, .y0 = 12, .x1 = 7, .y1 = 20};
  int seen = 0, cut = 0, gone = 0, flipped = 0;
  for (int i = 0; i < 400; ++i) {
    CAPTURE(i);
    const View view = random_view(augmentation, 24, 24, key(i));
    const Sample result = apply(view, Interpolation::bilinear, marked(24, 24, box));
    int white = 0, left = 24, top = 24, right = 0, bottom = 0;
    for (int y = 0; y < 24; ++y) {
      for (int x = 0; x < 24; ++x) {
        const bool lit = result.image.row(y)[3 * x] == 255;
        REQUIRE((result.masks[0].covered[static_cast<size_t>(y * 24 + x)] != 0) == lit);
        if (!lit) continue;
        ++white;
        left = std::min(left, x), top = std::min(top, y), right = std::max(right, x + 1),
        bottom = std::max(bottom, y + 1);
      }
    }
    if (white == 0) {
      CHECK(result.boxes.empty());
      ++gone;
      continue;
    }
    REQUIRE(result.boxes.size() == 1);
    const Box& now = result.boxes[0];
    CHECK((now.x0 == left && now.y0 == top && now.x1 == right && now.y1 == bottom));
    ++seen;
    cut += white < 6 * 8;
    flipped += view.flipped;
  }
  CHECK(seen > 300);
  CHECK(cut > 30);
  CHECK(gone > 0);
  CHECK(flipped > 100);
}

TEST_CASE("boxes and masks follow the pixels of random views") {
  const Augmentation augmentation{.crop = RandomCrop::resized, .size = 56, .flip = 0.5};
  const Box box{.category = 2, .x0 = 20, .y0 = 30, .x1 = 62, .y1 = 71, .difficult = true};
  int seen = 0, flipped = 0, dropped = 0;
  for (int i = 0; i < 200; ++i) {
    CAPTURE(i);
    const View view = random_view(augmentation, 90, 110, key(i));
    const Sample result = apply(view, Interpolation::bilinear, marked(90, 110, box));
    REQUIRE(result.masks.size() == 1);
    CHECK(result.labels == std::vector<int>{2});
    const std::vector<uint8_t>& mask = result.masks[0].covered;
    int disagreements = 0;
    for (int y = 0; y < 56; ++y) {
      for (int x = 0; x < 56; ++x) {
        const uint8_t value = result.image.row(y)[3 * x];
        const bool covered = mask[static_cast<size_t>(y * 56 + x)] != 0;
        disagreements += (value == 255 && !covered) || (value == 0 && covered);  // between them: the soft edge
        if (result.boxes.empty()) continue;
        const Box& now = result.boxes[0];
        const auto cx = static_cast<float>(x) + 0.5F, cy = static_cast<float>(y) + 0.5F;
        const bool in_box = cx > now.x0 && cx < now.x1 && cy > now.y0 && cy < now.y1;
        disagreements += covered != in_box && value != 0 && value != 255;
        disagreements += (value == 255 && !in_box) || (value == 0 && in_box);
      }
    }
    // A mask pixel is decided by its centre, a box by its edge: they may differ where an edge meets a centre.
    CHECK(disagreements <= 56);
    if (result.boxes.empty()) {
      ++dropped;
      CHECK(std::count(mask.begin(), mask.end(), 1) == 0);
      continue;
    }
    ++seen;
    flipped += view.flipped;
    CHECK(result.boxes[0].difficult);
    CHECK(result.boxes[0].category == 2);
  }
  CHECK(seen > 100);
  CHECK(flipped > 40);
  MESSAGE("boxes seen: ", seen, ", outside the view: ", dropped);
}

TEST_CASE("the loader augments by seed, epoch and index, whatever the threads") {
  class Coloured : public Dataset {
   public:
    Coloured() : Dataset(listing()) {}

   protected:
    Image decode(int64_t) const override { return coordinates(40, 40); }

   private:
    static Listing listing() {
      Listing listing{.root = "coloured", .classes = {"one"}};
      for (int i = 0; i < 30; ++i) listing.items.push_back({.id = std::to_string(i), .labels = {0}});
      return listing;
    }
  };
  const Coloured data;
  const auto pictures = [&](std::vector<int64_t> order, int threads, uint64_t seed, uint64_t epoch) {
    LoaderOptions options{.batch = 7, .threads = threads};
    options.augmentation = {.crop = RandomCrop::resized, .size = 24, .flip = 0.5};
    options.augmentation_seed = seed;
    options.epoch = epoch;
    Loader loader(data, {}, std::move(order), options);
    std::vector<std::vector<uint8_t>> images(30);
    while (const auto batch = loader.next()) {
      for (size_t i = 0; i < batch->samples.size(); ++i)
        images[static_cast<size_t>(batch->indices[i])] = batch->samples[i].image.pixels;
    }
    return images;
  };
  std::vector<int64_t> upwards, mixed;
  for (int64_t i = 0; i < 30; ++i) upwards.push_back(i), mixed.push_back(i * 7 % 30);
  const auto first = pictures(upwards, 1, 1, 0);
  CHECK(first == pictures(mixed, 3, 1, 0));
  const auto next_epoch = pictures(upwards, 2, 1, 1), other_seed = pictures(upwards, 2, 2, 0);
  for (size_t i = 0; i < 30; ++i) {
    CHECK(first[i].size() == size_t{24} * 24 * 3);
    CHECK(first[i] != next_epoch[i]);
    CHECK(first[i] != other_seed[i]);
    for (size_t j = 0; j < i; ++j) CHECK(first[i] != first[j]);
  }
}

TEST_CASE("augmentation takes its size from the preprocessing, and comes after or in place of it") {
  Sample sample;
  sample.image = coordinates(50, 70);
  const Preprocess preprocess{.resize = ResizeMode::shorter, .size = 40, .crop = 32};
  const auto side = [&](const Augmentation& augmentation) {
    const Sample result = augmented(preprocess, augmentation, key(1), sample);
    return std::pair(result.image.height, result.image.width);
  };
  CHECK(side({.crop = RandomCrop::resized}) == std::pair(32, 32));
  CHECK(side({.crop = RandomCrop::resized, .size = 20}) == std::pair(20, 20));
  CHECK(side({.crop = RandomCrop::padded}) == std::pair(32, 32));
  CHECK(side({.crop = RandomCrop::padded, .size = 36}) == std::pair(36, 36));
  CHECK(augmented(preprocess, {}, key(1), sample).image == apply(preprocess, sample).image);
  const Sample own = augmented({}, {.crop = RandomCrop::resized}, key(1), sample);
  CHECK((own.image.height == 50 && own.image.width == 70));
  CHECK(contains(error_of([&] { augmented(preprocess, {.crop = RandomCrop::padded, .size = 41}, key(1), sample); }),
                 "41 x 41 from a picture of 32 x 32 with 4"));
}

TEST_CASE("senseless augmentation is refused, and the text names every choice") {
  CHECK_NOTHROW(Augmentation{}.check());
  const auto refused = [](const Augmentation& augmentation) {
    return !error_of([&] { augmentation.check(); }).empty();
  };
  CHECK(refused({.size = -1}));
  CHECK(refused({.min_area = 0}));
  CHECK(refused({.min_area = 0.5, .max_area = 0.4}));
  CHECK(refused({.max_area = 1.5}));
  CHECK(refused({.min_aspect = 2, .max_aspect = 1}));
  CHECK(refused({.padding = -1}));
  CHECK(refused({.flip = 1.5}));
  CHECK(refused({.flip = std::nan("")}));
  CHECK(Augmentation{}.str() == "none");
  CHECK(Augmentation{.flip = 0.5}.str() == "whole, flip 0.5");
  CHECK(Augmentation{.crop = RandomCrop::padded, .size = 32, .flip = 0.5}.str() == "crop 32, padding 4, flip 0.5");
  CHECK(Augmentation{.crop = RandomCrop::resized}.str() ==
        "resized crop to its own size, area 0.08 to 1, aspect 0.75 to 1.33333");
}

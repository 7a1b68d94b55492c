#include "tools/data/augmentation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/error.h"
#include "runtime/random.h"
#include "tools/data/box.h"
#include "tools/data/mask.h"

namespace hp {
namespace {

constexpr int tries = 10;              // of RandomResizedCrop, before it takes the centre
constexpr uint64_t numbers_each = 32;  // reserved for one picture: 2 a try, then these
constexpr uint64_t offset_numbers = 2 * tries, flip_number = 2 * tries + 2;

// One picture's numbers.
class Numbers {
 public:
  explicit Numbers(const AugmentationKey& key)
      : random_(key.seed, "augmentation", key.epoch), first_(static_cast<uint64_t>(key.image) * numbers_each) {}
  double uniform(uint64_t index) const { return random_.uniform(first_ + index); }
  // In 0..last.
  int upto(uint64_t index, int last) const {
    return static_cast<int>(random_.below(first_ + index, int64_t{last} + 1));
  }

 private:
  Random random_;
  uint64_t first_;
};

void place(View& view, int height, int width, const Numbers& numbers) {
  view.top = numbers.upto(offset_numbers, height - view.height);
  view.left = numbers.upto(offset_numbers + 1, width - view.width);
}

// Python's round: half to even.
int rounded(double value) { return static_cast<int>(std::nearbyint(value)); }

// The whole picture, or its centre where its aspect is outside the range.
void take_centre(View& view, const Augmentation& augmentation, int height, int width) {
  const double aspect = static_cast<double>(width) / height;
  view.height = height, view.width = width;
  if (aspect < augmentation.min_aspect) view.height = std::min(height, rounded(width / augmentation.min_aspect));
  if (aspect > augmentation.max_aspect) view.width = std::min(width, rounded(height * augmentation.max_aspect));
  view.top = (height - view.height) / 2;
  view.left = (width - view.width) / 2;
}

void take_resized(View& view, const Augmentation& augmentation, int height, int width, const Numbers& numbers) {
  const double area = static_cast<double>(height) * width;
  const double from = std::log(augmentation.min_aspect), to = std::log(augmentation.max_aspect);
  for (int i = 0; i < tries; ++i) {
    const uint64_t number = 2 * static_cast<uint64_t>(i);
    const double share =
        augmentation.min_area + (augmentation.max_area - augmentation.min_area) * numbers.uniform(number);
    const double aspect = std::exp(from + (to - from) * numbers.uniform(number + 1));
    const double exact_width = std::sqrt(area * share * aspect), exact_height = std::sqrt(area * share / aspect);
    if (!(exact_width < width + 1.0 && exact_height < height + 1.0)) continue;
    view.width = rounded(exact_width), view.height = rounded(exact_height);
    if (view.width < 1 || view.width > width || view.height < 1 || view.height > height) continue;
    return place(view, height, width, numbers);
  }
  take_centre(view, augmentation, height, width);
}

void take_padded(View& view, const Augmentation& augmentation, int height, int width, const Numbers& numbers) {
  const int padded_height = height + 2 * augmentation.padding, padded_width = width + 2 * augmentation.padding;
  require(view.result_height <= padded_height && view.result_width <= padded_width,
          "[augmentation] a part of {} x {} from a picture of {} x {} with {} pixels of padding; expected a smaller "
          "part or more padding",
          view.result_width, view.result_height, width, height, augmentation.padding);
  view.height = view.result_height, view.width = view.result_width;
  place(view, padded_height, padded_width, numbers);
  view.top -= augmentation.padding;
  view.left -= augmentation.padding;
}

void flip(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    uint8_t* row = image.row(y);
    for (int x = 0; x < image.width / 2; ++x)
      std::swap_ranges(row + 3 * x, row + 3 * x + 3, row + 3 * (image.width - 1 - x));
  }
}

// Source pixels of one side of the result; -1 outside the picture.
std::vector<int64_t> sources(int begin, int length, int result, int limit, bool flipped) {
  std::vector<int64_t> list;
  for (int i = 0; i < result; ++i) {
    const int64_t at = begin + nearest_source(i, length, result);
    list.push_back(at >= 0 && at < limit ? at : -1);
  }
  if (flipped) std::reverse(list.begin(), list.end());
  return list;
}

}  // namespace

void Augmentation::check() const {
  require(size >= 0 && size <= max_image_side, "[augmentation] size {}; expected 1 to {}, or 0 for the picture's own",
          size, max_image_side);
  require(0 < min_area && min_area <= max_area && max_area <= 1,
          "[augmentation] area from {} to {}; expected 0 < from <= to <= 1", min_area, max_area);
  require(0 < min_aspect && min_aspect <= max_aspect && max_aspect <= 1000 && min_aspect >= 0.001,
          "[augmentation] aspect from {} to {}; expected 0.001 <= from <= to <= 1000", min_aspect, max_aspect);
  require(padding >= 0 && padding <= max_image_side / 4, "[augmentation] padding {}; expected 0 to {}", padding,
          max_image_side / 4);
  require(flip >= 0 && flip <= 1, "[augmentation] flip {}; expected a probability", flip);
}

std::string Augmentation::str() const {
  std::string text = "none";
  const std::string side = size > 0 ? std::to_string(size) : "to its own size";
  if (crop == RandomCrop::resized) {
    text = fmt::format("resized crop {}, area {:g} to {:g}, aspect {:g} to {:g}", side, min_area, max_area, min_aspect,
                       max_aspect);
  }
  if (crop == RandomCrop::padded) text = fmt::format("crop {}, padding {}", side, padding);
  return flip > 0 ? fmt::format("{}, flip {:g}", crop == RandomCrop::none ? "whole" : text, flip) : text;
}

View random_view(const Augmentation& augmentation, int height, int width, const AugmentationKey& key) {
  const Numbers numbers(key);
  View view{.height = height, .width = width, .result_height = height, .result_width = width};
  if (augmentation.size > 0 && augmentation.crop != RandomCrop::none)
    view.result_height = view.result_width = augmentation.size;
  if (augmentation.crop == RandomCrop::resized) take_resized(view, augmentation, height, width, numbers);
  if (augmentation.crop == RandomCrop::padded) take_padded(view, augmentation, height, width, numbers);
  view.flipped = numbers.uniform(flip_number) < augmentation.flip;
  return view;
}

Sample apply(const View& view, Interpolation interpolation, Sample sample) {
  const int height = sample.image.height, width = sample.image.width;
  if (view.top != 0 || view.left != 0 || view.height != height || view.width != width)
    sample.image = crop(sample.image, view.top, view.left, view.height, view.width);
  if (view.height != view.result_height || view.width != view.result_width)
    sample.image = resize(sample.image, view.result_height, view.result_width, interpolation);
  if (view.flipped) flip(sample.image);

  const auto seen = [](float at, int begin, int length, int result) {
    return static_cast<float>((static_cast<double>(at) - begin) * result / length);
  };
  std::vector<Box> boxes;
  for (Box box : sample.boxes) {
    box.x0 = seen(box.x0, view.left, view.width, view.result_width);
    box.x1 = seen(box.x1, view.left, view.width, view.result_width);
    box.y0 = seen(box.y0, view.top, view.height, view.result_height);
    box.y1 = seen(box.y1, view.top, view.height, view.result_height);
    const auto side = static_cast<float>(view.result_width);
    if (view.flipped) box.x0 = side - std::exchange(box.x1, side - box.x0);
    if (clip(box, view.result_height, view.result_width) != Clipped::away) boxes.push_back(box);
  }
  sample.boxes = std::move(boxes);

  const std::vector<int64_t> rows = sources(view.top, view.height, view.result_height, height, false);
  const std::vector<int64_t> columns = sources(view.left, view.width, view.result_width, width, view.flipped);
  for (Mask& mask : sample.masks) {
    require(mask.height == height && mask.width == width, "[augmentation] mask of {} x {} for an image of {} x {}",
            mask.width, mask.height, width, height);
    mask = gather(mask, rows, columns);
  }
  sample.geometry = Geometry::identity(view.result_height, view.result_width);
  return sample;
}

Sample augmented(const Preprocess& preprocess, const Augmentation& augmentation, const AugmentationKey& key,
                 Sample sample) {
  if (augmentation.crop != RandomCrop::resized) sample = apply(preprocess, std::move(sample));
  if (!augmentation.active()) return sample;
  Augmentation choice = augmentation;
  if (choice.size == 0 && choice.crop == RandomCrop::resized) choice.size = preprocess.output_side();
  const View view = random_view(choice, sample.image.height, sample.image.width, key);
  return apply(view, preprocess.interpolation, std::move(sample));
}

}  // namespace hp

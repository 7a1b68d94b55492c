#include "tools/experiment/image_inputs.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

namespace {

Shape picture_shape(const Dataset& images, const ImageInputOptions& options) {
  for (int64_t i = 0; i < images.size(); ++i) {
    try {
      const AugmentationKey key{options.seed, 0, i};
      const Image image = augmented(options.preprocess, options.augmentation, key, images.load(i)).image;
      return {image.height, image.width, 3};
    } catch (const Error&) {
      continue;  // the loader counts and names unreadable ones
    }
  }
  fail("[experiment] no image can be read; got {} files; expected pictures", images.size());
}

}  // namespace

ImageInputs::ImageInputs(const Dataset& images, ImageInputOptions options)
    : images_(images), options_(std::move(options)), shape_(picture_shape(images, options_)) {}

void ImageInputs::begin_epoch(int64_t epoch, std::span<const int64_t> order, size_t first) {
  LoaderOptions loading;
  loading.batch = static_cast<int>(options_.batch);
  loading.threads = options_.workers;
  loading.augmentation = options_.augmentation;
  loading.augmentation_seed = options_.seed;
  loading.epoch = static_cast<uint64_t>(epoch);
  loading.observer = options_.observer;
  loading.on_unreadable = [this](const Unreadable& picture) {
    if (unreadable_.insert(picture.index).second && options_.on_unreadable) options_.on_unreadable(picture);
  };
  const auto rest = order.subspan(std::min(first, order.size()));
  // The limit is a share of the whole epoch, also where an interrupted run goes on near its end.
  const auto whole = static_cast<double>(order.size()), left = static_cast<double>(std::max<size_t>(rest.size(), 1));
  loading.unreadable_limit = std::min(1.0, loading.unreadable_limit * whole / left);
  waiting_.reset();
  loader_.reset();  // its workers end before new ones begin
  loader_ = std::make_unique<Loader>(images_, options_.preprocess, std::vector<int64_t>(rest.begin(), rest.end()),
                                     std::move(loading));
}

std::vector<int64_t> ImageInputs::read(std::span<const int64_t> rows, float* out) {
  if (!waiting_) waiting_ = loader_->next();
  // A batch without a readable picture is passed over by the loader: what comes then belongs to a later call.
  if (!waiting_ || std::find(rows.begin(), rows.end(), waiting_->indices.front()) == rows.end()) return {};
  const Batch batch = std::move(*waiting_);
  waiting_.reset();
  const Shape& got = batch.images.shape();
  require(got[1] == shape_[0] && got[2] == shape_[1],
          "[experiment] pictures of different sizes; got {}x{}; expected {}x{}: set data.preprocess or augment.size",
          got[2], got[1], shape_[1], shape_[0]);
  std::copy_n(batch.images.floats(), batch.images.count(), out);
  return batch.indices;
}

}  // namespace hp

#include "tools/experiment/augmented_features.h"

#include <algorithm>

#include "runtime/error.h"

namespace hp {

namespace {

Shape shape_of(const Network& network, bool pooled) {
  const Shape map = network.feature_shape();
  return pooled ? Shape{1, 1, map[2]} : map;
}

}  // namespace

AugmentedFeatures::AugmentedFeatures(const Network& network, std::unique_ptr<ImageInputs> images, bool pooled,
                                     int64_t backbone_batch, Kernels& kernels)
    : images_(std::move(images)),
      extractor_(network, kernels),
      kernels_(kernels),
      pool_(kernels),
      shape_(shape_of(network, pooled)),
      backbone_batch_(backbone_batch) {
  const Shape picture = images_->row_shape();
  require(picture[0] == network.shape.height && picture[1] == network.shape.width,
          "[experiment] /training/augment: pictures of another size than those to test on; got {}x{}; expected {}x{}: "
          "set augment.size",
          picture[1], picture[0], network.shape.width, network.shape.height);
}

void AugmentedFeatures::begin_epoch(int64_t epoch, std::span<const int64_t> order, size_t first) {
  images_->begin_epoch(epoch, order, first);
}

std::vector<int64_t> AugmentedFeatures::read(std::span<const int64_t> rows, float* out) {
  const auto wanted = static_cast<int64_t>(rows.size());
  if (pictures_.empty() || pictures_.shape()[0] < wanted) pictures_ = Tensor::host(images_->batch_shape(wanted));
  std::vector<int64_t> read = images_->read(rows, pictures_.floats());
  const auto count = static_cast<int64_t>(read.size());
  for (int64_t begin = 0; begin < count; begin += backbone_batch_) {
    const int64_t end = std::min(begin + backbone_batch_, count);
    Tensor features = extractor_.features(extractor_.uploaded(pictures_.rows(begin, end)));
    if (features.count() > (end - begin) * shape_.count()) features = mean_over_positions(kernels_, pool_, features);
    kernels_.download(features.floats(), features.bytes(), out + begin * shape_.count());
  }
  return read;
}

}  // namespace hp

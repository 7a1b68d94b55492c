// AugmentedFeatures: features of augmented pictures as the rows of a training, computed on the way: every epoch sees
// others.
#pragma once

#include <memory>

#include "runtime/arena_pool.h"
#include "tools/experiment/image_inputs.h"
#include "tools/experiment/network.h"

namespace hp {

// Row i is picture i. A batch is decoded and augmented beside the computation, goes through the backbone once for all
// probes, `backbone_batch` pictures at a time, and is averaged over its positions where every probe reads the mean.
class AugmentedFeatures final : public TrainingInputs {
 public:
  // The network, the pictures and the kernels must outlive the inputs. Throws hp::Error where augmented pictures have
  // another size than those that the probes will be tested on.
  AugmentedFeatures(const Network& network, std::unique_ptr<ImageInputs> images, bool pooled, int64_t backbone_batch,
                    Kernels& kernels);

  int64_t size() const override { return images_->size(); }
  int64_t sample(int64_t row) const override { return images_->sample(row); }
  Shape row_shape() const override { return shape_; }
  int64_t row_bytes() const override { return images_->row_bytes(); }
  void begin_epoch(int64_t epoch, std::span<const int64_t> order, size_t first) override;
  std::vector<int64_t> read(std::span<const int64_t> rows, float* out) override;

 private:
  std::unique_ptr<ImageInputs> images_;
  FeatureExtractor extractor_;
  Kernels& kernels_;
  ArenaPool pool_;
  Shape shape_;
  int64_t backbone_batch_;
  Tensor pictures_;  // of one batch, in host memory
};

}  // namespace hp

// ImageInputs: pictures of a data set as the rows of a training, decoded and augmented beside the computation.
#pragma once

#include <memory>
#include <optional>
#include <set>

#include "probes/training_inputs.h"
#include "tools/data/loader.h"

namespace hp {

struct ImageInputOptions {
  Preprocess preprocess;
  Augmentation augmentation;
  uint64_t seed = 0;
  int64_t batch = 32;
  int workers = 1;
  Observer* observer = nullptr;                          // as LoaderOptions has it
  std::function<void(const Unreadable&)> on_unreadable;  // once for each picture, whatever the epochs
};

// Row i is picture i. Batches of an epoch are those of Loader: an unreadable picture makes one shorter.
class ImageInputs final : public TrainingInputs {
 public:
  // The data set must outlive the inputs. Throws hp::Error if no picture can be read.
  ImageInputs(const Dataset& images, ImageInputOptions options);

  int64_t size() const override { return images_.size(); }
  int64_t sample(int64_t row) const override { return row; }
  Shape row_shape() const override { return shape_; }
  int64_t row_bytes() const override { return 1; }  // always permuted as a whole
  void begin_epoch(int64_t epoch, std::span<const int64_t> order, size_t first) override;
  std::vector<int64_t> read(std::span<const int64_t> rows, float* out) override;

 private:
  const Dataset& images_;
  ImageInputOptions options_;
  Shape shape_;
  std::set<int64_t> unreadable_;
  std::unique_ptr<Loader> loader_;
  std::optional<Batch> waiting_;
};

}  // namespace hp

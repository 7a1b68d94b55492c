// TrainingInputs: the rows that an epoch of training reads, in its own order: cached features, or images made on the
// way.
#pragma once

#include <span>
#include <vector>

#include "probes/features.h"

namespace hp {

class TrainingInputs {
 public:
  virtual ~TrainingInputs() = default;
  virtual int64_t size() const = 0;               // rows
  virtual int64_t sample(int64_t row) const = 0;  // the row's place in the data list
  virtual Shape row_shape() const = 0;            // [height, width, channels]
  virtual int64_t row_bytes() const = 0;          // as stored, for shuffling in blocks

  // Announces that the rows of `order` from `first` on will be read, in this order.
  virtual void begin_epoch(int64_t epoch, std::span<const int64_t> order, size_t first) {
    (void)epoch, (void)order, (void)first;
  }
  // Writes rows to host memory, float32, and says which: unreadable ones are missing, the others keep their order.
  virtual std::vector<int64_t> read(std::span<const int64_t> rows, float* out) = 0;

  Shape batch_shape(int64_t batch) const {
    const Shape row = row_shape();
    return {batch, row[0], row[1], row[2]};
  }
};

class FeatureInputs final : public TrainingInputs {
 public:
  explicit FeatureInputs(const Features& features) : features_(features) {}
  int64_t size() const override { return features_.size(); }
  int64_t sample(int64_t row) const override { return features_.sample(row); }
  Shape row_shape() const override { return features_.row_shape(); }
  int64_t row_bytes() const override { return features_.row_bytes(); }
  std::vector<int64_t> read(std::span<const int64_t> rows, float* out) override {
    features_.gather(rows, out);
    return {rows.begin(), rows.end()};
  }

 private:
  const Features& features_;
};

}  // namespace hp

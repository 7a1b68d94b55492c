// Features: what probes train on, one row per image, wherever the rows lie.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "runtime/arena_pool.h"
#include "runtime/tensor.h"

namespace hp {

// copy(i, rows[i]) for every i, among the threads of the host: what a row costs is reading memory.
void for_each_row(std::span<const int64_t> rows, int64_t row_bytes,
                  const std::function<void(int64_t index, int64_t row)>& copy);

class Features {
 public:
  virtual ~Features() = default;
  virtual int64_t size() const = 0;               // rows
  virtual int64_t sample(int64_t row) const = 0;  // the row's place in the data list: unreadable images have no row
  virtual Shape row_shape() const = 0;            // [height, width, channels]
  virtual int64_t row_bytes() const = 0;          // as stored, for shuffling in blocks
  // Copies rows to float32 host memory, in the order given.
  virtual void gather(std::span<const int64_t> rows, float* out) const = 0;

  Shape batch_shape(int64_t batch) const {
    const Shape row = row_shape();
    return {batch, row[0], row[1], row[2]};
  }
};

// Maps [batch, height, width, channels] averaged over their positions: [batch, 1, 1, channels].
Tensor mean_over_positions(Kernels& kernels, ArenaPool& pool, const Tensor& maps);

// A tensor [rows, height, width, channels], float32 in host memory; row i is sample i.
class FeatureTensor final : public Features {
 public:
  explicit FeatureTensor(Tensor tensor);
  int64_t size() const override { return tensor_.shape()[0]; }
  int64_t sample(int64_t row) const override { return row; }
  Shape row_shape() const override;
  int64_t row_bytes() const override { return row_shape().count() * static_cast<int64_t>(sizeof(float)); }
  void gather(std::span<const int64_t> rows, float* out) const override;

 private:
  Tensor tensor_;
};

}  // namespace hp

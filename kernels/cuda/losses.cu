// Losses over the rows of [rows, columns]: value and gradient in one kernel.
#include "kernels/cuda/launch.cuh"

namespace hp {

namespace {

// Numbers of classes are seldom multiples of four and the arrays small: single floats will do.
struct CrossEntropy {
  int64_t columns;
  const float *z, *t;
  float scale;
  float *loss, *dz;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float *logits = z + row * columns, *targets = t + row * columns;
    float largest = -INFINITY;
    for_columns<1>(team, columns, [&](int64_t c) { largest = fmaxf(largest, logits[c]); });
    largest = Team::reduce(largest, Largest(), -INFINITY);
    double exponentials = 0;
    for_columns<1>(team, columns, [&](int64_t c) { exponentials += expf(logits[c] - largest); });
    exponentials = Team::reduce(exponentials, Sum(), 0.0);
    const double log_sum = ::log(exponentials);
    double total = 0, weight = 0;
    for_columns<1>(team, columns, [&](int64_t c) {
      total += targets[c] * (log_sum - (logits[c] - largest));
      weight += targets[c];
    });
    total = Team::reduce(total, Sum(), 0.0);
    weight = Team::reduce(weight, Sum(), 0.0);
    if (Team::rank() == 0) loss[row] = static_cast<float>(total);
    if (!dz) return;
    const auto factor = static_cast<float>(weight / exponentials);
    for_columns<1>(team, columns, [&](int64_t c) {
      dz[row * columns + c] = scale * fmaf(factor, expf(logits[c] - largest), -targets[c]);
    });
  }
};

struct BinaryCrossEntropy {
  int64_t columns;
  const float *z, *t;
  float scale;
  float *loss, *dz;

  template <int width, class Team>
  __device__ void run(Team team, int64_t row) const {
    const float *logits = z + row * columns, *targets = t + row * columns;
    double total = 0;
    for_columns<1>(team, columns, [&](int64_t c) {
      const float softplus = positive_part_of(logits[c]) + log1pf(expf(-fabsf(logits[c])));
      total += fma(-static_cast<double>(targets[c]), static_cast<double>(logits[c]), static_cast<double>(softplus));
      if (dz) dz[row * columns + c] = scale * (1.0f / (1.0f + expf(-logits[c])) - targets[c]);
    });
    total = Team::reduce(total, Sum(), 0.0);
    if (Team::rank() == 0) loss[row] = static_cast<float>(total);
  }
};

}  // namespace

void CudaKernels::cross_entropy(Rows shape, const float* z, const float* t, float scale, float* loss, float* dz) {
  for_rows(*state_, "cross_entropy", shape.rows, shape.columns, false,
           CrossEntropy{shape.columns, z, t, scale, loss, dz});
}

void CudaKernels::binary_cross_entropy(Rows shape, const float* z, const float* t, float scale, float* loss,
                                       float* dz) {
  for_rows(*state_, "binary_cross_entropy", shape.rows, shape.columns, false,
           BinaryCrossEntropy{shape.columns, z, t, scale, loss, dz});
}

}  // namespace hp

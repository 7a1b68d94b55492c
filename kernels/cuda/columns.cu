// Kernels per column of [rows, columns]: sums over the rows in double precision, and batch norm.
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/map.cuh"

namespace hp {

namespace {

struct Values {
  const float* x;
  __device__ void operator()(int64_t i, int64_t, double* terms) const { terms[0] = x[i]; }
};

struct WriteSum {
  float* y;
  __device__ void operator()(int64_t column, const double* sums) const { y[column] = static_cast<float>(sums[0]); }
};

// The mean in double precision for the second pass, and rounded.
struct WriteMean {
  double count;
  double* mean;
  float* y;
  __device__ void operator()(int64_t column, const double* sums) const {
    mean[column] = sums[0] / count;
    y[column] = static_cast<float>(mean[column]);
  }
};

struct Squares {
  const float* x;
  const double* mean;
  __device__ void operator()(int64_t i, int64_t column, double* terms) const {
    const double distance = x[i] - mean[column];
    terms[0] = distance * distance;
  }
};

struct WriteShare {
  double count;
  float* y;
  __device__ void operator()(int64_t column, const double* sums) const {
    y[column] = static_cast<float>(sums[0] / count);
  }
};

struct MessageAndProduct {
  const float *x, *mean, *dy;
  __device__ void operator()(int64_t i, int64_t column, double* terms) const {
    terms[0] = dy[i];
    terms[1] = dy[i] * (static_cast<double>(x[i]) - mean[column]);
  }
};

__device__ float batch_norm_scale(float variance, float epsilon, float weight) {
  return static_cast<float>(weight / sqrt(static_cast<double>(variance) + epsilon));
}

// The same where a ReLU behind the batch norm let something through. A thread stays in its column, whose scale does not
// change.
struct PassedMessageAndProduct {
  MessageAndProduct all;
  float epsilon;
  const float *variance, *weight, *bias;
  __device__ void operator()(int64_t i, int64_t column, double* terms) const {
    const float scale = batch_norm_scale(variance[column], epsilon, weight[column]);
    all(i, column, terms);
    if (fmaf(all.x[i] - all.mean[column], scale, bias[column]) > 0) return;
    terms[0] = terms[1] = 0;
  }
};

struct WriteBatchNormParameters {
  int64_t columns;
  float epsilon;
  const float *variance, *weight;
  float* d;
  __device__ void operator()(int64_t c, const double* sums) const {
    const double inverse = 1.0 / sqrt(static_cast<double>(variance[c]) + epsilon), factor = weight ? weight[c] : 1.0;
    d[c] = static_cast<float>(-factor * inverse * sums[0]);
    d[columns + c] = static_cast<float>(-0.5 * factor * inverse * inverse * inverse * sums[1]);
    d[2 * columns + c] = static_cast<float>(inverse * sums[1]);
    d[3 * columns + c] = static_cast<float>(sums[0]);
  }
};

// shared: mean, variance, weight, bias
struct BatchNorm {
  float epsilon;
  __device__ void prepare(float* shared) const { shared[1] = batch_norm_scale(shared[1], epsilon, shared[2]); }
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    out[0] = fmaf(in[0] - shared[0], shared[1], shared[3]);
  }
};

struct BatchNormRelu : BatchNorm {
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    const float value = fmaf(in[0] - shared[0], shared[1], shared[3]);
    out[0] = positive_part_of(value);
  }
};

// dparameters, and per column what an element of dx is made of: scale dy - offset - slope (x - mean).
struct WriteTrainParameters {
  int64_t columns;
  double rows;
  float epsilon;
  const float *statistics, *weight;
  float *dparameters, *scale, *offset, *slope;
  __device__ void operator()(int64_t c, const double* sums) const {
    const double inverse = 1.0 / sqrt(static_cast<double>(statistics[columns + c]) + epsilon);
    const double factor = inverse * weight[c], product = sums[1] * inverse;
    dparameters[c] = static_cast<float>(product);
    dparameters[columns + c] = static_cast<float>(sums[0]);
    scale[c] = batch_norm_scale(statistics[columns + c], epsilon, weight[c]);
    offset[c] = static_cast<float>(factor * sums[0] / rows);
    slope[c] = static_cast<float>(factor * inverse * product / rows);
  }
};

// shared: mean, scale, offset, slope; in: x, dy
struct TrainVjp {
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    out[0] = fmaf(shared[1], in[1], -fmaf(shared[3], in[0] - shared[0], shared[2]));
  }
};

// shared: mean, scale, offset, slope, bias; in: x, dy
struct TrainReluVjp {
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    const float distance = in[0] - shared[0];
    const float passed = fmaf(distance, shared[1], shared[4]) > 0 ? in[1] : 0.0f;
    out[0] = fmaf(shared[1], passed, -fmaf(shared[3], distance, shared[2]));
  }
};

// shared: variance, weight
struct BatchNormVjp {
  float epsilon;
  __device__ void prepare(float* shared) const { shared[0] = batch_norm_scale(shared[0], epsilon, shared[1]); }
  __device__ void operator()(const float* shared, const float* in, float* out) const { out[0] = in[0] * shared[0]; }
};

// shared: mean, derivative by the mean, derivative by the variance
struct StatisticsVjp {
  double rows;
  __device__ void prepare(float* shared) const {
    shared[1] = static_cast<float>(shared[1] / rows);
    shared[2] = static_cast<float>(2.0 * shared[2] / rows);
  }
  __device__ void operator()(const float* shared, const float* in, float* out) const {
    out[0] = fmaf(shared[2], in[0] - shared[0], shared[1]);
  }
};

}  // namespace

void CudaKernels::column_sums(Rows shape, const float* x, float* y) {
  if (shape.columns == 0) return;
  sum_columns<1>(*state_, "column_sums", shape, parts_for(*state_, shape, 1), Values{x}, WriteSum{y});
}

void CudaKernels::column_statistics(Rows shape, const float* x, float* statistics) {
  if (shape.columns == 0) return;
  const auto count = static_cast<double>(shape.rows);
  double* mean = parts_for(*state_, shape, 1, 1);
  double* parts = mean + shape.columns;
  sum_columns<1>(*state_, "column_statistics", shape, parts, Values{x}, WriteMean{count, mean, statistics});
  sum_columns<1>(*state_, "column_statistics", shape, parts, Squares{x, mean},
                 WriteShare{count, statistics + shape.columns});
}

void CudaKernels::column_statistics_vjp(Rows shape, const float* x, const float* statistics, const float* dstatistics,
                                        float* dx) {
  map(*state_, "column_statistics_vjp",
      MapArrays<3, 1, 1>{.count = shape.count(),
                         .period = shape.columns,
                         .shared = {{statistics}, {dstatistics}, {dstatistics + shape.columns}},
                         .in = {{x}},
                         .out = {dx}},
      StatisticsVjp{static_cast<double>(shape.rows)});
}

void CudaKernels::batch_norm(Rows shape, float epsilon, const float* x, const float* mean, const float* variance,
                             const float* weight, const float* bias, float* y) {
  map(*state_, "batch_norm",
      MapArrays<4, 1, 1>{.count = shape.count(),
                         .period = shape.columns,
                         .shared = {{mean}, {variance}, {weight, 1}, {bias, 0}},
                         .in = {{x}},
                         .out = {y}},
      BatchNorm{epsilon});
}

void CudaKernels::batch_norm_vjp(Rows shape, int targets, float epsilon, const float* variance, const float* weight,
                                 const float* dy, float* dx) {
  map(*state_, "batch_norm_vjp",
      MapArrays<2, 1, 1>{.count = targets * shape.count(),
                         .period = shape.columns,
                         .shared = {{variance}, {weight, 1}},
                         .in = {{dy}},
                         .out = {dx}},
      BatchNormVjp{epsilon});
}

void CudaKernels::batch_norm_parameter_vjp(Rows shape, float epsilon, const float* x, const float* mean,
                                           const float* variance, const float* weight, const float* dy, float* d) {
  if (shape.columns == 0) return;
  sum_columns<2>(*state_, "batch_norm_parameter_vjp", shape, parts_for(*state_, shape, 2),
                 MessageAndProduct{x, mean, dy}, WriteBatchNormParameters{shape.columns, epsilon, variance, weight, d});
}

void CudaKernels::batch_norm_train(Rows shape, float epsilon, bool relu, const float* x, const float* weight,
                                   const float* bias, float* statistics, float* y) {
  column_statistics(shape, x, statistics);
  const MapArrays<4, 1, 1> arrays{.count = shape.count(),
                                  .period = shape.columns,
                                  .shared = {{statistics}, {statistics + shape.columns}, {weight, 1}, {bias, 0}},
                                  .in = {{x}},
                                  .out = {y}};
  if (relu) return map(*state_, "batch_norm_train", arrays, BatchNormRelu{{epsilon}});
  map(*state_, "batch_norm_train", arrays, BatchNorm{epsilon});
}

void CudaKernels::batch_norm_train_vjp(Rows shape, float epsilon, bool relu, const float* x, const float* statistics,
                                       const float* weight, const float* bias, const float* dy, float* dparameters,
                                       float* dx) {
  if (shape.columns == 0) return;
  const char* name = "batch_norm_train_vjp";
  double* parts = parts_for(*state_, shape, 2, 2);  // behind them 3 floats per column
  auto* scale = reinterpret_cast<float*>(parts + 2 * row_blocks(shape) * shape.columns);
  float *offset = scale + shape.columns, *slope = offset + shape.columns;
  const MessageAndProduct terms{x, statistics, dy};
  const WriteTrainParameters finish{
      shape.columns, static_cast<double>(shape.rows), epsilon, statistics, weight, dparameters, scale, offset, slope};
  if (relu) {
    const float* variance = statistics + shape.columns;
    sum_columns<2>(*state_, name, shape, parts, PassedMessageAndProduct{terms, epsilon, variance, weight, bias},
                   finish);
  } else {
    sum_columns<2>(*state_, name, shape, parts, terms, finish);
  }
  if (!dx) return;
  const MapArrays<5, 2, 1> arrays{.count = shape.count(),
                                  .period = shape.columns,
                                  .shared = {{statistics}, {scale}, {offset}, {slope}, {relu ? bias : slope}},
                                  .in = {{x}, {dy}},
                                  .out = {dx}};
  if (relu) return map(*state_, name, arrays, TrainReluVjp());
  map(*state_, name, arrays, TrainVjp());
}

}  // namespace hp

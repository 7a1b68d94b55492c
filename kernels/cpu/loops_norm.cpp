#include "kernels/cpu/loops_norm.h"

namespace hp {

namespace {

inline double sum(int64_t n, const float* x) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

inline double squares_about(int64_t n, float mean, const float* x) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) {
    const float distance = x[i] - mean;
    total += static_cast<double>(distance) * distance;
  }
  return total;
}

// y = (x - offset) * factor * weight + bias
void write_row(int64_t n, float offset, float factor, const float* x, const float* weight, const float* bias,
               float* y) {
  if (weight && bias) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - offset) * factor * weight[i] + bias[i];
  } else if (weight) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - offset) * factor * weight[i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - offset) * factor + (bias ? bias[i] : 0.0f);
  }
}

void layer_norm(int64_t rows, int64_t columns, float epsilon, bool centred, const float* x, const float* weight,
                const float* bias, float* mean, float* inverse, float* y) {
  const auto count = static_cast<double>(columns);
  for (int64_t row = 0; row < rows; ++row, x += columns, y += columns) {
    mean[row] = static_cast<float>(sum(columns, x) / count);
    const double variance = squares_about(columns, mean[row], x) / count;
    inverse[row] = static_cast<float>(1.0 / __builtin_sqrt(variance + static_cast<double>(epsilon)));
    write_row(columns, centred ? mean[row] : 0.0f, inverse[row], x, weight, bias, y);
  }
}

// Sums of g = dy weight and of g (x - mean).
struct MessageSums {
  double message, product;
};

MessageSums message_sums(int64_t n, float mean, const float* x, const float* weight, const float* dy) {
  double message = 0, product = 0;
  if (weight) {
#pragma omp simd reduction(+ : message, product)
    for (int64_t i = 0; i < n; ++i) {
      const float g = dy[i] * weight[i], distance = x[i] - mean;
      message += g;
      product += static_cast<double>(g) * distance;
    }
  } else {
#pragma omp simd reduction(+ : message, product)
    for (int64_t i = 0; i < n; ++i) {
      const float distance = x[i] - mean;
      message += dy[i];
      product += static_cast<double>(dy[i]) * distance;
    }
  }
  return {message, product};
}

// dx = factor g - offset - slope (x - mean)
void write_row_vjp(int64_t n, float factor, float offset, float slope, float mean, const float* x, const float* weight,
                   const float* dy, float* dx) {
  if (weight) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dx[i] = factor * (dy[i] * weight[i]) - offset - slope * (x[i] - mean);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dx[i] = factor * dy[i] - offset - slope * (x[i] - mean);
  }
}

void layer_norm_vjp(int64_t rows, int64_t columns, bool centred, bool detached, const float* x, const float* mean,
                    const float* inverse, const float* weight, const float* dy, float* dx) {
  const auto count = static_cast<double>(columns);
  for (int64_t row = 0; row < rows; ++row, x += columns, dy += columns, dx += columns) {
    const MessageSums sums = message_sums(columns, mean[row], x, weight, dy);
    const double factor = inverse[row];
    const double product = centred ? sums.product : sums.product + mean[row] * sums.message;
    const double slope = detached ? 0.0 : factor * factor * factor * product / count;
    const double offset = centred ? factor * sums.message / count : 0.0;
    write_row_vjp(columns, inverse[row], static_cast<float>(offset), static_cast<float>(slope), mean[row], x, weight,
                  dy, dx);
  }
}

void add_layer_products(int64_t rows, int64_t columns, bool centred, const float* x, const float* mean,
                        const float* inverse, const float* dy, double* sums) {
  double* message_sums = sums + columns;
  for (int64_t row = 0; row < rows; ++row, x += columns, dy += columns) {
    const float offset = centred ? mean[row] : 0.0f, factor = inverse[row];
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      sums[c] += dy[c] * ((x[c] - offset) * factor);
      message_sums[c] += dy[c];
    }
  }
}

constexpr NormLoops table{
    .layer_norm = layer_norm, .layer_norm_vjp = layer_norm_vjp, .add_layer_products = add_layer_products};

}  // namespace

template <>
const NormLoops& loops<NormLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp

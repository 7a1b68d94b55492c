#include "kernels/cpu/loops_rows.h"

#include "kernels/cpu/vector_math.h"

namespace hp {

namespace {

// Several vectors side by side: one alone would wait for its own last result.
constexpr int64_t abreast = 64;

// The largest element that is a number; a NaN in the row shows up in the sums.
inline float maximum(int64_t n, const float* x) {
  float largest = x[0];
  int64_t begin = 0;
  if (n >= abreast) {
    float most[abreast];
    for (int64_t j = 0; j < abreast; ++j) most[j] = largest;
    for (; begin + abreast <= n; begin += abreast) {
#pragma omp simd
      for (int64_t j = 0; j < abreast; ++j) most[j] = x[begin + j] > most[j] ? x[begin + j] : most[j];
    }
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < abreast; ++j) largest = most[j] > largest ? most[j] : largest;
  }
#pragma omp simd reduction(max : largest)
  for (int64_t i = begin; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

inline double sum(int64_t n, const float* x) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += x[i];
  return total;
}

inline double dot(int64_t n, const float* a, const float* b) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(a[i]) * b[i];
  return total;
}

// sum exp(x - largest); y, if there is one, gets the terms.
inline double exponentials(int64_t n, const float* x, float largest, float* y) {
  double total = 0;
  if (y) {
    constexpr int64_t width = abreast / 4;
    double totals[width] = {};  // of four terms at a time, which single precision adds with one rounding more
    int64_t begin = 0;
    for (; begin + abreast <= n; begin += abreast) {
      float terms[abreast];
#pragma omp simd
      for (int64_t j = 0; j < abreast; ++j) y[begin + j] = terms[j] = exp_of(x[begin + j] - largest);
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) {
        totals[j] += (terms[j] + terms[width + j]) + (terms[2 * width + j] + terms[3 * width + j]);
      }
    }
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < width; ++j) total += totals[j];
#pragma omp simd reduction(+ : total)
    for (int64_t i = begin; i < n; ++i) {
      y[i] = exp_of(x[i] - largest);
      total += y[i];
    }
  } else {
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < n; ++i) total += exp_of(x[i] - largest);
  }
  return total;
}

inline void softmax_row(int64_t columns, const float* x, float* y) {
  const auto factor = static_cast<float>(1.0 / exponentials(columns, x, maximum(columns, x), y));
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) y[i] *= factor;
}

void softmax(int64_t rows, int64_t columns, const float* x, float* y) {
  for (int64_t row = 0; row < rows; ++row) softmax_row(columns, x + row * columns, y + row * columns);
}

void softmax_vjp(int64_t rows, int64_t columns, const float* y, const float* dy, float* dx) {
  for (int64_t row = 0; row < rows; ++row, y += columns, dy += columns, dx += columns) {
    const auto mean = static_cast<float>(dot(columns, y, dy));
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) dx[i] = y[i] * (dy[i] - mean);
  }
}

void log_softmax(int64_t rows, int64_t columns, const float* x, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += columns, y += columns) {
    const float largest = maximum(columns, x);
    const auto log_sum = static_cast<float>(__builtin_log(exponentials(columns, x, largest, nullptr)));
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) y[i] = (x[i] - largest) - log_sum;
  }
}

void log_softmax_vjp(int64_t rows, int64_t columns, const float* y, const float* dy, float* dx) {
  for (int64_t row = 0; row < rows; ++row, y += columns, dy += columns, dx += columns) {
    const auto total = static_cast<float>(sum(columns, dy));
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) dx[i] = dy[i] - exp_of(y[i]) * total;
  }
}

void row_dots(int64_t rows, int64_t columns, const float* a, const float* m, float* y) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* message = m + row * columns;
    y[row] = static_cast<float>(a ? dot(columns, a + row * columns, message) : sum(columns, message));
  }
}

// Pixel by pixel, so that a pixel's channels are read from memory once for all targets.
void pixel_dots(int64_t rows, int64_t columns, int targets, int64_t w_step, int64_t y_step, const float* a,
                const float* shift, const float* w, float* y) {
  for (int64_t row = 0; row < rows; ++row, a += columns) {
    for (int target = 0; target < targets; ++target) {
      const float* weight = w + target * w_step;
      double total = 0;
      if (shift) {
#pragma omp simd reduction(+ : total)
        for (int64_t i = 0; i < columns; ++i) total += weight[i] * (static_cast<double>(a[i]) - shift[i]);
      } else {
        total = dot(columns, weight, a);
      }
      y[target * y_step + row] = static_cast<float>(total);
    }
  }
}

void label_ranks(int64_t rows, int64_t columns, const float* x, const int32_t* label, int32_t* rank) {
  for (int64_t row = 0; row < rows; ++row, x += columns) {
    const float value = x[label[row]];
    // "Not below" instead of "above": a NaN, here or elsewhere, must never look like a correct answer.
    int32_t before = 0, behind = 0;
#pragma omp simd reduction(+ : before)
    for (int64_t i = 0; i < label[row]; ++i) before += !(x[i] < value);
#pragma omp simd reduction(+ : behind)
    for (int64_t i = label[row] + 1; i < columns; ++i) behind += !(x[i] <= value);
    rank[row] = before + behind;
  }
}

void cross_entropy(int64_t rows, int64_t columns, const float* z, const float* t, float scale, float* loss, float* dz) {
  for (int64_t row = 0; row < rows; ++row, z += columns, t += columns) {
    const float largest = maximum(columns, z);
    const double exponential_sum = exponentials(columns, z, largest, dz);
    const double log_sum = __builtin_log(exponential_sum);
    double total = 0, weight = 0;
#pragma omp simd reduction(+ : total, weight)
    for (int64_t i = 0; i < columns; ++i) {
      total += t[i] * (log_sum - (z[i] - largest));
      weight += t[i];
    }
    loss[row] = static_cast<float>(total);
    if (!dz) continue;
    const auto factor = static_cast<float>(weight / exponential_sum);
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) dz[i] = scale * (factor * dz[i] - t[i]);
    dz += columns;
  }
}

void binary_cross_entropy(int64_t rows, int64_t columns, const float* z, const float* t, float scale, float* loss,
                          float* dz) {
  for (int64_t row = 0; row < rows; ++row, z += columns, t += columns) {
    double total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < columns; ++i)
      total += static_cast<double>(softplus_of(z[i])) - static_cast<double>(t[i]) * z[i];
    loss[row] = static_cast<float>(total);
    if (!dz) continue;
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) dz[i] = scale * (sigmoid_of(z[i]) - t[i]);
    dz += columns;
  }
}

// Rows whose terms are added in single precision before they go to a sum in double: the rounding of so few terms is
// that of a term itself, and the conversions cost an eighth.
constexpr int64_t rows_per_group = 8;

// sums[c] += term(element, c) over the rows.
template <class Term>
void add_rows(int64_t rows, int64_t columns, double* sums, Term term) {
  int64_t row = 0;
  for (; row + rows_per_group <= rows; row += rows_per_group) {
    const int64_t begin = row * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      float group = 0;
      for (int64_t i = 0; i < rows_per_group; ++i) group += term(begin + i * columns + c, c);
      sums[c] += group;
    }
  }
  for (; row < rows; ++row) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) sums[c] += term(row * columns + c, c);
  }
}

void add_values(int64_t rows, int64_t columns, const float* x, double* sums) {
  add_rows(rows, columns, sums, [=](int64_t i, int64_t) { return x[i]; });
}

struct Pair {
  float first, second;
};

// The same for two sums at once, [2, columns]: what their terms have in common is read once.
template <class Terms>
void add_row_pairs(int64_t rows, int64_t columns, double* sums, Terms terms) {
  double* second_sums = sums + columns;
  int64_t row = 0;
  for (; row + rows_per_group <= rows; row += rows_per_group) {
    const int64_t begin = row * columns;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      float first = 0, second = 0;
      for (int64_t i = 0; i < rows_per_group; ++i) {
        const Pair pair = terms(begin + i * columns + c, c);
        first += pair.first;
        second += pair.second;
      }
      sums[c] += first;
      second_sums[c] += second;
    }
  }
  for (; row < rows; ++row) {
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) {
      const Pair pair = terms(row * columns + c, c);
      sums[c] += pair.first;
      second_sums[c] += pair.second;
    }
  }
}

void add_moments(int64_t rows, int64_t columns, const float* x, const float* shift, double* sums) {
  add_row_pairs(rows, columns, sums, [=](int64_t i, int64_t c) {
    const float distance = x[i] - shift[c];
    return Pair{distance, distance * distance};
  });
}

inline float normalised(float x, float mean, float scale, float bias) { return (x - mean) * scale + bias; }

void add_products(int64_t rows, int64_t columns, const float* x, const float* mean, const float* dy, double* sums) {
  add_row_pairs(rows, columns, sums, [=](int64_t i, int64_t c) { return Pair{dy[i], dy[i] * (x[i] - mean[c])}; });
}

void add_products_relu(int64_t rows, int64_t columns, const float* x, const float* mean, const float* scale,
                       const float* bias, const float* dy, double* sums) {
  add_row_pairs(rows, columns, sums, [=](int64_t i, int64_t c) {
    const float passed = normalised(x[i], mean[c], scale[c], bias[c]) > 0 ? dy[i] : 0.0f;
    return Pair{passed, passed * (x[i] - mean[c])};
  });
}

void normalise(int64_t n, const float* x, const float* mean, const float* scale, const float* bias, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = normalised(x[i], mean[i], scale[i], bias[i]);
}

void normalise_relu(int64_t n, const float* x, const float* mean, const float* scale, const float* bias, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float value = normalised(x[i], mean[i], scale[i], bias[i]);
    y[i] = value > 0 ? value : 0;
  }
}

void train_vjp(int64_t n, const float* x, const float* mean, const float* scale, const float* offset,
               const float* slope, const float* dy, float* dx) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = scale[i] * dy[i] - offset[i] - slope[i] * (x[i] - mean[i]);
}

void train_vjp_relu(int64_t n, const float* x, const float* mean, const float* scale, const float* bias,
                    const float* offset, const float* slope, const float* dy, float* dx) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float passed = normalised(x[i], mean[i], scale[i], bias[i]) > 0 ? dy[i] : 0.0f;
    dx[i] = scale[i] * passed - offset[i] - slope[i] * (x[i] - mean[i]);
  }
}

void statistics_vjp(int64_t n, const float* x, const float* mean, const float* offset, const float* slope, float* dx) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dx[i] = offset[i] + slope[i] * (x[i] - mean[i]);
}

constexpr RowsLoops table{.softmax = softmax,
                          .softmax_vjp = softmax_vjp,
                          .log_softmax = log_softmax,
                          .log_softmax_vjp = log_softmax_vjp,
                          .row_dots = row_dots,
                          .pixel_dots = pixel_dots,
                          .label_ranks = label_ranks,
                          .cross_entropy = cross_entropy,
                          .binary_cross_entropy = binary_cross_entropy,
                          .add_values = add_values,
                          .add_moments = add_moments,
                          .add_products = add_products,
                          .add_products_relu = add_products_relu,
                          .normalise = normalise,
                          .normalise_relu = normalise_relu,
                          .train_vjp = train_vjp,
                          .train_vjp_relu = train_vjp_relu,
                          .statistics_vjp = statistics_vjp};

}  // namespace

template <>
const RowsLoops& loops<RowsLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp

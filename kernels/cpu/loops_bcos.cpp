#include "kernels/cpu/loops_bcos.h"

#include "kernels/cpu/vector_math.h"

namespace hp {

namespace {

constexpr float power_epsilon = 1e-6f;

inline double dot(int64_t n, const float* a, const float* b) {
  double total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(a[i]) * b[i];
  return total;
}

inline float power(float base, float exponent) { return exp_of(exponent * log_of(base)); }

void square_sums(int64_t rows, int64_t columns, const float* x, double* sums) {
  for (int64_t row = 0; row < rows; ++row, x += columns) sums[row] = dot(columns, x, x);
}

void add(int64_t rows, int64_t columns, int64_t step, const double* x, double* sums) {
  if (step == columns) columns *= rows, rows = 1;  // one long row, in whole vectors
  for (int64_t row = 0; row < rows; ++row, x += step, sums += columns) {
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) sums[i] += x[i];
  }
}

void norms(int64_t n, double inside, double outside, const double* squares, float* y) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(__builtin_sqrt(squares[i] + inside) + outside);
}

void scale_rows(int64_t rows, int64_t columns, const float* factor, const float* x, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += columns, y += columns) {
    const float f = factor[row];
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) y[i] = f * x[i];
  }
}

void unit_rows(int64_t rows, int64_t columns, const float* x, float* y) {
  for (int64_t row = 0; row < rows; ++row, x += columns, y += columns) {
    const double norm = __builtin_sqrt(dot(columns, x, x));
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) y[i] = static_cast<float>(x[i] / norm);
  }
}

void unit_rows_vjp(int64_t rows, int64_t columns, const float* x, const float* dy, float* dx) {
  for (int64_t row = 0; row < rows; ++row, x += columns, dy += columns, dx += columns) {
    const double square = dot(columns, x, x), share = dot(columns, x, dy) / square, norm = __builtin_sqrt(square);
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) dx[i] = static_cast<float>((dy[i] - share * x[i]) / norm);
  }
}

// One row; last(i, s v) is what becomes of it.
template <class Last>
inline void scale_row(int64_t columns, float exponent, const float* u, float norm, const float* v, float* y,
                      Last last) {
  if (exponent == 1.0f) {
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) y[i] = last(i, __builtin_fabsf(u[i]) / norm * v[i]);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      y[i] = last(i, power(__builtin_fabsf(u[i]) / norm + power_epsilon, exponent) * v[i]);
    }
  }
}

void bcos_scale(int64_t rows, int64_t columns, float exponent, const float* u, const float* n, const float* v,
                const float* addend, float* y) {
  for (int64_t row = 0; row < rows; ++row, u += columns, v += columns, y += columns) {
    if (addend) {
      scale_row(columns, exponent, u, n[row], v, y, [=](int64_t i, float value) { return value + addend[i]; });
      addend += columns;
    } else {
      scale_row(columns, exponent, u, n[row], v, y, [](int64_t, float value) { return value; });
    }
  }
}

// s(u) u has the derivative s + u s' = s (1 + exponent cos / (cos + epsilon)).
void bcos_scale_vjp(int64_t rows, int64_t columns, float exponent, const float* u, const float* n, const float* dy,
                    float* du) {
  for (int64_t row = 0; row < rows; ++row, u += columns, dy += columns, du += columns) {
    const float norm = n[row];
    if (exponent == 1.0f) {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) du[i] = 2.0f * __builtin_fabsf(u[i]) / norm * dy[i];
    } else {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) {
        const float cosine = __builtin_fabsf(u[i]) / norm, base = cosine + power_epsilon;
        du[i] = power(base, exponent) * (1.0f + exponent * (cosine / base)) * dy[i];
      }
    }
  }
}

// ds/dn = -exponent s cos / (cos + epsilon) / n
void bcos_norm_vjp(int64_t rows, int64_t columns, float exponent, const float* u, const float* n, const float* dy,
                   float* dn) {
  for (int64_t row = 0; row < rows; ++row, u += columns, dy += columns) {
    const float norm = n[row];
    double total = 0;
    if (exponent == 1.0f) {
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < columns; ++i) total += static_cast<double>(__builtin_fabsf(u[i]) / norm * u[i]) * dy[i];
    } else {
#pragma omp simd reduction(+ : total)
      for (int64_t i = 0; i < columns; ++i) {
        const float cosine = __builtin_fabsf(u[i]) / norm, base = cosine + power_epsilon;
        total += static_cast<double>(power(base, exponent) * (cosine / base) * u[i]) * dy[i];
      }
    }
    dn[row] = static_cast<float>(-static_cast<double>(exponent) * total / norm);
  }
}

constexpr BcosLoops table{.square_sums = square_sums,
                          .add = add,
                          .norms = norms,
                          .scale_rows = scale_rows,
                          .unit_rows = unit_rows,
                          .unit_rows_vjp = unit_rows_vjp,
                          .bcos_scale = bcos_scale,
                          .bcos_scale_vjp = bcos_scale_vjp,
                          .bcos_norm_vjp = bcos_norm_vjp};

}  // namespace

template <>
const BcosLoops& loops<BcosLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp

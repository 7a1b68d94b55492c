// Vectors of the instruction set that a file of loops is compiled for, and the inner product of matrices in registers.
//
// For loops_*.cpp alone: everything is static, so that each instruction set has its own copy (isa.h).
#pragma once

#include <cstdint>

namespace hp {

// `rows_of_one` and `rows_of_two`: rows of sums, one or two vectors wide, that fit into the registers beside what is
// multiplied.
#if defined(__AVX512F__)
static constexpr int lanes = 16, rows_of_two = 12, rows_of_one = 24;
#elif defined(__AVX2__)
static constexpr int lanes = 8, rows_of_two = 6, rows_of_one = 12;
#else
static constexpr int lanes = 4, rows_of_two = 6, rows_of_one = 12;
#endif

// A vector as the compiler knows it, and the same in memory, wherever it lies.
typedef float Vector __attribute__((vector_size(4 * lanes)));
typedef float StoredVector __attribute__((vector_size(4 * lanes), aligned(4), may_alias));

static inline Vector load(const float* from) { return *reinterpret_cast<const StoredVector*>(from); }
static inline void store(float* to, Vector value) { *reinterpret_cast<StoredVector*>(to) = value; }

// One factor of a product: element (row, k) of the left one lies at row * row_step + k * step, row k of the right one
// at k * step.
struct ProductLeft {
  const float* values;
  int64_t row_step, step;
};
struct ProductRight {
  const float* values;
  int64_t step;
};

// sums[row * sums_row + i] = sum over k < count of left(row, k) * right(k, i), i < vectors * lanes. `adds`: to what is
// there, in the end, so that long sums are made of shorter ones. `ahead`: what is needed next lies right behind the
// right factor, and is asked for meanwhile.
template <int rows, int vectors, bool adds, bool ahead = false>
static inline void multiply_rows(int64_t count, ProductLeft left, ProductRight right, float* sums, int64_t sums_row) {
  Vector total[rows][vectors] = {};
  for (int64_t k = 0; k < count; ++k) {
    if constexpr (ahead) {
#pragma GCC unroll 2
      for (int i = 0; i < vectors; ++i) __builtin_prefetch(right.values + (count + k) * right.step + i * lanes, 0, 2);
    }
    Vector factor[vectors];
#pragma GCC unroll 2
    for (int i = 0; i < vectors; ++i) factor[i] = load(right.values + k * right.step + i * lanes);
#pragma GCC unroll 24
    for (int row = 0; row < rows; ++row) {
      const float value = left.values[row * left.row_step + k * left.step];
#pragma GCC unroll 2
      for (int i = 0; i < vectors; ++i) total[row][i] += value * factor[i];
    }
  }
#pragma GCC unroll 24
  for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 2
    for (int i = 0; i < vectors; ++i) {
      float* place = sums + row * sums_row + i * lanes;
      store(place, adds ? load(place) + total[row][i] : total[row][i]);
    }
  }
}

}  // namespace hp

// sum_columns(): sums over the rows of [rows, columns] in double precision. Device code, for .cu files only.
//
// Two kernels: blocks of rows into parts, then the parts in order. How rows are cut depends on their number alone, and
// nothing is added atomically: the bits are always the same.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace hp {

constexpr unsigned tile_columns = 32, tile_rows = 8;

// parts[block][kind][column] = sum over the block's rows of the kinds that term(i, column, kinds) gives for element i.
template <int kinds, class Term>
__global__ void column_parts_kernel(Rows shape, double* parts, Term term) {
  __shared__ double sums[kinds][tile_rows][tile_columns + 1];
  const int64_t column = int64_t{blockIdx.x} * tile_columns + threadIdx.x;
  const int64_t begin = shape.rows * blockIdx.y / gridDim.y, end = shape.rows * (blockIdx.y + 1) / gridDim.y;
  double mine[kinds] = {};
  if (column < shape.columns) {
    for (int64_t row = begin + threadIdx.y; row < end; row += tile_rows) {
      double terms[kinds];
      term(row * shape.columns + column, column, terms);
      for (int kind = 0; kind < kinds; ++kind) mine[kind] += terms[kind];
    }
  }
  for (int kind = 0; kind < kinds; ++kind) sums[kind][threadIdx.y][threadIdx.x] = mine[kind];
  __syncthreads();
  if (threadIdx.y != 0 || column >= shape.columns) return;
  for (int kind = 0; kind < kinds; ++kind) {
    for (unsigned part = 1; part < tile_rows; ++part) mine[kind] += sums[kind][part][threadIdx.x];
    parts[(int64_t{blockIdx.y} * kinds + kind) * shape.columns + column] = mine[kind];
  }
}

template <int kinds, class Finish>
__global__ void column_finish_kernel(int64_t columns, int blocks, const double* parts, Finish finish) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t column = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; column < columns; column += step) {
    double sums[kinds] = {};
    for (int64_t block = 0; block < blocks; ++block) {
      for (int kind = 0; kind < kinds; ++kind) sums[kind] += parts[(block * kinds + kind) * columns + column];
    }
    finish(column, sums);
  }
}

constexpr int64_t rows_per_block = 128, most_blocks = 256;

inline int64_t row_blocks(Rows shape) { return std::clamp<int64_t>(shape.rows / rows_per_block, 1, most_blocks); }

// finish(column, sums) gets the sums over all rows.
template <int kinds, class Term, class Finish>
void sum_columns(const CudaState& state, const char* what, Rows shape, double* parts, Term term, Finish finish) {
  const int64_t blocks = row_blocks(shape);
  const dim3 grid(static_cast<unsigned>(divide_up(shape.columns, tile_columns)), static_cast<unsigned>(blocks));
  launch(state, what, {grid, dim3(tile_columns, tile_rows)}, column_parts_kernel<kinds, Term>, shape, parts, term);
  constexpr int threads = 128;
  launch(state, what, {dim3(state.blocks(divide_up(shape.columns, threads))), dim3(threads)},
         column_finish_kernel<kinds, Finish>, shape.columns, static_cast<int>(blocks), parts, finish);
}

// Scratch memory for the parts of `kinds` sums, and `extra` more doubles per column.
inline double* parts_for(CudaState& state, Rows shape, int kinds, int extra = 0) {
  const int64_t count = (row_blocks(shape) * kinds + extra) * shape.columns;
  return static_cast<double*>(state.scratch(CudaState::Scratch::sums, static_cast<size_t>(count) * sizeof(double)));
}

}  // namespace hp

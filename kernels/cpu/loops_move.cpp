#include "kernels/cpu/loops_move.h"

namespace hp {

namespace {

// A tile of a transposition touches this many rows on either side, which both stay in the first-level cache.
constexpr int64_t tile = 16;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

void contiguous_rows(const MoveAxis& outer, int64_t count, const float* src, float* dst) {
  for (int64_t i = 0; i < outer.extent; ++i) {
    const float* __restrict from = src + i * outer.src_stride;
    float* __restrict to = dst + i * outer.dst_stride;
    for (int64_t j = 0; j < count; ++j) to[j] = from[j];
  }
}

void strided_tile(const MoveAxis& outer, const MoveAxis& inner, const float* src, float* dst) {
  for (int64_t i = 0; i < outer.extent; ++i) {
    const float* __restrict from = src + i * outer.src_stride;
    float* __restrict to = dst + i * outer.dst_stride;
    for (int64_t j = 0; j < inner.extent; ++j) to[j * inner.dst_stride] = from[j * inner.src_stride];
  }
}

void plane(const MoveAxis& outer, const MoveAxis& inner, const float* src, float* dst) {
  if (inner.src_stride == 1 && inner.dst_stride == 1) return contiguous_rows(outer, inner.extent, src, dst);
  for (int64_t i = 0; i < outer.extent; i += tile) {
    const MoveAxis rows{smaller(tile, outer.extent - i), outer.src_stride, outer.dst_stride};
    for (int64_t j = 0; j < inner.extent; j += tile) {
      const MoveAxis columns{smaller(tile, inner.extent - j), inner.src_stride, inner.dst_stride};
      strided_tile(rows, columns, src + i * outer.src_stride + j * inner.src_stride,
                   dst + i * outer.dst_stride + j * inner.dst_stride);
    }
  }
}

constexpr MoveLoops table{.plane = plane};

}  // namespace

template <>
const MoveLoops& loops<MoveLoops, Isa::HP_ISA>() {
  return table;
}

}  // namespace hp

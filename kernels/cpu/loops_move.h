// MoveLoops: strided copies of two axes.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/move_axis.h"

namespace hp {

struct MoveLoops {
  // dst[i * outer.dst_stride + j * inner.dst_stride] = src[i * outer.src_stride + j * inner.src_stride]
  void (*plane)(const MoveAxis& outer, const MoveAxis& inner, const float* src, float* dst);
};

template <>
const MoveLoops& loops<MoveLoops, Isa::baseline>();
template <>
const MoveLoops& loops<MoveLoops, Isa::avx2>();
template <>
const MoveLoops& loops<MoveLoops, Isa::avx512>();

}  // namespace hp

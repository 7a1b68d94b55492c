// ElementwiseLoops: the inner loops of elementwise.cpp (isa.h says how they are chosen). In place is allowed.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "runtime/kernels.h"

namespace hp {

struct ElementwiseLoops {
  void (*apply)(Function, int64_t n, const float* x, float* y);
  void (*apply_vjp)(Function, int64_t n, const float* x, const float* y, const float* dy, float* dx);
  void (*apply_ratio)(Function, int64_t n, const float* x, const float* dy, float* dx);
  void (*guided_relu_vjp)(int64_t n, const float* x, const float* dy, float* dx);
  void (*combine)(Binary, int64_t n, const float* a, const float* b, float* y);
  void (*scale_add)(int64_t n, float alpha, const float* x, float beta, float* y);
  void (*add_relu)(int64_t n, const float* a, const float* b, float* y);
  void (*blend_signs)(int64_t n, float positive, float negative, const float* x, float* y);
};

template <>
const ElementwiseLoops& loops<ElementwiseLoops, Isa::baseline>();
template <>
const ElementwiseLoops& loops<ElementwiseLoops, Isa::avx2>();
template <>
const ElementwiseLoops& loops<ElementwiseLoops, Isa::avx512>();

}  // namespace hp

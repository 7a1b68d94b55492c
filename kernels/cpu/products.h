// Linear layers in training (loops_products.h), where a Conv2d allows it: a filter's result and gradient have the same
// bits whatever the other filters, rows and threads.
#pragma once

#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/isa.h"
#include "runtime/kernels.h"

namespace hp {

// The products themselves, as Kernels has them; w and dw are plain [filters, channels].
struct Products {
  DnnlState& state;
  Isa isa;

  static bool finishes(const Epilogue&);  // whether forward() knows the activation
  void forward(const Conv2d&, const float* w, const Epilogue&, const float* x, float* y) const;
  void weight_gradient(const Conv2d&, const float* x, const float* dy, float* dw) const;
};

}  // namespace hp

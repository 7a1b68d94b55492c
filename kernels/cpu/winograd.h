// Gradients of 3x3 convolutions by Winograd's algorithm (loops_winograd.h), where a Conv2d allows it and has the shape
// for it.
#pragma once

#include <memory>
#include <string>

#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/isa.h"
#include "runtime/kernels.h"

namespace hp {

// A function of one image's shape, so that the batch changes neither the choice nor the packed weight.
bool uses_winograd(const Conv2d&);

std::string winograd_format(const Conv2d&);
std::unique_ptr<Packed> allocate_winograd(const Conv2d&);

// The gradients themselves, as Kernels has them; threads and scratch memory are those of `state`. The forward pass
// stays as it is: a rounding that takes a pre-activation over 0 changes every gradient below it.
struct Winograd {
  DnnlState& state;
  Isa isa;

  void pack(const Conv2d&, const float* w, Packed& packed) const;
  void input_gradient(const Conv2d&, const Packed& w, const float* dy, float* dx) const;
  void weight_gradient(const Conv2d&, const float* x, const float* dy, float* dw) const;
};

}  // namespace hp

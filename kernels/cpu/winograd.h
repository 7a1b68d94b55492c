// 3x3 convolutions and their gradients by Winograd's algorithm (loops_winograd.h), where a Conv2d allows it and has the
// shape for it.
#pragma once

#include <memory>
#include <string>

#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/loops_winograd.h"
#include "runtime/kernels.h"

namespace hp {

// A function of one image's shape, so that the batch changes neither the choice nor the packed weight.
bool uses_winograd(const Conv2d&, ConvUse);

std::string winograd_format(const Conv2d&, PackUse);
std::unique_ptr<Packed> allocate_winograd(const Conv2d&, PackUse);

// As Kernels has them; threads and scratch memory are those of `state`.
struct Winograd {
  DnnlState& state;
  Isa isa;

  void pack(const Conv2d&, PackUse, const float* w, Packed& packed) const;
  void forward(const Conv2d&, const Packed& w, const WinogradAddends& addends, const float* x, float* y) const;
  void input_gradient(const Conv2d&, const Packed& w, const float* dy, float* dx) const;
  void weight_gradient(const Conv2d&, const float* x, const float* dy, float* dw) const;

 private:
  void run(int64_t batch, const WinogradMap& from, const WinogradMap& to, const float* u, const float* in,
           const WinogradAddends& addends, float* out) const;
  void run_strips(int64_t batch, const WinogradMap& from, const WinogradMap& to, const float* u, const float* in,
                  const WinogradAddends& addends, float* out) const;
  void run_points(int64_t tiles, const WinogradMap& from, const WinogradMap& to, const float* u, const float* in,
                  const WinogradAddends& addends, float* out) const;
};

}  // namespace hp

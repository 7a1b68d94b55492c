// Products: matrix products, and the convolutions that are nothing else: of single positions, as probes on pooled
// features and linear layers have, where there are many. Their weights are read as they lie, so that a training step
// need not pack them.
#pragma once

#include <dnnl.hpp>
#include <string_view>

#include "runtime/kernels.h"

namespace hp {

bool is_product(const Conv2d& conv);

inline constexpr std::string_view product_format = "rows as they lie";

// The plain weight [filters, channels]; nothing is copied.
class ProductWeight final : public Packed {
 public:
  explicit ProductWeight(const float* w) : values(w) {}
  bool is_view() const override { return true; }
  const float* values;
};

}  // namespace hp

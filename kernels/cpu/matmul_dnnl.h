// Products: matrix products, and the convolutions that are nothing else: of single positions, as probes on pooled
// features and linear layers have, where there are many. In training (Conv2d::fast) and towards the input their weights
// are read as they lie, so that nothing need be packed; forward passes with fixed weights have the library's layout.
#pragma once

#include <dnnl.hpp>
#include <string_view>

#include "kernels/cpu/dnnl_state.h"
#include "runtime/kernels.h"

namespace hp {

bool is_product(const Conv2d& conv);

// The layout that the library wants for the weight of a product, which is plain where its name is product_format.
const WeightLayout& product_layout(DnnlState& dnnl, const Conv2d& conv, PackUse use);

inline constexpr std::string_view product_format = "rows as they lie";

// The plain weight [filters, channels]; nothing is copied.
class ProductWeight final : public Packed {
 public:
  explicit ProductWeight(const float* w) : values(w) {}
  bool is_view() const override { return true; }
  const float* values;
};

}  // namespace hp

#include "tests/cases/cases.h"

namespace hp::cases {

const std::vector<Family>& all_families() {
  static const std::vector<Family> families = {{"elementwise", elementwise_cases},
                                               {"relevance", relevance_cases},
                                               {"rows", rows_cases},
                                               {"norm", norm_cases},
                                               {"attention", attention_cases},
                                               {"bcos", bcos_cases},
                                               {"losses", losses_cases},
                                               {"conv", conv_cases},
                                               {"matmul", matmul_cases},
                                               {"pool", pool_cases},
                                               {"resize", resize_cases},
                                               {"move", move_cases},
                                               {"maps", maps_cases},
                                               {"optimisers", optimisers_cases}};
  return families;
}

}  // namespace hp::cases

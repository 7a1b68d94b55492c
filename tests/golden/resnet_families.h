// The checks of B-cos ResNets and CLIP's ResNets, small in their source's container or as large as they are published.
#pragma once

#include <string>

namespace hp::golden {

void check_checkpoint_family(const std::string& name);
void check_formula_family(const std::string& name);

}  // namespace hp::golden

// The few combinations of ops that every model file uses.
#pragma once

#include <string>

#include "runtime/graph.h"
#include "runtime/ops/pool.h"

namespace hp {

struct ConvBn {
  std::string conv,
      norm;  // node names; parameters are "<conv>.weight", "<norm>.weight", ".bias", ".running_mean", ".running_var"
  int64_t filters = 0, kernel = 1, stride = 1, padding = 0;
};

Value conv_bn(Graph& graph, Value x, const ConvBn& layer);  // convolution without bias, batch norm with epsilon 1e-5
Value relu(Graph& graph, Value x, const std::string& name);
Value max_pool(Graph& graph, Value x, PoolParams params, const std::string& name);

// (x - mean) / std with the parameters "<name>.mean" and "<name>.variance".
Value normalise(Graph& graph, Value x, const std::string& name);

}  // namespace hp

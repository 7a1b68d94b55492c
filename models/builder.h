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
// B-cos convolution (B = 2) and uncentred batch norm without bias; parameters are "<conv>.linear.weight",
// "<norm>.weight" and "<norm>.running_var" (protocol.md 1.2).
Value bcos_conv_norm(Graph& graph, Value x, const ConvBn& layer);
Value relu(Graph& graph, Value x, const std::string& name);
Value max_pool(Graph& graph, Value x, PoolParams params, const std::string& name);
Value avg_pool(Graph& graph, Value x, PoolParams params, const std::string& name);
Value add(Graph& graph, Value branch, Value shortcut, const std::string& name);

// (x - mean) / std with the parameters "<name>.mean" and "<name>.variance".
Value normalise(Graph& graph, Value x, const std::string& name);
// What B-cos networks see of an image in [0, 1]: [r, g, b, 1-r, 1-g, 1-b].
Value inverse(Graph& graph, Value image, const std::string& name);

}  // namespace hp

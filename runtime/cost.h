// Cost: what a node computes and moves, counted from shapes alone.
#pragma once

namespace hp {

class Graph;
struct Step;

// `flops`: a multiplication and an addition count as two, and only ops that are bound by them count any (Op::flops).
// `bytes`: every value that is read, once, and every value that is written, once, weights included; what a cache saves
// or a kernel reads again is left out, so that time times bandwidth is at least this.
struct Cost {
  double flops = 0, bytes = 0;

  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
  friend Cost operator+(Cost a, const Cost& b) { return a += b; }
  friend Cost operator*(double factor, const Cost& cost) { return {factor * cost.flops, factor * cost.bytes}; }
};

// The node by itself, nothing fused into it; inputs and parameters cost nothing.
Cost forward_cost(const Graph& graph, int node);
// Every node that depends on an input of the graph: one forward pass.
Cost forward_cost(const Graph& graph);
// One kernel call of a plan: what is fused into it saves its values' way to memory and back.
Cost step_cost(const Graph& graph, const Step& step);
// The adjoint of input `which`, for messages of `targets` targets. (A convolution's adjoint costs as much as the
// convolution; attribution.md B.6.)
Cost vjp_cost(const Graph& graph, int node, int which, int targets = 1);

// Bytes of one value of float32.
double value_bytes(const Graph& graph, int node);

}  // namespace hp

// Plan: which kernel calls a forward pass makes, and where in one arena every value lies.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "runtime/graph.h"

namespace hp {

// Keep::outputs: what nothing needs any more makes room for later values. Keep::everything: every value stays for a
// reverse walk.
enum class Keep { outputs, everything };

// How long a block of an arena must live, in steps (both ends included).
struct Lifetime {
  size_t bytes = 0;
  int first = 0, last = 0;
};

// Offsets such that blocks whose lifetimes overlap do not; 64-byte aligned. Largest first, lowest gap that fits.
struct Layout {
  std::vector<size_t> offsets;
  size_t bytes = 0;
};
Layout lay_out(std::span<const Lifetime> lifetimes);

// One kernel call: computes `node` and, fused into it, what follows up to the node `result`: an addition and an
// activation, or a scale and a softmax.
struct Step {
  int node = -1;
  int addend = -1;  // the other operand of a fused addition; the result may lie in its place
  std::optional<Function> activation = {};
  float scale = 1;
  bool softmax = false;
  int result = -1;
};

// Fusion: conv (or linear, or add) -> ReLU shares one value, since after a ReLU "z > 0" is "y > 0": the node before the
// ReLU then *is* its output. Under Keep::outputs a conv also swallows the residual addition or another activation
// behind it. The scores of attention, their scale and the softmax are one step under both, since no vector-Jacobian
// product reads what the softmax is made of. Pinned nodes are never swallowed and never freed. A reverse walk that ends
// at the node `floor` needs no value below it but what nodes above read: under Keep::everything the nodes below are
// treated as under Keep::outputs. So are the values of `unread` (by node; none: empty), which walks do not read at all.
class Plan {
 public:
  Plan(const Graph& graph, Keep keep, std::span<const int> pinned, int floor = 0, std::vector<bool> unread = {});

  const std::vector<Step>& steps() const { return steps_; }
  // The node that holds the value of `node`: itself, or the ReLU that was fused into it; -1 if it is never
  // materialised.
  int holder(int node) const { return holder_[static_cast<size_t>(node)]; }
  bool readable(int node) const { return kept_[static_cast<size_t>(node)]; }  // still there after the pass
  size_t offset(int node) const { return offset_[static_cast<size_t>(node)]; }
  size_t saved_offset(int node) const { return saved_offset_[static_cast<size_t>(node)]; }
  size_t bytes() const { return bytes_; }
  int floor() const { return floor_; }  // nothing can be walked back below it

 private:
  void fuse(const Graph& graph, const std::vector<bool>& pinned);
  void fuse_addend(const Graph& graph, const std::vector<bool>& pinned, Step& step);
  void fuse_activation(const Graph& graph, const std::vector<bool>& pinned, Step& step);
  void fuse_softmax(const Graph& graph, const std::vector<bool>& pinned, Step& step);
  void swallow(int node, int by, int holder);
  int dying_addend(const Graph& graph, int s, const std::vector<int>& last_use) const;
  void place(const Graph& graph, const std::vector<bool>& pinned);

  int floor_;
  std::vector<bool> unread_;

  std::vector<Step> steps_;
  std::vector<int> holder_;
  std::vector<bool> swallowed_;  // computed by another node's step
  std::vector<bool> kept_;
  std::vector<size_t> offset_, saved_offset_;
  size_t bytes_ = 0;
};

}  // namespace hp

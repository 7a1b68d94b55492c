// Propagator: the reverse walk. Seeds enter at entries, every node's rule pulls the message of its output to its
// inputs, taps keep what the caller wants to see. A gradient, a relevance map and a training step are this walk with
// another table of rules.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/observer.h"
#include "runtime/rule.h"

namespace hp {

// Where a walk starts: a one-hot at a head's logits, or the stacked messages of several heads at `features`.
// Multipliers.
struct Entry {
  int node = -1;
  Message message;
};

// What a walk keeps: the whole message of a node (a parameter's message is its gradient), or only its relevance summed
// per target and image, which is enough for a conservation report; `balance` keeps besides what the node's rule handed
// on to its inputs, so that a difference has a name.
struct Tap {
  enum class Keep { message, sums, balance };
  int node = -1;
  Keep keep = Keep::message;
  Tensor into = {};  // where the message goes, if not to memory of its own; [targets * batch, ...] like it
};

class Route;

class RelevanceTrace {
 public:
  const Message& at(int node) const;  // throws hp::Error if the node was not tapped or no message reached it
  bool has(int node) const { return messages_.contains(node); }
  // Relevance (M * value, or R) of each row t * batch + b of a tapped node, on the host.
  const std::vector<float>& sums(int node) const;
  // Of a node with Tap::Keep::balance: the relevance of each row that its rule gave to all inputs together.
  const std::vector<float>& handed_on(int node) const;
  const std::vector<std::string>& defaults() const {
    return defaults_;
  }  // nodes that a composite left to the default rule

 private:
  friend class Propagator;
  std::map<int, Message> messages_;
  std::map<int, std::vector<float>> sums_, handed_on_;
  std::vector<std::string> defaults_;
};

// Target-independent values of one forward pass for one composite; made once, used for every chunk of targets.
struct Prepared {
  Activations activations;
  std::map<int, std::vector<Tensor>> tensors;
};

class Propagator {
 public:
  // `chunk_bytes` bounds the messages that live at once; targets are walked in chunks that fit. The results do not
  // depend on it.
  Propagator(const Graph& graph, const Composite& composite, Kernels& kernels, size_t chunk_bytes = size_t{1} << 30);

  Prepared prepare(const Activations& activations);
  // All entries have the same number of targets. The walk visits only nodes between the entries and the taps. Where a
  // tap is but an entry, the trace shares the entry's memory.
  RelevanceTrace run(const Prepared& prepared, std::span<const Entry> entries, std::span<const Tap> taps);
  RelevanceTrace run(const Activations& activations, std::span<const Entry> entries, std::span<const Tap> taps) {
    return run(prepare(activations), entries, taps);
  }

  const std::vector<Choice>& choices() const { return choices_; }
  size_t bytes() const { return pool_.bytes(); }  // device memory held for messages, prepared and scratch values

 private:
  Tensor place_for(const Route& route, std::span<const Entry> entries, const Tap& tap, int targets);
  void walk(const Prepared& prepared, const Route& route, std::span<const Entry> entries, int first, int count,
            int targets, RelevanceTrace& trace);
  void pull_into(const Prepared& prepared, const NodeView& view, const Message& out, int which, const Message& in,
                 bool add, std::span<float> handed_on);
  void pull_together(const NodeView& view, const Message& out, std::span<const Message> in,
                     const std::vector<bool>& written);
  void convert(const Prepared& prepared, int node, Form from, const Message& message);
  std::span<float> keep_sums(const Prepared& prepared, const Route& route, const Message& message, int node, int first,
                             RelevanceTrace& trace);
  void add_sums(const Prepared& prepared, int node, const Message& message, std::span<float> sums);
  Activity activity_at(const Route& route, int node, int targets) const;

  const Graph& graph_;
  Kernels& kernels_;
  ArenaPool pool_;
  std::vector<Choice> choices_;
  size_t chunk_bytes_;
};

}  // namespace hp

// Route: which nodes a walk visits for its entries and taps, in which form each message arrives, and where it lies.
// Known before anything is computed, like the Plan of a forward pass.
#pragma once

#include <span>
#include <vector>

#include "runtime/propagator.h"

namespace hp {

class Route {
 public:
  Route(const Graph& graph, const std::vector<Choice>& choices, std::span<const Entry> entries,
        std::span<const Tap> taps);

  // Gives the messages of so many targets their places; `offset` and `bytes` hold from then on.
  void lay_out(int64_t targets);

  bool in_trace(int node) const {
    const Tap* tap = taps[static_cast<size_t>(node)];
    return tap && tap->keep == Tap::Keep::message;
  }
  // Those that a message arrives at.
  std::vector<int> reached_only(std::span<const int> nodes) const;
  // Could the node's rule write the messages of all its inputs at once?
  bool may_pull_together(int node) const;

  // Per node.
  std::vector<bool> reached;     // a message arrives at this value
  std::vector<bool> wanted;      // the value or something below it is tapped
  std::vector<const Tap*> taps;  // or none
  std::vector<Form> form;        // of the message
  std::vector<int> place;        // the node whose memory the message lies in: its own or a consumer's
  std::vector<bool> in_place;    // the node's rule turns its message into that of all inputs where it lies
  std::vector<bool> read_only;   // the message shares its memory with one that is read later
  std::vector<size_t> offset;    // of the message in the arena of one chunk
  size_t bytes = 0;              // of that arena
  int top = 0;                   // the highest entry

 private:
  void find_reached(std::span<const Entry> entries);
  Form form_of(int node) const;
  std::vector<int> carried_inputs(int node) const;
  bool may_share(std::span<const Entry> entries, int node) const;
  void share_messages(std::span<const Entry> entries);

  const Graph& graph_;
  const std::vector<Choice>& choices_;
};

}  // namespace hp

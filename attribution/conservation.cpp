#include "attribution/conservation.h"

#include <algorithm>
#include <cmath>

namespace hp {

std::vector<int> cuts(const Graph& graph, int from, int to) {
  const auto count = static_cast<size_t>(graph.size());
  std::vector<bool> above(count, false), between(count, false);  // reached upwards from `to`; on a path
  above[static_cast<size_t>(to)] = true;
  for (int i = to + 1; i <= from; ++i) {
    for (int input : graph.node(i).inputs) {
      if (above[static_cast<size_t>(input)]) above[static_cast<size_t>(i)] = true;
    }
  }
  if (!above[static_cast<size_t>(from)]) return {};
  between[static_cast<size_t>(from)] = true;
  std::vector<int> found;
  // Node order is a topological order, so an edge avoids a node exactly if it jumps over its index.
  int lowest_input = from;  // of the nodes above `i`
  for (int i = from; i >= to; --i) {
    if (!between[static_cast<size_t>(i)]) continue;
    if (lowest_input >= i) found.push_back(i);
    for (int input : graph.node(i).inputs) {
      if (!above[static_cast<size_t>(input)]) continue;
      between[static_cast<size_t>(input)] = true;
      lowest_input = std::min(lowest_input, input);
    }
  }
  return found;
}

double Conservation::error(const Cut& cut) const {
  double largest = 0;
  for (size_t row = 0; row < start.size(); ++row) {
    if (start[row] == 0) continue;
    const double off = std::fabs((static_cast<double>(cut.sums[row]) - start[row]) / start[row]);
    if (std::isnan(off)) return off;
    largest = std::max(largest, off);
  }
  return largest;
}

void add_cut_taps(const Graph& graph, std::vector<Tap>& taps) {
  for (int cut : cuts(graph, graph.find("features"), graph.find("model_input"))) {
    const bool there = std::any_of(taps.begin(), taps.end(), [&](const Tap& tap) { return tap.node == cut; });
    if (!there) taps.push_back({cut, Tap::Keep::sums});
  }
}

Conservation read_conservation(Session& session, const Pass& pass, const RelevanceTrace& trace,
                               std::vector<float> start, std::span<const Tap> taps) {
  const Graph& graph = pass.graph();
  Conservation result{std::move(start), {}};
  const auto rows = static_cast<int64_t>(result.start.size());
  for (int node : cuts(graph, graph.find("features"), graph.find("model_input"))) {
    const auto tap = std::find_if(taps.begin(), taps.end(), [&](const Tap& each) { return each.node == node; });
    if (tap->keep != Tap::Keep::message) {
      result.cuts.push_back({graph.node(node).name, trace.sums(node)});
      continue;
    }
    const Tensor relevance = session.relevance(pass, node, trace.at(node));
    const auto [kernels, scratch] = session.context();
    const Tensor sums = scratch.take(Shape{rows});
    kernels.row_dots({rows, relevance.count() / rows}, 1, nullptr, relevance.floats(), sums.floats());
    std::vector<float> host(static_cast<size_t>(rows));
    kernels.download(sums.floats(), sums.bytes(), host.data());
    result.cuts.push_back({graph.node(node).name, std::move(host)});
  }
  return result;
}

}  // namespace hp

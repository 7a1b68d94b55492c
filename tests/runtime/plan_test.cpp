#include "runtime/plan.h"

#include <doctest/doctest.h>

#include "tests/support/small_nets.h"

using namespace hp;

namespace {

const Step* step_of(const Plan& plan, int node) {
  for (const Step& step : plan.steps()) {
    if (step.node == node) return &step;
  }
  return nullptr;
}

}  // namespace

TEST_CASE("plan: blocks that live together never overlap, and reuse pays") {
  std::vector<Lifetime> blocks;
  size_t sum = 0;
  for (uint32_t i = 0; i < 200; ++i) {
    const int first = static_cast<int>(golden::mix(i, 1) % 100);
    blocks.push_back({golden::mix(i, 2) % 5000, first, first + static_cast<int>(golden::mix(i, 3) % 10)});
    sum += blocks.back().bytes;
  }
  const Layout layout = lay_out(blocks);
  for (size_t a = 0; a < blocks.size(); ++a) {
    CHECK(layout.offsets[a] % 64 == 0);
    CHECK(layout.offsets[a] + blocks[a].bytes <= layout.bytes);
    for (size_t b = 0; b < a; ++b) {
      const bool together = blocks[a].first <= blocks[b].last && blocks[b].first <= blocks[a].last;
      const bool apart = layout.offsets[a] + blocks[a].bytes <= layout.offsets[b] ||
                         layout.offsets[b] + blocks[b].bytes <= layout.offsets[a];
      if (together && blocks[a].bytes && blocks[b].bytes) REQUIRE(apart);
    }
  }
  CHECK(layout.bytes < sum / 4);
}

TEST_CASE("plan: what is fused, and what pinning forbids") {
  // Folding is tested apart: here a graph without batch norm, as after folding.
  Graph g;
  const Value image = g.input("image", {1, 8, 8, 4});
  auto conv = [&](Value x, const std::string& name) {
    const Value w = g.parameter(name + ".weight", {4, 4, 3, 3});
    Conv2dOp::Params params;
    params.padding = 1;
    return g.add(std::make_shared<Conv2dOp>(params), {x, w}, name);
  };
  const Value r1 = relu(g, conv(image, "c1"), "r1");
  const Value c2 = conv(r1, "c2");
  const Value sum = g.add(std::make_shared<AddOp>(), {c2, r1}, "sum");
  const Value r2 = relu(g, sum, "r2");
  const int c1 = g.find("c1");

  const Plan inference(g, Keep::outputs, {});
  CHECK(inference.steps().size() == 2);
  REQUIRE(step_of(inference, c2.index));
  CHECK(step_of(inference, c2.index)->addend == r1.index);
  CHECK(step_of(inference, c2.index)->activation == Function::relu);
  CHECK(step_of(inference, c2.index)->result == r2.index);
  CHECK_FALSE(inference.readable(c1));
  CHECK_FALSE(inference.readable(c2.index));
  CHECK(inference.readable(r2.index));

  const Plan walk(g, Keep::everything, {});
  CHECK(walk.steps().size() == 3);
  CHECK(walk.holder(c1) == r1.index);
  CHECK(walk.holder(sum.index) == r2.index);
  CHECK(walk.holder(c2.index) == c2.index);
  CHECK(walk.readable(c2.index));

  // A walk that ends at the sum reads neither the branch nor what is below it.
  const std::vector<int> end{sum.index};
  const Plan top(g, Keep::everything, end, sum.index);
  CHECK(step_of(top, c2.index)->addend == r1.index);
  CHECK(step_of(top, c2.index)->result == sum.index);
  CHECK(top.readable(sum.index));
  CHECK(top.readable(r2.index));
  CHECK_FALSE(top.readable(c2.index));
  CHECK_FALSE(top.readable(r1.index));

  // What no rule reads is as if nothing were walked.
  std::vector<bool> unread(static_cast<size_t>(g.size()), false);
  unread[static_cast<size_t>(c2.index)] = true;
  const Plan lean(g, Keep::everything, {}, 0, unread);
  CHECK(lean.steps().size() == 2);
  CHECK(step_of(lean, c2.index)->result == r2.index);
  CHECK_FALSE(lean.readable(c2.index));
  CHECK(lean.holder(sum.index) == r2.index);
  CHECK(lean.readable(r2.index));
  CHECK(lean.readable(r1.index));
  CHECK(lean.bytes() < walk.bytes());
  const std::vector<int> looked_at{c2.index};
  CHECK(Plan(g, Keep::everything, looked_at, 0, unread).readable(c2.index));

  // One that ends at the branch still reads both inputs of the addition above it.
  const std::vector<int> branch{c2.index};
  const Plan middle(g, Keep::everything, branch, c2.index);
  CHECK(middle.steps().size() == 3);
  CHECK(middle.readable(c2.index));
  CHECK(middle.readable(r1.index));
  CHECK(middle.floor() == c2.index);
  CHECK(inference.floor() == g.size());

  const std::vector<int> pins{c1, sum.index};
  const Plan pinned(g, Keep::everything, pins);
  CHECK(pinned.steps().size() == 5);
  CHECK(pinned.holder(c1) == c1);
  CHECK(pinned.holder(sum.index) == sum.index);
}

TEST_CASE("plan: a sum takes the place of what is added, where nothing else needs that") {
  Graph g;
  const Value image = g.input("image", {1, 8, 8, 4});
  auto conv = [&](Value x, const std::string& name) {
    const Value w = g.parameter(name + ".weight", {4, 4, 1, 1});
    return g.add(std::make_shared<Conv2dOp>(Conv2dOp::Params{}), {x, w}, name);
  };
  const Value block = relu(g, conv(image, "c1"), "r1");
  const Value inner = relu(g, conv(block, "c2"), "r2");
  const Value c3 = conv(inner, "c3");
  const Value sum = relu(g, g.add(std::make_shared<AddOp>(), {c3, block}, "sum"), "r3");
  const Value direct = g.add(std::make_shared<AddOp>(), {conv(sum, "c4"), sum}, "direct");
  conv(direct, "c5");

  const Plan plan(g, Keep::outputs, {});
  CHECK(plan.offset(sum.index) == plan.offset(block.index));
  CHECK(plan.offset(inner.index) != plan.offset(block.index));
  CHECK(plan.offset(direct.index) != plan.offset(sum.index));  // c4 reads what is added to it

  const std::vector<int> pins{block.index};
  const Plan pinned(g, Keep::outputs, pins);
  CHECK(pinned.offset(sum.index) != pinned.offset(block.index));
}

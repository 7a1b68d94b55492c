#include "runtime/executor.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/error.h"
#include "runtime/fold.h"
#include "runtime/sliced_executor.h"
#include "tests/support/small_nets.h"

using namespace hp;
using testing::formula_parameters;
using testing::formula_tensor;
using testing::relative_error;
using testing::same_bits;
using testing::small_resnet;

TEST_CASE("executor: fused, kept and pinned passes agree") {
  CpuKernels kernels;
  const Graph unfolded = small_resnet(3);
  const Folded folded = fold_norms(unfolded, formula_parameters(unfolded));
  const Tensor image = formula_tensor("image", {3, 8, 8, 3});
  const int logits = folded.graph.find("logits");
  Executor outputs(folded.graph, folded.parameters, kernels, Keep::outputs);
  Executor everything(folded.graph, folded.parameters, kernels, Keep::everything);
  std::vector<int> all;
  for (int i = 0; i < folded.graph.size(); ++i) all.push_back(i);
  Executor pinned(folded.graph, folded.parameters, kernels, Keep::everything, all);
  const Activations a = outputs.run(image), b = everything.run(image), c = pinned.run(image);
  CHECK(relative_error(a.value(logits), c.value(logits)) < 1e-6);
  CHECK(relative_error(b.value(logits), c.value(logits)) < 1e-6);
  CHECK(outputs.plan().bytes() < everything.plan().bytes());
  CHECK_THROWS_AS(a.value(folded.graph.find("relu1")), Error);
  CHECK(b.is_after_relu(folded.graph.find("conv1")));
  CHECK_FALSE(c.is_after_relu(folded.graph.find("conv1")));
  // Pinned values before the ReLU have negative elements; where the ReLU is fused in, they have none.
  const Tensor &before = c.value(folded.graph.find("conv1")), &after = b.value(folded.graph.find("conv1"));
  CHECK(*std::min_element(before.floats(), before.floats() + before.count()) < 0);
  CHECK(*std::min_element(after.floats(), after.floats() + after.count()) == 0);
}

TEST_CASE("folding: same logits, old names, also with negative scales") {
  CpuKernels kernels;
  const Graph graph = small_resnet(2);
  const Parameters parameters = formula_parameters(graph);
  const Folded folded = fold_norms(graph, parameters);
  const Tensor image = formula_tensor("image", {2, 8, 8, 3});
  Executor plain(graph, parameters, kernels, Keep::outputs);
  Executor merged(folded.graph, folded.parameters, kernels, Keep::outputs);
  CHECK(relative_error(merged.run(image).value(folded.graph.find("logits")),
                       plain.run(image).value(graph.find("logits"))) < 2e-6);
  CHECK(folded.graph.find("bn3") == folded.graph.find("conv3"));
  CHECK(folded.bias_of.at("conv3") == "conv3.bias");
  CHECK(folded.bias_of.size() == 4);
  CHECK_FALSE(folded.graph.contains("bn3.weight"));
  const Graph other = folded.graph.with_batch(5);
  CHECK(other.find("bn3") == other.find("conv3"));
}

TEST_CASE("executor: a batch in slices is the batch, a rest included, and takes less memory") {
  CpuKernels kernels;
  const Graph unfolded = small_resnet(7);
  const Folded folded = fold_norms(unfolded, formula_parameters(unfolded));
  const Tensor image = formula_tensor("image", {7, 8, 8, 3});
  const std::vector<int> pins{folded.graph.find("relu3")};
  const size_t one = Plan(folded.graph.with_batch(1), Keep::outputs, pins).bytes();
  SlicedExecutor whole(folded.graph, folded.parameters, kernels, "relu3");
  CHECK(whole.slice() == 7);
  const Tensor want = whole.run(image);
  Executor plain(folded.graph, folded.parameters, kernels, Keep::outputs, pins);
  CHECK(same_bits(want, plain.run(image).value(pins[0])));
  for (const int64_t slice : {3, 1}) {
    SlicedExecutor sliced(folded.graph, folded.parameters, kernels, "relu3", static_cast<size_t>(slice) * one);
    CHECK(sliced.slice() == slice);
    const Tensor got = sliced.run(image);
    CHECK(got.shape() == want.shape());
    CHECK(relative_error(got, want) < 1e-6);
    const size_t bytes = sliced.context().scratch.bytes();
    CHECK(same_bits(sliced.run(image), got));
    CHECK(sliced.context().scratch.bytes() <= 2 * bytes);  // a result that the caller holds is left alone
  }
  CHECK(SlicedExecutor(folded.graph, folded.parameters, kernels, "relu3", 1).slice() == 1);
  CHECK(SlicedExecutor(folded.graph, folded.parameters, kernels, "relu3", 6 * one).slice() ==
        4);  // 4 and 3, not 6 and 1
  CHECK_THROWS_WITH_AS(whole.run(image.rows(0, 3)), doctest::Contains("another batch"), Error);
}

TEST_CASE("executor: passes own their arenas, and a steady state allocates nothing") {
  CpuKernels kernels;
  const Graph graph = small_resnet(2);
  const Parameters parameters = formula_parameters(graph);
  Executor executor(graph, parameters, kernels, Keep::everything);
  const Tensor first = formula_tensor("first", {2, 8, 8, 3}), second = formula_tensor("second", {2, 8, 8, 3});
  const int logits = graph.find("logits");
  Activations a = executor.run(first);
  const Tensor kept = Tensor::host({2, 5}, {a.value(logits).floats(), 10});
  const Activations b = executor.run(second);
  CHECK(same_bits(a.value(logits), kept));
  CHECK_FALSE(same_bits(b.value(logits), kept));
  const size_t bytes = executor.context().scratch.bytes();
  const int64_t packs = parameters.weight("conv1.weight").packs_made();
  for (int i = 0; i < 5; ++i) a = executor.run(first);
  CHECK(same_bits(a.value(logits), kept));
  // Two passes live at the moment of the assignment, so one more arena may have been made; no more after that.
  CHECK(executor.context().scratch.bytes() <= bytes + executor.plan().bytes());
  CHECK(parameters.weight("conv1.weight").packs_made() == packs);
}

TEST_CASE("executor: a weight that nodes compute is computed when its parameters change, and only then") {
  CpuKernels kernels;
  Graph g;
  const Value x = g.input("x", {4, 3});
  const Value w = g.parameter("w", {2, 3});
  const Value doubled = g.add(std::make_shared<AffineOp>(2.0f, 0.0f), {w}, "doubled");
  g.add(std::make_shared<LinearOp>(), {x, doubled}, "y");
  Parameters parameters;
  parameters.set("w", formula_tensor("w", {2, 3}));
  Executor executor(g, parameters, kernels, Keep::outputs);
  const Tensor input = formula_tensor("x", {4, 3});
  const Activations before = executor.run(input);
  Weight* weight = before.operand(doubled.index).weight;
  REQUIRE(weight);
  const uint64_t version = weight->version();
  executor.run(input);
  CHECK(weight->version() == version);
  CHECK(weight->packs_made() == 1);
  Tensor larger = formula_tensor("w", {2, 3}, 3.0f);
  const Tensor kept = Tensor::host({4, 2}, {before.value(g.find("y")).floats(), 8});
  parameters.set("w", larger);
  const Activations after = executor.run(input);
  CHECK(weight->version() > version);
  CHECK(after.value(g.find("y")).floats()[0] == doctest::Approx(3 * kept.floats()[0]).epsilon(1e-5));
}

TEST_CASE("executor: wrong inputs and missing parameters are named") {
  CpuKernels kernels;
  const Graph graph = small_resnet(2);
  Parameters parameters = formula_parameters(graph);
  Executor executor(graph, parameters, kernels, Keep::outputs);
  CHECK_THROWS_WITH_AS(executor.run(formula_tensor("image", {1, 8, 8, 3})), doctest::Contains("'image'"), Error);
  CHECK_THROWS_WITH_AS(executor.run(std::span<const Tensor>()), doctest::Contains("wrong number of inputs"), Error);
  Parameters incomplete;
  incomplete.set("conv1.bias", formula_tensor("w", {16}));
  CHECK_THROWS_WITH_AS(Executor(graph, incomplete, kernels, Keep::outputs), doctest::Contains("conv1.weight"), Error);
  parameters.set("fc.bias", formula_tensor("w", {6}));
  CHECK_THROWS_WITH_AS(Executor(graph, parameters, kernels, Keep::outputs), doctest::Contains("fc.bias"), Error);
}

#include "runtime/graph.h"

#include <doctest/doctest.h>

#include <functional>

#include "runtime/error.h"
#include "tests/support/small_nets.h"

using namespace hp;
using testing::small_resnet;

namespace {

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("shapes: counts, rows, errors") {
  const Shape shape{2, 3, 4};
  CHECK(shape.count() == 24);
  CHECK(shape.rows() == 6);
  CHECK(shape.columns() == 4);
  CHECK(shape[-1] == 4);
  CHECK(shape.with(0, 5) == Shape{5, 3, 4});
  CHECK(shape.str() == "[2, 3, 4]");
  CHECK(Shape{}.count() == 1);
  CHECK(Shape{0, 7}.rows() == 0);
  CHECK_THROWS_AS(Shape({-1}), Error);
  CHECK_THROWS_AS(Shape({int64_t{1} << 40, int64_t{1} << 40}), Error);
  CHECK_THROWS_AS(Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}), Error);
}

TEST_CASE("tensors: views stay inside their storage and types are checked") {
  Tensor t = Tensor::host({4, 3});
  for (int i = 0; i < 12; ++i) t.floats()[i] = static_cast<float>(i);
  CHECK(t.rows(1, 3).floats()[0] == 3);
  CHECK(t.rows(1, 3).shape() == Shape{2, 3});
  CHECK(t.reshaped({12}).floats()[11] == 11);
  CHECK_THROWS_AS(t.rows(2, 5), Error);
  CHECK_THROWS_AS(t.reshaped({13}), Error);
  CHECK_THROWS_AS(t.data<int16_t>(), Error);
  CHECK_THROWS_AS(Tensor().floats(), Error);
  CHECK_THROWS_AS(Tensor({100}, DType::float32, std::make_shared<Storage>(allocate_host(64))), Error);
}

TEST_CASE("graph: shapes are inferred and errors name the node") {
  Graph g = small_resnet(2);
  CHECK(g.node(g.find("maxpool")).shape == Shape{2, 4, 4, 16});
  CHECK(g.node(g.find("add")).shape == Shape{2, 2, 2, 32});
  CHECK(g.node(g.find("logits")).shape == Shape{2, 5});
  const Value x{g.find("relu3")}, y{g.find("maxpool")};
  const std::string text = error_of([&] { g.add(std::make_shared<AddOp>(), {x, y}, "bad_add"); });
  CHECK(contains(text, "[add]"));
  CHECK(contains(text, "[2, 2, 2, 32] and [2, 4, 4, 16]"));
  CHECK(contains(text, "bad_add"));
  CHECK(contains(error_of([&] { g.input("image", {1}); }), "name taken"));
  CHECK(contains(error_of([&] { g.find("conv9"); }), "conv3"));
}

TEST_CASE("graph: another batch size, aliases and patterns survive") {
  Graph g = small_resnet(2);
  g.alias("features", {g.find("relu3")});
  const Graph h = g.with_batch(7);
  CHECK(h.node(h.find("logits")).shape == Shape{7, 5});
  CHECK(h.find("features") == h.find("relu3"));
  CHECK(h.match("conv?").size() == 3);
  CHECK(h.match("feat*") == std::vector<int>{h.find("relu3")});
  CHECK(glob("layer4.*.conv3", "layer4.12.conv3"));
  CHECK_FALSE(glob("layer4.*.conv3", "layer4.1.conv2"));
  CHECK(glob("*", ""));
  CHECK_FALSE(glob("a*b", "ac"));
}

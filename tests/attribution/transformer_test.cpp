// LRP through transformers: against the formulas on relevance in double precision, conservation, and what is refused.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "attribution/composites.h"
#include "attribution/method.h"
#include "attribution/rules/attention_rules.h"
#include "runtime/error.h"
#include "tests/attribution/device.h"
#include "tests/attribution/transformer_network.h"

namespace hp {
namespace {

using nlohmann::json;
using test::DenseTransformer;
using test::Grid;
using test::TestDevice;

// A small transformer with one head and two images, and what the dense one says of image 1 and target 2.
struct Setting {
  TestDevice device;
  Folded backbone;
  std::vector<Head> heads;
  Parameters all;
  Session session;
  Tensor images;
  std::vector<int> targets = {0, 2, 4, 3};

  explicit Setting(bool biases)
      : backbone(test::small_transformer(biases)),
        heads(test::small_heads({"head"}, {1, 1, 1, 8}, 5, biases, false)),
        all(test::with_head(backbone, heads[0])),
        session(backbone, heads, device.kernels()),
        images(device.tensor({2, 4, 4, 3}, golden::image_tensor("images", 96))) {
    if (!biases) all.set("head.bias", device.tensor({5}, std::vector<float>(5)));
  }

  Explanation explain(const std::string& base, const Watch& watch = {}) {
    const json composite{{"base", base}, {"epsilon", 0}};
    return make_attribution("lrp", {{"composite", composite}})->explain(session, images, targets, watch);
  }

  // An image's model input as patches of pixels in the order channel, row, column.
  Grid patches(int64_t image) {
    const Pass pass = session.forward(images, {"gradient", {}, {}});
    const std::vector<float> x = device.values(pass.activations().value(pass.graph().find("model_input")));
    return test::patches_of(std::span(x).subspan(static_cast<size_t>(image * 48), 48));
  }
  DenseTransformer::Relevance dense(int64_t row, bool through_softmax) {
    DenseTransformer transformer({}, all);
    return transformer.explain(patches(row % 2), targets[static_cast<size_t>(row)], through_softmax);
  }
};

double magnitude(const Grid& grid) {
  double largest = 0;
  for (const double value : grid.values) largest = std::max(largest, std::abs(value));
  return largest;
}

TEST_CASE("AttnLRP and CP-LRP are the formulas on relevance, for every image and target") {
  Setting setting(true);
  for (const char* base : {"attn_lrp", "cp_lrp"}) {
    const Explanation explanation = setting.explain(base);
    const std::vector<float> raw = setting.device.values(explanation.raw);
    for (int64_t row = 0; row < 4; ++row) {
      const auto want = setting.dense(row, base == std::string("attn_lrp"));
      CHECK(explanation.logits[row] == doctest::Approx(want.logit).epsilon(1e-5));
      for (int64_t i = 0; i < 48; ++i) {
        const double got = raw[static_cast<size_t>(row * 48 + test::patch_pixel(i))];
        CHECK_MESSAGE(std::abs(got - want.patches.values[i]) < 2e-4 * magnitude(want.patches), base, " ", row, " ", i);
      }
    }
  }
}

TEST_CASE("AttnLRP's relevance of the attention is the formula's, in every block") {
  Setting setting(true);
  const Explanation explanation =
      setting.explain("attn_lrp", {.layers = {"blocks.0.attn.softmax", "blocks.1.attn.softmax"}});
  for (int64_t row = 0; row < 4; ++row) {
    const auto want = setting.dense(row, true);
    for (int64_t block = 0; block < 2; ++block) {
      const std::vector<float> got =
          setting.device.values(explanation.layers.at(fmt::format("blocks.{}.attn.softmax", block)));
      const Grid& relevance = want.attention[block];
      for (size_t i = 0; i < relevance.values.size(); ++i) {
        CHECK(std::abs(got[row * relevance.values.size() + i] - relevance.values[i]) < 1e-4 * magnitude(relevance));
      }
    }
  }
}

TEST_CASE("CP-LRP conserves relevance without biases, AttnLRP does not (attribution.md F.12)") {
  Setting setting(false);
  const Explanation cp = setting.explain("cp_lrp", {.layers = {}, .conservation = true});
  const std::vector<float> raw = setting.device.values(cp.raw);
  for (int64_t row = 0; row < 4; ++row) {
    const auto from = raw.begin() + row * 48;
    CHECK(std::accumulate(from, from + 48, 0.0) == doctest::Approx(cp.logits[row]).epsilon(1e-4));
  }
  REQUIRE(cp.conservation);
  CHECK(cp.conservation->cuts.size() > 5);
  for (const Conservation::Cut& cut : cp.conservation->cuts) CHECK(cp.conservation->error(cut) < 1e-4);
  const Explanation attn = setting.explain("attn_lrp", {.layers = {}, .conservation = true});
  const std::vector<float> lossy = setting.device.values(attn.raw);
  double largest = 0;
  for (int64_t row = 0; row < 4; ++row) {
    const auto from = lossy.begin() + row * 48;
    const double sum = std::accumulate(from, from + 48, 0.0), logit = attn.logits[row];
    const auto want = setting.dense(row, true);
    const double gains = std::accumulate(want.softmax_gains.begin(), want.softmax_gains.end(), 0.0);
    CHECK(sum - logit == doctest::Approx(gains).epsilon(2e-3));  // the softmaxes made all of it
    largest = std::max(largest, std::abs(sum / logit - 1));
  }
  CHECK(largest > 0.01);
}

TEST_CASE("zennit's composites treat transformers as CP-LRP does, and refuse relevance that is copied") {
  Setting setting(true);
  const std::vector<float> cp = setting.device.values(setting.explain("cp_lrp").raw);
  json composite{
      {"base", "epsilon_plus"}, {"epsilon", 0}, {"rules", {{{"on", "conv2d"}, {"rule", "epsilon"}, {"epsilon", 0}}}}};
  const auto explain = [&] {
    return make_attribution("lrp", {{"composite", composite}})
        ->explain(setting.session, setting.images, setting.targets);
  };
  const std::vector<float> plus = setting.device.values(explain().raw);
  for (size_t i = 0; i < cp.size(); ++i) CHECK(std::abs(plus[i] - cp[i]) < 1e-3);
  composite["residual"] = "copy";
  CHECK_THROWS_WITH_AS(explain(), doctest::Contains("makes no sense at"), Error);
  composite = {{"base", "attn_lrp"}, {"residual", "copy"}};
  CHECK_THROWS_WITH_AS(explain(), doctest::Contains("unknown option"), Error);
}

TEST_CASE("the gamma rule may stand at the linear ops of AttnLRP") {
  Setting setting(true);
  const json gamma{{"base", "attn_lrp"},
                   {"rules",
                    {{{"on", "linear"}, {"rule", "gamma"}, {"gamma", 0.05}},
                     {{"on", "conv2d"}, {"rule", "gamma"}, {"gamma", 0.25}}}}};
  const std::vector<float> got = setting.device.values(
      make_attribution("lrp", {{"composite", gamma}})->explain(setting.session, setting.images, setting.targets).raw);
  const std::vector<float> epsilon = setting.device.values(setting.explain("attn_lrp").raw);
  CHECK(test::distance(got, epsilon) > 0.01);
  for (const float value : got) CHECK(std::isfinite(value));
}

// One map of [heads * tokens, tokens] by f(values of the heads).
template <class F>
Grid fused(const Grid& maps, F f) {
  Grid one(5, 5);
  for (int64_t i = 0; i < 25; ++i) one.values[i] = f(maps.values[i], maps.values[25 + i]);
  return one;
}

Grid matrix_product(const Grid& a, const Grid& b) {
  Grid y(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < b.columns; ++j) {
      for (int64_t k = 0; k < a.columns; ++k) y.at(i, j) += a.at(i, k) * b.at(k, j);
    }
  }
  return y;
}

Grid unit_matrix() {
  Grid unit(5, 5);
  for (int64_t i = 0; i < 5; ++i) unit.at(i, i) = 1;
  return unit;
}

double mean(double a, double b) { return (a + b) / 2; }

// Of all rows, the patches' part of a matrix's row of the class token.
void check_raw(Setting& setting, const Explanation& explanation, int64_t row, const Grid& matrix) {
  const std::vector<float> raw = setting.device.values(explanation.raw);
  REQUIRE(raw.size() == 16);
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(std::abs(raw[static_cast<size_t>(row * 4 + i)] - matrix.at(0, i + 1)) < 1e-5 * magnitude(matrix));
  }
}

Explanation explain(Setting& setting, const std::string& method, const json& options) {
  return make_attribution(method, options)->explain(setting.session, setting.images, setting.targets);
}

TEST_CASE("raw attention and rollout are the products of attribution.md F.1 and F.2") {
  Setting setting(true);
  const Explanation raw = explain(setting, "raw_attention", {}),
                    second = explain(setting, "raw_attention", {{"head", 1}}),
                    rollout = explain(setting, "attention_rollout", {}),
                    largest = explain(setting, "attention_rollout", {{"fusion", "max"}, {"first", 1}}),
                    sparse = explain(setting, "attention_rollout", {{"discard", 0.5}});
  CHECK(rollout.map.shape() == Shape({4, 4, 4}));
  for (int64_t row = 0; row < 4; ++row) {
    DenseTransformer dense({}, setting.all);
    dense.explain(setting.patches(row % 2), 0, false);
    check_raw(setting, raw, row, fused(dense.weights(1), mean));
    check_raw(setting, second, row, fused(dense.weights(1), [](double, double b) { return b; }));
    Grid all = unit_matrix(), halved = unit_matrix();
    for (int64_t block = 0; block < 2; ++block) {
      const auto step = [](Grid map) {
        map = plus(map, unit_matrix());
        for (int64_t i = 0; i < 5; ++i) {
          double sum = 0;
          for (int64_t j = 0; j < 5; ++j) sum += map.at(i, j);
          for (int64_t j = 0; j < 5; ++j) map.at(i, j) /= sum;
        }
        return map;
      };
      Grid map = fused(dense.weights(block), mean);
      all = matrix_product(step(map), all);
      std::vector<double> sorted = map.values;
      std::ranges::sort(sorted);
      const double threshold = sorted[12];  // 12 of 25 are below
      for (size_t i = 1; i < 25; ++i) map.values[i] = map.values[i] < threshold ? 0 : map.values[i];
      halved = matrix_product(step(map), halved);
      if (block == 1)
        check_raw(setting, largest, row,
                  step(fused(dense.weights(1), [](double a, double b) { return std::max(a, b); })));
    }
    check_raw(setting, rollout, row, all);
    check_raw(setting, sparse, row, halved);
  }
}

TEST_CASE("Chefer's relevance is the matrix product of attribution.md F.3 and F.4") {
  Setting setting(true);
  const Explanation gradient = [&] {
    return make_attribution("gradient", {})
        ->explain(setting.session, setting.images, setting.targets,
                  {.layers = {"blocks.0.attn.softmax", "blocks.1.attn.softmax"}, .conservation = false});
  }();
  const Explanation attention = explain(setting, "chefer", {}), last = explain(setting, "chefer", {{"first", 1}}),
                    relevance = explain(setting, "chefer", {{"variant", "relevance"}});
  for (int64_t row = 0; row < 4; ++row) {
    DenseTransformer dense({}, setting.all);
    const std::vector<Grid> shares = dense.chefer(setting.patches(row % 2), setting.targets[static_cast<size_t>(row)]);
    Grid by_attention = unit_matrix(), by_relevance = unit_matrix();
    for (int64_t block = 0; block < 2; ++block) {
      // The watched layer holds gradient * attention.
      const std::vector<float> products =
          setting.device.values(gradient.layers.at(fmt::format("blocks.{}.attn.softmax", block)));
      Grid a(10, 5), r(10, 5);
      for (size_t i = 0; i < 50; ++i) {
        a.values[i] = std::max(0.0, static_cast<double>(products[static_cast<size_t>(row) * 50 + i]));
        const double slope = products[static_cast<size_t>(row) * 50 + i] / dense.weights(block).values[i];
        r.values[i] = std::max(0.0, slope * shares[static_cast<size_t>(block)].values[i]);
      }
      by_attention = plus(by_attention, matrix_product(fused(a, mean), by_attention));
      by_relevance = plus(by_relevance, matrix_product(fused(r, mean), by_relevance));
      if (block == 1) check_raw(setting, last, row, plus(unit_matrix(), fused(a, mean)));
    }
    check_raw(setting, attention, row, by_attention);
    const std::vector<float> raw = setting.device.values(relevance.raw);
    for (int64_t i = 0; i < 4; ++i) {
      CHECK(raw[static_cast<size_t>(row * 4 + i)] == doctest::Approx(by_relevance.at(0, i + 1)).epsilon(1e-3));
    }
  }
}

TEST_CASE("B-cos transformers: the map and the positions' share are the logit (attribution.md E.2)") {
  TestDevice device;
  const Folded backbone = test::bcos_transformer();
  const std::vector<Head> heads = test::small_heads({"head"}, {1, 2, 2, 8}, 5, false, false);
  Session session(backbone, heads, device.kernels());
  const Tensor images = device.tensor({2, 4, 4, 3}, golden::image_tensor("images", 96));
  const std::vector<int> targets{0, 2, 4, 3};
  const Explanation explanation =
      make_attribution("bcos", {})
          ->explain(session, images, targets, {.layers = {"patch_embed", "pos_add"}, .conservation = false});
  const auto sums = [&](const Tensor& tensor) {
    const std::vector<float> values = device.values(tensor);
    std::vector<double> rows(4);
    for (size_t i = 0; i < values.size(); ++i) rows[i / (values.size() / 4)] += values[i];
    return rows;
  };
  const std::vector<double> map = sums(explanation.map), patches = sums(explanation.layers.at("patch_embed")),
                            placed = sums(explanation.layers.at("pos_add"));
  for (size_t row = 0; row < 4; ++row) {
    CHECK(placed[row] == doctest::Approx(explanation.logits[row]).epsilon(1e-4));
    CHECK(map[row] == doctest::Approx(patches[row]).epsilon(1e-4));
    CHECK(std::abs(map[row] - placed[row]) > 1e-3 * std::abs(placed[row]));  // the positions' share
  }
  // It is the gradient of the logit with attention, deviations and scales held: not the gradient itself.
  const std::vector<float> gradient = device.values(make_attribution("ixg", {})->explain(session, images, targets).map);
  CHECK(test::distance(gradient, device.values(explanation.map)) > 0.05);
  const Folded conventional = test::small_transformer();
  Session other(conventional, test::small_heads({"head"}, {1, 1, 1, 8}, 5, true, false), device.kernels());
  CHECK_THROWS_WITH_AS(make_attribution("bcos", {})->explain(other, images, targets), doctest::Contains("2 gelu"),
                       Error);
}

TEST_CASE("methods of transformers say what they need") {
  Setting setting(true);
  CHECK_THROWS_WITH_AS(explain(setting, "chefer", {{"first", 2}}), doctest::Contains("no such layer"), Error);
  CHECK_THROWS_WITH_AS(explain(setting, "raw_attention", {{"head", 2}}), doctest::Contains("no such head"), Error);
  TestDevice device;
  const Folded resnet = test::small_resnet();
  const std::vector<Head> heads = test::small_heads({"head"}, {1, 8, 8, 64}, 5);
  Session session(resnet, heads, device.kernels());
  const Tensor image = device.tensor({1, 32, 32, 3}, golden::image_tensor("image", 3072));
  const std::vector<int> target{0};
  for (const char* method : {"raw_attention", "attention_rollout", "chefer"}) {
    CHECK_THROWS_WITH_AS(make_attribution(method, {})->explain(session, image, target),
                         doctest::Contains("no self-attention"), Error);
  }
}

}  // namespace
}  // namespace hp

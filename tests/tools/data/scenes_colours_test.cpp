// A linear classifier on colour histograms must not solve the scenes (about 2 s).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "fixtures.h"
#include "tools/data/dataset.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr size_t bins = 64, classes = 10, columns = bins + 1;  // 4 x 4 x 4 and a bias

// Square roots of the shares of the colours: makes rare colours count, and is what such classifiers like best.
using Rows = std::vector<std::vector<double>>;

// With `painted`, objects get a colour of their class: then it must be easy.
Rows histograms(const Dataset& data, bool painted) {
  Rows rows;
  for (int64_t i = 0; i < data.size(); ++i) {
    std::vector<double> row(columns);
    const Sample sample = data.load(i);
    Image image = sample.image;
    for (const Mask& mask : sample.masks) {
      const int colour = mask.category * 6 + 3;  // one of the 64
      for (size_t p = 0; p < mask.covered.size() && painted; ++p) {
        if (!mask.covered[p]) continue;
        for (size_t c = 0; c < 3; ++c)
          image.pixels[3 * p + c] = static_cast<uint8_t>((colour >> (4 - 2 * c) & 3) * 64 + 32);
      }
    }
    for (size_t p = 0; p < image.pixels.size(); p += 3)
      ++row[static_cast<size_t>(image.pixels[p] / 64 * 16 + image.pixels[p + 1] / 64 * 4 + image.pixels[p + 2] / 64)];
    for (double& value : row) value = std::sqrt(value * 3 / static_cast<double>(image.pixels.size()));
    row[bins] = 1;
    rows.push_back(std::move(row));
  }
  return rows;
}

using Weights = std::vector<std::vector<double>>;

std::vector<double> probabilities(const Weights& weights, const std::vector<double>& row) {
  std::vector<double> logits;
  for (const auto& weight : weights) logits.push_back(std::inner_product(row.begin(), row.end(), weight.begin(), 0.0));
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double& logit : logits) sum += logit = std::exp(logit - largest);
  for (double& logit : logits) logit /= sum;
  return logits;
}

double accuracy(const Weights& weights, const Dataset& data, const Rows& rows) {
  int right = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<double> p = probabilities(weights, rows[i]);
    const auto best = std::max_element(p.begin(), p.end()) - p.begin();
    right += best == data.item(static_cast<int64_t>(i)).labels[0];
  }
  return static_cast<double>(right) / static_cast<double>(rows.size());
}

// Cross entropy by gradient descent, one picture at a time, at a falling rate.
Weights fitted(const Dataset& data, const Rows& rows) {
  Weights weights(classes, std::vector<double>(columns));
  constexpr int epochs = 30;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const double rate = 0.5 * (epochs - epoch) / epochs;
    for (size_t k = 0; k < rows.size(); ++k) {
      const size_t i = k * 1103 % rows.size();
      std::vector<double> error = probabilities(weights, rows[i]);
      error[static_cast<size_t>(data.item(static_cast<int64_t>(i)).labels[0])] -= 1;
      for (size_t c = 0; c < classes; ++c) {
        for (size_t j = 0; j < columns; ++j) weights[c][j] -= rate * error[c] * rows[i][j];
      }
    }
  }
  return weights;
}

}  // namespace

TEST_CASE("scenes: colours do not tell the class") {
  const DataConfig config{.type = "scenes", .scenes = {.train = 2000, .test = 1000}};
  const auto train = open_dataset(config, Split::train), test = open_dataset(config, Split::test);
  double share[2];
  for (const bool painted : {false, true}) {
    const Rows rows = histograms(*train, painted);
    const Weights weights = fitted(*train, rows);
    share[painted] = accuracy(weights, *test, histograms(*test, painted));
    MESSAGE(std::string(painted ? "objects in the colour of their class: " : "scenes: "),
            accuracy(weights, *train, rows), " on training pictures, ", share[painted], " on others");
  }
  CHECK(share[false] < 0.45);
  CHECK(share[true] > 0.9);
}

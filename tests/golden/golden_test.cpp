// The engine against the reference frameworks' results in double precision (README.md).
#include <doctest/doctest.h>

#include <limits>

#include "tests/golden/checks.h"
#include "tests/golden/golden_data.h"

using namespace hp::golden;

TEST_CASE("golden: a tensor that differs is told from one that does not") {
  const GoldenFile file("resnet18_gradients");
  const GoldenEntry& entry = file.entries().at("image0/logits");
  const std::vector<float> logits(entry.values.floats(), entry.values.floats() + entry.values.count());
  auto error = [&](const std::vector<float>& values) {
    return deviation(entry, hp::Tensor::host(entry.values.shape(), values)).largest();
  };
  CHECK(error(logits) < 1e-7);
  std::vector<float> scaled = logits, swapped = logits, broken = logits;
  for (float& value : scaled) value *= 1.0002f;
  CHECK(error(scaled) == doctest::Approx(2e-4).epsilon(1e-2));
  std::swap(swapped[10], swapped[11]);
  CHECK(error(swapped) > entry.tolerance());
  broken[999] = std::numeric_limits<float>::quiet_NaN();
  CHECK(error(broken) > 1e300);
}

TEST_CASE("golden: resnet20 node by node") { check_nodes("resnet20"); }
TEST_CASE("golden: resnet20 gradients") { check_gradients("resnet20"); }
TEST_CASE("golden: resnet20 LRP") { check_lrp("resnet20"); }

TEST_CASE("golden: resnet56 node by node") { check_nodes("resnet56"); }
TEST_CASE("golden: resnet56 gradients") { check_gradients("resnet56"); }
TEST_CASE("golden: resnet56 LRP") { check_lrp("resnet56"); }

TEST_CASE("golden: resnet18 node by node") { check_nodes("resnet18"); }
TEST_CASE("golden: resnet18 gradients") { check_gradients("resnet18"); }
TEST_CASE("golden: resnet18 LRP") { check_lrp("resnet18"); }

// ResNet-50 against the reference frameworks' results in double precision (README.md); the slowest of the golden tests.
#include <doctest/doctest.h>

#include "tests/golden/checks.h"

using namespace hp::golden;

TEST_CASE("golden: resnet50 node by node") {
  for (const char* part : {"ends", "layer1", "layer2", "layer3", "layer4"}) {
    check_nodes(std::string("resnet50_nodes_") + part);
  }
}
TEST_CASE("golden: resnet50 gradients") { check_gradients("resnet50"); }
TEST_CASE("golden: resnet50 LRP") { check_lrp("resnet50"); }

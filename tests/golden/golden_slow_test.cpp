// ResNet-50 against the reference frameworks' results in double precision (README.md); the slowest of the golden tests.
#include <doctest/doctest.h>

#include "tests/golden/checks.h"

using namespace hp::golden;

TEST_CASE("golden: resnet50 node by node") {
  check_nodes("resnet50", {"nodes_ends", "nodes_layer1", "nodes_layer2", "nodes_layer3", "nodes_layer4"});
}
TEST_CASE("golden: resnet50 gradients") { check_gradients("resnet50"); }
TEST_CASE("golden: resnet50 LRP") { check_lrp("resnet50"); }

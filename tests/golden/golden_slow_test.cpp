// ResNet-50, plain, B-cos and CLIP's, against the reference frameworks' results in double precision (README.md); the
// slowest of the golden tests.
#include <doctest/doctest.h>

#include "tests/golden/checks.h"
#include "tests/golden/resnet_families.h"

using namespace hp::golden;

TEST_CASE("golden: resnet50 node by node") {
  check_nodes("resnet50", {"nodes_ends", "nodes_layer1", "nodes_layer2", "nodes_layer3", "nodes_layer4"});
}
TEST_CASE("golden: resnet50 gradients") { check_gradients("resnet50"); }
TEST_CASE("golden: resnet50 LRP") { check_lrp("resnet50"); }
TEST_CASE("golden: B-cos ResNet-50 as large as it is published") { check_formula_family("bcos_resnet50_full"); }
TEST_CASE("golden: CLIP's ResNet-50 as large as it is published") { check_formula_family("clip_rn50_full"); }

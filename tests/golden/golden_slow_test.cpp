// Networks as large as they are published, against the reference frameworks' results in double precision (README.md);
// the slowest of the golden tests.
#include <doctest/doctest.h>

#include "tests/golden/checks.h"
#include "tests/golden/resnet_families.h"
#include "tests/golden/vit_families.h"

using namespace hp::golden;

TEST_CASE("golden: resnet50 node by node") {
  check_nodes("resnet50", {"nodes_ends", "nodes_layer1", "nodes_layer2", "nodes_layer3", "nodes_layer4"});
}
TEST_CASE("golden: resnet50 gradients") { check_gradients("resnet50"); }
TEST_CASE("golden: resnet50 LRP") { check_lrp("resnet50"); }
TEST_CASE("golden: B-cos ResNet-50 as large as it is published") { check_formula_family("bcos_resnet50_full"); }
TEST_CASE("golden: CLIP's ResNet-50 as large as it is published") { check_formula_family("clip_rn50_full"); }
TEST_CASE("golden: vit_b_16 as large as it is published") { check_vit("vit_b_16_full_224x224"); }
TEST_CASE("golden: DINO's ViT-S/8 as large as it is published, also for 480 x 320") {
  for (const char* name : {"dino_vits8_full_224x224", "dino_vits8_full_480x320"}) check_vit(name);
}
TEST_CASE("golden: CLIP's ViT-B/32 as large as it is published") { check_vit("clip_vit_b_32_full_224x224"); }
TEST_CASE("golden: the B-cos SimpleViT-B as large as it is published") { check_vit("bcos_simple_vit_b_full_224x224"); }

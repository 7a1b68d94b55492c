// Vision transformers from their sources' checkpoints, against what the original libraries compute in double precision
// (README.md).
#include <doctest/doctest.h>

#include "tests/golden/vit_families.h"

using namespace hp::golden;

TEST_CASE("golden: DINO's ViT") {
  for (const char* name : {"dino_32x32", "dino_48x40", "dino_32x48"}) check_vit(name);
}
TEST_CASE("golden: timm's ViT") {
  for (const char* name : {"timm_32x32", "timm_48x40", "timm_24x24"}) check_vit(name);
}
TEST_CASE("golden: torchvision's ViT") { check_vit("torchvision_32x32"); }
TEST_CASE("golden: CLIP's visual transformer") { check_vit("clip_32x32"); }
TEST_CASE("golden: SimpleViT") {
  for (const char* name : {"simple_vit_32x32", "simple_vit_48x40"}) check_vit(name);
}
TEST_CASE("golden: B-cos SimpleViT") {
  for (const char* name : {"bcos_simple_vit_32x32", "bcos_simple_vit_48x40"}) check_vit(name);
}
TEST_CASE("golden: ViT-C") {
  for (const char* name : {"vitc_32x32", "vitc_48x40"}) check_vit(name);
}
TEST_CASE("golden: B-cos ViT-C") {
  for (const char* name : {"bcos_vitc_32x32", "bcos_vitc_48x40"}) check_vit(name);
}

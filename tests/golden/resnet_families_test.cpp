#include <doctest/doctest.h>

#include "tests/golden/resnet_families.h"

using hp::golden::check_checkpoint_family;

TEST_CASE("golden: a B-cos ResNet-18 as the package saves it") { check_checkpoint_family("bcos_resnet18"); }
TEST_CASE("golden: a B-cos ResNet-50 in a training's checkpoint") { check_checkpoint_family("bcos_resnet50"); }
TEST_CASE("golden: a B-cos ResNet-20 for CIFAR-10") { check_checkpoint_family("bcos_cifar_resnet20"); }
TEST_CASE("golden: CLIP's ResNet-50 in a TorchScript archive") { check_checkpoint_family("clip_rn50"); }

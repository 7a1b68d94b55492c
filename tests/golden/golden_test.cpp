// The engine against the reference frameworks' results in double precision (README.md).
#include <doctest/doctest.h>

#include "tests/golden/checks.h"

using namespace hp::golden;

TEST_CASE("golden: resnet20 node by node") { check_nodes("resnet20"); }
TEST_CASE("golden: resnet20 gradients") { check_gradients("resnet20"); }
TEST_CASE("golden: resnet20 LRP") { check_lrp("resnet20"); }

TEST_CASE("golden: resnet56 node by node") { check_nodes("resnet56"); }
TEST_CASE("golden: resnet56 gradients") { check_gradients("resnet56"); }
TEST_CASE("golden: resnet56 LRP") { check_lrp("resnet56"); }

TEST_CASE("golden: resnet18 node by node") { check_nodes("resnet18"); }
TEST_CASE("golden: resnet18 gradients") { check_gradients("resnet18"); }
TEST_CASE("golden: resnet18 LRP") { check_lrp("resnet18"); }

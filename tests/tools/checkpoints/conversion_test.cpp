#include "tools/checkpoints/conversion.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/places.h"
#include "tests/tools/checkpoints/hollow_checkpoint.h"

using namespace hp;
using namespace hp::test;

namespace {

const std::filesystem::path files = hp::test::source_folder() / "tests/tools/checkpoints/files";

}  // namespace

TEST_CASE("conversion: torchvision's own state dicts") {
  const Checkpoint checkpoint = read_checkpoint(files / "resnet18_zip.pth");
  const Conversion plan = plan_conversion(checkpoint, {});
  CHECK(plan.architecture == "resnet18");
  CHECK(plan.key_map == "resnet-torchvision");
  CHECK(plan.classes == 1000);
  CHECK(plan.parameters == 11'689'512);
  CHECK(plan.dropped.size() == 20);
  CHECK(reason_of(plan, "bn1.num_batches_tracked") == "counts training steps");
  const Parameters parameters = convert(checkpoint, plan, files / "resnet18_zip.pth");
  // Tensor number n of the file is filled with (n + 1) / 1024.
  CHECK(parameters.at("conv1.weight").floats()[9407] == 1.0F / 1024);
  CHECK(parameters.at("bn1.running_var").floats()[63] == 5.0F / 1024);
  CHECK(parameters.at("head.weight").shape() == Shape{1000, 512});
  CHECK(parameters.at("head.bias").floats()[999] == 122.0F / 1024);

  const Conversion larger = plan_conversion(read_checkpoint(files / "resnet50_legacy.pth"), {});
  CHECK(larger.architecture == "resnet50");
  CHECK(larger.classes == 7);
  CHECK(larger.complete());
}

TEST_CASE("conversion: missing, mis-shaped and unexpected tensors are named, and nothing is converted") {
  Hollow tensors = hollow("cifar_resnet20", "module.", "module.linear");
  const auto at = [&](const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.name == name; });
  };
  SUBCASE("missing") {
    tensors.erase(at("module.layer2.1.bn1.running_var"));
    const HollowFile file = file_of(tensors, "state_dict");
    CHECK(file.plan().missing == std::vector<std::string>{"layer2.1.bn1.running_var [32]"});
    CHECK(contains(file.refusal(), "1 tensors of cifar_resnet20 are missing: layer2.1.bn1.running_var [32]"));
  }
  SUBCASE("mis-shaped") {
    at("module.conv1.weight")->size = {16, 3, 5, 5};
    CHECK(contains(file_of(tensors, "state_dict").refusal(),
                   "conv1.weight: got F32 [16, 3, 5, 5]; expected floating point [16, 3, 3, 3]"));
  }
  SUBCASE("unexpected") {
    tensors.push_back({"module.layer1.0.se.weight", {4}});
    CHECK(contains(file_of(tensors, "state_dict").refusal(), "'state_dict.module.layer1.0.se.weight': F32 [4]"));
  }
  SUBCASE("a classifier of another width") {
    at("module.linear.weight")->size = {10, 63};
    CHECK(contains(file_of(tensors, "state_dict").refusal(), "head.weight (classifier): got F32 [10, 63]"));
  }
  SUBCASE("a classifier whose bias has other classes") {
    at("module.linear.bias")->size = {11};
    CHECK(contains(file_of(tensors, "state_dict").refusal(), "head.bias (classifier): got F32 [11]"));
  }
  SUBCASE("half of the network is not enough") {
    tensors.resize(tensors.size() / 3);
    CHECK(contains(file_of(tensors, "state_dict").refusal(), "no known architecture; the nearest is cifar_resnet20"));
    CHECK(
        contains(file_of(tensors, "state_dict").refusal({.architecture = "cifar_resnet20", .source = "", .prefix = ""}),
                 "are missing"));
  }
  SUBCASE("another network than --arch") {
    CHECK(
        contains(file_of(tensors, "state_dict").refusal({.architecture = "cifar_resnet32", .source = "", .prefix = ""}),
                 "tensors of cifar_resnet32 are missing"));
    CHECK(contains(file_of(tensors, "state_dict").refusal({.architecture = "vgg16", .source = "", .prefix = ""}),
                   "unknown architecture"));
    CHECK(contains(file_of(tensors, "state_dict").refusal({.architecture = "", .source = "vgg", .prefix = ""}),
                   "cifar-resnet, "));
    CHECK(contains(
        file_of(tensors, "state_dict").refusal({.architecture = "resnet18", .source = "cifar-resnet", .prefix = ""}),
        "has no resnet18"));
  }
  SUBCASE("another width") {
    const std::string refusal = file_of(wide_resnet50()).refusal();
    CAPTURE(refusal);
    CHECK(contains(refusal, "the names are those of resnet50"));
    CHECK(contains(refusal, "a network of another width"));
    CHECK(contains(refusal, "tensors have other shapes, the first conv1.weight: got [64, 3, 7, 7]; expected [128, 3"));
  }
  SUBCASE("another prefix") {
    CHECK(contains(file_of(tensors, "state_dict").refusal({.architecture = "", .source = "", .prefix = "net"}),
                   "no tensor has a name"));
    CHECK(file_of(tensors, "state_dict").refusal({.architecture = "", .source = "", .prefix = "module"}) ==
          "converted");
  }
  SUBCASE("integers instead of weights") {
    StorageSpec integers = hollow_values();
    integers.class_name = "IntStorage";
    CHECK(contains(HollowFile(hollow_state_dict(tensors, integers), integers).refusal(),
                   "got I32 [16, 3, 3, 3]; expected floating point"));
  }
}

TEST_CASE("conversion: NaN weights are refused by name") {
  StorageSpec storage = hollow_values(100);
  storage.values[10] = std::numeric_limits<float>::quiet_NaN();  // of the tensor with number 10
  const std::string message =
      HollowFile(hollow_state_dict(hollow("cifar_resnet20", "", "fc"), storage), storage).refusal();
  CHECK(contains(message, "layer1.0.conv2.weight"));
  CHECK(contains(message, "not finite; got nan"));
}

TEST_CASE("conversion: a state dict that foreign code should have made is refused by its name") {
  const StorageSpec storage = hollow_values();
  const std::string object = py::call(py::global("evil", "Thing"), py::tuple({}));
  const std::string state = hollow_state_dict(hollow("cifar_resnet20", "", ""), storage);
  CHECK(contains(HollowFile(py::dict({{"state_dict", object}})).refusal(), "'state_dict' is an object of evil.Thing"));
  CHECK(contains(HollowFile(object).refusal(), "the file's object is an object of evil.Thing"));
  const std::string mixed = state.substr(0, state.size() - 1) + py::text("buffer") + object + "u";
  CHECK(contains(HollowFile(py::dict({{"state_dict", mixed}}), storage).refusal(),
                 "'state_dict.buffer' is an object of evil.Thing"));
  CHECK(HollowFile(py::dict({{"state_dict", state}, {"args", object}}), storage).refusal() == "converted");
  const std::string other = py::dict(
      {{"state_dict", object}, {"optimizer", py::dict({{"m", tensor(persistent(storage, false), {{1}, {1}})}})}});
  CHECK(contains(HollowFile(other, storage).refusal(), "'state_dict' is an object of evil.Thing"));
}

TEST_CASE("conversion: the metadata says where the weights come from") {
  const HollowFile file = file_of(hollow("resnet18", "", "fc", 3));
  const Checkpoint checkpoint = file.read();
  const Parameters parameters = convert(checkpoint, plan_conversion(checkpoint, {}), file.path());
  const auto& metadata = parameters.metadata;
  CHECK(metadata.at("architecture") == "resnet18");
  CHECK(metadata.at("classes") == "3");
  CHECK(metadata.at("source") == "w.pth");
  CHECK(metadata.at("source_sha256") == sha256(file.path()));
  CHECK(metadata.at("key_map") == "resnet-torchvision");
  CHECK(metadata.at("converter").starts_with("convert-weights "));
  const nlohmann::json preprocessing = nlohmann::json::parse(metadata.at("preprocessing"));
  CHECK(preprocessing["resize"] == 256);
  CHECK(preprocessing["crop"] == 224);
  CHECK(preprocessing["interpolation"] == "bilinear");
  CHECK(preprocessing["mean"] == std::vector<double>{0.485, 0.456, 0.406});
  CHECK(preprocessing["std"] == std::vector<double>{0.229, 0.224, 0.225});
}

TEST_CASE("conversion: the report is complete and compact") {
  Hollow tensors = hollow("cifar_resnet20", "module.", "module.linear");
  tensors.erase(tensors.begin());
  tensors.push_back({"module.bn1.num_batches_tracked", {}});
  const HollowFile file = file_of(tensors, "state_dict");
  const Checkpoint checkpoint = file.read();
  const std::string text = report(checkpoint, plan_conversion(checkpoint, {}));
  CAPTURE(text);
  CHECK(contains(text, "architecture cifar_resnet20\n"));
  CHECK(contains(text, "names in state_dict.module.*"));
  CHECK(contains(text, "96 tensors: 269290 parameters and 1376 running statistics"));
  CHECK(contains(text, "state_dict.module.bn1.num_batches_tracked: counts training steps"));
  CHECK(contains(text, "missing      1\n  conv1.weight [16, 3, 3, 3]\n"));
  CHECK(contains(listing(checkpoint), "state_dict.module.linear.bias"));
}

TEST_CASE("conversion: the CIFAR checkpoints") {
  const std::filesystem::path folder = hp::test::shared_folder() / "data/checkpoints";
  if (!std::filesystem::exists(folder)) {
    MESSAGE("skipped: no " << folder.string());
    return;
  }
  const auto plan = [&](const char* file) { return plan_conversion(read_checkpoint(folder / file), {}); };
  const Conversion small = plan("resnet20-12fca82f.th"), large = plan("resnet56-4bfd9763.th");
  CHECK(small.architecture == "cifar_resnet20");
  CHECK(small.parameters == 269'722);
  CHECK(small.classes == 10);
  CHECK(small.complete());
  CHECK(large.architecture == "cifar_resnet56");
  CHECK(large.parameters == 853'018);
  CHECK(large.complete());
  CHECK(reason_of(large, "best_prec1") == "a number (93.62)");
  CHECK(sha256(folder / "resnet56-4bfd9763.th").starts_with("4bfd9763"));
}

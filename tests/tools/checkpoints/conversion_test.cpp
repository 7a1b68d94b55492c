#include "tools/checkpoints/conversion.h"
#include "tests/places.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "models/backbone.h"
#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/key_map.h"

namespace {

using namespace hp;
using namespace hp::test;

const std::filesystem::path files = hp::test::source_folder() / "tests/tools/checkpoints/files";

// A tensor of any shape out of element `number` of one small storage.
struct HollowTensor {
  std::string name;
  std::vector<int64_t> size;
};
using Hollow = std::vector<HollowTensor>;

// The tensors of an architecture, then a classifier, under a prefix.
Hollow hollow(const std::string& architecture, const std::string& prefix, const std::string& classifier,
              int64_t classes = 10) {
  Hollow tensors;
  const Architecture known = examine_architecture(architecture);
  for (const ExpectedTensor& tensor : known.tensors)
    tensors.push_back({prefix + tensor.name, {tensor.shape.extents().begin(), tensor.shape.extents().end()}});
  if (!classifier.empty()) {
    tensors.push_back({classifier + ".weight", {classes, known.channels}});
    tensors.push_back({classifier + ".bias", {classes}});
  }
  return tensors;
}

// The same for B-cos networks: classifier without bias, and the running means that their norms keep but never read.
Hollow bcos_hollow(const std::string& architecture, const std::string& prefix, const std::string& classifier) {
  Hollow tensors = hollow(architecture, prefix, "");
  for (size_t i = 0, count = tensors.size(); i < count; ++i) {
    const std::string name = tensors[i].name;
    if (!name.ends_with(".running_var")) continue;
    const std::string norm = name.substr(0, name.size() - std::string("running_var").size());
    tensors.push_back({norm + "running_mean", tensors[i].size});
    tensors.push_back({norm + "num_batches_tracked", {}});
  }
  if (!classifier.empty())
    tensors.push_back({classifier + ".linear.weight", {10, examine_architecture(architecture).channels, 1, 1}});
  return tensors;
}

std::string state_dict(const Hollow& tensors, const StorageSpec& storage) {
  py::Items items;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorSpec spec{tensors[i].size, std::vector<int64_t>(tensors[i].size.size(), 0),
                    static_cast<int64_t>(i % storage.values.size())};
    items.emplace_back(tensors[i].name, tensor(persistent(storage, false), spec));
  }
  return py::dict(items);
}

StorageSpec values(size_t count = 8) {
  StorageSpec storage{.key = "0", .values = {}};
  for (size_t i = 0; i < count; ++i) storage.values.push_back(static_cast<float>(i) / 8);
  return storage;
}

class File {
 public:
  explicit File(const std::string& object, const StorageSpec& storage = values()) {
    write_file(path(), zip_file(torch_archive(object, {storage})));
  }
  std::filesystem::path path() const { return folder_ / "w.pth"; }
  Checkpoint read() const { return read_checkpoint(path()); }
  Conversion plan(const ConversionOptions& options = {}) const { return plan_conversion(read(), options); }
  std::string refusal(const ConversionOptions& options = {}) const {
    try {
      const Checkpoint checkpoint = read();
      convert(checkpoint, plan_conversion(checkpoint, options), path());
    } catch (const Error& error) {
      return error.what();
    }
    return "converted";
  }

 private:
  TemporaryFolder folder_;
};

File file_of(const Hollow& tensors, const std::string& wrapper = "") {
  const StorageSpec storage = values();
  const std::string state = state_dict(tensors, storage);
  return File(wrapper.empty() ? state : py::dict({{"epoch", py::integer(3)}, {wrapper, state}}), storage);
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string reason_of(const Conversion& conversion, const std::string& name) {
  for (const DroppedTensor& tensor : conversion.dropped)
    if (tensor.name == name) return tensor.reason;
  return "not dropped";
}

}  // namespace

TEST_CASE("conversion: parameters of the ImageNet ResNets are as many as torchvision's") {
  const auto count = [](const std::string& architecture) {
    return file_of(hollow(architecture, "", "fc", 1000)).plan().parameters;
  };
  CHECK(count("resnet18") == 11'689'512);
  CHECK(count("resnet34") == 21'797'672);
  CHECK(count("resnet50") == 25'557'032);
  CHECK(count("resnet101") == 44'549'160);
  CHECK(count("resnet152") == 60'192'808);
}

TEST_CASE("conversion: every ResNet is found from names and shapes, at any width") {
  for (const std::string& base : known_architectures()) {
    if (base.find("resnet") == base.npos || base.starts_with("bcos")) continue;
    for (const std::string& architecture : {base, base + "_w8"}) {
      CAPTURE(architecture);
      const bool cifar = architecture.starts_with("cifar");
      const Conversion plan =
          file_of(hollow(architecture, "module.", cifar ? "module.linear" : "module.fc"), "state_dict").plan();
      CHECK(plan.architecture == architecture);
      CHECK(plan.complete());
      CHECK(plan.classes == 10);
      CHECK(plan.used.size() == examine_architecture(architecture).tensors.size() + 2);
    }
  }
}

TEST_CASE("conversion: every B-cos ResNet is found, with its classifier and what the reference adds to the logits") {
  for (const std::string& base : known_architectures()) {
    if (!base.starts_with("bcos_") || base.find("resnet") == base.npos) continue;
    for (const std::string& architecture : {base, base + "_w8"}) {
      CAPTURE(architecture);
      const Hollow tensors = bcos_hollow(architecture, "model.", "model.fc");
      const Conversion plan = file_of(tensors, "state_dict").plan();
      CHECK(plan.architecture == architecture);
      CHECK(plan.key_map == (architecture.find("cifar") == architecture.npos ? "bcos-resnet" : "bcos-cifar-resnet"));
      CHECK(plan.complete());
      CHECK(plan.used.back().name == "head.linear.weight");
      CHECK(std::stod(plan.logit_constant) == doctest::Approx(-std::log(9.0)));
      CHECK(reason_of(plan, "state_dict.model.bn1.running_mean") == "uncentred batch norm never reads it");
    }
  }
}

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

TEST_CASE("conversion: sources and the tensors that each drops") {
  SUBCASE("mmengine classifier") {
    Hollow tensors = hollow("resnet50", "backbone.", "head.fc");
    tensors.push_back({"backbone.bn1.num_batches_tracked", {}});
    tensors.push_back({"data_preprocessor.mean", {3}});
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.key_map == "resnet-mmengine");
    CHECK(plan.complete());
    CHECK(plan.classes == 10);
    CHECK(reason_of(plan, "state_dict.data_preprocessor.mean") == "image statistics");
    CHECK(reason_of(plan, "epoch") == "a number (3)");
  }
  SUBCASE("mmengine probe, a 1x1 convolution") {
    Hollow tensors = hollow("resnet18", "backbone.", "");
    tensors.push_back({"head.fc.weight", {20, 512, 1, 1}});
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.complete());
    CHECK(plan.classes == 20);
    CHECK(plan.used.back().shape == Shape{20, 512});
  }
  SUBCASE("mmengine MoCo") {
    Hollow tensors = hollow("resnet50", "backbone.", "");
    for (const HollowTensor& tensor : hollow("resnet50", "encoder_k.module.0.", "")) tensors.push_back(tensor);
    tensors.push_back({"neck.mlp.0.weight", {4, 4}});
    tensors.push_back({"queue", {4, 4}});
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.key_map == "resnet-mmengine");
    CHECK(plan.complete());
    CHECK(plan.classes == 0);
    CHECK(reason_of(plan, "state_dict.queue") == "queue of negatives");
    CHECK(reason_of(plan, "state_dict.encoder_k.module.0.conv1.weight") == "momentum encoder");
  }
  SUBCASE("facebook's MoCo") {
    Hollow tensors = hollow("resnet50", "module.encoder_q.", "module.encoder_q.fc.0", 2048);
    for (const HollowTensor& tensor : hollow("resnet50", "module.encoder_k.", "")) tensors.push_back(tensor);
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.key_map == "resnet-moco");
    CHECK(plan.complete());
    CHECK(plan.classes == 0);
    CHECK(reason_of(plan, "state_dict.module.encoder_q.fc.0.weight") == "projection of the pre-training");
  }
  SUBCASE("DINO: the teacher is preferred, --prefix takes the student") {
    const StorageSpec storage = values();
    const std::string state = state_dict(hollow("resnet50", "module.backbone.", "module.head.mlp.0"), storage);
    const File file(py::dict({{"student", state}, {"teacher", state}}), storage);
    CHECK(file.plan().wrapper == "teacher");
    CHECK(file.plan().complete());
    CHECK(nlohmann::json::parse(file.plan().preprocessing)["interpolation"] == "bicubic");
    const Conversion student = file.plan({.architecture = "", .source = "", .prefix = "student.module.backbone."});
    CHECK(student.complete());
    CHECK(student.prefix == "student.module.backbone.");
  }
  SUBCASE("DINO's released ResNet: torchvision's names without a classifier, so that the user has to say whose it is") {
    const File file = file_of(hollow("resnet50", "", ""));
    const std::string refusal = file.refusal();
    CHECK(contains(refusal, "resnet50 of resnet-dino-release"));
    CHECK(contains(refusal, "resnet50 of resnet-torchvision"));
    CHECK(contains(refusal, "give --source"));
    const Conversion plan = file.plan({.architecture = "", .source = "resnet-dino-release", .prefix = ""});
    CHECK(plan.complete());
    CHECK(nlohmann::json::parse(plan.preprocessing)["interpolation"] == "bicubic");
  }
  SUBCASE("BYOL of mmpretrain") {
    Hollow tensors = hollow("resnet50", "backbone.", "");
    for (const HollowTensor& tensor : hollow("resnet50", "target_net.module.0.", "")) tensors.push_back(tensor);
    tensors.push_back({"target_net.module.1.fc0.weight", {4, 4}});
    tensors.push_back({"target_net.steps", {1}});
    tensors.push_back({"neck.fc0.weight", {4, 4}});
    tensors.push_back({"head.predictor.fc0.weight", {4, 4}});
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.key_map == "resnet-mmengine");
    CHECK(plan.complete());
    CHECK(plan.classes == 0);
    CHECK(reason_of(plan, "state_dict.target_net.module.0.conv1.weight") == "momentum encoder");
    CHECK(reason_of(plan, "state_dict.head.predictor.fc0.weight") == "projection of the pre-training");
  }
  SUBCASE("B-cos ResNet of mmpretrain: its supervised classifier has no logit constant") {
    Hollow tensors = bcos_hollow("bcos_resnet50", "backbone.", "head.fc");
    tensors.push_back({"data_preprocessor.mean", {3}});
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.architecture == "bcos_resnet50");
    CHECK(plan.key_map == "bcos-resnet-mmengine");
    CHECK(plan.complete());
    CHECK(plan.classes == 10);
    CHECK(plan.logit_constant == "0");
    CHECK(nlohmann::json::parse(plan.preprocessing)["std"] == std::vector<double>{1, 1, 1});
  }
  SUBCASE("B-cos MoCo of mmpretrain") {
    Hollow tensors = bcos_hollow("bcos_resnet50", "backbone.", "");
    for (const HollowTensor& tensor : bcos_hollow("bcos_resnet50", "encoder_k.module.0.", ""))
      tensors.push_back(tensor);
    tensors.push_back({"neck.mlp.0.linear.weight", {4, 4}});
    tensors.push_back({"queue_ptr", {1}});
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.key_map == "bcos-resnet-mmengine");
    CHECK(plan.complete());
    CHECK(plan.classes == 0);
    CHECK(plan.logit_constant.empty());
  }
  SUBCASE("B-cos DINO") {
    const StorageSpec storage = values();
    const std::string state =
        state_dict(bcos_hollow("bcos_resnet18", "module.backbone.", "module.head.last_layer"), storage);
    const Conversion plan = File(py::dict({{"student", state}, {"teacher", state}}), storage).plan();
    CHECK(plan.wrapper == "teacher");
    CHECK(plan.key_map == "bcos-resnet-dino");
    CHECK(plan.complete());
  }
  SUBCASE("B-cos releases are bare") {
    const Conversion plan = file_of(bcos_hollow("bcos_resnet50", "", "fc")).plan();
    CHECK(plan.key_map == "bcos-resnet");
    CHECK(plan.complete());
    CHECK(plan.parameters == 25'538'880 - 990 * 2048);  // protocol.md 1.3 counts 1000 classes
  }
  SUBCASE("CLIP's ResNets without the attention pool") {
    for (const char* architecture : {"clip_rn50_trunk", "clip_rn101_trunk_w8"}) {
      Hollow tensors = hollow(architecture, "visual.", "");
      tensors.push_back({"transformer.resblocks.0.ln_1.weight", {4}});
      tensors.push_back({"logit_scale", {}});
      const Conversion plan = file_of(tensors).plan();
      CHECK(plan.architecture == architecture);
      CHECK(plan.complete());
      CHECK(reason_of(plan, "transformer.resblocks.0.ln_1.weight") == "text tower");
      CHECK(nlohmann::json::parse(plan.preprocessing)["interpolation"] == "bicubic");
    }
  }
  SUBCASE("CLIP's ResNets with the attention pool, and without it on demand") {
    const File file = file_of(hollow("clip_rn50_w8_r64", "visual.", ""));
    const Conversion plan = file.plan();
    CHECK(plan.architecture == "clip_rn50_w8_r64");
    CHECK(plan.key_map == "clip-resnet");
    CHECK(plan.complete());
    CHECK(nlohmann::json::parse(plan.preprocessing)["crop"] == 64);
    const Conversion trunk = file.plan({.architecture = "clip_rn50_trunk_w8", .source = "", .prefix = ""});
    CHECK(trunk.complete());
    CHECK(reason_of(trunk, "visual.attnpool.c_proj.bias") == "attention pool");
    CHECK(file_of(hollow("clip_rn101", "visual.", ""), "state_dict").plan().architecture == "clip_rn101");
  }
  SUBCASE("option B shortcuts of akamaster's networks") {
    Hollow tensors = hollow("cifar_resnet20_b", "module.", "module.linear");
    for (HollowTensor& tensor : tensors)
      if (const size_t at = tensor.name.find("downsample"); at != tensor.name.npos)
        tensor.name.replace(at, 10, "shortcut");
    const Conversion plan = file_of(tensors, "state_dict").plan();
    CHECK(plan.architecture == "cifar_resnet20_b");
    CHECK(plan.complete());
  }
}

TEST_CASE("conversion: missing, mis-shaped and unexpected tensors are named, and nothing is converted") {
  Hollow tensors = hollow("cifar_resnet20", "module.", "module.linear");
  const auto at = [&](const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.name == name; });
  };
  SUBCASE("missing") {
    tensors.erase(at("module.layer2.1.bn1.running_var"));
    const File file = file_of(tensors, "state_dict");
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
    Hollow wide = hollow("resnet50", "", "fc");  // wide_resnet50_2: twice the channels inside of the blocks
    const auto is = [](const std::string& name, std::string_view part) { return name.find(part) != name.npos; };
    for (auto& [name, size] : wide) {
      if (!name.starts_with("layer")) continue;
      if (is(name, "conv1") || is(name, "conv2") || is(name, "bn1") || is(name, "bn2")) size[0] *= 2;
      if (is(name, "conv2") || is(name, "conv3")) size[1] *= 2;
    }
    const std::string refusal = file_of(wide).refusal();
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
    StorageSpec integers = values();
    integers.class_name = "IntStorage";
    CHECK(contains(File(state_dict(tensors, integers), integers).refusal(),
                   "got I32 [16, 3, 3, 3]; expected floating point"));
  }
}

TEST_CASE("conversion: NaN weights are refused by name") {
  StorageSpec storage = values(100);
  storage.values[10] = std::numeric_limits<float>::quiet_NaN();  // of the tensor with number 10
  const std::string message = File(state_dict(hollow("cifar_resnet20", "", "fc"), storage), storage).refusal();
  CHECK(contains(message, "layer1.0.conv2.weight"));
  CHECK(contains(message, "not finite; got nan"));
}

TEST_CASE("conversion: a state dict that foreign code should have made is refused by its name") {
  const StorageSpec storage = values();
  const std::string object = py::call(py::global("evil", "Thing"), py::tuple({}));
  const std::string state = state_dict(hollow("cifar_resnet20", "", ""), storage);
  CHECK(contains(File(py::dict({{"state_dict", object}})).refusal(), "'state_dict' is an object of evil.Thing"));
  CHECK(contains(File(object).refusal(), "the file's object is an object of evil.Thing"));
  const std::string mixed = state.substr(0, state.size() - 1) + py::text("buffer") + object + "u";
  CHECK(contains(File(py::dict({{"state_dict", mixed}}), storage).refusal(),
                 "'state_dict.buffer' is an object of evil.Thing"));
  CHECK(File(py::dict({{"state_dict", state}, {"args", object}}), storage).refusal() == "converted");
  const std::string other = py::dict(
      {{"state_dict", object}, {"optimizer", py::dict({{"m", tensor(persistent(storage, false), {{1}, {1}})}})}});
  CHECK(contains(File(other, storage).refusal(), "'state_dict' is an object of evil.Thing"));
}

TEST_CASE("conversion: the metadata says where the weights come from") {
  const File file = file_of(hollow("resnet18", "", "fc", 3));
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
  const File file = file_of(tensors, "state_dict");
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

TEST_CASE("key maps: patterns") {
  const std::vector<KeyRule> rules{{"*.counter", std::nullopt, "a counter"},
                                   {"blocks.*.ln_*.*", "b.*.norm*.*", ""},
                                   {"one", "two", ""},
                                   {"x*y", "*", ""}};
  CHECK(rename(rules, "a.counter").reason == "a counter");
  CHECK(*rename(rules, "blocks.11.ln_2.weight").name == "b.11.norm2.weight");
  CHECK(*rename(rules, "one").name == "two");
  CHECK(*rename(rules, "xy").name == "");
  CHECK(*rename(rules, "xxyy").name == "xy");
  CHECK_FALSE(rename(rules, "one.more").name);
  CHECK_FALSE(rename(rules, "blocks.1").name);
  CHECK_FALSE(rename(rules, "x").name);
  CHECK(rename(std::vector<KeyRule>{{"proj", "proj.weight", "", true}}, "proj").transpose);
}

TEST_CASE("key maps: every one parses, is used by an architecture and is tried") {
  for (const KeyMap& map : key_maps()) {
    CAPTURE(map.name);
    CHECK_FALSE(map.about.empty());
    CHECK_FALSE(matching_architectures(map.architectures).empty());
    CHECK_FALSE(map.wrappers.empty());
    CHECK_FALSE(map.prefixes.empty());
    CHECK(canonical_key_map(
              {{"architecture", ""}, {"classes", "0"}, {"converter", ""}, {"preprocessing", map.preprocessing}})
              .has_value());
  }
}

TEST_CASE("conversion: what is no backbone says what it is") {
  const auto refusal = [](const std::vector<std::string>& names, const std::string& wrapper = "") {
    Hollow tensors;
    for (const std::string& name : names) tensors.push_back({name, {4, 4}});
    return file_of(tensors, wrapper).refusal();
  };
  CHECK(
      contains(refusal({"state.0.exp_avg", "state.0.exp_avg_sq"}, "optimizer"), "an optimiser's state and no weights"));
  CHECK(contains(refusal({"0.momentum_buffer"}, "state"), "an optimiser's state and no weights"));
  CHECK(contains(refusal({"token_embedding.weight", "positional_embedding", "transformer.resblocks.0.ln_1.weight"}),
                 "CLIP's text tower alone"));
  CHECK(contains(refusal({"vision_model.encoder.layers.0.layer_norm1.weight"}), "Hugging Face's transformers"));
  CHECK(contains(refusal({"base.layers.0.lora_A.weight"}), "low-rank adapters"));
}

TEST_CASE("key maps: broken ones are refused by their file") {
  const auto refusal = [](const std::string& json) -> std::string {
    try {
      parse_key_map("broken", json);
    } catch (const Error& error) {
      return error.what();
    }
    return "parsed";
  };
  const auto with = [](const std::string& inside) {
    return R"({"about":"","architectures":[],"wrappers":[],"prefixes":[],"inside":[)" + inside +
           R"(],"outside":[],"preprocessing":{}})";
  };
  CHECK(refusal(with("")) == "parsed");
  CHECK(contains(refusal("{}"), "models/keymaps/broken.json"));
  CHECK(contains(refusal(with(R"({"from":"a"})")), "'from' and either 'to' or 'drop'"));
  CHECK(contains(refusal(with(R"({"from":"a","to":"*"})")), "more stars"));
  CHECK(contains(refusal("{"), "broken.json"));
}

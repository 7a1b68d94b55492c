// Heads of mmpretrain's classifiers, CLIP's text side and .npy arrays, as probes.
#include "tools/checkpoints/head_import.h"

#include <doctest/doctest.h>

#include <cmath>

#include "runtime/error.h"
#include "runtime/npy.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tests/tools/checkpoints/checkpoint_builder.h"
#include "tools/checkpoints/mmengine_config.h"

using namespace hp;
using namespace hp::test;

namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

struct Named {
  std::string name;
  std::vector<int64_t> size;
};

// A classifier's file: its backbone's first tensor, a head, and the configuration as mmengine keeps it.
class Classifier {
 public:
  Classifier(const std::vector<Named>& head, const std::string& config) {
    StorageSpec storage{.key = "0", .values = {}};
    for (int i = 0; i < 64; ++i) storage.values.push_back(static_cast<float>(i + 1) / 8);
    py::Items state{{"backbone.conv1.weight", tensor(persistent(storage, false), {{2}, {1}})}};
    for (const auto& [name, size] : head) {
      std::vector<int64_t> stride(size.size());
      int64_t step = 1;
      for (size_t axis = size.size(); axis > 0; --axis) stride[axis - 1] = step, step *= size[axis - 1];
      state.emplace_back("head." + name, tensor(persistent(storage, false), {size, stride}));
    }
    py::Items file{{"state_dict", py::dict(state)}};
    if (!config.empty()) file.emplace_back("meta", py::dict({{"epoch", py::integer(3)}, {"cfg", py::text(config)}}));
    write_file(folder_ / "w.pth", zip_file(torch_archive(py::dict(file), {storage})));
    checkpoint_ = read_checkpoint(folder_ / "w.pth");
  }
  Probe import(const HeadOptions& options = {}) const { return import_head(checkpoint_, options); }
  std::string refusal(const HeadOptions& options = {}) const {
    try {
      import(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "imported";
  }

 private:
  TemporaryFolder folder_;
  Checkpoint checkpoint_;
};

std::string config_of(const std::string& head) {
  return "auto_scale_lr = dict(base_batch_size=256)\nmodel = dict(\n    backbone=dict(type='ResNet', depth=50),\n    "
         "head=dict(\n        loss=dict(type='Loss', loss_weight=1.0),\n        " +
         head + "),\n    neck=None,\n    type='ImageClassifier')\nlogit_bias = 7\n";
}

const std::vector<Named> bcos_two{{"fc0.linear.weight", {3, 4, 1, 1}},
                                  {"fc1.linear.weight", {5, 3, 1, 1}},
                                  {"bn0.weight", {3}},
                                  {"bn0.running_mean", {3}},
                                  {"bn0.running_var", {3}},
                                  {"bn0.num_batches_tracked", {}}};
const std::vector<Named> linear{{"fc.weight", {5, 4, 1, 1}}, {"fc.bias", {5}}};
const std::vector<Named> uncentred{{"fc0.weight", {3, 4, 1, 1}},
                                   {"fc1.weight", {5, 3, 1, 1}},
                                   {"bn0.weight", {3}},
                                   {"bn0.running_mean", {3}},
                                   {"bn0.running_var", {3}}};

}  // namespace

TEST_CASE("head import: the class of the head decides the logit constant, as the reference's code does") {
  const float off = -std::log(4.0F);
  const auto constant = [](const std::vector<Named>& head, const std::string& config) {
    return Classifier(head, config.empty() ? "" : config_of(config)).import().spec().logit_constant;
  };
  CHECK(constant(linear, "type='LinearClsHead', num_classes=5") == 0);
  CHECK(constant(linear, "type='LinearClsHead', logit_bias=3.0") == 0);  // ignored there
  CHECK(constant(linear, "type='LinearClsHead', logit_layer_flag=True") == off);
  CHECK(constant(linear, "") == 0);
  CHECK(constant(bcos_two, "type='BcosLinearClsHead', num_classes=5") == off);
  CHECK(constant(bcos_two, "logit_bias=None,\n type='BcosLinearClsHead'") == off);
  CHECK(constant(bcos_two, "type='BcosLinearClsHead', logit_bias=0.0") == off);  // 0 is falsy
  CHECK(constant(bcos_two, "type='BcosLinearClsHead', logit_bias=-2.5") == -2.5F);
  CHECK(constant(bcos_two, "type='BcosMultiLabelLinearClsHead', logit_bias=0.0") == 0);
  CHECK(constant(bcos_two, "type='BcosMultiLabelLinearClsHead'") == off);
  CHECK(constant(uncentred, "type='MultiLayerLinearClsHead', logit_bias=0.0") == 0);
  CHECK(constant(uncentred, "type='MultiLayerLinearClsHead'") == off);
  CHECK(constant(uncentred, "type='MultiLabelLinearClsHead', logit_bias = 0") == 0);
  CHECK(constant({{"fc.linear.weight", {5, 4, 1, 1}}}, "type='BcosLinearClsHeadOld'") == 0);
  CHECK(contains(Classifier(bcos_two, "").refusal(), "give --logit-constant"));
  CHECK(Classifier(bcos_two, "").import({"off", {}}).spec().logit_constant == off);
  CHECK(Classifier(bcos_two, "").import({"0.5", {}}).spec().logit_constant == 0.5F);
  CHECK(contains(Classifier(bcos_two, "").refusal({"x", {}}), "unknown logit constant"));
  CHECK(contains(Classifier(bcos_two, config_of("type='VisionHead'")).refusal(), "unknown class of head"));
  CHECK(contains(Classifier(bcos_two, config_of("type='BcosLinearClsHead', logit_temperature=2")).refusal(),
                 "has a temperature, 2"));
}

TEST_CASE("head import: layers, norms and biases") {
  const Probe one = Classifier(linear, "").import({"", {"a", "b", "c", "d", "e"}});
  CHECK(one.spec().head == HeadKind::linear);
  CHECK(one.channels() == 4);
  CHECK(one.classes().front() == "a");
  CHECK_FALSE(one.trainable());
  CHECK(one.parameters.at("head.weight").floats()[19] == 20.0F / 8);
  CHECK(one.parameters.at("head.bias").floats()[4] == 5.0F / 8);

  const Probe two = Classifier(bcos_two, "").import({"off", {}});
  CHECK(two.spec().head == HeadKind::bcos_mlp);
  CHECK(two.spec().hidden == 3);
  CHECK(two.classes() == numbered_classes(5));
  CHECK(two.parameters.at("head.fc1.linear.weight").shape() == Shape{5, 3, 1, 1});
  CHECK(two.parameters.at("head.bn0.running_var").floats()[2] == 3.0F / 8);

  // An uncentred norm is batch norm with mean and bias 0, whatever running mean the file keeps.
  const Probe standard = Classifier(uncentred, "").import({"off", {}});
  CHECK(standard.spec().head == HeadKind::mlp);
  CHECK_FALSE(standard.spec().bias);
  CHECK(standard.parameters.at("head.bn0.running_mean").floats()[1] == 0);
  CHECK(standard.parameters.at("head.bn0.bias").floats()[1] == 0);
  std::vector<Named> centred = uncentred;
  centred.push_back({"bn0.bias", {3}});
  CHECK(Classifier(centred, "").import({"off", {}}).parameters.at("head.bn0.running_mean").floats()[1] == 2.0F / 8);

  const TemporaryFolder folder;
  two.save(folder / "p.safetensors");
  CHECK(Probe::load(folder / "p.safetensors").spec().logit_constant == two.spec().logit_constant);
}

TEST_CASE("head import: what is no head, or a damaged one, is refused") {
  CHECK(contains(Classifier({}, "").refusal(), "the file has no head"));
  CHECK(contains(Classifier({{"predictor.weight", {2}}}, "").refusal(), "the head is none that is known"));
  std::vector<Named> head = bcos_two;
  head.push_back({"bn1.weight", {5}});
  CHECK(contains(Classifier(head, "").refusal({"off", {}}), "a norm behind its last layer"));
  head = bcos_two;
  head.erase(head.begin() + 4);
  CHECK(contains(Classifier(head, "").refusal({"off", {}}), "the head lacks bn0.running_var"));
  head = bcos_two;
  head[1].size = {5, 2, 1, 1};
  CHECK(contains(Classifier(head, "").refusal({"off", {}}), "fc1.linear.weight' does not fit"));
  CHECK(contains(Classifier(linear, "").refusal({"", {"a"}}), "5 classes; got 1 names"));
}

TEST_CASE("head config: read as text, whatever surrounds it") {
  CHECK(parse_head_config("model = {'head': {'type': \"x.y.LinearClsHead\", 'logit_bias': -1.5}}")->type ==
        "LinearClsHead");
  CHECK(parse_head_config("model = {'head': {'type': \"LinearClsHead\", 'logit_bias': -1.5}}")->logit_bias == -1.5);
  CHECK_FALSE(parse_head_config("overhead=dict(type='A')").has_value());
  CHECK_FALSE(parse_head_config("head=None, type='A'").has_value());
  for (const char* odd :
       {"", "head", "head=", "head=dict(", "head=dict(type=", "head=dict(type='", "head=dict(type='A"})
    CHECK_FALSE(parse_head_config(odd).has_value());
}

namespace {

std::string npy(const std::string& descr, const std::string& order, const std::string& shape, const std::string& data) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  header += std::string(64 - (10 + header.size() + 1) % 64, ' ') + "\n";
  return std::string("\x93NUMPY\1\0", 8) + raw(static_cast<uint16_t>(header.size())) + header + data;
}

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

}  // namespace

TEST_CASE("npy: types, orders, and refusals") {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& file) -> std::string {
    write_file(folder / "a.npy", file);
    try {
      const Tensor tensor = read_npy(folder / "a.npy");
      return fmt::format("{} {}", tensor.shape().str(),
                         fmt::join(std::vector<float>(tensor.floats(), tensor.floats() + tensor.count()), " "));
    } catch (const Error& error) {
      return error.what();
    }
  };
  const std::string six = bytes_of({0, 1, 2, 3, 4, 5});
  CHECK(read(npy("<f4", "False", "(2, 3)", six)) == "[2, 3] 0 1 2 3 4 5");
  CHECK(read(npy("<f4", "True", "(2, 3)", six)) == "[2, 3] 0 2 4 1 3 5");
  CHECK(read(npy("<f4", "False", "(6,)", six)) == "[6] 0 1 2 3 4 5");
  CHECK(read(npy("<f8", "False", "(1,)", raw(2.5))) == "[1] 2.5");
  CHECK(read(npy("<f2", "False", "(1,)", raw(uint16_t{0x3E00}))) == "[1] 1.5");
  CHECK(contains(read(npy(">f4", "False", "(6,)", six)), "element type not read; got"));
  CHECK(contains(read(npy("<f4", "False", "(7,)", six)), "got 24 bytes for [7]"));
  CHECK(contains(read(npy("<f4", "False", "(99999999999999, 99999999999)", six)), "["));
  CHECK(contains(read(npy("<f4", "False", "(a,)", six)), "shape not read"));
  CHECK(contains(read("hello"), "is no .npy file"));
  const std::string file = npy("<f4", "False", "(2, 3)", six);
  for (size_t length = 0; length < file.size(); ++length) CHECK(read(file.substr(0, length)).starts_with("["));
}

TEST_CASE("zero-shot: embeddings become unit vectors times the logit scale") {
  const TemporaryFolder folder;
  write_file(folder / "texts.npy", npy("<f4", "False", "(2, 3)", bytes_of({3, 0, 4, 0, 0.5F, 0})));
  write_file(folder / "texts.txt", "tabby cat\r\ndog\n\n");
  const std::vector<std::string> classes = read_class_names(folder / "texts.txt");
  CHECK(classes == std::vector<std::string>{"tabby cat", "dog"});
  const Probe probe = import_zero_shot({folder / "texts.npy", classes, 100}, nullptr);
  CHECK(probe.spec().head == HeadKind::zero_shot);
  const float* w = probe.parameters.at("head.weight").floats();
  CHECK(std::vector<float>(w, w + 6) == std::vector<float>{60, 0, 80, 0, 100, 0});

  // The same out of safetensors, whose logit_scale is CLIP's, the logarithm.
  Parameters file;
  const std::vector<float> values{3, 0, 4, 0, 0.5F, 0}, logarithm{std::log(100.0F)};
  file.set("class_embeddings", Tensor::host({2, 3}, values));
  file.set("logit_scale", Tensor::host({1}, logarithm));
  save_safetensors(folder / "texts.safetensors", file);
  const Probe same = import_zero_shot({folder / "texts.safetensors", classes, 0}, nullptr);
  CHECK(same.parameters.at("head.weight").floats()[2] == doctest::Approx(80));
  const Checkpoint clip = read_checkpoint(folder / "texts.safetensors");
  CHECK(import_zero_shot({folder / "texts.npy", classes, 0}, &clip).parameters.at("head.weight").floats()[0] ==
        doctest::Approx(60));

  const auto refusal = [&](const std::filesystem::path& embeddings, const std::vector<std::string>& names,
                           double scale) {
    try {
      import_zero_shot({embeddings, names, scale}, nullptr);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("made");
  };
  CHECK(contains(refusal(folder / "texts.npy", classes, 0), "the logit scale is not known"));
  CHECK(contains(refusal(folder / "texts.npy", {"a", "b", "c"}, 1), "2 rows and 3 class names"));
  write_file(folder / "zero.npy", npy("<f4", "False", "(2, 2)", bytes_of({1, 1, 0, 0})));
  CHECK(contains(refusal(folder / "zero.npy", classes, 1), "the embedding of 'dog' has no direction"));
  write_file(folder / "flat.npy", npy("<f4", "False", "(4,)", bytes_of({1, 1, 0, 0})));
  CHECK(contains(refusal(folder / "flat.npy", classes, 1), "embeddings do not fit; got [4]"));
  write_file(folder / "twice.txt", "a\na\n");
  CHECK_THROWS_WITH_AS(read_class_names(folder / "twice.txt"), doctest::Contains("class 'a' is empty or occurs twice"),
                       Error);
}

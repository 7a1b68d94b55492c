// What each source of checkpoints is recognised by, and what is dropped of it.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/backbone.h"
#include "tests/tools/checkpoints/hollow_checkpoint.h"
#include "tools/checkpoints/architecture.h"

using namespace hp;
using namespace hp::test;

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
    const StorageSpec storage = hollow_values();
    const std::string state = hollow_state_dict(hollow("resnet50", "module.backbone.", "module.head.mlp.0"), storage);
    const HollowFile file(py::dict({{"student", state}, {"teacher", state}}), storage);
    CHECK(file.plan().wrapper == "teacher");
    CHECK(file.plan().complete());
    CHECK(nlohmann::json::parse(file.plan().preprocessing)["interpolation"] == "bicubic");
    const Conversion student = file.plan({.architecture = "", .source = "", .prefix = "student.module.backbone."});
    CHECK(student.complete());
    CHECK(student.prefix == "student.module.backbone.");
  }
  SUBCASE("DINO's released ResNet: torchvision's names without a classifier, so that the user has to say whose it is") {
    const HollowFile file = file_of(hollow("resnet50", "", ""));
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
    const StorageSpec storage = hollow_values();
    const std::string state =
        hollow_state_dict(bcos_hollow("bcos_resnet18", "module.backbone.", "module.head.last_layer"), storage);
    const Conversion plan = HollowFile(py::dict({{"student", state}, {"teacher", state}}), storage).plan();
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
    const HollowFile file = file_of(hollow("clip_rn50_w8_r64", "visual.", ""));
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
  SUBCASE("an attention pool without positions has no native side") {
    Hollow tensors = hollow("clip_rn50_w8_r64", "visual.", "");
    for (HollowTensor& tensor : tensors)
      if (tensor.name.ends_with("attnpool.positional_embedding")) tensor.size[0] = 0;
    const Conversion plan = file_of(tensors).plan();  // so it is left out
    CHECK(plan.architecture == "clip_rn50_trunk_w8");
    CHECK(reason_of(plan, "visual.attnpool.positional_embedding") == "attention pool");
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

// Files whose names are canonical already, from convert-weights itself or from a pre-training.
#include <doctest/doctest.h>

#include <limits>

#include "runtime/error.h"
#include "runtime/safetensors.h"
#include "tests/files.h"
#include "tools/checkpoints/architecture.h"
#include "tools/checkpoints/conversion.h"

using namespace hp;
using namespace hp::test;

namespace {

constexpr int64_t classes = 7;

// As a pre-training writes it, of a width that no key map lists.
Parameters trained() {
  const Architecture known = examine_architecture("small_resnet10_w4");
  const auto filled = [](const Shape& shape, float value) {
    return Tensor::host(shape, std::vector<float>(static_cast<size_t>(shape.count()), value));
  };
  Parameters parameters;
  for (const ExpectedTensor& tensor : known.tensors) parameters.set(tensor.name, filled(tensor.shape, 0.5F));
  parameters.set("head.weight", filled({classes, known.channels}, 0.25F));
  parameters.set("head.bias", filled({classes}, 1));
  parameters.set("model_input.mean", filled({3}, 0.5F));
  parameters.metadata = {{"architecture", "small_resnet10_w4"},
                         {"classes", "7"},
                         {"converter", "hp-run"},
                         {"curves", "{}"},
                         {"preprocessing", R"({"interpolation":"none","mean":[0.5,0.5,0.5],"std":[0.2,0.2,0.2]})"}};
  return parameters;
}

Conversion converted(const TemporaryFolder& folder, const Parameters& parameters) {
  const std::filesystem::path source = folder / "in.safetensors";
  save_safetensors(source, parameters);
  const Checkpoint checkpoint = read_checkpoint(source);
  Conversion conversion = plan_conversion(checkpoint, {});
  save_safetensors(folder / "out.safetensors", convert(checkpoint, conversion, source));
  return conversion;
}

}  // namespace

TEST_CASE("conversion: a file with canonical names keeps its metadata, and converts to itself") {
  const TemporaryFolder folder;
  const Conversion conversion = converted(folder, trained());
  CHECK(conversion.architecture == "small_resnet10_w4");
  CHECK(conversion.key_map == "canonical");
  CHECK(conversion.classes == classes);
  REQUIRE(conversion.dropped.size() == 1);
  CHECK(conversion.dropped[0].name == "model_input.mean");
  CHECK(conversion.dropped[0].reason == "follows from the preprocessing");
  const std::string once = read_file(folder / "out.safetensors");
  const Parameters read = load_safetensors(folder / "out.safetensors");
  CHECK(read.metadata == trained().metadata);
  CHECK(converted(folder, read).dropped.empty());
  CHECK(read_file(folder / "out.safetensors") == once);
}

TEST_CASE("conversion: a file with canonical names is verified") {
  const TemporaryFolder folder;
  const auto refusal = [&](auto&& change) -> std::string {
    Parameters parameters = trained();
    change(parameters);
    try {
      converted(folder, parameters);
    } catch (const Error& error) {
      return error.what();
    }
    return "converted";
  };
  const auto with = [&](const std::string& key, const std::string& value) {
    return refusal([&](Parameters& parameters) { parameters.metadata[key] = value; });
  };
  const auto contains = [](const std::string& text, std::string_view part) { return text.find(part) != text.npos; };
  CHECK(with("curves", "[]") == "converted");
  CHECK(contains(with("architecture", "small_resnet10_w8"), "do not fit small_resnet10_w8"));
  CHECK(contains(with("architecture", "resnet9"), "unknown architecture"));
  CHECK(contains(with("classes", "8"), "got 7 classes; expected '8' as the metadata says"));
  CHECK(contains(with("preprocessing", "{}"), "expected three numbers as 'mean'"));
  CHECK(contains(with("preprocessing", "[["), "is not usable"));
  CHECK(contains(with("preprocessing", R"({"mean":[1,1,1],"std":["a",1,1]})"), "as 'std'"));
  const auto set = [&](const std::string& name, const Shape& shape, float value) {
    return refusal([&](Parameters& parameters) {
      parameters.set(name, Tensor::host(shape, std::vector<float>(static_cast<size_t>(shape.count()), value)));
    });
  };
  CHECK(contains(set("head.bias", {classes}, std::numeric_limits<float>::quiet_NaN()), "head.bias"));
  CHECK(contains(set("layer9.weight", {1}, 1), "layer9.weight"));
}

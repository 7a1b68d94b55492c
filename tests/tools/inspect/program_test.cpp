// hp-inspect as a user runs it: exit codes, what it prints and writes, and bad input.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/npy.h"
#include "tests/files.h"
#include "tests/places.h"
#include "tests/tools/experiment/synthetic.h"
#include "tools/data/image.h"

using namespace hp;
using namespace hp::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

struct Run {
  int code;
  std::string output, errors;
};

Run run(const TemporaryFolder& folder, const std::string& arguments) {
  const std::string out = (folder / "stdout").string(), err = (folder / "stderr").string();
  const int status = std::system((std::string(HP_INSPECT) + " " + arguments + " >" + out + " 2>" + err).c_str());
  return {WEXITSTATUS(status), read_file(out), read_file(err)};
}

// Weights and a picture.
struct Inputs {
  TemporaryFolder folder;
  std::string weights = (folder / "weights.safetensors").string(), picture = (folder / "picture.png").string();
  Inputs() {
    write_weights(weights);
    write_png(picture, striped_picture(1, 3));
  }
};

}  // namespace

TEST_CASE("hp-inspect: every command works, and what it prints fits a terminal") {
  const Inputs in;
  for (const std::string& command :
       {"graph " + in.weights, std::string("graph resnet50"), "rules " + in.weights + " epsilon_plus",
        "relevance " + in.weights + " " + in.picture, "tensor " + in.weights}) {
    const Run done = run(in.folder, command);
    CAPTURE(done.output);
    CHECK_MESSAGE(done.code == 0, done.errors);
    CHECK(done.errors.empty());
    CHECK(contains(done.output, "next: "));
    std::istringstream lines(done.output);
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) CHECK(line.size() <= 100 + in.weights.size());
    CHECK(count <= 24);
  }
}

TEST_CASE("hp-inspect relevance: maps, pictures and numbers in the output folder") {
  const Inputs in;
  const std::string out = (in.folder / "maps").string();
  const Run done = run(in.folder, "relevance " + in.weights + " " + in.picture +
                                      " --target 2 --composite epsilon_plus --layer 'layer3.*' --output " + out);
  REQUIRE_MESSAGE(done.code == 0, done.errors);
  CHECK(contains(done.output, "class 2"));
  CHECK(contains(done.output, "layer3.0.conv1"));
  CHECK_FALSE(contains(done.output, "layer2"));
  const json report = json::parse(read_file(fs::path(out) / "relevance.json"));
  CHECK(report["target"] == 2);
  CHECK(report["nodes"].front()["name"] == "logits");
  int maps = 0, pictures = 0;
  for (const auto& entry : fs::directory_iterator(out)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == ".png") {
      CHECK(decode_image(entry.path()).width >= 128);
      ++pictures;
    }
    if (entry.path().extension() != ".npy") continue;
    ++maps;
    const Tensor map = read_npy(entry.path());
    const std::string node = name.substr(3, name.size() - 7);
    double sum = 0;
    for (int64_t i = 0; i < map.count(); ++i) sum += static_cast<double>(map.floats()[i]);
    for (const json& each : report["nodes"])
      if (each["name"] == node) CHECK(each["sum"].get<double>() == doctest::Approx(sum).epsilon(1e-5));
  }
  CHECK(maps > 10);
  CHECK(pictures == maps + 2);  // and the input, and the overview
  CHECK(fs::exists(fs::path(out) / "overview.png"));
  // Again into the same folder, and as JSON.
  const Run again = run(in.folder, "relevance " + in.weights + " " + in.picture +
                                       " --target 2 --composite epsilon_plus --format json --output " + out);
  CHECK(json::parse(again.output) == report);
}

TEST_CASE("hp-inspect: bad input is 1, with the reason, and writes nothing") {
  const Inputs in;
  write_file(in.folder / "text.png", "no picture");
  write_file(in.folder / "file", "");
  const std::string relevance = "relevance " + in.weights + " ";
  const struct {
    std::string command, reason;
  } cases[] = {
      {"graph absent.safetensors", "no such model"},
      {"graph " + in.picture, ""},
      {"rules " + in.weights + " no_such_composite", "no_such_composite"},
      {"rules " + in.weights + " '{\"base\": 3}'", "base"},
      {relevance + "absent.png", "absent.png"},
      {relevance + (in.folder / "text.png").string(), "text.png"},
      {relevance + in.picture + " --target 6", "0 to 5"},
      {relevance + in.picture + " --target horse", "horse"},
      {relevance + in.picture + " --target -1", "0 to 5"},
      {relevance + in.picture + " --layer 'layer9*'", "layer9"},
      {relevance + in.picture + " --size 64", "32 x 32"},
      {relevance + in.picture + " --probe absent.safetensors", "absent.safetensors"},
      {relevance + in.picture + " --composite '{\"rules\": [{\"at\": \"nowhere\", \"rule\": \"flat\"}]}'", "nowhere"},
      {relevance + in.picture + " --output " + (in.folder / "file").string(), "cannot make the folder"},
      {"relevance resnet50 " + in.picture, "needs weights"},
      {"tensor absent.npy", "absent.npy"},
      {"tensor " + in.picture, ""},
  };
  for (const auto& [command, reason] : cases) {
    const Run failed = run(in.folder, command);
    CAPTURE(command);
    CAPTURE(failed.errors);
    CHECK(failed.code == 1);
    CHECK(failed.output.empty());
    CHECK(failed.errors.starts_with("hp-inspect: "));
    CHECK(contains(failed.errors, reason));
  }
}

TEST_CASE("hp-inspect: wrong usage is 2, help is 0") {
  const TemporaryFolder folder;
  for (const char* arguments : {"", "nonsense", "graph", "graph resnet18 --format xml", "rules resnet18",
                                "relevance resnet18", "tensor", "graph resnet18 --size 0"})
    CHECK_MESSAGE(run(folder, arguments).code == 2, arguments);
  CHECK(run(folder, "--help").code == 0);
  const Run help = run(folder, "relevance --help");
  CHECK(help.code == 0);
  CHECK(contains(help.output, "--composite"));
}

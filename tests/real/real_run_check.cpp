// real-run-check RESULTS.json: what the real run must show (experiments/real-run.sh). Exit status 1 if it does not.
#include <fmt/core.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

constexpr double least_top1 = 0.83;

// The paired difference BCE minus CE of GridPG on GradCAM, with its whole interval above 0.
bool binary_localises_better(const json& results) {
  for (const json& d : results.at("differences")) {
    const bool wanted = d.at("evaluation") == "gridpg" && d.at("method") == "gradcam" &&
                        d.at("probe") == "linear-bce" && d.at("against") == "linear-ce";
    if (!wanted) continue;
    fmt::print("GridPG, gradcam, linear-bce minus linear-ce: {}\n", d.dump());
    return d.at("significant").get<bool>() && d.at("mean").get<double>() > 0;
  }
  return false;
}

bool probes_are_accurate(const json& results) {
  bool accurate = !results.at("probes").empty();
  for (const json& probe : results.at("probes")) {
    const double top1 = probe.at("top1").get<double>();
    fmt::print("{}: top-1 {:.4f}\n", probe.at("name").get<std::string>(), top1);
    accurate = accurate && top1 > least_top1;
  }
  return accurate;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print("usage: real-run-check RESULTS.json\n");
    return 2;
  }
  std::ifstream file(argv[1]);
  const json results = json::parse(file, nullptr, false);
  if (results.is_discarded()) {
    fmt::print("real-run-check: {} is not JSON\n", argv[1]);
    return 1;
  }
  try {
    const bool complete = results.at("complete").get<bool>();
    const bool accurate = probes_are_accurate(results), better = binary_localises_better(results);
    fmt::print("complete: {}, every top-1 above {}: {}, BCE localises better than CE: {}\n", complete, least_top1,
               accurate, better);
    return complete && accurate && better ? 0 : 1;
  } catch (const json::exception& error) {
    fmt::print("real-run-check: {}\n", error.what());
    return 1;
  }
}

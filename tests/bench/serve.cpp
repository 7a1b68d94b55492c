#include "tests/bench/serve.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/error.h"
#include "runtime/npy.h"

namespace hp::bench {

namespace {

using Json = nlohmann::json;

Json describe_work(const WorkSpec& work, const Sides& sides) {
  return {{"name", work.name},
          {"text", work.text},
          {"grid", work.grid},
          {"batch", work.batch},
          {"targets", work.targets},
          {"heads", work.heads},
          {"method", work.method},
          {"unit", work.unit},
          {"units", work.units},
          {"must", work.must},
          {"images", images_of(work, sides)}};
}

class Server {
 public:
  Server(CpuKernels& kernels, const WorkOptions& options)
      : kernels_(kernels),
        meter_(kernels, Clock(false)),
        sides_(options.sides),
        workshop_(model_of(options), options.sides, kernels) {}

  Json answer(const std::string& line) {
    std::istringstream words(line);
    std::string command, work, argument;
    words >> command >> work;
    std::getline(words >> std::ws, argument);
    if (command == "describe") return to_json(BenchReport{describe_machine(kernels_, false), {}, {}}).at("machine");
    if (command == "limits") return limits();
    if (command == "works") {
      Json works = Json::array();
      for (const WorkSpec& spec : all_works()) works.push_back(describe_work(spec, sides_));
      return works;
    }
    if (command == "run") {
      int calls = 1, warm = 1;
      std::istringstream(argument) >> calls >> warm;
      return run(work_named(work), calls, warm);
    }
    if (command == "save") {
      write_npy(argument, workshop_.result(work_named(work)));
      return {{"file", argument}};
    }
    fail("[bench] unknown command; got '{}'; expected describe, limits, works, run, save or quit", command);
  }

 private:
  Json limits() {
    meter_.measure_flops(limits_);
    meter_.measure_copies(limits_);
    return {{"peak", limits_.flops.back()}, {"copy", limits_.copies.back().bytes_per_second}};
  }

  Json run(const WorkSpec& work, int calls, int warm) {
    for (int call = 0; call < warm; ++call) workshop_.run(work);
    Json seconds = Json::array();
    for (int call = 0; call < calls; ++call) {
      seconds.push_back(Clock(false).seconds_of([&] { workshop_.run(work); }));
    }
    return {{"seconds", seconds}, {"flops", workshop_.flops(work)}};
  }

  CpuKernels& kernels_;
  LimitMeter meter_;
  Limits limits_;
  Sides sides_;
  Workshop workshop_;
};

}  // namespace

void serve(CpuKernels& kernels, const WorkOptions& options, std::istream& in, std::ostream& out) {
  Server server(kernels, options);
  for (std::string line; std::getline(in, line) && line != "quit";) {
    Json answer;
    try {
      answer = server.answer(line);
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    out << answer.dump() << std::endl;
  }
}

}  // namespace hp::bench

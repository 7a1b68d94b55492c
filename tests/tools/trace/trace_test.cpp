// Recording what ran, the trace file, and the tables of a profile.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "runtime/error.h"
#include "tests/files.h"
#include "tools/trace/profile.h"
#include "tools/trace/trace_file.h"

using namespace hp;
using hp::test::read_file;
using hp::test::TemporaryFolder;
using nlohmann::json;

namespace {

void spend(double milliseconds) {
  std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(milliseconds));
}

size_t label(const Trace& trace, const std::string& name) {
  for (size_t i = 0; i < trace.labels.size(); ++i) {
    if (trace.labels[i].name == name) return i;
  }
  throw Error("no label " + name);
}

void run_node(Recorder& recorder, const char* phase, const char* node, double milliseconds, Cost cost = {}) {
  const Observed observed(&recorder, [&] { return Activity{phase, node, cost}; });
  spend(milliseconds);
}

// A pass of two nodes, twice, with something between them.
void run_passes(Recorder& recorder) {
  for (int pass = 0; pass < 2; ++pass) {
    const Observed observed(&recorder, "forward");
    run_node(recorder, "forward", "conv1", 4, {8e6, 4e6});
    spend(2);
    run_node(recorder, "forward", "relu \"1\"", 1, {0, 1e6});
  }
}

json trace_json(const Trace& trace) {
  const TemporaryFolder folder;
  AtomicFile file(folder / "trace.json");
  write_trace(file, trace, "test");
  CHECK_FALSE(std::filesystem::exists(folder / "trace.json"));
  file.commit();
  return json::parse(read_file(folder / "trace.json"));
}

}  // namespace

TEST_CASE("recorder: the times of one thread add up, whatever lies within what") {
  Recorder recorder;
  run_passes(recorder);
  const Trace trace = recorder.trace();
  REQUIRE(trace.events.size() == 6);
  CHECK(trace.events_left_out == 0);
  CHECK(trace.threads == 1);
  double sum = 0, passes = 0;
  for (const TraceTotal& total : trace.own) sum += total.seconds;
  for (const TraceEvent& event : trace.events) {
    CHECK(event.start >= 0);
    if (static_cast<size_t>(event.label) == label(trace, "forward")) passes += event.duration;
  }
  CHECK(sum == doctest::Approx(passes).epsilon(1e-9));
  CHECK(passes <= trace.seconds);
  const TraceTotal& conv = trace.own[label(trace, "forward/conv1")];
  CHECK(conv.events == 2);
  CHECK(conv.seconds >= 0.008);
  CHECK(conv.cost.flops == 16e6);
  CHECK(trace.own[label(trace, "forward")].seconds >= 0.004);
  const TimeShares shares = time_shares(trace);
  CHECK(shares.passes == doctest::Approx(sum));
  CHECK(shares.observed == doctest::Approx(sum));
  CHECK(shares.nodes == doctest::Approx(sum - trace.own[label(trace, "forward")].seconds));
}

TEST_CASE("recorder: threads have their own times") {
  Recorder recorder;
  {
    const Observed waiting(&recorder, "data/wait");
    std::vector<std::jthread> workers;
    for (int i = 0; i < 3; ++i) {
      workers.emplace_back([&] {
        for (int picture = 0; picture < 5; ++picture) {
          const Observed observed(&recorder, "data/decode");
          spend(1);
        }
      });
    }
  }
  const Trace trace = recorder.trace();
  CHECK(trace.events.size() == 16);
  CHECK(trace.threads >= 2);  // an id may be used again
  CHECK(trace.own[label(trace, "data/decode")].events == 0);
  CHECK(trace.others[label(trace, "data/decode")].events == 15);
  CHECK(trace.others[label(trace, "data/decode")].seconds >= 0.015);
  const TraceTotal& wait = trace.own[label(trace, "data/wait")];
  CHECK(wait.seconds <= trace.seconds);
  CHECK(wait.events == 1);
}

TEST_CASE("recorder: beyond the limit events are counted and added up, not kept") {
  Recorder recorder(4);
  run_passes(recorder);
  const Trace trace = recorder.trace();
  CHECK(trace.events.size() == 4);
  CHECK(trace.events_left_out == 2);
  CHECK(trace.own[label(trace, "forward/conv1")].events == 2);
  CHECK(trace_json(trace)["otherData"]["events_left_out"] == 2);
}

TEST_CASE("trace file: JSON that holds every event with its counts and rates") {
  Recorder recorder;
  run_passes(recorder);
  const Trace trace = recorder.trace();
  const json file = trace_json(trace);
  CHECK(file["otherData"]["program"] == "test");
  CHECK(file["otherData"]["seconds"].get<double>() == doctest::Approx(trace.seconds).epsilon(1e-3));
  std::vector<json> conv, passes;
  for (const json& event : file["traceEvents"]) {
    if (event["ph"] == "M") {
      CHECK(event["args"]["name"] == "compute");
      continue;
    }
    CHECK(event["ph"] == "X");
    CHECK(event["cat"] == "forward");
    if (event["name"] == "forward/conv1") conv.push_back(event);
    if (event["name"] == "forward") passes.push_back(event);
  }
  REQUIRE(conv.size() == 2);
  REQUIRE(passes.size() == 2);
  const json& first = conv[0];
  const double seconds = first["dur"].get<double>() * 1e-6;
  CHECK(first["args"]["flops"] == 8e6);
  CHECK(first["args"]["bytes"] == 4e6);
  CHECK(first["args"]["GFLOP/s"].get<double>() == doctest::Approx(8e-3 / seconds).epsilon(1e-2));
  CHECK(first["args"]["GB/s"].get<double>() == doctest::Approx(4e-3 / seconds).epsilon(1e-2));
  CHECK_FALSE(passes[0].contains("args"));
  const double begin = passes[0]["ts"], end = begin + passes[0]["dur"].get<double>();
  CHECK(first["ts"].get<double>() >= begin);
  CHECK(first["ts"].get<double>() + first["dur"].get<double>() <= end + 1e-2);
  CHECK(file.dump().find("relu \\\\\\\"1") == std::string::npos);  // escaped once, not twice
  // An empty trace is one too.
  CHECK(trace_json(Recorder().trace())["traceEvents"].size() == 1);
}

TEST_CASE("profile: the most expensive nodes first, ten of them, and lines that fit") {
  Recorder recorder;
  {
    const Observed observed(&recorder, "walk");
    for (int i = 0; i < 14; ++i)
      run_node(recorder, "lrp/gamma", ("layer4.2.a_rather_long_name_of_a_block.conv" + std::to_string(i)).c_str(),
               0.5 + 0.5 * i, {1e9, 1e8});
    run_node(recorder, "prepare/gamma", "layer4.2.a_rather_long_name_of_a_block.conv13", 3);
  }
  const std::string text = profile_text(recorder.trace());
  CAPTURE(text);
  std::istringstream lines(text);
  int nodes = 0;
  for (std::string line; std::getline(lines, line);) {
    CHECK(line.size() <= 100);
    nodes += line.find("conv") != std::string::npos;
  }
  CHECK(nodes == 10);
  CHECK(text.find("conv13") < text.find("conv12"));
  CHECK(text.find("conv3 ") == std::string::npos);
  for (const char* part : {"GFLOP/s", "lrp/gamma", "prepare/gamma", "walk (between nodes)", "not reported"})
    CHECK(text.find(part) != std::string::npos);
}

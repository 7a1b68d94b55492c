#include "tests/bench/report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/file.h"

namespace hp::bench {

namespace {

using Json = nlohmann::json;

constexpr int format_version = 1;
constexpr const char* kind_names[] = {"kernel", "work", "memory"};

Json to_json(const Reading& reading) {
  Json json = {{"kind", kind_names[static_cast<size_t>(reading.kind)]},
               {"name", reading.name},
               {"minimum", minimum(reading.samples)},
               {"median", median(reading.samples)},
               {"samples", reading.samples}};
  if (reading.flops > 0) json["flops"] = reading.flops;
  if (reading.bytes > 0) json["bytes"] = reading.bytes;
  if (reading.images != 1) json["images"] = reading.images;
  if (!reading.unit.empty()) {
    json["unit"] = reading.unit;
    json["units"] = reading.units;
  }
  return json;
}

Reading reading_from(const Json& json) {
  Reading reading;
  const auto kind = std::ranges::find(kind_names, json.at("kind").get<std::string>());
  require(kind != std::end(kind_names), "unknown kind {}", json.at("kind").dump());
  reading.kind = static_cast<Reading::Kind>(kind - std::begin(kind_names));
  reading.name = json.at("name");
  reading.samples = json.at("samples").get<std::vector<double>>();
  require(!reading.samples.empty(), "'{}' has no samples", reading.name);
  reading.flops = json.value("flops", 0.0);
  reading.bytes = json.value("bytes", 0.0);
  reading.images = json.value("images", 1.0);
  reading.unit = json.value("unit", "");
  reading.units = json.value("units", 1.0);
  return reading;
}

}  // namespace

double minimum(const std::vector<double>& samples) { return *std::ranges::min_element(samples); }

double median(std::vector<double> samples) {
  std::ranges::sort(samples);
  const size_t half = samples.size() / 2;
  return samples.size() % 2 == 1 ? samples[half] : (samples[half - 1] + samples[half]) / 2;
}

double Limits::peak() const { return flops.empty() ? 0 : *std::ranges::max_element(flops); }

double Limits::copy_rate(double bytes) const {
  if (copies.empty()) return 0;
  const auto distance = [&](const CopyRate& rate) { return std::fabs(std::log(rate.bytes / std::max(bytes, 1.0))); };
  return std::ranges::min_element(copies, {}, distance)->bytes_per_second;
}

double Limits::shortest_seconds(double flops, double bytes) const {
  const double calculating = peak() > 0 ? flops / peak() : 0;
  const double rate = copy_rate(bytes);
  return std::max(calculating, rate > 0 ? bytes / rate : 0);
}

const Reading* BenchReport::find(Reading::Kind kind, const std::string& name) const {
  for (const Reading& reading : readings) {
    if (reading.kind == kind && reading.name == name) return &reading;
  }
  return nullptr;
}

double in_units(const BenchReport& report, const Reading& reading, bool of_medians) {
  const Reading* unit = report.find(Reading::Kind::work, reading.unit);
  if (unit == nullptr) return 0;
  if (of_medians) return median(reading.samples) / (median(unit->samples) * reading.units);
  return minimum(reading.samples) / (minimum(unit->samples) * reading.units);
}

Json to_json(const BenchReport& report) {
  const Machine& machine = report.machine;
  Json json = {{"program", "hp-bench"},
               {"format", format_version},
               {"machine",
                {{"cpu", machine.cpu},
                 {"instruction_set", machine.instruction_set},
                 {"cores", machine.cores},
                 {"threads", machine.threads},
                 {"load_average", machine.load_average},
                 {"clock", machine.clock}}},
               {"limits", {{"flops", report.limits.flops}, {"copies", Json::array()}}},
               {"readings", Json::array()}};
  for (const CopyRate& copy : report.limits.copies) {
    json["limits"]["copies"].push_back({{"bytes", copy.bytes}, {"bytes_per_second", copy.bytes_per_second}});
  }
  for (const Reading& reading : report.readings) json["readings"].push_back(to_json(reading));
  return json;
}

BenchReport report_from_json(const Json& json, const std::string& where) {
  BenchReport report;
  try {
    require(json.at("program") == "hp-bench" && json.at("format") == format_version, "another program or format");
    const Json& machine = json.at("machine");
    report.machine = {machine.at("cpu"),     machine.at("instruction_set"), machine.at("cores"),
                      machine.at("threads"), machine.at("load_average"),    machine.at("clock")};
    report.limits.flops = json.at("limits").at("flops").get<std::vector<double>>();
    for (const Json& copy : json.at("limits").at("copies")) {
      report.limits.copies.push_back({copy.at("bytes"), copy.at("bytes_per_second")});
    }
    for (const Json& reading : json.at("readings")) report.readings.push_back(reading_from(reading));
  } catch (const std::exception& error) {
    fail("[bench] {} is no report of hp-bench; got {}; expected a file written by hp-bench --json", where,
         error.what());
  }
  return report;
}

void save(const std::filesystem::path& path, const BenchReport& report) {
  AtomicFile file(path);
  file.write(to_json(report).dump(1) + "\n");
  file.commit();
}

BenchReport load_report(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  return report_from_json(Json::parse(text, nullptr, false), path.string());
}

}  // namespace hp::bench

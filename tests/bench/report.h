// BenchReport: what one run of hp-bench measured, as a JSON file that a later run can be compared with.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace hp::bench {

double minimum(const std::vector<double>& samples);  // of at least one
double median(std::vector<double> samples);

struct Machine {
  std::string cpu;  // "AMD EPYC 9B14"
  std::string instruction_set;
  int cores = 0, threads = 0;
  double load_average = 0;     // of the last minute, before the run
  std::string clock = "wall";  // or "processor"
};

// What the machine can do at most with the threads of the run.
struct CopyRate {
  double bytes = 0;             // read and written together
  double bytes_per_second = 0;  // the best of the run
};
struct Limits {
  std::vector<double> flops;     // multiply-adds in registers per second, one sample a round
  std::vector<CopyRate> copies;  // ascending: from the first cache to memory

  double peak() const;  // the best round
  // Of a copy of about as many bytes; 0 if none was measured.
  double copy_rate(double bytes) const;
  // The shortest time in which so many operations, and so many bytes of traffic, can be done.
  double shortest_seconds(double flops, double bytes) const;
};

// One thing that was timed, or whose memory was read.
struct Reading {
  enum class Kind { kernel, work, memory } kind = Kind::kernel;
  std::string name;                  // unique within its kind
  std::vector<double> samples = {};  // seconds per call, one a round; of memory: bytes
  double flops = 0, bytes = 0;       // of a kernel's or forward pass's call; 0: not counted
  double images = 1;                 // of a work: what one call explains together
  // A work is also stated as a multiple of another one of the same rounds: minimum / (unit's minimum * units).
  std::string unit = {};
  double units = 1;
};

struct BenchReport {
  Machine machine;
  Limits limits;
  std::vector<Reading> readings;

  const Reading* find(Reading::Kind kind, const std::string& name) const;  // nullptr if there is none
};

// Ratio of a work to its unit, of the fastest rounds or of the medians; 0 if it has no unit or that was not measured.
double in_units(const BenchReport&, const Reading&, bool of_medians);

nlohmann::json to_json(const BenchReport&);
// Throws hp::Error naming `where` if it is no such report.
BenchReport report_from_json(const nlohmann::json&, const std::string& where);
// The file appears complete or not at all.
void save(const std::filesystem::path&, const BenchReport&);
BenchReport load_report(const std::filesystem::path&);

}  // namespace hp::bench

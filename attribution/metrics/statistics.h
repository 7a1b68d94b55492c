// From records to numbers for a table: mean, spread, bootstrap interval, and paired differences between probes.
#pragma once

#include <optional>
#include <span>

#include "attribution/metrics/metric.h"

namespace hp {

struct Interval {
  double low = 0, high = 0;
};

struct Summary {
  double mean = 0;
  double deviation = 0;              // of single records, divided by n as numpy does
  std::optional<Interval> interval;  // of the mean; none with fewer than two samples
  int64_t count = 0;                 // records
  int64_t samples = 0;               // images or grids they come from
  int64_t dropped = 0;               // records whose value is not finite: in none of the above
};

// Percentile bootstrap (Efron 1979) that draws whole samples (images, grids) with replacement, since the records of one
// sample are not independent. A resample's mean is over its records. The quantiles of the means are interpolated
// linearly. Equal records, seed and options give equal numbers on every machine.
struct Bootstrap {
  uint64_t seed = 0;
  int64_t resamples = 2000;
  double confidence = 0.95;
};

Summary summarise(std::span<const Record> records, const Bootstrap& bootstrap);

// Records of `a` minus those of `b` with the same sample, target and cell, in the order of `a`; records without a
// partner are left out. Throws hp::Error if a key occurs twice on one side, or if nothing pairs.
std::vector<Record> paired_differences(std::span<const Record> a, std::span<const Record> b);

}  // namespace hp

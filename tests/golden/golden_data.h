// Golden tensors, as README.md describes their files, and the comparison of what the engine computes with them.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "runtime/tensor.h"

namespace hp::golden {

struct GoldenEntry {
  std::string name;
  nlohmann::json about;  // kind, shape, samples, sum, l2, float32_error ...
  Tensor values;         // the whole tensor or its samples

  std::string text(const char* key) const { return about.at(key).get<std::string>(); }
  // Of the relative L2 error: what the kind of entry allows (1e-5 a node, 1e-4 end to end, 1e-3 relevance end to end),
  // or three times the reference's own float32 error where that is larger; for nodes never above 5e-4.
  double tolerance() const;
};

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& name);  // "resnet20_nodes"

  const std::string& name() const { return name_; }
  const nlohmann::json& header() const { return header_; }  // network, images ...; without the entries
  const std::map<std::string, GoldenEntry>& entries() const { return entries_; }

 private:
  std::string name_;
  nlohmann::json header_;
  std::map<std::string, GoldenEntry> entries_;
};

// How far a tensor is from an entry. No part is above the relative L2 error of the whole tensor (`elements` up to the
// choice of the samples). Infinite where a value is not finite.
struct Deviation {
  double elements = 0;  // relative L2 error of the stored elements
  double norm = 0;      // of the whole tensor's norm, relative
  double sum = 0;       // of the whole tensor's sum, relative to norm * sqrt(size): Cauchy-Schwarz
  double largest() const;
};
Deviation deviation(const GoldenEntry& entry, const Tensor& got);

// Compares with the entries of one file and remembers the largest errors.
class Comparison {
 public:
  explicit Comparison(const GoldenFile& file) : file_(file) {}
  const std::map<std::string, GoldenEntry>& entries() const { return file_.entries(); }
  // Fails the test if the error is above the tolerance. `how` is what the entry's name does not tell.
  void check(const std::string& entry, const Tensor& got, const std::string& how = {});
  // Fails the test if an entry was never compared. Prints the largest error of each group of entries.
  void finish() const;

 private:
  struct Largest {
    double error = 0, share = 0;  // share of the tolerance
  };
  const GoldenFile& file_;
  int count_ = 0;
  std::set<std::string> compared_;
  std::map<std::string, Largest> groups_;
};

}  // namespace hp::golden

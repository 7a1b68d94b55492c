// Labels: which classes each sample of a data list shows, for losses and metrics.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hp {

// Samples are numbered as in the data list. Classes are 0..classes()-1.
class Labels {
 public:
  Labels(int64_t classes, bool multi_label);

  // Appends a sample: `present` classes, and classes that appear in `difficult` objects only (protocol.md 3.5, 3.6).
  // Single-label data has exactly one present class and no difficult ones; anything else throws hp::Error.
  void add(std::span<const int> present, std::span<const int> difficult = {});

  int64_t size() const { return static_cast<int64_t>(samples_.size()); }
  int64_t classes() const { return classes_; }
  bool multi_label() const { return multi_label_; }
  std::span<const int> present(int64_t sample) const;
  std::span<const int> difficult(int64_t sample) const;
  int label(int64_t sample) const { return present(sample)[0]; }  // of single-label data

 private:
  struct Extent {
    size_t begin = 0, difficult = 0, end = 0;  // into values_: present, then difficult
  };
  void check(std::span<const int> values) const;

  int64_t classes_;
  bool multi_label_;
  std::vector<Extent> samples_;
  std::vector<int> values_;
};

}  // namespace hp

// ConvAlgorithms: which of cuDNN's algorithms a convolution is computed by, kept in a file for the next run.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace hp {

// Algorithms differ in their last bits and which is fastest depends on the hour, so a choice that was measured once is
// kept: the next run gives the same bits. A file of another machine, or one that is damaged, counts for nothing and is
// replaced by the next choice.
class ConvAlgorithms {
 public:
  // `machine` names what a measurement holds for: device and library version, in one line. No file: no measurements.
  ConvAlgorithms(std::string file, std::string machine);

  bool are_measured() const { return !file_.empty(); }
  std::optional<int> find(const std::string& convolution) const;
  // Writes the file, and its folder where there is none. Throws hp::Error where that fails.
  void remember(const std::string& convolution, int algorithm);

 private:
  void read();

  std::string file_, machine_;
  std::map<std::string, int> chosen_;
};

}  // namespace hp

// Config: what decides the procedural data set.
#pragma once

#include <cstdint>
#include <string>

namespace hp::scenes {

inline constexpr int min_size = 32, max_size = 448;

struct Config {
  int size = 64;                       // pixels a side, min_size to max_size
  int classes = 10;                    // 2 to 16
  uint64_t seed = 1;                   // of the pictures
  bool multi_label = false;            // several classes in one picture, else several instances of one
  double clutter = 0.5;                // 0 to 1: how much the background holds
  int64_t train = 10000, test = 1000;  // pictures

  // Throws hp::Error on values out of range.
  void check() const;
  // "64 pixels, 10 classes, single-label, seed 1, clutter 0.5": equal text, equal pictures of equal splits.
  std::string str() const;
};

}  // namespace hp::scenes

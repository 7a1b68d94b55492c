// NumPy's .npy: one array, read as float32.
#pragma once

#include <filesystem>

#include "runtime/tensor.h"

namespace hp {

// Format: numpy/lib/format.py, versions 1 to 3; float16, float32, float64 and integers, little-endian, in C or Fortran
// order. Throws hp::Error, naming the file, for anything else; every size is checked.
Tensor read_npy(const std::filesystem::path& path);

}  // namespace hp

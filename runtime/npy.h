// NumPy's .npy files: raw heat maps and per-layer relevance for use elsewhere, and arrays that others saved.
#pragma once

#include <filesystem>

#include "runtime/tensor.h"

namespace hp {

// Writes a host float32 tensor of any rank in format version 1.0. The file appears complete or not at all; throws
// hp::Error if it cannot be written.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

// One array as float32. Format: numpy/lib/format.py, versions 1 to 3; float16, float32, float64 and integers,
// little-endian, in C or Fortran order. Throws hp::Error that names the file on anything else, on a header that does
// not parse, and where the number of bytes does not fit the shape.
Tensor read_npy(const std::filesystem::path& path);

}  // namespace hp

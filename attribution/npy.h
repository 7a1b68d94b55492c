// NumPy's .npy files of float32 in C order: raw heat maps and per-layer relevance for use elsewhere.
#pragma once

#include <filesystem>

#include "runtime/tensor.h"

namespace hp {

// Writes a host float32 tensor of any rank in format version 1.0. The file appears complete or not at all; throws
// hp::Error if it cannot be written.
void write_npy(const std::filesystem::path& path, const Tensor& tensor);

// Reads format versions 1 to 3, little-endian float32 in C order; throws hp::Error on anything else, on a header that
// does not parse, and where the number of bytes does not fit the shape.
Tensor read_npy(const std::filesystem::path& path);

}  // namespace hp

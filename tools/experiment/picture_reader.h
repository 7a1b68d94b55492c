// PictureReader: pictures of batches, read by worker threads while the batch before is computed.
#pragma once

#include <memory>
#include <vector>

#include "tools/data/loader.h"

namespace hp {

class PictureReader {
 public:
  // The data set must outlive the reader. The observer may be null.
  PictureReader(const Dataset& images, const Preprocess& preprocess, int threads, Observer* observer)
      : images_(images), preprocess_(preprocess), threads_(threads), observer_(observer) {}

  // Starts to read these pictures, in place of what was expected before.
  void expect(std::vector<int64_t> indices);
  // These pictures, in this order; waits for them if they were expected. Throws hp::Error if one cannot be read.
  Batch read(std::vector<int64_t> indices);

 private:
  const Dataset& images_;
  Preprocess preprocess_;
  int threads_;
  Observer* observer_;
  std::vector<int64_t> expected_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace hp

#include "tools/experiment/picture_reader.h"

#include "runtime/error.h"

namespace hp {

void PictureReader::expect(std::vector<int64_t> indices) {
  LoaderOptions options;
  options.observer = observer_;
  options.batch = static_cast<int>(indices.size());
  options.threads = threads_;
  options.unreadable_limit = 0;  // they were readable when their features were computed
  expected_ = indices;
  loader_ = std::make_unique<Loader>(images_, preprocess_, std::move(indices), options);
}

Batch PictureReader::read(std::vector<int64_t> indices) {
  if (!loader_ || expected_ != indices) expect(std::move(indices));
  std::optional<Batch> batch = loader_->next();
  loader_.reset();
  require(batch && batch->indices == expected_,
          "[experiment] an image can no longer be read; expected the files to stay as they were");
  return std::move(*batch);
}

}  // namespace hp

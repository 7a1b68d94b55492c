// Pictures: JPEG, PNG and BMP by their content, with their EXIF orientation; and the bytes as an EXIF block alone.
#include <cstdlib>

#include "tests/fuzz/target.h"
#include "tools/data/exif.h"
#include "tools/data/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hp;
  fuzz::refuse_or([&] { decode_image(std::span(data, size), "fuzz"); });
  const int orientation = exif_orientation({data, size});
  if (orientation < 1 || orientation > 8) std::abort();
  return 0;
}

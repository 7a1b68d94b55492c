// PyTorch's legacy stream, and with it the unpickler.
#include "tests/fuzz/checkpoint_target.h"
#include "tests/fuzz/target.h"
#include "tools/checkpoints/containers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hp;
  const std::filesystem::path file = fuzz::as_file({data, size});
  fuzz::refuse_or([&] { fuzz::use(read_legacy_stream(MappedFile(file))); });
  return 0;
}

// The safetensors reader, as a checkpoint and as our own weights.
#include "runtime/safetensors.h"
#include "tests/fuzz/checkpoint_target.h"
#include "tests/fuzz/target.h"
#include "tools/checkpoints/containers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hp;
  const std::filesystem::path file = fuzz::as_file({data, size});
  fuzz::refuse_or([&] { fuzz::use(read_safetensors(MappedFile(file), "fuzz")); });
  fuzz::refuse_or([&] { load_safetensors(file); });
  return 0;
}

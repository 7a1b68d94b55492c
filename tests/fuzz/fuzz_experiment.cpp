// Experiment files: JSON, schema, and what is made of them; the text before a first NUL is a --set.
#include "tests/fuzz/target.h"
#include "tools/experiment/experiment.h"
#include "tools/experiment/schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hp;
  std::string_view text = fuzz::as_text({data, size});
  std::string setting;
  if (const size_t end = text.find('\0'); end != text.npos) {
    setting = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  fuzz::refuse_or([&] {
    nlohmann::json file = parse_json(text, "fuzz");
    if (!setting.empty()) set_value(file, setting);
    const Experiment experiment = Experiment::parse(file, "/folder");
    // A weights file's metadata is foreign, too.
    preprocess_of(std::string(text), experiment.preprocess);
  });
  return 0;
}

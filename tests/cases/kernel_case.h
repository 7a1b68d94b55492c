// KernelCase: one kernel call declared as data, checked against double precision on any device and timed.
//
// Adding a case: a name, the inputs, the outputs' sizes, the call, the reference loop. Everything else (transfers,
// sentinels around the outputs, finite differences, targets, repetition, timing) follows from these; see
// softmax_cases() in rows_cases.cpp for a complete example.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/kernels.h"

namespace hp::cases {

// One array that a kernel reads or writes: float32, or int32 where `ints` is not empty. A per-target array holds
// `targets` blocks, outermost.
struct Array {
  std::vector<float> floats = {};
  std::vector<int32_t> ints = {};
  bool is_int = false;
  bool per_target = false;

  size_t count() const { return is_int ? ints.size() : floats.size(); }
  size_t bytes() const { return 4 * count(); }
};

// --- inputs, made by a counter-based formula: the same numbers on every machine
Array uniform(int64_t count, double low, double high, uint32_t seed);
Array uniform_ints(int64_t count, int32_t low, int32_t high, uint32_t seed);  // low <= value < high
Array values(std::vector<float> floats);
Array relu_like(int64_t count, uint32_t seed);  // in [0, 1), about half of it exactly 0
Array per_target(Array array);                  // says that the array's outermost axis is the targets

// --- outputs; they start as NaN, unless a kernel adds to what is there
Array output(int64_t count);
Array output_ints(int64_t count);
inline Array output_starting_as(Array initial) { return initial; }

// Every array of one call in double precision (int32 too).
using Values = std::vector<std::vector<double>>;

// The device pointers of one call.
class Arguments {
 public:
  Arguments(std::vector<void*> inputs, std::vector<void*> outputs, int targets)
      : targets(targets), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  const float* in(size_t index) const { return static_cast<const float*>(inputs_[index]); }
  const int32_t* in_ints(size_t index) const { return static_cast<const int32_t*>(inputs_[index]); }
  float* out(size_t index) const { return static_cast<float*>(outputs_[index]); }
  int32_t* out_ints(size_t index) const { return static_cast<int32_t*>(outputs_[index]); }

  int targets;  // how many the per-target arrays of this very call hold: pass it on, do not capture the case's own

 private:
  std::vector<void*> inputs_, outputs_;
};

using Call = std::function<void(Kernels&, const Arguments&)>;
using Reference = std::function<void(const Values& inputs, Values& outputs)>;

// Says that outputs[output] is the gradient of sum(inputs[message] * y) by inputs[by], where forward(inputs) gives y as
// its only output, of `message`'s size for one target. `by` may be an input that the call itself does not read. The
// differences are those of this double-precision forward function, not of the kernel.
struct Derivative {
  size_t by = 0, message = 0, output = 0;
  Reference forward = {};
};

struct KernelCase {
  std::string name = {};  // "softmax 7x197"
  std::vector<Array> inputs = {};
  std::vector<Array> outputs = {};  // as they are before the call
  Call call = {};
  Reference reference = {};  // `outputs` come with the values from before the call
  double tolerance = 1e-6;   // on max |got - want| / max |want|, per output
  int targets = 1;
  std::vector<Derivative> derivatives = {};
  std::optional<size_t> in_place = {};  // an input that outputs[0] may overlay
  double flops = 0;                     // 0: the benchmark reports bytes alone
};

// The largest |got - want| over the largest |want| (over 1 if that is 0); infinite where got is NaN or where one is
// infinite and the other not. NaN is wanted nowhere.
double relative_error(const std::vector<double>& got, const std::vector<double>& want);
double relative_error(const Array& got, const std::vector<double>& want);
std::vector<double> as_doubles(const Array& array);
bool same_bits(const std::vector<Array>& a, const std::vector<Array>& b);

// The call's buffers on a device, uploaded once; run() may be repeated (the benchmark does).
class PreparedCase {
 public:
  // A target other than -1 keeps that target's blocks of the per-target arrays alone. `overlay`: outputs[0] lies on
  // this input's memory.
  PreparedCase(Kernels& kernels, const KernelCase& kernel_case, int target = -1, std::optional<size_t> overlay = {});
  void run();                               // one call, without waiting for it
  std::vector<Array> download();            // the outputs
  std::vector<std::string> intact() const;  // complaints: sentinels written over, inputs changed

 private:
  struct Buffer {
    Storage storage;
    Array initial;
    void* data() const;
  };
  Buffer make_buffer(const Array& array);

  Kernels& kernels_;
  const KernelCase& case_;
  int targets_;
  std::optional<size_t> overlay_;
  std::vector<Buffer> inputs_, outputs_;
};

// Everything that is wrong with a kernel, as sentences; empty if nothing is. Checks the result against the reference,
// the sentinels and inputs, the second run against the first (same bits), in-place use (same bits), each target against
// a walk of its own (within 1e-6), and the derivatives by finite differences.
std::vector<std::string> check(Kernels& kernels, const KernelCase& kernel_case);

// Bytes that a perfect kernel moves: every input once and every output once.
double bytes_moved(const KernelCase& kernel_case);

}  // namespace hp::cases

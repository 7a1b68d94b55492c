#include "kernels/cpu/isa.h"

#include <cstdlib>
#include <string_view>

namespace hp {

namespace {

Isa allowed_by_environment() {
  const char* value = std::getenv("DNNL_MAX_CPU_ISA");
  const std::string_view isa = value ? value : "ALL";
  if (isa == "SSE41" || isa == "AVX") return Isa::baseline;
  if (isa.starts_with("AVX2")) return Isa::avx2;
  return Isa::avx512;
}

}  // namespace

Isa detect_isa() {
#if defined(__x86_64__)
  const Isa allowed = allowed_by_environment();
  const auto has_avx512 = [] {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
  };
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  if (allowed == Isa::avx512 && avx2 && has_avx512()) return Isa::avx512;
  if (allowed != Isa::baseline && avx2) return Isa::avx2;
#endif
  return Isa::baseline;
}

}  // namespace hp

// Isa: the instruction sets that the CPU loops are compiled for, and the choice among them at run time.
//
// A file kernels/cpu/loops_*.cpp is compiled once per instruction set (kernels/CMakeLists.txt) with HP_ISA defined as
// the name of one Isa. It holds plain functions over a range of rows or elements, and nothing else: it includes only
// its own header, isa.h, <cstdint>, <cstddef>, and calls __builtin_expf and the like instead of std::exp, because an
// inline function of the standard library would be emitted with AVX-512 code in it and might be the copy that the
// linker keeps for everybody. Its header declares a struct of function pointers, and the three specialisations of
// `loops` that the three objects define:
//
//   struct PoolLoops { void (*max_row)(...); };
//   template <> const PoolLoops& loops<PoolLoops, Isa::baseline>();   // and avx2, avx512
//
//   loops_pool.cpp: namespace { void max_row(...) {...}  constexpr PoolLoops table{.max_row = max_row}; }
//                   template <> const PoolLoops& loops<PoolLoops, Isa::HP_ISA>() { return table; }
//
// Threads are started outside, in the kernel methods (parallel.h).
#pragma once

namespace hp {

// baseline is x86-64-v2 (SSE4.2) on x86 and whatever the compiler targets elsewhere; avx2 is x86-64-v3, avx512 v4.
enum class Isa { baseline, avx2, avx512 };

// The widest set that this processor has; the environment variable DNNL_MAX_CPU_ISA (SSE41, AVX, AVX2, AVX512_CORE ...)
// lowers it as it does in oneDNN, so that one setting governs every kernel.
Isa detect_isa();

template <class Table, Isa isa>
const Table& loops();

// Costs a branch: kernels call it where they need it.
template <class Table>
const Table& loops_for(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return loops<Table, Isa::avx512>();
  if (isa == Isa::avx2) return loops<Table, Isa::avx2>();
#endif
  (void)isa;
  return loops<Table, Isa::baseline>();
}

}  // namespace hp

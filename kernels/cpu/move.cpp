#include <array>
#include <cstdlib>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_move.h"
#include "kernels/cpu/parallel.h"

namespace hp {

namespace {

constexpr int64_t rows_per_task = 64;

}  // namespace

void CpuKernels::copy_block(const Block& block, const float* src, float* dst) {
  const auto plane = loops_for<MoveLoops>(isa_).plane;
  const std::array<MoveAxis, 4> axes = ordered_axes(block);
  // A task is a strip of the third axis; one long row is cut by `copy`, which also knows the best way to do it.
  if (axes[0].extent * axes[1].extent * axes[2].extent == 1 && axes[3].src_stride == 1 && axes[3].dst_stride == 1) {
    return copy(src + block.src_offset, static_cast<size_t>(axes[3].extent) * sizeof(float), dst + block.dst_offset);
  }
  const int64_t strips = (axes[2].extent + rows_per_task - 1) / rows_per_task;
  const int64_t strip_floats = std::min(rows_per_task, axes[2].extent) * axes[3].extent;
  const int64_t grain = std::max<int64_t>(1, floats_per_thread / std::max<int64_t>(1, strip_floats));
  parallel_for(threads_, axes[0].extent * axes[1].extent * strips, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % strips * rows_per_task;
      const int64_t at[3] = {i / strips / axes[1].extent, i / strips % axes[1].extent, first};
      const float* from = src + block.src_offset;
      float* to = dst + block.dst_offset;
      for (int axis = 0; axis < 3; ++axis) {
        from += at[axis] * axes[axis].src_stride;
        to += at[axis] * axes[axis].dst_stride;
      }
      MoveAxis strip = axes[2];
      strip.extent = std::min(rows_per_task, axes[2].extent - first);
      plane(strip, axes[3], from, to);
    }
  });
}

}  // namespace hp

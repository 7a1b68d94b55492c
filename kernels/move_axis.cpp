#include "kernels/move_axis.h"

#include <algorithm>
#include <cstdlib>

namespace hp {

std::array<MoveAxis, 4> ordered_axes(const Block& block) {
  std::array<MoveAxis, 4> axes;
  for (int i = 0; i < 4; ++i) axes[i] = {block.extent[i], block.src_stride[i], block.dst_stride[i]};
  const auto step = [](int64_t extent, int64_t stride) { return extent == 1 ? INT64_MAX : std::abs(stride); };
  std::stable_sort(axes.begin(), axes.end(), [&](const MoveAxis& a, const MoveAxis& b) {
    return step(a.extent, a.dst_stride) > step(b.extent, b.dst_stride);
  });
  for (int i = 2; i >= 0; --i) {
    const MoveAxis inner = axes[i + 1];
    if (axes[i].extent == 1 || axes[i].src_stride != inner.extent * inner.src_stride ||
        axes[i].dst_stride != inner.extent * inner.dst_stride) {
      continue;
    }
    axes[i + 1] = {axes[i].extent * inner.extent, inner.src_stride, inner.dst_stride};
    for (int j = i; j > 0; --j) axes[j] = axes[j - 1];
    axes[0] = {1, 0, 0};
  }
  std::stable_sort(axes.begin(), axes.end() - 1, [&](const MoveAxis& a, const MoveAxis& b) {
    return step(a.extent, a.src_stride) > step(b.extent, b.src_stride);
  });
  return axes;
}

}  // namespace hp

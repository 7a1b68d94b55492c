// Losses over the rows of [rows, columns].
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/loops_rows.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/periods.h"

namespace hp {

namespace {

// An exponential takes as long as reading several elements.
int64_t loss_grain(int64_t columns) { return row_grain(8 * columns); }

}  // namespace

void CpuKernels::cross_entropy(Rows shape, const float* z, const float* t, float scale, float* loss, float* dz) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  parallel_for(threads_, shape.rows, loss_grain(shape.columns), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * shape.columns;
    inner.cross_entropy(end - begin, shape.columns, z + first, t + first, scale, loss + begin,
                        dz ? dz + first : nullptr);
  });
}

void CpuKernels::binary_cross_entropy(Rows shape, const float* z, const float* t, float scale, float* loss, float* dz) {
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  parallel_for(threads_, shape.rows, loss_grain(shape.columns), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * shape.columns;
    inner.binary_cross_entropy(end - begin, shape.columns, z + first, t + first, scale, loss + begin,
                               dz ? dz + first : nullptr);
  });
}

}  // namespace hp

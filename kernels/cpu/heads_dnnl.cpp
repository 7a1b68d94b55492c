// The products of attention by oneDNN, which reads and writes heads where they lie among the channels of tokens.
#include <algorithm>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/dnnl_state.h"
#include "kernels/cpu/loops_rows.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/periods.h"

namespace hp {

namespace {

// One operand as [images, heads, rows, columns] of a product; `transposed`: stored as columns x rows.
struct HeadsOperand {
  int64_t rows, columns;
  bool transposed, is_map;

  int64_t stored_rows() const { return transposed ? columns : rows; }
  int64_t stored_columns() const { return transposed ? rows : columns; }
  int64_t image_size(int64_t heads) const { return heads * rows * columns; }
  int64_t row_step(int64_t heads) const { return is_map ? stored_columns() : heads * stored_columns(); }

  // `part` rows of it (of the product's rows) from wherever the data handle points to.
  dnnl::memory::desc layout(int64_t images, int64_t heads, int64_t part) const {
    const int64_t head = is_map ? rows * columns : stored_columns(), step = row_step(heads);
    return {{images, heads, part, columns},
            dnnl::memory::data_type::f32,
            {image_size(heads), head, transposed ? 1 : step, transposed ? step : 1}};
  }
  // How far the row `row` of the product lies from the first.
  int64_t offset(int64_t row, int64_t heads) const { return transposed ? row : row * row_step(heads); }
};

struct HeadsOperands {
  HeadsOperand a, b, y;
  explicit HeadsOperands(const HeadsMatmul& p)
      : a{p.m, p.k, p.transpose_a, p.map == HeadsMatmul::Map::a},
        b{p.k, p.n, p.transpose_b, p.map == HeadsMatmul::Map::b},
        y{p.m, p.n, false, p.map == HeadsMatmul::Map::y} {}
};

DnnlCall make_heads_matmul(const HeadsKey& key, const DnnlState& dnnl) {
  require_room_for_code();
  const ThreadCount lent(dnnl.threads());
  const HeadsMatmul& p = key.matmul;
  const HeadsOperands operands(p);
  const auto a = operands.a.layout(p.batch, p.heads, key.rows), b = operands.b.layout(p.batch, p.heads, p.k),
             y = operands.y.layout(p.batch, p.heads, key.rows);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.scale != 1) attributes.set_output_scales(0, {p.scale});
  const dnnl::matmul::primitive_desc desc({a, b, y}, attributes, dnnl.engine());
  return {dnnl.engine(),
          dnnl::matmul(desc),
          desc.scratchpad_desc(),
          {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, y}}};
}

DnnlCall& find_or_make(DnnlState& dnnl, const HeadsKey& key) {
  const auto found = dnnl.heads_matmuls.find(key);
  if (found != dnnl.heads_matmuls.end()) return found->second;
  return dnnl.heads_matmuls.emplace(key, make_heads_matmul(key, dnnl)).first->second;
}

// Rows of all heads of an image whose softmax finds them in the cache that the product has left them in: the last
// level's, since each strip packs the other factor anew and shorter ones do it too often.
int64_t rows_in_cache(const HeadsMatmul& p) {
  constexpr int64_t cached_floats = int64_t{1} << 20, fewest = 32;
  return std::clamp(cached_floats / std::max<int64_t>(1, p.heads * p.n), std::min(fewest, p.m), p.m);
}

}  // namespace

void CpuKernels::heads_matmul(const HeadsMatmul& p, const float* a, const float* b, float* y) {
  const HeadsOperands operands(p);
  // As many images in one call as no operand begins again within.
  HeadsMatmul piece = p;
  piece.batch = p.softmax ? 1 : std::min({p.batch, p.a_images, p.b_images});
  piece.a_images = piece.b_images = piece.batch, piece.softmax = false;
  const int64_t strip = p.softmax ? rows_in_cache(p) : p.m;
  const RowsLoops& inner = loops_for<RowsLoops>(isa_);
  for (int64_t image = 0; image < p.batch; image += piece.batch) {
    const float* left = a + image % p.a_images * operands.a.image_size(p.heads);
    const float* right = b + image % p.b_images * operands.b.image_size(p.heads);
    float* out = y + image * operands.y.image_size(p.heads);
    for (int64_t row = 0; row < p.m; row += strip) {
      const int64_t rows = std::min(strip, p.m - row);
      DnnlCall& call = find_or_make(*dnnl_, {.matmul = piece, .rows = rows});
      call.point(DNNL_ARG_SRC, left + operands.a.offset(row, p.heads));
      call.point(DNNL_ARG_WEIGHTS, right);
      call.point(DNNL_ARG_DST, out + operands.y.offset(row, p.heads));
      dnnl_->run(call);
      if (!p.softmax) continue;
      parallel_for(threads_, p.heads * rows, row_grain(p.n), [&](int64_t begin, int64_t end) {
        for_periods(begin, end, rows, [&](int64_t i, int64_t phase, int64_t count) {
          float* values = out + (i / rows * p.m + row + phase) * p.n;
          inner.softmax(count, p.n, values, values);
        });
      });
    }
  }
}

}  // namespace hp

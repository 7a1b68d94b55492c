#include "kernels/cpu/products.h"

#include <algorithm>

#include "kernels/cpu/loops_products.h"
#include "kernels/cpu/parallel.h"

namespace hp {

namespace {

// Terms that are added up in registers before they are added to what there is, so many that both factors lie in the
// first-level cache. Fixed, since the order of a sum must be.
constexpr int64_t terms_at_once = 128;
// Terms of all rows that lie in the second-level cache while one panel of filters after the other meets them.
constexpr int64_t terms_of_chunk = 512;
// Panels of the gradient that are used together while they lie there.
constexpr int64_t floats_of_panels = 1 << 18, rows_at_once = 256;
// Rows of a matrix a power of two apart would share few sets of the cache.
constexpr int64_t padding = 16;

int64_t panels_for(int64_t count, int64_t width) { return (count + width - 1) / width; }

// f(first, count) for pieces of [begin, end) of at most `most`.
template <class F>
void for_pieces(int64_t begin, int64_t end, int64_t most, F f) {
  for (int64_t first = begin; first < end; first += most) f(first, std::min(most, end - first));
}

int64_t rounded(int64_t count, int64_t width) { return panels_for(count, width) * width; }

// y = epilogue(x w^T). Threads share the panels of filters or, where these are few, the rows.
class Forward {
 public:
  Forward(const Products& products, const Conv2d& c, const float* w, const Epilogue& epilogue, const float* x, float* y)
      : state_(products.state),
        inner_(loops_for<ProductLoops>(products.isa)),
        epilogue_(epilogue),
        rows_(c.batch * c.height * c.width),
        filters_(c.filters),
        terms_(c.channels),
        w_(w),
        x_(x),
        y_(y) {}

  void run() {
    const int threads = state_.threads();
    const int64_t panels = panels_for(filters_, product_columns), blocks = panels_for(rows_, product_rows);
    if (panels >= panels_per_thread * threads) {
      share(panels, [&](int64_t begin, int64_t end) { return Part{0, rows_, begin, end, nullptr}; });
      return;
    }
    auto* packed = static_cast<float*>(
        state_.scratch(DnnlState::Scratch::panels, sizeof(float) * panels * terms_ * product_columns));
    const int64_t pieces = panels_for(terms_, terms_at_once);
    parallel_for(threads, panels * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t panel = i / pieces, first = i % pieces * terms_at_once;
        pack(panel, first, std::min(terms_at_once, terms_ - first),
             packed + (panel * terms_ + first) * product_columns);
      }
    });
    share(blocks, [&](int64_t begin, int64_t end) {
      return Part{begin * product_rows, std::min(rows_, end * product_rows), 0, panels, packed};
    });
  }

 private:
  static constexpr int64_t panels_per_thread = 8;

  // What one thread computes: rows and panels; `packed` holds all panels, if they are.
  struct Part {
    int64_t first_row, last_row, first_panel, last_panel;
    const float* packed;
    int64_t rows() const { return rounded(last_row - first_row, product_rows); }
    int64_t width() const { return (last_panel - first_panel) * product_columns; }
  };

  // part(begin, end) of `count` for each thread, with memory of its own.
  template <class F>
  void share(int64_t count, F part) {
    const int64_t chunks = chunk_count(state_.threads(), count, 1), each = (count + chunks - 1) / chunks;
    const Part largest = part(0, each);
    const int64_t size = scratch_of(largest);
    auto* scratch = static_cast<float*>(state_.scratch(DnnlState::Scratch::products, sizeof(float) * chunks * size));
    parallel_chunks(state_.threads(), count, 1,
                    [&](int chunk, int64_t begin, int64_t end) { compute(part(begin, end), scratch + chunk * size); });
  }

  int64_t chunk_row() const { return std::min(terms_, terms_of_chunk) + padding; }
  int64_t scratch_of(const Part& part) const {
    return part.rows() * (chunk_row() + part.width()) + (part.packed ? 0 : terms_of_chunk * product_columns);
  }

  // The rows behind the last are whatever the memory holds; their results go nowhere.
  void compute(const Part& part, float* left) const {
    const int64_t rows = part.last_row - part.first_row, width = part.width(), left_row = chunk_row();
    float *sums = left + part.rows() * left_row, *own = sums + part.rows() * width;
    for_pieces(0, terms_, terms_of_chunk, [&](int64_t first, int64_t count) {
      inner_.pack(rows, count, left_row, x_ + part.first_row * terms_ + first, terms_, left);
      for (int64_t panel = part.first_panel; panel < part.last_panel; ++panel) {
        if (!part.packed) pack(panel, first, count, own);
        const float* right = part.packed ? part.packed + (panel * terms_ + first) * product_columns : own;
        float* to = sums + (panel - part.first_panel) * product_columns;
        for_pieces(0, count, terms_at_once, [&](int64_t term, int64_t terms) {
          for (int64_t row = 0; row < rows; row += product_rows) {
            inner_.multiply(terms, left + row * left_row + term, left_row, right + term * product_columns,
                            first + term > 0, to + row * width, width);
          }
        });
      }
    });
    const int64_t filter = part.first_panel * product_columns, columns = std::min(width, filters_ - filter);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t at = (part.first_row + row) * filters_ + filter;
      inner_.finish(columns, sums + row * width, epilogue_.bias ? epilogue_.bias + filter : nullptr,
                    epilogue_.addend ? epilogue_.addend + at : nullptr, epilogue_.activation.has_value(), y_ + at);
    }
  }

  void pack(int64_t panel, int64_t first, int64_t count, float* to) const {
    const int64_t filter = panel * product_columns;
    inner_.pack_transposed(std::min(product_columns, filters_ - filter), count, w_ + filter * terms_ + first, terms_,
                           to);
  }

  DnnlState& state_;
  const ProductLoops& inner_;
  Epilogue epilogue_;
  int64_t rows_, filters_, terms_;
  const float *w_, *x_;
  float* y_;
};

}  // namespace

bool Products::finishes(const Epilogue& epilogue) {
  return !epilogue.activation || *epilogue.activation == Function::relu;
}

void Products::forward(const Conv2d& c, const float* w, const Epilogue& epilogue, const float* x, float* y) const {
  Forward(*this, c, w, epilogue, x, y).run();
}

// dw = dy^T x: rows are filters, columns channels, and the terms rows of the batch.
void Products::weight_gradient(const Conv2d& c, const float* x, const float* dy, float* dw) const {
  const auto& inner = loops_for<ProductLoops>(isa);
  const int64_t rows = c.batch * c.height * c.width, most = std::min(rows, rows_at_once);
  const int64_t panels = panels_for(c.channels, product_columns), panel_size = most * product_columns;
  const int64_t group = std::max<int64_t>(1, floats_of_panels / panel_size);
  const int64_t own_size = (group * product_columns + product_rows) * most;
  const int chunks = chunk_count(state.threads(), panels, 1);
  auto* scratch = static_cast<float*>(state.scratch(DnnlState::Scratch::products, sizeof(float) * chunks * own_size));
  parallel_chunks(state.threads(), panels, 1, [&](int chunk, int64_t begin, int64_t end) {
    float *right = scratch + chunk * own_size, *left = right + group * panel_size;
    alignas(64) float sums[product_rows * product_columns];
    const auto tile = [&](int64_t row, int64_t terms, int64_t filter, int64_t channel, const float* panel) {
      inner.multiply_panels(terms, left, panel, sums, product_columns);
      for (int64_t i = 0; i < std::min(product_rows, c.filters - filter); ++i) {
        float* to = dw + (filter + i) * c.channels + channel;
        inner.finish(std::min(product_columns, c.channels - channel), sums + i * product_columns, nullptr,
                     row > 0 ? to : nullptr, false, to);
      }
    };
    for_pieces(begin, end, group, [&](int64_t first, int64_t count) {
      for_pieces(0, rows, most, [&](int64_t row, int64_t terms) {
        for (int64_t i = 0; i < count; ++i) {
          const int64_t channel = (first + i) * product_columns;
          inner.pack(terms, std::min(product_columns, c.channels - channel), product_columns,
                     x + row * c.channels + channel, c.channels, right + i * panel_size);
        }
        for (int64_t filter = 0; filter < c.filters; filter += product_rows) {
          inner.pack(terms, std::min(product_rows, c.filters - filter), product_rows, dy + row * c.filters + filter,
                     c.filters, left);
          for (int64_t i = 0; i < count; ++i) {
            tile(row, terms, filter, (first + i) * product_columns, right + i * panel_size);
          }
        }
      });
    });
  });
}

}  // namespace hp

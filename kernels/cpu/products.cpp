#include "kernels/cpu/products.h"

#include <algorithm>

#include "kernels/cpu/loops_products.h"
#include "kernels/cpu/parallel.h"

namespace hp {

namespace {

// Terms that are added up in registers: as many as keep both factors in the first-level cache. Fixed, since the order
// of a sum must be.
constexpr int64_t terms_at_once = 128;
// Panels that are used together while they lie in the second-level cache.
constexpr int64_t forward_panels = 4, floats_of_panels = 1 << 18;
// Rows of a matrix a power of two apart would share few sets of the cache.
constexpr int64_t padding = 16;

int64_t panels_for(int64_t count, int64_t width) { return (count + width - 1) / width; }

// f(first, count) for pieces of [begin, end) of at most `most`.
template <class F>
void for_pieces(int64_t begin, int64_t end, int64_t most, F f) {
  for (int64_t first = begin; first < end; first += most) f(first, std::min(most, end - first));
}

// y = epilogue(x w^T): rows of y in blocks, panels of filters.
class Forward {
 public:
  Forward(const Products& products, const Conv2d& c, const float* w, const Epilogue& epilogue, const float* x, float* y)
      : products_(products),
        inner_(loops_for<ProductLoops>(products.isa)),
        epilogue_(epilogue),
        rows_(c.batch * c.height * c.width),
        filters_(c.filters),
        terms_(c.channels),
        w_(w),
        x_(x),
        y_(y) {}

  void run() {
    const int threads = products_.state.threads();
    const int64_t panels = panels_for(filters_, product_columns), panel_size = terms_ * product_columns;
    const bool by_filters = panels >= 2 * threads;
    const int64_t kept = by_filters ? threads * forward_panels : panels, row_size = terms_ + padding;
    auto* scratch = static_cast<float*>(
        products_.state.scratch(DnnlState::Scratch::products, sizeof(float) * (rows_ * row_size + kept * panel_size)));
    float* packed = scratch + rows_ * row_size;
    parallel_for(threads, rows_, floats_per_thread / terms_, [&](int64_t begin, int64_t end) {
      inner_.pack(end - begin, terms_, row_size, x_ + begin * terms_, terms_, scratch + begin * row_size);
    });
    left_ = scratch;
    const int64_t blocks = panels_for(rows_, product_rows);
    if (by_filters) {
      parallel_chunks(threads, panels, 1, [&](int chunk, int64_t begin, int64_t end) {
        float* own = packed + chunk * forward_panels * panel_size;
        for_pieces(begin, end, forward_panels, [&](int64_t first, int64_t count) {
          for (int64_t panel = 0; panel < count; ++panel) pack(first + panel, 0, terms_, own + panel * panel_size);
          multiply(0, blocks, first, count, own);
        });
      });
      return;
    }
    const int64_t pieces = panels_for(terms_, terms_at_once);
    parallel_for(threads, panels * pieces, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % pieces * terms_at_once;
        pack(i / pieces, first, std::min(terms_at_once, terms_ - first), packed + i / pieces * panel_size);
      }
    });
    parallel_for(threads, blocks, 1, [&](int64_t begin, int64_t end) {
      for_pieces(0, panels, forward_panels, [&](int64_t first, int64_t count) {
        multiply(begin, end, first, count, packed + first * panel_size);
      });
    });
  }

 private:
  void pack(int64_t panel, int64_t first_term, int64_t count, float* to) const {
    const int64_t filter = panel * product_columns;
    inner_.pack_transposed(std::min(product_columns, filters_ - filter), count, w_ + filter * terms_ + first_term,
                           terms_, to + first_term * product_columns);
  }

  // Blocks [begin, end) of rows with `count` panels from `first` on. The last block has the last rows, some of them
  // again.
  void multiply(int64_t begin, int64_t end, int64_t first, int64_t count, const float* panels) const {
    constexpr int64_t width = forward_panels * product_columns;
    alignas(64) float sums[product_rows * width];
    const int64_t filter = first * product_columns, columns = std::min(count * product_columns, filters_ - filter);
    for (int64_t block = begin; block < end; ++block) {
      const int64_t row = std::min(block * product_rows, rows_ - product_rows), row_size = terms_ + padding;
      for_pieces(0, terms_, terms_at_once, [&](int64_t term, int64_t terms) {
        for (int64_t panel = 0; panel < count; ++panel) {
          inner_.multiply(terms, left_ + row * row_size + term, row_size,
                          panels + (panel * terms_ + term) * product_columns, term > 0, sums + panel * product_columns,
                          width);
        }
      });
      for (int64_t i = 0; i < product_rows; ++i) {
        const int64_t at = (row + i) * filters_ + filter;
        inner_.finish(columns, sums + i * width, epilogue_.bias ? epilogue_.bias + filter : nullptr,
                      epilogue_.addend ? epilogue_.addend + at : nullptr, epilogue_.activation.has_value(), y_ + at);
      }
    }
  }

  const Products& products_;
  const ProductLoops& inner_;
  Epilogue epilogue_;
  int64_t rows_, filters_, terms_;
  const float *w_, *x_, *left_ = nullptr;
  float* y_;
};

}  // namespace

bool uses_own_product(const Conv2d& c) { return c.fast && c.channels % 16 == 0; }

bool Products::finishes(const Epilogue& epilogue) {
  return !epilogue.activation || *epilogue.activation == Function::relu;
}

void Products::forward(const Conv2d& c, const float* w, const Epilogue& epilogue, const float* x, float* y) const {
  Forward(*this, c, w, epilogue, x, y).run();
}

// dw = dy^T x: rows are filters, columns channels, and the terms rows of the batch.
void Products::weight_gradient(const Conv2d& c, const float* x, const float* dy, float* dw) const {
  const auto& inner = loops_for<ProductLoops>(isa);
  const int64_t rows = c.batch * c.height * c.width, most = std::min(rows, terms_at_once);
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

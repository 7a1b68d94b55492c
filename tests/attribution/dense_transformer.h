// A small vision transformer in double precision with its relevance rules as attribution.md F.5 and F.6 write them, on
// relevance: the reference of the rules for transformers, which walk with multipliers.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "runtime/parameters.h"

namespace hp::test {

// rows x columns, row by row.
struct Grid {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;
  Grid() = default;
  Grid(int64_t rows, int64_t columns) : rows(rows), columns(columns), values(static_cast<size_t>(rows * columns)) {}
  double& at(int64_t row, int64_t column) { return values[static_cast<size_t>(row * columns + column)]; }
  double at(int64_t row, int64_t column) const { return values[static_cast<size_t>(row * columns + column)]; }
  double sum() const {
    double total = 0;
    for (const double value : values) total += value;
    return total;
  }
};

// f(a, b) element by element.
template <class F>
Grid combined(const Grid& a, const Grid& b, F f) {
  Grid y = a;
  for (size_t i = 0; i < y.values.size(); ++i) y.values[i] = f(a.values[i], b.values[i]);
  return y;
}

// r / z, 0 where z is.
inline Grid over(const Grid& r, const Grid& z) {
  return combined(r, z, [](double relevance, double value) { return value == 0 ? 0 : relevance / value; });
}
inline Grid times(const Grid& a, const Grid& b) {
  return combined(a, b, [](double x, double y) { return x * y; });
}
inline Grid plus(const Grid& a, const Grid& b) {
  return combined(a, b, [](double x, double y) { return x + y; });
}

struct DenseSizes {
  int64_t patches = 4, patch_values = 12, channels = 8, hidden = 16, heads = 2, blocks = 2, classes = 5;
  double epsilon = 1e-5;  // of layer norms
  int64_t tokens() const { return patches + 1; }
  int64_t head_width() const { return channels / heads; }
};

class DenseTransformer {
 public:
  DenseTransformer(DenseSizes sizes, const Parameters& parameters) : sizes_(sizes), parameters_(parameters) {}

  // Relevance that starts as the logit of `target`: of the patches' values, the class token and the positions.
  struct Relevance {
    double logit = 0;
    Grid patches, class_token, positions;
    std::vector<Grid> attention;        // of each block: R of the softmax's output, [heads * tokens, tokens]
    std::vector<double> softmax_gains;  // of each block: the sum that the softmax hands on less the one that it got
  };

  // patches [patches, patch_values]: their pixels in the order of the convolution's weight.
  Relevance explain(const Grid& patches, int64_t target, bool through_softmax) {
    forward(patches);
    Relevance result;
    result.logit = logits_.at(0, target);
    Grid r(1, sizes_.classes);
    r.at(0, target) = result.logit;
    r = linear_rule("head", last_, logits_, r);
    Grid tokens(sizes_.tokens(), sizes_.channels);
    for (int64_t c = 0; c < sizes_.channels; ++c) tokens.at(0, c) = r.at(0, c);
    r = norm_rule("norm", blocks_.back().out, normed_, tokens);
    for (int64_t i = sizes_.blocks - 1; i >= 0; --i) r = block_rule(i, r, through_softmax, result);
    const Grid share = over(r, placed_);
    result.positions = times(position(), share);
    const Grid in = times(tokens_, share);
    result.class_token = Grid(1, sizes_.channels);
    Grid embedded(sizes_.patches, sizes_.channels);
    for (int64_t c = 0; c < sizes_.channels; ++c) {
      result.class_token.at(0, c) = in.at(0, c);
      for (int64_t t = 0; t < sizes_.patches; ++t) embedded.at(t, c) = in.at(t + 1, c);
    }
    result.patches = linear_rule("patch_embed", patches, embedded_, embedded);
    return result;
  }

  // The LRP of Chefer et al. 2021, attribution.md F.3: R of the softmaxes' outputs alone, from a start of 1.
  std::vector<Grid> chefer(const Grid& patches, int64_t target) {
    forward(patches);
    Grid r(1, sizes_.classes);
    r.at(0, target) = 1;
    r = positive_rule("head", last_, r);
    Grid tokens(sizes_.tokens(), sizes_.channels);
    for (int64_t c = 0; c < sizes_.channels; ++c) tokens.at(0, c) = r.at(0, c);
    std::vector<Grid> attention;
    for (int64_t i = sizes_.blocks - 1; i >= 0; --i) {
      const Block& b = blocks_[static_cast<size_t>(i)];
      const std::string name = "blocks." + std::to_string(i);
      auto [mlp, middle] = rescaled(b.narrow, b.middle, b.out, tokens);
      mlp = positive_rule(name + ".mlp.fc1", b.normed2, positive_rule(name + ".mlp.fc2", b.active, mlp));
      auto [projected, in] = rescaled(b.projected, b.in, b.middle, plus(middle, mlp));
      const Grid mixed = positive_rule(name + ".attn.proj", b.mixed, projected);
      tokens = plus(in, chefer_attention(b, name, mixed, attention));
    }
    return attention;
  }
  // Of the blocks, after explain() or chefer(): the softmaxes' outputs, [heads * tokens, tokens].
  const Grid& weights(int64_t block) const { return blocks_[static_cast<size_t>(block)].weights; }

 private:
  struct Block {
    Grid in, normed1, q, k, v, scores, scaled, weights, mixed, projected, middle, normed2, wide, active, narrow, out;
  };

  const float* parameter(const std::string& name) const { return parameters_.at(name).floats(); }

  Grid linear(const std::string& name, const Grid& x) const {
    const int64_t out = parameters_.at(name + ".bias").count();
    const float *w = parameter(name + ".weight"), *b = parameter(name + ".bias");
    Grid y(x.rows, out);
    for (int64_t row = 0; row < x.rows; ++row) {
      for (int64_t o = 0; o < out; ++o) {
        double sum = b[o];
        for (int64_t i = 0; i < x.columns; ++i) sum += static_cast<double>(w[o * x.columns + i]) * x.at(row, i);
        y.at(row, o) = sum;
      }
    }
    return y;
  }

  // R_x = x (R / y) W
  Grid linear_rule(const std::string& name, const Grid& x, const Grid& y, const Grid& r) const {
    const Grid s = over(r, y);
    const float* w = parameter(name + ".weight");
    Grid back(x.rows, x.columns);
    for (int64_t row = 0; row < x.rows; ++row) {
      for (int64_t o = 0; o < y.columns; ++o) {
        for (int64_t i = 0; i < x.columns; ++i) back.at(row, i) += w[o * x.columns + i] * s.at(row, o);
      }
    }
    return times(x, back);
  }

  struct Statistics {
    double mean, deviation;
  };
  Statistics statistics(const Grid& x, int64_t row) const {
    double mean = 0, square = 0;
    for (int64_t c = 0; c < x.columns; ++c) mean += x.at(row, c) / static_cast<double>(x.columns);
    for (int64_t c = 0; c < x.columns; ++c) square += std::pow(x.at(row, c) - mean, 2) / static_cast<double>(x.columns);
    return {mean, std::sqrt(square + sizes_.epsilon)};
  }

  Grid norm(const std::string& name, const Grid& x) const {
    Grid y = x;
    for (int64_t row = 0; row < x.rows; ++row) {
      const Statistics s = statistics(x, row);
      for (int64_t c = 0; c < x.columns; ++c) {
        y.at(row, c) =
            (x.at(row, c) - s.mean) / s.deviation * parameter(name + ".weight")[c] + parameter(name + ".bias")[c];
      }
    }
    return y;
  }

  // R_x = x J^T (R / y) with J = dy/dx for a constant deviation: J_ij = w_i (delta_ij - 1/n) / s
  Grid norm_rule(const std::string& name, const Grid& x, const Grid& y, const Grid& r) const {
    const Grid share = over(r, y);
    Grid back(x.rows, x.columns);
    for (int64_t row = 0; row < x.rows; ++row) {
      const Statistics s = statistics(x, row);
      for (int64_t i = 0; i < x.columns; ++i) {
        for (int64_t j = 0; j < x.columns; ++j) {
          const double derivative = (i == j ? 1.0 : 0.0) - 1.0 / static_cast<double>(x.columns);
          back.at(row, j) += share.at(row, i) * parameter(name + ".weight")[i] * derivative / s.deviation;
        }
      }
    }
    return times(x, back);
  }

  // f(head, first channel) for all heads.
  template <class F>
  void for_heads(F f) const {
    for (int64_t head = 0; head < sizes_.heads; ++head) f(head, head * sizes_.head_width());
  }

  void attend(Block& b) const {
    const int64_t tokens = sizes_.tokens();
    b.scores = Grid(sizes_.heads * tokens, tokens);
    b.mixed = Grid(tokens, sizes_.channels);
    for_heads([&](int64_t head, int64_t first) {
      for (int64_t i = 0; i < tokens * tokens; ++i) {
        for (int64_t c = first; c < first + sizes_.head_width(); ++c)
          b.scores.at(head * tokens + i / tokens, i % tokens) += b.q.at(i / tokens, c) * b.k.at(i % tokens, c);
      }
    });
    b.scaled = b.scores;
    for (double& value : b.scaled.values) value /= std::sqrt(static_cast<double>(sizes_.head_width()));
    b.weights = b.scaled;
    for (int64_t row = 0; row < b.weights.rows; ++row) {
      double total = 0;
      for (int64_t t = 0; t < tokens; ++t) total += std::exp(b.scaled.at(row, t));
      for (int64_t t = 0; t < tokens; ++t) b.weights.at(row, t) = std::exp(b.scaled.at(row, t)) / total;
    }
    for_heads([&](int64_t head, int64_t first) {
      for (int64_t i = 0; i < tokens * tokens; ++i) {
        for (int64_t c = first; c < first + sizes_.head_width(); ++c)
          b.mixed.at(i / tokens, c) += b.weights.at(head * tokens + i / tokens, i % tokens) * b.v.at(i % tokens, c);
      }
    });
  }

  void forward(const Grid& patches) {
    const int64_t tokens = sizes_.tokens();
    embedded_ = linear("patch_embed", patches);
    tokens_ = Grid(tokens, sizes_.channels);
    for (int64_t c = 0; c < sizes_.channels; ++c) {
      tokens_.at(0, c) = parameter("cls_token")[c];
      for (int64_t t = 1; t < tokens; ++t) tokens_.at(t, c) = embedded_.at(t - 1, c);
    }
    placed_ = plus(tokens_, position());
    blocks_.clear();
    Grid x = placed_;
    for (int64_t i = 0; i < sizes_.blocks; ++i) {
      const std::string name = "blocks." + std::to_string(i);
      Block b;
      b.in = x;
      b.normed1 = norm(name + ".norm1", x);
      b.q = linear(name + ".attn.q", b.normed1), b.k = linear(name + ".attn.k", b.normed1);
      b.v = linear(name + ".attn.v", b.normed1);
      attend(b);
      b.projected = linear(name + ".attn.proj", b.mixed);
      b.middle = plus(b.projected, b.in);
      b.normed2 = norm(name + ".norm2", b.middle);
      b.wide = linear(name + ".mlp.fc1", b.normed2);
      b.active = b.wide;
      for (double& value : b.active.values) value *= std::erfc(-value / std::sqrt(2.0)) / 2;
      b.narrow = linear(name + ".mlp.fc2", b.active);
      b.out = x = plus(b.narrow, b.middle);
      blocks_.push_back(std::move(b));
    }
    normed_ = norm("norm", x);
    last_ = Grid(1, sizes_.channels);
    for (int64_t c = 0; c < sizes_.channels; ++c) last_.at(0, c) = normed_.at(0, c);
    logits_ = linear("head", last_);
  }

  Grid position() const {
    Grid p(sizes_.tokens(), sizes_.channels);
    for (size_t i = 0; i < p.values.size(); ++i) p.values[i] = parameter("pos_embed")[i];
    return p;
  }

  Grid block_rule(int64_t index, const Grid& r, bool through_softmax, Relevance& result) const {
    const Block& b = blocks_[static_cast<size_t>(index)];
    const std::string name = "blocks." + std::to_string(index);
    const Grid behind = over(r, b.out);
    Grid mlp = linear_rule(name + ".mlp.fc2", b.active, b.narrow, times(b.narrow, behind));
    mlp = linear_rule(name + ".mlp.fc1", b.normed2, b.wide, mlp);  // the GELU hands on what it gets
    const Grid middle = plus(times(b.middle, behind), norm_rule(name + ".norm2", b.middle, b.normed2, mlp));
    const Grid share = over(middle, b.middle);
    const Grid mixed = linear_rule(name + ".attn.proj", b.mixed, b.projected, times(b.projected, share));
    const Grid normed = attention_rule(b, name, mixed, through_softmax, result);
    return plus(times(b.in, share), norm_rule(name + ".norm1", b.in, b.normed1, normed));
  }

  Grid attention_rule(const Block& b, const std::string& name, const Grid& r, bool through_softmax,
                      Relevance& result) const {
    const int64_t tokens = sizes_.tokens();
    Grid s = over(r, b.mixed), to_v(tokens, sizes_.channels), to_weights(b.weights.rows, tokens);
    if (through_softmax) {
      for (double& value : s.values) value /= 2;
    }
    for_heads([&](int64_t head, int64_t first) {
      for (int64_t i = 0; i < tokens * tokens; ++i) {
        const int64_t query = i / tokens, key = i % tokens, row = head * tokens + query;
        for (int64_t c = first; c < first + sizes_.head_width(); ++c) {
          to_v.at(key, c) += b.v.at(key, c) * b.weights.at(row, key) * s.at(query, c);
          to_weights.at(row, key) += b.weights.at(row, key) * s.at(query, c) * b.v.at(key, c);
        }
      }
    });
    Grid normed = linear_rule(name + ".attn.v", b.normed1, b.v, to_v);
    if (!through_softmax) return normed;
    // R_u = u (R_A - A sum R_A); the scale hands on what it gets.
    Grid to_scores = to_weights;
    for (int64_t row = 0; row < to_scores.rows; ++row) {
      double total = 0;
      for (int64_t t = 0; t < tokens; ++t) total += to_weights.at(row, t);
      for (int64_t t = 0; t < tokens; ++t)
        to_scores.at(row, t) = b.scaled.at(row, t) * (to_weights.at(row, t) - b.weights.at(row, t) * total);
    }
    result.attention.insert(result.attention.begin(), to_weights);
    result.softmax_gains.insert(result.softmax_gains.begin(), to_scores.sum() - to_weights.sum());
    const Grid halved = over(to_scores, b.scores);
    Grid to_q(tokens, sizes_.channels), to_k = to_q;
    for_heads([&](int64_t head, int64_t first) {
      for (int64_t i = 0; i < tokens * tokens; ++i) {
        const int64_t query = i / tokens, key = i % tokens;
        const double half = halved.at(head * tokens + query, key) / 2;
        for (int64_t c = first; c < first + sizes_.head_width(); ++c) {
          to_q.at(query, c) += half * b.q.at(query, c) * b.k.at(key, c);
          to_k.at(key, c) += half * b.q.at(query, c) * b.k.at(key, c);
        }
      }
    });
    normed = plus(normed, linear_rule(name + ".attn.q", b.normed1, b.q, to_q));
    return plus(normed, linear_rule(name + ".attn.k", b.normed1, b.k, to_k));
  }

  // D = x+ W+ + x- W-, R_x = x+ (R / D) W+ + x- (R / D) W-
  Grid positive_rule(const std::string& name, const Grid& x, const Grid& r) const {
    const float* w = parameter(name + ".weight");
    const auto part = [&](int64_t row, int64_t o, int64_t i) {
      return std::max(0.0, x.at(row, i) * static_cast<double>(w[o * x.columns + i]));
    };
    Grid result(x.rows, x.columns);
    for (int64_t row = 0; row < x.rows; ++row) {
      for (int64_t o = 0; o < r.columns; ++o) {
        double total = 0;
        for (int64_t i = 0; i < x.columns; ++i) total += part(row, o, i);
        for (int64_t i = 0; i < x.columns && total != 0; ++i)
          result.at(row, i) += part(row, o, i) * r.at(row, o) / total;
      }
    }
    return result;
  }

  // a R / y and b R / y, rescaled to what R has in all.
  static std::pair<Grid, Grid> rescaled(const Grid& a, const Grid& b, const Grid& y, const Grid& r) {
    const Grid share = over(r, y);
    Grid left = times(a, share), right = times(b, share);
    const double l = left.sum(), k = right.sum(), both = std::abs(l) + std::abs(k);
    for (double& value : left.values) value *= std::abs(l) / both * r.sum() / l;
    for (double& value : right.values) value *= std::abs(k) / both * r.sum() / k;
    return {left, right};
  }

  Grid chefer_attention(const Block& b, const std::string& name, const Grid& r, std::vector<Grid>& attention) const {
    const int64_t tokens = sizes_.tokens();
    const Grid s = over(r, b.mixed);
    Grid to_v(tokens, sizes_.channels), to_weights(b.weights.rows, tokens), to_q = to_v, to_k = to_v;
    const auto for_pairs = [&](auto f) {
      for_heads([&](int64_t head, int64_t first) {
        for (int64_t i = 0; i < tokens * tokens; ++i) {
          for (int64_t c = first; c < first + sizes_.head_width(); ++c)
            f(head * tokens + i / tokens, i / tokens, i % tokens, c);
        }
      });
    };
    for_pairs([&](int64_t row, int64_t query, int64_t key, int64_t c) {
      const double half = b.weights.at(row, key) * s.at(query, c) * b.v.at(key, c) / 2;
      to_weights.at(row, key) += half;
      to_v.at(key, c) += half;
    });
    attention.insert(attention.begin(), to_weights);
    const Grid share = over(to_weights, b.scores);
    for_pairs([&](int64_t row, int64_t query, int64_t key, int64_t c) {
      const double half = share.at(row, key) * b.q.at(query, c) * b.k.at(key, c) / 2;
      to_q.at(query, c) += half;
      to_k.at(key, c) += half;
    });
    Grid normed = positive_rule(name + ".attn.v", b.normed1, to_v);
    normed = plus(normed, positive_rule(name + ".attn.q", b.normed1, to_q));
    return plus(normed, positive_rule(name + ".attn.k", b.normed1, to_k));
  }

  DenseSizes sizes_;
  const Parameters& parameters_;
  Grid embedded_, tokens_, placed_, normed_, last_, logits_;
  std::vector<Block> blocks_;
};

}  // namespace hp::test

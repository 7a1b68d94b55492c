// TokenLayers: where a vision transformer's attention lies in its graph, and the steps that token methods share.
#pragma once

#include <vector>

#include "attribution/explanation.h"
#include "attribution/methods/token_attention.h"

namespace hp {

// The self-attention layers of a graph between its model input and its features.
struct TokenLayers {
  std::vector<int> softmaxes;                 // nodes [batch, heads, tokens, tokens], from the first layer up
  int64_t tokens = 0, height = 0, width = 0;  // of the grid of patches
  bool class_token_is_read = true;            // by the features; else they are made of the patches' tokens alone
  int64_t prefix() const { return tokens - height * width; }
};

// Throws hp::Error where there are none, where they have different tokens, where the grid is unknown, or where `first`
// is not one of them. `method` is for the message.
TokenLayers token_layers(const Graph& graph, const std::string& method, int first);

// Row vectors r [rows, tokens] that are multiplied by maps of token pairs from the right, layer by layer from above.
class TokenRows {
 public:
  // The rows that are read: the class token's unit vector, or the patches' mean.
  TokenRows(Context context, const TokenLayers& layers, int64_t rows, Readout readout, const std::string& method);

  // r <- r E with E [rows, tokens, tokens]
  void replace(const Tensor& maps) { r_ = product(r_, maps); }
  // r <- r + r E
  void add_product(const Tensor& maps);
  // r <- r (E + I), each row of (E + I) divided by its sum
  void roll_out(const Tensor& maps);
  const Tensor& values() const { return r_; }

  // What the patches have, as a grid and enlarged to the image, into `explanation`; `repeats` times one after the
  // other.
  void read(const Question& question, int64_t repeats, Explanation& explanation) const;

 private:
  Tensor product(const Tensor& r, const Tensor& maps) const;

  Context context_;
  const TokenLayers& layers_;
  Tensor r_;
};

// The heads of maps [rows, heads, tokens, tokens] as one, [rows, tokens, tokens].
Tensor fuse_heads(Context context, const Tensor& maps, HeadFusion fusion);

}  // namespace hp

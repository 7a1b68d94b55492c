#!/usr/bin/env python3
"""Prints the table of docs/cuda-kernels.md: bytes that kernels must move and do move, and the time that follows.

Counted by hand from the kernels, in units of one array; rereads that hit the caches are not counted. Limits: an H100's
measured copy rate and float32 peak.
"""

COPY = 3.0e12  # bytes per second
FLOPS = 67e12  # float32 operations per second
MAP = 4 * 32 * 56 * 56 * 256  # bytes of a feature map of ResNet-50, batch 32
TOKENS = 4 * 32 * 1765 * 768  # bytes of the tokens of ViT-B/16 at 672, batch 32
SCORES = 4 * 12 * 1765 * 1765  # bytes of the attention scores of one layer there, one image
HEAT = 4 * 100 * 672 * 672  # bytes of 100 heat maps of 3x3 grids

# kernel, arrays it must move, arrays it moves, bytes of the array, operations per element
ROWS = [
    ("apply, blend_signs", 2, 2, MAP, 1),
    ("apply_vjp, guided_relu_vjp, 1 target", 3, 3, MAP, 1),
    ("apply_vjp, guided_relu_vjp, 9 targets", 19, 19, MAP, 9),
    ("combine with a vector of channels", 2, 2, MAP, 1),
    ("combine, add_relu", 3, 3, MAP, 1),
    ("scale_add to what is there", 3, 3, MAP, 2),
    ("stabilised_ratio", 3, 3, MAP, 3),
    ("scale_by_ratio, 9 targets", 20, 20, MAP, 12),
    ("gamma_ratio", 4, 4, MAP, 6),
    ("gamma_ratios_any", 5, 5, MAP, 8),
    ("gamma_messages, 9 targets", 29, 29, MAP, 27),
    ("add_gated to what is there", 4, 4, MAP, 3),
    ("softmax, log_softmax", 2, 2, MAP, 6),
    ("softmax_vjp, log_softmax_vjp", 3, 3, MAP, 5),
    ("row_dots, pixel_dots", 1, 1, MAP, 2),
    ("batch_norm, batch_norm_vjp", 2, 2, MAP, 3),
    ("column_sums", 1, 1, MAP, 1),
    ("column_statistics", 1, 2, MAP, 4),
    ("batch_norm_parameter_vjp", 2, 2, MAP, 4),
    ("batch_norm_train", 2, 4, MAP, 7),
    ("batch_norm_train_vjp", 3, 5, MAP, 8),
    ("group_norm as layer norm", 2, 2, TOKENS, 9),
    ("group_norm_vjp, 1 target", 3, 3, TOKENS, 12),
    # Targets read the values that they share once each: they lie too far apart for the caches.
    ("group_norm_vjp, 9 targets", 19, 27, TOKENS, 108),
    ("group_norm_parameter_vjp", 2, 2, TOKENS, 6),
    ("softmax of attention scores", 2, 2, SCORES, 6),
    # Tokens of two operands besides the scores; 64 channels a head.
    ("heads_matmul, scores from queries and keys", 1.07, 1.07, SCORES, 128),
    ("heads_matmul, scores times values", 1.07, 1.07, SCORES, 128),
    ("bcos_scale", 2, 2, MAP, 3),
    ("patch_norms 3x3", 1, 1, MAP, 18),
    ("rounding to bfloat16, of what a convolution reads", 2, 2, MAP, 3),
    ("max_pool 3x3, stride 2", 1.5, 1.5, MAP, 3),
    ("max_pool_vjp 3x3, stride 2", 1.5, 1.5, MAP, 3),
    ("avg_pool, global", 1, 1, MAP, 1),
    ("copy_block", 2, 2, MAP, 0),
    ("sgd_step", 5, 5, MAP, 6),
    ("adam_step", 7, 7, MAP, 14),
    ("box_smooth size 5", 2, 4, HEAT, 20),
    ("gauss_smooth size 129", 2, 4, HEAT, 516),
    ("cell_sums", 1, 1, HEAT, 1),
    ("mask_sums", 2, 2, HEAT, 3),
    ("entropy", 1, 2, HEAT, 6),
    # 64-bit keys: written, five passes of the radix sort (each reads for its histogram, reads and writes), read.
    ("gini", 1, 1 + 2 + 5 * 6 + 2, HEAT, 4),
]

print("| kernel | must move (MB) | moves (MB) | bound (us) | by |\n|---|---|---|---|---|")
for name, must, moved, size, operations in ROWS:
    by_bytes, by_flops = moved * size / COPY, operations * size / 4 / FLOPS
    limit = "operations" if by_flops > by_bytes else "bytes"
    print(f"| {name} | {must * size * 1e-6:.0f} | {moved * size * 1e-6:.0f} | {max(by_bytes, by_flops) * 1e6:.0f} | {limit} |")

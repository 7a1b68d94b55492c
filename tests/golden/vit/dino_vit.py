"""DINO's vision transformer, written from protocol.md 1.5: the parameter names of its checkpoints, nothing else of its code."""
import math

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = qkv[0] @ qkv[1].transpose(-2, -1) * (width // self.heads) ** -0.5
        return self.proj((scores.softmax(-1) @ qkv[2]).transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, patch, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    def __init__(self, side, patch, width, depth, heads):
        super().__init__()
        self.patch = patch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (side // patch) ** 2, width))
        self.patch_embed = PatchEmbed(patch, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def positions(self, height, width):
        """Of an image of this size: protocol.md 1.5, the scale factor with its 0.1 (Q37)."""
        stored = self.pos_embed.shape[1] - 1
        rows, columns = height // self.patch, width // self.patch
        if rows * columns == stored and height == width:
            return self.pos_embed
        side = int(math.sqrt(stored))
        grid = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        factor = ((rows + 0.1) / math.sqrt(stored), (columns + 0.1) / math.sqrt(stored))
        grid = functional.interpolate(grid, scale_factor=factor, mode="bicubic")
        assert grid.shape[-2:] == (rows, columns)
        return torch.cat((self.pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)), 1)

    def forward(self, x):
        positions = self.positions(*x.shape[-2:])
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), self.patch_embed(x)), 1) + positions
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]

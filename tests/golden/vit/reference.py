"""A vision transformer as plain functions of its canonical parameters, and the attributions of attribution.md F and E.2
restated on it. Every family's library model is checked against it before anything is written."""
import dataclasses
import math

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

SAFE = 1e-9  # attribution.md 0.2, Chefer's stabiliser


@dataclasses.dataclass
class Config:
    """What the parameters do not say."""
    patch: int
    heads: int
    epsilon: float
    activation: str = "gelu"      # gelu, quick_gelu or none
    class_token: bool = True
    conv_patches: bool = True     # else (row, column, channel) within a patch and a linear layer
    bcos: bool = False
    constant: float = 0.0         # added to the logits
    stem: int = 0                 # layers of a convolutional stem
    positions: str = "none"       # how they are resized: none, dino, size, antialias


def activate(x, kind):
    if kind == "gelu":
        return functional.gelu(x)
    return x * torch.sigmoid(1.702 * x) if kind == "quick_gelu" else x


def sin_cos(rows, columns, width, dtype):
    """protocol.md 1.4."""
    k = torch.arange(width // 4, dtype=torch.float32)
    omega = 1.0 / 10000 ** (k / (width // 4 - 1))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    y, x = y.flatten()[:, None] * omega, x.flatten()[:, None] * omega
    return torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), 1).to(dtype)


def keep(x):
    """The value, and its gradient after a backward pass."""
    if x.requires_grad:
        x.retain_grad()
    return x


class Walk:
    """One forward pass. `values` has what a C++ graph calls by the same name. `frozen` is the set of things taken as
    constants on the way back: attention (q and k), statistics (the deviation of a layer norm), scales (B-cos) and
    activations (f(x) / x)."""

    def __init__(self, config, parameters, frozen=(), halves=False, epsilon=0.0, lean=False):
        self.config, self.p, self.frozen, self.halves = config, parameters, frozen, halves
        self.lean = lean  # blocks are computed again on the way back, and keep nothing of their attention
        self.epsilon = epsilon  # of the epsilon rule at linear layers, signed_add (attribution.md 0.2)
        self.values = {}

    def stop(self, what, x):
        return x.detach() if what in self.frozen else x

    def stabilised(self, y):
        """The value; the gradient times y / stab(y)."""
        if self.epsilon == 0:
            return y
        share = (y / torch.where(y < 0, y - self.epsilon, y + self.epsilon)).detach()
        return y.detach() + share * (y - y.detach())

    def norm(self, name, x):
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        y = (x - mean) / (self.stop("statistics", variance) + self.config.epsilon).sqrt() * self.p[name + ".weight"]
        return y + self.p[name + ".bias"] if name + ".bias" in self.p else y

    def linear(self, name, x, bcos=True):
        if not (self.config.bcos and bcos):
            return self.stabilised(functional.linear(x, self.p[name + ".weight"], self.p.get(name + ".bias")))
        weight = self.p[name + ".linear.weight"]
        u = functional.linear(x, weight / weight.norm(dim=1, keepdim=True))
        return self.stop("scales", u.abs() / (x.norm(dim=-1, keepdim=True) + 1e-12)) * u

    def convolution(self, name, x, stride, padding):
        if not self.config.bcos:
            return self.stabilised(functional.conv2d(x, self.p[name + ".weight"], self.p.get(name + ".bias"), stride,
                                                     padding))
        weight = self.p[name + ".linear.weight"]
        u = functional.conv2d(x, weight / weight.flatten(1).norm(dim=1)[:, None, None, None], None, stride, padding)
        ones = torch.ones_like(weight[:1])
        patch = (functional.conv2d(x * x, ones, None, stride, padding) + 1e-6).sqrt()
        return self.stop("scales", u.abs() / patch) * u

    def group_norm(self, name, x):
        mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), unbiased=False, keepdim=True)
        y = (x - mean) / (self.stop("statistics", variance) + 1e-5).sqrt() * self.p[name + ".weight"][:, None, None]
        return y + self.p[name + ".bias"][:, None, None] if name + ".bias" in self.p else y

    def activation(self, x):
        y = activate(x, self.config.activation)
        if "activations" in self.frozen and self.config.activation != "none":
            return x * (y / (x + 1e-10)).detach()
        return y

    def half(self, x):
        """The value; half of the gradient."""
        return x if not self.halves else 0.5 * x + 0.5 * x.detach()

    def attention(self, name, x):
        qkv = self.linear(name + ".qkv", x, bcos=False)
        batch, tokens, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        q, k, v = qkv.reshape(batch, tokens, 3, self.config.heads, width // self.config.heads).permute(2, 0, 3, 1, 4)
        q, k = self.half(self.stop("attention", q)), self.half(self.stop("attention", k))
        scores = keep(q @ k.transpose(-2, -1))
        a = keep((scores * (width // self.config.heads) ** -0.5).softmax(-1))
        y = keep(self.half(a) @ self.half(v))
        if not self.lean:
            self.values.update({name + ".q": q, name + ".k": k, name + ".v": v, name + ".qk": scores, name + ".softmax": a,
                                name + ".av": y, name + ".in": x})
        merged = y.transpose(1, 2).reshape(batch, tokens, width)
        return self.linear(name + ".proj", merged)

    def block(self, name, x):
        if not self.lean:
            self.values[name + ".in"] = x
        branch = self.attention(name + ".attn", self.norm(name + ".norm1", x))
        middle = x + branch
        fc1_in = self.norm(name + ".norm2", middle)
        fc1 = self.linear(name + ".mlp.fc1", fc1_in)
        fc2_in = self.activation(fc1)
        fc2 = self.linear(name + ".mlp.fc2", fc2_in)
        if not self.lean:
            self.values.update({name + ".branch": branch, name + ".middle": middle, name + ".mlp.in": fc1_in,
                                name + ".mlp.act": fc2_in, name + ".mlp.fc2": fc2})
        return middle + fc2

    def resized(self, positions, rows, columns):
        prefix = 1 if self.config.class_token else 0
        stored = positions.shape[1] - prefix
        side = int(math.sqrt(stored))
        if (rows, columns) == (side, side):
            return positions
        grid = positions[:, prefix:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        if self.config.positions == "dino":
            grid = functional.interpolate(grid, scale_factor=((rows + 0.1) / side, (columns + 0.1) / side),
                                          mode="bicubic")
        else:
            grid = functional.interpolate(grid, size=(rows, columns), mode="bicubic",
                                          antialias=self.config.positions == "antialias")
        return torch.cat((positions[:, :prefix], grid.permute(0, 2, 3, 1).reshape(1, rows * columns, -1)), 1)

    def patches(self, x):
        """[batch, channels, height, width] -> [batch, rows, columns, width]"""
        for layer in range(self.config.stem):
            name = f"patch_embed.stem.{3 * layer}"
            weight = self.p[name + (".linear.weight" if self.config.bcos else ".weight")]
            x = self.convolution(name, x, 2 if weight.shape[0] > weight.shape[1] else 1, 1)
            x = self.activation(self.group_norm(f"patch_embed.stem.{3 * layer + 1}", x))
        p = self.config.patch
        if self.config.conv_patches:
            x = functional.conv2d(x, self.p["patch_embed.proj.weight"], self.p.get("patch_embed.proj.bias"), p)
            x = self.stabilised(x)
            return x.permute(0, 2, 3, 1)
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // p, p, width // p, p).permute(0, 2, 4, 3, 5, 1)
        return self.linear("patch_embed.proj", x.reshape(batch, height // p, width // p, -1))

    def run(self, image):
        """The logits. `image`: the model input."""
        maps = self.patches(image)
        batch, rows, columns, width = maps.shape
        self.values["patch_embed"] = maps
        self.grid = (rows, columns)
        x = maps.reshape(batch, rows * columns, width)
        if self.config.class_token:
            x = torch.cat((self.p["cls_token"].reshape(1, 1, -1).expand(batch, -1, -1), x), 1)
            positions = self.resized(self.p["pos_embed"].reshape(1, -1, width), rows, columns)
        else:
            positions = sin_cos(rows, columns, width, x.dtype)[None]
        self.positions = positions if positions.requires_grad else positions.requires_grad_()
        x = x + self.positions
        if "norm_pre.weight" in self.p:
            x = self.norm("norm_pre", x)
        depth = 1 + max(int(name.split(".")[1]) for name in self.p if name.startswith("blocks."))
        self.depth = depth
        for i in range(depth):
            x = (checkpoint(self.block, f"blocks.{i}", x, use_reentrant=False) if self.lean else
                 self.block(f"blocks.{i}", x))
            self.values[f"blocks.{i}"] = x
        pooled = self.norm("norm", x[:, 0] if self.config.class_token else x.mean(1))
        self.values["features"] = pooled
        if "proj.weight" in self.p:
            pooled = self.linear("proj", pooled)
        self.values["embedding"] = pooled
        self.values["logits"] = self.linear("head", pooled) + self.config.constant
        return self.values["logits"]


def safe(a, b):
    return torch.where(b != 0, a / (b + SAFE), torch.zeros_like(a))


def linear_relevance(relevance, x, weight):
    """attribution.md F.3, linear."""
    xp, xn, wp, wn = x.clamp(min=0), x.clamp(max=0), weight.clamp(min=0), weight.clamp(max=0)
    s = safe(relevance, functional.linear(xp, wp) + functional.linear(xn, wn))
    return xp * (s @ wp) + xn * (s @ wn)


def product_relevance(relevance, a, b, y):
    """Of y = a b: half to each factor."""
    s = safe(relevance, y)
    return 0.5 * a * (s @ b.transpose(-2, -1)), 0.5 * b * (a.transpose(-2, -1) @ s)


def sum_relevance(relevance, a, b):
    """Of y = a + b, rescaled per sample."""
    def total(x):
        return x.sum(tuple(range(1, x.dim())), keepdim=True)
    s = safe(relevance, a + b)
    ra, rb = a * s, b * s
    sum_a, sum_b, whole = total(ra), total(rb), total(relevance)
    share = sum_a.abs() + sum_b.abs()
    return ra * safe(safe(sum_a.abs(), share) * whole, sum_a), rb * safe(safe(sum_b.abs(), share) * whole, sum_b)


def transformer_relevance(walk, target):
    """attribution.md F.3 (Chefer et al. 2021, "Transformer Interpretability Beyond Attention Visualization"): the
    relevance of every attention matrix, {block: [batch, heads, tokens, tokens]}, from 1 at the target's logit."""
    v, p = walk.values, walk.p
    relevance = functional.one_hot(target, v["logits"].shape[1]).to(v["logits"])
    relevance = linear_relevance(relevance, v["embedding"], p["head.weight"])
    if "proj.weight" in p:
        relevance = linear_relevance(relevance, v["features"], p["proj.weight"])
    top = v[f"blocks.{walk.depth - 1}"]
    spread = torch.zeros_like(top)
    if walk.config.class_token:
        spread[:, 0] = relevance
    else:
        spread = top * safe(relevance, top.mean(1))[:, None] / top.shape[1]
    relevance, found = spread, {}
    for i in reversed(range(walk.depth)):
        name = f"blocks.{i}"
        middle, fc2 = v[name + ".middle"], v[name + ".mlp.fc2"]
        skip, branch = sum_relevance(relevance, middle, fc2)
        branch = linear_relevance(branch, v[name + ".mlp.act"], p[name + ".mlp.fc2.weight"])
        branch = linear_relevance(branch, v[name + ".mlp.in"], p[name + ".mlp.fc1.weight"])
        skip, branch = sum_relevance(skip + branch, v[name + ".in"], v[name + ".branch"])
        attn = name + ".attn"
        batch, heads, tokens, width = v[attn + ".v"].shape
        merged = v[attn + ".av"].transpose(1, 2).reshape(batch, tokens, heads * width)
        branch = linear_relevance(branch, merged, p[attn + ".proj.weight"])
        branch = branch.reshape(batch, tokens, heads, width).transpose(1, 2)
        ra, rv = product_relevance(branch, v[attn + ".softmax"], v[attn + ".v"], v[attn + ".av"])
        found[i] = ra
        rq, rk = product_relevance(ra, v[attn + ".q"], v[attn + ".k"].transpose(-2, -1), v[attn + ".qk"])
        rqkv = torch.stack((rq, rk.transpose(-2, -1), rv)).permute(1, 3, 0, 2, 4).reshape(batch, tokens, -1)
        relevance = skip + linear_relevance(rqkv, v[attn + ".in"], p[attn + ".qkv.weight"])
    return found


def read_rows(walk, matrix):
    """The class token's row, or the mean of all rows, as a map [batch, rows, columns]."""
    row = matrix[:, 0, 1:] if walk.config.class_token else matrix.mean(1)
    return row.reshape(-1, *walk.grid)


def rolled(layers, normalise):
    """(I + E_L) ... (I + E_1) of E [batch, tokens, tokens], first block first."""
    result = torch.eye(layers[0].shape[-1], dtype=layers[0].dtype).expand_as(layers[0])
    for e in layers:
        step = e + torch.eye(e.shape[-1], dtype=e.dtype)
        if normalise:
            step = step / step.sum(-1, keepdim=True)
        result = step @ result
    return result


def token_maps(walk, targets):
    """Per target list: raw attention, rollout, Chefer's two, as maps at the size of the tokens (attribution.md F.1-F.4)."""
    attentions = [walk.values[f"blocks.{i}.attn.softmax"] for i in range(walk.depth)]
    maps = {"raw_attention": read_rows(walk, attentions[-1].mean(1)),
            "rollout": read_rows(walk, rolled([a.mean(1) for a in attentions], True))}
    tokens = keep(walk.values[f"blocks.{walk.depth - 1}.attn.in"])  # what the last self-attention reads
    for role, target in targets.items():
        chosen = walk.values["logits"].gather(1, target[:, None]).sum()
        gradients = torch.autograd.grad(chosen, attentions, retain_graph=True)
        slope, = torch.autograd.grad(chosen, tokens, retain_graph=True)
        first = 1 if walk.config.class_token else 0
        weighted = (tokens[:, first:] * slope[:, first:].mean(1, keepdim=True)).sum(2)
        maps[role + "/gradcam"] = weighted.reshape(-1, *walk.grid)
        generic = [(a * g).clamp(min=0).mean(1) for a, g in zip(attentions, gradients)]
        maps[role + "/chefer_generic"] = read_rows(walk, rolled(generic, False))
        if not walk.config.bcos:
            relevance = transformer_relevance(walk, target)
            layers = [(g * relevance[i]).clamp(min=0).mean(1) for i, g in enumerate(gradients)]
            maps[role + "/chefer_lrp"] = read_rows(walk, rolled(layers, False))
    return {name: value.detach() for name, value in maps.items()}

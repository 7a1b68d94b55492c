"""B-cos goldens: layers, uncentred batch norm and whole heads, trained and explained, by autograd of plain torch."""
import torch
from torch import nn
from torch.nn import functional
from zennit.composites import LayerMapComposite
from zennit.rules import Gamma, Norm, Pass

import formula
from golden_file import GoldenFile, evaluate_all

DOUBLE = torch.float64
CLASSES, CHANNELS, HIDDEN, BATCH, SIDE = 6, 20, 16, 4, 5
LABELS = (2, 0, 5, 2)

# name: channels, filters, kernel, side, and what differs from stride 1, no padding, one group, B = 2
LAYERS = {
    "conv": (6, 8, 3, 9, {"padding": 1}), "stride": (6, 8, 3, 10, {"padding": 1, "stride": 2}),
    "groups": (8, 12, 3, 7, {"padding": 1, "groups": 4}), "dilation": (4, 6, 3, 9, {"padding": 2, "dilation": 2}),
    "stem": (6, 8, 7, 16, {"padding": 3, "stride": 2}), "pointwise": (64, 20, 1, 5, {}),
    "max_out": (6, 8, 3, 7, {"padding": 1, "max_out": 2}), "power15": (6, 8, 3, 7, {"padding": 1, "b": 1.5}),
    "power3": (6, 8, 3, 7, {"padding": 1, "b": 3.0}), "power1": (6, 8, 3, 7, {"padding": 1, "b": 1.0})}
LINEARS = {"linear": {}, "linear_power15": {"b": 1.5}, "linear_max_out": {"max_out": 3}}


def unit(weight):
    return weight / weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1))


def largest_unit(u, units):
    return u if units == 1 else u.unflatten(1, (u.shape[1] // units, units)).max(dim=2).values


def scaled(u, norm, b, detach):
    """|u / n|^(B - 1) u, the norm repeated over the filters of its group."""
    if b == 1:
        return u
    scale = (u / norm).abs() if b == 2 else ((u / norm).abs() + 1e-6) ** (b - 1)
    return u * (scale.detach() if detach else scale)


def bcos_conv(x, weight, detach=False, b=2.0, max_out=1, groups=1, **geometry):
    u = largest_unit(functional.conv2d(x, unit(weight), groups=groups, **geometry), max_out)
    ones = torch.ones(groups, x.shape[1] // groups, *weight.shape[2:], dtype=x.dtype)
    norm = (functional.conv2d(x * x, ones, groups=groups, **geometry) + 1e-6).sqrt()
    return scaled(u, norm.repeat_interleave(u.shape[1] // groups, dim=1), b, detach)


def bcos_linear(x, weight, detach=False, b=2.0, max_out=1):
    u = largest_unit(functional.linear(x, unit(weight)), max_out)
    return scaled(u, x.norm(dim=1, keepdim=True) + 1e-12, b, detach)


def signed(name, shape):
    """[batch, channels, height, width] of the formula's [batch, height, width, channels]."""
    if len(shape) != 4:
        return torch.from_numpy(formula.signed_tensor(name, shape))
    values = formula.signed_tensor(name, [shape[0], *shape[2:], shape[1]])
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()


def add_all(file, name, function, kind="node", **about):
    for quantity, exact, rounded in evaluate_all(function):
        file.add(f"{name}/{quantity}", exact, rounded, kind=kind, group=quantity, quantity=quantity, **about)


def weight_shape(tensor):
    """Weights are stored [out, in, height, width] as they are: an added axis keeps them from being permuted."""
    return tensor.unsqueeze(0) if tensor.dim() == 4 else tensor


def layer_entries(file):
    for name, (channels, filters, kernel, side, options) in LAYERS.items():
        x32 = signed(f"{name}/x", (2, channels, side, side))
        shape = (filters * options.get("max_out", 1), channels // options.get("groups", 1), kernel, kernel)
        w32 = torch.from_numpy(formula.signed_tensor(f"{name}/w", shape))

        def quantities(dtype, place):
            x, w = place(x32.to(dtype)).requires_grad_(), place(w32.to(dtype)).requires_grad_()
            y = bcos_conv(x, w, **options)
            message = signed(f"{name}/M", tuple(y.shape)).to(dtype)
            dx, dw = torch.autograd.grad(y, (x, w), message)
            explained = torch.autograd.grad(bcos_conv(x, w, detach=True, **options), x, message)[0]
            return {"y": y, "dx": dx, "dw": weight_shape(dw), "explanation": explained}
        add_all(file, name, quantities)
    for name, options in LINEARS.items():
        x32 = signed(f"{name}/x", (5, 24))
        w32 = signed(f"{name}/w", (7 * options.get("max_out", 1), 24))

        def quantities(dtype, place):
            x, w = x32.to(dtype).requires_grad_(), w32.to(dtype).requires_grad_()
            y = bcos_linear(x, w, **options)
            message = signed(f"{name}/M", tuple(y.shape)).to(dtype)
            dx, dw = torch.autograd.grad(y, (x, w), message)
            explained = torch.autograd.grad(bcos_linear(x, w, detach=True, **options), x, message)[0]
            return {"y": y, "dx": dx, "dw": dw, "explanation": explained}
        add_all(file, name, quantities)


class Uncentred(nn.Module):
    """Batch norm that divides by the standard deviation about the mean and subtracts nothing."""

    def __init__(self, weight, variance):
        super().__init__()
        self.weight, self.running_var = nn.Parameter(weight), variance

    def forward(self, x):
        variance = self.running_var
        if self.training:
            variance = x.var(dim=(0, 2, 3), unbiased=False)
            self.running_var = 0.9 * self.running_var + 0.1 * variance.detach()
        scale = self.weight / (variance + 1e-5).sqrt()
        return x * scale.reshape(1, -1, 1, 1)


class Scale(nn.Module):
    """y = |u / n| u; `merged` is a factor per channel that its input carries already."""

    def __init__(self):
        super().__init__()
        self.norm, self.detach, self.merged = None, False, None

    def forward(self, u):
        if self.merged is None:
            return scaled(u, self.norm, 2.0, self.detach)
        return u * (u / self.merged / self.norm).abs().detach()


class Unit(nn.Module):
    """The product of a 1x1 B-cos convolution; a convolution with unit weights to zennit."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return functional.conv2d(x, unit(self.weight))


class Head(nn.Module):
    """protocol.md 3.1 and 3.2: layers of 1x1 convolutions with norms between them, mean over the map, constant."""

    def __init__(self, name, layers, bcos, dtype):
        super().__init__()
        self.bcos, self.detach, self.norms, self.constant = bcos, False, nn.ModuleList(), -1.5
        self.products, self.scales, self.names = nn.ModuleList(), nn.ModuleList(), {}
        self.pool = nn.AdaptiveAvgPool2d(1)

        def value(key, shape):
            return torch.from_numpy(formula.parameter(f"{name}/{key}", shape)).to(dtype)
        for i in range(layers):
            inputs, last = (CHANNELS if i == 0 else HIDDEN), i == layers - 1
            outputs = CLASSES if last else HIDDEN
            if bcos:
                key = f"fc{i}.linear.weight"
                self.products.append(Unit(value(key, (outputs, inputs, 1, 1))))
            else:
                key = f"fc{i}.weight"
                conv = nn.Conv2d(inputs, outputs, 1).to(dtype)
                conv.weight = nn.Parameter(value(key, (outputs, inputs, 1, 1)))
                conv.bias = nn.Parameter(value(f"fc{i}.bias", (outputs,)))
                self.products.append(conv)
                self.names[f"fc{i}.bias"] = conv.bias
            self.names[key] = self.products[-1].weight
            self.scales.append(Scale())
            if last:
                break
            if bcos:
                norm = Uncentred(value(f"bn{i}.weight", (outputs,)), value(f"bn{i}.running_var", (outputs,)))
            else:
                norm = nn.BatchNorm2d(outputs).to(dtype)
                norm.weight = nn.Parameter(value(f"bn{i}.weight", (outputs,)))
                norm.bias = nn.Parameter(value(f"bn{i}.bias", (outputs,)))
                norm.running_mean = value(f"bn{i}.running_mean", (outputs,))
                norm.running_var = value(f"bn{i}.running_var", (outputs,))
                self.names[f"bn{i}.bias"] = norm.bias
            self.names[f"bn{i}.weight"] = norm.weight
            self.norms.append(norm)
        self.relus = nn.ModuleList(nn.ReLU() for _ in self.norms)

    def statistics(self):
        found = {}
        for i, norm in enumerate(self.norms):
            found[f"bn{i}.running_var"] = norm.running_var
            if not self.bcos:
                found[f"bn{i}.running_mean"] = norm.running_mean
        return found

    def forward(self, x):
        for i, product in enumerate(self.products):
            if self.bcos:
                norm = (x.square().sum(1, keepdim=True) + 1e-6).sqrt()
                self.scales[i].norm = norm.detach() if self.detach else norm
                self.scales[i].detach = self.detach
                x = self.scales[i](product(x))
            else:
                x = product(x)
            if i < len(self.norms):
                x = self.norms[i](x)
                x = x if self.bcos else self.relus[i](x)
        return self.pool(x).flatten(1) + self.constant


def fold(head):
    """Norms merged into the convolutions before them, as zennit's canonizers do, but with eps 0 afterwards. A B-cos
    product becomes an ordinary convolution with its unit weights, so that gamma acts on these."""
    for i, product in enumerate(head.products):
        weight = product.weight
        if head.bcos:
            weight = unit(weight).detach()
            head.products[i] = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
        if i < len(head.norms):
            norm = head.norms[i]
            scale = (norm.weight / (norm.running_var + 1e-5).sqrt()).detach().reshape(-1, 1, 1, 1)
            weight = weight * scale
            if head.bcos:
                head.scales[i].merged = scale.reshape(1, -1, 1, 1)
            else:
                product.bias = nn.Parameter((product.bias - norm.running_mean) * scale.flatten() + norm.bias)
        head.products[i].weight = nn.Parameter(weight)
    head.norms = nn.ModuleList(nn.Identity() for _ in head.norms)


def relevance(head, x, logits):
    """LRP of a folded head, from the logit less its constant: gamma at products, scales detached."""
    rules = [(nn.Conv2d, Gamma(0.25)), ((nn.ReLU, Scale), Pass()), (nn.AdaptiveAvgPool2d, Norm())]
    head.detach = True
    start = torch.zeros_like(logits)
    for row, label in enumerate(LABELS):
        start[row, label] = logits[row, label] - head.constant
    with LayerMapComposite(rules).context(head):
        z = x.detach().clone().requires_grad_()
        return torch.autograd.grad(head(z), z, start)[0]


def loss_of(name, logits):
    one_hot = functional.one_hot(torch.tensor(LABELS), CLASSES).to(logits.dtype)
    if name == "ce":
        return -(one_hot * logits.log_softmax(1)).sum(1).mean()
    targets = one_hot if name == "bce" else one_hot.clamp(min=1 / CLASSES)
    return (functional.softplus(logits) - targets * logits).mean()


def head_entries(file, name, layers, bcos):
    features = formula.relu_tensor(f"{name}/features", (BATCH, SIDE, SIDE, CHANNELS))

    def quantities(dtype, place):
        x = place(torch.from_numpy(features).permute(0, 3, 1, 2).contiguous().to(dtype)).requires_grad_()
        found = {}
        for loss_name in ("ce", "bce", "uo_bce"):
            head = Head(name, layers, bcos, dtype).train()
            loss = loss_of(loss_name, head(x))
            gradients = torch.autograd.grad(loss, list(head.names.values()))
            found[f"{loss_name}/loss"] = loss.reshape(1)
            for key, gradient in zip(head.names, gradients):
                before_norm = key.endswith("bias") and key.startswith("fc") and key != f"fc{layers - 1}.bias"
                if before_norm:  # the norm takes it away again: its gradient is 0 but for rounding
                    continue
                if layers == 1 or loss_name == "uo_bce" or key.startswith("fc0"):
                    found[f"{loss_name}/{key}"] = gradient.flatten()
        found.update({f"statistics/{key}": value for key, value in head.statistics().items()})
        head = Head(name, layers, bcos, dtype).eval()
        logits = head(x)
        seed = functional.one_hot(torch.tensor(LABELS), CLASSES).to(dtype)
        found["logits"] = logits
        found["gradient"] = torch.autograd.grad(logits, x, seed)[0]
        if bcos:
            head.detach = True
            found["explanation"] = torch.autograd.grad(head(x), x, seed)[0]
        fold(head)
        found["relevance"] = relevance(head, x, logits.detach())
        return found
    add_all(file, name, quantities)


def norm_entries(file):
    for name in ("uncentred", "centred"):
        x32 = signed(f"{name}/x", (3, 10, 5, 4)) * 2 + 0.5
        weight32 = torch.from_numpy(formula.parameter(f"{name}.weight", (10,)))

        def quantities(dtype, place):
            x, found = place(x32.to(dtype)).requires_grad_(), {}
            message = signed(f"{name}/M", tuple(x.shape)).to(dtype)
            norm = Uncentred(weight32.to(dtype), torch.ones(10, dtype=dtype))
            if name == "centred":
                norm = nn.BatchNorm2d(10).to(dtype)
                norm.weight = nn.Parameter(weight32.to(dtype))
            for mode in ("train", "eval") if name == "uncentred" else ("train",):
                y = norm.train(mode == "train")(x)
                dx, dweight = torch.autograd.grad(y, (x, norm.weight), message)
                found.update({f"{mode}/y": y, f"{mode}/dx": dx, f"{mode}/dweight": dweight})
            found["running_var"] = norm.running_var
            return found
        add_all(file, name, quantities)


def make_layers(out, versions):
    file = GoldenFile(out / "bcos_layers.safetensors", versions, network="B-cos layers")
    layer_entries(file)
    norm_entries(file)
    return file.write()


def make_heads(out, versions):
    file = GoldenFile(out / "bcos_heads.safetensors", versions, network="heads")
    for layers in (1, 2, 3):
        head_entries(file, f"bcos{layers}", layers, True)
        if layers > 1:
            head_entries(file, f"mlp{layers}", layers, False)
    return file.write()


def make(out, versions):
    return make_layers(out, versions) + "; " + make_heads(out, versions)

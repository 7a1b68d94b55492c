"""The reference networks: CIFAR ResNets with option A shortcuts, torchvision ResNets, and their folded forms."""
import numpy as np
import torch
import torchvision
from torch import nn
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer

import formula

CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet56": "resnet56-4bfd9763.th"}
CIFAR_BLOCKS = {"resnet20": 3, "resnet56": 9}
TORCHVISION = {"resnet18": torchvision.models.resnet18, "resnet50": torchvision.models.resnet50}


class ShortcutA(nn.Module):
    """Every second row and column, zero channels on both sides."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.channels // 4, self.channels // 4))


class CifarBlock(nn.Module):
    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = ShortcutA(channels) if stride != 1 else nn.Identity()
        self.add = Sum()
        self.relu2 = nn.ReLU()

    def forward(self, x):
        branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(self.add(torch.stack([self.shortcut(x), branch], dim=-1)))


class CifarResNet(nn.Module):
    def __init__(self, blocks, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = self.stage(16, 16, blocks, 1)
        self.layer2 = self.stage(16, 32, blocks, 2)
        self.layer3 = self.stage(32, 64, blocks, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)

    @staticmethod
    def stage(in_channels, channels, blocks, stride):
        first = [CifarBlock(in_channels, channels, stride)]
        return nn.Sequential(*first, *(CifarBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(torch.flatten(self.avgpool(x), 1))


def is_cifar(name):
    return name in CHECKPOINTS


def formula_state(model):
    """A state dict of formula parameters for a torchvision ResNet."""
    last = ".bn3." if isinstance(model.layer1[0], torchvision.models.resnet.Bottleneck) else ".bn2."
    state = {}
    for key, value in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            state[key] = value
        else:
            data = formula.parameter(key, tuple(value.shape), last_norm=key.startswith("layer") and last in key)
            state[key] = torch.from_numpy(data)
    return state


def build(name, shared, dtype=torch.float64):
    """The network as trained (or made by formula), batch norm unfolded, evaluation mode."""
    if is_cifar(name):
        model = CifarResNet(CIFAR_BLOCKS[name])
        checkpoint = torch.load(shared / "data/checkpoints" / CHECKPOINTS[name], map_location="cpu")
        state = {key.removeprefix("module."): value for key, value in checkpoint["state_dict"].items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        if unexpected or any(not key.endswith("num_batches_tracked") for key in missing):
            raise ValueError(f"{name}: checkpoint does not fit: missing {missing}, unexpected {unexpected}")
    else:
        model = TORCHVISION[name](weights=None)
        model.load_state_dict(formula_state(model))
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model.to(dtype).eval()


def fold(model):
    """Folds every batch norm into its convolution with zennit's canonizers, for good, in the model's precision.

    zennit 0.5.1 leaves eps = 1e-5 in the emptied batch norm, which would divide by sqrt(1 + 1e-5): set to 0 here."""
    canonizer = SequentialMergeBatchNorm() if isinstance(model, CifarResNet) else ResNetCanonizer()
    model.kept_canonizers = canonizer.apply(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.running_var == 1).all() and (module.weight == 1).all())
            assert bool((module.running_mean == 0).all() and (module.bias == 0).all())
            module.eps = 0.0
    sums = sum(isinstance(module, Sum) for module in model.modules())
    assert sums == len(blocks(model)), "every residual add must be a Sum module"
    return model


def blocks(model):
    """name -> residual block, in order."""
    kinds = (CifarBlock, torchvision.models.resnet.BasicBlock, torchvision.models.resnet.Bottleneck)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}


def last_convolution(model):
    """(name, module) of the last block's last convolution."""
    name, block = list(blocks(model).items())[-1]
    last = "conv3" if hasattr(block, "conv3") else "conv2"
    return f"{name}.{last}", getattr(block, last)


def normalise(image, dtype):
    """RGB [batch, height, width, 3], uint8 or in [0, 1], to the network's input [batch, 3, height, width]."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(dtype)
    if image.dtype == np.uint8:
        pixels = pixels / 255
    mean, std = (torch.tensor(values, dtype=dtype) for values in (formula.MEAN, formula.STD))
    return ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous()


def box(dtype):
    """Normalised 0 and 1: the ZBox rule's low and high, [1, 3, 1, 1]."""
    mean, std = (torch.tensor(values, dtype=dtype).reshape(1, 3, 1, 1) for values in (formula.MEAN, formula.STD))
    return (0 - mean) / std, (1 - mean) / std


def relu_inputs(model, x):
    """Inputs of all ReLUs and max pools, in order of execution: [(kind, tensor)]."""
    found, handles = [], []
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.MaxPool2d)):
            kind = type(module).__name__
            handles.append(module.register_forward_pre_hook(
                lambda _, inputs, kind=kind: found.append((kind, inputs[0].detach().clone()))))
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return found


def float32_flips(model64, model32, x64, x32):
    """(ReLU signs and max-pool winners that float32 changes, margin) of the inputs in both precisions.

    The margin is the smallest |pre-activation| in units of its layer's own root mean square float32 error."""
    flips, margin = 0, float("inf")
    for (kind, exact), (_, rounded) in zip(relu_inputs(model64, x64), relu_inputs(model32, x32)):
        if kind == "MaxPool2d":
            values, winner = nn.functional.max_pool2d(exact, 3, 2, 1, return_indices=True)
            other = nn.functional.max_pool2d(rounded, 3, 2, 1, return_indices=True)[1]
            flips += int(((winner != other) & (values > 0)).sum())
        else:
            flips += int(((exact > 0) != (rounded > 0)).sum())
            error = (rounded.double() - exact).square().mean().sqrt().item()
            margin = min(margin, exact.abs().min().item() / error)
    return flips, margin

"""The training works in PyTorch (training.cpp is their twin): steps of whole networks, epochs of linear probes."""
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from . import network
from .network import formula

RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
CHANNELS, BATCH, DIFFERENT_ROWS, EPOCHS = 2048, 256, 2000, 3
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


class Block(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.missing = stride, channels - channels_in
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.missing // 2, self.missing // 2))
        return self.relu(y + x)


class CifarResNet20(nn.Module):
    """He et al. 2016 with shortcuts of option A."""

    def __init__(self, classes=10):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        for stage, (before, channels) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            blocks = [Block(before, channels, 1 if stage == 1 else 2)] + [Block(channels, channels, 1) for _ in range(2)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))


def make_model(name):
    """A network with formula weights, in training mode."""
    import torchvision
    model = CifarResNet20() if name == "cifar_resnet20" else torchvision.models.get_model(name, weights=None)
    bottleneck = hasattr(model.layer1[0], "conv3")
    state = {}
    for key, value in model.state_dict().items():
        state[key] = value
        if not key.endswith("num_batches_tracked"):
            last = key.startswith("layer") and (".bn3." if bottleneck else ".bn2.") in key
            state[key] = torch.from_numpy(formula.parameter(key, tuple(value.shape), last_norm=last))
    model.load_state_dict(state)
    return model.train()


def optimizer(parameters, rate, fused):
    return torch.optim.SGD(parameters, lr=rate, momentum=MOMENTUM, weight_decay=DECAY, fused=fused)


class Steps:
    """Forward, backward and update, again and again on one batch."""

    def __init__(self, name, batch, side, layout, fused):
        self.model = make_model(name).to(memory_format=LAYOUTS[layout])
        self.images = network.image("resnet50", batch, side).contiguous(memory_format=LAYOUTS[layout])
        classes = self.model.fc.out_features
        self.labels = torch.tensor([row * 7 % classes for row in range(batch)])
        self.optimizer = optimizer(self.model.parameters(), RATE, fused)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()


def features(rows):
    some = formula.image_tensor("features", (DIFFERENT_ROWS, CHANNELS))
    return torch.from_numpy(np.resize(some, (rows, CHANNELS)))


def train_probes(x, labels, classes, count, fused):
    """Epochs of `count` linear probes on the same batches; their mean losses in the last one."""
    torch.manual_seed(1)
    probes = [nn.Linear(CHANNELS, classes) for _ in range(count)]
    optimizers = [optimizer(probe.parameters(), RATE / (10 * (i + 1)), fused) for i, probe in enumerate(probes)]
    for _ in range(EPOCHS):
        sums = torch.zeros(count)
        for rows in torch.randperm(len(x)).split(BATCH):
            batch, wanted = x[rows], labels[rows]
            for i, (probe, one) in enumerate(zip(probes, optimizers)):
                one.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(probe(batch), wanted)
                loss.backward()
                one.step()
                sums[i] += loss.detach() * len(rows)
    return (sums / len(x)).numpy()


class TrainingWorks:
    def __init__(self, options):
        self.options, self.x = options, None
        self.makers = {}
        for fused in (False, True):
            update = "fused SGD" if fused else "SGD"
            for layout in LAYOUTS:
                name = f"eager {layout}, {update}"
                self.makers["train", name] = (self.steps, options.network, 16, options.size, layout, fused)
                self.makers["train-cifar", name] = (self.steps, "cifar_resnet20", 128, 32, layout, fused)
            for work, classes, count in (("probe-1000", 1000, 1), ("probe-20", 20, 1), ("eight-probes", 20, 8)):
                self.makers[work, f"eager, {update}"] = (self.epochs, classes, count, fused)

    def make(self, work, variant):
        maker, *arguments = self.makers[work, variant]
        return maker(*arguments)

    def steps(self, name, batch, side, layout, fused):
        """Losses of the first three steps; one step from then on."""
        steps = Steps(name, batch, side, layout, fused)
        first = [True]

        def run():
            if first[0]:
                first[0] = False
                return np.array([steps.step() for _ in range(3)])
            return steps.step()
        return run

    def epochs(self, classes, count, fused):
        if self.x is None:
            self.x = features(self.options.rows)
        labels = torch.arange(len(self.x)) % classes
        return lambda: train_probes(self.x, labels, classes, count, fused)

"""The network and images that both sides use: torchvision's ResNet layout, weights and pixels by formula."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "golden"))
import formula  # noqa: E402


def formula_state(name):
    """A state dict for a torchvision ResNet."""
    import torch
    import torchvision
    model = torchvision.models.get_model(name, weights=None)
    last = ".bn3." if hasattr(model.layer1[0], "conv3") else ".bn2."
    state = {}
    for key, value in model.state_dict().items():
        state[key] = value
        if not key.endswith("num_batches_tracked"):
            norm = key.startswith("layer") and last in key
            state[key] = torch.from_numpy(formula.parameter(key, tuple(value.shape), last_norm=norm))
    return state


def load(name, path):
    """The model in evaluation mode; nothing but its input wants a gradient."""
    import torch
    import torchvision
    model = torchvision.models.get_model(name, weights=None)
    model.load_state_dict(torch.load(path, weights_only=True))
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return model.eval().requires_grad_(False)


def image(batch, size):
    """The normalised input [batch, 3, size, size]; hp normalises the same pixels itself."""
    import numpy as np
    import torch
    pixels = formula.image_tensor("images", (batch, size, size, 3)).astype(np.float64)
    normalised = (pixels - np.array(formula.MEAN)) / np.array(formula.STD)
    return torch.from_numpy(normalised.transpose(0, 3, 1, 2).astype(np.float32).copy())


def box(torch):
    """RGB 0 and 1, normalised: the range of the input, [1, 3, 1, 1] each."""
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (formula.MEAN, formula.STD))
    return -mean / std, (1 - mean) / std

"""The networks and images that both sides use. torchvision's ResNets have weights by formula; of the others each library
makes its own, from a seed, and both sides read them from one checkpoint."""
import dataclasses
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "golden"))  # last: it has a bcos.py of its own
import formula  # noqa: E402

NO_NORMALISATION = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclasses.dataclass
class Special:
    """A network that is no ResNet of torchvision."""
    build: object  # () -> model
    prefix: str = ""  # of its names in the checkpoint
    normalisation: tuple = (formula.MEAN, formula.STD)  # that belongs to the source
    bcos: bool = False


def timm_vit(name, **settings):
    def build():
        import timm
        return timm.create_model(name, pretrained=False, **settings)
    return build


def clip_rn50():
    from open_clip.modified_resnet import ModifiedResNet
    return ModifiedResNet(layers=(3, 4, 6, 3), output_dim=1024, heads=32, image_size=224, width=64)


def bcos_resnet50():
    from bcos.models import resnet
    from bcos.modules import norms
    return resnet.BcosResNet(resnet.Bottleneck, [3, 4, 6, 3], norm_layer=norms.NoBias(norms.BatchNormUncentered2d))


SPECIAL = {
    "vit_b_16": Special(timm_vit("vit_base_patch16_224"), normalisation=HALF),
    "dino_vits8": Special(timm_vit("vit_small_patch8_224", num_classes=0)),  # DINO's definition has these names
    "clip_rn50": Special(clip_rn50, prefix="visual.", normalisation=CLIP),
    "bcos_resnet50": Special(bcos_resnet50, normalisation=NO_NORMALISATION, bcos=True),
}


def is_bcos(name):
    return name in SPECIAL and SPECIAL[name].bcos


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


def seeded_state(name):
    """The library's own initial weights. Norms of one value everywhere would hide mistakes, and running variances of 1
    would let the values of B-cos layers vanish: the former are spread, the latter measured."""
    import torch
    torch.manual_seed(1)
    special = SPECIAL[name]
    model = special.build()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (torch.nn.LayerNorm, torch.nn.modules.batchnorm._BatchNorm)):
                module.weight.uniform_(0.5, 1.5)
                if module.bias is not None:
                    module.bias.uniform_(-0.2, 0.2)
            if special.bcos and isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0
        if special.bcos:
            model.train()(image(name, 2, 224))
    return {special.prefix + key: value for key, value in model.state_dict().items()}


def state(name):
    return seeded_state(name) if name in SPECIAL else formula_state(name)


def load(name, path):
    """The model in evaluation mode; nothing but its input wants a gradient."""
    import torch
    import torchvision
    stored = torch.load(path, weights_only=True)
    if name in SPECIAL:
        model = SPECIAL[name].build()
        stored = {key.removeprefix(SPECIAL[name].prefix): value for key, value in stored.items()}
    else:
        model = torchvision.models.get_model(name, weights=None)
    model.load_state_dict(stored)
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return model.eval().requires_grad_(False)


def image(name, batch, size):
    """The model's input [batch, channels, size, size], normalised, or with its inverse; hp does so itself with the same
    pixels."""
    import numpy as np
    import torch
    mean, std = SPECIAL[name].normalisation if name in SPECIAL else (formula.MEAN, formula.STD)
    pixels = formula.image_tensor("images", (batch, size, size, 3)).astype(np.float64)
    normalised = (pixels - np.array(mean)) / np.array(std)
    x = torch.from_numpy(normalised.transpose(0, 3, 1, 2).astype(np.float32).copy())
    return torch.cat([x, 1 - x], 1) if is_bcos(name) else x


def box(torch):
    """RGB 0 and 1, normalised: the range of the input, [1, 3, 1, 1] each."""
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (formula.MEAN, formula.STD))
    return -mean / std, (1 - mean) / std

#!/usr/bin/env python3
"""Makes the golden files of B-cos ResNets and CLIP's ResNets: for each a small checkpoint in a container of its source, with that
source's names, and what the original library computes with it in double precision. README.md says what the files hold.

Usage: make_resnet_goldens.py [--out FOLDER] [--only NAME] [--full]"""
import argparse
import collections
import copy
import pathlib
import sys
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent

from bcos.models import resnet as bcos_resnet  # noqa: E402  (before this folder's parent, which has a bcos.py of its own)
from bcos.modules import norms  # noqa: E402
from open_clip.modified_resnet import ModifiedResNet  # noqa: E402

sys.path.append(str(HERE.parent))

import formula  # noqa: E402
from golden_file import GoldenFile, evaluate_all  # noqa: E402

PINNED = {"torch": "2.15.0", "torchvision": "0.29.2", "open_clip_torch": "3.3.0", "bcos": "0.1.3", "safetensors": "0.8.0",
          "numpy": "2.4.6"}
IMAGES = 2
SAMPLES, GRADIENT_SAMPLES = 512, 96
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def images(name, side, count=IMAGES):
    """[count, 3, side, side] in [0, 1): a smooth part, so that neighbours are alike, and noise."""
    noise = formula.image_tensor(f"{name}.image", (count, side, side, 3)).astype(np.float64)
    rows, columns, channels = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    ramp = ((rows * 5 + columns * 3 + channels * 60) % 64) / 64.0
    return torch.from_numpy((0.5 * noise + 0.5 * ramp).astype(np.float32)).permute(0, 3, 1, 2)


def fill(model, rename):
    """Formula weights by canonical name, uncentred running variances by measurement."""
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if not tensor.dtype.is_floating_point or key.endswith("running_mean") and isinstance(model, BCOS):
                continue
            last = key.startswith("layer") and (".bn3." in key or (".bn2." in key and key.replace("bn2", "bn3")
                                                                   not in model.state_dict()))
            tensor.copy_(torch.from_numpy(formula.parameter(rename(key), tuple(tensor.shape), last)
                                          if key != "attnpool.positional_embedding"
                                          else 0.3 * formula.signed_tensor(key, tuple(tensor.shape))))


BCOS = bcos_resnet.BcosResNet


def measure_variances(model, x):
    """B-cos activations shrink with |cos| from layer to layer: running variances of formula weights would let them vanish."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.double().train()
    with torch.no_grad():
        model(x.double())
    model.float().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
            module.num_batches_tracked.zero_()


def bcos_model(block, layers, width, classes, side, name, small=False):
    model = BCOS(block, layers, num_classes=classes, inplanes=width, small_inputs=small,
                 norm_layer=norms.NoBias(norms.BatchNormUncentered2d))
    fill(model, lambda key: "head.linear.weight" if key == "fc.linear.weight" else key)
    x = images(name + ".statistics", side, 6)
    measure_variances(model, torch.cat([x, 1 - x], 1))
    return model


def clip_model(layers, width, side, output):
    model = ModifiedResNet(layers, output, width // 2, side, width).eval()
    fill(model, lambda key: key)
    return model


class Towers(nn.Module):
    """What OpenAI's TorchScript archives look like: the visual tower under `visual.`, beside it a text tower and sizes."""

    def __init__(self, visual, side):
        super().__init__()
        self.visual = visual
        self.token_embedding = nn.Embedding(5, 4)
        self.ln_final = nn.LayerNorm(4)
        self.text_projection = nn.Parameter(torch.zeros(4, visual.output_dim))
        self.positional_embedding = nn.Parameter(torch.zeros(3, 4))
        self.logit_scale = nn.Parameter(torch.tensor(4.6052))
        for buffer, value in (("input_resolution", side), ("context_length", 3), ("vocab_size", 5)):
            self.register_buffer(buffer, torch.tensor(value))

    def forward(self, image):
        return self.visual(image)


def to_half(model):
    """convert_weights of CLIP: convolutions and linear layers in half precision, norms not."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.half()


def save_script(model, path, side):
    half = copy.deepcopy(model)
    to_half(half)
    torch.jit.script(Towers(half, side)).save(str(path))
    with torch.no_grad():  # what was stored is what is computed with
        for kept, rounded in zip(model.state_dict().values(), half.state_dict().values()):
            kept.copy_(rounded)


def save_lightning(model, path):
    state = collections.OrderedDict((f"model.{key}", value) for key, value in model.state_dict().items())
    torch.save({"epoch": 3, "global_step": 40, "pytorch-lightning_version": "1.9.5", "state_dict": state,
                "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.5)}},
                "hyper_parameters": argparse.Namespace(lr=0.1)}, path, _use_new_zipfile_serialization=False)


def save_bare(model, path):
    torch.save(model.state_dict(), path)


Case = collections.namedtuple("Case", "file architecture side classes build save")
CASES = {
    "bcos_resnet18": Case("bcos_resnet18.pth", "bcos_resnet18_w4", 64, 7, lambda: bcos_model(
        bcos_resnet.BasicBlock, [2, 2, 2, 2], 4, 7, 64, "bcos_resnet18"), save_bare),
    "bcos_resnet50": Case("bcos_resnet50.ckpt", "bcos_resnet50_w4", 64, 7, lambda: bcos_model(
        bcos_resnet.Bottleneck, [3, 4, 6, 3], 4, 7, 64, "bcos_resnet50"), save_lightning),
    "bcos_cifar_resnet20": Case("bcos_cifar_resnet20.pth", "bcos_cifar_resnet20_w8", 32, 10, lambda: bcos_model(
        bcos_resnet.BasicBlock, [3, 3, 3], 8, 10, 32, "bcos_cifar_resnet20", small=True), save_bare),
    "clip_rn50": Case("clip_rn50.pt", "clip_rn50_w4_r64_e12", 64, 0, lambda: clip_model([3, 4, 6, 3], 4, 64, 12),
                      lambda model, path: save_script(model, path, 64)),
}
FULL = {
    "bcos_resnet50_full": Case(None, "bcos_resnet50", 224, 1000, lambda: bcos_model(
        bcos_resnet.Bottleneck, [3, 4, 6, 3], 64, 1000, 224, "bcos_resnet50_full"), None),
    "clip_rn50_full": Case(None, "clip_rn50", 224, 0, lambda: clip_model([3, 4, 6, 3], 64, 224, 1024), None),
}


def model_input(model, x):
    if isinstance(model, BCOS):
        return torch.cat([x, 1 - x], 1)
    mean, deviation = (torch.tensor(values, dtype=x.dtype).reshape(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (x - mean) / deviation


def watch(model):
    """Hooks that keep what the stem's pool and every block give."""
    seen = {}
    for name, module in model.named_modules():
        if name == ("pool" if isinstance(model, BCOS) else "avgpool") or name.startswith("layer") and name.count(".") == 1:
            module.register_forward_hook(lambda module, inputs, output, name=name: seen.__setitem__(name, output))
    return seen


def quantities(model, x, full):
    """function(dtype, place) for evaluate_all: all that the golden file holds."""
    def evaluate(dtype, place):
        network = place(copy.deepcopy(model)).to(dtype).eval()
        seen = watch(network)
        given = place(model_input(network, x.to(dtype))).detach().requires_grad_()
        logits = network(given)
        result = {"logits": logits, **({"scores": logits - network.logit_layer.logit_bias} if isinstance(network, BCOS) else {}),
                  **{f"node/{name}": value.clone() for name, value in seen.items()}}
        message = torch.from_numpy(formula.signed_tensor("M", tuple(logits.shape))).to(dtype)
        names = [name for name, _ in network.named_parameters()]
        gradients = torch.autograd.grad((logits * message).sum(), [given, *network.parameters()])
        result["gradient/model_input"] = gradients[0]
        for name, gradient in zip(names, gradients[1:]):
            if name == "attnpool.k_proj.bias":  # 0: it adds the same to every score that a softmax compares
                continue
            if not full or name.startswith(("conv1", "layer4.2.conv3", "fc", "attnpool.q_proj", "bn1")):
                result[f"gradient/{name}"] = gradient.unsqueeze(0) if gradient.dim() == 4 else gradient
        if isinstance(network, BCOS):
            result.update(explanations(network, given, logits))
        return {key: value.detach() for key, value in result.items()}
    return evaluate


def explanations(network, given, logits):
    """Dynamic weights and contribution maps of the first image's largest and second largest logit."""
    result = {}
    with network.explanation_mode():
        outputs = network(given)
        for rank, target in enumerate(logits[0].argsort(descending=True)[:2].tolist()):
            weights, = torch.autograd.grad(outputs[:, target].sum(), given, retain_graph=True)
            result[f"explanation/weights{rank}"] = weights
            result[f"explanation/map{rank}"] = (weights * given).sum(1)
    return result


def make(name, case, out, full):
    model = case.build()
    if case.save:
        case.save(model, out / case.file)
    x = images(name, case.side)
    header = {"network": name, "architecture": case.architecture, "checkpoint": case.file or "", "side": case.side,
              "classes": case.classes}
    golden = GoldenFile(out / f"{name}.safetensors", {key: version(key) for key in PINNED}, **header)
    with torch.no_grad():
        order = model.double()(model_input(model, x.double())).argsort(descending=True)
    golden.header["targets"] = order[0, :2].tolist() if case.classes else []
    model.float()
    evaluate = quantities(model, x, full)
    for key, exact, rounded in evaluate_all(evaluate):
        kind = key.split("/")[0]
        role = {"logits": "logits", "scores": "logits", "node": "logits", "gradient": "attribution", "explanation": "attribution"}[kind]
        golden.add(key, exact, rounded, samples=GRADIENT_SAMPLES if kind == "gradient" else SAMPLES, kind=role,
                   group=kind, quantity=kind)
    if full and isinstance(model, BCOS):
        for key, value in model.state_dict().items():
            if key.endswith("running_var"):
                golden.add(f"statistics/{key}", value.double(), [value], kind="node", group="statistics", quantity="statistics")
    return golden.write()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--only", action="append", choices=sorted({**CASES, **FULL}))
    parser.add_argument("--full", action="store_true", help="the full sizes as well")
    parser.add_argument("--any-versions", action="store_true")
    arguments = parser.parse_args()
    others = [f"{key} {version(key)} (pinned {pinned})" for key, pinned in PINNED.items() if version(key) != pinned]
    if others and not arguments.any_versions:
        sys.exit("error: other versions than the golden files were made with: " + ", ".join(others))
    torch.set_num_threads(1)
    torch.manual_seed(1)
    for name, case in {**CASES, **FULL}.items():
        if arguments.only and name not in arguments.only or not arguments.only and name in FULL and not arguments.full:
            continue
        print(make(name, case, arguments.out, name in FULL), flush=True)


if __name__ == "__main__":
    main()

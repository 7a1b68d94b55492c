"""The families of vision transformers: each built small by its original library, with formula weights, and saved as a real file of
its source. A family gives its library model, the canonical names of that model's tensors, and what the file looks like."""
import argparse
import collections
import dataclasses
import re
import warnings

import numpy as np
import torch
from functools import partial
from safetensors.torch import save_file
from torch import nn

import dino_vit
import formula
from reference import Config

SIDE, PATCH, WIDTH, DEPTH, HEADS, CLASSES, EMBEDDING = 32, 8, 24, 2, 3, 5, 12
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def parameter(name, shape):
    """float32, from its canonical name: strong enough that attention is far from uniform."""
    u = formula.uniform(np.arange(int(np.prod(shape))), formula.fnv1a(name)).astype(np.float64)
    if name in ("cls_token", "pos_embed"):
        value = 0.5 * u
    elif len(shape) > 1:
        value = u * (3.0 if "qkv" in name else 1.7) / np.sqrt(float(np.prod(shape[1:])))
    elif name.endswith(".weight"):
        value = 1.0 + 0.5 * u
    else:
        value = 0.2 * u
    return torch.from_numpy(value.astype(np.float32).reshape(shape))


@dataclasses.dataclass
class Family:
    name: str
    architecture: str             # as the registry calls it
    config: Config
    build: object                 # () -> library model, eval mode
    rules: list                   # [(pattern, canonical)] of the library's names; None drops
    save: object                  # (model, folder) -> file name
    normalisation: tuple = IMAGENET
    logits: object = None         # (model, images) -> what the library returns
    other_sizes: tuple = ()       # [(height, width)] besides the native one
    model_prefix: str = ""
    extra: dict = dataclasses.field(default_factory=dict)  # canonical parameters that the file lacks

    def canonical(self, key):
        for pattern, to in self.rules:
            found = re.fullmatch(pattern, key)
            if found:
                return None if to is None else found.expand(to)
        return key

    def fill(self, model):
        """Formula weights, in place; returns {canonical name: the library's parameter}."""
        found = {}
        for key, value in model.state_dict(keep_vars=True).items():
            name = self.canonical(key.removeprefix(self.model_prefix))
            with torch.no_grad():
                if name is None:
                    if value.dtype.is_floating_point:
                        value.copy_(parameter(key, tuple(value.shape)))
                    continue
                value.copy_(parameter(name, tuple(value.shape)))
            found[name] = value
        return found


def save_zip(content, path):
    torch.save(content, path)
    return path.name


TORCHVISION = [(r"class_token", "cls_token"), (r"conv_proj\.(.*)", r"patch_embed.proj.\1"),
               (r"encoder\.pos_embedding", "pos_embed"), (r"encoder\.ln\.(.*)", r"norm.\1"),
               (r"heads\.head\.(.*)", r"head.\1")] + [
    (rf"encoder\.layers\.encoder_layer_(\d+)\.{a}", rf"blocks.\1.{b}") for a, b in (
        (r"ln_([12])\.(.*)", r"norm\2.\3"), (r"self_attention\.in_proj_(.*)", r"attn.qkv.\2"),
        (r"self_attention\.out_proj\.(.*)", r"attn.proj.\2"), (r"mlp\.0\.(.*)", r"mlp.fc1.\2"),
        (r"mlp\.3\.(.*)", r"mlp.fc2.\2"))]

CLIP_NAMES = [(r"visual\.class_embedding", "cls_token"), (r"visual\.positional_embedding", "pos_embed"),
              (r"visual\.conv1\.weight", "patch_embed.proj.weight"), (r"visual\.ln_pre\.(.*)", r"norm_pre.\1"),
              (r"visual\.ln_post\.(.*)", r"norm.\1"), (r"visual\.proj", "proj.weight")] + [
    (rf"visual\.transformer\.resblocks\.(\d+)\.{a}", rf"blocks.\1.{b}") for a, b in (
        (r"ln_([12])\.(.*)", r"norm\2.\3"), (r"attn\.in_proj_(.*)", r"attn.qkv.\2"),
        (r"attn\.out_proj\.(.*)", r"attn.proj.\2"), (r"mlp\.c_fc\.(.*)", r"mlp.fc1.\2"),
        (r"mlp\.c_proj\.(.*)", r"mlp.fc2.\2"))] + [(r".*", None)]

SIMPLE = [(r"to_patch_embedding\.linear\.(.*)", r"patch_embed.proj.\1"),
          (r"to_patch_embedding\.conv_stem\.(.*)", r"patch_embed.stem.\1"),
          (r"linear_head\.norm\.(.*)", r"norm.\1"), (r"linear_head\.linear\.(.*)", r"head.\1")] + [
    (rf"transformer\.encoder_(\d+)\.{a}", rf"blocks.\1.{b}") for a, b in (
        (r"attn\.norm\.(.*)", r"norm1.\2"), (r"attn\.to_qkv\.(.*)", r"attn.qkv.\2"),
        (r"attn\.to_out\.(.*)", r"attn.proj.\2"), (r"ff\.net\.norm\.(.*)", r"norm2.\2"),
        (r"ff\.net\.linear([12])\.(.*)", r"mlp.fc\2.\3"))]


def dino():
    def save(model, folder):
        """A full training checkpoint: the teacher beside student, head, optimiser and a foreign object."""
        teacher = collections.OrderedDict(("backbone." + key, value) for key, value in model.state_dict().items())
        for key, shape in (("mlp.0.weight", (16, WIDTH)), ("mlp.0.bias", (16,)), ("last_layer.weight_g", (8, 1)),
                           ("last_layer.weight_v", (8, 16))):
            teacher["head." + key] = parameter("head." + key, shape)
        student = collections.OrderedDict(("module." + key, value[:1].clone()) for key, value in
                                          list(teacher.items())[:3])
        content = {"student": student, "teacher": teacher, "optimizer": {"state": {}, "param_groups": [{"lr": 0.0}]},
                   "epoch": 100, "args": argparse.Namespace(arch="vit_small", patch_size=PATCH),
                   "dino_loss": {"center": torch.zeros(1, 8)}}
        return save_zip(content, folder / "dino_full.pth")

    return Family("dino", f"dino_vits8_w{WIDTH}_d{DEPTH}_h{HEADS}_r{SIDE}",
                  Config(PATCH, HEADS, 1e-6, positions="dino"),
                  lambda: dino_vit.VisionTransformer(SIDE, PATCH, WIDTH, DEPTH, HEADS), [], save,
                  other_sizes=((48, 40), (32, 48)),
                  extra={"head.weight": (CLASSES, WIDTH), "head.bias": (CLASSES,)})


def timm_vit():
    import timm

    def save(model, folder):
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "timm.safetensors")
        return "timm.safetensors"

    def build():
        return timm.models.VisionTransformer(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH,
                                             num_heads=HEADS, num_classes=CLASSES, dynamic_img_size=True)

    return Family("timm", f"vit_ti_8_w{WIDTH}_d{DEPTH}_h{HEADS}_r{SIDE}",
                  Config(PATCH, HEADS, 1e-6, positions="antialias"), build, [], save,
                  normalisation=HALF, other_sizes=((48, 40), (24, 24)))


def torchvision_vit():
    from torchvision.models import VisionTransformer

    def build():
        return VisionTransformer(image_size=SIDE, patch_size=PATCH, num_layers=DEPTH, num_heads=HEADS,
                                 hidden_dim=WIDTH, mlp_dim=4 * WIDTH, num_classes=CLASSES)

    return Family("torchvision", f"vit_ti_8_w{WIDTH}_d{DEPTH}_h{HEADS}_r{SIDE}", Config(PATCH, HEADS, 1e-6), build,
                  TORCHVISION, lambda model, folder: save_zip(model.state_dict(), folder / "torchvision.pth"))


def clip():
    from open_clip.model import CLIP as Model, CLIPTextCfg, CLIPVisionCfg

    def build():
        return Model(EMBEDDING, CLIPVisionCfg(layers=DEPTH, width=WIDTH, head_width=WIDTH // HEADS, patch_size=PATCH,
                                              image_size=SIDE),
                     CLIPTextCfg(context_length=4, vocab_size=10, width=8, heads=1, layers=1), quick_gelu=True)

    def save(model, folder):
        """A TorchScript archive of the whole network, in float16 but for norms and embeddings, as OpenAI's."""
        class Record(nn.Module):
            """A module of the same tree of tensors, without code: what a checkpoint reader sees of an archive."""

            def __init__(self, module):
                super().__init__()
                for key, value in module.named_parameters(recurse=False):
                    half = isinstance(module, (nn.Conv2d, nn.Linear, nn.MultiheadAttention)) or key.endswith("proj")
                    half = half or key in ("text_projection",)
                    self.register_parameter(key, nn.Parameter(value.detach().half() if half else value.detach()))
                for key, child in module.named_children():
                    self.add_module(key, Record(child))

            def forward(self, x):
                return x

        record = Record(model).eval()
        record.input_resolution = torch.tensor(SIDE)
        torch.jit.save(torch.jit.trace(record, torch.zeros(1)), folder / "clip.pt")
        return "clip.pt"

    return Family("clip", f"clip_vit_b_32_w{WIDTH}_d{DEPTH}_h{HEADS}_p{PATCH}_r{SIDE}_e{EMBEDDING}",
                  Config(PATCH, HEADS, 1e-5, "quick_gelu"), build, CLIP_NAMES, save, normalisation=CLIP,
                  logits=lambda model, x: model.encode_image(x, normalize=False),
                  extra={"head.weight": (CLASSES, EMBEDDING), "head.bias": (CLASSES,)})


def simple_vit(bcos, stem=None):
    warnings.simplefilter("ignore")
    from bcos.models.vit import SimpleViT
    from bcos.modules import BcosConv2d, BcosLinear, DetachableGNLayerNorm2d, DetachableLayerNorm, LogitLayer, norms
    from bcos.modules.common import BcosSequential

    constant = float(np.log(1 / (CLASSES - 1))) if bcos else 0.0

    def build():
        options = dict(image_size=SIDE // 8 if stem else SIDE, patch_size=1 if stem else PATCH, num_classes=CLASSES,
                       dim=WIDTH, depth=DEPTH, heads=HEADS, mlp_dim=4 * WIDTH, channels=6 if bcos else 3,
                       conv_stem=stem)
        if not bcos:
            return SimpleViT(linear_layer=nn.Linear, norm_layer=nn.LayerNorm, act_layer=nn.GELU,
                             norm2d_layer=DetachableGNLayerNorm2d, conv2d_layer=nn.Conv2d, **options)
        model = SimpleViT(linear_layer=partial(BcosLinear, b=2, max_out=1), norm_layer=norms.NoBias(DetachableLayerNorm),
                          act_layer=nn.Identity, norm2d_layer=norms.NoBias(DetachableGNLayerNorm2d),
                          conv2d_layer=partial(BcosConv2d, b=2, max_out=1), **options)
        return BcosSequential(model, LogitLayer(logit_bias=constant))

    name = ("bcos_" if bcos else "") + ("vitc" if stem else "simple_vit")
    architecture = f"{name}_ti_w{WIDTH}_d{DEPTH}_h{HEADS}" if stem else f"{name}_ti_w{WIDTH}_d{DEPTH}_h{HEADS}_p{PATCH}"
    config = Config(1 if stem else PATCH, HEADS, 1e-5, "none" if bcos else "gelu", class_token=False,
                    conv_patches=False, bcos=bcos, constant=constant, stem=len(stem or ()))
    return Family(name, architecture, config, build, SIMPLE,
                  lambda model, folder: save_zip(model.state_dict(), folder / f"{name}.pth"),
                  normalisation=None if bcos else IMAGENET, other_sizes=((48, 40),),
                  model_prefix="0." if bcos else "")


def all_families():
    return [dino(), timm_vit(), torchvision_vit(), clip(), simple_vit(False), simple_vit(True),
            simple_vit(False, [3, 6, 12, 24]), simple_vit(True, [3, 6, 12, 24])]

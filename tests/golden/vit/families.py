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



@dataclasses.dataclass(frozen=True)
class Size:
    """Small by default."""
    side: int = 32
    patch: int = 8
    width: int = 24
    depth: int = 2
    heads: int = 3
    classes: int = 5
    embedding: int = 12


SMALL = Size()
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
    size: Size = SMALL

    @property
    def full(self):
        """As large as it is published: weights by formula on both sides, no checkpoint, samples of everything."""
        return self.size is not SMALL

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


def dino(name="dino", architecture=None, size=SMALL, other_sizes=((48, 40), (32, 48))):
    def save(model, folder):
        """A full training checkpoint: the teacher beside student, head, optimiser and a foreign object."""
        teacher = collections.OrderedDict(("backbone." + key, value) for key, value in model.state_dict().items())
        for key, shape in (("mlp.0.weight", (16, size.width)), ("mlp.0.bias", (16,)), ("last_layer.weight_g", (8, 1)),
                           ("last_layer.weight_v", (8, 16))):
            teacher["head." + key] = parameter("head." + key, shape)
        student = collections.OrderedDict(("module." + key, value[:1].clone()) for key, value in
                                          list(teacher.items())[:3])
        content = {"student": student, "teacher": teacher, "optimizer": {"state": {}, "param_groups": [{"lr": 0.0}]},
                   "epoch": 100, "args": argparse.Namespace(arch="vit_small", patch_size=size.patch),
                   "dino_loss": {"center": torch.zeros(1, 8)}}
        return save_zip(content, folder / "dino_full.pth")

    own = f"dino_vits8_w{size.width}_d{size.depth}_h{size.heads}_r{size.side}"
    return Family(name, architecture or own, Config(size.patch, size.heads, 1e-6, positions="dino"),
                  lambda: dino_vit.VisionTransformer(size.side, size.patch, size.width, size.depth, size.heads), [], save,
                  other_sizes=other_sizes, size=size,
                  extra={"head.weight": (size.classes, size.width), "head.bias": (size.classes,)})


def timm_vit():
    import timm

    def save(model, folder):
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "timm.safetensors")
        return "timm.safetensors"

    def build():
        return timm.models.VisionTransformer(img_size=SMALL.side, patch_size=SMALL.patch, embed_dim=SMALL.width, depth=SMALL.depth,
                                             num_heads=SMALL.heads, num_classes=SMALL.classes, dynamic_img_size=True)

    return Family("timm", f"vit_ti_8_w{SMALL.width}_d{SMALL.depth}_h{SMALL.heads}_r{SMALL.side}",
                  Config(SMALL.patch, SMALL.heads, 1e-6, positions="antialias"), build, [], save,
                  normalisation=HALF, other_sizes=((48, 40), (24, 24)))


def torchvision_vit(name="torchvision", architecture=None, size=SMALL):
    from torchvision.models import VisionTransformer

    def build():
        return VisionTransformer(image_size=size.side, patch_size=size.patch, num_layers=size.depth, num_heads=size.heads,
                                 hidden_dim=size.width, mlp_dim=4 * size.width, num_classes=size.classes)

    own = f"vit_ti_8_w{size.width}_d{size.depth}_h{size.heads}_r{size.side}"
    return Family(name, architecture or own, Config(size.patch, size.heads, 1e-6), build, TORCHVISION,
                  lambda model, folder: save_zip(model.state_dict(), folder / "torchvision.pth"), size=size)


def clip(name="clip", architecture=None, size=SMALL):
    from open_clip.model import CLIP as Model, CLIPTextCfg, CLIPVisionCfg

    def build():
        return Model(size.embedding, CLIPVisionCfg(layers=size.depth, width=size.width,
                                                   head_width=size.width // size.heads, patch_size=size.patch,
                                                   image_size=size.side),
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
        record.input_resolution = torch.tensor(size.side)
        torch.jit.save(torch.jit.trace(record, torch.zeros(1)), folder / "clip.pt")
        return "clip.pt"

    own = f"clip_vit_b_32_w{size.width}_d{size.depth}_h{size.heads}_p{size.patch}_r{size.side}_e{size.embedding}"
    return Family(name, architecture or own, Config(size.patch, size.heads, 1e-5, "quick_gelu"), build, CLIP_NAMES, save,
                  normalisation=CLIP, logits=lambda model, x: model.encode_image(x, normalize=False), size=size,
                  extra={"head.weight": (size.classes, size.embedding), "head.bias": (size.classes,)})


def simple_vit(bcos, stem=None, name=None, architecture=None, size=SMALL, other_sizes=((48, 40),)):
    warnings.simplefilter("ignore")
    from bcos.models.vit import SimpleViT
    from bcos.modules import BcosConv2d, BcosLinear, DetachableGNLayerNorm2d, DetachableLayerNorm, LogitLayer, norms
    from bcos.modules.common import BcosSequential

    constant = float(np.log(1 / (size.classes - 1))) if bcos else 0.0

    def build():
        options = dict(image_size=size.side // 8 if stem else size.side, patch_size=1 if stem else size.patch, num_classes=size.classes,
                       dim=size.width, depth=size.depth, heads=size.heads, mlp_dim=4 * size.width, channels=6 if bcos else 3,
                       conv_stem=stem)
        if not bcos:
            return SimpleViT(linear_layer=nn.Linear, norm_layer=nn.LayerNorm, act_layer=nn.GELU,
                             norm2d_layer=DetachableGNLayerNorm2d, conv2d_layer=nn.Conv2d, **options)
        model = SimpleViT(linear_layer=partial(BcosLinear, b=2, max_out=1), norm_layer=norms.NoBias(DetachableLayerNorm),
                          act_layer=nn.Identity, norm2d_layer=norms.NoBias(DetachableGNLayerNorm2d),
                          conv2d_layer=partial(BcosConv2d, b=2, max_out=1), **options)
        return BcosSequential(model, LogitLayer(logit_bias=constant))

    kind = ("bcos_" if bcos else "") + ("vitc" if stem else "simple_vit")
    own = f"{kind}_ti_w{size.width}_d{size.depth}_h{size.heads}" + ("" if stem else f"_p{size.patch}")
    config = Config(1 if stem else size.patch, size.heads, 1e-5, "none" if bcos else "gelu", class_token=False,
                    conv_patches=False, bcos=bcos, constant=constant, stem=len(stem or ()))
    return Family(name or kind, architecture or own, config, build, SIMPLE,
                  lambda model, folder: save_zip(model.state_dict(), folder / f"{kind}.pth"),
                  normalisation=None if bcos else IMAGENET, other_sizes=other_sizes, size=size,
                  model_prefix="0." if bcos else "")


def all_families():
    return [dino(), timm_vit(), torchvision_vit(), clip(), simple_vit(False), simple_vit(True),
            simple_vit(False, [3, 6, 12, 24]), simple_vit(True, [3, 6, 12, 24])]


def full_families():
    """As large as they are published."""
    base = Size(224, 16, 768, 12, 12, 1000)
    return [torchvision_vit("vit_b_16_full", "vit_b_16", base),
            dino("dino_vits8_full", "dino_vits8", Size(224, 8, 384, 12, 6, 1000), other_sizes=((480, 320),)),
            clip("clip_vit_b_32_full", "clip_vit_b_32", Size(224, 32, 768, 12, 12, 1000, 512)),
            simple_vit(True, None, "bcos_simple_vit_b_full", "bcos_simple_vit_b", base, other_sizes=())]

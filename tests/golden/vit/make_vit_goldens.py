#!/usr/bin/env python3
"""Makes the golden files of vision transformers: for each family a small checkpoint in its source's container, and what its original
library computes with it in double precision (README.md). With --full also those as large as they are published, whose weights are
formulas on both sides."""
import argparse
import copy
import pathlib
import sys
from importlib.metadata import version

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # last: it has a bcos.py of its own

import families  # noqa: E402
import formula  # noqa: E402
from golden_file import GoldenFile, evaluate_all  # noqa: E402
from reference import Walk, token_maps  # noqa: E402

PINNED = {"torch": "2.15.0", "torchvision": "0.29.2", "timm": "1.0.31", "open_clip_torch": "3.3.0", "bcos": "0.1.3",
          "einops": "0.8.2", "safetensors": "0.8.0", "numpy": "2.4.6"}
EPSILON = 1e-6
WHOLE, SAMPLES, FULL_SAMPLES = 1024, 256, 128
# In files of their own:
MAPS = ("raw_attention", "rollout", "gradcam", "chefer_generic", "chefer_lrp", "cp_lrp", "attn_lrp", "bcos")


def versions(allow_others):
    found = {name: version(name) for name in PINNED}
    others = [f"{name} {found[name]} (pinned {pinned})" for name, pinned in PINNED.items()
              if not found[name].startswith(pinned)]
    if others and not allow_others:
        sys.exit(f"error: other versions than the golden files were made with: {', '.join(others)}; "
                 "--any-versions goes on all the same")
    return found


def images_of(family):
    return 1 if family.full else 2


def model_input(family, height, width, dtype):
    """What the network sees of the formula images, [batch, channels, height, width]."""
    pixels = torch.from_numpy(formula.image_tensor(f"vit/{height}x{width}", (images_of(family), height, width, 3))).to(dtype)
    if family.normalisation is None:
        return torch.cat((pixels, 1 - pixels), 3).permute(0, 3, 1, 2).contiguous()
    mean, deviation = (torch.tensor(values, dtype=dtype) for values in family.normalisation)
    return ((pixels - mean) / deviation).permute(0, 3, 1, 2).contiguous()


def parameters_of(found, family, dtype):
    """Canonical names to tensors; CLIP's projection as a linear layer's weight, [out, in]."""
    p = {name: value.detach().to(dtype) for name, value in found.items()}
    if "proj.weight" in p:
        p["proj.weight"] = p["proj.weight"].T.contiguous()
    for name, shape in family.extra.items():
        p[name] = families.parameter(name, shape).to(dtype)
    return {name: value.clone().requires_grad_() for name, value in p.items()}


def as_map(x):
    """[batch, height, width, channels] as golden_file wants maps."""
    return x.permute(0, 3, 1, 2)


def evaluate(family, p, height, width, dtype, place):
    """{entry: tensor} of one size of images; maps and gradients with respect to the model input."""
    native = (height, width) == (family.size.side, family.size.side)
    lean = family.full and not native  # only what fits into memory
    image = model_input(family, height, width, dtype).requires_grad_()
    walk = Walk(family.config, p, lean=lean)
    logits = walk.run(image)
    images = images_of(family)
    targets = {"first": torch.tensor([1, 3])[:images], "second": torch.tensor([4, 0])[:images]}
    if family.full:
        del targets["second"]
    results = {"logits": logits, "embedding": walk.values["embedding"], "patch_embed": as_map(walk.values["patch_embed"])}
    for i in range(walk.depth):
        results[f"blocks.{i}"] = walk.values[f"blocks.{i}"]
        if not lean:
            results[f"blocks.{i}.attn.softmax"] = walk.values[f"blocks.{i}.attn.softmax"].unsqueeze(0)
    if not lean:
        maps = token_maps(walk, targets)
        # Twelve blocks deep its quotients are noise: the reference itself is off by a tenth and more in float32.
        results.update({name: value for name, value in maps.items() if not (family.full and name.endswith("chefer_lrp"))})
    for role, target in targets.items():
        chosen = logits.gather(1, target[:, None]).sum()
        results[role + "/gradient"], = torch.autograd.grad(chosen, image, retain_graph=True)
        if not lean:
            results.update(explanations(family, p, image, role, target))
    names = [name for name in p if not name.startswith("head.") and is_kept(name, family)]
    if not lean:
        message = torch.from_numpy(formula.signed_tensor("vit/M", tuple(logits.shape))).to(dtype)
        for name, gradient in zip(names, torch.autograd.grad((logits * message).sum(), [p[name] for name in names])):
            results["parameter/" + name] = gradient.unsqueeze(0)
    return {name: value.detach() for name, value in results.items()}


def is_kept(name, family):
    """Of full sizes the gradients of the ends and of one block."""
    last = f"blocks.{family.size.depth - 1}."
    return not family.full or not name.startswith("blocks.") or name.startswith(last)


def explanations(family, p, image, role, target):
    """Input times gradient with things held fixed."""
    results = {}
    for name, frozen, halves in (("cp_lrp", ("attention", "statistics", "activations"), False),
                                 ("attn_lrp", ("statistics", "activations"), True)):
        if not family.config.bcos:
            other = Walk(family.config, p, frozen, halves, EPSILON)
            chosen = other.run(image).gather(1, target[:, None]).sum()
            results[f"{role}/{name}"] = image.detach() * torch.autograd.grad(chosen, image)[0]
    if family.config.bcos:
        other = Walk(family.config, p, ("attention", "statistics", "scales"))
        chosen = other.run(image).gather(1, target[:, None])
        weights, positions = torch.autograd.grad(chosen.sum(), (image, other.positions))
        results[role + "/bcos"] = image.detach() * weights
        share = (chosen - family.config.constant).sum() - results[role + "/bcos"].sum()
        assert abs(share - (positions * other.positions).sum()) < (1e-9 if image.dtype == torch.float64 else 1e-3)
    return results


def kind_of(name):
    last = name.split("/")[-1]
    if name.startswith(("blocks.", "patch_embed")):
        return "node"
    return "logits" if last in ("logits", "embedding") else "relevance"


def check_library(family, model, p):
    """The library's own results, against the functions that everything else is computed with."""
    model = copy.deepcopy(model).double()
    seen = []
    blocks = [module for module in model.modules() if type(module).__name__ in
              ("Block", "EncoderBlock", "ResidualAttentionBlock", "Encoder") and not hasattr(module, "pos_embedding")]
    for block in blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.append(output))
    side, depth = family.size.side, family.size.depth
    for height, width in ((side, side), *family.other_sizes):
        seen.clear()
        image = model_input(family, height, width, torch.float64)
        with torch.no_grad():
            result = (family.logits or (lambda model, x: model(x)))(model, image)
            walk = Walk(family.config, {name: value.detach() for name, value in p.items()}, lean=family.full)
            logits = walk.run(image)
        own = logits if result.shape == logits.shape else walk.values["embedding"]
        worst = (own - result).abs().max().item()
        worst = max([worst] + [(value - walk.values[f"blocks.{i}"]).abs().max().item() for i, value in
                               enumerate(seen[:depth])])
        assert len(seen) >= depth, f"{family.name}: {len(seen)} blocks seen"
        resampled = family.config.positions == "antialias" and height != side  # timm does that in float32
        assert worst < (1e-5 if resampled else 1e-10), f"{family.name} {height}x{width}: differs from the library by {worst}"
    if family.config.bcos:
        check_explanation(family, model, p)


def check_explanation(family, model, p):
    image = model_input(family, family.size.side, family.size.side, torch.float64).requires_grad_()
    for module in model.modules():
        if hasattr(module, "set_explanation_mode") and module is not model:
            module.set_explanation_mode(True)
    theirs, = torch.autograd.grad(model(image)[:, 2].sum(), image)
    walk = Walk(family.config, p, ("attention", "statistics", "scales"))
    ours, = torch.autograd.grad(walk.run(image)[:, 2].sum(), image)
    assert (theirs - ours).abs().max() < 1e-10, f"{family.name}: explanations differ"


def make(family, out, found_versions):
    torch.manual_seed(0)
    model = family.build().eval()
    found = family.fill(model)
    if family.name == "clip":  # float16 in the file: the values that survive are the network
        for name, value in found.items():
            if value.dim() > 1 and "pos_embed" not in name or "attn" in name or "mlp" in name:
                value.data = value.data.half().float()
    file_name = "" if family.full else family.save(model, out)
    if file_name:
        (out / file_name).chmod(0o644)
    check_library(family, model, parameters_of(found, family, torch.float64))
    reports = []
    side = family.size.side
    for height, width in ((side, side), *family.other_sizes):
        header = dict(network=family.name, architecture=family.architecture, checkpoint=file_name,
                      image=[height, width], images=[{"seed_name": f"vit/{height}x{width}"}], bcos=family.config.bcos,
                      constant=family.config.constant)
        stem = f"{family.name}_{height}x{width}"
        values = GoldenFile(out / f"{stem}.safetensors", found_versions, **header)
        maps = GoldenFile(out / f"{stem}_maps.safetensors", found_versions, **header)
        native = (height, width) == (side, side)
        samples = FULL_SAMPLES if family.full else SAMPLES

        def evaluated(dtype, place):
            return evaluate(family, parameters_of(found, family, dtype), height, width, dtype, place)
        for name, exact, rounded in evaluate_all(evaluated):
            if not native and (name.startswith("parameter/") and "pos_embed" not in name or name.startswith("second/")):
                continue
            group = "parameter gradients" if name.startswith("parameter/") else name.split("/")[-1]
            whole = samples if family.full and kind_of(name) != "logits" else WHOLE
            (maps if group in MAPS else values).add(
                name, exact, rounded, samples=samples if name.startswith("parameter/") else whole, kind=kind_of(name),
                group=group)
        reports += [file.write() for file in (values, maps) if file.entries]
    size = f"{file_name} {(out / file_name).stat().st_size / 1e3:.0f} kB; " if file_name else ""
    return size + "; ".join(reports)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE, help="folder to write to (default: this one)")
    parser.add_argument("--only", action="append", help="make this family only (may be repeated)")
    parser.add_argument("--full", action="store_true", help="the full sizes as well")
    parser.add_argument("--any-versions", action="store_true", help="go on with other versions than the pinned ones")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = versions(arguments.any_versions)
    wanted = arguments.only
    for family in families.all_families() + (families.full_families() if arguments.full or wanted else []):
        if not wanted or family.name in wanted:
            print(f"{family.name}: {make(family, arguments.out, found)}", flush=True)


if __name__ == "__main__":
    main()

"""End-to-end goldens: logits, gradient methods and LRP of whole networks on picked images."""
import hashlib
import json

import numpy as np
import torch
from PIL import Image

import attributions
import formula
import networks
from golden_file import GoldenFile, evaluate_all

PICKED = "picked_images.json"
FIXED_TARGET = 3
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_IMAGES, CIFAR_CANDIDATES = 4, 40  # images picked; candidates looked at in each class
SHORTLIST = 60
FORMULA_IMAGES, FORMULA_CANDIDATES = 2, 160  # at most; the margin that other orders of summation leave alone:
FORMULA_MARGIN = 1.3
TRACE_SAMPLES_FIRST, TRACE_SAMPLES = 1024, 256  # relevance per layer: first image's predicted class, all others


def cifar_candidates(shared):
    root = shared / "data/cifar10-jpeg"
    for label, category in enumerate(CIFAR_CLASSES):
        for path in sorted((root / "test" / category).glob("*.jpg"))[:CIFAR_CANDIDATES]:
            pixels = np.asarray(Image.open(path).convert("RGB"))[None]
            yield pixels, label, {"file": str(path.relative_to(root)),
                                  "rgb_sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}


def formula_candidates(name):
    for number in range(FORMULA_CANDIDATES):
        seed_name = f"{name}.image{number}"
        yield formula.image_tensor(seed_name, (1, 224, 224, 3)), {"seed_name": seed_name}


class Models:
    """The plain and the folded network in both precisions."""

    def __init__(self, name, shared):
        self.plain, self.folded = {}, {}
        for dtype in (torch.float64, torch.float32):
            self.plain[dtype] = networks.build(name, shared, dtype)
            self.folded[dtype] = networks.fold(networks.build(name, shared, dtype))

    def flips(self, image, scales=(1.0,)):
        """Float32 flips and margin of the image, its normalised form multiplied by each of `scales`."""
        x64, x32 = (torch.cat([networks.normalise(image, dtype) * scale for scale in scales])
                    for dtype in (torch.float64, torch.float32))
        results = [networks.float32_flips(models[torch.float64], models[torch.float32], x64, x32)
                   for models in (self.folded, self.plain)]
        return max(flips for flips, _ in results), min(margin for _, margin in results)


def path_scales():
    """The positions of all Integrated Gradients nodes between the baseline 0 and the image."""
    return np.concatenate([0.5 + 0.5 * np.polynomial.legendre.leggauss(nodes)[0] for nodes in (16, 50)])


def pick_cifar(models, shared):
    """Correctly classified images of different classes: no float32 flip on the image itself and a wide margin, and
    among the SHORTLIST widest the fewest flips on the paths of Integrated Gradients."""
    scored = []
    for image, label, source in cifar_candidates(shared):
        with torch.no_grad():
            predicted = int(models.folded[torch.float64](networks.normalise(image, torch.float64)).argmax())
        if predicted == label:
            flips, margin = models.flips(image)
            scored.append((image, {**source, "predicted": predicted, "float32_flips": flips, "margin": margin}))
    without = sum(source["float32_flips"] == 0 for _, source in scored)
    print(f"  {len(scored)} candidates, {without} without a flip", flush=True)
    scored.sort(key=lambda item: (item[1]["float32_flips"], -item[1]["margin"]))
    shortlist = scored[:SHORTLIST]
    for image, source in shortlist:
        source["path_flips"], source["path_margin"] = models.flips(image, path_scales())
    shortlist.sort(key=lambda item: (item[1]["float32_flips"], item[1]["path_flips"], -item[1]["path_margin"]))
    by_class = {}
    for image, source in shortlist:
        by_class.setdefault(source["predicted"], (image, source))
    return list(by_class.values())[:CIFAR_IMAGES]


def pick_formula(models, name):
    """The formula images on which float32 changes the fewest ReLU signs and max-pool winners, by a wide margin. At 1.25
    another order of summation still turned a ReLU of ResNet-50."""
    scored = []
    for image, source in formula_candidates(name):
        with torch.no_grad():
            predicted = int(models.folded[torch.float64](networks.normalise(image, torch.float64)).argmax())
        flips, margin = models.flips(image)
        scored.append((image, {**source, "predicted": predicted, "float32_flips": flips, "margin": margin}))
    print("  flips of the candidates:", *(source["float32_flips"] for _, source in scored), flush=True)
    scored.sort(key=lambda item: (item[1]["float32_flips"], -item[1]["margin"]))
    return [item for item in scored[:FORMULA_IMAGES] if item[1]["margin"] >= FORMULA_MARGIN]


def targets_of(predicted):
    return {"predicted": predicted, "fixed": FIXED_TARGET if predicted != FIXED_TARGET else FIXED_TARGET + 1}


def gradient_file(models, picked, file):
    for number, (image, source) in enumerate(picked):
        def logits(dtype, place):
            with torch.no_grad():
                return {"logits": place(models.plain[dtype])(place(networks.normalise(image, dtype)))}
        for key, exact, rounded in evaluate_all(logits):
            file.add(f"image{number}/{key}", exact, rounded, kind="logits", group="logits", image=number)
        for role, target in targets_of(source["predicted"]).items():
            def methods(dtype, place):
                x = place(networks.normalise(image, dtype))
                return attributions.gradient_methods(place(models.plain[dtype]), x, target)
            for method, exact, rounded in evaluate_all(methods):
                file.add(f"image{number}/{role}/{method}", exact, rounded, kind="attribution", method=method,
                         group=method.removesuffix("_16").removesuffix("_50"), image=number, target=target)
    return file.write()


def lrp_file(models, picked, composite, file):
    for number, (image, source) in enumerate(picked):
        for role, target in targets_of(source["predicted"]).items():
            def walk(dtype, place):
                return attributions.relevance(place(models.folded[dtype]), attributions.composites(dtype)[composite],
                                              place(networks.normalise(image, dtype)), target)
            for node, exact, rounded in evaluate_all(walk):
                name = f"image{number}/{role}/{node}"
                common = {"kind": "relevance", "composite": composite, "image": number, "target": target}
                if node == "input":
                    file.add(name, exact, rounded, node=node, group="input", **common)
                    exact, rounded = exact.sum(1), [value.sum(1) for value in rounded]
                    file.add(name + "_map", exact, rounded, node="input_map", group="input_map", **common)
                else:
                    first = number == 0 and role == "predicted"
                    file.add(name, exact, rounded, samples=TRACE_SAMPLES_FIRST if first else TRACE_SAMPLES,
                             node=node, group=node, **common)
    return file.write()


def pick(name, out, shared):
    """Chooses the network's images and notes them in PICKED."""
    models = Models(name, shared)
    picked = pick_cifar(models, shared) if networks.is_cifar(name) else pick_formula(models, name)
    path = out / PICKED
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = [source for _, source in picked]
    path.write_text(json.dumps(known, indent=1) + "\n")
    return "; ".join(str(source) for source in known[name])


def picked_images(name, out, shared):
    """[(image, what PICKED says of it)]."""
    path = out / PICKED
    sources = json.loads(path.read_text()).get(name) if path.exists() else None
    if not sources:
        raise SystemExit(f"error: {path} names no images for {name}; run --only {name}_pick first")
    pairs = []
    for source in sources:
        if "file" in source:
            image = np.asarray(Image.open(shared / "data/cifar10-jpeg" / source["file"]).convert("RGB"))[None]
            if hashlib.sha256(image.tobytes()).hexdigest() != source["rgb_sha256"]:
                raise SystemExit(f"error: the pixels of {source['file']} are not those that were picked")
        else:
            image = formula.image_tensor(source["seed_name"], (1, 224, 224, 3))
        pairs.append((image, source))
    return pairs


def make(name, out, shared, versions):
    models = Models(name, shared)
    picked = picked_images(name, out, shared)
    header = {"network": name, "images": [source for _, source in picked],
              "convolution": networks.last_convolution(models.plain[torch.float64])[0],
              "block": list(networks.blocks(models.plain[torch.float64]))[-1]}
    reports = [gradient_file(models, picked, GoldenFile(out / f"{name}_gradients.safetensors", versions, **header))]
    for composite in attributions.composites(torch.float64):
        file = GoldenFile(out / f"{name}_lrp_{composite}.safetensors", versions, composite=composite, **header)
        reports.append(lrp_file(models, picked, composite, file))
    return "; ".join(reports)

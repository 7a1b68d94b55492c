"""Node-by-node goldens: forward pass, vector-Jacobian product and LRP rules of each distinct layer geometry."""
import copy

import torch
from torch import nn
from zennit.composites import NameMapComposite
from zennit.layer import Sum
from zennit.rules import AlphaBeta, Epsilon, Flat, Gamma, Norm, WSquare, ZBox, ZPlus

import formula
import networks
from golden_file import GoldenFile, evaluate_all

DOUBLE, SINGLE = torch.float64, torch.float32
SUMMATION_ORDERS = 16
SIGNED_INPUTS = {  # geometries that are also shown an input of any sign
    "resnet20": ("layer1.0.conv1", "layer2.0.conv1", "linear"), "resnet56": ("layer3.0.conv1",),
    "resnet18": ("layer2.0.conv1", "layer2.0.downsample.0", "fc"), "resnet50": ("layer3.0.conv2", "layer4.0.conv1")}


def rules(kind, dtype):
    if kind in ("add", "avgpool"):
        return {"norm": Norm()}
    if kind not in ("conv2d", "linear", "stem"):
        return {}
    found = {"epsilon": Epsilon(1e-6), "gamma": Gamma(0.25), "zplus": ZPlus(), "alphabeta": AlphaBeta(2.0, 1.0),
             "wsquare": WSquare(), "flat": Flat()}
    if kind == "stem":
        low, high = networks.box(dtype)
        found["zbox"] = ZBox(low, high)
    return found


def kind_of(name, module):
    kinds = ((nn.Conv2d, "conv2d"), (nn.Linear, "linear"), (Sum, "add"), (nn.MaxPool2d, "maxpool"),
             (nn.AdaptiveAvgPool2d, "avgpool"), (networks.ShortcutA, "shortcut_a"), (nn.ReLU, "relu"))
    kind = next((kind for type_, kind in kinds if isinstance(module, type_)), None)
    return "stem" if name == "conv1" else kind


def distinct_nodes(model, side):
    """The first node of each geometry: [(name, module, kind, input shape)], in order of execution."""
    found, seen, handles = [], set(), []

    def see(module, inputs, name, kind):
        key = (kind, tuple(inputs[0].shape), str(module))
        if key not in seen and not (kind == "relu" and any(item[2] == "relu" for item in found)):
            seen.add(key)
            found.append((name, module, kind, tuple(inputs[0].shape)))

    for name, module in model.named_modules():
        kind = kind_of(name, module)
        if kind is not None:
            node = name.replace("canonizer_sum", "add")
            handles.append(module.register_forward_pre_hook(
                lambda module, inputs, name=node, kind=kind: see(module, inputs, name, kind)))
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side, dtype=DOUBLE))
    for handle in handles:
        handle.remove()
    return found


def from_nhwc(values):
    tensor = torch.from_numpy(values)
    return tensor.permute(0, 3, 1, 2).contiguous() if tensor.dim() == 4 else tensor


def nhwc_shape(shape):
    return [shape[0], *shape[2:], shape[1]] if len(shape) == 4 else list(shape)


def make_input(prefix, kind, sign, shape):
    """The node's input, float32; an add's two operands stacked along a last axis."""
    if kind == "add":
        operands = (formula.relu_tensor(prefix + "/x0", nhwc_shape(shape[:4])),
                    formula.signed_tensor(prefix + "/x1", nhwc_shape(shape[:4])))
        return torch.stack([from_nhwc(values) for values in operands], dim=-1)
    make = {"image": formula.normalised_image_tensor, "relu": formula.relu_tensor,
            "signed": formula.signed_tensor}[sign]
    return from_nhwc(make(prefix + "/x", nhwc_shape(shape)))


def evaluate(module, kind, x, message):
    """quantity -> tensor in the module's precision. R = message * y; `vjp` takes the message itself."""
    results = {}
    root = nn.Sequential(module)
    x = x.clone().requires_grad_()
    y = root(x)
    relevance = (message * y).detach()

    def add(quantity, gradient):
        if kind == "add":
            for operand in range(2):
                results[f"{quantity}{operand}"] = gradient[..., operand]
        else:
            results[quantity] = gradient

    results["forward"] = y.detach()
    add("vjp", torch.autograd.grad(y, x, message, retain_graph=True)[0])
    if kind == "relu":
        add("guided", torch.autograd.grad(y, x, message.clamp(min=0))[0])
    elif kind in ("maxpool", "shortcut_a"):
        add("relevance_vjp", torch.autograd.grad(y, x, relevance)[0])
    for rule, hook in rules(kind, x.dtype).items():
        with NameMapComposite([(("0",), hook)]).context(root):
            z = x.detach().clone().requires_grad_()
            add(rule, torch.autograd.grad(root(z), z, relevance)[0])
    return results


def geometry(module, kind, shape, y):
    found = {"input": nhwc_shape(shape[:4]), "output": nhwc_shape(tuple(y.shape))}
    if isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
        for key, value in (("kernel", module.kernel_size), ("stride", module.stride), ("padding", module.padding)):
            found[key] = list(value) if isinstance(value, tuple) else [value, value]
    return found


def in_other_orders(module, kind, x, message):
    """evaluate() in float32 with the input channels in other orders: equally good evaluations that round differently.

    The epsilon rule's error hangs on the few outputs nearest to 0, so that a few evaluations may all flatter."""
    if kind not in ("conv2d", "linear"):
        return
    for number in range(SUMMATION_ORDERS):
        order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(number))
        reordered = copy.deepcopy(module)
        reordered.weight = nn.Parameter(module.weight[:, order].detach())
        results = evaluate(reordered, kind, x[:, order], message)
        yield {quantity: value if quantity == "forward" else value[:, torch.argsort(order)]
               for quantity, value in results.items()}


def node_entries(file, name, signs, module64, kind, shape, samples):
    """All entries of one node, for each kind of input in `signs`."""
    modules = {DOUBLE: module64, SINGLE: copy.deepcopy(module64).float()}
    for sign in signs:
        prefix = f"{name}/{sign}"
        x = make_input(prefix, kind, sign, shape)
        with torch.no_grad():
            y = module64(x.double())
        message = from_nhwc(formula.signed_tensor(prefix + "/M", nhwc_shape(tuple(y.shape))))

        def quantities(dtype, place):
            place = place if kind in ("stem", "conv2d", "maxpool") else lambda value: value
            return evaluate(place(modules[dtype]), kind, place(x.to(dtype)), message.to(dtype))
        others = list(in_other_orders(modules[SINGLE], kind, x, message))
        for quantity, exact, rounded in evaluate_all(quantities):
            if quantity == "epsilon":
                rounded += [results[quantity] for results in others]
            file.add(f"{prefix}/{quantity}", exact, rounded, samples=samples, kind="node", group=quantity.rstrip("01"),
                     node=name, op=kind, input=sign, quantity=quantity, geometry=geometry(module64, kind, shape, y))


def make(name, out, shared, versions):
    cifar = networks.is_cifar(name)
    model = networks.fold(networks.build(name, shared))
    nodes = distinct_nodes(model, 32 if cifar else 224)
    parts = {}
    for node in nodes:
        stage = node[0].split(".")[0]
        part = "nodes" if name != "resnet50" else "nodes_" + (stage if stage.startswith("layer") else "ends")
        parts.setdefault(part, []).append(node)
    reports = []
    for part, members in parts.items():
        file = GoldenFile(out / f"{name}_{part}.safetensors", versions, network=name)
        for node, module, kind, shape in members:
            shape = (2, *shape[1:]) if cifar else shape
            signs = ["image"] if kind == "stem" else ["signed"] if kind == "relu" else ["relu"]
            if node in SIGNED_INPUTS[name]:
                signs.append("signed")
            node_entries(file, node, signs, module, kind, shape, 4096 if name == "resnet20" else 2048)
        reports.append(file.write())
    return "; ".join(reports)

"""Training goldens: optimisers and schedules alone on given gradients, and training steps of whole networks.

Every step starts from a state that a formula gives in both languages, so that nothing large is stored and no rounding
accumulates; ten steps run freely."""
import itertools
import json

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.optim import lr_scheduler

import formula
import networks
from golden_file import FLOAT32_RUNS, Float32Run

FREE_STEPS, SAMPLES, ORDERS = 10, 32, 6
STATES, DRAWS, DECIDED = 20, 8, 1e-4
LOSSES = ("ce", "bce", "uo_bce")
SIZES = {"resnet20": (16, 32), "resnet18": (6, 64)}  # batch, side
FREE_RATE = {"resnet20": 0.01, "resnet18": 0.01}
ELEMENTS, OPTIMISER_STEPS = 64, 100

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.01),
    "clipped": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "groups": lambda p: torch.optim.SGD([{"params": [p[0]], "lr": 1.0, "weight_decay": 0.02},
                                         {"params": [p[1]], "weight_decay": 0.0}], 0.1, momentum=0.9),
}
SCHEDULES = {  # 20 epochs of 5 steps
    "constant": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 1.0),
    "multi_step": lambda o: lr_scheduler.MultiStepLR(o, [12, 16], 0.1),
    "step": lambda o: lr_scheduler.StepLR(o, 6, 0.1),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
}


def write(path, tensors, header):
    save_file({key: np.ascontiguousarray(value, dtype=np.float32) for key, value in tensors.items()}, str(path),
              metadata={"golden": json.dumps(header, separators=(",", ":"))})
    path.chmod(0o644)
    return f"{path.name} {len(tensors)} tensors {path.stat().st_size / 1e6:.2f} MB"


def make_optimisers(out, versions):
    tensors = {}
    for name, make in OPTIMISERS.items():
        parameters = [nn.Parameter(torch.from_numpy(formula.signed_tensor(f"optimiser/{part}", (ELEMENTS,))).double())
                      for part in ("weight", "bias")]
        optimiser = make(parameters)
        for step in range(OPTIMISER_STEPS):
            for part, parameter in zip(("weight", "bias"), parameters):
                parameter.grad = torch.from_numpy(
                    formula.signed_tensor(f"optimiser/{part}/{step}", (ELEMENTS,))).double()
            if name == "clipped":
                nn.utils.clip_grad_norm_(parameters, 2.0)
            optimiser.step()
            if (step + 1) % 10 == 0:
                tensors[f"{name}/{step + 1}"] = torch.stack([p.detach() for p in parameters]).numpy()
    for name, make in SCHEDULES.items():
        for warmup in (0, 2):
            optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
            main, rates = make(optimiser), []
            for epoch in range(20):
                for step in range(5):
                    done = epoch * 5 + step
                    # mmengine's LinearLR per iteration, whose last step of the warm-up has the whole rate
                    factor = min(1.0, 0.01 + 0.99 * done / (warmup * 5 - 1)) if warmup else 1.0
                    rates.append(factor * optimiser.param_groups[0]["lr"])
                optimiser.step()
                if name != "cosine" or epoch + 1 > warmup:
                    main.step()
            if not (name == "cosine" and warmup):  # its length changes with the warm-up: schedule_test.cpp
                tensors[f"schedule/{name}/{warmup}"] = np.array(rates)
    return write(out / "optimisers.safetensors", tensors, {"format": 1, "versions": versions})


def state_of(base, step):
    """The parameters of a step: those of the network plus a formula, rounded once to float32."""
    state = {}
    for key, value in base.items():
        if key.endswith("num_batches_tracked"):
            state[key] = value
            continue
        values = value.float().numpy()
        u = formula.signed_tensor(f"step{step}/{key}", values.shape).astype(np.float64)
        scale = 0.02 * np.sqrt(np.mean(values.astype(np.float64) ** 2)) if values.ndim != 1 else 0.02
        if values.ndim == 1:
            moved = values * (1 + scale * u)
        else:
            moved = values + np.float64(np.float32(scale)) * u
        state[key] = torch.from_numpy(moved.astype(np.float32).reshape(values.shape))
    return state


def batch_of(name, step, classes):
    batch, side = SIZES[name]
    images = formula.image_tensor(f"step{step}/image", (batch, side, side, 3))
    labels = (formula.mix(np.arange(batch), formula.fnv1a(f"step{step}/labels")) % np.uint32(classes)).astype(np.int64)
    return images, labels


def targets_of(loss, labels, classes, dtype):
    targets = nn.functional.one_hot(torch.from_numpy(labels), classes).to(dtype)
    return targets.clamp(min=1.0 / classes) if loss == "uo_bce" else targets


def loss_of(loss, logits, labels, classes):
    targets = targets_of(loss, labels, classes, logits.dtype)
    if loss == "ce":
        return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    return nn.functional.binary_cross_entropy_with_logits(logits, targets)


def one_step(model, name, step, dtype, place, order=None):
    """Loss, every gradient and the new running statistics, by name."""
    model = place(model)
    model.train()
    model.zero_grad()
    classes = model.linear.out_features if hasattr(model, "linear") else model.fc.out_features
    images, labels = batch_of(name, step, classes)
    if order is not None:
        images, labels = images[order], labels[order]
    loss = loss_of(LOSSES[step % 3], model(place(networks.normalise(images, dtype))), labels, classes)
    loss.backward()
    found = {"loss": loss.detach().reshape(1)}
    found.update({key: value.grad.detach().clone() for key, value in model.named_parameters()})
    found.update({key: value.detach().clone() for key, value in model.named_buffers() if "running" in key})
    return {key: value.double().contiguous().numpy().reshape(-1) for key, value in found.items()}


def evaluations(name):
    """Float32 evaluations that round differently: FLOAT32_RUNS, and the batch in other orders, which changes the sums
    of the batch norms. Gradients hang on the few pre-activations nearest to 0, so that a few evaluations may flatter."""
    yield from ((run, None) for run in FLOAT32_RUNS)
    for number in range(ORDERS):
        yield FLOAT32_RUNS[0], np.random.RandomState(number).permutation(SIZES[name][0])


def is_decided(model, name, step, state, exact):
    """Whether float32 can know the gradients of a step at all: a pre-activation may lie so near to 0 that its sign is
    chance, and move gradients by 1e-3. Noise of twice each layer's own float32 error on the inputs of all ReLUs must not
    move any gradient by more than DECIDED; a step that fails is passed over for the next."""
    images, _ = batch_of(name, step, 2)
    inputs = {}
    for dtype in (torch.float64, torch.float32):
        model.to(dtype).load_state_dict(state)
        model.train()
        inputs[dtype] = [value for kind, value in networks.relu_inputs(model, networks.normalise(images, dtype)) if kind == "ReLU"]
    errors = [(rounded.double() - value).square().mean().sqrt() for value, rounded in zip(*inputs.values())]
    model.double()
    for draw in range(DRAWS):
        model.load_state_dict(state)
        torch.manual_seed(draw)
        left = iter(errors)
        handles = [module.register_forward_pre_hook(
            lambda _, values: (values[0] + 2 * next(left) * torch.randn(values[0].shape, dtype=torch.float64),))
                   for module in model.modules() if isinstance(module, nn.ReLU)]
        moved = one_step(model, name, step, torch.float64, lambda value: value)
        for handle in handles:
            handle.remove()
        if any(np.linalg.norm(moved[key] - values) > DECIDED * np.linalg.norm(values) for key, values in exact.items()):
            return False
    return True


def free_steps(model, name, dtype):
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), FREE_RATE[name], momentum=0.9, weight_decay=1e-4, nesterov=True)
    losses = []
    for step in range(FREE_STEPS):
        optimiser.zero_grad()
        classes = model.linear.out_features if hasattr(model, "linear") else model.fc.out_features
        images, labels = batch_of(name, step % 2, classes)
        loss = loss_of("ce", model(networks.normalise(images, dtype)), labels, classes)
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    return losses


def update_errors(errors, exact, rounded):
    for key, values in exact.items():
        errors[key] = max(errors[key], np.linalg.norm(rounded[key] - values) / np.linalg.norm(values))


def make(name, out, shared, versions):
    model = networks.build(name, shared)
    base = {key: value.clone() for key, value in model.state_dict().items()}
    names, states, rows = None, [], {"samples": [], "l2": [], "error": []}
    for step in itertools.count():
        if len(states) == STATES:
            break
        state = state_of(base, step)
        model.double().load_state_dict(state)
        exact = one_step(model, name, step, torch.float64, lambda value: value)
        if not is_decided(model, name, step, state, exact):
            continue
        states.append(step)
        names = names or list(exact)
        errors = {key: 0.0 for key in names}
        for run, order in evaluations(name):
            model.float().load_state_dict(state)
            with Float32Run(run) as context:
                rounded = one_step(model, name, step, torch.float32, context.place, order)
            model.to(memory_format=torch.contiguous_format)
            update_errors(errors, exact, rounded)
        stored = np.zeros((len(names), SAMPLES))
        for i, key in enumerate(names):
            count = min(SAMPLES, exact[key].size)
            stored[i, :count] = exact[key][formula.sample_index(count, exact[key].size, formula.fnv1a(key))]
        rows["samples"].append(stored)
        rows["l2"].append([np.linalg.norm(exact[key]) for key in names])
        rows["error"].append([errors[key] for key in names])
    tensors = {key: np.array(value) for key, value in rows.items()}
    model.double().load_state_dict(state_of(base, 0))
    tensors["free"] = np.array(free_steps(model, name, torch.float64))
    print(name, "states", states)
    print(name, "largest float32 error", {kind: f"{tensors['error'][:, [kind == ('running' if 'running' in n else 'loss' if n == 'loss' else 'gradient') for n in names]].max():.1e}" for kind in ("loss", "gradient", "running")})
    return write(out / f"{name}_training.safetensors", tensors,
                 {"format": 1, "network": name, "versions": versions, "names": names, "samples": SAMPLES, "states": states,
                  "batch": SIZES[name][0], "side": SIZES[name][1]})

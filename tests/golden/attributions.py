"""Attributions of one image and target with captum and zennit, in whatever precision the models have."""
import torch
from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from zennit.composites import EpsilonAlpha2Beta1, EpsilonGammaBox, EpsilonPlus, EpsilonPlusFlat
from zennit.core import Hook
from zennit.layer import Sum

import networks
from golden_file import in_precision


def gradient_methods(model, x, target):
    """method -> tensor; `model` with its batch norms, `x` the normalised input [1, 3, height, width]."""
    with in_precision(x.dtype):
        name, convolution = networks.last_convolution(model)
        block = list(networks.blocks(model).values())[-1]
        results = {
            "gradient": Saliency(model).attribute(x.clone(), target, abs=False),
            "input_x_gradient": InputXGradient(model).attribute(x.clone(), target),
            "guided_backpropagation": GuidedBackprop(model).attribute(x.clone(), target),
        }
        for nodes in (16, 50):
            results[f"integrated_gradients_{nodes}"] = IntegratedGradients(model).attribute(
                x.clone(), baselines=0, target=target, n_steps=nodes, method="gausslegendre", internal_batch_size=8)
        for where, layer in (("convolution", convolution), ("block", block)):
            cam = LayerGradCam(model, layer).attribute(x.clone(), target, relu_attributions=False)
            results[f"gradcam_{where}"] = cam
            results[f"gradcam_{where}_upsampled"] = LayerAttribution.interpolate(cam, tuple(x.shape[2:]), "bilinear")
    return {method: value.detach() for method, value in results.items()}


def composites(dtype):
    """name -> composite on a folded network. `_copy`: relevance is copied into both branches of a residual add."""
    low, high = networks.box(dtype)
    return {
        "epsilon_gamma_box": EpsilonGammaBox(low=low, high=high),
        "epsilon_gamma_box_copy": EpsilonGammaBox(low=low, high=high, layer_map=[(Sum, Hook())]),
        "epsilon_plus": EpsilonPlus(),
        "epsilon_alpha2_beta1": EpsilonAlpha2Beta1(),
        "epsilon_plus_flat": EpsilonPlusFlat(),
    }


def traced_modules(model):
    """node -> module whose output's relevance is recorded: the stem's ReLU, its max pool, every residual block."""
    traced = {"relu": model.relu}
    if hasattr(model, "maxpool"):
        traced["maxpool"] = model.maxpool
    return {**traced, **networks.blocks(model)}


def relevance(model, composite, x, target):
    """node -> relevance, from R = logit at the target; `input` is the unsummed map. `model` must be folded."""
    outputs, handles = {}, []
    x = x.clone().requires_grad_()
    with composite.context(model):
        for name, module in traced_modules(model).items():
            def keep(_, inputs, output, name=name):
                output.retain_grad()
                outputs[name] = output
            handles.append(module.register_forward_hook(keep))
        logits = model(x)
        seed = torch.zeros_like(logits)
        seed[0, target] = logits[0, target].detach()
        logits.backward(seed)
    for handle in handles:
        handle.remove()
    return {"input": x.grad.detach(), **{name: output.grad.detach() for name, output in outputs.items()}}

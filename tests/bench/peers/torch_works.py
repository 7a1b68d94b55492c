"""Works in PyTorch, zennit and captum, as their documentation says to write them."""
import copy

import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam
from zennit.attribution import Gradient
from zennit.composites import EpsilonGammaBox
from zennit.torchvision import ResNetCanonizer

from . import network
from .torch_training import TrainingWorks

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


class TorchWorks:
    """{(work, variant): function without arguments that gives the result}. Functions are made when they are first
    asked for. A function's `times` says how many of its calls make the work (targets, one by one)."""

    def __init__(self, options):
        torch.set_num_threads(options.threads)
        torch.set_num_interop_threads(1)
        self.options = options
        self.model = network.load(options.network, options.weights)
        self.models, self.inputs = {}, {}
        self.makers = {}
        self.training = None
        for layout in LAYOUTS:
            self.declare(layout)
        if options.network in network.SPECIAL:
            return
        for layout in LAYOUTS:
            self.declare_attributions(layout)
        self.training = TrainingWorks(options)
        self.makers.update(self.training.makers)

    def declare(self, layout):
        for batch in (1, 8, 16):
            self.makers[f"forward-{batch}", f"eager {layout}"] = (self.forward, batch, layout)
            self.makers[f"forward-{batch}", f"frozen {layout}"] = (self.frozen, batch, layout)
            if self.options.compile:
                self.makers[f"forward-{batch}", f"compiled {layout}"] = (self.compiled, batch, layout)
        if network.is_bcos(self.options.network):
            self.makers["contribution-1", f"eager {layout}"] = (self.contribution, 1, layout)
            return
        for batch in (1, 8):
            self.makers[f"gradient-{batch}", f"eager {layout}"] = (self.gradient, batch, layout)

    def declare_attributions(self, layout):
        self.makers["ixg-1", f"captum {layout}"] = (self.captum_ixg, False, layout)
        self.makers["lrp-1", f"zennit {layout}"] = (self.zennit, False, layout)
        self.makers["grid-lrp", f"zennit {layout}"] = (self.zennit, True, layout)
        self.makers["grid-gradcam", f"captum {layout}"] = (self.gradcam, True, layout)
        self.makers["gradcam-1", f"captum {layout}"] = (self.gradcam, False, layout)
        self.makers["grid-ixg", f"eager, nine calls {layout}"] = (self.captum_ixg, True, layout)
        self.makers["grid-ixg", f"eager, retained graph {layout}"] = (self.retained, None, layout)
        for at_once in (10, 25):
            self.makers["intgrad-50", f"captum, {at_once} at once {layout}"] = (self.intgrad, at_once, layout)

    def make(self, work, variant):
        if self.training and (work, variant) in self.training.makers:
            function = self.training.make(work, variant)
            function.times = 1
            return function
        maker, argument, layout = self.makers[work, variant]
        function, times = maker(argument, layout)
        function.times = times
        return function

    def versions(self):
        from importlib.metadata import version
        names = ["torch", "torchvision", "zennit", "captum"]
        if self.options.network in network.SPECIAL:
            names = ["torch", "timm", "open_clip_torch", "bcos"]
        return {name: version(name) for name in names}

    # --- what the works share

    def laid_out(self, layout):
        if layout not in self.models:
            self.models[layout] = copy.deepcopy(self.model).to(memory_format=LAYOUTS[layout])
        return self.models[layout]

    def input(self, batch, grid, layout):
        key = batch, grid, layout
        if key not in self.inputs:
            size = self.options.grid if grid else self.options.size
            self.inputs[key] = network.image(self.options.network, batch, size).contiguous(memory_format=LAYOUTS[layout])
        return self.inputs[key]

    # --- the works

    def forward(self, batch, layout):
        model, x = self.laid_out(layout), self.input(batch, False, layout)

        def run():
            with torch.inference_mode():
                return model(x)
        return run, 1

    def frozen(self, batch, layout):
        x = self.input(batch, False, layout)
        with torch.no_grad():
            traced = torch.jit.freeze(torch.jit.trace(self.laid_out(layout), x))
            model = torch.jit.optimize_for_inference(traced)

        def run():
            with torch.inference_mode():
                return model(x)
        return run, 1

    def compiled(self, batch, layout):
        import torch._inductor.config as config
        config.freezing = True
        model, x = torch.compile(copy.deepcopy(self.laid_out(layout)), dynamic=False), self.input(batch, False, layout)

        def run():
            with torch.no_grad():
                return model(x)
        return run, 1

    def gradient(self, batch, layout):
        model, x = self.laid_out(layout), self.input(batch, False, layout).requires_grad_()

        def run():
            return torch.autograd.grad(model(x)[:, 0].sum(), x)[0].sum(1)
        return run, 1

    def contribution(self, batch, layout):
        """The package's explanation mode: scales are constants, and the gradient is the dynamic weight."""
        model, x = self.laid_out(layout), self.input(batch, False, layout).requires_grad_()

        def run():
            with model.explanation_mode():
                weights = torch.autograd.grad(model(x)[:, 0].sum(), x)[0]
            return (x * weights).sum(1).detach()
        return run, 1

    def captum_ixg(self, grid, layout):
        method, x = InputXGradient(self.laid_out(layout)), self.input(1, grid, layout)

        def run():
            return method.attribute(x, target=0).detach().sum(1)
        return run, 9 if grid else 1

    def retained(self, _, layout):
        model, x = self.laid_out(layout), self.input(1, True, layout).requires_grad_()

        def run():
            logits = model(x)
            return torch.cat([(x * torch.autograd.grad(logits[0, target], x, retain_graph=target < 8)[0]).sum(1)
                              for target in range(9)]).detach()
        return run, 1

    def zennit(self, grid, layout):
        low, high = network.box(torch)
        key = "zennit " + layout
        if key not in self.models:  # the hooks stay in the model, which is a copy
            self.models[key] = copy.deepcopy(self.model).to(memory_format=LAYOUTS[layout])
            composite = EpsilonGammaBox(low=low, high=high, canonizers=[ResNetCanonizer()])
            composite.register(self.models[key])
        attributor, x = Gradient(self.models[key]), self.input(1, grid, layout)

        def relevance(logits):
            return logits.detach() * torch.eye(logits.shape[1])[[0]]

        def run():
            return attributor(x, relevance)[1].detach().sum(1)
        return run, 9 if grid else 1

    def gradcam(self, grid, layout):
        model, x = self.laid_out(layout), self.input(1, grid, layout)
        method = LayerGradCam(model, model.layer4)

        def run():
            cam = method.attribute(x, target=0)
            return LayerAttribution.interpolate(cam, tuple(x.shape[2:]), "bilinear").detach()[:, 0]
        return run, 9 if grid else 1

    def intgrad(self, at_once, layout):
        method, x = IntegratedGradients(self.laid_out(layout)), self.input(1, False, layout)

        def run():
            return method.attribute(x, baselines=0, target=0, n_steps=50, method="gausslegendre",
                                    internal_batch_size=at_once).detach().sum(1)
        return run, 1

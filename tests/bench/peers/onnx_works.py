"""Forward passes in ONNX Runtime and OpenVINO, both from one ONNX file."""
import numpy as np

from . import network


def export(name, weights, path):
    """Writes the network as ONNX: torchvision's ResNets node by node, others as PyTorch's own exporter does it."""
    if name in network.SPECIAL:
        return export_by_torch(name, weights, path)
    return export_resnet(name, weights, path)


def export_by_torch(name, weights, path):
    import torch
    model, x = network.load(name, weights), network.image(name, 1, 224)
    with torch.no_grad():
        torch.onnx.export(model, (x,), path, dynamo=True, external_data=False, input_names=["image"],
                          dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},), verbose=False)


def export_resnet(name, weights, path):
    """Writes a torchvision ResNet as ONNX, node by node; batch norms stay single nodes, which both libraries fold."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    model = network.load(name, weights)
    nodes, constants = [], []

    def constant(key, tensor):
        constants.append(numpy_helper.from_array(tensor.detach().numpy(), key))
        return key

    def add(kind, inputs, **attributes):
        output = f"v{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(x, key, module, norm_key, norm):
        x = add("Conv", [x, constant(f"{key}.weight", module.weight)], strides=list(module.stride),
                pads=2 * list(module.padding), kernel_shape=list(module.kernel_size), group=module.groups)
        values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        return add("BatchNormalization",
                   [x, *(constant(f"{norm_key}.{i}", value) for i, value in enumerate(values))], epsilon=norm.eps)

    x = add("Relu", [convolution("image", "conv1", model.conv1, "bn1", model.bn1)])
    x = add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for index, block in enumerate(getattr(model, stage)):
            key, y = f"{stage}.{index}", x
            for number in (number for number in (1, 2, 3) if hasattr(block, f"conv{number}")):
                if number > 1:
                    y = add("Relu", [y])
                y = convolution(y, f"{key}.conv{number}", getattr(block, f"conv{number}"), f"{key}.bn{number}",
                                getattr(block, f"bn{number}"))
            if block.downsample is not None:
                x = convolution(x, f"{key}.down", block.downsample[0], f"{key}.downnorm", block.downsample[1])
            x = add("Relu", [add("Add", [y, x])])
    x = add("Flatten", [add("GlobalAveragePool", [x])])
    x = add("Gemm", [x, constant("fc.weight", model.fc.weight), constant("fc.bias", model.fc.bias)], transB=1)
    graph = helper.make_graph(
        nodes, "resnet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", model.fc.out_features])], constants)
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(file)
    onnx.save(file, path)


class OnnxWorks:
    def __init__(self, options):
        self.options = options
        self.makers = {(f"forward-{batch}", self.variant): batch for batch in (1, 8, 16)}

    def input(self, batch):
        return np.ascontiguousarray(network.image(self.options.network, batch, self.options.size).numpy())


class RuntimeWorks(OnnxWorks):
    variant = "ONNX Runtime"

    def make(self, work, variant):
        import onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.options.threads
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(self.options.onnx, settings, providers=["CPUExecutionProvider"])
        x = self.input(self.makers[work, variant])

        def run():
            return session.run(None, {"image": x})[0]
        run.times = 1
        return run

    def versions(self):
        import onnxruntime
        return {"onnxruntime": onnxruntime.__version__}


class OpenVinoWorks(OnnxWorks):
    variant = "OpenVINO"

    def make(self, work, variant):
        import openvino
        x = self.input(self.makers[work, variant])
        core = openvino.Core()
        model = core.read_model(self.options.onnx)
        model.reshape(list(x.shape))
        # Without the hint it computes in bfloat16 where the processor can.
        compiled = core.compile_model(model, "CPU", {
            "INFERENCE_NUM_THREADS": self.options.threads, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32"})
        request = compiled.create_infer_request()
        tensor = openvino.Tensor(x, shared_memory=True)

        def run():
            request.infer({0: tensor})
            return request.get_output_tensor(0).data
        run.times = 1
        return run

    def versions(self):
        import openvino
        return {"openvino": openvino.__version__.split("-")[0]}

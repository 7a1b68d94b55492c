"""What is compared with what: the works, who else can do them, and how much faster hp must be."""

# work: [(peer, prefix of its variants, what it is called, the least ratio that is asked for)]
PEERS = {
    **{f"forward-{batch}": [("openvino", "OpenVINO", "OpenVINO", 1.0),
                            ("onnxruntime", "ONNX Runtime", "ONNX Runtime", 1.0),
                            ("torch", "frozen", "PyTorch frozen", 1.0),
                            ("torch", "compiled", "PyTorch compiled", 1.0),
                            ("torch", "eager", "PyTorch eager", 1.25)] for batch in (1, 8, 16)},
    **{f"gradient-{batch}": [("torch", "eager", "PyTorch eager", 1.3)] for batch in (1, 8)},
    "contribution-1": [("torch", "eager", "PyTorch eager (bcos package)", 2.0)],
    "ixg-1": [("torch", "captum", "captum", None)],
    "gradcam-1": [("torch", "captum", "captum", None)],
    "lrp-1": [("torch", "zennit", "zennit", 8)],
    "intgrad-50": [("torch", "captum", "captum", 1.2)],
    "grid-lrp": [("torch", "zennit", "zennit, target by target", 14)],
    "grid-gradcam": [("torch", "captum", "captum, target by target", 8)],
    "grid-ixg": [("torch", "eager, nine calls", "captum, nine calls", 1.7),
                 ("torch", "eager, retained graph", "PyTorch, one forward, retained graph", 1.15)],
    "train": [("torch", "eager", "PyTorch eager", 1.1)],
    "train-cifar": [("torch", "eager", "PyTorch eager", 1.5)],
    "probe-1000": [("torch", "eager", "PyTorch eager", 1.5)],
    "probe-20": [("torch", "eager", "PyTorch eager", None)],
    "eight-probes": [("torch", "eager", "PyTorch eager", None)],
}
# What is asked for networks that are no ResNets of torchvision, instead of the above: {network: {(work, peer): ratio}}.
ASKED = {
    **{network: {("forward-1", "openvino"): 0.95, ("forward-1", "onnxruntime"): 0.95, ("forward-1", "torch"): 0.95,
                 ("forward-1", "eager"): 1.8, ("gradient-1", "eager"): 1.8} for network in ("vit_b_16", "dino_vits8")},
    "clip_rn50": {},
    "bcos_resnet50": {("forward-1", "eager"): 2.0, ("forward-1", "torch"): 2.0, ("contribution-1", "eager"): 2.0},
}
TRAINING = ["train", "train-cifar", "probe-1000", "probe-20", "eight-probes"]
# Works of hp that others are stated in, or that only hp has.
ALONE = ["grid-forward", "probes-lrp", "probes-gradcam"]

# Results that must agree before anything is timed, as |a - b| / |b| over all values: only the same work is compared.
# Convolutions in float32 change the sign of some pre-activation near 0, which moves single pixels of a map. Of training
# it is the losses of the first three steps; of probes that of the last epoch, from other initial weights and in another
# order.
AGREE = {"forward-1": 1e-4, "gradient-1": 2e-2, "contribution-1": 1e-3, "ixg-1": 2e-2, "gradcam-1": 1e-3, "lrp-1": 2e-2, "intgrad-50": 2e-2,
         "train": 2e-2, "train-cifar": 1e-4, "probe-1000": 2e-2}

FEWEST, MOST, SECONDS_A_WORK = 5, 15, 45  # rounds of a work, and what decides between the two


def rounds_wanted(seconds_a_round):
    """Short works are repeated more often than long ones."""
    return max(FEWEST, min(MOST, int(SECONDS_A_WORK / max(seconds_a_round, 1e-3))))


def calls_of(seconds):
    """(timed calls, untimed ones before them) of one turn: short works fill a quarter of a second."""
    if seconds > 1:
        return 1, 0
    return max(1, min(8, int(0.25 / max(seconds, 1e-4)))), 1


def peer_of(work, library, variant):
    """(name, asked ratio) of a variant, or None if the work has no such peer."""
    for of, prefix, name, asked in PEERS.get(work, []):
        if of == library and variant.startswith(prefix):
            return name, asked
    return None


def asked(network, work, library, variant, usual):
    """The least ratio asked for of a peer; `usual` is that of torchvision's ResNets."""
    if network not in ASKED:
        return usual
    own = ASKED[network]
    return own.get((work, variant.split()[0]), own.get((work, library)))

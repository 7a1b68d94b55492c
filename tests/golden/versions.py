"""The versions that the golden files were made with."""
import platform
import sys

PINNED = {"python": "3.11", "numpy": "1.24.2", "pillow": "9.4.0", "libjpeg_turbo": "2.1.5", "torch": "1.13.0",
          "torchvision": "0.14.1", "zennit": "0.5.1", "captum": "0.6.0", "safetensors": "0.8.0"}


def found():
    """Versions of this interpreter's packages."""
    from importlib.metadata import version

    import PIL.features
    import torch
    import torchvision
    return {"python": platform.python_version(), "numpy": version("numpy"), "pillow": version("pillow"),
            "libjpeg_turbo": str(PIL.features.version_feature("libjpeg_turbo")), "torch": torch.__version__,
            "torchvision": torchvision.__version__, "zennit": version("zennit"), "captum": version("captum"),
            "safetensors": version("safetensors")}


def check(allow_others):
    """The versions found. Others than the pinned ones end the program, or warn if they are allowed."""
    versions = found()
    others = [f"{name} {versions[name]} (pinned {pinned})" for name, pinned in PINNED.items()
              if not versions[name].startswith(pinned)]
    if others:
        message = "other versions than the golden files were made with: " + ", ".join(others)
        if not allow_others:
            sys.exit(f"error: {message}; --any-versions goes on all the same")
        print(f"WARNING: {message}", file=sys.stderr)
    return versions

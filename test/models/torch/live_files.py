#!/usr/bin/env python3
"""Writes checkpoints in every way that people save them, with weights of torch's own generator, and the logits of each.

usage: live_files.py FOLDER      prints JSON: [{"file", "clips", "frames", "size", "seed", "logits"}, ...]
"""

import json
import sys

import torch
from safetensors.torch import save_file

import networks

SMALL = {"clips": 2, "frames": 5, "size": 20, "seed": 11}


def randomised(network):
    """Weights as torch initialises them, and batch norms that do something."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


def main(folder):
    torch.manual_seed(5)
    network = randomised(networks.RnbNetwork([2, 1, 1, 2], 9, (8, 12, 20, 24)))
    wide = randomised(networks.torchvision_network([2, 2, 2, 2], 400))
    state = network.state_dict()
    cast = lambda dtype: {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    written = []

    def wrote(file, model, clips=SMALL):
        with torch.no_grad():
            written.append({"file": file, **clips, "logits": model(networks.clips(clips)).tolist()})

    def rounded(dtype):
        other = networks.RnbNetwork([2, 1, 1, 2], 9, (8, 12, 20, 24)).eval()
        other.load_state_dict({k: v.to(torch.float32) if v.is_floating_point() else v for k, v in cast(dtype).items()})
        return other

    def save(file, content, model=network, **options):
        torch.save(content, f"{folder}/{file}", **options)
        wrote(file, model)

    old = {"_use_new_zipfile_serialization": False}
    save("zip.pth", state)
    save("legacy.pth", state, **old)
    save("protocol-5.pt", state, pickle_protocol=5)
    save("wrapped.pth.tar", {"epoch": 7, "best": 0.5, "state_dict": state})
    save("data-parallel.pth", torch.nn.DataParallel(network).state_dict())
    save("compiled.pth", {"model": {f"_orig_mod.{k}": v for k, v in state.items()}})
    save("parameters.pth", {**dict(network.named_parameters()), **dict(network.named_buffers())})
    save("parameters-legacy.pth", {**dict(network.named_parameters()), **dict(network.named_buffers())}, **old)
    save("strided.pth", {k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in state.items()})
    for name, dtype in (("half", torch.float16), ("bfloat16", torch.bfloat16), ("double", torch.float64)):
        model = rounded(dtype)
        save(f"{name}.pth", cast(dtype), model)
        save(f"{name}-legacy.pth", {"state_dict": cast(dtype)}, model, **old)
        save_file(cast(dtype), f"{folder}/{name}.safetensors")
        wrote(f"{name}.safetensors", model)
    torch.save(wide.state_dict(), f"{folder}/torchvision.pth")
    wrote("torchvision.pth", wide, {"clips": 1, "frames": 6, "size": 40, "seed": 12})
    print(json.dumps(written))


main(*sys.argv[1:])

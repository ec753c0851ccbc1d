#!/usr/bin/env python3
"""Writes what the tests compare with: logits and features by torch, and small files of torch.save.

usage: write_fixtures.py FOLDER      (needs torch and torchvision; the tests' folder `fixtures`)
"""

import json
import os
import sys
import zipfile

import torch
import torchvision

import networks

USUAL = [64, 128, 256, 512]
CASES = [
    # name, layout, blocks, widths, classes, clips, frames, size, seed
    ("torchvision-18", "torchvision", [2, 2, 2, 2], USUAL, 400, 1, 8, 112, 1),
    ("torchvision-34", "torchvision", [3, 4, 6, 3], USUAL, 400, 1, 8, 112, 2),
    ("torchvision-18-small-clips", "torchvision", [2, 2, 2, 2], USUAL, 27, 3, 5, 50, 3),
    ("r2plus1d-pytorch-18", "r2plus1d-pytorch", [2, 2, 2, 2], USUAL, 400, 1, 8, 112, 4),
    ("r2plus1d-pytorch-34", "r2plus1d-pytorch", [3, 4, 6, 3], USUAL, 101, 1, 8, 112, 5),
    ("r2plus1d-pytorch-narrow", "r2plus1d-pytorch", [1, 2, 1, 1], [8, 12, 20, 28], 7, 2, 9, 33, 6),
]
KEYS = ("name", "layout", "blocks", "widths", "classes", "clips", "frames", "size", "seed")
SAMPLES = 24


def sampled(values):
    """Every so many of the values, and how many there are."""
    flat = values.flatten()
    step = max(1, flat.numel() // SAMPLES)
    return {"shape": list(values.shape), "step": step, "values": [float(v) for v in flat[::step]]}


def compute(case):
    network, x = networks.make(case), networks.clips(case)
    with torch.no_grad():
        logits = network(x)
        features = []
        for layer in networks.layers(network)[:4]:
            x = layer(x)
            features.append(sampled(x))
    return {**case, "features": features, "logits": [[float(v) for v in row] for row in logits]}


TINY = dict(zip(KEYS, ("tiny", "r2plus1d-pytorch", [1, 1, 1, 1], [2, 2, 2, 3], 3, 1, 4, 16, 35)))


def views():
    """Tensors that share a storage, have strides and gaps, or other types, and what else a checkpoint may hold."""
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 8
    tensors = {
        "whole": base,
        "transposed": base.permute(2, 0, 1),
        "row": base[1, 2],
        "column": base[:, 1, 3],
        "every second": base.flatten()[1::2],
        "expanded": base[0, 0, :1].expand(3),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(base[0].t()),
        "double": (base[0] + 1 / 3).double(),
        "half": base[0].half(),
        "bfloat16": base[0].bfloat16(),
        "long": torch.tensor([-1, 2**40]),
        "int": torch.tensor([-7, 9], dtype=torch.int32),
        "byte": torch.tensor([0, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
    }
    others = {
        "size": base.shape,
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "numbers": [1, -300, 70000, 2**70, 0.5, None, True],
        "bytes": b"\x00\xff",
        "set": {1, 2},
    }
    return tensors, {**tensors, **others}


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile-pickle-ran",)


def write_files(folder):
    """A tiny network as torch.save writes it, in both formats, and a file that would run a command if unpickled."""
    network = networks.make(TINY)
    state = network.state_dict()
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, f"{folder}/tiny-zip.pth.tar")
    torch.save(state, f"{folder}/tiny-legacy.pth", _use_new_zipfile_serialization=False)
    tensors, everything = views()
    torch.save(everything, f"{folder}/views-zip.pth")
    torch.save(everything, f"{folder}/views-protocol-4.pth", pickle_protocol=4)
    torch.save(everything, f"{folder}/views-legacy.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(f"{folder}/views-zip.pth") as stored:
        with zipfile.ZipFile(f"{folder}/views-deflated.pth", "w", zipfile.ZIP_DEFLATED) as deflated:
            for entry in stored.namelist():
                deflated.writestr(entry, stored.read(entry))
    expected = {
        name: {"dtype": str(value.dtype)[6:], "shape": list(value.shape), "values": value.double().flatten().tolist()}
        for name, value in tensors.items()
    }
    with open(f"{folder}/views.fixture.json", "w") as file:
        json.dump(expected, file)
        file.write("\n")
    torch.save({"state_dict": {"fc.bias": torch.zeros(3)}, "args": Hostile()}, f"{folder}/hostile-zip.pth")
    torch.save({"args": Hostile()}, f"{folder}/hostile-legacy.pth", _use_new_zipfile_serialization=False)


def main(folder):
    torch.set_num_threads(2)
    cases = [compute(dict(zip(KEYS, case))) for case in [*CASES, tuple(TINY.values())]]
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
    with open(f"{folder}/logits.fixture.json", "w") as file:
        json.dump({"versions": versions, "cases": cases}, file)
        file.write("\n")
    write_files(folder)


main(*sys.argv[1:])

#!/usr/bin/env python3
"""Checks an ONNX file with the onnx checker, and runs it in onnx's reference implementation.

usage: check_onnx.py MODEL CLIPS CHANNELS FRAMES SIZE SEED
prints JSON: {"inputs": [[name, shape]], "outputs": [[name, shape]], "values": [...]} for clips made from the seed
"""

import json
import sys

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

import hash_random


def described(value):
    return [value.name, [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]]


def main(path, *numbers):
    clips, channels, frames, size, seed = map(int, numbers)
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    shape = (clips, channels, frames, size, size)
    values = hash_random.uniform(int(np.prod(shape)), hash_random.stream_key("input", seed), -2, 2)
    (output,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: values.reshape(shape)})
    facts = {
        "inputs": [described(v) for v in model.graph.input],
        "outputs": [described(v) for v in model.graph.output],
        "shape": list(output.shape),
        "values": output.flatten().tolist(),
    }
    print(json.dumps(facts))


main(*sys.argv[1:])

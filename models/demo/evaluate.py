"""Measures the demo network on the held-out files, at every clip position, and writes what a test may hold rnb to.

    python3 evaluate.py [--weights demo.safetensors] [--videos videos] [--write expected.json]

FFmpeg decodes, numpy applies the `rnb` formula in float64, torch runs the network in float32. Also shown: how the
labels turn when red and blue, or the chroma planes, are swapped, frames reversed or pictures mirrored.

The formula, for 8-bit limited-range YUV 4:2:0 with chroma sited left (co-sited across, halfway between two rows down):
output pixel (i, j) lies at ((i + 0.5) w / 112 - 0.5, (j + 0.5) h / 112 - 0.5) in luma samples, clamped into the
picture; Y, Cb and Cr are each interpolated bilinearly there, edges repeated; then the stream's matrix, clamping to
0..1, and (value - mean) / std.
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from colour import BT601, BT709
from draw import CLIP_FRAMES, CLIP_SIZE, LABELS, MEAN, MIRRORED, OPPOSITE, STD
from network import load_checkpoint

HERE = Path(__file__).parent


def probe(path):
    entries = "stream=width,height,color_space,color_range,color_primaries,color_transfer,chroma_location,pix_fmt"
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"][0]


def decode(path, width, height):
    """FFmpeg's frames: luma [n, h, w], Cb and Cr [n, h/2, w/2]."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-vsync",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "yuv420p",
        "-",
    ]
    raw = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    frames = raw.reshape(-1, width * height * 3 // 2)
    luma, cb, cr = np.split(frames, [width * height, width * height * 5 // 4], axis=1)
    half = (-1, height // 2, width // 2)
    return luma.reshape(-1, height, width), cb.reshape(half), cr.reshape(half)


def interpolate(plane, axis, where):
    """Linear interpolation of `plane` along `axis` at the positions `where`, edges repeated."""
    last = plane.shape[axis] - 1
    where = np.clip(where, 0, last)
    low = np.floor(where).astype(int)
    weight = (where - low).reshape([-1 if i == axis else 1 for i in range(plane.ndim)])
    return np.take(plane, low, axis) * (1 - weight) + np.take(plane, np.minimum(low + 1, last), axis) * weight


def rnb_formula(planes, weights):
    """Decoded planes -> RGB 0..1 [n, 3, 112, 112], float64, before mean and std."""
    luma, cb, cr = (p.astype(np.float64) for p in planes)
    height, width = luma.shape[1:]
    x = np.clip((np.arange(CLIP_SIZE) + 0.5) * width / CLIP_SIZE - 0.5, 0, width - 1)
    y = np.clip((np.arange(CLIP_SIZE) + 0.5) * height / CLIP_SIZE - 0.5, 0, height - 1)
    luma = (interpolate(interpolate(luma, 1, y), 2, x) - 16) / 219
    cb, cr = ((interpolate(interpolate(c, 1, (y - 0.5) / 2), 2, x / 2) - 128) / 224 for c in (cb, cr))
    kr, kb = weights
    r, b = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    return np.clip(np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], 1), 0, 1)


def normalise(rgb):
    return (rgb - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1))


@torch.no_grad()
def logits_at(network, frames, firsts, backwards=False):
    """Logits [positions, 8] of the clips of 8 frames that begin at `firsts`; `frames` normalised, [n, 3, 112, 112]."""
    order = range(CLIP_FRAMES)[:: -1 if backwards else 1]
    frames = torch.from_numpy(np.ascontiguousarray(frames, dtype=np.float32))
    clips = torch.stack([frames[[first + i for i in order]].transpose(0, 1) for first in firsts])
    return torch.cat([network(part) for part in clips.split(16)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=HERE / "demo.safetensors")
    parser.add_argument("--videos", type=Path, default=HERE / "videos")
    parser.add_argument("--write", type=Path, help="write the expected scores to this JSON file")
    args = parser.parse_args()
    network = load_checkpoint(load_file(args.weights))

    same = list(range(len(LABELS)))
    expectations = {
        "as decoded": same,
        "red and blue swapped": OPPOSITE,
        "chroma planes swapped": OPPOSITE,
        "frames reversed": OPPOSITE,
        "mirrored": MIRRORED,
    }
    sums = {name: np.zeros(2, int) for name in expectations}
    moved = np.zeros(2, int)  # mirrored, the classes that a mirror changes
    positions, every, expected = 0, np.zeros(0), []
    print("| file | frames | size | colour | right | lowest score of the label |\n|---|---|---|---|---|---|")
    for label, name in enumerate(LABELS):
        for path in sorted((args.videos / name).glob("*.mp4")):
            info = probe(path)
            weights = {"bt709": BT709, "smpte170m": BT601}[info["color_space"]]
            if info["pix_fmt"] != "yuv420p" or info["color_range"] != "tv" or info["chroma_location"] != "left":
                raise SystemExit(f"{path}: unexpected format {info}")
            planes = decode(path, info["width"], info["height"])
            rgb = rnb_formula(planes, weights)
            swapped = rnb_formula((planes[0], planes[2], planes[1]), weights)
            firsts = range(len(rgb) - CLIP_FRAMES + 1)
            logits = {
                "as decoded": logits_at(network, normalise(rgb), firsts),
                "red and blue swapped": logits_at(network, normalise(rgb[:, ::-1]), firsts),
                "chroma planes swapped": logits_at(network, normalise(swapped), firsts),
                "frames reversed": logits_at(network, normalise(rgb), firsts, backwards=True),
                "mirrored": logits_at(network, normalise(rgb[..., ::-1]), firsts),
            }
            for variant, table in expectations.items():
                guess = logits[variant].argmax(1)
                sums[variant] += [int((guess == label).sum()), int((guess == table[label]).sum())]
                if variant == "mirrored" and MIRRORED[label] != label:
                    moved += [int((guess == label).sum()), len(firsts)]
            positions += len(firsts)
            scores = logits["as decoded"].double().softmax(1)
            guess = scores.argmax(1) == label
            every = np.append(every, guess.double().mean())
            size = f"{info['width']}x{info['height']}"
            right, lowest = f"{int(guess.sum())}/{len(firsts)}", float(scores[:, label].min())
            name_in_set = path.relative_to(args.videos).as_posix()
            print(
                f"| {name_in_set} | {len(rgb)} | {size} | {info['color_space']} | {right} | {lowest:.3f} |",
                flush=True,
            )
            clips = [
                {
                    "first": first,
                    "logits": [round(float(v), 5) for v in logits["as decoded"][first]],
                    "softmax": [round(float(v), 6) for v in scores[first]],
                }
                for first in (0, len(firsts) // 2, len(firsts) - 1)
            ]
            entry = {"file": name_in_set, "label": label, "frames": len(rgb)}
            entry |= {"width": info["width"], "height": info["height"], "matrix": info["color_space"], "clips": clips}
            expected.append(entry)

    most, all_of = int((every > 0.5).sum()), int((every == 1).sum())
    print(
        f"\n{positions} clip positions in {len(every)} files; {most} files right at most positions, {all_of} at all\n"
    )
    print("| input | labelled as the file is | labelled as the change should make it |\n|---|---|---|")
    for variant, (kept, turned) in sums.items():
        print(f"| {variant} | {kept / positions:.1%} | {turned / positions:.1%} |")
    print(f"\nMirrored, of the four classes that a mirror changes: {moved[0] / moved[1]:.1%} keep their label")
    if args.write:
        document = {"classes": LABELS, "clipFrames": CLIP_FRAMES, "size": CLIP_SIZE, "files": expected}
        args.write.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()

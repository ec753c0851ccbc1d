"""Trains the demo's network on clips that it draws as it goes; see README.md for the command that was used.

    python3 train.py --device cuda --steps 194 --seed 1 --out OUT

writes OUT/demo.safetensors (float16) and OUT/training.json (loss and accuracy over time, and per class at the end on
drawn clips that training never saw).
"""

import argparse
import json
import math
import platform
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from colour import BT601, gaussian_blur, quantise_blocks, to_rgb, to_yuv420
from draw import (
    CLIP_FRAMES,
    CLIP_SIZE,
    LABELS,
    MEAN,
    MIRRORED,
    OPPOSITE,
    STD,
    draw_backgrounds,
    draw_frames,
    sample_scenes,
    shape_atlas,
)
from network import Network, checkpoint, load_checkpoint

# Source sizes (height, width), multiples of 16 so that the simulated codec's blocks fit.
SIZES = [
    (240, 320),
    (256, 256),
    (240, 352),
    (320, 240),
    (192, 256),
    (256, 192),
    (176, 320),
    (144, 176),
    (128, 128),
    (224, 288),
]
SMALL_SIZES = [(128, 128), (128, 176), (144, 112)]  # for a quick try on a CPU


def normalise(clips):
    """[n, t, 3, h, w] in 0..1 -> the network's input [n, 3, t, 112, 112]: the `rnb` formula."""
    n, t = clips.shape[:2]
    small = F.interpolate(
        clips.flatten(0, 1), (CLIP_SIZE, CLIP_SIZE), mode="bilinear", align_corners=False, antialias=False
    )
    mean, std = (torch.tensor(v, device=clips.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((small - mean) / std).view(n, t, 3, CLIP_SIZE, CLIP_SIZE).transpose(1, 2)


def degrade(frames, g):
    """What cameras and H.264 do to frames [n, t, 3, h, w]: exposure, blur, grain, 4:2:0, coarse blocks, rounding."""
    n, t, _, height, width = frames.shape
    device = frames.device

    def each(low, high):  # a value a clip, repeated for its frames
        return (torch.rand(n, generator=g, device=device) * (high - low) + low).repeat_interleave(t)

    x = frames.flatten(0, 1)
    x = (x * each(0.8, 1.1).view(-1, 1, 1, 1) + each(-0.05, 0.05).view(-1, 1, 1, 1)).clamp(0, 1)
    if torch.rand((), generator=g, device=device) < 0.5:
        sigma = float(torch.rand((), generator=g, device=device)) * 1.2 + 0.4
        x = torch.lerp(x, gaussian_blur(x, sigma), each(0, 1).view(-1, 1, 1, 1))
    luma, chroma = to_yuv420(x, BT601)
    if torch.rand((), generator=g, device=device) < 0.5:
        strength = each(-6, 6).clamp(min=0).view(-1, 1, 1, 1)
        luma = luma + strength * torch.randn(luma.shape, generator=g, device=device)
        chroma = chroma + strength / 3 * torch.randn(chroma.shape, generator=g, device=device)
    if torch.rand((), generator=g, device=device) < 0.6:
        step = each(-20, 40).clamp(min=1)
        luma, chroma = quantise_blocks(luma, step), quantise_blocks(chroma, step)
    luma, chroma = luma.round().clamp(0, 255), chroma.round().clamp(0, 255)
    return to_rgb(luma, chroma, BT601).view(n, t, 3, height, width)


@torch.no_grad()
def draw_batch(n, size, g, atlas):
    """n clips from anywhere in as many videos, as a decoder would give them: [n, t, 3, h, w], and labels [n]."""
    scenes = sample_scenes(n, g)
    backgrounds = draw_backgrounds(n, *size, g, atlas)
    first = (torch.rand(n, generator=g, device=g.device) * (scenes.frames - CLIP_FRAMES + 1)).floor()
    times = first.unsqueeze(1) + torch.arange(CLIP_FRAMES, device=g.device)
    return degrade(draw_frames(scenes, backgrounds, times, atlas), g), scenes.label


class Trainer:
    def __init__(self, device, seed, batch, rate, sizes):
        torch.manual_seed(seed)
        self.device, self.batch, self.rate, self.sizes = device, batch, rate, sizes
        self.atlas = shape_atlas(device)
        self.g = torch.Generator(device).manual_seed(seed)
        self.order = torch.Generator().manual_seed(seed)
        self.network = Network().to(device)
        decayed = [p for p in self.network.parameters() if p.dim() > 1]
        plain = [p for p in self.network.parameters() if p.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))

    def step(self, progress):
        """One step; `progress` 0..1 sets the rate: up over the first twentieth, then down along a cosine."""
        rate = self.rate * min(1, progress / 0.05 + 1e-3) * (0.5 + 0.5 * math.cos(math.pi * progress))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        size = self.sizes[int(torch.randint(len(self.sizes), (), generator=self.order))]
        clips, labels = draw_batch(self.batch, size, self.g, self.atlas)
        self.network.train()
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.device != "cpu"):
            logits = self.network(normalise(clips))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.05)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return loss.detach(), (logits.argmax(1) == labels).float().mean().detach()


@torch.no_grad()
def validate(network, device, seed, count, sizes):
    """Accuracy on `count` drawn clips, per class, and how swapped, reversed and mirrored ones are labelled."""
    g = torch.Generator(device).manual_seed(seed)
    atlas = shape_atlas(device)
    opposite, mirrored = (torch.tensor(v, device=device) for v in (OPPOSITE, MIRRORED))
    right = {}
    per_class = torch.zeros(len(LABELS), 2, device=device)
    done = 0
    while done < count:
        clips, labels = draw_batch(64, sizes[(done // 64) % len(sizes)], g, atlas)
        variants = {
            "as drawn": (clips, labels),
            "red and blue swapped": (clips.flip(2), opposite[labels]),
            "frames reversed": (clips.flip(1), opposite[labels]),
            "mirrored": (clips.flip(4), mirrored[labels]),
        }
        for name, (variant, expected) in variants.items():
            guess = network(normalise(variant)).argmax(1)
            sums = right.setdefault(name, torch.zeros(2, device=device))
            sums += torch.stack([(guess == labels).sum(), (guess == expected).sum()])
            if name == "as drawn":
                for index in range(len(LABELS)):
                    of_class = labels == index
                    per_class[index] += torch.stack([(guess[of_class] == index).sum(), of_class.sum()])
        done += 64
    table = {
        name: {"original_label": float(s[0]) / done, "expected_label": float(s[1]) / done}
        for name, s in right.items()
    }
    classes = {name: float(r / s) if s else None for name, (r, s) in zip(LABELS, per_class)}
    return {"clips": done, "variants": table, "per_class": classes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=194)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="small pictures only: a quick try on a CPU")
    parser.add_argument("--validate", type=int, default=4096, help="drawn clips to measure accuracy on")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sizes = SMALL_SIZES if args.small else SIZES
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True

    trainer = Trainer(args.device, args.seed, args.batch, args.rate, sizes)
    history, losses, accuracies = [], [], []
    begin = time.monotonic()
    every = max(1, args.steps // 60)
    for step in range(args.steps):
        loss, accuracy = trainer.step(step / args.steps)
        losses.append(loss)
        accuracies.append(accuracy)
        if (step + 1) % every == 0 or step + 1 == args.steps:
            entry = {
                "step": step + 1,
                "loss": float(torch.stack(losses).mean()),
                "accuracy": float(torch.stack(accuracies).mean()),
            }
            history.append(entry)
            losses, accuracies = [], []
            so_far = f"{time.monotonic() - begin:7.1f} s  step {step + 1:6d}"
            print(f"{so_far}  loss {entry['loss']:.4f}  accuracy {entry['accuracy']:.4f}", flush=True)
    seconds = time.monotonic() - begin

    tensors = checkpoint(trainer.network)
    save_file(tensors, str(args.out / "demo.safetensors"), metadata={"format": "pt"})
    drawn = validate(
        load_checkpoint(tensors).to(args.device), args.device, args.seed + 1_000_000, args.validate, sizes
    )
    report = {
        "arguments": {k: v for k, v in vars(args).items() if k != "out"},
        "parameters": sum(v.numel() for v in trainer.network.parameters()),
        "seconds": round(seconds, 1),
        "hardware": (
            torch.cuda.get_device_name() if args.device != "cpu" else platform.processor() or platform.machine()
        ),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "drawn_clips": drawn,
        "history": history,
    }
    (args.out / "training.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(drawn, indent=1))


if __name__ == "__main__":
    main()

"""Makes the held-out files: videos/<label>/NAME.mp4, two a class, drawn as in training and coded by FFmpeg's libx264.

    python3 videos.py [--out videos]

Needs torch and an ffmpeg with libx264. Every file has its own seed, which training never used, and its own size, rate,
length and coding: with and without B-frames, closed and open groups of pictures, one keyframe or many.
"""

import argparse
import subprocess
from pathlib import Path
from typing import NamedTuple

import torch

from colour import BT601, BT709, to_yuv420
from draw import LABELS, draw_backgrounds, draw_frames, sample_scenes, shape_atlas


class Setting(NamedTuple):
    width: int
    height: int
    rate: int
    frames: int
    crf: int
    profile: str
    matrix: str  # FFmpeg's name
    x264: str


# File i is of class i // 2, with seed FIRST_SEED + i.
FIRST_SEED = 7000
SETTINGS = [
    Setting(320, 240, 25, 50, 23, "high", "smpte170m", "keyint=25:bframes=3"),
    Setting(240, 320, 30, 60, 25, "main", "smpte170m", "keyint=60:bframes=2"),
    Setting(256, 256, 30, 48, 23, "high", "smpte170m", "keyint=24:bframes=3:open-gop=1"),
    Setting(360, 240, 25, 56, 26, "high", "smpte170m", "keyint=250:bframes=4:b-pyramid=normal"),
    Setting(320, 240, 30, 64, 24, "baseline", "smpte170m", "keyint=32:bframes=0"),
    Setting(320, 180, 25, 50, 23, "high", "bt709", "keyint=25:bframes=3"),
    Setting(360, 240, 30, 60, 27, "high", "smpte170m", "keyint=20:bframes=3:open-gop=1"),
    Setting(192, 256, 25, 44, 22, "main", "smpte170m", "keyint=12:bframes=1"),
    Setting(256, 256, 25, 50, 24, "high", "bt709", "keyint=250:bframes=3"),
    Setting(352, 288, 25, 60, 26, "high", "smpte170m", "keyint=30:bframes=5:b-adapt=0"),
    Setting(320, 240, 25, 48, 25, "high", "smpte170m", "keyint=16:bframes=2:open-gop=1"),
    Setting(288, 216, 30, 64, 23, "main", "smpte170m", "keyint=64:bframes=3"),
    Setting(426, 240, 30, 60, 26, "high", "bt709", "keyint=30:bframes=3:b-pyramid=strict"),
    Setting(256, 256, 25, 50, 24, "high", "smpte170m", "keyint=25:bframes=3"),
    Setting(320, 240, 30, 52, 23, "baseline", "smpte170m", "keyint=250:bframes=0"),
    Setting(240, 180, 25, 50, 22, "high", "bt709", "keyint=25:bframes=3:open-gop=1"),
]


def path_of(index):
    label = LABELS[index // 2]
    return Path(label) / f"{label.split()[-1]}-{index % 2 + 1}.mp4"


def draw_video(index):
    """The file's frames as FFmpeg's rawvideo in yuv420p."""
    s = SETTINGS[index]
    g = torch.Generator().manual_seed(FIRST_SEED + index)
    atlas = shape_atlas("cpu")
    scenes = sample_scenes(1, g, s.frames, index // 2)
    background = draw_backgrounds(1, s.height, s.width, g, atlas)
    frames = draw_frames(scenes, background, torch.arange(s.frames).unsqueeze(0), atlas)[0]
    luma, chroma = to_yuv420(frames, BT709 if s.matrix == "bt709" else BT601)
    planes = [p.round().clamp(0, 255).to(torch.uint8).flatten(1) for p in (luma, chroma[:, 0], chroma[:, 1])]
    return torch.cat(planes, 1).numpy().tobytes()


def encode(raw, path, s):
    coded = f"-c:v libx264 -preset veryslow -threads 1 -crf {s.crf} -profile:v {s.profile}".split()
    coded += ["-x264-params", f"min-keyint=2:scenecut=0:{s.x264}"]
    colour = f"-colorspace {s.matrix} -color_primaries {s.matrix} -color_trc {s.matrix} -color_range tv".split()
    source = f"-f rawvideo -pix_fmt yuv420p -s {s.width}x{s.height} -r {s.rate}".split() + colour
    target = [*colour, "-chroma_sample_location", "left", "-fflags", "+bitexact", "-movflags", "+faststart"]
    command = ["ffmpeg", "-v", "error", "-y", *source, "-i", "-", *coded, *target, str(path)]
    subprocess.run(command, input=raw, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "videos")
    args = parser.parse_args()
    for index, setting in enumerate(SETTINGS):
        path = args.out / path_of(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(draw_video(index), path, setting)
        print(f"{path.stat().st_size:7d}  {path}", flush=True)


if __name__ == "__main__":
    main()

"""Draws the demo's clips with batched tensor operations: two shapes before a background, on any device.

Every clip holds two shapes. The warm one (red well above blue) does what the label says, the cool one (blue well
above red) does the opposite. So the label is only right for a network that sees the channels in RGB order, the
frames in time order, and the image unmirrored:

- red and blue swapped: the decoy becomes the warm shape, the label turns into its opposite;
- frames reversed: likewise;
- mirrored: left and right change places, and so do clockwise and counter-clockwise.

Motion is steady and goes one way from a video's first frame to its last: any 8 consecutive frames show the label.

Units: positions are fractions of the frame's width and height, radii fractions of its shorter side, times are
frames, angles radians (y points down, so a growing angle turns clockwise).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

LABELS = [
    "moves left",
    "moves right",
    "moves up",
    "moves down",
    "grows",
    "shrinks",
    "turns clockwise",
    "turns counter-clockwise",
]
OPPOSITE = [1, 0, 3, 2, 5, 4, 7, 6]  # what swapped colours or reversed frames make of a label
MIRRORED = [1, 0, 2, 3, 4, 5, 7, 6]  # what a left-right mirror makes of it

SIGN = [-1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0]  # of the warm shape's velocity, growth or turn

CLIP_FRAMES = 8
CLIP_SIZE = 112
MEAN = (0.43216, 0.394666, 0.37645)
STD = (0.22803, 0.22145, 0.216989)


# --- shapes ---------------------------------------------------------------------------------------------------------


def _arc(centre, radius, start, stop, points):
    """Points of a circle's arc, degrees, clockwise on the screen."""
    for i in range(points):
        a = math.radians(start + (stop - start) * i / (points - 1))
        yield (centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a))


def _star(points, inner):
    for i in range(2 * points):
        a = math.pi * i / points - math.pi / 2
        r = 1.0 if i % 2 == 0 else inner
        yield (r * math.cos(a), r * math.sin(a))


# Polygons around (0, 0) of radius about 1. Those that may turn come first: none of them looks the same after less
# than a full turn, so that 8 frames cannot be read the other way round.
_POLYGONS = [
    [(0, -1.05), (0.6, 0.75), (-0.6, 0.75)],  # narrow triangle
    [(0, -1), (0.7, -0.1), (0.28, -0.1), (0.28, 0.95), (-0.28, 0.95), (-0.28, -0.1), (-0.7, -0.1)],  # arrow
    [(-0.65, -0.95), (-0.1, -0.95), (-0.1, 0.4), (0.75, 0.4), (0.75, 0.95), (-0.65, 0.95)],  # L
    [(0.0, 0.0), *_arc((0, 0), 0.95, 50, 310, 40)],  # pie with a piece missing
    [(0, -1.1), *_arc((0, 0.3), 0.68, -35, 215, 32)],  # drop
    list(_arc((0, -0.4), 0.95, 0, 180, 32)),  # half disc
    [(-0.6, -0.95), (0.75, -0.5), (-0.2, -0.05), (-0.2, 0.95), (-0.6, 0.95)],  # flag
    list(_arc((0, 0), 0.9, 0, 360, 61))[:-1],  # disc
    [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],  # square
    [(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)],  # bar
    list(_star(5, 0.48)),  # star
    [
        *[(-0.32, -0.95), (0.32, -0.95), (0.32, -0.32), (0.95, -0.32), (0.95, 0.32), (0.32, 0.32)],
        *[(0.32, 0.95), (-0.32, 0.95), (-0.32, 0.32), (-0.95, 0.32), (-0.95, -0.32), (-0.32, -0.32)],
    ],  # cross
]
TURNABLE = 7  # the first so many
SHAPES = len(_POLYGONS)

_ATLAS_SPAN = 1.5  # an atlas tile covers -1.5..1.5 of a shape's own coordinates
_ATLAS_SIZE = 128


def shape_atlas(device):
    """Signed distances (negative inside) to each shape's outline, in shape radii: [SHAPES, 1, 128, 128]."""
    step = 2 * _ATLAS_SPAN / _ATLAS_SIZE
    axis = (torch.arange(_ATLAS_SIZE, dtype=torch.float64) + 0.5) * step - _ATLAS_SPAN
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    tiles = []
    for polygon in _POLYGONS:
        distance = torch.full_like(x, math.inf)
        inside = torch.zeros_like(x, dtype=torch.bool)
        for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1]):
            ex, ey = bx - ax, by - ay
            along = (((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey)).clamp(0, 1)
            distance = torch.minimum(distance, torch.hypot(x - ax - along * ex, y - ay - along * ey))
            if ay != by:  # even-odd rule: count the edges that a ray to the right crosses
                crosses = ((ay > y) != (by > y)) & (x < ax + (y - ay) * ex / ey)
                inside ^= crosses
        tiles.append(torch.where(inside, -distance, distance))
    return torch.stack(tiles).unsqueeze(1).float().to(device)


# --- scenes ---------------------------------------------------------------------------------------------------------


@dataclass
class Scenes:
    """What is in n videos. Pairs are [n, 2]: 0 the warm shape, 1 the decoy; each moves linearly in time."""

    label: torch.Tensor  # [n]
    frames: torch.Tensor  # [n] length of the video
    kind: torch.Tensor  # [n, 2] shape
    colour: torch.Tensor  # [n, 2, 3] RGB
    shade: torch.Tensor  # [n, 2, 2] gradient of brightness over the shape, outline's brightness
    centre: torch.Tensor  # [n, 2, 2] x, y in the middle of the video
    velocity: torch.Tensor  # [n, 2, 2] per frame
    radius: torch.Tensor  # [n, 2]
    growth: torch.Tensor  # [n, 2] per frame
    angle: torch.Tensor  # [n, 2]
    turn: torch.Tensor  # [n, 2] per frame
    decoy_on_top: torch.Tensor  # [n] bool


def _uniform(g, low, high, *shape):
    return torch.rand(shape, generator=g, device=g.device) * (high - low) + low


def _hsv_to_rgb(h, s, v):
    """Hue in degrees, the rest 0..1; stacked on a new last dimension."""
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = torch.remainder(offset + h / 60, 6)
        channels.append(v - v * s * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, -1)


def sample_scenes(n, g, frames=None, label=None):
    """Draws n scenes from generator `g`, on its device. `frames` and `label` fix the length and the label."""
    device = g.device
    label = (
        torch.randint(8, (n,), generator=g, device=device)
        if label is None
        else torch.full((n,), label, device=device)
    )
    frames = (
        torch.randint(40, 73, (n,), generator=g, device=device)
        if frames is None
        else torch.full((n,), frames, device=device)
    )
    group = label // 2  # 0 left/right, 1 up/down, 2 size, 3 turn
    sign = torch.tensor(SIGN, device=device)[label]
    signs = torch.stack([sign, -sign], 1)  # the decoy does the opposite
    length = frames.float().unsqueeze(1)

    def where(groups, yes, no):
        hit = torch.zeros_like(group, dtype=torch.bool)
        for one in groups:
            hit |= group == one
        return torch.where(hit.view(-1, *[1] * (yes.dim() - 1)), yes, no)

    # Moving shapes run in two lanes; growing and turning ones stand on either side of the middle.
    side = torch.randint(2, (n, 1), generator=g, device=device).float() * 2 - 1
    sides = torch.cat([side, -side], 1)
    across = 0.5 + sides * _uniform(g, 0.17, 0.27, n, 1) + _uniform(g, -0.03, 0.03, n, 2)
    along = _uniform(g, 0.42, 0.58, n, 2)
    turned = _uniform(g, 0, 2 * math.pi, n, 1)
    apart = sides * _uniform(g, 0.21, 0.27, n, 1)
    jitter = _uniform(g, -0.03, 0.03, n, 2, 2)
    standing = 0.5 + apart.unsqueeze(-1) * torch.stack([turned.cos(), turned.sin()], -1) + jitter
    centre = where([0], torch.stack([along, across], -1), where([1], torch.stack([across, along], -1), standing))

    speed = signs * _uniform(g, 0.5, 0.85, n, 2) / length
    still = torch.zeros_like(speed)
    velocity = where(
        [0], torch.stack([speed, still], -1), where([1], torch.stack([still, speed], -1), torch.zeros_like(centre))
    )

    change = _uniform(g, 0.18, 0.26, n, 2)  # of the radius, over the whole video
    smallest = _uniform(g, 0.05, 0.08, n, 2)
    radius = where(
        [0, 1], _uniform(g, 0.09, 0.17, n, 2), where([2], smallest + change / 2, _uniform(g, 0.15, 0.25, n, 2))
    )
    growth = where([2], signs * change / length, still)

    angle = _uniform(g, 0, 2 * math.pi, n, 2)
    turn = where([3], signs * torch.deg2rad(_uniform(g, 3, 8, n, 2)), still)
    kind = torch.randint(SHAPES, (n, 2), generator=g, device=device)
    kind = where([3], torch.randint(TURNABLE, (n, 2), generator=g, device=device), kind)

    # Swapping red and blue maps hue h to 240 - h, which takes each of the two ranges to the other.
    hue = _uniform(g, -20, 55, n, 2)
    hue[:, 1] = 240 - hue[:, 1]
    colour = _hsv_to_rgb(hue, _uniform(g, 0.6, 1, n, 2), _uniform(g, 0.55, 1, n, 2))
    shade = torch.stack([_uniform(g, -0.25, 0.25, n, 2), _uniform(g, 0.6, 1.3, n, 2)], -1)
    on_top = torch.rand((n,), generator=g, device=device) < 0.5
    return Scenes(label, frames, kind, colour, shade, centre, velocity, radius, growth, angle, turn, on_top)


# --- drawing --------------------------------------------------------------------------------------------------------


def _paint(picture, atlas, kind, centre, radius, angle, colour, shade):
    """
    Blends one shape a picture into `picture` [m, 3, h, w]; the other arguments are [m] or [m, k].
    Edges are antialiased over a pixel by the signed distance.
    """
    m, _, height, width = picture.shape
    side = min(height, width)
    cos, sin = angle.cos(), angle.sin()
    # From output coordinates (-1..1 over the frame) to the shape's tile: scale, move, turn back.
    scale = 1 / (radius * _ATLAS_SPAN * side)
    ax, ay = scale * width / 2, scale * height / 2
    bx = scale * (0.5 - centre[:, 0]) * width
    by = scale * (0.5 - centre[:, 1]) * height
    theta = torch.stack([cos * ax, sin * ay, cos * bx + sin * by, -sin * ax, cos * ay, cos * by - sin * bx], 1)
    grid = F.affine_grid(theta.view(m, 2, 3), [m, 1, height, width], align_corners=False)
    distance = F.grid_sample(atlas[kind], grid, mode="bilinear", padding_mode="border", align_corners=False)
    pixels = distance * (radius * side).view(m, 1, 1, 1)
    cover = (0.5 - pixels).clamp(0, 1)
    bright = 1 + shade[:, 0].view(m, 1, 1) * grid[..., 1].clamp(-1, 1)
    outline = ((distance.squeeze(1) + 0.16) * 12).clamp(0, 1)
    bright = torch.lerp(bright, shade[:, 1].view(m, 1, 1).expand_as(bright), outline)
    ink = (colour.view(m, 3, 1, 1) * bright.unsqueeze(1)).clamp(0, 1)
    return torch.lerp(picture, ink, cover.expand_as(ink))


def draw_backgrounds(n, height, width, g, atlas):
    """Still backgrounds [n, 3, height, width]: two greyish colours in a pattern, and up to two grey shapes."""
    device = g.device

    def grey(*shape):
        return _hsv_to_rgb(_uniform(g, 0, 360, *shape), _uniform(g, 0, 0.3, *shape), _uniform(g, 0.05, 0.95, *shape))

    y = ((torch.arange(height, device=device) + 0.5) / height - 0.5).view(1, height, 1)
    x = ((torch.arange(width, device=device) + 0.5) / width - 0.5).view(1, 1, width)
    a = _uniform(g, 0, 2 * math.pi, n, 1, 1)
    across, down = x * a.cos() + y * a.sin(), y * a.cos() - x * a.sin()
    frequency = 2 * math.pi * _uniform(g, 1.5, 7, n, 1, 1)
    phase = _uniform(g, 0, 2 * math.pi, n, 2, 1, 1)
    hard = _uniform(g, 1, 8, n, 1, 1)
    waves = (across * frequency + phase[:, 0]).sin() * hard
    columns = (down * frequency + phase[:, 1]).sin() * hard
    noise = torch.zeros(n, 1, height, width, device=device)
    for cells, weight in ((3, 1.2), (7, 0.8), (17, 0.5)):
        coarse = torch.randn(n, 1, cells, cells, generator=g, device=device) * weight
        noise += F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    patterns = torch.stack(
        [
            torch.zeros_like(waves),
            across + 0.5,
            torch.sigmoid(noise.squeeze(1) * 1.5),
            torch.sigmoid(waves),
            torch.sigmoid(waves * columns),
        ],
        1,
    ).clamp(0, 1)
    pick = torch.randint(patterns.shape[1], (n,), generator=g, device=device)
    pattern = patterns[torch.arange(n, device=device), pick].unsqueeze(1)
    first, second = grey(n).view(n, 3, 1, 1), grey(n).view(n, 3, 1, 1)
    second = torch.lerp(first, second, _uniform(g, 0.2, 1, n, 1, 1, 1))
    picture = torch.lerp(first.expand(n, 3, height, width), second.expand(n, 3, height, width), pattern)
    for _ in range(2):
        present = torch.rand((n, 1, 1, 1), generator=g, device=device) < 0.4
        with_shape = _paint(
            picture,
            atlas,
            torch.randint(SHAPES, (n,), generator=g, device=device),
            _uniform(g, 0, 1, n, 2),
            _uniform(g, 0.05, 0.25, n),
            _uniform(g, 0, 2 * math.pi, n),
            grey(n),
            torch.stack([_uniform(g, -0.25, 0.25, n), _uniform(g, 0.6, 1.3, n)], -1),
        )
        picture = torch.where(present, with_shape, picture)
    return picture


def draw_frames(scenes, backgrounds, times, atlas):
    """Frames [n, t, 3, h, w], RGB 0..1, of the scenes at `times` [n, t] (frame numbers)."""
    n, t = times.shape
    since = times.float() - (scenes.frames.unsqueeze(1) - 1) / 2  # from the middle of the video
    picture = backgrounds.unsqueeze(1).expand(n, t, *backgrounds.shape[1:]).reshape(n * t, *backgrounds.shape[1:])
    rows = torch.arange(n, device=times.device)
    for layer in (0, 1):
        who = torch.where(scenes.decoy_on_top, layer, 1 - layer)  # the top shape is painted last

        def chosen(pairs):
            return pairs[rows, who].repeat_interleave(t, 0)

        s = since.reshape(-1)
        picture = _paint(
            picture,
            atlas,
            chosen(scenes.kind),
            chosen(scenes.centre) + chosen(scenes.velocity) * s.unsqueeze(1),
            chosen(scenes.radius) + chosen(scenes.growth) * s,
            chosen(scenes.angle) + chosen(scenes.turn) * s,
            chosen(scenes.colour),
            chosen(scenes.shade),
        )
    return picture.view(n, t, *picture.shape[1:])

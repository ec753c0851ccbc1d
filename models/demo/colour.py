"""RGB to 8-bit YUV 4:2:0 and back, limited range, chroma sited as in MPEG-2 (left), and what a codec does between.

Conversions work on [n, 3, h, w] with even h and w. Luma weights: BT.601 (0.299, 0.114) or BT.709 (0.2126, 0.0722).
"""

import math

import torch
import torch.nn.functional as F

BT601 = (0.299, 0.114)
BT709 = (0.2126, 0.0722)


def to_yuv420(rgb, weights=BT601):
    """RGB 0..1 -> luma [n, 1, h, w] and chroma [n, 2, h/2, w/2] in 8-bit code values, not yet rounded."""
    kr, kb = weights
    r, g, b = rgb.unbind(1)
    y = kr * r + (1 - kr - kb) * g + kb * b
    chroma = torch.stack([(b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))], 1)
    # A sample sits on every other column, between two rows: 1 2 1 across, the mean of two down.
    padded = F.pad(chroma, (1, 1, 0, 0), mode="replicate")
    across = (padded[..., 0:-2:2] + 2 * padded[..., 1:-1:2] + padded[..., 2::2]) / 4
    chroma = (across[..., 0::2, :] + across[..., 1::2, :]) / 2
    return 16 + 219 * y.unsqueeze(1), 128 + 224 * chroma


def to_rgb(luma, chroma, weights=BT601):
    """The inverse, in 0..1: chroma bilinearly upsampled from its left siting, edges repeated, the result clamped."""
    kr, kb = weights
    n, _, height, width = luma.shape
    tall = F.interpolate(chroma, (height, width // 2), mode="bilinear", align_corners=False)
    following = torch.cat([tall[..., 1:], tall[..., -1:]], -1)
    full = torch.stack([tall, (tall + following) / 2], -1).view(n, 2, height, width)
    y = (luma.squeeze(1) - 16) / 219
    cb, cr = ((full - 128) / 224).unbind(1)
    r = y + 2 * (1 - kr) * cr
    b = y + 2 * (1 - kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return torch.stack([r, g, b], 1).clamp(0, 1)


def _dct_matrix(device):
    k = torch.arange(8, device=device, dtype=torch.float32)
    basis = torch.cos((2 * k.view(1, 8) + 1) * k.view(8, 1) * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def quantise_blocks(plane, step):
    """Rounds the 8x8 cosine coefficients of `plane` [n, c, h, w] (h, w multiples of 8) to multiples of `step` [n]."""
    n, c, height, width = plane.shape
    basis = _dct_matrix(plane.device)
    blocks = plane.view(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    step = step.view(n, 1, 1, 1, 1, 1)
    coefficients = torch.round(basis @ blocks @ basis.T / step) * step
    return (basis.T @ coefficients @ basis).transpose(3, 4).reshape(n, c, height, width)


def gaussian_blur(pictures, sigma):
    """A separable blur of [n, c, h, w], one sigma (pixels) for all."""
    reach = max(1, math.ceil(2.5 * sigma))
    offsets = torch.arange(-reach, reach + 1, device=pictures.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    n, c, height, width = pictures.shape
    flat = pictures.reshape(n * c, 1, height, width)
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), kernel.view(1, 1, -1, 1))
    return flat.view(n, c, height, width)

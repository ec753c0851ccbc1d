"""A small R(2+1)D: the structure and the tensor names of torchvision's r2plus1d_18, with an eighth of its widths.

stem, four stages of two residual blocks, global average pool, linear. A factored convolution is 1xkxk into M mid
channels, batch norm, ReLU, then kx1x1; a block's M = floor(27 in out / (9 in + 3 out)) from the block's own (in, out).
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

STEM_MID = 16
WIDTHS = (8, 16, 32, 64)
CLASSES = 8


class SpatialConv(nn.Conv3d):
    """A 1xkxk convolution of [n, c, t, h, w], computed as a 2-D one of n*t pictures: cuDNN is much faster at those."""

    def __init__(self, inputs, outputs, size, stride):
        pad = size // 2
        super().__init__(inputs, outputs, (1, size, size), (1, stride, stride), (0, pad, pad), bias=False)

    def forward(self, x):
        n, c, t, h, w = x.shape
        pictures = x.permute(0, 2, 3, 4, 1).reshape(n * t, h, w, c).permute(0, 3, 1, 2)
        y = F.conv2d(pictures, self.weight.squeeze(2), None, self.stride[1:], self.padding[1:])
        return y.permute(0, 2, 3, 1).reshape(n, t, y.shape[2], y.shape[3], -1).permute(0, 4, 1, 2, 3)


class TemporalConv(nn.Conv3d):
    """A 3x1x1 convolution, computed as a 2-D one of n pictures of t rows and h*w columns."""

    def __init__(self, inputs, outputs, stride):
        super().__init__(inputs, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)

    def forward(self, x):
        n, c, t, h, w = x.shape
        rows = x.permute(0, 2, 3, 4, 1).reshape(n, t, h * w, c).permute(0, 3, 1, 2)
        y = F.conv2d(rows, self.weight.squeeze(4), None, (self.stride[0], 1), (1, 0))
        return y.permute(0, 2, 3, 1).reshape(n, y.shape[2], h, w, -1).permute(0, 4, 1, 2, 3)


class Shortcut(nn.Conv3d):
    """A 1x1x1 convolution with a stride: every so many positions, times a matrix."""

    def __init__(self, inputs, outputs, stride):
        super().__init__(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        t, h, w = self.stride
        kept = x[:, :, ::t, ::h, ::w].permute(0, 2, 3, 4, 1)
        return F.linear(kept, self.weight.flatten(1)).permute(0, 4, 1, 2, 3)


class Norm(nn.BatchNorm3d):
    """Batch norm over [n, c, t, h, w], computed as the 2-D one for the same reason."""

    def _check_input_dim(self, x):
        pass

    def forward(self, x):
        n, c, t, h, w = x.shape
        pictures = x.permute(0, 2, 3, 4, 1).reshape(n * t, h, w, c).permute(0, 3, 1, 2)
        y = super().forward(pictures)
        return y.permute(0, 2, 3, 1).reshape(n, t, h, w, c).permute(0, 4, 1, 2, 3)


class Factored(nn.Sequential):
    def __init__(self, inputs, outputs, mid, stride):
        super().__init__(
            SpatialConv(inputs, mid, 3, stride), Norm(mid), nn.ReLU(), TemporalConv(mid, outputs, stride)
        )


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        mid = (inputs * outputs * 27) // (inputs * 9 + 3 * outputs)
        self.conv1 = nn.Sequential(Factored(inputs, outputs, mid, stride), Norm(outputs), nn.ReLU())
        self.conv2 = nn.Sequential(Factored(outputs, outputs, mid, 1), Norm(outputs))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(Shortcut(inputs, outputs, stride), Norm(outputs))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.conv2(self.conv1(x)) + shortcut)


class Network(nn.Module):
    """[n, 3, t, h, w] normalised RGB -> logits [n, CLASSES]."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            SpatialConv(3, STEM_MID, 7, 2),
            Norm(STEM_MID),
            nn.ReLU(),
            TemporalConv(STEM_MID, WIDTHS[0], 1),
            Norm(WIDTHS[0]),
            nn.ReLU(),
        )
        inputs = WIDTHS[0]
        for index, width in enumerate(WIDTHS):
            stage = nn.Sequential(Block(inputs, width, 1 if index == 0 else 2), Block(width, width, 1))
            setattr(self, f"layer{index + 1}", stage)
            inputs = width
        self.fc = nn.Linear(inputs, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(x.mean((2, 3, 4)))


def checkpoint(network):
    """The tensors to save: float16, without the batch counters, which nothing needs for inference."""
    tensors = network.state_dict()
    return {
        k: v.detach().half().cpu().contiguous() for k, v in tensors.items() if not k.endswith("num_batches_tracked")
    }


def load_checkpoint(tensors):
    """A network for inference, in float32, from saved tensors."""
    network = Network()
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    return network.eval()

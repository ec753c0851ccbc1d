"""R(2+1)D in both layouts as PyTorch modules: torchvision's own, and R2Plus1D-PyTorch's written anew."""

import torch
from torch import nn
from torchvision.models.video import resnet

import hash_random


def torchvision_network(blocks, classes):
    """torchvision's r2plus1d_18, of any depth."""
    return resnet.VideoResNet(
        block=resnet.BasicBlock,
        conv_makers=[resnet.Conv2Plus1D] * 4,
        layers=list(blocks),
        stem=resnet.R2Plus1dStem,
        num_classes=classes,
    )


class Factored(nn.Module):
    """A t x d x d convolution as 1 x d x d, batch norm, ReLU, t x 1 x 1; all with bias."""

    def __init__(self, inputs, outputs, t, d, stride=(1, 1)):
        super().__init__()
        middle = t * d * d * inputs * outputs // (d * d * inputs + t * outputs)
        self.spatial_conv = nn.Conv3d(
            inputs, middle, (1, d, d), stride=(1, stride[1], stride[1]), padding=(0, d // 2, d // 2)
        )
        self.bn = nn.BatchNorm3d(middle)
        self.temporal_conv = nn.Conv3d(
            middle, outputs, (t, 1, 1), stride=(stride[0], 1, 1), padding=(t // 2, 0, 0)
        )

    def forward(self, x):
        return self.temporal_conv(torch.relu(self.bn(self.spatial_conv(x))))


class Block(nn.Module):
    def __init__(self, inputs, outputs, halve):
        super().__init__()
        stride = (2, 2) if halve else (1, 1)
        self.conv1 = Factored(inputs, outputs, 3, 3, stride)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.conv2 = Factored(outputs, outputs, 3, 3)
        self.bn2 = nn.BatchNorm3d(outputs)
        if halve:
            self.downsampleconv = Factored(inputs, outputs, 1, 1, stride)
            self.downsamplebn = nn.BatchNorm3d(outputs)
        self.halve = halve

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsamplebn(self.downsampleconv(x)) if self.halve else x))


class Stage(nn.Module):
    def __init__(self, inputs, outputs, count, halve):
        super().__init__()
        self.block1 = Block(inputs, outputs, halve)
        self.blocks = nn.ModuleList(Block(outputs, outputs, False) for _ in range(count - 1))

    def forward(self, x):
        x = self.block1(x)
        for block in self.blocks:
            x = block(x)
        return x


class Trunk(nn.Module):
    def __init__(self, blocks, widths):
        super().__init__()
        self.conv1 = Factored(3, widths[0], 3, 7, (1, 2))
        self.conv2 = Stage(widths[0], widths[0], blocks[0], False)
        self.conv3 = Stage(widths[0], widths[1], blocks[1], True)
        self.conv4 = Stage(widths[1], widths[2], blocks[2], True)
        self.conv5 = Stage(widths[2], widths[3], blocks[3], True)


class RnbNetwork(nn.Module):
    """The layout of R2Plus1D-PyTorch, as DESIGN describes it."""

    def __init__(self, blocks, classes, widths=(64, 128, 256, 512)):
        super().__init__()
        self.res2plus1d = Trunk(blocks, widths)
        self.linear = nn.Linear(widths[3], classes)

    def forward(self, x):
        for layer in self.layers():
            x = layer(x)
        return self.linear(x.mean((2, 3, 4)))

    def layers(self):
        trunk = self.res2plus1d
        return [trunk.conv1, trunk.conv2, trunk.conv3, trunk.conv4, trunk.conv5]


def layers(network):
    """RnB's five layers, without the pool and the linear layer of the fifth."""
    if isinstance(network, RnbNetwork):
        return network.layers()
    return [network.stem, network.layer1, network.layer2, network.layer3, network.layer4]


def make(case):
    """The network of a case, with the tensors that its seed gives, ready to run."""
    if case["layout"] == "torchvision":
        network = torchvision_network(case["blocks"], case["classes"])
    else:
        network = RnbNetwork(case["blocks"], case["classes"], case["widths"])
    state = network.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            value.copy_(torch.from_numpy(hash_random.tensor(name, tuple(value.shape), case["seed"])))
    return network.eval()


def clips(case):
    """Clips of a case: uniform in [-2, 2)."""
    shape = (case["clips"], 3, case["frames"], case["size"], case["size"])
    values = hash_random.uniform(
        int(torch.tensor(shape).prod()), hash_random.stream_key("input", case["seed"]), -2, 2
    )
    return torch.from_numpy(values.reshape(shape))

import { type Architecture, LAYERS, middleChannels } from './architecture.ts'

/** Of time, height and width. */
export type Triple = readonly [number, number, number]

/**
 * A convolution with what follows it: `output = [relu]( conv(input) + bias [+ residual] )`. All of R(2+1)D before
 * the pool is made of these. Values are known by name: `cut0` is the network's input, `cut1` to `cut5` what each
 * layer gives, any other value has the name of the convolution that makes it.
 */
export interface ConvolutionSpec {
  /** `stem.spatial`, `stage1.0.conv2.temporal`, `stage2.0.shortcut`; the same in both layouts. */
  readonly name: string
  readonly input: string
  readonly output: string
  readonly residual?: string
  readonly relu: boolean
  readonly channelsIn: number
  readonly channelsOut: number
  readonly kernel: Triple
  readonly stride: Triple
  readonly padding: Triple
}

/** A convolution, and where a checkpoint keeps its weights. */
export interface ConvolutionSource extends ConvolutionSpec {
  /** Prefix of `weight` and, where it has one, `bias`. */
  readonly tensor: string
  readonly bias: boolean
  /** Prefix of the batch normalisation that follows directly. */
  readonly norm?: string
}

export interface LinearSource {
  readonly tensor: string
  readonly features: number
  readonly classes: number
}

/** One of the five layers: its convolutions in order and, in the fifth, the linear layer after the pool. */
export interface LayerSource {
  readonly index: number
  readonly convolutions: readonly ConvolutionSource[]
  readonly linear?: LinearSource
}

/** Names of a factored convolution's parts inside a checkpoint. */
interface FactoredNames {
  readonly spatial: string
  readonly middleNorm: string
  readonly temporal: string
}

/** Names in a checkpoint; stages and blocks count from 0. */
interface Naming {
  readonly stem: FactoredNames
  /** None where nothing follows the stem's second factor. */
  readonly stemNorm?: string
  block(stage: number, block: number): string
  /** Inside a block: its two convolutions and the norm after each. */
  convolution(prefix: string, which: 1 | 2): FactoredNames & { norm: string }
  readonly linear: string
}

const sequential = (prefix: string): FactoredNames => ({
  spatial: `${prefix}.0`,
  middleNorm: `${prefix}.1`,
  temporal: `${prefix}.3`,
})

const named = (prefix: string): FactoredNames => ({
  spatial: `${prefix}.spatial_conv`,
  middleNorm: `${prefix}.bn`,
  temporal: `${prefix}.temporal_conv`,
})

const NAMING: Record<Architecture['layout'], Naming> = {
  torchvision: {
    stem: sequential('stem'),
    stemNorm: 'stem.4',
    block: (stage, block) => `layer${stage + 1}.${block}`,
    convolution: (prefix, which) => ({
      ...sequential(`${prefix}.conv${which}.0`),
      norm: `${prefix}.conv${which}.1`,
    }),
    linear: 'fc',
  },
  'r2plus1d-pytorch': {
    stem: named('res2plus1d.conv1'),
    block: (stage, block) => `res2plus1d.conv${stage + 2}.${block === 0 ? 'block1' : `blocks.${block - 1}`}`,
    convolution: (prefix, which) => ({ ...named(`${prefix}.conv${which}`), norm: `${prefix}.bn${which}` }),
    linear: 'linear',
  },
}

/** What a factored convolution is made from, before it is written as two convolutions. */
interface Factored {
  name: string
  input: string
  output: string
  residual?: string
  relu: boolean
  channels: readonly [number, number, number]
  kernel: readonly [time: number, space: number]
  stride: readonly [time: number, space: number]
  names: FactoredNames
  norm?: string
  bias: boolean
}

function factors(f: Factored): [ConvolutionSource, ConvolutionSource] {
  const [channelsIn, middle, channelsOut] = f.channels
  const [t, d] = f.kernel
  const spatial: ConvolutionSource = {
    name: `${f.name}.spatial`,
    input: f.input,
    output: `${f.name}.spatial`,
    relu: true,
    channelsIn,
    channelsOut: middle,
    kernel: [1, d, d],
    stride: [1, f.stride[1], f.stride[1]],
    padding: [0, d >> 1, d >> 1],
    tensor: f.names.spatial,
    bias: f.bias,
    norm: f.names.middleNorm,
  }
  const temporal: ConvolutionSource = {
    name: `${f.name}.temporal`,
    input: spatial.output,
    output: f.output,
    residual: f.residual,
    relu: f.relu,
    channelsIn: middle,
    channelsOut,
    kernel: [t, 1, 1],
    stride: [f.stride[0], 1, 1],
    padding: [t >> 1, 0, 0],
    tensor: f.names.temporal,
    bias: f.bias,
    norm: f.norm,
  }
  return [spatial, temporal]
}

function stem(architecture: Architecture, naming: Naming): ConvolutionSource[] {
  return factors({
    name: 'stem',
    input: 'cut0',
    output: 'cut1',
    relu: naming.stemNorm !== undefined,
    channels: [architecture.inputChannels, architecture.stemMid, architecture.widths[0]],
    kernel: [3, 7],
    stride: [1, 2],
    names: naming.stem,
    norm: naming.stemNorm,
    bias: architecture.layout === 'r2plus1d-pytorch',
  })
}

/** The projection of a block that changes the size: 1x1x1 and batch norm, in the second layout as two factors. */
function shortcut(
  layout: Architecture['layout'],
  prefix: string,
  common: { name: string; input: string; channelsIn: number; channelsOut: number },
): ConvolutionSource[] {
  const { name, input, channelsIn, channelsOut } = common
  if (layout === 'r2plus1d-pytorch') {
    return factors({
      name,
      input,
      output: name,
      relu: false,
      channels: [channelsIn, middleChannels(1, 1, channelsIn, channelsOut), channelsOut],
      kernel: [1, 1],
      stride: [2, 2],
      names: named(`${prefix}.downsampleconv`),
      norm: `${prefix}.downsamplebn`,
      bias: true,
    })
  }
  return [
    {
      name,
      input,
      output: name,
      relu: false,
      channelsIn,
      channelsOut,
      kernel: [1, 1, 1],
      stride: [2, 2, 2],
      padding: [0, 0, 0],
      tensor: `${prefix}.downsample.0`,
      bias: false,
      norm: `${prefix}.downsample.1`,
    },
  ]
}

function stage(architecture: Architecture, naming: Naming, index: number): ConvolutionSource[] {
  const { layout, widths, blocks } = architecture
  const width = widths[index]!
  const list: ConvolutionSource[] = []
  let input = `cut${index + 1}`
  for (let b = 0; b < blocks[index]!; b++) {
    const name = `stage${index + 1}.${b}`
    const prefix = naming.block(index, b)
    const channelsIn = b === 0 ? widths[Math.max(index - 1, 0)]! : width
    const stride = b === 0 && index > 0 ? 2 : 1
    const first = middleChannels(3, 3, channelsIn, width)
    const second = layout === 'torchvision' ? first : middleChannels(3, 3, width, width)
    const projected = stride > 1
    const output = b === blocks[index]! - 1 ? `cut${index + 2}` : name
    const convolution = (which: 1 | 2) => ({
      name: `${name}.conv${which}`,
      kernel: [3, 3] as const,
      names: naming.convolution(prefix, which),
      norm: naming.convolution(prefix, which).norm,
      bias: layout === 'r2plus1d-pytorch',
      relu: true,
    })
    list.push(
      ...factors({
        ...convolution(1),
        input,
        output: `${name}.conv1`,
        channels: [channelsIn, first, width],
        stride: [stride, stride],
      }),
    )
    if (projected) {
      list.push(
        ...shortcut(layout, prefix, { name: `${name}.shortcut`, input, channelsIn, channelsOut: width }),
      )
    }
    list.push(
      ...factors({
        ...convolution(2),
        input: `${name}.conv1`,
        output,
        residual: projected ? `${name}.shortcut` : input,
        channels: [width, second, width],
        stride: [1, 1],
      }),
    )
    input = output
  }
  return list
}

/** The five layers of an architecture: every convolution in the order in which it runs, and where its weights are. */
export function describe(architecture: Architecture): LayerSource[] {
  const naming = NAMING[architecture.layout]
  const layers: LayerSource[] = [{ index: 1, convolutions: stem(architecture, naming) }]
  for (let index = 0; index < LAYERS - 1; index++) {
    layers.push({ index: index + 2, convolutions: stage(architecture, naming, index) })
  }
  const linear = {
    tensor: naming.linear,
    features: architecture.widths[3],
    classes: architecture.classes,
  }
  return layers.map(layer => (layer.index === LAYERS ? { ...layer, linear } : layer))
}

const NORM = ['weight', 'bias', 'running_mean', 'running_var'] as const

/** Names and shapes of the tensors that a checkpoint of this architecture holds, in the order of the layers. */
export function tensorShapes(
  architecture: Architecture,
  startIndex = 1,
  endIndex = LAYERS,
): Map<string, number[]> {
  const shapes = new Map<string, number[]>()
  for (const layer of describe(architecture).slice(startIndex - 1, endIndex)) {
    for (const c of layer.convolutions) {
      shapes.set(`${c.tensor}.weight`, [c.channelsOut, c.channelsIn, ...c.kernel])
      if (c.bias) shapes.set(`${c.tensor}.bias`, [c.channelsOut])
      if (c.norm) for (const part of NORM) shapes.set(`${c.norm}.${part}`, [c.channelsOut])
    }
    if (layer.linear) {
      shapes.set(`${layer.linear.tensor}.weight`, [layer.linear.classes, layer.linear.features])
      shapes.set(`${layer.linear.tensor}.bias`, [layer.linear.classes])
    }
  }
  return shapes
}

import { UsageError } from '../src/errors.ts'

/**
 * The two layouts that R(2+1)D checkpoints come in. They differ in names, in the number of channels between the
 * factors, in biases, in the stem's end and in how the shortcut is down-sampled (see `description.ts`).
 */
export type Layout = 'torchvision' | 'r2plus1d-pytorch'

/** An R(2+1)D network as plain data: a stem, four stages of residual blocks, a global average pool and a linear layer. */
export interface Architecture {
  readonly layout: Layout
  /** Residual blocks in each stage: 2, 2, 2, 2 is 18 layers deep, 3, 4, 6, 3 is 34. RnB's `layer_sizes`. */
  readonly blocks: readonly [number, number, number, number]
  /** Channels of each stage; the stem has those of the first. */
  readonly widths: readonly [number, number, number, number]
  /** Channels between the stem's two factors. */
  readonly stemMid: number
  /** Channels of a frame. */
  readonly inputChannels: number
  readonly classes: number
  /** Added to the variance by batch normalisation. */
  readonly epsilon: number
}

/** RnB cuts the network into five layers: the stem, and stages 1 to 4, the last with the pool and the linear layer. */
export const LAYERS = 5

/** Height or width of the square input, and frames of a clip, that R(2+1)D was trained with in RnB. */
export const CLIP_FRAMES = 8
export const CLIP_SIZE = 112

const WIDTHS = [64, 128, 256, 512] as const

/**
 * Channels between the factors of a t x d x d convolution, such that both hold as many weights as the whole would
 * (R(2+1)D paper, section 3.5).
 */
export function middleChannels(t: number, d: number, channelsIn: number, channelsOut: number): number {
  return Math.floor((t * d * d * channelsIn * channelsOut) / (d * d * channelsIn + t * channelsOut))
}

/** torchvision's rule for the stem is a number; R2Plus1D-PyTorch's is the formula for its 3x7x7 kernel. */
export function stemMiddle(layout: Layout, inputChannels: number, width: number): number {
  return layout === 'torchvision' ? 45 : middleChannels(3, 7, inputChannels, width)
}

/** An architecture with the usual value for all that is left out. @throws {UsageError} for sizes that cannot be. */
export function makeArchitecture(options: Partial<Architecture> = {}): Architecture {
  const layout = options.layout ?? 'torchvision'
  const widths = options.widths ?? WIDTHS
  const inputChannels = options.inputChannels ?? 3
  const architecture: Architecture = {
    layout,
    blocks: options.blocks ?? [2, 2, 2, 2],
    widths,
    stemMid: options.stemMid ?? stemMiddle(layout, inputChannels, widths[0]),
    inputChannels,
    classes: options.classes ?? 400,
    epsilon: options.epsilon ?? 1e-5,
  }
  const counts: Record<string, readonly number[]> = {
    'blocks per stage': architecture.blocks,
    'channels per stage': architecture.widths,
    'channels between the factors of the stem': [architecture.stemMid],
    'input channels': [inputChannels],
    classes: [architecture.classes],
  }
  for (const [what, numbers] of Object.entries(counts)) {
    const expected = numbers === architecture.blocks || numbers === architecture.widths ? 4 : 1
    if (numbers.length !== expected || !numbers.every(n => Number.isInteger(n) && n > 0)) {
      const wanted = expected === 4 ? 'four whole numbers above 0' : 'a whole number above 0'
      throw new UsageError(`network: ${what} must be ${wanted}, not ${JSON.stringify(numbers)}`)
    }
  }
  return architecture
}

export const R2PLUS1D_18 = makeArchitecture()
export const R2PLUS1D_34 = makeArchitecture({ blocks: [3, 4, 6, 3] })
/** The network that RnB ran (github irhum/R2Plus1D-PyTorch). */
export const RNB_R2PLUS1D_18 = makeArchitecture({ layout: 'r2plus1d-pytorch' })
export const RNB_R2PLUS1D_34 = makeArchitecture({ layout: 'r2plus1d-pytorch', blocks: [3, 4, 6, 3] })

/** As people name it: `r2plus1d_18`, with layout, classes, and widths where they are not the usual ones. */
export function architectureName(architecture: Architecture): string {
  const { layout, blocks, widths, classes } = architecture
  const depth = 2 + 2 * blocks.reduce((sum, n) => sum + n, 0)
  const plain = blocks.join() === '2,2,2,2' || blocks.join() === '3,4,6,3'
  const notes = [`layout ${layout}`, `${classes} classes`]
  if (!plain) notes.push(`blocks ${blocks.join(', ')}`)
  if (widths.join() !== WIDTHS.join()) notes.push(`widths ${widths.join(', ')}`)
  return `r2plus1d_${depth} (${notes.join('; ')})`
}

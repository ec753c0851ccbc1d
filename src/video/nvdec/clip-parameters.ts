import type { ClipLayout, ClipParameters } from '../../../kernels/clip.ts'
import { colourMatrix } from '../preprocess/colour.ts'
import { pixelFormat } from '../preprocess/formats.ts'
import { type Rotation, resizeOf } from '../preprocess/taps.ts'
import type { Preprocessing } from '../preprocess.ts'
import type { SurfaceFrame } from './surface.ts'

type DescribedFrame = Omit<SurfaceFrame, 'luma' | 'chroma' | 'index'>

/** What the clip kernel is told of frames that become one kind of clip; the same object for frames of the same kind. */
export class KeptClipParameters {
  #kept: { frame: DescribedFrame; rotation: Rotation; parameters: ClipParameters } | undefined

  /** @param frames of the clip tensor */
  constructor(
    readonly preprocessing: Preprocessing,
    readonly layout: ClipLayout,
    readonly frames: number,
  ) {}

  /** @throws {VideoError} as `clipParameters` does */
  of(frame: DescribedFrame, rotation: Rotation): ClipParameters {
    const kept = this.#kept
    if (kept && kept.rotation === rotation && alike(kept.frame, frame)) return kept.parameters
    const { preprocessing, layout, frames } = this
    const parameters = clipParameters(frame, rotation, preprocessing, layout, frames)
    this.#kept = { frame, rotation, parameters }
    return parameters
  }
}

const alike = (a: DescribedFrame, b: DescribedFrame): boolean =>
  a.width === b.width &&
  a.height === b.height &&
  a.pitch === b.pitch &&
  a.format === b.format &&
  a.colour.matrix === b.colour.matrix &&
  a.colour.fullRange === b.colour.fullRange

/**
 * What the clip kernel is told to make of frames as the CPU's `preprocess` would.
 * @param frames of the clip tensor, which lie between its channels in layout `planes`
 * @throws {VideoError} `unsupported_format` for a colour matrix that is not known
 */
export function clipParameters(
  frame: DescribedFrame,
  rotation: Rotation,
  { formula, size, mean, std }: Preprocessing,
  layout: ClipLayout,
  frames: number,
): ClipParameters {
  const format = pixelFormat(frame.format)
  const upright = resizeOf(formula, size)
  const sideways = rotation === 90 || rotation === 270
  return {
    wide: format.depth > 8,
    width: frame.width,
    height: frame.height,
    pitch: frame.pitch,
    size,
    x: {
      ...(sideways ? upright.height : upright.width),
      backwards: rotation === 180 || rotation === 270,
    },
    y: {
      ...(sideways ? upright.width : upright.height),
      backwards: rotation === 90 || rotation === 180,
    },
    sideways,
    formula,
    matrix: colourMatrix(format, frame.colour, frame.height),
    gain: std.map(s => 1 / s),
    bias: mean.map((m, c) => -m / std[c]!),
    layout,
    plane: frames * size * size,
  }
}

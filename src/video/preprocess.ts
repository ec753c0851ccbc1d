import { colourMatrix } from './preprocess/colour.ts'
import { type Component, pixelFormat } from './preprocess/formats.ts'
import { convertThenResample, type Job, resampleThenConvert } from './preprocess/formulas.ts'
import type { Samples } from './preprocess/rows.ts'
import { type Formula, geometryOf, type Rotation } from './preprocess/taps.ts'
import type { Frame } from './types.ts'

export type { Formula, Rotation } from './preprocess/taps.ts'

/** How frames become a clip tensor; preprocess/FORMULAS.md writes both formulas down. */
export interface Preprocessing {
  formula: Formula
  /** Height and width of the clip tensor, in pixels. */
  size: number
  /** Subtracted from R, G and B in 0..1, ... */
  mean: [number, number, number]
  /** ... which are then divided by it. */
  std: [number, number, number]
}

/**
 * RnB's formula with R, G and B in 0..1 and nothing more. RnB's own loader (NVVL) handed over 0..255, which a std
 * of 1/255 gives; as a default that would drive fp16 networks towards overflow.
 */
export const RNB_PREPROCESSING: Readonly<Preprocessing> = {
  formula: 'rnb',
  size: 112,
  mean: [0, 0, 0],
  std: [1, 1, 1],
}

/** What torchvision's video models were trained with: the transforms of its Kinetics-400 weights. */
export const TORCHVISION_PREPROCESSING: Readonly<Preprocessing> = {
  formula: 'torchvision',
  size: 112,
  mean: [0.43216, 0.394666, 0.37645],
  std: [0.22803, 0.22145, 0.216989],
}

/** The formula's own mean and std, for clips of this size. */
export function defaultPreprocessing(formula: Formula, size = 112): Preprocessing {
  const { mean, std } = formula === 'rnb' ? RNB_PREPROCESSING : TORCHVISION_PREPROCESSING
  return { formula, size, mean: [...mean], std: [...std] }
}

/** Where a frame goes in the clip tensor, in elements; [3, T, size, size] has T size size from channel to channel. */
export interface Place {
  offset: number
  channelStride: number
}

function samplesOf(frame: Frame, { plane, first, step }: Component, shiftX: number, shiftY: number): Samples {
  const { data, stride } = frame.planes[plane] ?? { data: new Uint8Array(), stride: 0 }
  const columns = Math.ceil(frame.width / 2 ** shiftX)
  const rows = Math.ceil(frame.height / 2 ** shiftY)
  // Outside a typed array there is no error, only NaN.
  if (!(data.length > first + (rows - 1) * stride + (columns - 1) * step)) {
    const size = `${frame.width}x${frame.height}`
    throw new RangeError(`plane ${plane} of a ${size} ${frame.format} frame has ${data.length} samples`)
  }
  return { data, first, stride }
}

/**
 * Writes one frame of a clip tensor: upright, resized, cropped, as planes of R, G and B, each size x size, rows from
 * the top, normalised.
 * @param rotation clockwise degrees that show the frame upright.
 * @param out where it goes, at `place`; nothing else in it is touched.
 * @throws {VideoError} `unsupported_format` for a pixel format or a colour matrix that is not known.
 */
export function preprocess(
  frame: Frame,
  rotation: Rotation,
  preprocessing: Preprocessing,
  out: Float32Array,
  { offset, channelStride }: Place,
): void {
  const { formula, size, mean, std } = preprocessing
  if (out.length < offset + 2 * channelStride + size * size) {
    throw new RangeError(`a frame of ${size}x${size} at element ${offset} does not fit in ${out.length}`)
  }
  const format = pixelFormat(frame.format)
  const [a, b, c] = format.components
  const { chromaX, chromaY } = format
  const job: Job = {
    components: [
      samplesOf(frame, a, 0, 0),
      samplesOf(frame, b, chromaX, chromaY),
      samplesOf(frame, c, chromaX, chromaY),
    ],
    geometry: geometryOf(formula, size, format, frame.width, frame.height, rotation),
    matrix: colourMatrix(format, frame.colour, frame.height),
    out,
    offset,
    channelStride,
    // ((x + 1) / 2 - mean) / std for x in -1..1.
    gain: [0.5 / std[0], 0.5 / std[1], 0.5 / std[2]],
    bias: [(0.5 - mean[0]) / std[0], (0.5 - mean[1]) / std[1], (0.5 - mean[2]) / std[2]],
  }
  if (formula === 'rnb') resampleThenConvert(job)
  else convertThenResample(job)
}

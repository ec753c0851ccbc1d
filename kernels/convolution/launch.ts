import { PARTIAL, RELU } from './finish.ts'
import { REDUCE_BLOCK } from './reduce.ts'
import { type ConvolutionTile, elementBytes, PIECE, PIECES, tileSizes } from './tile.ts'

type Quad = readonly [number, number, number, number]
type Pair = readonly [number, number]

/** A convolution in two dimensions over [n, h, w, c], c and k multiples of 8. */
export interface ConvolutionProblem {
  /** [n, c, h, w] */
  readonly input: Quad
  /** [k, c, r, s] */
  readonly filter: Quad
  readonly stride: Pair
  readonly padding: Pair
  readonly relu: boolean
}

/** Numbers that `convolution` takes beside pointers, by parameter. */
export type ConvolutionNumbers = ReturnType<typeof convolutionNumbers>

/** The output as a matrix, [places, channels], and its depth in stages. */
export function measures({ input, filter, stride, padding }: ConvolutionProblem, tile: ConvolutionTile) {
  const along = (axis: 0 | 1): number =>
    Math.floor((input[axis + 2]! + 2 * padding[axis] - filter[axis + 2]!) / stride[axis]) + 1
  const [outHeight, outWidth] = [along(0), along(1)]
  const pieces = (input[1] * elementBytes(tile.arithmetic)) / PIECE
  const depth = filter[2] * filter[3] * pieces
  return {
    outHeight,
    outWidth,
    places: input[0] * outHeight * outWidth,
    channels: filter[0],
    pieces,
    depth,
    stages: Math.ceil(depth / PIECES),
  }
}

/** What the kernel multiplies by in place of dividing; exact for what `convolutionNumbers` lets through. */
const reciprocal = (divisor: number): number => Math.floor(2 ** 31 / divisor) + 1

/**
 * Numbers for one launch.
 * @param parts - of the depth, each with stages of its own
 * @throws {RangeError} if the kernel cannot count that far
 */
export function convolutionNumbers(problem: ConvolutionProblem, tile: ConvolutionTile, parts: number) {
  const { outHeight, outWidth, places, channels, pieces, depth, stages } = measures(problem, tile)
  const { input, filter, stride, padding, relu } = problem
  if (input[1] % 8 !== 0 || channels % 8 !== 0 || input[1] !== filter[1])
    throw new RangeError(`convolution: ${input[1]} and ${channels} channels, of which 8 go together`)
  if (
    depth * Math.max(pieces, filter[3]) >= 2 ** 31 ||
    places * 1.1 >= 2 ** 31 ||
    input[0] * input[2] * input[3] >= 2 ** 31
  )
    throw new RangeError(`convolution: ${places} places and ${filter.join(' x ')} weights are too many`)
  return {
    places,
    channels,
    height: input[2],
    width: input[3],
    outHeight,
    outWidth,
    pieces,
    depth,
    columns: filter[3],
    strideY: stride[0],
    strideX: stride[1],
    padY: padding[0],
    padX: padding[1],
    perPieces: reciprocal(pieces),
    perColumns: reciprocal(filter[3]),
    tilesN: Math.ceil(channels / tileSizes(tile).channels),
    tilesOfPart: Math.ceil(stages / parts),
    flags: (relu && parts === 1 ? RELU : 0) | (parts > 1 ? PARTIAL : 0),
  }
}

/** Parts of the depth that have any stages, of so many asked for. */
export const fullParts = (stages: number, parts: number): number =>
  Math.ceil(stages / Math.ceil(stages / parts))

export function convolutionGrid(
  { places, channels }: { places: number; channels: number },
  tile: ConvolutionTile,
  parts: number,
): [number, number, number] {
  const sizes = tileSizes(tile)
  return [Math.ceil(places / sizes.places) * Math.ceil(channels / sizes.channels), 1, parts]
}

/** Numbers for `reduce`. */
export const reduceNumbers = (places: number, channels: number, parts: number, relu: boolean) => ({
  groups: (places * channels) / 8,
  groupsOfPlace: channels / 8,
  parts,
  flags: relu ? RELU : 0,
})

export const reduceGrid = ({ groups }: { groups: number }): [number, number, number] => [
  Math.ceil(groups / REDUCE_BLOCK),
  1,
  1,
]

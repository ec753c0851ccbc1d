import type { Arithmetic, ConvolutionTile } from './tile.ts'

const tile = (
  warps: ConvolutionTile['warps'],
  fragments: ConvolutionTile['fragments'],
  arithmetic: Arithmetic,
): ConvolutionTile => ({ arithmetic, warps, fragments, stages: 4 })

/** Tiles of tensor cores: large ones for large grids, wide ones for the channels of R(2+1)D, small ones for the rest. */
const fragmentTiles = (arithmetic: 'f16' | 'tf32'): ConvolutionTile[] => [
  tile([2, 2], [4, 8], arithmetic), // 128 x 128
  tile([2, 2], [4, 6], arithmetic), // 128 x 96
  tile([2, 2], [4, 4], arithmetic), // 128 x 64
  tile([4, 1], [2, 6], arithmetic), // 128 x 48
  tile([2, 2], [2, 4], arithmetic), // 64 x 64
]

/** What there is to choose from. Any of them computes any convolution, with the same bits. */
export const TILES: Readonly<Record<Arithmetic, readonly ConvolutionTile[]>> = {
  f16: [tile([4, 1], [2, 18], 'f16'), ...fragmentTiles('f16')], // the first: 128 x 144
  tf32: fragmentTiles('tf32'),
  f32: [tile([4, 2], [2, 4], 'f32'), tile([2, 2], [2, 4], 'f32')], // 128 x 64, 64 x 64
}

import type { Arithmetic, ConvolutionTile } from './tile.ts'

const tile = (
  arithmetic: Arithmetic,
  warps: ConvolutionTile['warps'],
  fragments: ConvolutionTile['fragments'],
): ConvolutionTile => ({ arithmetic, warps, fragments, stages: 4, cached: false })

/** For few channels, where neighbouring taps read the same lines: through the L1 cache, of which it leaves more. */
const cached = (of: ConvolutionTile): ConvolutionTile => ({ ...of, stages: 3, cached: true })

/** Tiles of tensor cores: large ones for large grids, wide ones for the channels of R(2+1)D, small ones for the rest. */
const fragmentTiles = (arithmetic: 'f16' | 'tf32'): ConvolutionTile[] => [
  tile(arithmetic, [2, 2], [4, 8]), // 128 x 128
  tile(arithmetic, [2, 2], [4, 6]), // 128 x 96
  tile(arithmetic, [2, 2], [4, 4]), // 128 x 64
  tile(arithmetic, [4, 1], [2, 6]), // 128 x 48
  cached(tile(arithmetic, [4, 1], [2, 6])),
  tile(arithmetic, [2, 2], [2, 4]), // 64 x 64
]

/** What there is to choose from. Any of them computes any convolution, with the same bits. */
export const TILES: Readonly<Record<Arithmetic, readonly ConvolutionTile[]>> = {
  f16: [tile('f16', [4, 1], [2, 18]), ...fragmentTiles('f16')], // the first: 128 x 144
  tf32: fragmentTiles('tf32'),
  f32: [
    tile('f32', [4, 2], [2, 4]), // 128 x 64
    cached(tile('f32', [2, 2], [2, 4])),
    tile('f32', [2, 2], [2, 4]), // 64 x 64
  ],
}

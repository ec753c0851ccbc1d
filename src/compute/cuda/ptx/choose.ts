import { type ConvolutionProblem, fullParts, measures } from '../../../../kernels/convolution/launch.ts'
import { type Arithmetic, type ConvolutionTile, tileSizes } from '../../../../kernels/convolution/tile.ts'
import { TILES } from '../../../../kernels/convolution/tiles.ts'

/** How a convolution is computed: by blocks of this tile, the depth in so many parts. */
export interface Choice {
  readonly tile: ConvolutionTile
  readonly parts: number
}

/** Parts to consider: more than one where there are too few tiles for all multiprocessors. */
const PARTS = [1, 2, 3, 4, 6, 8, 12, 16, 24]

/** What a tile costs, in nanoseconds. */
interface Rates {
  /** A stage of a block, and the rest of the block, where its multiprocessor has others to go on with meanwhile. */
  readonly stage: number
  readonly block: number
  /** The same where nothing hides what it waits for. */
  readonly stageAlone: number
  readonly blockAlone: number
}

/**
 * By places x channels of a tile, fitted to all tiles of `f16` in all parts on every convolution of R(2+1)D-18 at 1, 10
 * and 64 clips on an H100 (bench/conv.ts --choices): the choice made with them takes 1-3 % more than the best one in all.
 * For TF32 and float32 they have not been fitted; what counts is their proportion.
 */
const RATES: Readonly<Record<string, Rates>> = {
  '128 x 144': { stage: 390, block: 2000, stageAlone: 505, blockAlone: 1460 },
  '128 x 128': { stage: 321, block: 1830, stageAlone: 467, blockAlone: 970 },
  '128 x 96': { stage: 253, block: 1130, stageAlone: 378, blockAlone: 880 },
  '128 x 64': { stage: 176, block: 1000, stageAlone: 318, blockAlone: 470 },
  '128 x 48': { stage: 160, block: 810, stageAlone: 331, blockAlone: 510 },
  '64 x 64': { stage: 107, block: 510, stageAlone: 247, blockAlone: 230 },
}
/** Beside the blocks of a launch; and for `reduce`, a byte that it or the blocks before it read or write. */
const LAUNCH_NS = 3200
const REDUCED_BYTE_NS = 1 / 2100
/** Pieces of a place up to which neighbouring taps find much of what they read in the L1 cache. */
const CACHED_PIECES = 2

/** An estimate of a choice's time in nanoseconds. */
export function cost(problem: ConvolutionProblem, { tile, parts }: Choice, multiprocessors: number): number {
  const { places, channels, stages } = measures(problem, tile)
  const sizes = tileSizes(tile)
  const rates = RATES[`${sizes.places} x ${sizes.channels}`]!
  const blocks = Math.ceil(places / sizes.places) * Math.ceil(channels / sizes.channels) * parts
  const deep = Math.ceil(stages / parts)
  const alone = deep * rates.stageAlone + rates.blockAlone
  const busy = Math.ceil(blocks / multiprocessors) * (deep * rates.stage + rates.block)
  const reduce = parts === 1 ? 0 : REDUCED_BYTE_NS * 4 * (parts + 1) * places * channels
  return LAUNCH_NS + Math.max(alone, busy) + reduce
}

/** The way that should be the fastest: always the same for the same convolution and number of multiprocessors. */
export function choose(problem: ConvolutionProblem, arithmetic: Arithmetic, multiprocessors: number): Choice {
  const choices = TILES[arithmetic].flatMap(tile => {
    const { stages, pieces } = measures(problem, tile)
    if (tile.cached !== pieces <= CACHED_PIECES) return []
    return [...new Set(PARTS.map(parts => fullParts(stages, parts)))].map(parts => ({ tile, parts }))
  })
  const costs = choices.map(choice => cost(problem, choice, multiprocessors))
  return choices[costs.indexOf(Math.min(...costs))]!
}

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

/**
 * What the model of costs knows of an H100, in nanoseconds; on other devices the proportions are what counts. Fitted to
 * measurements of every tile on every convolution of R(2+1)D-18 (bench/conv.ts --all).
 */
interface Rates {
  /** Thousands of multiplications in a nanosecond on one multiprocessor. */
  readonly products: number
  /** The least that one stage of one block takes, however small. */
  readonly stage: number
  /** To begin and end a block: addresses, the first copies, and the sums' way out. */
  readonly block: number
}
const RATES: Readonly<Record<Arithmetic, Rates>> = {
  f16: { products: 1.2, stage: 250, block: 2500 },
  tf32: { products: 0.6, stage: 250, block: 2500 },
  f32: { products: 0.12, stage: 500, block: 2500 },
}
/** To launch `reduce`, and for it to read and write a byte. */
const REDUCE = { launch: 3000, byte: 1 / 2000 }

/** An estimate of a choice's time in nanoseconds. */
export function cost(problem: ConvolutionProblem, { tile, parts }: Choice, multiprocessors: number): number {
  const { places, channels, stages } = measures(problem, tile)
  const sizes = tileSizes(tile)
  const { products, stage, block } = RATES[tile.arithmetic]
  const blocks = Math.ceil(places / sizes.places) * Math.ceil(channels / sizes.channels) * parts
  const deep = Math.ceil(stages / parts)
  const elements = tile.arithmetic === 'f16' ? 32 : 16
  // A multiprocessor that has several blocks hides what each of them waits for.
  const busy = (deep * sizes.places * sizes.channels * elements) / (1000 * products)
  const most = Math.ceil(blocks / multiprocessors)
  const alone = deep * stage + block
  const time = Math.max(alone, most * busy + block)
  return parts === 1 ? time : time + REDUCE.launch + REDUCE.byte * 4 * (parts + 1) * places * channels
}

/** The way that should be the fastest: always the same for the same convolution and number of multiprocessors. */
export function choose(problem: ConvolutionProblem, arithmetic: Arithmetic, multiprocessors: number): Choice {
  const choices = TILES[arithmetic].flatMap(tile => {
    const { stages } = measures(problem, tile)
    return [...new Set(PARTS.map(parts => fullParts(stages, parts)))].map(parts => ({ tile, parts }))
  })
  const costs = choices.map(choice => cost(problem, choice, multiprocessors))
  return choices[costs.indexOf(Math.min(...costs))]!
}

import { ROW_BYTES } from '../../../../../kernels/hopper/parts.ts'
import {
  type ConvolutionKernel,
  type ConvolutionPlan,
  type Load,
  planConvolution,
} from '../../../../../kernels/hopper/plan.ts'
import type { Convolution } from '../../../../../models/network.ts'
import { columnsOf, framePlaces, type Lying, lyingBytes, pitchOf } from './places.ts'

/** A convolution with all that its kernel depends on, but for the number of clips. */
export interface HopperProblem {
  readonly convolution: Pick<Convolution, 'name' | 'kernel' | 'padding' | 'relu'>
  /** Of this convolution and of a pick before it, together. */
  readonly stride: readonly [number, number, number]
  readonly from: Lying
  readonly to: Lying
  readonly residual?: Lying
}

/** A kernel for a problem, and which taps of the filter it takes in which order (time, height, width). */
export interface HopperChoice {
  readonly plan: ConvolutionPlan
  readonly taps: readonly number[]
}

/** Shared memory that a block can have, in bytes. */
const SHARED = 232448
/** Boxes of the memory's copy engine reach so far along each axis. */
const BOX = 256

/** Offsets of im2col maps in three dimensions. */
const OFFSETS = 15

type Triple = readonly [number, number, number]

/** Taps of a filter that meet any frame of the input; the others see padding only. */
function usefulTaps({ convolution: { kernel, padding }, stride, from, to }: HopperProblem): Triple[] {
  const taps: Triple[] = []
  for (let t = 0; t < kernel[0]; t++) {
    const frames = Array.from({ length: to.frames }, (_, f) => f * stride[0] + t - padding[0])
    if (!frames.some(f => f >= 0 && f < from.frames)) continue
    for (let y = 0; y < kernel[1]; y++) for (let x = 0; x < kernel[2]; x++) taps.push([t, y, x])
  }
  return taps
}

const same = (a: readonly number[], b: readonly number[]): boolean => a.every((value, i) => value === b[i])

/** Whether it is the stem's: its pixels have eight channels, and its rows fit into one instruction. */
const isStem = ({ convolution: { kernel, padding }, stride, from, to }: HopperProblem): boolean =>
  same(kernel, [1, 7, 7]) &&
  same(padding, [0, 3, 3]) &&
  same(stride, [1, 2, 2]) &&
  from.padded === 8 &&
  from.pad === 0 &&
  from.width % 2 === 0 &&
  to.width <= 64

/** How places can be loaded for tiles of so many rows: the ways that fit, the best first. */
function loadOf(problem: HopperProblem, taps: readonly Triple[], rows: number): Load | undefined {
  const { convolution, stride, from, to } = problem
  const { kernel, padding } = convolution
  const pitch = pitchOf(to)
  if (isStem(problem))
    return { mode: 'stem', height: to.height, width: to.width, pitch: [pitch.height, pitch.width] }
  const alike =
    same(stride, [1, 1, 1]) && from.pad === 1 && same([from.frames, from.height], [to.frames, to.height])
  const places = rows / to.frames
  if (alike && same(kernel, [1, 3, 3]) && same(padding, [0, 1, 1]))
    return { mode: 'shift', side: 3, pitch: pitch.width }
  if (alike && same(kernel.slice(1), [1, 1]) && taps.length === 1)
    return { mode: 'shift', side: 1, pitch: pitch.width }
  if (
    alike &&
    same(kernel, [3, 1, 1]) &&
    same(padding, [1, 0, 0]) &&
    taps.length === 3 &&
    Number.isInteger(places / 16) &&
    places <= BOX
  )
    return { mode: 'frames', places, frames: to.frames, total: framePlaces(to) }
  if (Math.max(...kernel, ...padding) > OFFSETS) return undefined
  return {
    mode: 'im2col',
    taps: taps.map(([t, y, x]) => [x, y, t] as const),
    size: [to.frames, pitch.height, pitch.width],
    stride,
    padding,
  }
}

/** Stages of places and of weights to try for, in this order, as far as they fit. */
const STAGES: readonly (readonly [a: number, b: number])[] = [
  [2, 4],
  [3, 4],
  [4, 5],
  [4, 6],
  [6, 6],
]
/** Where a tap is a load, as many stages of places are needed as of weights. */
const STAGES_BY_TAP: typeof STAGES = [
  [4, 3],
  [4, 4],
  [5, 5],
  [6, 6],
]

/** The most stages that fit; undefined if fewer than needed do. */
function withStages(kernel: ConvolutionKernel): ConvolutionPlan | undefined {
  const plan = planConvolution(kernel)
  const blocks = plan.chunks * plan.taps
  const of = (stagesA: number, stagesB: number) => planConvolution({ ...kernel, stagesA, stagesB })
  const fits = ({ sharedBytes }: ConvolutionPlan) => sharedBytes <= SHARED
  const keeps = kernel.split === 1 && plan.columnTiles === 1 && blocks <= 12
  const kept = [of(3, blocks), of(2, blocks)].find(fits)
  if (keeps && kept) return kept
  const more = kernel.load.mode === 'im2col' ? STAGES_BY_TAP : STAGES
  return [plan, ...more.map(([a, b]) => of(a, b))].findLast(fits)
}

/** Blocks of one cluster that share a tile, and how many blocks in such clusters run at once on 132 multiprocessors. */
const SPLITS: readonly (readonly [split: number, atOnce: number])[] = [
  [1, 132],
  [2, 128],
  [4, 120],
  [8, 112],
]

const SHAPES = [
  { groups: 2, blocks: 2 },
  { groups: 2, blocks: 1 },
  { groups: 1, blocks: 1 },
]
const STEM_SHAPES = [
  { groups: 2, blocks: 4 },
  { groups: 2, blocks: 2 },
  { groups: 2, blocks: 1 },
]

/** Sums of a thread: 64 rows x columns are columns / 2. */
const MOST_SUMS = 144

/** All kernels that could do it. */
export function candidates(problem: HopperProblem): HopperChoice[] {
  const { convolution, from, to, residual } = problem
  const { kernel, relu } = convolution
  const taps = usefulTaps(problem)
  const stem = isStem(problem)
  const found: HopperChoice[] = []
  const dense = { output: to.pad === 0, residual: residual?.pad === 0 }
  // Tiles count places with padding, wherever the output lies.
  const counted: Lying = { ...to, pad: 1 }
  for (const shape of stem ? STEM_SHAPES : SHAPES)
    for (const columns of stem ? [to.padded] : columnsOf(to.padded))
      for (const [split] of stem ? SPLITS.slice(0, 1) : SPLITS) {
        const load = loadOf({ ...problem, to: counted }, taps, 64 * shape.groups * shape.blocks)
        if (!load || (shape.blocks * columns) / 2 > MOST_SUMS) continue
        // Beyond 64 sums and the residual's words, a thread's registers do not suffice.
        if (residual && split === 1 && shape.blocks * columns > 128) continue
        const plan = withStages({
          ...shape,
          name: 'convolution',
          load,
          channelsIn: stem ? 64 : from.padded,
          channelsOut: to.padded,
          columns,
          split,
          // A tap is a load there: as many are needed as of weights.
          stagesA: load.mode === 'im2col' ? 3 : 2,
          stagesB: 3,
          relu,
          residual: residual !== undefined,
          pads: stem && to.pad === 1 ? undefined : pitchOf(counted),
          dense,
        })
        if (!plan || plan.chunks < split) continue
        const order = taps.map(([t, y, x]) => (t * kernel[1] + y) * kernel[2] + x)
        found.push({ plan, taps: order })
      }
  return found
}

/** Tiles of a kernel for so many clips. */
export function tilesOf({ kernel, rows, columnTiles }: ConvolutionPlan, to: Lying, clips: number): number {
  const { load } = kernel
  const counted: Lying = { ...to, pad: 1 }
  if (load.mode === 'stem') return clips * to.frames * Math.ceil(load.height / (rows / 64)) * columnTiles
  if (load.mode === 'frames') return clips * Math.ceil(load.total / load.places) * columnTiles
  return Math.ceil((clips * to.frames * framePlaces(counted)) / rows) * columnTiles
}

/**
 * What the model of costs knows of an H100, fitted to measurements (bench/NOTES.md): cycles of an instruction, a cycle in
 * us, us that a launch and a cluster's meetings take, us of a tile's way out, and bytes that memory moves in a us.
 */
const cyclesOf = (columns: number): number => Math.max(0.54 * columns, columns / 4 + 28)
/** One warpgroup alone leaves the units idle while it goes from one step to the next. */
const ALONE = 1.2
const CYCLE_US = 1 / 1600
const LAUNCH_US = 3.5
/** For the blocks of a cluster to meet twice, and us for each sum that one of them gathers or gives. */
const MEET_US = 3.2
const GATHERED_PER_US = 40e3
const TILE_US = 0.6
const SUMS_PER_US = 40e3
const BYTES_PER_US = 2.4e6
const LOADED_PER_US = 7e6

/** Bytes that a tile's operands take on their way to shared memory. */
function loadedBytes({ kernel, chunks, taps, boxRows, boxes }: ConvolutionPlan): number {
  const { load, columns, stagesB } = kernel
  const weights = stagesB >= chunks * taps ? 0 : chunks * taps * columns
  return (weights + chunks * (load.mode === 'im2col' ? taps : 1) * boxRows * boxes) * ROW_BYTES
}

/** An estimate of a kernel's time in us for so many clips. */
export function costOf({ plan }: HopperChoice, { from, to, residual }: HopperProblem, clips: number): number {
  const { kernel, rows, taps, chunks, lastSteps } = plan
  const { split, columns, groups, blocks } = kernel
  const atOnce = SPLITS.find(([s]) => s === split)![1]
  const turns = Math.ceil((tilesOf(plan, to, clips) * split) / atOnce)
  // A cluster that comes second has nothing loaded yet, and waits for its blocks to find room at once.
  if (split > 1 && turns > 1) return Number.POSITIVE_INFINITY
  const steps = (taps * (4 * (chunks - 1) + lastSteps)) / split
  const multiplying = steps * groups * blocks * cyclesOf(columns) * CYCLE_US * (groups === 1 ? ALONE : 1)
  const out = TILE_US + (rows * columns) / (split * SUMS_PER_US)
  const bytes = clips * (lyingBytes(from) + lyingBytes(to) + (residual ? lyingBytes(residual) : 0))
  const loaded = tilesOf(plan, to, clips) * loadedBytes(plan)
  const time = LAUNCH_US + Math.max(turns * (multiplying + out), bytes / BYTES_PER_US, loaded / LOADED_PER_US)
  return split === 1 ? time : time + MEET_US + (rows * columns) / GATHERED_PER_US
}

/** A kernel that is there already is taken if the best is faster by less than this: each takes time to compile. */
const WORTHWHILE = 1.03

/**
 * The kernel that should be the fastest for so many clips; undefined where none fits.
 * @param there - whether a kernel has been compiled already
 */
export function chooseHopper(
  problem: HopperProblem,
  clips: number,
  there: (plan: ConvolutionPlan) => boolean = () => false,
): HopperChoice | undefined {
  const all = candidates(problem).map(choice => ({ choice, cost: costOf(choice, problem, clips) }))
  all.sort((a, b) => a.cost - b.cost)
  const near = all.filter(({ cost }) => cost <= WORTHWHILE * all[0]!.cost)
  return (near.find(({ choice }) => there(choice.plan)) ?? all[0])?.choice
}

/** For reports: `wgmma 256 x 144`, `wgmma 64 x 96 in 8 parts`. */
export const hopperName = ({ plan: { rows, kernel } }: HopperChoice): string =>
  `wgmma ${rows} x ${kernel.columns} ${kernel.load.mode}${kernel.split > 1 ? ` in ${kernel.split} parts` : ''}`

import type { Limits } from './limits.ts'
import { type BaseStep, isChain, type Template } from './template.ts'

/** A step of a structure: what kind of place it has, and into how many parts it splits what it makes. */
export interface StructureStep extends BaseStep {
  place: 'gpu' | 'cpu'
  segments: number
  /** Parts of a video must meet in one instance. */
  alone: boolean
}

/** The steps of a plan, before it is said how many instances they have. */
export interface Structure {
  steps: StructureStep[]
  /** Small videos are joined by a batcher, and large ones pass it: the network takes what comes. */
  sorts: boolean
  /** Whether the first step has options of its own for a GPU's decoders. */
  decodes: { inFlight: boolean; cpuDecoders: boolean }
}

/** Kinds that run wherever they are put; others stay where the file has them. */
const LOADERS = new Set(['loader', 'synthetic-loader'])
const NETWORKS = new Set(['network', 'synthetic-network'])
const LAYERS = 5

/** All ways to cut a range of layers into at most so many pieces. */
function cutsOf(first: number, last: number, pieces: number): [number, number][][] {
  const whole: [number, number][] = [[first, last]]
  if (pieces <= 1) return [whole]
  const later = Array.from({ length: last - first }, (_, i) => first + i).flatMap(end =>
    cutsOf(end + 1, last, pieces - 1).map(rest => [[first, end] as [number, number], ...rest]),
  )
  return [whole, ...later]
}

/** The steps with one network of a chain cut in each way. */
function cut(steps: readonly BaseStep[], pieces: number): BaseStep[][] {
  const at = steps.findIndex(({ kind }) => kind === 'network')
  if (at < 0 || !isChain(steps)) return [[...steps]]
  const { options, ...network } = steps[at]!
  const first = Number(options.start_index ?? 1)
  const last = Number(options.end_index ?? LAYERS)
  return cutsOf(first, last, pieces).map(ranges => {
    if (ranges.length === 1) return [...steps]
    const made = ranges.map(([start_index, end_index], i) => {
      const { name, ...unnamed } = network
      return { ...(i === 0 ? network : unnamed), options: { ...options, start_index, end_index } }
    })
    return [...steps.slice(0, at), ...made, ...steps.slice(at + 1)].map((step, s) => ({
      ...step,
      sources: s === 0 ? [] : [s - 1],
    }))
  })
}

type Draft = Omit<StructureStep, 'place'>

const whole = (steps: readonly BaseStep[]): Draft[] =>
  steps.map(step => ({ ...step, segments: 1, alone: false }))

/** The steps with what the first makes split into parts, and joined again at the end. */
function split(steps: readonly BaseStep[], segments: number): Draft[] | undefined {
  if (segments === 1) return whole(steps)
  const ends = steps.length > 1 && NETWORKS.has(steps.at(-1)!.kind) && isChain(steps)
  if (!ends) return undefined
  const join: Draft = {
    model: 'aggregator',
    kind: 'aggregator',
    options: { aggregate: segments },
    sources: [steps.length - 1],
    onGpus: false,
    segments: 1,
    alone: true,
  }
  return [...whole(steps).map((step, s) => (s === 0 ? { ...step, segments } : step)), join]
}

/** The steps with a batcher behind the first. */
function withBatcher(steps: readonly BaseStep[]): BaseStep[] {
  const [first, ...others] = steps
  const batcher: BaseStep = {
    model: 'batcher',
    kind: 'batcher',
    options: {},
    sources: [0],
    onGpus: first!.onGpus,
  }
  return [first!, batcher, ...others].map((step, s) => ({ ...step, sources: s === 0 ? [] : [s - 1] }))
}

/** All ways to put the steps on GPUs or on the CPU; pieces of one network go together. */
function placed(steps: readonly Draft[], limits: Limits): StructureStep[][] {
  const placesOf = ({ kind, onGpus }: Draft): readonly StructureStep['place'][] => {
    if (limits.gpus.length === 0) return ['cpu']
    if (LOADERS.has(kind)) return limits.loadersOn
    if (NETWORKS.has(kind) || kind === 'single') return limits.networksOn
    return [onGpus ? 'gpu' : 'cpu']
  }
  return steps.reduce<StructureStep[][]>(
    (done, step) =>
      done.flatMap(before => {
        const last = before.at(-1)
        // A batcher joins what lies where it was made.
        const together = (last?.kind === 'network' && step.kind === 'network') || step.kind === 'batcher'
        return (together && last ? [last.place] : placesOf(step)).map(place => [
          ...before,
          { ...step, place },
        ])
      }),
    [[]],
  )
}

/** The most clips of a video, if the file says: more parts than these there never are. */
function mostClips([first]: readonly BaseStep[]): number {
  const population = first?.options.num_clips_population
  return Array.isArray(population) ? Math.max(...population.map(Number)) : Number.POSITIVE_INFINITY
}

/** All structures of a pipeline within limits; many of them are none that the program would run. */
export function structuresOf({ steps, batcher }: Template, limits: Limits): Structure[] {
  const segments = [...new Set(limits.segments.map(count => Math.min(count, mostClips(steps))))]
  const pieces = cut(steps, limits.pieces)
  const sorted = batcher && steps.length > 1 ? pieces.map(withBatcher).map(whole) : []
  return [...pieces.flatMap(cutSteps => segments.map(count => split(cutSteps, count))), ...sorted]
    .filter(draft => draft !== undefined)
    .flatMap(draft => placed(draft, limits))
    .map(structure)
}

function structure(steps: StructureStep[]): Structure {
  const { kind, place } = steps[0]!
  const inFlight = place === 'gpu' && (kind === 'loader' || kind === 'synthetic-loader')
  return {
    steps,
    sorts: steps[1]?.kind === 'batcher',
    decodes: { inFlight, cpuDecoders: inFlight && kind === 'loader' },
  }
}

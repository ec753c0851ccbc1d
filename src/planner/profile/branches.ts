import type { GroupInput, StepInput } from '../../pipeline/schema.ts'
import type { PipelineFile } from '../types.ts'

/** A part of a pipeline in which nothing runs beside the steps that it is for. */
export interface Branch {
  file: PipelineFile
  /** Steps of it whose calls run by themselves, by their places; all without it. */
  only?: readonly number[]
}

/** By step: the places of those that it reads from. */
function sourcesOf({ pipeline }: PipelineFile): number[][] {
  const placeOf = (reference: unknown): number =>
    typeof reference === 'number'
      ? reference
      : [
          pipeline.findIndex(({ name }) => name === reference),
          pipeline.findIndex(({ model }) => model === reference),
        ].find(at => at >= 0)!
  return pipeline.map(({ inputs }, s) => inputs?.map(placeOf) ?? (s === 0 ? [] : [s - 1]))
}

/** A step and all before it, by their places, ascending. */
function above(sources: readonly number[][], step: number): number[] {
  const found = new Set([step])
  for (let s = step; s >= 0; s--) if (found.has(s)) for (const source of sources[s]!) found.add(source)
  return [...found].sort((a, b) => a - b)
}

const withoutReaders = ({ out_queues: _, queue_selector: __, ...group }: GroupInput): GroupInput => group

/** The file with some of its steps alone, the last of which passes nothing on. */
function keep(file: PipelineFile, sources: readonly number[][], kept: readonly number[]): PipelineFile {
  const pipeline = kept.map((at, s): StepInput => {
    const { inputs: _, ...step } = file.pipeline[at]!
    const made = s === 0 ? step : { ...step, inputs: sources[at]!.map(source => kept.indexOf(source)) }
    if (s < kept.length - 1) return made
    const { out_queues: __, queue_selector: ___, num_shared_tensors: ____, ...last } = made
    return { ...last, queue_groups: last.queue_groups.map(withoutReaders) }
  })
  return { ...file, pipeline }
}

/**
 * Parts of a pipeline in which each step's calls run by themselves, however many requests are in flight: where a step feeds
 * several, these would run at once. Way by way from the first step to one that no other reads from, or of which the
 * results are joined; then what joins them.
 */
export function branchesOf(file: PipelineFile): Branch[] {
  const sources = sourcesOf(file)
  const readers = sources.map((_, s) => sources.flatMap((own, reader) => (own.includes(s) ? [reader] : [])))
  if (readers.every(({ length }) => length <= 1)) return [{ file }]
  const isJoin = (step: number) => sources[step]!.length > 1
  const joined = (step: number) => above(sources, step).some(isJoin)
  const ends = [...sources.keys()].filter(
    step => !joined(step) && (readers[step]!.length === 0 || readers[step]!.some(isJoin)),
  )
  const leaves = [...sources.keys()].filter(step => joined(step) && readers[step]!.length === 0)
  return [
    ...ends.map(end => ({ file: keep(file, sources, above(sources, end)) })),
    ...leaves.map(leaf => {
      const kept = above(sources, leaf)
      return {
        file: keep(file, sources, kept),
        only: kept.flatMap((step, at) => (joined(step) ? [at] : [])),
      }
    }),
  ]
}

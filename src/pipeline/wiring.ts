import type { Graph } from './graph.ts'
import type { Path, Problems } from './problems.ts'
import type { GroupInput, StepInput } from './schema.ts'

const setText = (set: ReadonlySet<number>): string => `{${[...set].sort((a, b) => a - b).join(', ')}}`

const equal = (a: ReadonlySet<number>, b: ReadonlySet<number>): boolean =>
  a.size === b.size && a.isSubsetOf(b)

/** A key of a group, or of its step if the group has none, and where it stands. */
function find<K extends keyof GroupInput>(steps: StepInput[], step: number, group: number, key: K) {
  const own = steps[step]!.queue_groups[group]!
  const inGroup = Object.hasOwn(own, key)
  const path: Path =
    inGroup || !Object.hasOwn(steps[step]!, key)
      ? ['pipeline', step, 'queue_groups', group, key]
      : ['pipeline', step, key]
  return { value: (inGroup ? own[key] : steps[step]![key]) as GroupInput[K] | undefined, path }
}

/** Queues that a step takes from, or puts into. */
function queuesOf(steps: StepInput[], step: number, key: 'in_queue' | 'out_queues'): Set<number> {
  return new Set(steps[step]!.queue_groups.flatMap((_, group) => find(steps, step, group, key).value ?? []))
}

function checkGroup(steps: StepInput[], graph: Graph, step: number, group: number, problems: Problems): void {
  const first = step === 0
  const readers = graph.readers[step]!
  const last = readers.length === 0
  const get = <K extends keyof GroupInput>(key: K) => find(steps, step, group, key)
  const gpus = get('gpus')
  if (gpus.value === undefined)
    problems.add(gpus.path, undefined, 'a list with the GPU of each instance, -1 for the CPU')

  const input = get('in_queue')
  if (first && input.value !== undefined)
    problems.add(
      input.path,
      input.value,
      'the first step takes from the client and has no in_queue; remove it',
    )
  const source = graph.sources[step]![0]
  if (source !== undefined && input.value === undefined)
    problems.add(
      input.path,
      undefined,
      `one of the queues ${setText(queuesOf(steps, source, 'out_queues'))} that step ${source} puts into`,
    )

  const output = get('out_queues')
  const ends = step === steps.length - 1 ? 'the last step' : `step ${step}, which no step reads from,`
  if (last && output.value !== undefined)
    problems.add(
      output.path,
      output.value,
      `${ends} has no out_queues, its results leave the pipeline; remove it`,
    )
  if (!last && output.value === undefined)
    problems.add(
      output.path,
      undefined,
      `some of the queues ${setText(queuesOf(steps, readers[0]!, 'in_queue'))} that step ${readers[0]} takes from`,
    )

  if (!last) return
  const segments = get('num_segments')
  if (segments.value !== undefined && segments.value !== 1)
    problems.add(segments.path, segments.value, `${ends} has nobody to share segments with; remove it`)
  const slots = get('num_shared_tensors')
  if (slots.value !== undefined)
    problems.add(slots.path, slots.value, `${ends} passes no tensors on; remove it`)
}

/** A step's output queues must be the input queues of each step that reads from it, as sets. */
function checkBoundary(steps: StepInput[], step: number, reader: number, problems: Problems): void {
  const outputs = queuesOf(steps, step, 'out_queues')
  const inputs = queuesOf(steps, reader, 'in_queue')
  // A step that names no queues at all has been told so already.
  if (outputs.size === 0 || inputs.size === 0 || equal(outputs, inputs)) return
  const both = `step ${step} puts into ${setText(outputs)} and step ${reader} takes from ${setText(inputs)}; these sets must be equal`
  steps[step]!.queue_groups.forEach((_, group) => {
    const { value, path } = find(steps, step, group, 'out_queues')
    if (value?.some(queue => !inputs.has(queue))) problems.add(path, value, both)
  })
  steps[reader]!.queue_groups.forEach((_, group) => {
    const { value, path } = find(steps, reader, group, 'in_queue')
    if (value !== undefined && !outputs.has(value)) problems.add(path, value, both)
  })
}

/** RnB's rules for how the steps' queues connect. The steps are as their schema wants them. */
export function checkWiring(steps: StepInput[], graph: Graph, problems: Problems): void {
  steps.forEach((step, s) => {
    step.queue_groups.forEach((_, group) => {
      checkGroup(steps, graph, s, group, problems)
    })
    for (const reader of graph.readers[s]!) checkBoundary(steps, s, reader, problems)
  })
}

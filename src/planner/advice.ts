import { UsageError } from '../errors.ts'
import type { Candidate } from './search/find.ts'
import type { Objective } from './search/objective.ts'
import { Space } from './space/space.ts'
import type { Arrangement, Machine, Predictor } from './types.ts'

/** Something that a plan has more of, and how good it would be with it. */
export interface Advice {
  what: string
  value: number
}

/** The best of some arrangements on a machine; undefined if none runs there. */
function best(
  predictor: Predictor,
  objective: Objective,
  arrangements: readonly Arrangement[],
): number | undefined {
  const values = arrangements.flatMap(arrangement => {
    try {
      if (predictor.overflow?.(arrangement) !== undefined) return []
      const value = objective.value(predictor.predict(arrangement, objective.load))
      return value === Number.NEGATIVE_INFINITY ? [] : [value]
    } catch (error) {
      if (error instanceof UsageError) return []
      throw error
    }
  })
  return values.length === 0 ? undefined : Math.max(...values)
}

/** The arrangement with one more instance of a step, in each place where it has one. */
function oneMoreReplica(arrangement: Arrangement, step: number): Arrangement[] {
  const { pipeline } = arrangement.config
  return pipeline[step]!.queue_groups.map((_, g) => {
    const groups = pipeline[step]!.queue_groups.map((group, i) =>
      i === g ? { ...group, gpus: [...group.gpus!, group.gpus![0]!] } : group,
    )
    const config = {
      ...arrangement.config,
      pipeline: pipeline.with(step, { ...pipeline[step]!, queue_groups: groups }),
    }
    return { ...arrangement, config }
  })
}

/** The plan on one GPU more, which does what one of the others does; queues as before, or in any other way. */
function oneMoreGpu({ template, limits, lists }: Space, { choice }: Candidate): Arrangement[] {
  if (choice.roles.length === 0) return []
  const wider = new Space(template, { ...limits, gpus: [...limits.gpus, Math.max(...limits.gpus) + 1] }, [
    lists[choice.structure]!.structure,
  ])
  return [...new Set(choice.roles)].flatMap(role => {
    const more = { ...choice, structure: 0, roles: [...choice.roles, role].sort((a, b) => a - b) }
    return wider.queuesOf(more).map((_, queues) => wider.arrangement({ ...more, queues }))
  })
}

/** The plan, and the same with one more thread that decodes on the host where it has such. */
function oneMoreDecoder(arrangement: Arrangement): Arrangement[] {
  const { pipeline } = arrangement.config
  const decoders = pipeline[0]!.cpu_decoders
  if (typeof decoders !== 'number') return [arrangement]
  const config = {
    ...arrangement.config,
    pipeline: pipeline.with(0, { ...pipeline[0]!, cpu_decoders: decoders + 1 }),
  }
  return [arrangement, { ...arrangement, config }]
}

const CORES = 'cores'

/** What one more replica of each step, one more GPU and one more core would bring, one at a time. */
export function adviceOn(
  space: Space,
  predictor: Predictor,
  objective: Objective,
  winner: Candidate,
): Advice[] {
  const { machine } = predictor
  const { arrangement } = winner
  const advice: [string, Predictor, Arrangement[]][] = arrangement.config.pipeline.map(
    ({ name, model }, step) => [
      `one more replica of step ${step} (${name ?? model})`,
      predictor,
      oneMoreReplica(arrangement, step),
    ],
  )
  const on = (changed: Partial<Machine>): Predictor => predictor.on({ ...machine, ...changed })
  if (machine.gpus > 0)
    advice.push(['one more GPU', on({ gpus: machine.gpus + 1 }), oneMoreGpu(space, winner)])
  const carried = machine.host[CORES]
  if (carried !== undefined) {
    // One more carries what each of them does.
    const { cores = carried } = machine
    advice.push([
      'one more core of the host',
      on({ cores: cores + 1, host: { ...machine.host, [CORES]: (carried * (cores + 1)) / cores } }),
      oneMoreDecoder(arrangement),
    ])
  }
  return advice.flatMap(([what, where, arrangements]) => {
    const value = best(where, objective, arrangements)
    return value === undefined ? [] : [{ what, value }]
  })
}

import { builtin } from '../../src/pipeline/builtin.ts'
import type { Choice } from '../../src/planner/space/choice.ts'
import type { Limits } from '../../src/planner/space/limits.ts'
import type { Space } from '../../src/planner/space/space.ts'
import { type Template, templateOf } from '../../src/planner/space/template.ts'

/** A loader and networks one after the other, whose times are options; on GPUs as far as a plan may put them there. */
export function chain(loader: object, ...networks: object[]): Template {
  return templateOf(
    {
      pipeline: [
        {
          model: 'synthetic-loader',
          queue_groups: [{ gpus: [0], out_queues: [0] }],
          num_clips_population: [1],
          num_clips_weights: [1],
          ...loader,
        },
        ...networks.map((network, n) => ({
          model: 'synthetic-network',
          queue_groups: [{ gpus: [0], in_queue: 0, ...(n + 1 < networks.length && { out_queues: [0] }) }],
          ...network,
        })),
      ],
    },
    builtin,
  )
}

/** The same behind a batcher for small videos, which a plan may keep or leave out. */
export const sorting = (template: Template): Template => ({ ...template, batcher: true })

/** A space with next to no choice in it, to be widened. */
export const narrow: Limits = {
  gpus: [],
  replicas: 1,
  cpuReplicas: [1],
  inFlight: [1],
  cpuDecoders: [0],
  shareClips: [false],
  batches: [1],
  delaysMs: [0],
  loadersOn: ['gpu', 'cpu'],
  networksOn: ['gpu', 'cpu'],
  pieces: 1,
  segments: [1],
  selectors: [],
  perGpuQueues: false,
  queueSize: 1000,
}

/** All plans of a space, one after the other. */
export function* everyPlan(space: Space, from: readonly Choice[] = space.roots): Generator<Choice> {
  for (const choice of from) {
    const children = space.children(choice)
    if (children) yield* everyPlan(space, children)
    else yield choice
  }
}

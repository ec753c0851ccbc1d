import { iteratorNames } from '../client/videos.ts'
import { stepKinds } from '../steps/index.ts'
import { selectorKinds } from '../steps/selectors.ts'
import type { Registry } from './registry.ts'

/** Everything that comes with the program and a pipeline file may name. */
export const builtin: Registry = {
  kinds: stepKinds,
  selectors: selectorKinds.map(kind => kind.names),
  selectorQueues: new Map(
    selectorKinds.flatMap(({ names, queues }) => (queues === undefined ? [] : [[names[0], queues]])),
  ),
  iterators: iteratorNames,
}

import { canonicalJson } from '../../pipeline/hash.ts'
import type { Space } from './space.ts'
import type { StructureStep } from './structure.ts'

/** What a step is to someone who measures it: how many parts it joins changes nothing about a call. */
function markOf({ model, options, place }: StructureStep): string {
  const { aggregate: _, ...own } = options
  return canonicalJson([model, own, place])
}

/** Structures, by their places in the space, that between them have every step of it in every kind of place: the first that do. */
export function coveringStructures({ lists }: Space): number[] {
  const seen = new Set<string>()
  return lists.flatMap(({ structure }, at) => {
    const marks = structure.steps.map(markOf)
    if (marks.every(mark => seen.has(mark))) return []
    for (const mark of marks) seen.add(mark)
    return [at]
  })
}

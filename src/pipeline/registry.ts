import type { StepKind } from '../steps/step.ts'

/** This project's name of something, then other names for it (RnB's Python classes). */
export type Names = readonly string[]

/** What a pipeline file may name. */
export interface Registry {
  readonly kinds: readonly StepKind[]
  readonly selectors: readonly Names[]
  /** Selectors that choose among so many queues and no other number, by this project's name. */
  readonly selectorQueues?: ReadonlyMap<string, number>
  readonly iterators: readonly Names[]
  /** Any path of a module is taken unseen: for editors, which do not run modules. */
  readonly open?: boolean
}

export const allNames = (table: readonly Names[]): string[] => table.flatMap(names => [...names])

/** This project's name for a name of the table. */
export function ownName(table: readonly Names[], name: string): string | undefined {
  return table.find(names => names.includes(name))?.[0]
}

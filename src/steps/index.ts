import { aggregator } from './aggregator.ts'
import { batcher } from './batcher.ts'
import { loader } from './loader.ts'
import { network } from './network.ts'
import { single } from './single.ts'
import type { StepKind } from './step.ts'

/** Every built-in kind of step. */
export const stepKinds: readonly StepKind[] = [loader, network, single, batcher, aggregator]

export function stepKind(name: string): StepKind | undefined {
  return stepKinds.find(kind => kind.names.includes(name))
}

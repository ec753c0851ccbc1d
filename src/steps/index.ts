import { aggregator } from './aggregator.ts'
import { batcher } from './batcher.ts'
import { loader } from './loader.ts'
import { network } from './network.ts'
import { type Selector, type SelectorContext, selectorOf } from './selectors.ts'
import { single } from './single.ts'
import type { StepKind } from './step.ts'
import { syntheticLoader } from './synthetic/loader.ts'
import { syntheticNetwork } from './synthetic/network.ts'
import { isModulePath } from './user/module.ts'
import { userSelector } from './user/selector.ts'
import { userStep } from './user/step.ts'

/** Every built-in kind of step. */
export const stepKinds: readonly StepKind[] = [
  loader,
  network,
  single,
  batcher,
  aggregator,
  syntheticLoader,
  syntheticNetwork,
]

export function stepKind(name: string): StepKind | undefined {
  return stepKinds.find(kind => kind.names.includes(name))
}

/** A kind of step as plans name it, from its module if it has one. @throws {ModuleError} */
export async function plannedKind({ kind, module }: { kind: string; module?: string }): Promise<StepKind> {
  const found = module === undefined ? stepKind(kind) : await userStep(kind, module)
  if (!found) throw new RangeError(`no step is called ${kind}`)
  return found
}

/**
 * An instance's queue selector.
 * @param name this project's, or the absolute path of a module, as a checked configuration has it
 * @throws {ModuleError}
 */
export const plannedSelector = async (name: string, context: SelectorContext): Promise<Selector> =>
  isModulePath(name) ? await userSelector(name, context) : selectorOf(name, context)

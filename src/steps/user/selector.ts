import type { Item } from '../../queue/item.ts'
import type { SelectorContext as InnerContext, Selector as InnerSelector } from '../selectors.ts'
import type { Selector, SelectorClass } from './api.ts'
import { ModuleError, moduleError } from './fault.ts'
import { importClass } from './module.ts'

/** The class of queue selectors that a module exports. @throws {ModuleError} */
export const selectorClass = async (file: string): Promise<SelectorClass> =>
  (await importClass(file, ['select'])) as unknown as SelectorClass

/** A selector of the user's, for one instance. @throws {ModuleError} also when it selects */
export async function userSelector(
  file: string,
  { queues, ...about }: Omit<InnerContext, 'options'>,
): Promise<InnerSelector> {
  const Class = await selectorClass(file)
  const checked =
    <T>(name: string, ask: (index: number) => T) =>
    (index: number): T => {
      if (!(Number.isInteger(index) && index >= 0 && index < queues))
        throw new RangeError(`${name}(${index}): queues are 0 to ${queues - 1}`)
      return ask(index)
    }
  let selector: Selector
  try {
    selector = new Class({
      queues,
      depth: checked('depth', about.depth),
      full: checked('full', about.full),
      near: checked('near', about.near),
    })
  } catch (error) {
    throw moduleError(file, 'constructor', error)
  }
  return ({ shares, tensors }: Item) => {
    let chosen: unknown
    try {
      chosen = selector.select({
        clips: shares.reduce((sum, { clips }) => sum + clips, 0),
        requests: shares.map(({ request, part, parts, clips }) => ({ id: request, part, parts, clips })),
        shapes: tensors.map(({ shape }) => shape),
      })
    } catch (error) {
      throw moduleError(file, 'select()', error)
    }
    if (typeof chosen !== 'number' || !Number.isInteger(chosen) || chosen < 0 || chosen >= queues)
      throw new ModuleError(
        `${file}: select() gave ${Bun.inspect(chosen)}; it must give a queue from 0 to ${queues - 1}`,
      )
    return chosen
  }
}

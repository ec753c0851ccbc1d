import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as v from 'valibot'
import type { StepKind } from '../steps/step.ts'
import { ModuleError } from '../steps/user/fault.ts'
import { isModulePath } from '../steps/user/module.ts'
import { selectorClass } from '../steps/user/selector.ts'
import { userStep } from '../steps/user/step.ts'
import { videosClass } from '../steps/user/videos.ts'
import { type Path, Problems, pathText } from './problems.ts'
import type { Names, Registry } from './registry.ts'

const groupSchema = v.looseObject({ queue_selector: v.optional(v.unknown()) })

/** As much of a pipeline file as names modules; all else is checked once they are known. */
const namesSchema = v.looseObject({
  video_path_iterator: v.optional(v.unknown()),
  pipeline: v.array(
    v.looseObject({
      model: v.optional(v.unknown()),
      queue_selector: v.optional(v.unknown()),
      queue_groups: v.fallback(v.array(groupSchema), []),
    }),
  ),
})

interface Named {
  path: Path
  name: string
}

/** What a file names, where; undefined if it is no pipeline file, which others say better. */
function namesIn(text: string) {
  let value: unknown
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch {
    return undefined
  }
  const parsed = v.safeParse(namesSchema, value)
  if (!parsed.success) return undefined
  const { video_path_iterator, pipeline } = parsed.output
  const found = (path: Path, name: unknown): Named[] => (isModulePath(name) ? [{ path, name }] : [])
  return {
    models: pipeline.flatMap(({ model }, s) => found(['pipeline', s, 'model'], model)),
    selectors: pipeline.flatMap(({ queue_selector, queue_groups }, s) => [
      ...found(['pipeline', s, 'queue_selector'], queue_selector),
      ...queue_groups.flatMap((group, g) =>
        found(['pipeline', s, 'queue_groups', g, 'queue_selector'], group.queue_selector),
      ),
    ]),
    iterators: found(['video_path_iterator'], video_path_iterator),
  }
}

/**
 * What a pipeline file may name, with the modules of the user's that it names. This imports them: their code runs.
 * Selectors and iterators from modules go by the module's absolute path.
 * @throws {UsageError} that lists the modules that cannot be used: where the file names them, and why
 */
export async function withModules(file: string, registry: Registry): Promise<Registry> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return registry
  }
  const names = namesIn(text)
  if (!names) return registry
  const problems = new Problems(file)
  const folder = dirname(resolve(file))
  const load = async <T>(found: readonly Named[], use: (name: string, module: string) => Promise<T>) => {
    const loaded = new Map<string, T>()
    for (const { path, name } of found) {
      try {
        if (!loaded.has(name)) loaded.set(name, await use(name, resolve(folder, name)))
      } catch (error) {
        if (!(error instanceof ModuleError)) throw error
        problems.addText(path, `${pathText(path)}: ${error.message}`)
      }
    }
    return [...loaded.values()]
  }
  const kinds: StepKind[] = await load(names.models, userStep)
  const named =
    (check: (module: string) => Promise<unknown>) =>
    async (name: string, module: string): Promise<Names> => {
      await check(module)
      return [module, name]
    }
  const selectors = await load(names.selectors, named(selectorClass))
  const iterators = await load(names.iterators, named(videosClass))
  problems.raise()
  return {
    ...registry,
    kinds: [...registry.kinds, ...kinds],
    selectors: [...registry.selectors, ...selectors],
    iterators: [...registry.iterators, ...iterators],
  }
}

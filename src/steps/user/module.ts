import { statSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { ModuleError, moduleError } from './fault.ts'

/** A path to a module, as names in a pipeline file: ./x.ts, ../x.js, /x.mts. */
export const MODULE_PATH = /^\.{0,2}\//

/** Whether a name in a pipeline file is a path to a module. */
export const isModulePath = (name: unknown): name is string =>
  typeof name === 'string' && MODULE_PATH.test(name)

let imported = false

/** Whether this thread runs code of the user's. */
export const hasModules = (): boolean => imported

/** Standard output is for JSON Lines: what a module prints goes where people read. */
function keepStdout(): void {
  if (imported) return
  imported = true
  const say = console.error.bind(console)
  Object.assign(console, { log: say, info: say, debug: say })
}

/** A class, as its constructor. */
export type Constructor = (new (context: never) => object) & { readonly prototype: object }

const isClass = (value: unknown): value is Constructor =>
  typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))

/**
 * Imports a module and takes the class that is its default export.
 * @param path absolute
 * @param methods that its objects must have
 * @throws {ModuleError} saying what is wrong, and where
 */
export async function importClass(path: string, methods: readonly (string | symbol)[]): Promise<Constructor> {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile()) throw new ModuleError(`${path}: no such file`)
  keepStdout()
  let exports: Record<string, unknown>
  try {
    exports = await import(pathToFileURL(path).href)
  } catch (error) {
    throw moduleError(path, 'import', error)
  }
  const found = exports.default
  if (!isClass(found)) {
    const names = Object.keys(exports).filter(name => name !== 'default')
    const instead = names.length > 0 ? `; it exports ${names.join(', ')}` : ''
    const state = found === undefined ? 'has no default export' : 'has a default export that is no class'
    throw new ModuleError(`${path}: ${state}${instead}: write \`export default class ...\``)
  }
  const lacking = methods.find(method => typeof Reflect.get(found.prototype, method) !== 'function')
  if (lacking !== undefined)
    throw new ModuleError(
      `${path}: class ${found.name || '(anonymous)'} has no method ${typeof lacking === 'symbol' ? `[${lacking.description}]` : `${lacking}()`}`,
    )
  return found
}

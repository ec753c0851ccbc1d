import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import * as v from 'valibot'

/** A module of the user's went wrong: `FILE:LINE:COLUMN: what`, with the stack of what it threw. */
export class ModuleError extends Error {
  override readonly name = 'ModuleError'
}

/** This program's own source; compiled, its frames name files that are not there. */
const OWN = ['src', 'ffi', 'models'].map(name => `${resolve(import.meta.dir, '../../..', name)}/`)
const FRAME = /^\s*at .*?\(?(?:file:\/\/)?(\/.+):(\d+):(\d+)\)?$/

/** `FILE:LINE:COLUMN` of the first frame that is the user's code. */
function placeIn(stack: string): string | undefined {
  for (const line of stack.split('\n')) {
    const [, file, row, column] = FRAME.exec(line) ?? []
    if (!file || OWN.some(folder => file.startsWith(folder)) || !existsSync(file)) continue
    return `${file}:${row}:${column}`
  }
  return undefined
}

/** What Bun gives of a syntax error, where a compiled program's message does not say. */
const syntaxSchema = v.looseObject({
  message: v.string(),
  position: v.looseObject({ file: v.string(), line: v.number(), column: v.number() }),
})

/** What Bun gives of an import that leads nowhere. */
const unresolvedSchema = v.looseObject({
  message: v.string(),
  specifier: v.string(),
  referrer: v.string(),
})

/** Where a file first names what it imports. */
function placeOfImport(file: string, specifier: string): string {
  try {
    const lines = readFileSync(file, 'utf8').split('\n')
    const row = lines.findIndex(line => [`'`, `"`].some(quote => line.includes(quote + specifier + quote)))
    return row < 0 ? file : `${file}:${row + 1}:${lines[row]!.indexOf(specifier)}`
  } catch {
    return file
  }
}

function describeImport(error: unknown): string | undefined {
  const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error]
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  const syntax = v.safeParse(syntaxSchema, errors[0])
  if (syntax.success) {
    const { message, position } = syntax.output
    return `${position.file}:${position.line}:${position.column}: ${message}${more}`
  }
  const unresolved = v.safeParse(unresolvedSchema, errors[0])
  if (!unresolved.success) return undefined
  const { specifier, referrer } = unresolved.output
  return `${placeOfImport(referrer, specifier)}: '${specifier}' cannot be found`
}

const textOf = (thrown: unknown): string =>
  thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : `threw ${Bun.inspect(thrown)}`

/**
 * What a module threw, with its place.
 * @param file the module, if what was thrown does not say where it was
 * @param what the module did: `run()`, `import`
 */
export function moduleError(file: string, what: string, thrown: unknown): ModuleError {
  const stack = thrown instanceof Error ? (thrown.stack ?? '') : ''
  const told = what === 'import' ? describeImport(thrown) : undefined
  const fault = new ModuleError(told ?? `${placeIn(stack) ?? file}: ${what}: ${textOf(thrown)}`)
  // Frames of this program say nothing to whoever wrote the module.
  fault.stack = stack
  return fault
}

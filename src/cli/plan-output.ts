import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from '../results/atomic-file.ts'

export function writeJson(path: string, value: unknown): void {
  write(path, `${JSON.stringify(value, null, 2)}\n`)
}

/** @throws {UsageError} if it can't be written */
export function write(path: string, content: string): void {
  try {
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileAtomic(path, content)
  } catch (error) {
    throw new UsageError(`plan: ${path} could not be written: ${(error as Error).message}`)
  }
}

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import { UsageError } from '../errors.ts'
import { writeFileAtomic } from '../results/atomic-file.ts'
import { type SummaryLine, summarySchema } from '../results/schema.ts'
import type { Flags } from './grid.ts'

const RECORD = 'flags.json'
const RESULTS = 'results.jsonl'
const UNFINISHED = 'unfinished.jsonl'

/** The folder of one run: its flags, its results once it has ended, and what it said. */
export class PointFolder {
  constructor(readonly path: string) {}

  /** Where a run writes until it has ended. */
  get unfinished(): string {
    return join(this.path, UNFINISHED)
  }

  /** Whether a run has ended here. */
  get ended(): boolean {
    return existsSync(join(this.path, RESULTS))
  }

  /** What the run writes to standard error. */
  get messages(): string {
    return join(this.path, 'messages.txt')
  }

  /**
   * The summary of a run that ended here before.
   * @throws {UsageError} if it was another run's: with other flags
   */
  earlier(flags: Flags): SummaryLine | undefined {
    const record = join(this.path, RECORD)
    if (!existsSync(record)) return undefined
    if (readFileSync(record, 'utf8') !== text(flags))
      throw new UsageError(`sweep: ${this.path} has a run with other flags; choose another --out`)
    return existsSync(join(this.path, RESULTS)) ? this.#summary(RESULTS) : undefined
  }

  /** @throws {UsageError} if it can't be written */
  begin(flags: Flags): void {
    try {
      mkdirSync(this.path, { recursive: true })
      writeFileSync(this.messages, '')
      writeFileAtomic(join(this.path, RECORD), text(flags))
    } catch (error) {
      throw new UsageError(`sweep: ${this.path} cannot be written: ${(error as Error).message}`)
    }
  }

  /** The run has ended as a measurement. */
  finish(): SummaryLine {
    renameSync(this.unfinished, join(this.path, RESULTS))
    return this.#summary(RESULTS)
  }

  #summary(name: string): SummaryLine {
    const path = join(this.path, name)
    const last = readFileSync(path, 'utf8').trimEnd().split('\n').at(-1)!
    const checked = v.safeParse(v.pipe(v.string(), v.parseJson(), summarySchema), last)
    if (checked.success) return checked.output
    throw new UsageError(`sweep: ${path} does not end with a summary; remove it to run this point again`)
  }
}

const text = (flags: Flags): string => `${JSON.stringify(flags, null, 2)}\n`

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ResultLine, SummaryLine } from '../src/results/schema.ts'

/** The program's own environment: without what makes a compiled executable act as `bun`. */
const environment = (): Record<string, string | undefined> => ({ ...process.env, BUN_BE_BUN: undefined })

/** A run that did not end as asked; its message is what the program said. */
export class RunFailed extends Error {
  override readonly name = 'RunFailed'
}

/** What a run said. */
export interface Ran {
  summary: SummaryLine
  /** Of videos that have one; empty unless the flags ask for lines on standard output. */
  results: ResultLine[]
  /** That the process took in all. */
  wallS: number
  /** Processor time of it. */
  cpuS: number
}

/** `rnb run` of an executable, with its logs where nobody needs to clear up after it. */
export class RnbCommand {
  readonly #logs = mkdtempSync(join(tmpdir(), 'rnb-bench-'))

  constructor(readonly executable: string) {}

  /** @throws {RunFailed} */
  run(flags: readonly string[]): Ran {
    const began = performance.now()
    const { stdout, stderr, exitCode, resourceUsage } = Bun.spawnSync(
      [this.executable, 'run', ...flags, '--quiet', '--log-dir', this.#logs],
      { env: environment(), maxBuffer: 2 ** 30 },
    )
    const wallS = (performance.now() - began) / 1000
    if (exitCode !== 0) throw new RunFailed(`exit status ${exitCode}: ${stderr.toString().trim()}`)
    const lines = stdout.toString().trimEnd().split('\n')
    const summary = JSON.parse(lines.pop()!) as SummaryLine
    const results = lines.map(line => JSON.parse(line) as ResultLine).filter(({ type }) => type === 'result')
    return { summary, results, wallS, cpuS: Number(resourceUsage.cpuTime.total) / 1e6 }
  }

  /** Removes the logs. */
  close(): void {
    rmSync(this.#logs, { recursive: true, force: true })
  }
}

/** The one in the middle, or the mean of the two there. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2
}

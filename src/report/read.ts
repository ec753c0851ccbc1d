import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { readResults } from './read-results.ts'
import { readOldLogs } from './read-rnb.ts'
import type { ReportRun } from './run.ts'

const RESULTS = 'results.jsonl'

/** Reads one run: a log folder of this program or of RnB, or a file that `--results` wrote. @throws {UsageError} */
function readRun(path: string): Promise<ReportRun> | ReportRun {
  if (!existsSync(path)) throw new UsageError(`report: ${path} does not exist`)
  if (!statSync(path).isDirectory()) return readResults(path, path)
  const results = join(path, RESULTS)
  return existsSync(results) ? readResults(results, path) : readOldLogs(path)
}

/** The same names get numbers. */
function distinct(runs: readonly ReportRun[]): ReportRun[] {
  const seen = new Map<string, number>()
  return runs.map(run => {
    const count = (seen.get(run.name) ?? 0) + 1
    seen.set(run.name, count)
    return count === 1 ? run : { ...run, name: `${run.name} (${count})` }
  })
}

/**
 * Reads runs in the order given.
 * @throws {UsageError} naming the first path that holds no run
 */
export async function readRuns(paths: readonly string[]): Promise<ReportRun[]> {
  const runs: ReportRun[] = []
  for (const path of paths) runs.push(await readRun(path))
  return distinct(runs)
}

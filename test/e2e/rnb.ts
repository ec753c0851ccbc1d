import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const root = new URL('../..', import.meta.url).pathname
export const binary = join(root, 'dist/rnb')
export const sharedVideos = join(root, '../shared/videos')
export const hasShared = existsSync(join(sharedVideos, 'truth.json'))
if (!hasShared) console.warn('skipped: ../shared/videos is not here')

export interface Outcome {
  status: number | null
  stdout: string
  stderr: string
  /** Objects of standard output, one a line. */
  lines: Record<string, unknown>[]
}

/** An empty folder of this test's own. */
export const scratch = (): string => mkdtempSync(join(tmpdir(), 'rnb-e2e-'))

/** Runs the compiled binary to its end. Logs go to a scratch folder unless the arguments say otherwise. */
export async function rnb(
  args: string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Outcome> {
  const child = Bun.spawn([binary, ...args], {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  const status = await child.exited
  const lines = stdout
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Record<string, unknown>)
  return { status, stdout, stderr, lines }
}

/** Objects of one type: `result`, `error` or `summary`. */
export const ofType = (outcome: Outcome, type: string): Record<string, unknown>[] =>
  outcome.lines.filter(line => line.type === type)

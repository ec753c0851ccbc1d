import { expect, test } from 'bun:test'
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { binary, demo, root, scratch } from './rnb.ts'

function sweep(out: string, ...flags: string[]) {
  const { stdout, stderr, exitCode } = Bun.spawnSync(
    [binary, 'sweep', '-c', demo.config, '--out', out, '--warmup', '2', ...flags],
    { cwd: root },
  )
  const lines = stdout.toString().trimEnd().split('\n').filter(Boolean)
  return { lines: lines.map(line => JSON.parse(line)), stderr: stderr.toString(), exitCode }
}

test('runs each combination once, and reports', () => {
  const out = join(scratch(), 'sweep')
  const flags = ['-mi', '0,20', '-b', '1,2', '-v', '8']
  const first = sweep(out, ...flags)
  expect(first.exitCode).toBe(0)
  expect(first.lines.map(({ name }) => name)).toEqual(['mi0-b1', 'mi0-b2', 'mi20-b1', 'mi20-b2'])
  for (const { exit, earlier, throughput } of first.lines) {
    expect(exit.status).toBe(0)
    expect(earlier).toBe(false)
    expect(throughput.videos_per_s).toBeGreaterThan(0)
  }
  expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('mi20-b2')

  // As after an interruption: what has its results is not run again.
  const kept = join(out, 'mi0-b1/results.jsonl')
  const written = statSync(kept).mtimeMs
  rmSync(join(out, 'mi20-b1/results.jsonl'))
  const again = sweep(out, ...flags)
  expect(again.lines.map(({ earlier }) => earlier)).toEqual([true, true, false, true])
  expect(statSync(kept).mtimeMs).toBe(written)
  expect(existsSync(join(out, 'mi20-b1/results.jsonl'))).toBe(true)

  const other = sweep(out, '-mi', '0,20', '-b', '1,2', '-v', '9')
  expect(other.exitCode).toBe(2)
  expect(other.stderr).toContain('other flags')
})

test('a flag that is wrong is said as run says it', () => {
  const { exitCode, stderr } = sweep(scratch(), '--rate', '1,x')
  expect(exitCode).toBe(2)
  expect(stderr).toContain('--rate takes a number')
})

test('a search needs a goal, and chooses rates itself', () => {
  expect(sweep(scratch(), '--find-max').stderr).toContain('--slo-ms')
  for (const flag of ['rate', 'concurrency'])
    expect(sweep(scratch(), '--find-max', '--slo-ms', '9', `--${flag}`, '5').stderr).toContain(
      `leave --${flag} out`,
    )
})

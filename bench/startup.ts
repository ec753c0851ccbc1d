/**
 * How long the compiled program takes before it does anything: `--version`, `--help`, and a run's start until its
 * workers are warm. Whole processes, wall clock, from the outside.
 *
 *     bun bench/startup.ts [--repeats N] [--save]
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { median, min, quantile } from 'simple-statistics'
import { report } from './report.ts'

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: { repeats: { type: 'string', default: '30' }, save: { type: 'boolean', default: false } },
})
const root = join(import.meta.dir, '..')
const binary = join(root, 'dist/rnb')

function once(args: string[]): number {
  const begin = performance.now()
  const { exitCode, stderr } = Bun.spawnSync([binary, ...args], {
    cwd: root,
    stdout: 'ignore',
    stderr: 'pipe',
  })
  if (exitCode !== 0) throw new Error(`rnb ${args.join(' ')} failed: ${stderr}`)
  return performance.now() - begin
}

const cases: Record<string, string[]> = {
  'rnb --version': ['--version'],
  'rnb --help': ['--help'],
  'rnb config check config/demo.json': ['config', 'check', 'config/demo.json'],
  'rnb, one demo video': [
    '-c',
    'config/demo.json',
    '-v',
    '1',
    '-mi',
    '0',
    '--quiet',
    '--log-dir',
    '/tmp/rnb-bench-logs',
  ],
}
const results = Object.entries(cases).map(([name, args]) => {
  once(args)
  const times = Array.from({ length: Number(options.repeats) }, () => once(args))
  return {
    name,
    repeats: times.length,
    min_ms: min(times),
    p50_ms: median(times),
    p90_ms: quantile(times, 0.9),
  }
})
report({
  benchmark: 'startup',
  results,
  table: [
    ['ms', 'min', 'p50', 'p90'],
    ...results.map(r => [r.name, r.min_ms.toFixed(1), r.p50_ms.toFixed(1), r.p90_ms.toFixed(1)]),
  ],
  save: options.save,
})

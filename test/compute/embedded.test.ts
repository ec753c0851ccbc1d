import { afterAll, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = mkdtempSync(join(tmpdir(), 'rnb-embedded-'))
afterAll(() => rmSync(folder, { recursive: true }))
const TIMEOUT = 120_000

/** Where the npm package keeps the library of this processor. */
const PACKAGE = new URL(
  `../../node_modules/onnxruntime-node/bin/napi-v6/linux/${process.arch}`,
  import.meta.url,
).pathname

function compile(name: string, ...flags: string[]): string {
  const program = join(folder, name)
  if (existsSync(program)) return program
  const entry = new URL('./embedded.program.ts', import.meta.url).pathname
  const command = ['build', entry, '--compile', '--bytecode', '--format=esm', '--minify', ...flags]
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, ...command, '--outfile', program])
  if (exitCode !== 0) throw new Error(stderr.toString())
  return program
}

/** Runs a program where nothing can be written, and reads what it says. */
function run(program: string, env: Record<string, string> = {}) {
  const child = Bun.spawnSync([program], { cwd: '/', env: { HOME: '/none', TMPDIR: '/none', ...env } })
  return { ...JSON.parse(child.stdout.toString()), pid: child.pid }
}

test(
  'a compiled program carries ONNX Runtime, its threads share one copy, and RNB_ORT_DIR comes first',
  () => {
    const program = compile('with')
    const own = run(program)
    expect(own.copies).toBe(1)
    expect(own.mapped).toBe(1)
    expect(own.logits.length).toBe(3)
    expect(new Set(own.logits).size).toBe(1)
    const other = run(program, { RNB_ORT_DIR: PACKAGE })
    expect(other).toEqual({ ...own, pid: other.pid, path: `${PACKAGE}/libonnxruntime.so.1`, copies: 0 })
    expect(run(program, { RNB_ORT_DIR: '/none' }).error).toMatch(/ONNX Runtime: .*RNB_ORT_DIR=\/none/)
  },
  TIMEOUT,
)

test(
  'a build with RNB_WITH_ORT=false is smaller by the library, and says what to do without it',
  () => {
    const without = compile('without', '--define', 'RNB_WITH_ORT=false')
    expect(statSync(compile('with')).size - statSync(without).size).toBeGreaterThan(20e6)
    expect(run(without).error).toMatch(/ONNX Runtime: not found .*set RNB_ORT_DIR/)
    expect(run(without, { RNB_ORT_DIR: PACKAGE }).logits.length).toBe(3)
  },
  TIMEOUT,
)

test(
  'ONNX Runtime reports nothing to anyone: it leaves no identity, no store and no log behind',
  () => {
    const home = join(folder, 'home')
    mkdirSync(home)
    const { pid, logits } = run(compile('with'), { HOME: home })
    expect(logits.length).toBe(3)
    expect(readdirSync(home)).toEqual([])
    expect(existsSync(`/tmp/mat-debug-${pid}.log`)).toBe(false)
  },
  TIMEOUT,
)

import { expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { binary, oneClip, Running, rnb, root, run, scratch } from './rnb.ts'

const onnxRuntime = join(root, 'node_modules/onnxruntime-node/bin/napi-v6/linux', process.arch)

/**
 * Runs the program with files of at most so many blocks of 512 bytes: as on a disk that is full, writing fails. Its
 * library comes from a folder then, as the copy in memory would be such a file as well.
 */
const onFullDisk = (blocks: number, args: readonly string[]) =>
  new Running(args, {
    program: ['sh', '-c', `trap '' XFSZ; ulimit -f ${blocks}; exec "$0" "$@"`, binary],
    env: { RNB_ORT_DIR: onnxRuntime },
  }).ended()

const flags = ['-v', '12', '-mi', '0']

test('a disk without room for logs is said before the run, and results go on', async () => {
  const logs = scratch()
  const args = ['run', '-c', oneClip(), '--device', 'cpu', '--results', '-', '--log-dir', logs, ...flags]
  const { status, stderr, results, summary } = await onFullDisk(0, args)
  expect(status).toBe(0)
  expect(results).toHaveLength(12)
  const warning = `no logs can be written to ${logs}`
  expect(stderr).toContain(`warning: ${warning}`)
  expect(stderr.indexOf(warning)).toBeLessThan(stderr.indexOf('START!'))
  expect(summary.warnings.join()).toContain(warning)
  expect(readdirSync(logs)).toEqual([])
})

test('a disk that fills during the run is said when it does, and its files are whole or absent', async () => {
  const logs = scratch()
  const args = ['run', '-c', oneClip(), '--device', 'cpu', '--results', '-', '--log-dir', logs, ...flags]
  const { status, stderr, results } = await onFullDisk(8, args)
  expect(status).toBe(0)
  expect(results).toHaveLength(12)
  const [folder] = readdirSync(logs)
  const path = join(logs, folder!)
  expect(stderr).toContain(`warning: ${join(path, 'results.jsonl')} could not be written`)
  expect(stderr.indexOf('could not be written')).toBeLessThan(stderr.indexOf('FINISH!'))
  const left = readdirSync(path)
  expect(left).not.toContain('results.jsonl')
  expect(left).toContain('log-meta.txt')
  expect(left.filter(name => name.includes('partial'))).toEqual([])
})

test('results that did not fit are a failure: status 1, in the summary too', async () => {
  const { status, stderr, summary } = await rnb([
    ...['run', '-c', oneClip(), '--device', 'cpu', '--results', '/dev/full', '--quiet', ...flags],
  ])
  expect(status).toBe(1)
  expect(stderr).toStartWith('rnb: /dev/full could not be written: ENOSPC')
  expect(summary.exit).toMatchObject({ status: 1, reason: 'failed' })
  expect(summary.exit.message).toContain('/dev/full could not be written')
  expect(summary.requests.completed).toBe(12)
})

/** Runs a shell script around the program, which is `rnb` there. */
function shell(script: string) {
  const { stdout, stderr, exitCode } = Bun.spawnSync(['sh', '-c', script], {
    env: { ...process.env, rnb: binary, config: oneClip(), logs: scratch() },
  })
  return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode }
}
const RUN = '"$rnb" run -c "$config" --device cpu --results - --log-dir "$logs" -v 12 -mi 0'

test('standard output that does not fit is a failure too', () => {
  const { stderr, exitCode } = shell(`${RUN} --quiet > /dev/full`)
  expect(exitCode).toBe(1)
  expect(stderr).toStartWith('rnb: standard output could not be written: ENOSPC')
})

test('a standard error that nobody reads, or that is closed, costs no results', () => {
  const left = shell(`{ ${RUN} 2>&3 | wc -l; } 3>&1 1>&2 | head -n 1`)
  expect(left.stdout).toStartWith('Args: ')
  expect(left.stderr.trim()).toBe('13')
  const closed = shell(`${RUN} 2>&- | wc -l`)
  expect(closed.stdout.trim()).toBe('13')
})

test('a closed standard output is written to by nobody', () => {
  const { stdout, stderr, exitCode } = shell(`${RUN} --quiet >&-`)
  expect({ stdout, stderr, exitCode }).toEqual({ stdout: '', stderr: '', exitCode: 0 })
})

test('a run that is killed leaves no file that looks whole', async () => {
  const folder = scratch()
  const path = join(folder, 'out.jsonl')
  const logs = scratch()
  const running = new Running([
    ...[
      'run',
      '-c',
      oneClip(),
      '--device',
      'cpu',
      '-v',
      '400',
      '-mi',
      '5',
      '--results',
      path,
      '--log-dir',
      logs,
    ],
  ])
  await running.said('START!')
  running.kill('SIGKILL')
  const { status } = await running.ended()
  expect(status).toBeNull()
  expect(existsSync(path)).toBe(false)
  const [run] = readdirSync(logs)
  expect(readdirSync(join(logs, run!)).filter(name => !name.startsWith('.'))).toEqual([])
})

test('without --results only the summary is on standard output, and logs have the rest', async () => {
  const logs = scratch()
  const config = oneClip()
  const { lines } = await rnb([
    'run',
    '-c',
    config,
    '--device',
    'cpu',
    '--log-dir',
    logs,
    '--quiet',
    ...flags,
  ])
  expect(lines.map(({ type }) => type)).toEqual(['summary'])
  const [folder] = readdirSync(logs)
  const logged = readFileSync(join(logs, folder!, 'results.jsonl'), 'utf8')
    .trim()
    .split('\n')
  expect(logged).toHaveLength(13)
  expect((await run(config, flags)).lines).toHaveLength(13)
})

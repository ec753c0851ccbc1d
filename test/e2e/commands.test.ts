import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { demo, demoVideos, oneClip, rnb, root, run, scratch } from './rnb.ts'

test('--version is that of the package', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  expect(await rnb(['--version'])).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' })
})

test('--help says units and defaults, with an example, for each command', async () => {
  const { status, stdout, stderr } = await rnb(['--help'])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const flags = [
    'mean_interval_ms',
    'batch_size',
    'videos',
    'queue_size',
    'config_file_path',
    'per_gpu_queue',
  ]
  const more = ['check', 'video-root', 'weights', 'labels', 'device', 'seed', 'warmup', 'top', 'arrival']
  for (const flag of [
    ...flags,
    ...more,
    'rate',
    'duration',
    'slo-ms',
    'on-error',
    'results',
    'log-dir',
    'quiet',
  ])
    expect(stdout).toContain(`--${flag}`)
  for (const text of [
    'in ms',
    '[default: 3]',
    '[default: 500]',
    '[default: 2000]',
    'Examples:',
    '-c config/demo.json',
  ])
    expect(stdout).toContain(text)
  for (const command of ['run', 'infer', 'doctor', 'weights', 'config']) {
    const help = await rnb([command, '--help'])
    expect(help.status).toBe(0)
    expect(help.stdout).toContain(`rnb ${command}`)
  }
})

test('--check looks at everything and runs nothing', async () => {
  const logs = scratch()
  const args = ['run', '-c', demo.config, '--device', 'cpu', '--check', '--log-dir', logs]
  const [good, bad] = await Promise.all([rnb(args), rnb([...args, '--weights', '/nowhere.pth'])])
  expect(good).toMatchObject({ status: 0, stdout: '' })
  expect(good.stderr).toBe(`${demo.config}: this host can run it (2 instances)\n`)
  expect(bad).toMatchObject({ status: 2, stdout: '' })
  expect(bad.stderr).toContain('/nowhere.pth: no such file')
  expect(readdirSync(logs)).toEqual([])
})

test('of a flag that stands twice, the last counts', async () => {
  const { results, summary } = await run(oneClip(), [
    '-v',
    '3',
    '--videos',
    '1',
    '-mi',
    '7',
    '--seed=2',
    '--seed',
    '1',
  ])
  expect(results).toHaveLength(1)
  expect(summary.seed).toBe(1)
})

test('kebab case and snake case are the same flags', async () => {
  const snake = ['--mean_interval_ms', '4', '--batch_size', '2', '--queue_size', '9', '--videos', '2']
  const kebab = ['--mean-interval-ms', '4', '--batch-size', '2', '--queue-size', '9', '-v', '2']
  const short = ['-mi', '4', '-b', '2', '-qs', '9', '-v', '2']
  const equals = ['-mi=4', '-b=2', '-qs=9', '-v=2']
  const config = oneClip()
  for (const flags of [snake, kebab, short, equals]) {
    const { status, summary } = await run(config, flags)
    expect(status).toBe(0)
    expect(summary.arguments).toMatchObject({ mean_interval_ms: 4, batch_size: 2, queue_size: 9, videos: 2 })
  }
})

test('config schema is the file that is published', async () => {
  const { status, stdout } = await rnb(['config', 'schema'])
  expect(status).toBe(0)
  expect(JSON.parse(stdout)).toEqual(JSON.parse(readFileSync(join(root, 'config/rnb.schema.json'), 'utf8')))
})

test('config list names what comes with the program, and config check passes all of it', async () => {
  const { status, stdout } = await rnb(['config', 'list'])
  expect(status).toBe(0)
  const lines = stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as { name: string; description: string })
  const names = lines.map(({ name }) => name)
  const folders = ['8-gpus', '2-gpus', '1-gpu', 'cpu']
  const files = folders.flatMap(host =>
    readdirSync(join(root, 'config', host)).map(file => `${host}/${file}`),
  )
  expect(names.map(name => `${name}.json`).sort()).toEqual(files.sort())
  // Where there is nothing but the program.
  const cwd = scratch()
  const checks = [demo.config, ...names.filter(name => name.startsWith('2-gpus/')), 'baseline', 'whole'].map(
    name => rnb(['config', 'check', name], { cwd }),
  )
  for (const check of checks) expect((await check).status).toBe(0)
})

test.each(['config/r2p1d-whole.json', 'whole'])(
  '%s, which comes with the program, runs in every folder',
  async name => {
    const cwd = scratch()
    const { status, results } = await rnb(
      [
        ...['run', '-c', name, '--device', 'cpu', '--weights', demo.weights],
        ...['--video-root', demo.videos, '-v', '1', '--results', '-', '--quiet'],
      ],
      { cwd },
    )
    expect(status).toBe(0)
    expect(results).toHaveLength(1)
    expect(demoVideos).toContain(results[0]!.video)
  },
)

test('doctor finds what a run on this host needs', async () => {
  const { status, stdout, stderr } = await rnb(['doctor', '--json', '-c', demo.config])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const { type, ok, findings } = JSON.parse(stdout) as {
    type: string
    ok: boolean
    findings: { what: string; ok: boolean }[]
  }
  expect({ type, ok }).toEqual({ type: 'doctor', ok: true })
  expect(findings.map(({ what }) => what)).toEqual(
    expect.arrayContaining([
      'libav',
      'ONNX Runtime',
      'network on the CPU',
      'CUDA',
      `pipeline ${demo.config}`,
    ]),
  )
})

import { describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PlanDocument } from '../../src/planner/document.ts'
import { binary, demo, file, root, scratch } from './rnb.ts'

const folder = scratch()
const out = join(folder, 'plan')

function plan(...flags: string[]) {
  const { stdout, stderr, exitCode } = Bun.spawnSync(
    [binary, 'plan', '-c', demo.config, '--device', 'cpu', '--out', out, ...flags],
    { cwd: root, env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') } },
  )
  const text = stdout.toString()
  return {
    exitCode,
    stderr: stderr.toString(),
    document: text === '' ? undefined : (JSON.parse(text) as PlanDocument),
  }
}

const small = ['--batches', '1', '--segments', '1', '--replicas', '2']
const read = (name: string): unknown => JSON.parse(readFileSync(join(out, name), 'utf8'))

describe('rnb plan, with the demo on the CPU', () => {
  test('measures, searches, runs the best, and writes what rnb run takes', () => {
    const { exitCode, stderr, document } = plan('--budget', '35', ...small)
    expect(stderr).not.toContain('rnb:')
    expect(stderr).toContain(`proof: ${document!.proof!.verdict}`)
    expect(exitCode).toBe(0)
    const { search, winner, plans, proof, machine, bottleneck } = document!
    expect(read('plan.json')).toEqual(JSON.parse(JSON.stringify(document)))
    // One or two loaders, and one or two networks.
    expect(search).toMatchObject({ plans: 4, ended: 'proven', beyond_bound: 0 })
    expect(machine).toMatchObject({ gpus: 0, hosts: 1, simulated: false })
    expect(Object.keys(bottleneck.shares).length).toBeGreaterThan(0)
    const given = plans.find(({ name }) => name === 'given')!
    // Simulated as any other.
    expect(given.predicted!.videos_per_s).toBeGreaterThan(0)
    expect(given.predicted!.p99_ms).toBeGreaterThanOrEqual(given.predicted!.p50_ms)
    expect(winner.measured.length).toBeGreaterThan(0)
    for (const measured of winner.measured) expect(measured).toBeGreaterThan(0)
    expect(proof!.seeds.length).toBe(Math.max(...plans.map(({ measured }) => measured.length)))
    expect(proof!.seeds).not.toContain(proof!.held_out!.seed)
    expect(Object.keys(proof!.held_out!.figures)).toEqual(['videos_per_s', 'p50_ms', 'p99_ms'])
    for (const { predicted, measured, error } of Object.values(proof!.held_out!.figures))
      expect(error).toBeCloseTo((predicted - measured) / measured, 4)

    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('id="race"')
    const words = winner.command.split(' ').slice(1)
    expect(words).toContain(join(out, 'pipeline.json'))
    const run = Bun.spawnSync(
      [binary, ...words, '-v', '8', '--warmup', '0', '--log-dir', join(folder, 'logs')],
      { cwd: folder },
    )
    expect(run.stderr.toString()).not.toContain('rnb:')
    expect(run.exitCode).toBe(0)
    expect(JSON.parse(run.stdout.toString().trim().split('\n').at(-1)!).requests.completed).toBe(8)
  }, 120_000)

  test('plans for more hosts by simulation alone', () => {
    const { exitCode, stderr, document } = plan(
      '--budget',
      '14',
      ...small,
      '--rate',
      '100',
      '--what-if',
      'hosts=100',
    )
    expect(exitCode).toBe(0)
    expect(stderr).not.toContain('ran plan-1')
    expect(document!.machine).toMatchObject({ hosts: 100, simulated: true })
    expect(document!.goal).toEqual({ rate_per_s: 100, figure: 'p99_ms' })
    expect(document!.proof).toBeNull()
    expect(document!.notes.join()).toContain('simulated')
    expect(document!.winner.predicted!.rate_per_s).toBeCloseTo(100, 6)
    expect(document!.winner.command).toContain('--rate=1')
  })

  test('of a demand that cannot be met says what stands in the way, and what could be', () => {
    const { exitCode, stderr } = plan('--budget', '20', ...small, '--rate', '100000', '--slo-ms', '50')
    expect(exitCode).toBe(2)
    expect(stderr).toMatch(
      /no plan carries 100000 videos\/s on the CPU: .+ limits every plan to [\d.]+; nearest/,
    )
  })

  test('says so where nothing was proven', () => {
    const { document } = plan('--budget', '20', ...small, '--no-proof', '--out', join(folder, 'unproven'))
    expect(document!.notes.join()).toContain('not proven')
    expect(document!.proof).toBeNull()
    expect(existsSync(join(folder, 'unproven/pipeline.json'))).toBe(true)
  })
})

test('ends when it is asked to, and keeps what has been measured', async () => {
  const child = Bun.spawn(
    [binary, 'plan', '-c', demo.config, '--device', 'cpu', '--out', join(folder, 'stopped'), ...small],
    {
      cwd: root,
      env: { ...process.env, XDG_CACHE_HOME: join(folder, 'other-cache') },
      stdout: 'ignore',
      stderr: 'pipe',
    },
  )
  let said = ''
  const decoder = new TextDecoder()
  for await (const chunk of child.stderr) {
    said += decoder.decode(chunk, { stream: true })
    // The first run has been announced: it is about to start, or at work.
    if (said.includes('measuring 1 of')) child.kill('SIGINT')
  }
  expect(await child.exited).toBe(130)
  expect(said).toContain('interrupted')
})

test.each([
  [['--rate', '5', '--maximize', 'throughput'], 'one or the other'],
  [['--slo-ms', '50'], 'needs a --rate'],
  [['--maximize', 'happiness'], '--maximize takes throughput'],
  [['--gpus', '0,x'], '--gpus takes a whole number'],
  [['--what-if', 'gpus=0'], '--what-if takes gpus=N'],
  [['--device', 'cpu', '--gpus', '0'], 'uses no GPUs'],
  [['--loaders', 'x'], '--loaders takes gpu, cpu'],
  [['--budget', '0'], '--budget must be above 0'],
])('%p is refused', (flags, message) => {
  const { exitCode, stderr } = Bun.spawnSync([binary, 'plan', '-c', demo.config, '--out', out, ...flags], {
    cwd: root,
  })
  expect(stderr.toString()).toContain(message)
  expect(exitCode).toBe(2)
})

test('a pipeline whose groups differ is refused: it says what to do', () => {
  const pipeline = [
    {
      model: 'synthetic-loader',
      queue_groups: [
        { gpus: [-1], out_queues: [0], service_ms: 1 },
        { gpus: [-1], out_queues: [0] },
      ],
    },
    { model: 'synthetic-network', queue_groups: [{ gpus: [-1], in_queue: 0 }] },
  ]
  const path = file('groups.json', JSON.stringify({ pipeline }))
  const { exitCode, stderr } = Bun.spawnSync([binary, 'plan', '-c', path, '--out', out], { cwd: root })
  expect(stderr.toString()).toContain('the groups of pipeline[0] (synthetic-loader) have different options')
  expect(exitCode).toBe(2)
})

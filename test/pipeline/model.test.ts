import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { builtin } from '../../src/pipeline/builtin.ts'
import { checkConfig } from '../../src/pipeline/config.ts'
import { labelsOf, networkAt, networksOf, threadsPerNetwork } from '../../src/pipeline/model.ts'

type Keys = Record<string, unknown>
const between = { queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }] }
const loader = { model: 'loader', queue_groups: [{ gpus: [-1], out_queues: [0] }] }
const network = (keys: Keys = {}) => ({
  model: 'network',
  queue_groups: [{ gpus: [-1], in_queue: 0 }],
  ...keys,
})
const batcher = { model: 'batcher', ...between }
const check = (pipeline: unknown) => checkConfig({ pipeline }, builtin, { name: 'x.json', folder: '/models' })

describe('which network a step runs', () => {
  test('steps that follow each other run layers of one, whatever stands between them', () => {
    const config = check([
      loader,
      network({ ...between, end_index: 2, num_classes: 7 }),
      batcher,
      network({ start_index: 3 }),
    ])
    const found = networksOf(config, '/w.pth', 5)
    expect(found.ofStep).toEqual([undefined, 0, undefined, 0])
    expect(found.sources).toEqual([{ weights: '/w.pth', seed: 5, architecture: { classes: 7 } }])
  })

  test('branches may have their own; equal ones are loaded once', () => {
    const config = check([
      loader,
      network(),
      network({ inputs: [0], weights: 'b.pth' }),
      network({ inputs: [0] }),
      network({ inputs: [0], num_classes: 3 }),
    ])
    const found = networksOf(config, '/w.pth', 0)
    expect(found.ofStep).toEqual([undefined, 0, 1, 0, 2])
    expect(found.sources.map(({ weights, architecture }) => [weights, architecture])).toEqual([
      ['/w.pth', {}],
      ['/models/b.pth', {}],
      ['/w.pth', { classes: 3 }],
    ])
  })

  test('later layers take the weights of the earlier ones, or name others', () => {
    const config = check([
      loader,
      network({ ...between, end_index: 2, weights: 'trunk.pth', labels: 'trunk.txt' }),
      network({ start_index: 3 }),
      network({ start_index: 3, inputs: [1], weights: 'head.pth' }),
    ])
    const found = networksOf(config, '/w.pth', 0)
    expect(found.sources.map(({ weights }) => weights)).toEqual(['/models/trunk.pth', '/models/head.pth'])
    expect(found.ofStep).toEqual([undefined, 0, 0, 1])
  })

  test('one network cannot be of two sizes', () => {
    const config = check([
      loader,
      network({ ...between, end_index: 2, num_classes: 7 }),
      network({ start_index: 3, num_classes: 8 }),
    ])
    expect(() => networksOf(config, undefined, 0)).toThrow(
      'pipeline[1].queue_groups[0].num_classes is 7 and pipeline[2].queue_groups[0].num_classes is 8',
    )
  })
})

describe('names of the classes of a last step', () => {
  test("are the run's for the run's weights, its own, or none for weights of its own", () => {
    const config = check([
      loader,
      network(),
      network({ inputs: [0], weights: 'b.pth' }),
      network({ inputs: [0], weights: 'c.pth', labels: 'c.txt' }),
      network({ inputs: [0], labels: 'd.txt' }),
    ])
    expect([1, 2, 3, 4].map(leaf => labelsOf(config, leaf, '/l.txt'))).toEqual([
      '/l.txt',
      undefined,
      '/models/c.txt',
      '/models/d.txt',
    ])
  })

  test('come through steps after the network', () => {
    const config = check([
      loader,
      network({ ...between, labels: 'a.txt' }),
      { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }] },
    ])
    expect(labelsOf(config, 2, '/l.txt')).toBe('/models/a.txt')
    expect(networkAt(config, networksOf(config, undefined, 0), 2)).toBe(0)
  })
})

const pinning = process.platform === 'linux' && Bun.which('taskset') !== null
if (!pinning) console.warn('skipped: threads of a process that may use one core: there is no taskset')

describe('threads of networks on the CPU', () => {
  const three = check([loader, network({ queue_groups: [{ gpus: [-1, -1, -1], in_queue: 0 }] })])

  test('are at least one each, and none of those on a GPU count', () => {
    expect(threadsPerNetwork(three, true)).toBe(Math.max(1, Math.floor(availableParallelism() / 3)))
    const apart = check([loader, network({ queue_groups: [{ gpus: [0, -1], in_queue: 0 }] })])
    expect(threadsPerNetwork(apart, false)).toBe(availableParallelism())
  })

  test.skipIf(!pinning)('are no more than the cores that the process may use', () => {
    const program = `
      import { threadsPerNetwork } from './src/pipeline/model.ts'
      console.log(threadsPerNetwork({ steps: [] }, true))`
    const core = /Cpus_allowed_list:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]!
    const { stdout } = Bun.spawnSync(['taskset', '-c', core, process.execPath, '-e', program], {
      cwd: join(import.meta.dir, '../..'),
    })
    expect(stdout.toString().trim()).toBe('1')
  })
})

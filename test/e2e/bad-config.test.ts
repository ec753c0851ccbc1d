import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { demo, file, loader, network, pipeline, rnb, run, scratch } from './rnb.ts'

const onCpu = (keys: Record<string, unknown>) => [{ gpus: [-1], ...keys }]
const aggregator = (aggregate: number) => ({
  model: 'aggregator',
  queue_groups: onCpu({ in_queue: 0 }),
  aggregate,
})
const json = (text: string | Uint8Array) => file('pipeline.json', text)

/** What is wrong, the file, and what must be said: the path in the file, the value, and what would be right. */
const cases: [string, string, string[]][] = [
  ['no such file', join(scratch(), 'nowhere.json'), ['no such pipeline file']],
  ['a folder', scratch(), ['is a folder']],
  ['an empty file', json(''), [':1:1: not JSON']],
  ['a file that is not JSON', json('{\n  "pipeline": [,]\n}'), [':2:16: not JSON']],
  ['a file of bytes', json(new Uint8Array([0, 1, 2, 255])), [':1:1: not JSON']],
  ['a list in place of the pipeline file', json('[]'), ['must be an object']],
  ['no pipeline', json('{}'), ['pipeline is missing']],
  ['a pipeline without steps', pipeline([]), ['pipeline is []', 'at least one step']],
  [
    'a step that is a number',
    pipeline([loader({ model: 3 }), network()]),
    ['pipeline[0].model is 3', 'must be the name of a step'],
  ],
  [
    'an unknown step',
    pipeline([loader({ model: 'laoder' }), network()]),
    ['pipeline[0].model is "laoder"', 'did you mean "loader"?'],
  ],
  [
    'a text for a list',
    pipeline([loader({ num_clips_population: '1' }), network()]),
    ['pipeline[0].num_clips_population is "1"', 'must be a list'],
  ],
  [
    'a GPU by name',
    pipeline([loader({ queue_groups: [{ gpus: '0', out_queues: [0] }] }), network()]),
    ['pipeline[0].queue_groups[0].gpus is "0"'],
  ],
  [
    'a GPU below -1',
    pipeline([loader(), network({ queue_groups: [{ gpus: [-2], in_queue: 0 }] })]),
    ['pipeline[1].queue_groups[0].gpus[0] is -2'],
  ],
  [
    'num_segments on the last step',
    pipeline([loader(), network({ num_segments: 3 })]),
    ['pipeline[1].num_segments is 3', 'last step'],
  ],
  [
    'segments that nobody joins',
    pipeline([loader({ num_segments: 2 }), network()]),
    ['num_segments', 'add an aggregator'],
  ],
  [
    'an aggregator of other parts',
    pipeline([
      loader({ num_segments: 2 }),
      network({ queue_groups: onCpu({ in_queue: 0, out_queues: [0] }) }),
      aggregator(3),
    ]),
    ['pipeline[2].aggregate is 3', 'must be 2'],
  ],
  [
    'queues that do not match',
    pipeline([loader({ queue_groups: onCpu({ out_queues: [0, 1] }) }), network()]),
    ['pipeline[0].queue_groups[0].out_queues is [0,1]', 'step 0 puts into {0, 1}', 'step 1 takes from {0}'],
  ],
  [
    'a selector between two queues that has three',
    pipeline([
      loader({ queue_groups: onCpu({ out_queues: [0, 1, 2], queue_selector: 'large-small' }) }),
      network({ queue_groups: [0, 1, 2].map(in_queue => ({ gpus: [-1], in_queue })) }),
    ]),
    ['pipeline[0].queue_groups[0].out_queues is [0,1,2]', 'large-small chooses among 2 queues'],
  ],
  [
    'an aggregator of several instances',
    pipeline([
      loader({ num_segments: 2 }),
      network({ queue_groups: onCpu({ in_queue: 0, out_queues: [0] }) }),
      { ...aggregator(2), queue_groups: [{ gpus: [-1, -1], in_queue: 0 }] },
    ]),
    ['pipeline[2] has 2 instances', 'must meet in one'],
  ],
  [
    'a step that reads from none',
    pipeline([loader(), network({ inputs: [] })]),
    ['pipeline[1].inputs is []', 'nothing would ever reach this step'],
  ],
  [
    'a misspelt key of a step',
    pipeline([loader({ num_clip_weights: [1] }), network()]),
    ['pipeline[0].num_clip_weights', 'did you mean "num_clips_weights"?'],
  ],
  [
    'a misspelt key of the file',
    pipeline([loader(), network()], { vidoe_root: 'x' }),
    ['vidoe_root', 'did you mean "video_root"?'],
  ],
  [
    'a layer that does not follow',
    pipeline([loader(), network({ start_index: 2 })]),
    ['pipeline[1] (network)', 'start_index'],
  ],
  [
    'layers the wrong way round',
    pipeline([loader(), network({ start_index: 3, end_index: 2 })]),
    ['pipeline[1]', 'start_index must not be after end_index'],
  ],
  [
    'another number of classes than the weights have',
    pipeline([loader(), network({ num_classes: 9 })]),
    ['demo.safetensors', 'classes 8, where 9 is asked for'],
  ],
  [
    'labels of the wrong length',
    pipeline([loader(), network()], { labels: file('two.txt', 'a\nb\n') }),
    ['two.txt', '2 lines', '8 classes'],
  ],
  [
    'labels that are missing',
    pipeline([loader(), network()], { labels: '/nowhere/labels.txt' }),
    ['/nowhere/labels.txt', 'ENOENT'],
  ],
  [
    'videos that are missing',
    pipeline([loader(), network()], { video_root: '/nowhere/videos' }),
    ['no videos: /nowhere/videos does not exist'],
  ],
  [
    'tensors that no host holds',
    pipeline([loader({ size: 100_000 }), network()]),
    ['too large for this host', 'num_shared_tensors'],
  ],
]

test.each(cases)('%s is wrong use: status 2, and where it is', async (_, config, said) => {
  const { status, stdout, stderr } = await run(config, ['-v', '1', '--log-dir', '/dev/null/none'])
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toStartWith('rnb: ')
  for (const text of said) expect(stderr).toContain(text)
  // A sentence, no trace.
  expect(stderr).not.toContain('    at ')
})

test('all that is wrong with a file is said at once', async () => {
  const config = pipeline([loader({ model: 'laoder' }), network({ num_segments: 3, layer_sizes: [1] })])
  const { status, stderr } = await run(config)
  expect(status).toBe(2)
  for (const path of ['pipeline[0].model', 'pipeline[1].num_segments', 'pipeline[1].layer_sizes'])
    expect(stderr).toContain(path)
})

test('config check says the same of a file, and gives the plan of a good one', async () => {
  const config = pipeline([loader(), network({ num_segments: 3 })])
  const [bad, good] = await Promise.all([
    rnb(['config', 'check', config]),
    rnb(['config', 'check', demo.config]),
  ])
  expect(bad.status).toBe(2)
  expect(bad.stderr).toContain('pipeline[1].num_segments is 3')
  expect(good.status).toBe(0)
  expect(JSON.parse(good.stdout)).toMatchObject({ type: 'plan', name: 'demo' })
})

test('a run that is refused leaves no logs', async () => {
  const logs = join(scratch(), 'logs')
  const { status } = await run(pipeline([]), ['--log-dir', logs])
  expect(status).toBe(2)
  expect(existsSync(logs)).toBe(false)
})

const onGpu = pipeline([
  loader({ queue_groups: [{ gpus: [3], out_queues: [0] }] }),
  network({ queue_groups: [{ gpus: [3], in_queue: 0 }] }),
])

test('CUDA without a driver is wrong use; auto takes the CPU, and says so', async () => {
  const [cuda, auto] = await Promise.all([
    rnb(['run', '-c', onGpu, '-v', '1', '--device', 'cuda', '--quiet']),
    rnb(['run', '-c', onGpu, '-v', '1', '--device', 'auto']),
  ])
  expect({ status: cuda.status, stdout: cuda.stdout }).toEqual({ status: 2, stdout: '' })
  expect(cuda.stderr).toContain('no NVIDIA driver')
  expect(auto.status).toBe(0)
  expect(auto.stderr).toContain('no NVIDIA driver was found: everything runs on the CPU')
  expect(auto.summary.notes.join()).toContain('everything runs on the CPU')
})

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { UsageError } from '../../src/errors.ts'
import { checkConfig, loadConfig } from '../../src/pipeline/config.ts'
import { fakes } from './fake-kinds.ts'

const check = (value: unknown) => checkConfig(value, fakes, { name: 'x.json', folder: '/videos/config' })

/** The lines of what is wrong with a value. */
function problems(value: unknown): string[] {
  try {
    check(value)
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError)
    const lines = (error as Error).message.split('\n').map(line => line.trim())
    return lines.length === 1 ? [lines[0]!.replace('x.json: ', '')] : lines.slice(1)
  }
  return []
}

const loaderStep = { model: 'loader', queue_groups: [{ gpus: [0], out_queues: [0] }] }
const networkStep = { model: 'network', queue_groups: [{ gpus: [0], in_queue: 0 }] }
const whole = { pipeline: [loaderStep, networkStep] }

const RNB = fileURLToPath(new URL('../../../shared/rnb-config/', import.meta.url))
const haveRnb = existsSync(RNB)
if (!haveRnb) console.warn(`skipped: RnB's own pipeline files (${RNB} is absent)`)

describe("RnB's files", () => {
  const files = haveRnb ? readdirSync(RNB).filter(name => name.endsWith('.json')) : []
  const load = (name: string) => loadConfig(join(RNB, name), fakes)

  test.skipIf(!haveRnb)('all eight load', () => {
    expect(files).toHaveLength(8)
    const hashes = files.map(name => load(name).hash)
    expect(new Set(hashes).size).toBe(8)
  })

  test.skipIf(!haveRnb)('rnb.json: names, groups, keys of a group', () => {
    const [loader, batcher, network] = load('rnb.json').steps
    expect([loader, batcher, network].map(step => step?.kind.names[0])).toEqual([
      'loader',
      'batcher',
      'network',
    ])
    expect(loader?.groups).toHaveLength(1)
    expect(loader?.groups[0]).toMatchObject({
      gpus: [0, 1, 2, 3, 4, 5, 6, 7],
      outQueues: [0, 1],
      selector: 'large-small',
      slots: 20,
    })
    expect(batcher?.groups.map(group => group.options)).toEqual([{ batch: 3 }, { batch: 1 }])
    expect(batcher?.groups.map(group => group.inQueue)).toEqual([0, 1])
    expect(network?.groups[0]).toMatchObject({
      inQueue: 0,
      outQueues: [],
      selector: 'round-robin',
      slots: 10,
    })
    expect(network?.groups[0]?.options).toMatchObject({ start_index: 1, end_index: 5 })
  })

  test.skipIf(!haveRnb)('r2p1d-segment.json: segments, and an aggregator on the CPU', () => {
    const steps = load('r2p1d-segment.json').steps
    expect(steps.map(step => step.groups[0]?.segments)).toEqual([3, 1, 1])
    expect(steps.map(step => step.groups[0]?.slots)).toEqual([100, 2, 10])
    expect(steps[2]?.groups[0]).toMatchObject({ gpus: [-1], options: { aggregate: 3 } })
  })
})

describe('what a file says', () => {
  test('paths are relative to the file, names and defaults are filled in', () => {
    const config = check({ ...whole, video_root: '../clips/*.mp4', weights: '/w.pth', labels: 'labels.txt' })
    expect(config).toMatchObject({
      name: 'x',
      iterator: 'videos',
      videoRoot: '/videos/clips/*.mp4',
      weights: '/w.pth',
      labels: '/videos/config/labels.txt',
    })
    expect(check({ ...whole, name: 'mine', description: 'why' })).toMatchObject({
      name: 'mine',
      description: 'why',
    })
  })

  test("any key may stand in the step or in a group, and the group's wins", () => {
    const config = check({
      pipeline: [
        {
          model: 'loader',
          gpus: [0, 0, 1],
          out_queues: [0],
          clips: 3,
          size: 8,
          queue_groups: [{ clips: 5 }, { num_shared_tensors: 7, gpus: [2] }],
        },
        {
          model: 'network',
          num_classes: 10,
          queue_groups: [{ gpus: [-1], in_queue: 0, layer_sizes: [2, 2, 2, 2] }],
        },
      ],
    })
    expect(config.steps[0]?.groups.map(({ gpus, slots, options }) => [gpus, slots, options])).toEqual([
      [[0, 0, 1], 10, { clips: 5, size: 8 }],
      [[2], 7, { clips: 3, size: 8 }],
    ])
    expect(config.steps[1]?.groups[0]?.options).toMatchObject({ num_classes: 10, layer_sizes: [2, 2, 2, 2] })
  })

  test('the hash is of the contents that matter, not of their order or remarks', () => {
    const reordered = {
      pipeline: [{ queue_groups: loaderStep.queue_groups, model: 'loader' }, networkStep],
      name: 'other',
      $schema: 's',
    }
    expect(check(reordered).hash).toBe(check(whole).hash)
    expect(check(whole).hash).toMatch(/^[0-9a-f]{12}$/)
    expect(check({ ...whole, weights: 'w' }).hash).not.toBe(check(whole).hash)
    // SHA-256 of the canonical text, by sha256sum.
    expect(check({ pipeline: [{ queue_groups: [{ gpus: [-1] }], model: 'single' }] }).hash).toBe(
      'd0d072c25b9e',
    )
  })

  test('a kind whose schema is open takes keys that nobody knows, and checks those it does', () => {
    const step = (more: object) => ({
      pipeline: [{ model: 'open', queue_groups: [{ gpus: [-1] }], ...more }],
    })
    expect(check(step({ anything: 1 })).steps[0]?.groups[0]?.options).toEqual({ anything: 1 })
    expect(problems(step({ volume: 'loud' }))).toEqual(['pipeline[0].volume is "loud": must be a number'])
  })
})

describe('what is wrong is named: path, value, what would be right', () => {
  const broken = (step: object, group: object = {}) => ({
    pipeline: [
      { ...loaderStep, ...step, queue_groups: [{ gpus: [0], out_queues: [0], ...group }] },
      networkStep,
    ],
  })

  test.each([
    [5, 'the file is 5: must be a pipeline file'],
    [[1], 'the file is [1]: must be an object'],
    [{ pipeline: [[], networkStep] }, 'pipeline[0] is []: must be an object'],
    [{}, 'pipeline is missing: needed in a pipeline file'],
    [{ pipeline: 'x' }, 'pipeline is "x": must be a list with at least one step'],
    [{ pipeline: [] }, 'pipeline is []: must be a list with at least one step'],
    [{ pipeline: [1] }, 'pipeline[0] is 1: must be a step: an object with "model" and "queue_groups"'],
    [{ ...whole, video_root: 3 }, 'video_root is 3: must be a text'],
    [{ ...whole, weights: '' }, 'weights is "": must not be empty'],
    [{ ...whole, videoroot: 'x' }, 'videoroot is not a key of a pipeline file; did you mean "video_root"?'],
    [
      { ...whole, video_path_iterator: 'video' },
      'video_path_iterator is "video": no video path iterator has this name; did you mean "videos"?',
    ],
    [
      broken({ model: 'loadr' }),
      'pipeline[0].model is "loadr": no step has this name; did you mean "loader"?',
    ],
    [
      broken({ model: 'models.r2p1d.model.R2PLoader' }),
      'pipeline[0].model is "models.r2p1d.model.R2PLoader": no step has this name; did you mean "models.r2p1d.model.R2P1DLoader"?',
    ],
    [broken({ model: 7 }), 'pipeline[0].model is 7: must be the name of a step'],
    [broken({ sise: 3 }), 'pipeline[0].sise is not a key of a step of kind loader; did you mean "size"?'],
    [
      broken({}, { out_queue: [0] }),
      'pipeline[0].queue_groups[0].out_queue is not a key of a queue group; did you mean "out_queues"?',
    ],
    [
      broken({}, { selector: 'x' }),
      'pipeline[0].queue_groups[0].selector is not a key of a queue group; did you mean "queue_selector"?',
    ],
    [broken({ size: 'big' }), 'pipeline[0].size is "big": must be a number'],
    [broken({ size: 1.5 }), 'pipeline[0].size is 1.5: must be a whole number'],
    [broken({}, { clips: 0 }), 'pipeline[0].queue_groups[0].clips is 0: must be at least 1'],
    [
      broken({}, { gpus: [] }),
      'pipeline[0].queue_groups[0].gpus is []: must be a list with at least one GPU number, one for each instance; -1 for the CPU',
    ],
    [
      broken({}, { gpus: 0 }),
      'pipeline[0].queue_groups[0].gpus is 0: must be a list with at least one GPU number, one for each instance; -1 for the CPU',
    ],
    [
      broken({}, { gpus: [0, -2] }),
      'pipeline[0].queue_groups[0].gpus[1] is -2: must be a GPU number (0, 1, ...) or -1 for the CPU',
    ],
    [
      broken({}, { gpus: undefined }),
      'pipeline[0].queue_groups[0].gpus is missing: a list with the GPU of each instance, -1 for the CPU',
    ],
    [
      broken({}, { queue_selector: 'roundrobin' }),
      'pipeline[0].queue_groups[0].queue_selector is "roundrobin": no queue selector has this name; did you mean "round-robin"?',
    ],
    [broken({ num_segments: 0 }), 'pipeline[0].num_segments is 0: must be a whole number from 1 to 1000000'],
    [
      broken({}, { in_queue: 0 }),
      'pipeline[0].queue_groups[0].in_queue is 0: the first step takes from the client and has no in_queue; remove it',
    ],
    [
      broken({}, { out_queues: undefined }),
      'pipeline[0].queue_groups[0].out_queues is missing: some of the queues {0} that step 1 takes from',
    ],
    [
      { pipeline: [{ ...loaderStep, queue_groups: [] }, networkStep] },
      'pipeline[0].queue_groups is []: must be a list with at least one queue group',
    ],
    [
      { pipeline: [{ model: 'loader' }, networkStep] },
      'pipeline[0].queue_groups is missing: needed in a step of kind loader',
    ],
  ] as [unknown, string][])('%j', (value, message) => {
    // undefined stands for a key that is not there.
    expect(problems(typeof value === 'object' ? JSON.parse(JSON.stringify(value)) : value)).toEqual([message])
  })

  const last = (step: object, group: object = {}) => ({
    pipeline: [loaderStep, { ...networkStep, ...step, queue_groups: [{ gpus: [0], in_queue: 0, ...group }] }],
  })
  test.each([
    [
      last({ num_segments: 2 }),
      'pipeline[1].num_segments is 2: the last step has nobody to share segments with; remove it',
    ],
    [
      last({ num_shared_tensors: 2 }),
      'pipeline[1].num_shared_tensors is 2: the last step passes no tensors on; remove it',
    ],
    [
      last({}, { out_queues: [0] }),
      'pipeline[1].queue_groups[0].out_queues is [0]: the last step has no out_queues, its results leave the pipeline; remove it',
    ],
    [
      last({}, { in_queue: undefined }),
      'pipeline[1].queue_groups[0].in_queue is missing: one of the queues {0} that step 0 puts into',
    ],
    [
      last({ start_index: 4 }, { end_index: 3 }),
      'pipeline[1].queue_groups[0]: start_index must not be after end_index',
    ],
    [last({ start_index: 4, end_index: 3 }), 'pipeline[1]: start_index must not be after end_index'],
  ] as [unknown, string][])('%j', (value, message) => {
    expect(problems(JSON.parse(JSON.stringify(value)))).toEqual([message])
  })

  test('num_segments of 1 changes nothing and may stand on the last step, as in RnB', () => {
    expect(problems(last({ num_segments: 1 }))).toEqual([])
  })

  test("queues that do not match: both sets, at each queue that is only one step's", () => {
    const sets = 'step 0 puts into {0, 1, 2} and step 1 takes from {0, 3}; these sets must be equal'
    const value = {
      pipeline: [
        {
          model: 'loader',
          queue_groups: [
            { gpus: [0], out_queues: [0] },
            { gpus: [0], out_queues: [2, 1] },
          ],
        },
        {
          model: 'network',
          queue_groups: [
            { gpus: [0], in_queue: 0 },
            { gpus: [1], in_queue: 3 },
          ],
        },
      ],
    }
    expect(problems(value)).toEqual([
      `pipeline[0].queue_groups[1].out_queues is [2,1]: ${sets}`,
      `pipeline[1].queue_groups[1].in_queue is 3: ${sets}`,
    ])
  })

  test('everything is reported at once, in the order of the steps', () => {
    const value = {
      name: 1,
      pipeline: [
        { model: 'loder', queue_groups: [{ gpus: ['0'], out_queues: [1] }] },
        {
          model: 'network',
          queue_groups: [{ gpus: [0], in_queue: 0, strat_index: 1 }],
          num_classes: -1,
          num_segments: 2,
        },
      ],
    }
    expect(problems(value).map(line => line.split(' ')[0])).toEqual([
      'name',
      'pipeline[0].model',
      'pipeline[0].queue_groups[0].gpus[0]',
      'pipeline[0].queue_groups[0].out_queues',
      'pipeline[1].queue_groups[0].strat_index',
      'pipeline[1].num_classes',
      'pipeline[1].queue_groups[0].in_queue',
      'pipeline[1].num_segments',
    ])
  })

  test('a problem of a step is listed once, however many groups share it', () => {
    const value = {
      pipeline: [
        loaderStep,
        {
          model: 'network',
          start_index: 6,
          queue_groups: [
            { gpus: [0], in_queue: 0 },
            { gpus: [1], in_queue: 0 },
          ],
        },
      ],
    }
    expect(problems(value)).toHaveLength(1)
  })

  test('whatever stands anywhere in a file, it is taken or refused in order', () => {
    const segments = {
      video_path_iterator: 'videos',
      pipeline: [
        { ...loaderStep, num_segments: 3, queue_selector: 'round-robin', clips: 2 },
        { model: 'network', queue_groups: [{ gpus: [1, 2], in_queue: 0, out_queues: [0] }], num_classes: 4 },
        {
          model: 'network',
          name: 'b',
          inputs: [0],
          queue_groups: [{ gpus: [1], in_queue: 0, out_queues: [0] }],
        },
        {
          model: 'aggregator',
          inputs: ['network', 'b'],
          queue_groups: [{ gpus: [-1], in_queue: 0 }],
          aggregate: 6,
        },
      ],
    }
    /** Every value of a file, with what holds it. */
    const places = (holder: object): [Record<string, unknown>, string][] =>
      Object.entries(holder).flatMap(([key, value]): [Record<string, unknown>, string][] => [
        [holder as Record<string, unknown>, key],
        ...(typeof value === 'object' && value !== null ? places(value) : []),
      ])
    const odd = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(-1, 0, 1, 2, 3, 1e300, 'loader', 'b', [0], [1, 2], ['b'], {}, null),
    )
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(), odd, fc.boolean()), { minLength: 1, maxLength: 3 }),
        changes => {
          const file = structuredClone(segments)
          for (const [at, value, remove] of changes) {
            const all = places(file)
            if (all.length === 0) continue
            const [holder, key] = all[at % all.length]!
            if (remove && !Array.isArray(holder)) delete holder[key]
            else holder[key] = structuredClone(value)
          }
          // Anything but a UsageError would fail the test.
          for (const line of problems(file)) expect(line).toMatch(/ is |: /)
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('long values are cut', () => {
    const [line] = problems({ ...whole, name: Array.from({ length: 100 }, (_, i) => i) })
    expect(line!.length).toBeLessThan(120)
  })
})

describe('reading a file', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'rnb-config-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const load = (text: string) => {
    const file = join(folder, 'p.json')
    writeFileSync(file, text)
    return () => loadConfig(file, fakes)
  }

  test('keeps its text and name; a byte order mark does no harm', () => {
    const config = load(`\uFEFF${JSON.stringify(whole)}`)()
    expect(config).toMatchObject({ file: join(folder, 'p.json'), name: 'p', text: JSON.stringify(whole) })
  })

  test('says where it is not JSON', () => {
    expect(load('{\n  "pipeline": [1,\n  ]\n}')).toThrow(
      `${join(folder, 'p.json')}:3:3: not JSON: a value is expected, not "]"`,
    )
    expect(load('')).toThrow('p.json:1:1: not JSON: the file is empty')
    expect(load('{"a": 1, "a": 2}')).toThrow(':1:10: not JSON: key "a" stands here twice')
  })

  test('says that it is a folder, or not there, or closed', () => {
    expect(() => loadConfig(folder, fakes)).toThrow(UsageError)
    expect(() => loadConfig(folder, fakes)).toThrow('is a folder')
    expect(() => loadConfig(join(folder, 'no.json'), fakes)).toThrow('no such pipeline file')
    expect(() => loadConfig(join(folder, 'p.json', 'x'), fakes)).toThrow('no such pipeline file')
  })

  test.skipIf(process.getuid?.() === 0)('says that it may not be read', () => {
    mkdirSync(join(folder, 'closed'))
    writeFileSync(join(folder, 'closed/p.json'), '{}')
    chmodSync(join(folder, 'closed/p.json'), 0)
    expect(() => loadConfig(join(folder, 'closed/p.json'), fakes)).toThrow('no permission')
  })
})

import { afterAll, expect, test } from 'bun:test'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { buildFakeGpu } from '../compute/fake-gpu.ts'
import { demo, loader, network, rnb, root, run, scratch } from './rnb.ts'

type Files = Readonly<Record<string, string>>

/** A folder with these files, a pipeline file of these steps among them. Returns its path. */
function project(steps: readonly object[], files: Files, more: object = {}): string {
  const folder = scratch()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  const path = join(folder, 'pipeline.json')
  writeFileSync(path, JSON.stringify({ video_root: demo.videos, pipeline: steps, ...more }))
  return path
}

const own = (keys: object = {}): object => ({
  model: './my-step.ts',
  queue_groups: [{ gpus: [-1], in_queue: 0 }],
  ...keys,
})

const quick = ['-v', '3', '-mi', '0', '--warmup', '0']

test('the example on the CPU: a step in TypeScript puts its values into the result lines', async () => {
  const { status, stderr, results } = await run(join(root, 'config/examples/motion-energy.json'), quick)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(results).toHaveLength(3)
  for (const { top, steps, class: seen } of results) {
    expect(top).toEqual([])
    expect(seen).toBeString()
    expect(steps.map(({ kind }) => kind)).toEqual(['loader', './motion-energy.ts'])
    const { energy } = steps[1]!.values as { energy: number[] }
    expect(energy).toHaveLength(2)
    // Something moves in every video of the demo, and most of the picture stays as it is.
    for (const value of energy) expect(value > 0 && value < 0.1).toBe(true)
  }
})

test('README shows the examples as they are', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  for (const name of ['motion-energy.ts', 'motion-energy-gpu.ts', 'motion-energy.ptx'])
    expect(readme).toContain(`\n${readFileSync(join(root, 'config/examples', name), 'utf8')}\`\`\`\n`)
})

test('a step between loader and network sees and passes tensors without a copy, in JavaScript with imports of its own', async () => {
  const passing = project(
    [
      loader(),
      {
        model: './steps/pass.mjs',
        queue_groups: [{ gpus: [-1, -1], in_queue: 0, out_queues: [0] }],
        queue_selector: './steps/first.mjs',
        factor: 1,
      },
      network(),
    ],
    {
      'steps/pass.mjs': `
        import { copy } from './lib/copy.ts'
        export default class Pass {
          static options = { factor: 2 }
          static shape({ inputs }) { return { outputs: [{ shape: inputs[0].shape }] } }
          constructor({ options }) { this.factor = options.factor }
          run([clips], card) {
            const [out] = card.allocate(clips.shape[0])
            copy(clips.data, out.data, this.factor)
            const shared = [clips, out].every(({ data }) => data.buffer instanceof SharedArrayBuffer)
            const [{ id, clips: count, part, parts, ageMs }] = card.requests
            return { values: [{ id, count, part, parts, shared, aged: ageMs >= 0 }] }
          }
        }`,
      'steps/lib/copy.ts': `
        export function copy(from: Float32Array, to: Float32Array, factor: number): void {
          for (let i = 0; i < from.length; i++) to[i] = from[i]! * factor
        }`,
      'steps/first.mjs':
        'export default class { select(item) { return item.clips - item.requests[0].clips } }',
    },
    { weights: demo.weights, labels: demo.labels },
  )
  const straight = project([loader(), network()], {}, { weights: demo.weights, labels: demo.labels })
  const [through, plain] = await Promise.all([run(passing, quick), run(straight, quick)])
  expect({ status: through.status, stderr: through.stderr }).toEqual({ status: 0, stderr: '' })
  expect(through.results.map(({ video, top }) => [video, top])).toEqual(
    plain.results.map(({ video, top }) => [video, top]),
  )
  expect(through.results.map(({ steps }) => steps[1]!.values)).toEqual(
    [0, 1, 2].map(id => ({ id, count: 1, part: 0, parts: 1, shared: true, aged: true })),
  )
})

test('a first step and an iterator of the user: clips that no file holds, in the order of the seed', async () => {
  const config = project(
    [
      {
        model: './my-step.ts',
        queue_groups: [{ gpus: [-1], out_queues: [0] }],
        queue_selector: 'shortest',
        num_segments: 2,
      },
      { model: './count.ts', queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }] },
      { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: 2 },
    ],
    {
      'my-step.ts': `
        export default class {
          static shape() { return { outputs: [{ shape: [4, 3] }] } }
          run(_: unknown, card) {
            if (card.requests[0].video.endsWith('/bad')) throw card.refuse('it is bad')
            const [out] = card.allocate(4)
            out.data.fill(0)
            out.data[1] = 8
          }
        }`,
      'count.ts': `
        export default class {
          static shape({ inputs }) { return { outputs: inputs, values: 20 } }
          run([rows], card) {
            const [out] = card.allocate(rows.shape[0])
            out.data.set(rows.data)
            return { values: [{ rows: rows.shape[0] }] }
          }
        }`,
      'videos.ts': `
        export default class {
          #names: (string | { path: string, class: string })[]
          constructor({ seed, root, folder }: { seed: number, root?: string, folder: string }) {
            if (!root?.startsWith('/') || !folder.startsWith('/')) throw new Error('no paths')
            this.#names = [\`made-\${seed}\`, { path: '/bad', class: 'bad ones' }]
          }
          *[Symbol.iterator]() { yield* this.#names }
        }`,
    },
    { video_path_iterator: './videos.ts' },
  )
  const { status, results, errors, summary } = await run(config, [
    '-v',
    '5',
    '-mi',
    '0',
    '--warmup',
    '0',
    '--seed',
    '7',
  ])
  expect(status).toBe(0)
  expect(
    results.map(({ id, video, clips, top, steps }) => ({
      id,
      video,
      clips,
      top: top[0]!.index,
      steps: steps.map(({ step, part, values }) => [step, part, values]),
    })),
  ).toEqual(
    [0, 2, 4].map(id => ({
      id,
      video: join(dirname(config), 'made-7'),
      clips: 4,
      top: 1,
      steps: [
        [0, undefined, undefined],
        [1, 0, { rows: 2 }],
        [1, 1, { rows: 2 }],
        [2, 0, undefined],
        [2, 1, undefined],
      ],
    })),
  )
  expect(errors.map(({ id, code, message, class: seen, step }) => [id, code, message, seen, step])).toEqual([
    [1, 'refused', 'it is bad', 'bad ones', 0],
    [3, 'refused', 'it is bad', 'bad ones', 0],
  ])
  expect(summary.failures).toEqual({ refused: 2 })
})

test('an item of several videos gives values to each, and what a module prints goes to standard error', async () => {
  const config = project(
    [
      loader(),
      {
        model: 'batcher',
        batch: 3,
        max_batch_delay_ms: 10_000,
        queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }],
      },
      own(),
    ],
    {
      'my-step.ts': `
        console.log('imported')
        setInterval(() => {}, 1000)
        export default class {
          run([clips], card) {
            console.log('running')
            return { values: card.requests.map(({ id, video }) => ({ id, video, of: card.requests.length })) }
          }
        }`,
    },
  )
  const { status, stderr, results } = await run(config, quick)
  expect(status).toBe(0)
  expect(stderr).toContain('imported\n')
  expect(stderr).toContain('running\n')
  expect(results.map(({ steps }) => steps[2]!.values)).toEqual(
    results.map(({ id, video }) => ({ id, video, of: 3 })),
  )
})

/** What is wrong, the module, and what must be said of it: found before anything runs. */
const refused: [string, string, string[]][] = [
  ['a syntax error', 'export default class {\n  run() {\n    let x: = 3;\n  }\n}', ['/my-step.ts:3:12: ']],
  [
    'an error while it is imported',
    'const a = 1\n\nthrow new TypeError("too early")',
    ['/my-step.ts:3:', 'import: TypeError: too early'],
  ],
  [
    'an import that leads nowhere',
    'import { a } from "./nowhere.ts"\nexport default class { run() { a() } }',
    ['/my-step.ts:1:', "'./nowhere.ts' cannot be found"],
  ],
  [
    'no default export',
    'export class Mine { run() {} }',
    ['/my-step.ts: has no default export; it exports Mine'],
  ],
  [
    'a default export that is no class',
    'export default () => {}',
    ['/my-step.ts: has a default export that is no class'],
  ],
  [
    'a class without run',
    'export default class Mine { go() {} }',
    ['/my-step.ts: class Mine has no method run()'],
  ],
  [
    'a shape that throws',
    'export default class {\n  static shape() {\n    throw new Error("not these") }\n  run() {} }',
    ['pipeline[1] (./my-step.ts)', '/my-step.ts:3:', 'shape(): Error: not these'],
  ],
  [
    'a shape that is none',
    'export default class {\n  static shape() { return { outputs: [{ shape: [1, 0] }] } }\n  run() {} }',
    ['shape() gave no shape: outputs[0].shape[1]'],
  ],
  [
    "outputs of f16 in the host's memory",
    'export default class {\n  static shape() { return { outputs: [{ shape: [1], type: "f16" }] } }\n  run() {} }',
    ['outputs[0] of f16'],
  ],
  [
    'outputs of different numbers of clips',
    'export default class {\n  static shape() { return { outputs: [{ shape: [2] }, { shape: [3] }] } }\n  run() {} }',
    ['outputs[1] of 3 clips and outputs[0] of 2'],
  ],
  [
    'outputs on a GPU that it is not on',
    'export default class {\n  static shape() { return { outputs: [{ shape: [2], memory: "device" }] } }\n  run() {} }',
    ['runs on the CPU'],
  ],
  [
    'options that are none',
    'export default class {\n  static options = { at: new Date() }\n  run() {} }',
    ['options.at is a Date'],
  ],
  [
    'an option that every step has',
    'export default class {\n  static options = { gpus: 1 }\n  run() {} }',
    ['static options has gpus'],
  ],
]

test.each(refused)(
  '%s: exit 2 with the place, from `run` and from `config check`',
  async (_, module, said) => {
    const config = project([loader(), own()], { 'my-step.ts': module })
    for (const args of [
      ['config', 'check', config],
      ['run', '-c', config, '--device', 'cpu', ...quick],
    ]) {
      const { status, stdout, stderr } = await rnb(args)
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
      for (const text of [...said, config]) expect(stderr).toContain(text)
    }
  },
)

test('modules that are missing, and keys that a step does not take, are listed with their places', async () => {
  const none = project(
    [loader({ queue_selector: './select.js' }), own()],
    {},
    { video_path_iterator: '../videos.ts' },
  )
  const missing = await rnb(['config', 'check', none])
  expect(missing.status).toBe(2)
  expect(missing.stderr).toContain('has 3 problems')
  expect(missing.stderr).toContain(`pipeline[1].model: ${dirname(none)}/my-step.ts: no such file`)
  expect(missing.stderr).toContain(`pipeline[0].queue_selector: ${dirname(none)}/select.js: no such file`)
  expect(missing.stderr).toContain(`video_path_iterator: ${dirname(dirname(none))}/videos.ts: no such file`)

  const module = 'export default class { static options = { threshold: 0.5 }; run() {} }'
  const typo = await rnb([
    'config',
    'check',
    project([loader(), own({ treshold: 1 })], { 'my-step.ts': module }),
  ])
  expect(typo.status).toBe(2)
  expect(typo.stderr).toContain('did you mean "threshold"?')
  const type = await rnb([
    'config',
    'check',
    project([loader(), own({ threshold: '1' })], { 'my-step.ts': module }),
  ])
  expect(type.stderr).toContain('pipeline[1].threshold is "1": must be a number')
})

/** What is wrong, the module, and what must be said of it: found while it runs. */
const crashing: [string, string, string[]][] = [
  [
    'throws in its constructor',
    'export default class {\n  constructor() { throw new Error("no place") }\n  run() {} }',
    ['/my-step.ts:2:', 'constructor: Error: no place'],
  ],
  [
    'throws while it warms up',
    'export default class {\n  async warmUp() { await 1; throw new Error("cold") }\n  run() {} }',
    ['/my-step.ts:2:', 'warmUp(): Error: cold'],
  ],
  [
    'throws in run',
    'export default class {\n  run(_, card) {\n    if (card.requests[0].id === 1) null.x } }',
    ['/my-step.ts:3:', 'run(): TypeError: '],
  ],
  [
    'throws what is no error',
    'export default class {\n  run() { throw "a text" } }',
    ['/my-step.ts: run(): threw "a text"'],
  ],
  [
    'gives what it should not',
    'export default class { run() { return [1] } }',
    ['/my-step.ts: run() gave neither undefined nor { values }'],
  ],
  [
    'gives too few values',
    'export default class { run() { return { values: [] } } }',
    ['0 values for 1 requests'],
  ],
  [
    'gives what JSON cannot hold',
    'export default class { run() { return { values: [{ a: [new Float32Array(2)] }] } } }',
    ['values[0].a[0] is a Float32Array; use Array.from'],
  ],
  [
    'gives more than it said',
    'export default class { run() { return { values: ["x".repeat(1023)] } } }',
    ['1025 bytes, where there is room for 1024', 'raise `values`'],
  ],
  [
    'asks for more clips than it said',
    'export default class {\n  static shape() { return { outputs: [{ shape: [2, 3] }] } }\n  run(_, card) { card.allocate(3) } }',
    ['/my-step.ts:3:', 'allocate(3): shape() said 1 to 2 clips'],
  ],
  [
    'never ends a promise',
    'export default class { run() { return new Promise(() => {}) } }',
    ['the worker ended early'],
  ],
  [
    'breaks a promise that nobody waits for',
    'export default class { run() { Promise.reject(new Error("alone")) } }',
    ['alone'],
  ],
  [
    'does not fill its outputs',
    'export default class {\n  static shape() { return { outputs: [{ shape: [2, 3] }] } }\n  run() {} }',
    ['run() ended without card.allocate(clips)'],
  ],
]

test.each(crashing)('a step that %s ends the run with the step and the place', async (_, module, said) => {
  const { status, stderr, summary } = await run(project([loader(), own()], { 'my-step.ts': module }), quick)
  expect(status).toBe(1)
  expect(summary.exit).toMatchObject({ status: 1, reason: 'failed' })
  for (const text of ['step 1 (./my-step.ts) on cpu, replica 0 failed: ', ...said]) {
    expect(summary.exit.message).toContain(text)
    expect(stderr).toContain(text)
  }
})

test('a selector that gives no queue ends the run, and an iterator that gives no path is exit 2', async () => {
  const selector = { 'select.ts': 'export default class { select() { return 1 } }' }
  const wrong = await run(
    project([loader({ queue_selector: './select.ts' }), network()], selector, { weights: demo.weights }),
    quick,
  )
  expect(wrong.status).toBe(1)
  expect(wrong.summary.exit.message).toContain('step 0 (loader) on cpu, replica 0 failed: ')
  expect(wrong.summary.exit.message).toContain(
    '/select.ts: select() gave 1; it must give a queue from 0 to 0',
  )

  for (const [yielded, said] of [
    ['yield 3', 'the iterator gave 3'],
    ['', 'the iterator gave no videos'],
    ['yield "a.mp4"; throw new Error("lost")', '/videos.ts:1:'],
  ]) {
    const config = project(
      [loader(), network()],
      { 'videos.ts': `export default class { *[Symbol.iterator]() { ${yielded} } }` },
      { video_path_iterator: './videos.ts' },
    )
    const { status, stderr } = await rnb(['run', '-c', config, '--device', 'cpu', ...quick])
    expect(status).toBe(2)
    expect(stderr).toContain(said!)
  }
})

const fake = buildFakeGpu('steps of the user on a GPU')
afterAll(() => fake?.remove())
const onGpu = (queues: object): object => ({ queue_groups: [{ gpus: [0], ...queues }] })

/** Where the second step runs, and how tensors come there. */
const ways: [string, number, Record<string, string>][] = [
  ['on the same GPU', 0, {}],
  ['on another GPU', 1, { FAKE_GPUS: '2' }],
  ['on another GPU that cannot reach the first', 1, { FAKE_GPUS: '2', FAKE_NO_PEER: '1' }],
]

test.skipIf(!fake).each(ways)(
  'steps pass tensors in device memory to one %s: up, across and down they are the same bytes',
  async (_, second, env) => {
    const config = project(
      [
        loader(),
        { model: './up.ts', ...onGpu({ in_queue: 0, out_queues: [0] }), num_shared_tensors: 2 },
        { model: './down.ts', ...onGpu({ gpus: [second], in_queue: 0 }) },
      ],
      {
        'up.ts': `
        import type { Step, StepContext, StepPlan, StepShape, Tensor, TimeCard } from 'rnb'
        export default class Up implements Step {
          static shape({ inputs, device }: StepPlan): StepShape {
            if (device !== 0) throw new Error('not here')
            return { outputs: [{ shape: inputs[0]!.shape, type: 'f32', memory: 'device' }] }
          }
          constructor(readonly context: StepContext) {}
          run([clips]: readonly Tensor[], card: TimeCard) {
            const [out] = card.allocate(clips!.shape[0]!)
            if (clips!.memory !== 'host' || out!.memory !== 'device') throw new TypeError('elsewhere')
            const gpu = this.context.gpu!
            gpu.clear(out.pointer, clips.data.byteLength)
            gpu.upload(out.pointer + 4, clips.data.subarray(1))
            return { values: [{ first: clips.data[0]!, sum: clips.data.reduce((a, b) => a + b, 0) }] }
          }
        }`,
        'down.ts': `
        import type { Step, StepContext, Tensor } from 'rnb'
        export default class Down implements Step {
          constructor(readonly context: StepContext) {}
          run([clips]: readonly Tensor[]) {
            if (clips!.memory !== 'device') throw new TypeError('elsewhere')
            const data = new Float32Array(clips!.shape.reduce((a, b) => a * b))
            this.context.gpu!.download(clips.pointer, data)
            return { values: [{ first: data[0]!, sum: data.reduce((a, b) => a + b, 0) }] }
          }
        }`,
      },
    )
    const args = ['run', '-c', config, '--results', '-', '--quiet', '--share-gpu', ...quick]
    const { status, stderr, results } = await rnb(args, { env: { ...fake!.env, ...env } })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(results).toHaveLength(3)
    for (const { steps } of results) {
      const [, up, down] = steps as [unknown, ...{ device: string; values: { first: number; sum: number } }[]]
      expect([up!.device, down!.device]).toEqual(['cuda:0', `cuda:${second}`])
      expect(up!.values.first).not.toBe(0)
      expect(down!.values.first).toBe(0)
      expect(down!.values.sum).toBeCloseTo(up!.values.sum - up!.values.first, 0)
    }
  },
)

/** What a step does with its GPU, and what must be said of it. */
const misused: [string, string, string[]][] = [
  ['PTX that does not compile', 'gpu.load("no such thing")', ['cuModuleLoadDataEx', 'INVALID_PTX']],
  ['a kernel that is not there', 'gpu.load(".entry a()").kernel("b", [])', ['cuModuleGetFunction']],
  ['a parameter of no type', 'gpu.load(".entry a()").kernel("a", ["f64"])', ['no parameter is a f64']],
  [
    'an argument too few',
    'gpu.load(".entry a()").kernel("a", ["u32"]).launch({ blocks: 1, threads: 1 })',
    ['kernel a takes 1 arguments, and 0 are given'],
  ],
  [
    'an argument that is no number',
    'gpu.load(".entry a()").kernel("a", ["u32"]).launch({ blocks: 1, threads: 1 }, 0.5)',
    ['argument 0 (u32) is 0.5'],
  ],
  [
    'no threads',
    'gpu.load(".entry a()").kernel("a", []).launch({ blocks: 1, threads: 0 })',
    ['blocks and threads'],
  ],
  ['no memory', 'gpu.allocate(0)', ['allocate(0)']],
]

test.skipIf(!fake).each(misused)(
  'a step on a GPU with %s ends the run with the place',
  async (_, misuse, said) => {
    const module = `export default class {\n  constructor({ gpu }) {\n    ${misuse} }\n  run() {} }`
    const config = project([loader(), { model: './my-step.ts', ...onGpu({ in_queue: 0 }) }], {
      'my-step.ts': module,
    })
    const args = ['run', '-c', config, '--quiet', '--share-gpu', ...quick]
    const { status, stderr } = await rnb(args, { env: { ...fake!.env } })
    expect(status).toBe(1)
    for (const text of ['step 1 (./my-step.ts) on gpu 0', '/my-step.ts:3:', 'constructor: ', ...said])
      expect(stderr).toContain(text)
  },
)

test('the types that modules import: the examples hold to them, and what does not is found', async () => {
  const { status, stdout } = await rnb(['types'])
  expect(status).toBe(0)
  const folder = scratch()
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text)
  write('rnb.d.ts', stdout)
  for (const name of ['motion-energy.ts', 'motion-energy-gpu.ts'])
    write(name, readFileSync(join(root, 'config/examples', name), 'utf8'))
  write(
    'wrong.ts',
    `import type { Outcome, Step, Tensor, VideoPathIteratorClass } from 'rnb'
     export default class Wrong implements Step {
       run([clips]: readonly Tensor[]): Outcome { return { values: [clips!.data] } }
     }
     export const also: VideoPathIteratorClass = Wrong`,
  )
  const check = (...files: string[]) =>
    Bun.spawnSync(
      [
        join(root, 'node_modules/.bin/tsc'),
        ...['--ignoreConfig', '--noEmit', '--strict', '--noUncheckedIndexedAccess', '--types', ''],
        ...['--target', 'esnext', '--module', 'preserve', 'rnb.d.ts', ...files],
      ],
      { cwd: folder },
    ).stdout.toString()
  expect(check('motion-energy.ts', 'motion-energy-gpu.ts')).toBe('')
  const faults = check('wrong.ts')
  expect(faults).toContain('wrong.ts(3,')
  expect(faults).toContain('wrong.ts(5,')
})

test.skipIf(!fake)(
  'a kernel of the user that goes wrong: the run ends with the place that saw it, and the GPU is lost',
  async () => {
    const module = `export default class {
    constructor({ gpu }) {
      this.gpu = gpu
    }
    run() {
      this.gpu.synchronize()
    }
  }`
    const config = project([loader(), { model: './my-step.ts', ...onGpu({ in_queue: 0 }) }], {
      'my-step.ts': module,
    })
    const args = ['run', '-c', config, '--quiet', '--share-gpu', ...quick]
    const { status, stderr } = await rnb(args, {
      env: { ...fake!.env, FAKE_FAULT: 'cuStreamSynchronize 0 700' },
    })
    expect(status).toBe(1)
    for (const text of [
      'step 1 (./my-step.ts) on gpu 0',
      'gpu 0 is lost',
      '/my-step.ts:6:',
      'run(): ',
      'ILLEGAL_ADDRESS',
    ])
      expect(stderr).toContain(text)
  },
)

test('one decode feeds a network and a step of the user, each with its own output in the result line', async () => {
  const config = project(
    [loader(), network({ name: 'shapes' }), { name: 'motion', inputs: ['loader'], ...own() }],
    { 'my-step.ts': readFileSync(join(root, 'config/examples/motion-energy.ts'), 'utf8') },
    { weights: demo.weights, labels: demo.labels },
  )
  const alone = project([loader(), network()], {}, { weights: demo.weights, labels: demo.labels })
  const [both, one] = await Promise.all([run(config, quick), run(alone, quick)])
  expect({ status: both.status, stderr: both.stderr }).toEqual({ status: 0, stderr: '' })
  expect(both.results.map(({ top }) => top)).toEqual(one.results.map(({ top }) => top))
  for (const { branches, steps } of both.results) {
    expect(branches!.map(({ step, name }) => [step, name])).toEqual([
      [1, 'shapes'],
      [2, 'motion'],
    ])
    const motion = steps.find(({ step }) => step === 2)
    const { energy } = motion!.values as { energy: number[] }
    expect(energy).toHaveLength(1)
    expect(steps.find(({ step }) => step === 1)).not.toHaveProperty('values')
  }
})

import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Ajv from 'ajv'
import { schemaText } from '../../config/schema.ts'
import { checkConfigFile, configSchema, describePlan } from '../../src/cli/config.ts'
import { builtin } from '../../src/pipeline/builtin.ts'
import { builtinFile, builtinFiles } from '../../src/pipeline/builtin-files.ts'
import { loadConfig } from '../../src/pipeline/config.ts'
import { makePlan } from '../../src/pipeline/plan.ts'
import { fakes } from './fake-kinds.ts'

const folder = fileURLToPath(new URL('../../config/', import.meta.url))
const RNB = fileURLToPath(new URL('../../../shared/rnb-config/', import.meta.url))
const haveRnb = existsSync(RNB)
if (!haveRnb) console.warn(`skipped: RnB's own pipeline files (${RNB} is absent)`)

const rnbNames = haveRnb
  ? readdirSync(RNB).flatMap(name => (name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : []))
  : []

const own = ['demo.json', ...builtinFiles().map(({ path }) => path.replace('config/', ''))]
const parse = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'))

describe('the JSON Schema of pipeline files', () => {
  const schema = parse(join(folder, 'rnb.schema.json')) as object
  const valid = new Ajv({ strictTypes: false }).compile(schema)

  test('is what config/schema.ts writes today, and what the program prints', () => {
    expect(schema).toEqual(JSON.parse(schemaText()))
    expect(JSON.parse(configSchema())).toEqual(schema)
  })

  test.each(own)('accepts config/%s', name => {
    expect(valid(parse(join(folder, name)))).toBeTrue()
  })

  test.skipIf(!haveRnb)("accepts RnB's files", () => {
    for (const name of rnbNames) expect(valid(parse(join(RNB, `${name}.json`)))).toBeTrue()
  })

  test('refuses what the program refuses', () => {
    const whole = parse(join(folder, '1-gpu/whole.json')) as { pipeline: object[] }
    for (const bad of [
      {},
      { ...whole, pipelin: [] },
      { pipeline: [] },
      { pipeline: [{ ...whole.pipeline[0], model: 'x' }] },
    ])
      expect(valid(bad)).toBeFalse()
  })
})

describe('the pipelines that come with the program', () => {
  test.each(own)('config/%s loads', name => {
    const config = loadConfig(join(folder, name), builtin)
    expect(config.hash).toMatch(/^[0-9a-f]{12}$/)
    expect(config.videoRoot === undefined || existsSync(config.videoRoot)).toBeTrue()
  })

  test('are all that is in the folders', () => {
    const found = ['8-gpus', '2-gpus', '1-gpu', 'cpu'].flatMap(host =>
      readdirSync(join(folder, host)).map(name => `config/${host}/${name}`),
    )
    expect(
      builtinFiles()
        .map(({ path }) => path)
        .sort(),
    ).toEqual(found.sort())
    for (const { path, text } of builtinFiles())
      expect(text).toBe(readFileSync(join(folder, '..', path), 'utf8'))
  })

  test.each(own)('config/%s comes to a plan, on the GPUs that its folder says', name => {
    const { instances, notes } = checkConfigFile(join(folder, name))
    expect(notes).toEqual([])
    const gpus = new Set(instances.map(({ device }) => device).filter(device => device >= 0))
    const [most] = /^\d/.exec(name) ?? ['0']
    expect([...gpus].sort()).toEqual(Array.from({ length: Number(most) }, (_, gpu) => gpu))
  })

  test('a name means the file for the most GPUs that there are', () => {
    const path = (name: string, gpus: number) => builtinFile(name, gpus)?.path
    expect([0, 1, 2, 7, 8, 9].map(gpus => path('replicated', gpus))).toEqual([
      'config/cpu/replicated.json',
      'config/1-gpu/replicated.json',
      'config/2-gpus/replicated.json',
      'config/2-gpus/replicated.json',
      'config/8-gpus/replicated.json',
      'config/8-gpus/replicated.json',
    ])
    expect(path('whole', 8)).toBe('config/1-gpu/whole.json')
    expect(path('apart', 0)).toBe('config/2-gpus/apart.json')
    // With .json it would be the file that is there.
    for (const name of ['2-gpus/split', './2-gpus/split.json', './config/2-gpus/split'])
      expect(path(name, 0)).toBe('config/2-gpus/split.json')
    for (const name of ['r2p1d-whole', 'config/r2p1d-whole.json', 'config/r2p1d-whole'])
      expect([path(name, 0), path(name, 8)]).toEqual(['config/1-gpu/whole.json', 'config/1-gpu/whole.json'])
    for (const name of ['nothing', 'config/', '3-gpus/whole', 'constructor'])
      expect(path(name, 8)).toBeUndefined()
  })

  test('a name that is nearly known is guessed', () => {
    expect(() => loadConfig('replicate', builtin)).toThrow('did you mean "replicated"?')
    expect(() => loadConfig('zzzzz', builtin)).toThrow('known: ')
  })

  const shape = (file: string, count: (gpus: number[]) => unknown) =>
    loadConfig(file, builtin).steps.map(({ kind, groups }) => [
      kind.names[0],
      groups.map(({ gpus, inQueue, outQueues, selector, segments, options }) => ({
        gpus: count(gpus),
        inQueue,
        outQueues,
        selector,
        segments,
        options,
      })),
    ])

  test.skipIf(!haveRnb).each(rnbNames)("%s, as RnB calls it, has RnB's steps on RnB's GPUs", name => {
    const same = (gpus: number[]) => gpus
    expect(shape(name, same)).toEqual(shape(join(RNB, `${name}.json`), same))
  })
})

const settings = { seed: 0, batch: 1, maxBatchDelayMs: 5, top: 5, threads: 1, clip: { frames: 8, size: 112 } }

test.skipIf(!haveRnb)("checking a file asks for no GPU: all of RnB's pass", () => {
  const files = readdirSync(RNB).filter(name => name.endsWith('.json'))
  const plans = files.map(name => checkConfigFile(join(RNB, name), fakes, () => ({ settings })))
  expect(plans.map(plan => plan.notes)).toEqual(files.map(() => []))
  expect(Math.max(...plans.flatMap(plan => plan.instances.map(({ device }) => device)))).toBe(7)
})

test('a plan in words', () => {
  const settings = {
    seed: 0,
    batch: 1,
    maxBatchDelayMs: 5,
    top: 5,
    threads: 1,
    clip: { frames: 8, size: 112 },
  }
  const config = loadConfig(join(folder, '1-gpu/single.json'), fakes)
  const plan = makePlan(
    config,
    { settings, queueSize: 500, videos: 1, bulk: false, perGpuQueue: false, device: 'auto' },
    { gpus: 0, driver: false },
  )
  expect(describePlan(plan)).toEqual([
    `single (${config.hash}): 1 step, 1 instance, 1 queue`,
    '  step 0: single',
    '    on cpu: filename -> results, f32[15, 400], 10 slots',
    '  note: no NVIDIA driver was found: everything runs on the CPU',
  ])
})

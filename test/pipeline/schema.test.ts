import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Ajv from 'ajv'
import { schemaText } from '../../config/schema.ts'
import { checkConfigFile, configSchema, describePlan } from '../../src/cli/config.ts'
import { builtin } from '../../src/pipeline/builtin.ts'
import { loadConfig } from '../../src/pipeline/config.ts'
import { makePlan } from '../../src/pipeline/plan.ts'
import { fakes } from './fake-kinds.ts'

const folder = fileURLToPath(new URL('../../config/', import.meta.url))
const RNB = fileURLToPath(new URL('../../../shared/rnb-config/', import.meta.url))
const haveRnb = existsSync(RNB)
if (!haveRnb) console.warn(`skipped: RnB's own pipeline files (${RNB} is absent)`)

const own = readdirSync(folder).filter(name => name.endsWith('.json') && !name.endsWith('.schema.json'))
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

  test.skipIf(!haveRnb)("accepts RnB's files whose steps there are", () => {
    for (const name of ['baseline', 'r2p1d-whole', 'r2p1d-nopipeline', 'r2p1d-aggressive'])
      expect(valid(parse(join(RNB, `${name}.json`)))).toBeTrue()
  })

  test('refuses what the program refuses', () => {
    const whole = parse(join(folder, 'r2p1d-whole.json')) as { pipeline: object[] }
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

  test.skipIf(!haveRnb)("those with RnB's names describe RnB's steps, on one GPU", () => {
    const shape = (file: string) =>
      loadConfig(file, builtin).steps.map(({ kind, groups }) => [
        kind.names[0],
        groups.map(({ inQueue, outQueues, selector, segments, options }) => ({
          inQueue,
          outQueues,
          selector,
          segments,
          options,
        })),
      ])
    for (const name of ['r2p1d-whole.json', 'r2p1d-nopipeline.json'])
      expect(shape(join(folder, name))).toEqual(shape(join(RNB, name)))
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
  const config = loadConfig(join(folder, 'r2p1d-nopipeline.json'), fakes)
  const plan = makePlan(
    config,
    { settings, queueSize: 500, videos: 1, bulk: false, perGpuQueue: false, device: 'auto' },
    { gpus: 0, driver: false },
  )
  expect(describePlan(plan)).toEqual([
    `r2p1d-nopipeline (${config.hash}): 1 step, 1 instance, 1 queue`,
    '  step 0: single',
    '    on cpu: filename -> results, f32[15, 400], 10 slots',
    '  note: no NVIDIA driver was found: everything runs on the CPU',
  ])
})

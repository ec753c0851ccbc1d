import { describe, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { readLogs } from '../../src/results/read-logs.ts'
import { demo, pipeline, rnb, rnbConfigs, scratch } from './rnb.ts'

const VIDEOS = 20
const flags = [
  ...['--device', 'cpu', '--results', '-', '--quiet', '-v', String(VIDEOS), '-mi', '0', '--seed', '5'],
  ...['--weights', demo.weights, '--labels', demo.labels, '--video-root', demo.videos],
]

const files = rnbConfigs ? readdirSync(rnbConfigs).filter(name => name.endsWith('.json')) : []

/** Columns of RnB's logs for so many steps, where no video is split. */
const columnsOf = (steps: number): string[] => [
  'enqueue_filename',
  ...Array.from({ length: steps }, (_, s) => [
    `runner${s}_start`,
    `inference${s}_start`,
    `inference${s}_finish`,
  ]).flat(),
  ...Array.from({ length: steps }, (_, s) => `gpu${s}`),
]

describe.skipIf(!rnbConfigs)('RnB’s own pipeline files, on the CPU', () => {
  // One step, one instance: nothing of a pipeline that could go wrong. RnB's defaults otherwise.
  const single = rnbConfigs
    ? rnb(['run', '-c', pipeline([{ model: 'single', queue_groups: [{ gpus: [-1] }] }]), ...flags])
    : undefined

  test('there are eight', () => expect(files).toHaveLength(8))

  test.each(files)('%s: one result for each video, as a single step gives it', async name => {
    const logs = scratch()
    const outcome = await rnb(['run', '-c', join(rnbConfigs!, name), ...flags, '--log-dir', logs])
    expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
    const expected = (await single!).results
    expect(expected).toHaveLength(VIDEOS)
    const facts = (results: typeof expected) =>
      results.map(({ id, video, clips, top }) => [id, video, clips, top[0]!.label])
    expect(facts(outcome.results)).toEqual(facts(expected))
    for (const { high_water, capacity } of outcome.summary.queues)
      expect(high_water).toBeLessThanOrEqual(capacity)

    const [folder] = readdirSync(logs)
    const read = readLogs(join(logs, folder!))
    expect(read.instances.reduce((sum, { times }) => sum + times.length, 0)).toBe(VIDEOS)
    const steps = outcome.summary.steps.length
    if (name !== 'r2p1d-segment.json')
      for (const { columns, gpuColumns } of read.instances)
        expect([...columns, ...gpuColumns]).toEqual(columnsOf(steps))
    expect(read.warnings).toEqual([])
    expect(read.termination).toBe(0)
  })
})

import { expect, test } from 'bun:test'
import { join } from 'node:path'
import type { ResultLine } from '../../src/results/schema.ts'
import { listOf, loader, network, pipeline, run, sharedVideos } from './rnb.ts'

const SAME = 1e-5

/** One clip or three a video, so that the sampler has something to draw. */
const drawn = { num_clips_population: [1, 3], num_clips_weights: [1, 1] }

const chosen = (results: readonly ResultLine[]) =>
  results.map(({ id, video, clips, frames_needed, frames_decoded, top }) => ({
    id,
    video,
    clips,
    frames_needed,
    frames_decoded,
    label: top[0]!.label,
  }))

function expectSame(a: readonly ResultLine[], b: readonly ResultLine[]): void {
  expect(chosen(b)).toEqual(chosen(a))
  a.forEach(({ top }, i) => {
    const other = new Map(b[i]!.top.map(({ index, score }) => [index, score]))
    for (const { index, score } of top) expect(Math.abs(other.get(index)! - score)).toBeLessThan(SAME)
  })
}

/** All eight classes, so that equal scores cannot hide a class that fell off the list. */
const flags = (...more: string[]) => ['-v', '12', '-mi', '0', '--top', '8', ...more]

test('the same seed gives the same videos, clips, labels and scores; another seed does not', async () => {
  const config = pipeline([loader(drawn), network()])
  const [first, again, other] = await Promise.all([
    run(config, flags('--seed', '7')),
    run(config, flags('--seed', '7')),
    run(config, flags('--seed', '8')),
  ])
  expect(first.results).toHaveLength(12)
  expectSame(first.results, again.results)
  expect(chosen(other.results)).not.toEqual(chosen(first.results))
})

test('neither batches nor more instances change what comes out', async () => {
  const alone = pipeline([loader(drawn), network()])
  const many = pipeline([
    loader({ ...drawn, queue_groups: [{ gpus: [-1, -1, -1], out_queues: [0] }], in_flight: 2 }),
    network({ queue_groups: [{ gpus: [-1, -1, -1], in_queue: 0 }] }),
  ])
  const one = await run(alone, flags('--seed', '7'))
  const [batched, replicated] = [
    await run(alone, flags('--seed', '7', '-b', '4', '--max-batch-delay-ms', '200')),
    await run(many, flags('--seed', '7')),
  ]
  expect(Math.max(...batched.results.map(({ steps }) => steps[1]!.batch))).toBeGreaterThan(1)
  expectSame(one.results, batched.results)
  expectSame(one.results, replicated.results)
})

test('who decodes which clip changes nothing', async () => {
  // Keyframes lie within these, so that there are pieces to share.
  const several = { num_clips_population: [1, 4], num_clips_weights: [1, 3], in_flight: 4 }
  const [apart, shared] = [
    await run(pipeline([loader(several), network()]), flags('--seed', '7', '-v', '16')),
    await run(
      pipeline([loader({ ...several, share_clips: true }), network()]),
      // One request at a time: three of four threads have nothing to do but to help.
      ['-v', '16', '--concurrency', '1', '--top', '8', '--seed', '7'],
    ),
  ]
  const without = (results: readonly ResultLine[]) => results.map(line => ({ ...line, frames_decoded: 0 }))
  expectSame(without(apart.results), without(shared.results))
  // A clip that goes over a keyframe needs pictures that belong to the next piece, too.
  for (const [i, { frames_decoded: decoded }] of shared.results.entries())
    expect(decoded).toBeGreaterThanOrEqual(apart.results[i]!.frames_decoded!)
  expect(shared.summary.notes).toContainEqual(
    expect.stringMatching(
      /^step 0 \(loader\) on cpu, replica 0: of \d+ pieces .* threads took [1-9]\d* off others$/,
    ),
  )
  expect(apart.summary.notes.join()).not.toContain('pieces')
})

test.skipIf(!sharedVideos)(
  'a damaged video fails alike, whoever finds it, and the others do not',
  async () => {
    const names = [
      'kinetics-340x256-h264.mp4',
      'broken-bitflips.mp4',
      'broken-truncated.mp4',
      'kinetics-340x256-h264.mkv',
    ]
    const videos = listOf(names.map(name => join(sharedVideos!, name)))
    const of = (share_clips: boolean) => {
      const keys = { num_clips_population: [15], num_clips_weights: [1], in_flight: 4, share_clips }
      return run(pipeline([loader(keys), network()], { video_root: videos }), flags('--seed', '2', '-v', '8'))
    }
    const [apart, shared] = [await of(false), await of(true)]
    const errors = ({ errors: lines }: typeof apart) => lines.map(({ id, code }) => ({ id, code }))
    expect(errors(shared)).toEqual(errors(apart))
    expect(errors(shared).length).toBeGreaterThan(0)
    expect(shared.results.map(({ id }) => id)).toEqual(apart.results.map(({ id }) => id))
    expect(shared.results.length).toBeGreaterThan(0)
  },
)

test('random weights come from the seed, and every output says so', async () => {
  const config = pipeline([loader(), network({ num_classes: 5 })], {
    weights: undefined,
    labels: undefined,
  })
  const [a, b, c] = [
    await run(config, ['-v', '1', '-mi', '0', '--seed', '3']),
    await run(config, ['-v', '1', '-mi', '0', '--seed', '3']),
    await run(config, ['-v', '1', '-mi', '0', '--seed', '4']),
  ]
  expect(a.summary.weights).toBe('random:3')
  expect(a.results[0]!.weights).toBe('random:3')
  expect(a.results[0]!.top).toHaveLength(5)
  expectSame(a.results, b.results)
  expect(c.results[0]!.top).not.toEqual(a.results[0]!.top)
})

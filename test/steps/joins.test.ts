import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { splitItem } from '../../src/pipeline/segments.ts'
import { meanLogits, topScores } from '../../src/pipeline/sink.ts'
import type { Item } from '../../src/queue/item.ts'
import { elements } from '../../src/queue/tensor.ts'
import { aggregator } from '../../src/steps/aggregator.ts'
import { batcher } from '../../src/steps/batcher.ts'
import type { RunSettings, StepContext, StepInstance } from '../../src/steps/step.ts'

/** A context whose slots are plain arrays: slot numbers index `memory`. */
function plainContext(rowShape: number[], mostRows = 1e6): { context: StepContext; memory: Float32Array[] } {
  const memory: Float32Array[] = []
  const context = {
    timed: <T>(_what: string, work: () => T) => work(),
    outputs: [{ shape: [mostRows, ...rowShape], type: 'f32' }],
    sources: 1,
    view(item: Item, tensor: number) {
      const { slot, row, shape } = item.tensors[tensor]!
      const rowLength = elements(shape.slice(1))
      return memory[slot]!.subarray(row * rowLength, (row + shape[0]!) * rowLength)
    },
    allocate(clips: number) {
      const shape = [clips, ...rowShape]
      memory.push(new Float32Array(elements(shape)).fill(Number.NaN))
      return { tensors: [{ pool: 0, slot: memory.length - 1, row: 0, shape }] }
    },
  } as unknown as StepContext
  return { context, memory }
}

/** An item of one request with random rows. */
function filled(context: StepContext, request: number, rows: readonly number[][]): Item {
  const item: Item = {
    shares: [{ request, part: 0, parts: 1, clips: rows.length }],
    ...context.allocate(rows.length),
    values: [request],
  }
  context.view(item, 0).set(rows.flat())
  return item
}

const CLASSES = 3
const rows = fc.array(
  fc.array(fc.float({ min: -5, max: 5, noNaN: true }), { minLength: CLASSES, maxLength: CLASSES }),
  { minLength: 1, maxLength: 7 },
)

test('a batcher keeps every row and whose it is', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(rows, { minLength: 1, maxLength: 4 }), async videos => {
      const { context } = plainContext([CLASSES])
      const step = (await batcher.create(context)) as StepInstance
      const emitted: Item[] = []
      await step.run(
        videos.map((video, request) => filled(context, request, video)),
        item => emitted.push(item),
      )
      expect(emitted.length).toBe(1)
      expect(emitted[0]!.shares.map(share => [share.request, share.clips])).toEqual(
        videos.map((video, request) => [request, video.length]),
      )
      expect([...context.view(emitted[0]!, 0)]).toEqual(videos.flat(2))
      expect(emitted[0]!.values).toEqual(videos.map((_, request) => request))
    }),
  )
})

test('a batcher joins no more clips than it may, and loses none', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rows, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 15 }),
      async (videos, most) => {
        const { context } = plainContext([CLASSES], most)
        const step = (await batcher.create(context)) as StepInstance
        const emitted: Item[] = []
        await step.run(
          videos.map((video, request) => filled(context, request, video)),
          item => emitted.push(item),
        )
        expect(emitted.flatMap(({ shares }) => shares.map(({ request }) => request))).toEqual([
          ...videos.keys(),
        ])
        expect(emitted.flatMap(item => [...context.view(item, 0)])).toEqual(videos.flat(2))
        const sizes = emitted.map(({ shares }) => shares.map(({ clips }) => clips))
        for (const clips of sizes)
          expect(clips.length === 1 || clips.reduce((a, b) => a + b, 0) <= most).toBe(true)
        // What stands first in an item would not have fitted into the one before.
        for (const [i, clips] of sizes.slice(1).entries())
          expect(sizes[i]!.reduce((a, b) => a + b, 0) + clips[0]!).toBeGreaterThan(most)
      },
    ),
  )
})

test('a batcher takes as many clips as its batch, max_clips, or one video needs', () => {
  const rows = (options: object, clips: number) =>
    batcher.shape({ batch: 1, ...options }, [{ shape: [clips, 3], type: 'f32' }], {} as RunSettings, {
      device: -1,
      resident: false,
    }).outputs[0]!.shape[0]
  expect(rows({ batch: 3 }, 15)).toBe(45)
  expect(rows({ batch: 3, max_clips: 20 }, 15)).toBe(20)
  expect(rows({ batch: 3, max_clips: 5 }, 15)).toBe(15)
  expect(rows({ batch: 3, max_clips: 99 }, 1)).toBe(3)
})

test('an aggregator gives the mean of all clips, whatever the parts and the order in which they come', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rows, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 3 }),
      fc.infiniteStream(fc.nat()),
      async (videos, segments, again, order) => {
        const { context } = plainContext([CLASSES])
        const step = (await aggregator.create(context)) as StepInstance
        const parts = videos
          .flatMap((video, request) => splitItem(filled(context, request, video), segments))
          .flatMap(part => splitItem(part, again))
        const places = parts.map(({ shares }) => `${shares[0]!.request}-${shares[0]!.part}`)
        expect(new Set(places).size).toBe(parts.length)
        expect(Math.max(...parts.map(({ shares }) => shares[0]!.part))).toBeLessThan(segments * again)
        const shuffled = parts
          .map(part => ({ part, key: order.next().value as number }))
          .sort((a, b) => a.key - b.key)
          .map(({ part }) => part)
        const emitted: Item[] = []
        for (const part of shuffled) await step.run([part], item => emitted.push(item))
        expect(emitted.map(item => item.shares[0]!.request).sort()).toEqual(videos.map((_, i) => i))
        for (const item of emitted) {
          const video = videos[item.shares[0]!.request]!
          for (let c = 0; c < CLASSES; c++) {
            const mean = video.reduce((sum, row) => sum + row[c]!, 0) / video.length
            expect(context.view(item, 0)[c]!).toBeCloseTo(mean, 5)
          }
        }
      },
    ),
  )
})

test('the top classes are those of softmax, and survive large logits', () => {
  const top = topScores(Float64Array.of(1000, 1001, -1000, 1001), 3)
  const e = Math.exp(-1)
  expect(top.map(({ index }) => index)).toEqual([1, 3, 0])
  expect(top[0]!.score).toBeCloseTo(1 / (2 + e), 12)
  expect(top[2]!.score).toBeCloseTo(e / (2 + e), 12)
  expect([...meanLogits(Float32Array.of(9, 9, 1, 2, 3, 6), 2, 1, 2)]).toEqual([2, 4])
})

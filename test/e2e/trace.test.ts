import { expect, test } from 'bun:test'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as v from 'valibot'
import {
  demoVideos,
  listOf,
  loader,
  network,
  type Outcome,
  oneClip,
  pipeline,
  Running,
  run,
  scratch,
} from './rnb.ts'

// The rules of the trace event format, by its description ("Trace Event Format", Google 2016).
const common = { name: v.string(), pid: v.number() }
const timed = { ...common, ts: v.pipe(v.number(), v.finite()), tid: v.number() }
const eventSchema = v.variant('ph', [
  v.object({
    ...timed,
    ph: v.literal('X'),
    dur: v.pipe(v.number(), v.minValue(0)),
    args: v.record(v.string(), v.number()),
  }),
  v.object({ ...timed, ph: v.picklist(['b', 'e']), cat: v.string(), id: v.string() }),
  v.object({ ...timed, ph: v.picklist(['s', 't']), cat: v.string(), id: v.string() }),
  v.object({ ...timed, ph: v.literal('f'), cat: v.string(), id: v.string(), bp: v.literal('e') }),
  v.object({
    ...common,
    ph: v.literal('C'),
    ts: v.number(),
    args: v.record(v.string(), v.pipe(v.number(), v.finite())),
  }),
  v.object({ ...common, ph: v.literal('M'), args: v.record(v.string(), v.unknown()) }),
])
type Event = v.InferOutput<typeof eventSchema>
type EventOf<P extends Event['ph']> = Extract<Event, { ph: P }>
const fileSchema = v.object({
  displayTimeUnit: v.literal('ms'),
  otherData: v.object({ records: v.number(), lost: v.number() }),
  traceEvents: v.array(eventSchema),
})

class Trace {
  private constructor(
    readonly events: Event[],
    readonly lost: number,
  ) {}

  static async read(path: string): Promise<Trace> {
    const { traceEvents, otherData } = v.parse(fileSchema, await Bun.file(path).json())
    return new Trace(traceEvents, otherData.lost)
  }

  of<P extends Event['ph']>(...phases: P[]): EventOf<P>[] {
    return this.events.filter((event): event is EventOf<P> => (phases as string[]).includes(event.ph))
  }

  /** Length of each asynchronous span, in ms, by name and id; both ends must be there. */
  stages(): Map<string, number[]> {
    const begins = new Map<string, number>()
    const lengths = new Map<string, number[]>()
    for (const { ph, name, cat, id, ts } of this.of('b', 'e')) {
      const key = `${cat} ${id}`
      if (ph === 'b') {
        expect(begins.has(key)).toBe(false)
        begins.set(key, ts)
        continue
      }
      const length = ts - begins.get(key)!
      begins.delete(key)
      expect(length).toBeGreaterThan(0)
      lengths.set(name, [...(lengths.get(name) ?? []), length / 1000])
    }
    expect(begins.size).toBe(0)
    return lengths
  }
}

const end = ({ ts, dur }: { ts: number; dur: number }): number => ts + dur
/** A nanosecond, in the format's microseconds. */
const NS = 1.001e-3

/** What holds for every trace of a run. */
function expectSound(trace: Trace, outcome: Outcome): void {
  const threads = new Map<number, EventOf<'X'>[]>()
  for (const span of trace.of('X')) threads.set(span.tid, [...(threads.get(span.tid) ?? []), span])
  const named = trace.events.filter(({ name }) => name === 'thread_name').length
  expect(Math.max(...threads.keys())).toBeLessThanOrEqual(named)
  for (const spans of threads.values()) {
    // Spans of a thread lie apart or within each other.
    const open: EventOf<'X'>[] = []
    for (const span of spans.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur)) {
      while (open.length > 0 && end(open.at(-1)!) <= span.ts + NS) open.pop()
      if (open.length > 0) expect(end(span)).toBeLessThanOrEqual(end(open.at(-1)!) + NS)
      open.push(span)
    }
  }
  const flows = new Map<string, (EventOf<'s' | 't'> | EventOf<'f'>)[]>()
  for (const point of trace.of('s', 't', 'f')) flows.set(point.id, [...(flows.get(point.id) ?? []), point])
  for (const points of flows.values()) {
    expect(points.map(({ ph }) => ph).join('')).toMatch(/^st*f$/)
    for (const [i, { ts, tid }] of points.entries()) {
      expect(ts).toBeGreaterThanOrEqual(points[i - 1]?.ts ?? ts)
      const around = threads.get(tid)!.filter(span => span.ts <= ts + NS && ts <= end(span) + NS)
      expect(around).not.toEqual([])
    }
  }
  const capacity = new Map(outcome.summary.queues.map(queue => [`queue ${queue.name}`, queue.capacity]))
  const depths = trace.of('C').filter(({ name }) => capacity.has(name))
  expect(new Set(depths.map(({ name }) => name)).size).toBe(capacity.size)
  for (const { name, args } of depths) {
    expect(args.items!).toBeLessThanOrEqual(capacity.get(name)!)
    expect(args.items!).toBeGreaterThanOrEqual(0)
  }
}

const sum = (values: readonly number[] = []): number => values.reduce((a, b) => a + b, 0)

test('--trace: the format’s rules hold, sums are the summary’s, and every request can be followed', async () => {
  const path = join(scratch(), 'trace.json')
  const videos = listOf([...demoVideos.slice(0, 6), '/nowhere/gone.mp4'])
  const outcome = await run(oneClip(), [
    ...['-v', '21', '-mi', '3', '-b', '3', '--warmup', '0', '--video-root', videos],
    ...['--trace', path, '--telemetry-ms', '10'],
  ])
  expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
  const trace = await Trace.read(path)
  expect(trace.lost).toBe(0)
  expectSound(trace, outcome)

  const stages = trace.stages()
  for (const { step, kind, queue_ms, wait_ms, run_ms } of outcome.summary.steps)
    for (const [stage, figures] of Object.entries({ queue: queue_ms, wait: wait_ms, run: run_ms })) {
      const lengths = stages.get(`step ${step} (${kind}) ${stage}`) ?? []
      // Requests that failed in the loader were on its queue too, and the summary has them not.
      if (step === 0) expect(sum(lengths)).toBeGreaterThanOrEqual(figures!.mean * 18 - 1e-3)
      else expect(sum(lengths)).toBeCloseTo(figures!.mean * figures!.count, 3)
    }

  const spans = (name: string) => trace.of('X').filter(span => span.name === name)
  expect(spans('send')).toHaveLength(21)
  expect(spans('loader')).toHaveLength(21)
  expect(spans('decode')).toHaveLength(18)
  expect(spans('preprocess')).toHaveLength(18 * 8)
  expect(sum(spans('network').map(({ args }) => args.amount!))).toBe(18)
  expect(spans('compute')).toHaveLength(spans('network').length)
  // On one thread they follow each other: the step's own time is the least that its results took together.
  expect(sum(spans('loader').map(({ dur }) => dur / 1000))).toBeGreaterThan(
    sum(stages.get('step 0 (loader) run')) - 1e-3,
  )
  for (const { id } of outcome.results)
    expect(trace.of('s', 't', 'f').filter(point => point.id === String(id))).toHaveLength(3)
  for (const { id } of outcome.errors)
    expect(trace.of('s', 't', 'f').filter(point => point.id === String(id))).toHaveLength(2)
  expect(trace.of('C').map(({ name }) => name)).toContain('host: resident MiB')
})

test('parts, joins, batches, full queues and late requests are traced too', async () => {
  const path = join(scratch(), 'trace.json')
  const config = pipeline([
    loader({
      num_clips_population: [1, 4],
      num_clips_weights: [1, 1],
      num_segments: 4,
      num_shared_tensors: 1,
    }),
    { model: 'batcher', batch: 2, queue_groups: [{ gpus: [-1], in_queue: 0, out_queues: [0] }] },
    network({ queue_groups: [{ gpus: [-1, -1], in_queue: 0, out_queues: [0] }] }),
    { model: 'aggregator', queue_groups: [{ gpus: [-1], in_queue: 0 }], aggregate: 4 },
  ])
  const outcome = await run(config, [
    '-v',
    '12',
    '-mi',
    '0.1',
    '-qs',
    '1',
    '--on-full',
    'wait',
    '--trace',
    path,
  ])
  expect({ status: outcome.status, stderr: outcome.stderr }).toEqual({ status: 0, stderr: '' })
  const trace = await Trace.read(path)
  expectSound(trace, outcome)
  trace.stages()
  const names = new Set(trace.of('X').map(({ name }) => name))
  for (const name of ['batcher', 'batch', 'copy', 'aggregator', 'wait for room', 'wait for a slot'])
    expect(names).toContain(name)
  expect(trace.events.filter(({ name }) => name === 'thread_name')).toHaveLength(6)
})

test('a trace that cannot be written is wrong use, before anything starts', async () => {
  const folder = scratch()
  mkdirSync(join(folder, 'is-a-folder'))
  for (const path of [join(folder, 'nowhere', 'trace.json'), join(folder, 'is-a-folder'), '/dev/null']) {
    const { status, stdout, stderr } = await run(oneClip(), ['-v', '2', '--trace', path])
    expect({ path, status, stdout }).toEqual({ path, status: 2, stdout: '' })
    expect(stderr).toContain(`--trace ${path}`)
  }
})

test('a trace that has no room in the end costs the run its success, and nothing else', async () => {
  const folder = join(scratch(), 'goes-away')
  mkdirSync(folder)
  const running = new Running([
    ...['run', '-c', oneClip(), '--device', 'cpu', '--results', '-', '-v', '30', '-mi', '30'],
    ...['--trace', join(folder, 'trace.json')],
  ])
  await running.line()
  rmSync(folder, { recursive: true })
  const outcome = await running.ended()
  expect(outcome.status).toBe(1)
  expect(outcome.results).toHaveLength(30)
  expect(outcome.summary.exit.message).toContain('trace.json could not be written')
  expect(existsSync(folder)).toBe(false)
})

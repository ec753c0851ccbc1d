import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { median } from 'simple-statistics'
import { createEvent, destroyEvent, elapsedMs, recordEvent, synchronizeEvent } from '../../ffi/cuda/stream.ts'
import {
  droppedRecords,
  flushActivity,
  graphId,
  popExternalId,
  pushExternalId,
  startActivity,
  stopActivity,
} from '../../ffi/cupti/activity.ts'
import { Buffers } from '../../ffi/cupti/buffers.ts'
import { ClockAlignment, readClocks } from '../../ffi/cupti/clock.ts'
import { cuptiStatus } from '../../ffi/cupti/library.ts'
import { type ActivityRecord, type KernelRecord, RecordReader } from '../../ffi/cupti/records.ts'
import { monotonicNs } from '../../ffi/libc.ts'
import { R2PLUS1D_18 } from '../../models/architecture.ts'
import { seededNetwork } from '../../models/seeded.ts'
import { createCudaExecutor } from '../../src/compute/cuda/create.ts'
import { GPUS, Gpu } from './cuda-gpu.ts'

setDefaultTimeout(120_000)

const status = cuptiStatus()
if (GPUS > 0 && !status.ok) console.warn(`skipped: CUPTI: ${status.problem}`)

/** Trains of launches: before the first the GPU is idle, which events count and records do not. */
const TRAINS = 20
const LAUNCHES = 10
const CLIPS = 10

describe.skipIf(GPUS === 0 || !status.ok)('records of a network’s kernels', () => {
  const buffers = GPUS > 0 && status.ok ? new Buffers(startActivity()) : undefined
  const gpu = GPUS > 0 && status.ok ? new Gpu() : undefined
  afterAll(() => gpu?.close())

  test('agree with events about how long they take, and with the host about when', () => {
    const { stream, owner } = gpu!
    const { executor } = createCudaExecutor({
      network: seededNetwork(R2PLUS1D_18, 1),
      startIndex: 1,
      endIndex: 5,
      frames: 8,
      size: 112,
      maxClips: CLIPS,
      counts: [CLIPS],
      stream,
      precision: 'fp16',
      device: 0,
    })
    owner.own(executor, made => made.close())
    const [parts] = executor.parts()
    const id = graphId(parts!.exec)
    const output = gpu!.poisoned(4 * CLIPS * R2PLUS1D_18.classes)
    const [begin, end] = [
      owner.own(createEvent('time'), destroyEvent),
      owner.own(createEvent('time'), destroyEvent),
    ]
    for (let i = 0; i < 5; i++) executor.launch(CLIPS, output)
    const first = readClocks()
    const trains = Array.from({ length: TRAINS }, (_, i) => {
      pushExternalId(1000 + i)
      const before = monotonicNs()
      recordEvent(begin, stream)
      for (let n = 0; n < LAUNCHES; n++) executor.launch(CLIPS, output)
      recordEvent(end, stream)
      synchronizeEvent(end)
      const after = monotonicNs()
      popExternalId()
      return { before, after, ms: elapsedMs(begin, end) }
    })
    const clock = new ClockAlignment(first, readClocks())
    flushActivity(true)
    stopActivity()
    const reader = new RecordReader(buffers!, first.cupti)
    const records: ActivityRecord[] = []
    for (const buffer of buffers!.full()) {
      records.push(...reader.read(buffer))
      buffers!.giveBack(buffer)
    }
    expect([droppedRecords(), buffers!.refused]).toEqual([0, 0])
    const external = new Map(
      records.flatMap(record =>
        record.kind === 'external' ? [[record.correlation, record.id] as const] : [],
      ),
    )
    const kernels = records.filter((record): record is KernelRecord => record.kind === 'kernel')
    const nodes = parts!.launches.reduce((sum, launch) => sum + launch.nodes, 0)
    const spans = trains.map(({ before, after, ms }, i) => {
      const own = kernels.filter(({ correlation }) => external.get(correlation) === 1000 + i)
      expect(own.filter(({ graph }) => graph === id)).toHaveLength(LAUNCHES * nodes)
      expect(own.filter(({ graph }) => graph === 0).length).toBeGreaterThanOrEqual(LAUNCHES)
      const start = Math.min(...own.map(({ startNs }) => startNs))
      const last = Math.max(...own.map(({ endNs }) => endNs))
      expect(clock.monotonic(start)).toBeGreaterThan(before)
      expect(clock.monotonic(last)).toBeLessThan(after)
      return { events: ms, records: (last - start) / 1e6 }
    })
    const of = (key: 'events' | 'records') => median(spans.map(span => span[key]))
    expect(Math.abs(of('records') / of('events') - 1)).toBeLessThan(0.05)
  })
})

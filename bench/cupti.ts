/**
 * What it costs to have a GPU's work recorded (--trace, rnb profile), and whether the records are right: milliseconds of
 * r2plus1d_18 with and without CUPTI's records, in turns, and what records and events say of the same launches.
 *
 *     bun bench/cupti.ts [--clips 1,10] [--launches N] [--rounds N] [--save]
 *
 * Launches are put on one stream as fast as they go, with a wait for it after every eighth, as a pipeline that never runs
 * dry does; every launch has an external id, as a step's call has. A round is all launches with records, then all without.
 */
import { parseArgs } from 'node:util'
import { median } from 'simple-statistics'
import { releaseContext, retainContext } from '../ffi/cuda/context.ts'
import { describeDevice } from '../ffi/cuda/device.ts'
import { cudaDriver } from '../ffi/cuda/driver.ts'
import { allocate, free } from '../ffi/cuda/memory.ts'
import { Owner } from '../ffi/cuda/owner.ts'
import {
  createEvent,
  createStream,
  destroyEvent,
  destroyStream,
  elapsedMs,
  recordEvent,
  synchronizeEvent,
  synchronizeStream,
} from '../ffi/cuda/stream.ts'
import {
  droppedRecords,
  flushActivity,
  popExternalId,
  pushExternalId,
  startActivity,
  stopActivity,
} from '../ffi/cupti/activity.ts'
import { Buffers } from '../ffi/cupti/buffers.ts'
import { readClocks } from '../ffi/cupti/clock.ts'
import { cuptiStatus } from '../ffi/cupti/library.ts'
import { type ActivityRecord, RecordReader } from '../ffi/cupti/records.ts'
import { monotonicNs } from '../ffi/libc.ts'
import { R2PLUS1D_18 } from '../models/architecture.ts'
import { seededNetwork } from '../models/seeded.ts'
import { createCudaExecutor } from '../src/compute/cuda/create.ts'
import { report } from './report.ts'

const { values: options } = parseArgs({
  args: process.argv.slice(2),
  options: {
    clips: { type: 'string', default: '1,10' },
    launches: { type: 'string', default: '400' },
    rounds: { type: 'string', default: '9' },
    save: { type: 'boolean', default: false },
  },
})
const counts = options.clips.split(',').map(Number)
const launches = Number(options.launches)
/** Launches between two events: before the first the GPU is idle, which events count and records do not. */
const TRAIN = 10

const handle = startActivity()
const buffers = new Buffers(handle)
const owner = new Owner()
owner.own(retainContext(0), releaseContext)
const stream = owner.own(createStream(), destroyStream)
const maxClips = Math.max(...counts)
const { executor, note } = createCudaExecutor({
  network: seededNetwork(R2PLUS1D_18, 1),
  startIndex: 1,
  endIndex: 5,
  frames: 8,
  size: 112,
  maxClips,
  counts,
  stream,
  precision: 'fp16',
  device: 0,
})
owner.own(executor, made => made.close())
const output = owner.own(
  allocate(4 * maxClips * R2PLUS1D_18.classes, { what: 'logits', lower: '--clips' }),
  free,
)

/** What is in full buffers, which are given back. */
function drain(epoch: bigint): ActivityRecord[] {
  flushActivity(true)
  const reader = new RecordReader(buffers, epoch)
  const records: ActivityRecord[] = []
  for (const buffer of buffers.full()) {
    records.push(...reader.read(buffer))
    buffers.giveBack(buffer)
  }
  return records
}

function msPerLaunch(clips: number, recorded: boolean): number {
  const launch = (id: number) => {
    if (recorded) pushExternalId(id)
    executor.launch(clips, output)
    if (recorded) popExternalId()
  }
  for (let i = 0; i < 20; i++) launch(i + 1)
  synchronizeStream(stream)
  const begin = monotonicNs()
  for (let i = 0; i < launches; i++) {
    launch(i + 1)
    if (i % 8 === 7) synchronizeStream(stream)
  }
  synchronizeStream(stream)
  return (monotonicNs() - begin) / 1e6 / launches
}

/** Milliseconds of trains of launches, by events and from the first start to the last end in records. */
function agreement(clips: number): { events: number; records: number } {
  const begin = owner.own(createEvent('time'), destroyEvent)
  const end = owner.own(createEvent('time'), destroyEvent)
  const { cupti } = readClocks()
  drain(cupti)
  const events = Array.from({ length: 20 }, (_, train) => {
    pushExternalId(1000 + train)
    recordEvent(begin, stream)
    for (let i = 0; i < TRAIN; i++) executor.launch(clips, output)
    recordEvent(end, stream)
    synchronizeEvent(end)
    popExternalId()
    return elapsedMs(begin, end)
  })
  const all = drain(cupti)
  const ids = new Map(
    all.flatMap(record => (record.kind === 'external' ? [[record.correlation, record.id] as const] : [])),
  )
  const kernels = all.filter(record => record.kind === 'kernel')
  const records = events.map((_, train) => {
    const own = kernels.filter(({ correlation }) => ids.get(correlation) === 1000 + train)
    const first = Math.min(...own.map(({ startNs }) => startNs))
    return (Math.max(...own.map(({ endNs }) => endNs)) - first) / 1e6
  })
  return { events: median(events), records: median(records) }
}

const agreed = counts.map(clips => ({ clips, ...agreement(clips) }))
const rounds = Array.from({ length: Number(options.rounds) }, () => {
  const recorded = counts.map(clips => msPerLaunch(clips, true))
  drain(0n)
  stopActivity()
  const plain = counts.map(clips => msPerLaunch(clips, false))
  startActivity()
  return { recorded, plain }
})
const rows = counts.map((clips, i) => {
  const plain = median(rounds.map(round => round.plain[i]!))
  const recorded = median(rounds.map(round => round.recorded[i]!))
  const more = median(rounds.map(round => round.recorded[i]! / round.plain[i]! - 1))
  const { events, records } = agreed[i]!
  return { clips, plain_ms: plain, recorded_ms: recorded, more, events_ms: events, records_ms: records }
})
const lost = { dropped: droppedRecords(), refused: buffers.refused }
stopActivity()
owner.close()

const cupti = cuptiStatus()
const percent = (share: number) => `${(100 * share).toFixed(2)} %`
report({
  benchmark: 'cupti',
  versions: {
    bun: Bun.version,
    cupti: cupti.ok ? cupti.version : 'missing',
    driver: cudaDriver()?.version ?? 'missing',
  },
  results: { gpu: describeDevice(0).name, note, launches, rounds, rows, lost },
  table: [
    ['clips', 'ms', 'recorded', 'more', `${TRAIN} by events`, 'by records', 'differ by'],
    ...rows.map(row => [
      `${row.clips}`,
      row.plain_ms.toFixed(4),
      row.recorded_ms.toFixed(4),
      percent(row.more),
      row.events_ms.toFixed(4),
      row.records_ms.toFixed(4),
      percent(row.records_ms / row.events_ms - 1),
    ]),
  ],
  save: options.save,
})

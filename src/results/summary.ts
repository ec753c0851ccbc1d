import type { VideoErrorCode } from '../errors.ts'
import { deviceText } from './device.ts'
import type { RunFacts } from './facts.ts'
import { hostFacts } from './host.ts'
import { Samples } from './samples.ts'
import type { ExitReason, SummaryLine, TelemetrySummary } from './schema.ts'
import { distribution, mean, milliseconds, percentileWarnings, varianceInflation } from './statistics.ts'
import { measuringWindow, ratePerSecond } from './throughput.ts'
import type { TimeCards } from './time-card.ts'
import { COPY_PATHS, type CopiedBytes } from './traffic.ts'
import type { UnixClock } from './unix-clock.ts'

/** A client that is later at p99 than both of these does not keep to its schedule: it shows in latencies. */
const LATE_CLIENT_MS = 1
const LATE_CLIENT_SHARE = 0.01

/** How a run ended. */
export interface RunEnd {
  status: number
  reason: ExitReason
  /** What happened, where the run did not end as asked. */
  message?: string
  /** End of the run, when all workers were done. */
  endNs: number
  clock: UnixClock
  /** Highest depth of each queue, in the plan's order. */
  highWater: readonly number[]
  /** Bytes of tensors moved to, from and between GPUs, where there are any. */
  copied?: CopiedBytes
  /** Folder of logs, if there is one. */
  logDir?: string
  /** What sensors said, if they were read. */
  telemetry?: TelemetrySummary
}

/** What the collector knows. */
export interface Counted {
  startNs: number
  /** Completed requests, ascending. */
  done: Uint32Array
  failed: number
  /** For each last step, requests with a result of it, ascending, and how many failed on the way to it. */
  leaves: readonly { done: Uint32Array; failed: number }[]
  failures: Record<string, number>
  notes: readonly string[]
  warnings: readonly string[]
}

const rounded = (value: number | null): number | null =>
  value === null ? null : Number(value.toPrecision(9))

function total(requests: Uint32Array, of: (request: number) => number): number {
  let amount = 0
  for (const request of requests) amount += of(request)
  return amount
}

function clientWarnings({
  latency_ms: latency,
  client_delay_ms: delay,
}: Pick<SummaryLine, 'latency_ms' | 'client_delay_ms'>): string[] {
  if (!delay || !latency) return []
  if (delay.p99 <= Math.max(LATE_CLIENT_MS, LATE_CLIENT_SHARE * latency.p50)) return []
  const late = `up to ${delay.max} ms late (p99 ${delay.p99} ms)`
  return [`the client put requests on their queue ${late}: latency_ms counts that time`]
}

/** One number for a step, a device and a replica. */
const seat = (step: number, device: number, replica: number): number =>
  (step * 2 ** 16 + device + 1) * 2 ** 16 + replica

/** Completed requests, or parts of them, by the seat that they ran on. */
function itemsBySeat({ ledger }: RunFacts, cards: TimeCards, done: Uint32Array): Map<number, number> {
  const items = new Map<number, number>()
  for (const request of done)
    for (const [step, { parts }] of cards.steps.entries())
      for (let part = 0; part < parts; part++) {
        if (!cards.ran(request, part, step)) continue
        const key = seat(step, ledger.device(request, part, step), ledger.replica(request, part, step))
        items.set(key, (items.get(key) ?? 0) + 1)
      }
  return items
}

/** Samples of requests that came there: where one branch failed, the other goes on. */
const known = (samples: Float64Array): Float64Array => samples.filter(value => !Number.isNaN(value))

/** What came of each last step, where there are several. */
function branches(
  { plan, ledger }: RunFacts,
  cards: TimeCards,
  { leaves }: Counted,
  warmup: number,
): Pick<SummaryLine, 'branches'> {
  if (leaves.length < 2) return {}
  return {
    branches: leaves.map(({ done, failed }, leaf) => {
      const step = cards.leaves[leaf]!
      const { kind, name } = plan.steps[step]!
      const measured = done.filter(request => request >= warmup)
      const latency = (request: number) => cards.finishOf(request, step) - ledger.intended(request)
      return {
        step,
        name: name ?? kind,
        completed: done.length,
        failed,
        latency_ms: distribution(Float64Array.from(measured, latency)),
      }
    }),
  }
}

/** Bytes that tensors were moved by, each way. */
function copies({ copied, done }: RunEnd & Counted): Pick<SummaryLine, 'copies'> {
  if (!copied) return {}
  const perVideo = (bytes: number) => (done.length > 0 ? rounded(bytes / done.length) : null)
  return {
    copies: COPY_PATHS.map(path => ({ path, bytes: copied[path], bytes_per_video: perVideo(copied[path]) })),
  }
}

/** What was asked for, and where. */
function identity(facts: RunFacts, { clock, logDir, startNs, endNs }: RunEnd & Counted) {
  const { plan, configFile } = facts
  return {
    config: { name: plan.name, ...(configFile !== undefined && { file: configFile }), hash: plan.hash },
    arguments: facts.arguments,
    load: facts.load,
    seed: facts.seed,
    weights: facts.weights,
    versions: facts.versions,
    host: hostFacts(),
    ...(logDir !== undefined && { log_dir: logDir }),
    started: new Date(clock.seconds(startNs) * 1000).toISOString(),
    duration_s: milliseconds(endNs - startNs) / 1000,
  }
}

/** Figures of the requests after the warm-up, and of the queues and instances. */
function figures(facts: RunFacts, cards: TimeCards, end: RunEnd & Counted) {
  const { ledger, plan, load, sloMs } = facts
  const bulk = load.loop === 'open' && load.arrival === 'bulk'
  const { done } = end
  const asked = ledger.size.requests
  const warmup = Math.min(facts.warmup, asked)
  const arrived = Uint32Array.from({ length: asked }, (_, request) => request).filter(
    request => !Number.isNaN(ledger.actual(request)),
  )
  const counted = arrived.filter(request => request >= warmup)
  const measured = done.filter(request => request >= warmup)
  const window = measuringWindow(cards, done, warmup, end.startNs)
  const perSecond = (amount: number) => (window.seconds > 0 ? rounded(amount / window.seconds) : null)
  const arrivalRate = (time: (request: number) => number) =>
    bulk ? null : rounded(ratePerSecond(Float64Array.from(counted, time)))
  const samples = new Samples(facts, cards, measured)
  // Taken before `distribution` sorts the samples.
  const inflation = varianceInflation(samples.latency)
  const latencies = {
    latency_ms: distribution(samples.latency),
    latency_actual_ms: distribution(samples.latencyActual),
    client_delay_ms: distribution(samples.clientDelay),
  }
  const items = itemsBySeat(facts, cards, done)

  const failures = (code: VideoErrorCode) => end.failures[code] ?? 0
  const goodput = (goalMs: number) => {
    const inTime = (request: number) => cards.finish(request) - ledger.intended(request) <= goalMs * 1e6
    const within = measured.filter(inTime).length
    return {
      slo_ms: goalMs,
      within,
      fraction: counted.length > 0 ? rounded(within / counted.length) : null,
      per_s: perSecond(window.requests.filter(inTime).length),
    }
  }

  return {
    requests: {
      asked,
      arrived: arrived.length,
      completed: done.length,
      failed: end.failed,
      dropped: failures('queue_full'),
      timed_out: failures('timeout'),
      unfinished: Math.max(0, arrived.length - done.length - end.failed),
      warmup,
      measured: measured.length,
    },
    throughput: {
      videos_per_s: perSecond(window.requests.length),
      clips_per_s: perSecond(total(window.requests, request => ledger.clips(request))),
      window_s: window.seconds > 0 ? rounded(window.seconds) : null,
    },
    rate: {
      offered_per_s: load.loop === 'closed' ? null : arrivalRate(request => ledger.intended(request)),
      sent_per_s: arrivalRate(request => ledger.actual(request)),
      achieved_per_s: perSecond(window.requests.length),
    },
    ...latencies,
    steps: plan.steps.map(({ kind, name }, step) => {
      const batches = known(samples.batches[step]!)
      return {
        step,
        kind,
        ...(name !== undefined && { name }),
        queue_ms: distribution(known(samples.stages[step]!.queue)),
        wait_ms: distribution(known(samples.stages[step]!.wait)),
        run_ms: distribution(known(samples.stages[step]!.run)),
        batch_mean: batches.length > 0 ? rounded(mean(batches)) : null,
      }
    }),
    ...branches(facts, cards, end, warmup),
    goodput: sloMs === undefined ? null : goodput(sloMs),
    clips: total(done, request => ledger.clips(request)),
    frames_needed: total(done, request => ledger.framesNeeded(request)),
    frames_decoded: total(done, request => ledger.framesDecoded(request)),
    ...copies(end),
    failures: end.failures,
    queues: plan.queues.map(({ name, capacity }, id) => ({
      name,
      capacity,
      high_water: end.highWater[id] ?? 0,
    })),
    instances: plan.instances.map(({ name, step, device, replica }) => ({
      name,
      step,
      device: deviceText(device),
      replica,
      items: items.get(seat(step, device, replica)) ?? 0,
    })),
    warnings: [...percentileWarnings(measured.length, inflation), ...clientWarnings(latencies)],
  }
}

/** Makes the summary of a run from its ledger. */
export function summarise(facts: RunFacts, cards: TimeCards, end: RunEnd & Counted): SummaryLine {
  const { status, reason, message } = end
  const { warnings, ...measured } = figures(facts, cards, end)
  return {
    type: 'summary',
    exit: { status, reason, ...(message !== undefined && { message }) },
    ...identity(facts, end),
    ...measured,
    ...(end.telemetry && { telemetry: end.telemetry }),
    notes: [...facts.plan.notes, ...end.notes],
    warnings: [...end.warnings, ...warnings],
  }
}

import { describeDevice } from '../../ffi/cuda/device.ts'
import { monotonicNs } from '../../ffi/libc.ts'
import { wasFull } from '../client/overload.ts'
import { UsageError, type VideoErrorCode } from '../errors.ts'
import { type Ending, Launch } from '../pipeline/launch.ts'
import type { Plan } from '../pipeline/plan.ts'
import type { Collector } from '../results/collector.ts'
import type { RunFacts } from '../results/facts.ts'
import { Ledger } from '../results/ledger.ts'
import { type RnbArguments, TERMINATION } from '../results/log-folder.ts'
import { RunOutput } from '../results/output.ts'
import type { ExitReason } from '../results/schema.ts'
import { CPU } from '../steps/step.ts'
import { createNames } from '../tracing/buffer.ts'
import type { RunTrack } from '../tracing/events.ts'
import { countersOf } from '../tracing/telemetry.ts'
import { limitsOf, overloadOf, type RunFlags } from './arguments.ts'
import { EXIT, endAtOnce } from './exit.ts'
import { openGpuTrace, type RecordedGpus } from './gpu-trace.ts'
import { requireLibraries } from './libraries.ts'
import { compileOnManyThreads } from './own-process.ts'
import { type Prepared, prepare } from './prepare.ts'
import type { Requests } from './requests.ts'
import { openTrace } from './trace.ts'
import { versions } from './versions.ts'

const DEFAULT_LOGS = 'logs'
/** What to know of latencies where nothing arrives while the pipeline is slow. */
const CLOSED_LOOP =
  'closed loop: a request is sent when another is done, so a slow pipeline is asked for less; latencies here are not ' +
  'those of a load that keeps coming'
/** Failures that are the load's fault, not a video's. */
const OVERLOAD_CODES = new Set<string>(['queue_full', 'timeout'] satisfies VideoErrorCode[])

const rnbArguments = (flags: RunFlags, prepared: Prepared): RnbArguments => ({
  batch_size: flags.batch_size,
  check: flags.check,
  config_file_path: flags.config_file_path,
  mean_interval_ms: prepared.requests.meanIntervalMs,
  per_gpu_queue: flags.per_gpu_queue,
  queue_size: flags.queue_size,
  videos: prepared.requests.schedule.length,
})

/** How much was asked of the pipeline, in words. */
function loadOf({ arrival, meanIntervalMs: interval }: Requests): string {
  if (arrival.kind === 'closed') return `${arrival.concurrency} requests in flight`
  if (interval === 0) return 'all requests at once'
  return `${Number((1000 / interval).toPrecision(4))} requests/s (one in ${Number(interval.toPrecision(4))} ms)`
}

interface Conclusion {
  status: number
  reason: ExitReason
  message?: string
}

/** What the end of a run means for the shell, and in a sentence. */
function conclude(ending: Ending, prepared: Prepared, { completed, failed }: Collector): Conclusion {
  switch (ending.kind) {
    case 'crashed':
      return { status: EXIT.failed, reason: 'failed', message: `${ending.worker} failed: ${ending.message}` }
    case 'aborted':
      return { status: EXIT.failed, reason: 'failed', message: ending.message }
    case 'full': {
      const message =
        `${wasFull(prepared.plan.queues[ending.queue]!)} at request ` +
        `${ending.request} of ${prepared.requests.schedule.length}: this placement cannot carry the load of ` +
        `${loadOf(prepared.requests)}; raise --mean_interval_ms or --queue_size, add instances, or choose --on-full drop or wait`
      return { status: EXIT.queueFull, reason: 'queue_full', message }
    }
    case 'interrupted':
      return { status: EXIT.interrupted, reason: 'interrupted', message: 'interrupted' }
    default:
      return completed === 0 && failed > 0
        ? { status: EXIT.allFailed, reason: 'all_failed', message: 'every video failed' }
        : { status: EXIT.done, reason: 'done' }
  }
}

/** RnB's termination code: which queue was full, if one was. */
function terminationOf(ending: Ending): number {
  if (ending.kind === 'full')
    return ending.queue === 0 ? TERMINATION.filenameQueueFull : TERMINATION.frameQueueFull
  return ending.kind === 'finished' ? TERMINATION.targetReached : TERMINATION.unset
}

/** Whether requests keep coming however slow the pipeline is, and by which rule. */
function factsOfLoad(flags: RunFlags, { arrival }: Requests): RunFacts['load'] {
  if (arrival.kind === 'closed') return { loop: 'closed', concurrency: arrival.concurrency }
  return { loop: 'open', arrival: flags.arrival ?? arrival.kind }
}

function factsOf(flags: RunFlags, prepared: Prepared, ledger: Ledger): RunFacts {
  const { config, plan, networks, labels, requests } = prepared
  const { videos, classes, requestVideo } = requests
  return {
    plan,
    ledger,
    video: request => videos[requestVideo[request]!]!,
    classOf: request => classes[requestVideo[request]!],
    labels,
    warmup: flags.warmup,
    sloMs: flags.slo_ms,
    load: factsOfLoad(flags, requests),
    seed: flags.seed,
    weights: networks.map(({ weights }) => weights).join(', ') || 'none',
    configFile: config.file,
    arguments: Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)),
    versions: versions(),
  }
}

/**
 * The first SIGINT or SIGTERM lets what is in flight finish, the second stops at once.
 * @returns what takes the handlers away again
 */
function handleSignals(launch: Launch, say: (line: string) => void): () => void {
  let signals = 0
  const onSignal = () => {
    signals++
    if (signals > 1) launch.abandon()
    else {
      say('interrupted: finishing what is in flight; again to stop at once')
      launch.interrupt()
    }
  }
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal)
  return () => process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
}

/** Makes shared memory. @throws {UsageError} if there is not that much, or a queue would be too large */
function withinMemory<T>(make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new UsageError(
      `the run is too large for this host (${error.message}): lower --videos, --queue_size or --batch_size, or ` +
        'num_shared_tensors in the pipeline file',
    )
  }
}

/** Reads sensors while the run goes on, if that is asked for. */
async function openTelemetry(
  { telemetry_ms: periodMs }: RunFlags,
  plan: Plan,
  warn: (message: string) => void,
) {
  if (periodMs === undefined) return undefined
  const [{ Telemetry }, { summariseTelemetry }, { telemetryLines }] = await Promise.all([
    import('../telemetry/telemetry.ts'),
    import('../telemetry/summary.ts'),
    import('../telemetry/lines.ts'),
  ])
  const devices = new Set(plan.instances.map(({ device }) => device).filter(device => device !== CPU))
  const gpus = Object.fromEntries([...devices].map(device => [device, describeDevice(device).uuid]))
  const telemetry = new Telemetry({ periodMs, gpus }, message => warn(`telemetry: ${message}`))
  return {
    /** What was read since the run started, for its summary and its folder. */
    async stop(startNs: number, videos: number) {
      const samples = (await telemetry.stop()).filter(({ ns }) => ns >= startNs)
      return {
        outputs: {
          telemetry: summariseTelemetry(samples, periodMs, videos),
          attachments: { 'telemetry.jsonl': telemetryLines(samples, startNs) },
        },
        counters: countersOf(samples),
      }
    },
  }
}

/** Serves metrics if that is asked for. @throws {UsageError} if the port is taken: the run has not begun */
async function openMetrics(
  { metrics_port }: RunFlags,
  output: RunOutput,
  launch: Launch,
): Promise<{ close(): void } | undefined> {
  if (metrics_port === undefined) return undefined
  const [{ Metrics }, { serveMetrics }] = await Promise.all([
    import('../results/metrics.ts'),
    import('./metrics-server.ts'),
  ])
  try {
    const metrics = new Metrics(output.options.facts, output.collector, () => launch.depths())
    const server = serveMetrics(metrics, metrics_port)
    output.people.say(`metrics: http://localhost:${server.port}/metrics`)
    return server
  } catch (error) {
    output.discard()
    throw error
  }
}

/** What a run leaves, for who looks into it more closely than its results do. */
export interface EndedRun {
  prepared: Prepared
  /** What its threads noted. */
  tracks: readonly RunTrack[]
  /** What its GPUs did, and why that is not known if it isn't. */
  recorded: RecordedGpus
  problem?: string
  startNs: number
  endNs: number
}

/**
 * `rnb run`: a pipeline on videos that arrive as asked.
 * @param named videos to take once each, in place of those that the flags and the configuration name
 * @param ended is told what was noted and recorded of it, which is only where it is there; not of a run that did not start
 * @returns the exit status
 * @throws {UsageError} if it cannot start
 */
export async function run(
  flags: RunFlags,
  named?: readonly string[],
  ended?: (run: EndedRun) => void,
): Promise<number> {
  const prepared = await prepare(flags, named)
  const { config, plan, settings, networks, requests } = prepared
  const { schedule, requestVideo, videos, arrival } = requests
  if (flags.check) {
    requireLibraries(plan)
    if (!flags.quiet)
      console.error(`${flags.config_file_path}: this host can run it (${plan.instances.length} instances)`)
    return EXIT.done
  }
  compileOnManyThreads(plan.instances.reduce((sum, { workers }) => sum + workers, 0))
  const handle = withinMemory(() =>
    Ledger.create({
      requests: schedule.length,
      parts: plan.steps.map(step => step.parts),
      top: settings.top,
      values: plan.steps.map(step => step.values),
      leaves: plan.steps.filter(({ last }) => last).length,
    }),
  )
  const ledger = new Ledger(handle)
  const names = createNames()
  const traced = flags.trace !== undefined || ended !== undefined
  const gpuTrace = openGpuTrace(traced, plan, names, message => output.warn(message))
  endAtOnce()
  const launch = withinMemory(
    () =>
      new Launch(
        {
          plan,
          settings,
          networks,
          overload: overloadOf(flags),
          trace: traced,
          names,
          recorded: gpuTrace.recording,
          leaveThreads: true,
          limits: limitsOf(flags),
          ...(arrival.kind === 'closed' && {
            closedLoop: { concurrency: arrival.concurrency, durationS: flags.duration },
          }),
          ledger: handle,
          schedule,
          requestVideo,
          videos,
        },
        {
          started(ns) {
            startNs = ns
            gpuTrace.started(ns)
            output.started(ns)
          },
          completed: (request, leaf) => output.completed(request, leaf),
          failed(request, step, code, message) {
            output.failed(request, step, code, message)
            if (flags.on_error === 'abort' && !OVERLOAD_CODES.has(code))
              launch.stop({ kind: 'aborted', message: `request ${request}: ${message} (--on-error abort)` })
          },
          graph: facts => gpuTrace.graph(facts),
          note: message => output.note(message),
          warn: message => output.warn(message),
        },
      ),
  )
  let closed = false
  let startNs = Number.POSITIVE_INFINITY
  const output = new RunOutput({
    facts: factsOf(flags, prepared, ledger),
    flags: rnbArguments(flags, prepared),
    results: flags.results,
    logRoot: flags.log_dir ?? DEFAULT_LOGS,
    config: { file: config.file ?? 'config.json', text: config.text ?? '' },
    quiet: flags.quiet,
    verbose: flags.verbose,
    onClosed() {
      closed = true
      launch.interrupt()
    },
  })
  for (const note of plan.notes) output.people.say(`note: ${note}`)
  if (arrival.kind === 'closed') output.note(CLOSED_LOOP)
  const trace = openTrace(flags, output)
  if (gpuTrace.problem !== undefined) output.warn(gpuTrace.problem)
  const metrics = await openMetrics(flags, output, launch)
  const telemetry = await openTelemetry(flags, plan, message => output.warn(message))
  const restoreSignals = handleSignals(launch, line => output.people.say(line))
  const ending = await launch.run()
  const endNs = monotonicNs()
  restoreSignals()
  metrics?.close()
  const recorded = await gpuTrace.stop()
  const sensed = await telemetry?.stop(startNs, output.collector.completed)
  if (ending.kind === 'usage') {
    output.discard()
    throw new UsageError(ending.message)
  }
  const copied = launch.copied()
  const { facts } = output.options
  const { cards } = output.collector
  const tracks = [...launch.tracks, ...recorded.tracks]
  trace?.({ facts, cards, tracks, counters: sensed?.counters ?? [], startNs, notes: recorded.facts })
  const conclusion = conclude(ending, prepared, output.collector)
  const { exit } = await output.finish({
    ...conclusion,
    endNs,
    highWater: launch.highWater(),
    ...(copied && { copied }),
    termination: terminationOf(ending),
    ...sensed?.outputs,
  })
  if (Number.isFinite(startNs))
    ended?.({ prepared, tracks: launch.tracks, recorded, problem: gpuTrace.problem, startNs, endNs })
  if (closed && ending.kind === 'interrupted') return EXIT.done
  if (exit.status !== EXIT.done) console.error(`rnb: ${exit.message}`)
  if (ending.kind === 'crashed' && ending.stack) console.error(ending.stack)
  return exit.status
}

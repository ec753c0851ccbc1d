import { isCuptiError } from '../../ffi/cupti/activity.ts'
import { LibraryError } from '../../ffi/error.ts'
import { threadsOf } from '../pipeline/context.ts'
import type { Plan } from '../pipeline/plan.ts'
import type { SharedNamesHandle } from '../results/shared-names.ts'
import { CPU } from '../steps/step.ts'
import type { RunTrack } from '../tracing/events.ts'
import type { GraphFacts } from '../tracing/gpu/facts.ts'
import { GpuTrace } from '../tracing/gpu/gpu-trace.ts'
import type { GpuRecords } from '../tracing/gpu/thread.ts'

/** Records that are kept of each stream of a GPU: 4 MiB. */
const STREAM_RECORDS = 2 ** 17 - 1

/** What is known at the end of what GPUs did. */
export interface RecordedGpus {
  records?: GpuRecords
  tracks: RunTrack[]
  /** For the trace's readers. */
  facts: Record<string, unknown>
}

/** What a run asks of it: nothing happens where nothing is recorded. */
export interface OpenGpuTrace {
  readonly recording: boolean
  /** Why nothing is, though it should be. */
  readonly problem?: string
  started(ns: number): void
  graph(facts: GraphFacts): void
  stop(): Promise<RecordedGpus>
}

const NOTHING: OpenGpuTrace = {
  recording: false,
  started() {},
  graph() {},
  stop: async () => ({ tracks: [], facts: {} }),
}

const round = (ns: number): number => Math.round(ns)

function recordedGpus(records: GpuRecords, threads: ReturnType<typeof threadsOf>): RecordedGpus {
  const tracks = records.streams
    .toSorted((a, b) => a.device - b.device || a.stream - b.stream)
    .map(({ device, stream, thread, handle }) => ({
      name: `gpu ${device}, stream ${stream}${thread === undefined ? '' : `: ${threads[thread]?.name}`}`,
      handle,
      gpu: true,
    }))
  return {
    records,
    tracks,
    facts: {
      gpu_clock: {
        error_ns: round(records.clock.errorNs),
        drift_ns: round(records.clock.driftNs),
        note: "bound of reading CUPTI's clock against the monotonic one; how well the driver knows the GPU's clock is not in it",
      },
      gpu_records_dropped: records.dropped,
    },
  }
}

/**
 * Begins to record what the GPUs of a run do, if it is asked for and can be. Before anything is made on them.
 * @param asked whether anybody wants it
 * @param warn is told what goes wrong during the run
 */
export function openGpuTrace(
  asked: boolean,
  plan: Plan,
  names: SharedNamesHandle,
  warn: (message: string) => void,
): OpenGpuTrace {
  const devices = [...new Set(plan.instances.map(({ device }) => device))].filter(device => device !== CPU)
  if (!asked || devices.length === 0) return NOTHING
  const threads = threadsOf(plan)
  const onProblem = (message: string) => warn(`what GPUs do is not recorded: ${message}`)
  let trace: GpuTrace
  try {
    trace = new GpuTrace({ devices, threads, names, trackRecords: STREAM_RECORDS, onProblem })
  } catch (error) {
    if (!(error instanceof LibraryError) && !isCuptiError(error)) throw error
    return { ...NOTHING, problem: `what GPUs do is not recorded: ${error.message}` }
  }
  return {
    recording: true,
    started: ns => trace.started(ns),
    graph: facts => trace.graph(facts),
    async stop() {
      const records = await trace.stop()
      if (!records) return { tracks: [], facts: {} }
      if (records.dropped > 0 || records.refused > 0)
        warn(`${records.dropped} records of GPUs were dropped: CUPTI had no room for them`)
      return recordedGpus(records, threads)
    },
  }
}

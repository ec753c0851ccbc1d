import type { DeviceLimits } from '../../ffi/cuda/device.ts'
import type { Precision } from '../compute/cuda/layout.ts'
import type { RunPlan } from '../results/facts.ts'
import { Track } from '../tracing/buffer.ts'
import type { RunTrack } from '../tracing/events.ts'
import type { GpuRecords } from '../tracing/gpu/thread.ts'
import type { Peaks } from './peaks.ts'
import type { KernelLine, Profile } from './schema.ts'
import { profileSteps } from './steps.ts'
import { type CountersOf, WorkTables } from './work.ts'

/** A GPU of a run. */
export interface Gpu {
  name: string
  capability: string
  limits: DeviceLimits
  peaks: Peaks
  /** In which a step's network is computed. */
  precision(step: number): Precision
}

/** What a run leaves that is profiled. */
export interface ProfileSource {
  plan: Pick<RunPlan, 'steps'>
  /** Of its threads. */
  tracks: readonly RunTrack[]
  /** Nothing where it used no GPU, or nothing could be recorded. */
  records?: GpuRecords
  gpus: ReadonlyMap<number, Gpu>
  counters: CountersOf
  startNs: number
  endNs: number
  problems: readonly string[]
}

const round = (value: number): number => Number(value.toPrecision(6))

/** Where the time of a run went: by step, by kernel, by layer of its networks. */
export function makeProfile(source: ProfileSource): Profile {
  const { plan, records, gpus, startNs, endNs } = source
  const seconds = (endNs - startNs) / 1e9
  const threads = source.tracks.filter(({ gpu }) => !gpu)
  const tables = new WorkTables(records?.rows ?? [], gpus, source.counters)
  return {
    type: 'profile',
    seconds: round(seconds),
    gpus: [...gpus].map(([gpu, { name, capability, peaks }]) => ({
      device: `cuda:${gpu}`,
      name,
      capability,
      busy: round(tables.ownNs(gpu) / 1e9 / seconds),
      peak_gb_per_s: round(peaks.gbPerS),
      ...(peaks.tflops && { peak_tflops: peaks.tflops }),
    })),
    steps: profileSteps(plan, threads, seconds),
    kernels: tables.kernels(),
    layers: tables.layers(),
    records: {
      threads_lost: threads.reduce((sum, { handle }) => sum + new Track(handle).lost, 0),
      gpu_dropped: records?.dropped ?? 0,
      gpu_unattributed: records?.unattributed ?? 0,
      ...(records && { gpu_clock_error_ns: round(records.clock.errorNs) }),
      overheads: (records?.overheads ?? []).map(({ name, count, totalNs }) => ({
        name,
        calls: count,
        total_ms: round(totalNs / 1e6),
      })),
    },
    problems: [...source.problems],
  }
}

/** Each piece of work that is kept, in the order of its start. */
export function kernelLines(records: GpuRecords, startNs: number): KernelLine[] {
  const seconds = (ns: number) => Math.round(ns - startNs) / 1e9
  return records.streams
    .flatMap(({ device, stream, handle }) =>
      [...new Track(handle).records()].map(({ name, launch, request, beginNs, endNs }) => ({
        type: 'kernel' as const,
        device: `cuda:${device}`,
        stream,
        name,
        ...(launch !== undefined && { launch }),
        ...(request >= 0 && { request }),
        start_s: seconds(beginNs),
        end_s: seconds(endNs),
      })),
    )
    .sort((a, b) => a.start_s - b.start_s)
}

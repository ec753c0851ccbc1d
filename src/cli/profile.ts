import * as v from 'valibot'
import { describeDevice, deviceLimits } from '../../ffi/cuda/device.ts'
import type { Plan } from '../pipeline/plan.ts'
import type { LaunchCounters } from '../profile/metrics.ts'
import { peaksOf } from '../profile/peaks.ts'
import { type Gpu, kernelLines, makeProfile } from '../profile/profile.ts'
import { profileText } from '../profile/text.ts'
import type { CountersOf } from '../profile/work.ts'
import type { NetworkOptions } from '../steps/network.ts'
import { CPU } from '../steps/step.ts'
import type { GpuRecords } from '../tracing/gpu/thread.ts'
import type { RunFlags } from './arguments.ts'
import { ownCommand } from './own-process.ts'
import { type EndedRun, run } from './run.ts'

export interface ProfileFlags {
  json: boolean
  kernels: boolean
  counters: boolean
}

/** How long reading the counters of one network may take: it is small work, replayed some hundred times. */
const COUNTERS_MS = 120_000

function gpusOf(plan: Plan): Map<number, Gpu> {
  const precision = (step: number) =>
    (plan.instances.find(instance => instance.step === step)!.options as NetworkOptions).precision
  const devices = new Set(plan.instances.map(({ device }) => device).filter(device => device !== CPU))
  return new Map(
    [...devices].map(device => {
      const { name, capability } = describeDevice(device)
      const limits = deviceLimits(device)
      return [device, { name, capability, limits, peaks: peaksOf(capability, limits), precision }]
    }),
  )
}

const counter = v.number()
const counted = v.array(
  v.object({
    name: v.string(),
    how: v.string(),
    counters: v.object({ occupancy: counter, tensor: counter, dram: counter }),
  }),
)

/** Has another process of this program read counters. @returns them, or why there are none */
function readCounters(flags: RunFlags, step: number, clips: number): LaunchCounters[] | string {
  const same = ['config_file_path', 'device', 'weights', 'seed', 'batch_size', 'video_root'] as const
  const given = same.flatMap(name => (flags[name] === undefined ? [] : [`--${name}=${flags[name]}`]))
  const command = [...ownCommand(), 'profile-counters', ...given, `--step=${step}`, `--clips=${clips}`]
  const child = Bun.spawnSync([...command, '--videos=1', '--quiet'], { timeout: COUNTERS_MS })
  if (child.exitCode !== 0) {
    const said = child.stderr.toString().trim().split('\n')
    const why = said.find(line => line.startsWith('rnb: ')) ?? said[0] ?? ''
    return child.exitCode === null ? `they took longer than ${COUNTERS_MS / 1000} s` : why
  }
  return v.parse(counted, JSON.parse(child.stdout.toString()))
}

/** Counters of each step's network, for the number of clips that it ran with most. */
function countersOf(flags: RunFlags, { graphs }: GpuRecords): { counters: CountersOf; problems: string[] } {
  const problems: string[] = []
  const known = new Map<number, Map<string, LaunchCounters>>()
  for (const step of new Set(graphs.map(graph => graph.step))) {
    const most = graphs
      .filter(graph => graph.step === step && graph.launches > 0)
      .sort((a, b) => b.launches - a.launches)[0]
    if (!most) continue
    const read = readCounters(flags, step, most.clips)
    if (typeof read === 'string') problems.push(`no counters of step ${step}: ${read}`)
    else known.set(step, new Map(read.map(launch => [`${launch.name} ${launch.how}`, launch])))
  }
  return { counters: (step, launch, how) => known.get(step)?.get(`${launch} ${how}`)?.counters, problems }
}

/** What keeps a profile from saying what a GPU did. */
function problemsOf({ prepared: { plan }, problem }: EndedRun): string[] {
  if (problem !== undefined) return [problem]
  if (plan.instances.every(({ device }) => device === CPU))
    return ['kernels: none, as the pipeline runs on the CPU: what its steps took is all there is to say']
  return []
}

/**
 * `rnb profile`: a run, and where its time went, as tables on standard error or lines on standard output.
 * @returns the run's exit status
 * @throws {UsageError} if it cannot start
 */
export async function profile(flags: RunFlags, { json, kernels, counters }: ProfileFlags): Promise<number> {
  let ended: EndedRun | undefined
  const status = await run(flags, undefined, left => {
    ended = left
  })
  if (!ended) return status
  const { prepared, tracks, recorded, startNs, endNs } = ended
  const { records } = recorded
  const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
  if (kernels) for (const line of records ? kernelLines(records, startNs) : []) say(line)
  const read = counters && records ? countersOf(flags, records) : { counters: () => undefined, problems: [] }
  const made = makeProfile({
    plan: prepared.plan,
    tracks,
    ...(records && { records }),
    gpus: gpusOf(prepared.plan),
    counters: read.counters,
    startNs,
    endNs,
    problems: [...problemsOf(ended), ...read.problems],
  })
  if (json) say(made)
  if (!flags.quiet) console.error(`\n${profileText(made)}`)
  return status
}

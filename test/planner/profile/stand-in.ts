import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ABORT } from '../../../src/client/overload.ts'
import { builtin } from '../../../src/pipeline/builtin.ts'
import { planOf } from '../../../src/planner/plan-of.ts'
import type { ProfileRunner } from '../../../src/planner/profile/measurement.ts'
import type { ResultLine, SummaryLine } from '../../../src/results/schema.ts'
import { type ServiceModel, syntheticService } from '../../../src/simulator/service.ts'
import { simulate } from '../../../src/simulator/simulate.ts'
import type { Served } from '../../../src/simulator/world.ts'
import type { Flags } from '../../../src/sweep/grid.ts'
import type { PointEnd } from '../../../src/sweep/runner.ts'

export interface StandInOptions {
  requests: number
  /** Cores that busy steps share. */
  cores: number
  handOverMs: number
  /** The program is interrupted in place of this run, counted from 0. */
  interruptAt?: number
}

/** Runs no program, but the simulator with the steps' own times, and says of it what the program would. */
export class StandIn implements ProfileRunner {
  readonly runs: string[] = []
  readonly #done = new Set<string>()

  constructor(
    readonly out: string,
    public options: StandInOptions,
  ) {}

  async run(name: string, flags: Flags): Promise<PointEnd> {
    const summary = { exit: { status: 0, reason: 'done' } } as SummaryLine
    if (this.#done.has(name)) return { kind: 'measured', summary, earlier: true }
    if (this.runs.length === this.options.interruptAt) return { kind: 'interrupted' }
    this.runs.push(name)
    mkdirSync(join(this.out, name), { recursive: true })
    const lines = this.#simulate(flags).map(line => JSON.stringify(line))
    writeFileSync(join(this.out, name, 'results.jsonl'), `${[...lines, '{"type":"summary"}'].join('\n')}\n`)
    this.#done.add(name)
    return { kind: 'measured', summary, earlier: false }
  }

  ran(name: string): boolean {
    return this.#done.has(name)
  }

  #simulate(flags: Flags): ResultLine[] {
    const { requests, cores, handOverMs } = this.options
    const seed = Number(flags.seed)
    const arrangement = {
      config: JSON.parse(readFileSync(flags.config_file_path!, 'utf8')),
      batch: Number(flags.batch_size),
      maxBatchDelayMs: Number(flags.max_batch_delay_ms),
      perGpuQueue: false,
      queueSize: requests,
    }
    const { plan, settings } = planOf(
      arrangement,
      { requests, seed, ratePerS: 1 },
      { registry: builtin, gpus: 0 },
    )
    const service: ServiceModel = syntheticService(seed, 'cores')
    const calls: Served[] = []
    const { endNs, intendedNs } = simulate({
      plan,
      settings,
      overload: ABORT,
      schedule: new Float64Array(requests),
      concurrency: Number(flags.concurrency),
      service,
      resources: { cores: { servers: cores, sharing: 'even' } },
      handOver: { ms: [handOverMs], seed },
      served: call => calls.push(call),
    })
    return Array.from({ length: requests }, (_, id) => {
      const ends: number[] = []
      const steps = plan.steps.map(({ index, kind, sources }) => {
        const before = sources.length === 0 ? intendedNs[id]! : ends[sources[0]!]!
        const call = calls.find(
          ({ instance, requests: of }) => plan.instances[instance]!.step === index && of.includes(id),
        )!
        const line = {
          step: index,
          kind,
          device: 'cpu',
          batch: call.requests.length,
          queue_ms: (call.beginNs - before) / 1e6,
          wait_ms: 0,
          run_ms: (call.endNs - call.beginNs) / 1e6,
        }
        ends[index] = call.endNs
        return line
      })
      return {
        type: 'result',
        id,
        video: 'none',
        top: [],
        clips: service.clips(plan.instances[0]!, id),
        decoder: 'synthetic',
        frames_needed: 0,
        frames_decoded: 0,
        steps,
        intended_ms: intendedNs[id]! / 1e6,
        actual_ms: intendedNs[id]! / 1e6,
        latency_ms: (endNs[id]! - intendedNs[id]!) / 1e6,
        latency_actual_ms: (endNs[id]! - intendedNs[id]!) / 1e6,
        warmup: id < Number(flags.warmup),
      }
    })
  }
}

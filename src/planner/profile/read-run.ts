import { readFileSync } from 'node:fs'
import * as v from 'valibot'
import type { Plan } from '../../pipeline/plan.ts'
import { segmentSizes } from '../../pipeline/segments.ts'
import { type ResultLine, resultSchema } from '../../results/schema.ts'
import type { Engine } from './keys.ts'

/** A call of a step, as the results of its requests tell it. */
export interface ObservedCall {
  step: number
  engine: Engine
  items: number
  clips: number
  /** Of the first step's calls. */
  request?: number
  /** Since the start of the run. */
  beginMs: number
  ms: number
  /** Of that, processor time, where that is known. */
  cpuMs?: number
}

/** A run, as its file of results tells it. */
export interface ObservedRun {
  results: ResultLine[]
  calls: ObservedCall[]
  /** From the end of the step before until a step began with it. */
  handOverMs: number[]
}

const lineSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.union([resultSchema, v.looseObject({ type: v.string() })]),
)

/** Results of a run, in the order of its file. */
export function readResults(path: string): ResultLine[] {
  return readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .flatMap(line => {
      const parsed = v.parse(lineSchema, line)
      return parsed.type === 'result' ? [parsed as ResultLine] : []
    })
}

type StepLine = ResultLine['steps'][number]

/** The step that a part came from, and which of what that made it was; undefined if it came from the client. */
function parentOf(
  { steps }: Plan,
  step: number,
  part: number,
): { step: number; made: number; of: number } | undefined {
  let first = 0
  for (const source of steps[step]!.sources) {
    const { leaving, segments } = steps[source]!
    const at = part - first
    if (at < leaving) return { step: source, made: Math.floor(at / segments), of: at % segments }
    first += leaving
  }
}

/** The lines of a result by their steps and parts: where each began, and with how many clips, is what came before it. */
class Lines {
  readonly #lines = new Map<string, StepLine>()

  constructor(
    readonly plan: Plan,
    readonly result: ResultLine,
  ) {
    for (const line of result.steps) this.#lines.set(`${line.step}/${line.part ?? 0}`, line)
  }

  /** What a step made: of one that joins parts, all are alike. */
  #made(step: number, made: number): StepLine | undefined {
    return this.#lines.get(`${step}/${made}`) ?? this.#lines.get(`${step}/0`)
  }

  /** Where a step began, in ms after the start. */
  beginMs(line: StepLine): number {
    const parent = parentOf(this.plan, line.step, line.part ?? 0)
    const before = parent && this.#made(parent.step, parent.made)
    const from = before ? this.beginMs(before) + before.run_ms : this.result.intended_ms
    return from + line.queue_ms + line.wait_ms
  }

  /** Clips of the request that came to a step in a part. */
  clips(line: StepLine): number {
    const parent = parentOf(this.plan, line.step, line.part ?? 0)
    const before = parent && this.#made(parent.step, parent.made)
    if (!before) return this.result.clips
    const { segments } = this.plan.steps[before.step]!
    return segmentSizes(this.clips(before), segments)[parent.of] ?? this.clips(before)
  }
}

/** What decoded a video for a GPU's loader; what the GPU's engines refused was theirs to try. */
function engineOf(plan: Plan, { decoder, decoder_reason }: ResultLine, { step, device }: StepLine): Engine {
  if (device === 'cpu') return 'cpu'
  const loads = plan.instances.some(instance => instance.step === step && instance.decoders > 0)
  return loads && decoder !== 'nvdec' && decoder_reason === undefined ? 'gpu-host' : 'gpu'
}

/** Lines of one batch agree in when it began, but for the rounding of what came before. */
const SAME_MS = 1e-3

/**
 * Finds the calls behind results: a batch is in the lines of all its requests.
 * @param plan of the pipeline that ran
 */
export function observe(plan: Plan, results: readonly ResultLine[]): ObservedRun {
  const measured = results.filter(({ warmup }) => !warmup)
  const calls: ObservedCall[] = []
  /** Calls of several items, by what their lines have in common to the nanosecond. */
  const batches = new Map<string, ObservedCall[]>()
  const handOverMs: number[] = []
  /** Items that a call had, whether there are lines of all of them or not. */
  const whole = new Map<ObservedCall, number>()
  for (const result of measured) {
    const lines = new Lines(plan, result)
    for (const line of result.steps) {
      const { step, batch, device, run_ms, queue_ms, wait_ms } = line
      const beginMs = lines.beginMs(line)
      const clips = lines.clips(line)
      handOverMs.push(queue_ms + wait_ms)
      const alike = batch > 1 ? (batches.get(`${step} ${device} ${batch} ${run_ms}`) ?? []) : []
      const known = alike.find(call => Math.abs(call.beginMs - beginMs) < SAME_MS)
      if (known) {
        known.items++
        known.clips += clips
        continue
      }
      const call: ObservedCall = {
        step,
        engine: engineOf(plan, result, line),
        items: 1,
        clips,
        ...(step === 0 && { request: result.id }),
        ...(step === 0 && result.load_cpu_ms !== undefined && { cpuMs: result.load_cpu_ms }),
        beginMs,
        ms: run_ms,
      }
      calls.push(call)
      whole.set(call, batch)
      if (batch > 1) batches.set(`${step} ${device} ${batch} ${run_ms}`, [...alike, call])
    }
  }
  // Some of a batch may have been warm-up, or have failed: then its clips are not known.
  return { results: measured, calls: calls.filter(call => call.items === whole.get(call)), handOverMs }
}

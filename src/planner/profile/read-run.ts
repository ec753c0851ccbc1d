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

/** Where a step of a result began, in ms after the start: what came before, along the same part. */
function beginOf({ intended_ms, steps }: ResultLine, at: StepLine): number {
  const before = steps.filter(
    ({ step, part }) => step < at.step && (part === undefined || part === at.part || at.part === undefined),
  )
  const spent = before.reduce((sum, { queue_ms, wait_ms, run_ms }) => sum + queue_ms + wait_ms + run_ms, 0)
  return intended_ms + spent + at.queue_ms + at.wait_ms
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
 * @param plan of a pipeline in which no step reads from several
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
    const partsOf = (step: number) => result.steps.filter(line => line.step === step).length
    for (const line of result.steps) {
      const { step, part, batch, device, run_ms, queue_ms, wait_ms } = line
      const beginMs = beginOf(result, line)
      const parts = partsOf(step)
      const clips = parts > 1 ? segmentSizes(result.clips, parts)[part ?? 0]! : result.clips
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

import { createReadStream, existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import * as v from 'valibot'
import { UsageError } from '../errors.ts'
import { lineSchema, type ResultLine, type SummaryLine } from '../results/schema.ts'
import { type TelemetryLine, telemetryLineSchema } from '../telemetry/lines.ts'
import { type ReportRun, runName, type Stage, type StepWaits, type Wait } from './run.ts'

/** What result lines add up to, line by line. */
class Lines {
  readonly arrivals: number[] = []
  readonly latencies: number[] = []
  readonly #waits = new Map<string, Wait[]>()
  summary: SummaryLine | undefined

  add(line: v.InferOutput<typeof lineSchema>): void {
    if (line.type === 'summary') this.summary = line
    else if (line.type === 'result') this.#result(line)
  }

  #result(result: ResultLine): void {
    this.#wait(result)
    if (result.warmup) return
    this.arrivals.push(result.intended_ms / 1000)
    this.latencies.push(result.latency_ms)
  }

  /** Follows the request from step to step: each part waits from the end of the part that it came from. */
  #wait({ steps, intended_ms }: ResultLine): void {
    let step = -1
    let before = new Map([[0, intended_ms]])
    let ends = before
    for (const entry of steps) {
      if (entry.step !== step) {
        step = entry.step
        before = ends
        ends = new Map()
      }
      const { part = 0, kind, queue_ms, wait_ms, run_ms } = entry
      const from = before.get(part) ?? before.get(0) ?? intended_ms
      const to = from + queue_ms
      ends.set(part, to + wait_ms + run_ms)
      this.#of(`${step}: ${kind}`).push({ from: from / 1000, to: to / 1000 })
    }
  }

  #of(name: string): Wait[] {
    const waits = this.#waits.get(name) ?? []
    this.#waits.set(name, waits)
    return waits
  }

  get waits(): StepWaits[] {
    return [...this.#waits].map(([name, waits]) => ({ name, waits }))
  }
}

/** In order of arrival. */
function byArrival(arrivals: readonly number[], latencies: readonly number[]) {
  const order = arrivals.map((_, i) => i).sort((a, b) => arrivals[a]! - arrivals[b]!)
  return {
    arrivalS: Float64Array.from(order, i => arrivals[i]!),
    latencyMs: Float64Array.from(order, i => latencies[i]!),
  }
}

const STAGES = ['queue', 'wait', 'run'] as const

/** Share of a request's time below which a stage could not be seen in a picture. */
const VISIBLE = 5e-3

/** Mean times of each step; stages that take next to no time are left out. */
function stagesOf({ steps }: SummaryLine): Stage[] {
  const stages = steps.flatMap(step =>
    STAGES.map(stage => ({
      name: `${step.step}: ${step.kind} ${stage}`,
      ms: step[`${stage}_ms`]?.mean ?? 0,
    })),
  )
  const total = stages.reduce((sum, { ms }) => sum + ms, 0)
  return stages.filter(({ ms }) => ms > VISIBLE * total)
}

function runOf(path: string, lines: Lines, summary: SummaryLine): ReportRun {
  const { config, host, exit, throughput, rate, requests, queues } = summary
  return {
    path,
    name: runName(path, config.name),
    configuration: config.name,
    host: `${host.cpu}, ${host.cores} cores`,
    flags: summary.arguments,
    offeredPerS: rate.offered_per_s,
    videosPerS: throughput.videos_per_s,
    clipsPerS: throughput.clips_per_s,
    ...byArrival(lines.arrivals, lines.latencies),
    stages: stagesOf(summary),
    waits: lines.waits,
    queues: queues.map(({ name, capacity, high_water }) => ({ name, capacity, highWater: high_water })),
    telemetry: [],
    completed: requests.completed,
    failed: requests.failed,
    failures: summary.failures,
    end: exit.reason,
    notes: [...summary.notes, ...summary.warnings],
  }
}

/** Calls back for each line of a file of JSON Lines. @throws {UsageError} naming the line that is not of the schema */
async function eachLine<T>(
  file: string,
  schema: v.GenericSchema<unknown, T>,
  take: (line: T) => void,
): Promise<void> {
  let number = 0
  for await (const text of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    number++
    if (text !== '') take(parse(text, schema, `${file}, line ${number}`))
  }
}

function parse<T>(text: string, schema: v.GenericSchema<unknown, T>, where: string): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new UsageError(`report: ${where}: ${(error as Error).message}`)
  }
  const checked = v.safeParse(schema, value)
  if (checked.success) return checked.output
  const [issue] = checked.issues
  throw new UsageError(`report: ${where}: ${v.getDotPath(issue) ?? 'the line'}: ${issue.message}`)
}

/**
 * Reads a run from its JSON Lines.
 * @param path what to call it: the file, or the folder that it is in
 * @throws {UsageError} naming the line that is no line of rnb's, or if there is no summary
 */
export async function readResults(file: string, path: string): Promise<ReportRun> {
  const lines = new Lines()
  await eachLine(file, lineSchema, line => lines.add(line))
  if (!lines.summary) throw new UsageError(`report: ${file} has no summary line: its run did not end`)
  const telemetry = await readTelemetry(join(dirname(file), 'telemetry.jsonl'))
  return { ...runOf(path, lines, lines.summary), telemetry }
}

async function readTelemetry(file: string): Promise<TelemetryLine[]> {
  const lines: TelemetryLine[] = []
  if (existsSync(file)) await eachLine(file, telemetryLineSchema, line => lines.push(line))
  return lines
}

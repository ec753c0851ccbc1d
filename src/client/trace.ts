import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as v from 'valibot'
import { UsageError } from '../errors.ts'

/** Arrivals that a file names. */
export interface Trace {
  /** Ns from the start, ascending. */
  times: Float64Array
  /** Of each arrival, its video's absolute path; undefined if the file names none. */
  videos?: string[]
}

const path = v.pipe(v.string(), v.nonEmpty())
const milliseconds = v.pipe(v.number(), v.finite(), v.minValue(0))

/** A line of a trace, or of an earlier run's results; keys that are not named here do not matter. */
const lineSchema = v.union([
  v.pipe(
    v.object({ at_ms: milliseconds, video: v.optional(path) }),
    v.transform(({ at_ms, video }) => ({ at: at_ms, id: 0, video })),
  ),
  v.pipe(
    v.object({
      type: v.picklist(['result', 'error']),
      id: v.number(),
      intended_ms: milliseconds,
      video: path,
    }),
    v.transform(({ intended_ms, id, video }) => ({ at: intended_ms, id, video })),
  ),
  v.pipe(
    v.object({ type: v.literal('summary') }),
    v.transform(() => undefined),
  ),
])
type Arrival = Exclude<v.InferOutput<typeof lineSchema>, undefined>

const FORM = '{"at_ms": 12.5, "video": "a.mp4"} or a line of an earlier run’s results'

function parseLine(text: string, where: string): Arrival | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new UsageError(`${where}: not JSON; a line is ${FORM}`)
  }
  const parsed = v.safeParse(lineSchema, value)
  if (!parsed.success) throw new UsageError(`${where}: not an arrival; a line is ${FORM}`)
  return parsed.output
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError(`--arrival trace:${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/**
 * Reads when requests arrive, and which videos they name: JSON Lines in any order, each with a time in ms from the start
 * and perhaps a video, or what `--results` wrote. Relative paths start from the file.
 * @param most arrivals to keep: the first of them
 * @param durationS arrivals from this time on are left out
 * @throws {UsageError} naming the line
 */
export function readTrace(file: string, most: number, durationS = Number.POSITIVE_INFINITY): Trace {
  const arrivals = read(file)
    .replace(/^\uFEFF/, '')
    .split('\n')
    .flatMap((line, i) =>
      line.trim() === '' ? [] : (parseLine(line, `--arrival trace:${file}, line ${i + 1}`) ?? []),
    )
    .sort((a, b) => a.at - b.at || a.id - b.id)
    .slice(0, most)
    .filter(({ at }) => at < durationS * 1000)
  if (arrivals.length === 0) throw new UsageError(`--arrival trace:${file}: no arrivals in it`)
  const videos = arrivals.flatMap(({ video }) => video ?? [])
  if (videos.length !== 0 && videos.length !== arrivals.length)
    throw new UsageError(
      `--arrival trace:${file}: ${videos.length} of ${arrivals.length} arrivals name a video; let all of them do so, or none`,
    )
  return {
    times: Float64Array.from(arrivals, ({ at }) => at * 1e6),
    ...(videos.length > 0 && { videos: videos.map(video => resolve(dirname(file), video)) }),
  }
}

import { basename } from 'node:path'
import { UsageError } from '../errors.ts'

/** Flags of a run, by name, as they are given. */
export type Flags = Readonly<Record<string, string>>

/** One run of a sweep. */
export interface GridPoint {
  /** What tells it from the other points: the name of its folder. */
  readonly name: string
  readonly flags: Flags
}

/** Short names of flags in names of points. */
const SHORT: Readonly<Record<string, string>> = {
  mean_interval_ms: 'mi',
  batch_size: 'b',
  videos: 'v',
  queue_size: 'qs',
}

/** Values that may hold commas of their own. */
const WHOLE = new Set(['video_root', 'weights', 'labels'])

/** A comma between values; of `--arrival`, not one between the states of `mmpp:RATE@MS,RATE@MS`. */
const between = (flag: string): RegExp => (flag === 'arrival' ? /,(?!\s*[\d.][\d.e+-]*@)/i : /,/)

const valuesOf = (flag: string, text: string): string[] =>
  WHOLE.has(flag) ? [text] : text.split(between(flag)).map(value => value.trim())

/** What a value adds to the name of a folder. */
function part(flag: string, value: string): string {
  const text = flag === 'config_file_path' ? basename(value, '.json') : `${SHORT[flag] ?? flag}${value}`
  return text.replace(/[^\w.+-]+/g, '_')
}

/**
 * All combinations of the values of all flags, the last flag changing fastest.
 * @param flags - values by flag, several separated by commas
 * @throws {UsageError} for a list with an empty or a repeated value, or points that would share a folder
 */
export function gridOf(flags: Flags): GridPoint[] {
  const axes = Object.entries(flags).map(([flag, text]) => ({ flag, values: valuesOf(flag, text) }))
  for (const { flag, values } of axes) {
    if (values.includes('')) throw new UsageError(`sweep: --${flag} has an empty value in its list`)
    if (new Set(values).size < values.length) throw new UsageError(`sweep: --${flag} names a value twice`)
  }
  let points = [{ parts: [] as string[], flags: {} as Record<string, string> }]
  for (const { flag, values } of axes)
    points = points.flatMap(point =>
      values.map(value => ({
        parts: values.length > 1 ? [...point.parts, part(flag, value)] : point.parts,
        flags: { ...point.flags, [flag]: value },
      })),
    )
  const named = points.map(({ parts, flags }) => ({ name: parts.join('-') || 'run', flags }))
  const seen = new Set<string>()
  for (const { name } of named) {
    if (seen.has(name))
      throw new UsageError(`sweep: two points would be called ${name}; give the files names of their own`)
    seen.add(name)
  }
  return named
}

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'

/** Times of the videos that ended on one instance of the last step. */
export interface InstanceLog {
  file: string
  gpu: number
  /** Counts the instances of a GPU; or, in RnB's newer logs, those of a GPU in a queue group. */
  replica: number
  group?: number
  /** Names of times, in the file's order. */
  columns: string[]
  /** Names of GPU columns; empty in RnB's older logs. */
  gpuColumns: string[]
  /** A row a video: Unix seconds for each column, NaN where a part was absent. */
  times: Float64Array[]
  /** GPUs of each row; -1 is the CPU, NaN an absent part. */
  gpus: Float64Array[]
}

/** A folder of logs, by this program or by RnB. */
export interface RunLogs {
  path: string
  /** Flags by RnB's names. */
  flags: Record<string, string | number | boolean | null>
  /** Unix seconds. */
  start: number
  end: number
  /** As written; undefined in RnB's first logs. */
  termination?: number
  instances: InstanceLog[]
  /** Lines that could not be read, in sentences. */
  warnings: string[]
}

const FLAG = /(\w+)=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,)]+)/g
const WORDS: Record<string, boolean | null> = { True: true, False: false, None: null }

/** Reads `Args: Namespace(name=value, ...)`. */
export function parseArguments(line: string): RunLogs['flags'] {
  const fields = [...line.matchAll(FLAG)].map(
    ([, name, text]): [string, string | number | boolean | null] => {
      if (text! in WORDS) return [name!, WORDS[text!]!]
      if (/^['"]/.test(text!)) {
        const plain = (_: string, c: string) => (c === 'n' ? '\n' : c)
        return [name!, text!.slice(1, -1).replace(/\\(.)/g, plain)]
      }
      return [name!, Number.isNaN(Number(text)) ? text! : Number(text)]
    },
  )
  return Object.fromEntries(fields)
}

/** `g0-r1.txt`; RnB's newest logs have `g0-group1-0.txt`. */
const INSTANCE_FILE = /^g(-?\d+)-(?:r|group(\d+)-)(\d+)\.txt$/

/** Numbers of a line, `nan` included; undefined if it holds anything else. */
function numbers(line: string): number[] | undefined {
  const words = line.split(' ')
  const values = words.map(Number)
  return values.every((value, i) => !Number.isNaN(value) || words[i] === 'nan') ? values : undefined
}

/** Reads one instance's file: a header, then rows of as many numbers. */
function parseInstance(file: string, text: string, warnings: string[]): InstanceLog {
  const [, gpu, group, replica] = INSTANCE_FILE.exec(file)!
  const [header = '', ...lines] = text.split('\n')
  const names = header.split(' ').filter(name => name !== '')
  const columns = names.filter(name => !/^gpu\d/.test(name))
  const gpuColumns = names.filter(name => /^gpu\d/.test(name))
  const log: InstanceLog = {
    file,
    gpu: Number(gpu),
    replica: Number(replica),
    ...(group !== undefined && { group: Number(group) }),
    columns,
    gpuColumns,
    times: [],
    gpus: [],
  }
  lines.forEach((line, i) => {
    if (line === '') return
    const values = numbers(line)
    if (!values || values.length < columns.length) {
      warnings.push(`${file}, line ${i + 2} is no row of ${names.length} numbers`)
      return
    }
    const gpus = values.slice(columns.length)
    log.times.push(Float64Array.from(values.slice(0, columns.length)))
    // RnB's header has its first row's GPU columns: one for a step, or one a part where these had several GPUs.
    const known = gpus.length === gpuColumns.length
    log.gpus.push(known ? Float64Array.from(gpus) : new Float64Array(gpuColumns.length).fill(Number.NaN))
  })
  return log
}

/**
 * Reads the times and flags of a run's log folder.
 * @throws {UsageError} if it is no such folder
 */
export function readLogs(path: string): RunLogs {
  const read = (file: string): string => {
    try {
      return readFileSync(join(path, file), 'utf8')
    } catch (error) {
      throw new UsageError(`${path} is no log folder: ${(error as Error).message}`)
    }
  }
  const [args = '', period = '', flag = ''] = read('log-meta.txt').split('\n')
  const [start, end] = numbers(period) ?? []
  if (!args.startsWith('Args:') || !Number.isFinite(start) || !Number.isFinite(end))
    throw new UsageError(`${path}/log-meta.txt is not in RnB's format`)
  const termination = /^Termination flag: (-?\d+)/.exec(flag)?.[1]
  const warnings: string[] = []
  const files = readdirSync(path)
    .filter(file => INSTANCE_FILE.test(file))
    .sort()
  return {
    path,
    flags: parseArguments(args),
    start: start!,
    end: end!,
    ...(termination !== undefined && { termination: Number(termination) }),
    instances: files.map(file => parseInstance(file, read(file), warnings)),
    warnings,
  }
}

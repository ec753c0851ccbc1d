import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

// A reader of RnB's log folders, from the format alone: nothing of what the program itself reads or writes them with.

/** A pipeline file, as far as the columns of its logs depend on it. */
interface Pipeline {
  pipeline: { model: string; num_segments?: number }[]
}

/** What a time card of RnB has when it reaches the end of a pipeline: names of times, then of GPUs, in their order. */
export function timeCardColumns({ pipeline }: Pipeline): string[] {
  const times = ['enqueue_filename']
  const gpus: string[] = []
  // A time card is forked when its item is split; the forks' entries become one card's, side by side, when they meet.
  let forks = ['']
  pipeline.forEach(({ model, num_segments = 1 }, step) => {
    times.push(...forks.map(fork => `runner${step}_start${fork}`))
    times.push(...forks.map(fork => `inference${step}_start${fork}`))
    if (/aggregator/i.test(model)) forks = ['']
    times.push(...forks.map(fork => `inference${step}_finish${fork}`))
    gpus.push(...forks.map(fork => `gpu${step}${fork}`))
    if (num_segments > 1) forks = Array.from({ length: num_segments }, (_, segment) => `-${segment}`)
  })
  return [...times, ...gpus]
}

/** One file: the videos that one instance of the last step finished. */
export interface RnbLog {
  gpu: number
  replica: number
  columns: string[]
  /** By column; `nan` for a segment that there was none of. */
  rows: Map<string, number>[]
}

export interface RnbFolder {
  arguments: Map<string, string>
  start: number
  end: number
  termination: number
  logs: RnbLog[]
}

const NUMBER = /^-?\d+(\.\d+)?$/

/** A number as Python's float() takes it; words other than nan are none. */
function float(text: string, where: string): number {
  if (text === 'nan') return Number.NaN
  if (!NUMBER.test(text)) throw new Error(`${where}: ${JSON.stringify(text)} is no number`)
  return Number(text)
}

function lines(path: string): string[] {
  const text = readFileSync(path, 'utf8')
  if (!text.endsWith('\n')) throw new Error(`${path}: the last line has no end`)
  return text.slice(0, -1).split('\n')
}

function readLog(folder: string, name: string, gpu: string, replica: string): RnbLog {
  const path = join(folder, name)
  const [header, ...rest] = lines(path)
  const columns = header!.split(' ')
  const rows = rest.map((line, i) => {
    const fields = line.split(' ')
    if (fields.length !== columns.length)
      throw new Error(`${path}:${i + 2}: ${fields.length} fields under ${columns.length} names`)
    return new Map(fields.map((field, c) => [columns[c]!, float(field, `${path}:${i + 2}`)]))
  })
  return { gpu: Number(gpu), replica: Number(replica), columns, rows }
}

/** @throws {Error} on anything that RnB would not have written */
export function readRnbFolder(folder: string): RnbFolder {
  const meta = lines(join(folder, 'log-meta.txt'))
  const [, fields] = /^Args: Namespace\((.*)\)$/.exec(meta[0]!) ?? []
  const [, start, end] = /^(\d+\.\d+) (\d+\.\d+)$/.exec(meta[1]!) ?? []
  const [, termination] = /^Termination flag: (-?\d)$/.exec(meta[2]!) ?? []
  if (meta.length !== 3 || fields === undefined || start === undefined || termination === undefined)
    throw new Error(`log-meta.txt: ${meta.join('|')}`)
  const logs = readdirSync(folder).flatMap(name => {
    const [, gpu, replica] = /^g(-?\d+)-r(\d+)\.txt$/.exec(name) ?? []
    return gpu === undefined ? [] : [readLog(folder, name, gpu, replica!)]
  })
  return {
    arguments: new Map(fields.split(', ').map(field => field.split('=', 2) as [string, string])),
    start: Number(start),
    end: Number(end),
    termination: Number(termination),
    logs,
  }
}

const suffixOf = (column: string): string => /-\d+$/.exec(column)?.[0] ?? ''

/** What is wrong with a row: times that run backwards, and segments that are there in part. Empty if nothing is. */
export function faultsOf(row: ReadonlyMap<string, number>, start: number, end: number): string[] {
  const faults: string[] = []
  const present = new Map<string, boolean>()
  const latest = new Map<string, number>()
  for (const [column, value] of row) {
    const segment = suffixOf(column)
    const there = !Number.isNaN(value)
    if ((present.get(segment) ?? there) !== there)
      faults.push(`${column} is ${value}, unlike its segment's others`)
    present.set(segment, there)
    if (!there || column.startsWith('gpu')) continue
    if (value < start || value > end) faults.push(`${column} is outside the run`)
    // An event follows all of its own segment's, and those before the fork; one after the join follows every segment's.
    const before = segment === '' ? [...latest.values()] : [latest.get(''), latest.get(segment)]
    if (before.some(time => time !== undefined && time > value))
      faults.push(`${column} is before what led to it`)
    latest.set(segment, value)
  }
  if (present.get('') === false) faults.push('what is not of a segment is missing')
  return faults
}

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { AtomicFile, LinesFile, writeFileAtomic } from './atomic-file.ts'
import type { RunFacts } from './facts.ts'
import type { SummaryLine } from './schema.ts'
import { pathTo, type TimeCards } from './time-card.ts'
import type { UnixClock } from './unix-clock.ts'

/** RnB's codes of how a job ended, as log-meta.txt has them. */
export const TERMINATION = { unset: -1, targetReached: 0, filenameQueueFull: 1, frameQueueFull: 2 } as const

/** Flags of a run that RnB had too, by its names. */
export interface RnbArguments {
  batch_size: number
  check: boolean
  config_file_path: string
  mean_interval_ms: number
  per_gpu_queue: boolean
  queue_size: number
  videos: number
}

/** A value as Python prints it. */
function pythonText(value: string | number | boolean): string {
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number') return String(value)
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'"
  return (
    quote + value.replaceAll('\\', '\\\\').replaceAll(quote, `\\${quote}`).replaceAll('\n', '\\n') + quote
  )
}

/** RnB's line of arguments: `Args: Namespace(batch_size=1, ...)`, names in order. */
export function argumentsLine(flags: RnbArguments): string {
  const fields = Object.entries(flags).sort(([a], [b]) => (a < b ? -1 : 1))
  return `Args: Namespace(${fields.map(([name, value]) => `${name}=${pythonText(value)}`).join(', ')})`
}

const two = (value: number): string => String(value).padStart(2, '0')

/** RnB's name of a job: `<yymmdd_HHMMSS>-mi90-b1-v500-qs500-p0`, in local time. */
export function jobName(flags: RnbArguments, at: Date): string {
  const date = [at.getFullYear() % 100, at.getMonth() + 1, at.getDate()].map(two).join('')
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join('')
  // RnB cut the interval to whole milliseconds, which would make 0.5 look like bulk.
  const interval = Number(flags.mean_interval_ms.toFixed(3))
  const { batch_size, videos, queue_size, per_gpu_queue } = flags
  return `${date}_${time}-mi${interval}-b${batch_size}-v${videos}-qs${queue_size}-p${Number(per_gpu_queue)}`
}

/** Everything that the folder holds in the end. */
export interface LogContents {
  facts: RunFacts
  cards: TimeCards
  /** Completed requests, in the order of their completion. */
  done: Uint32Array
  flags: RnbArguments
  clock: UnixClock
  startNs: number
  endNs: number
  /** One of TERMINATION. */
  termination: number
  config: { file: string; text: string }
  summary: SummaryLine
  /** Further files of the run, by name. */
  attachments?: Readonly<Record<string, string>>
}

const RESULTS = 'results.jsonl'
const SUMMARY = 'summary.json'
const META = 'log-meta.txt'
/** Names in the folder that a copy of the configuration must not take. */
const TAKEN = /^(results\.jsonl|telemetry\.jsonl|summary\.json|log-meta\.txt|g-?\d+-r\d+\.txt)$/

const systemText = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** Names tried for a folder, where runs start within the same second. */
const MOST_NAMES = 100
/** What a probe writes: a disk without a free block must show at the start. */
const PROBE = new Uint8Array(4096)

function makeFolder(root: string, name: string): string {
  mkdirSync(root, { recursive: true })
  for (let n = 1; ; n++) {
    const path = join(root, n === 1 ? name : `${name}-${n}`)
    try {
      mkdirSync(path)
      return path
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || n === MOST_NAMES) throw error
    }
  }
}

/** The folder of one run's logs, in RnB's format. Each file is complete or absent. */
export class LogFolder {
  readonly results: LinesFile

  private constructor(
    readonly path: string,
    warn: (message: string) => void,
  ) {
    const results = join(path, RESULTS)
    this.results = new LinesFile(results, error => warn(`${results} could not be written: ${error.message}`))
  }

  /**
   * Makes the folder and tries to write there; a sentence for people where that can't be done: the run goes on
   * without logs.
   * @param warn is told at once if writing results fails later
   */
  static open(
    root: string,
    name: string,
    warn: (message: string) => void = () => {},
  ): LogFolder | { warning: string } {
    let path: string | undefined
    try {
      path = makeFolder(root, name)
      const probe = join(path, '.probe')
      writeFileSync(probe, PROBE, { flush: true })
      rmSync(probe)
      return new LogFolder(path, warn)
    } catch (error) {
      if (path !== undefined) rmSync(path, { recursive: true, force: true })
      return { warning: `no logs can be written to ${root}: ${systemText(error)}` }
    }
  }

  /** Writes the files of a run that has ended. Returns sentences on those that could not be written. */
  async finish(contents: LogContents): Promise<string[]> {
    const warnings: string[] = []
    const attempt = (name: string, write: (path: string) => void) => {
      try {
        write(join(this.path, name))
      } catch (error) {
        warnings.push(`${join(this.path, name)} could not be written: ${systemText(error)}`)
      }
    }
    const fault = await this.results.finish()
    attempt(RESULTS, () => {
      if (fault) throw fault
    })
    const { config, summary } = contents
    const copy = basename(config.file)
    attempt(TAKEN.test(copy) ? `config-${copy}` : copy, path => writeFileAtomic(path, config.text))
    const { leaves } = contents.cards
    for (const leaf of leaves) {
      const folder = leaves.length === 1 ? '' : leafFolder(contents, leaf)
      if (folder !== '') attempt(folder, path => mkdirSync(path))
      for (const instance of contents.facts.plan.instances.filter(({ step }) => step === leaf))
        attempt(join(folder, `g${instance.device}-r${instance.replica}.txt`), path =>
          writeTimes(path, contents, instance),
        )
      if (folder !== '') attempt(join(folder, META), path => writeFileAtomic(path, metaText(contents)))
    }
    attempt(SUMMARY, path => writeFileAtomic(path, `${JSON.stringify(summary, null, 2)}\n`))
    for (const [name, text] of Object.entries(contents.attachments ?? {}))
      attempt(name, path => writeFileAtomic(path, text))
    // Last: who finds it finds the others.
    attempt(META, path => writeFileAtomic(path, metaText(contents)))
    return warnings
  }

  /** Removes the folder: the run never began. */
  discard(): void {
    this.results.abandon()
    rmSync(this.path, { recursive: true, force: true })
  }
}

type Instance = RunFacts['plan']['instances'][number]

/** Where the pipeline has several last steps, each has a folder with logs as of a pipeline that ends there. */
function leafFolder({ facts }: LogContents, leaf: number): string {
  const { kind, name = kind } = facts.plan.steps[leaf]!
  return `step${leaf}-${name.replace(/[^\w.-]+/g, '-')}`
}

const metaText = ({ flags, clock, startNs, endNs, termination }: LogContents): string =>
  `${argumentsLine(flags)}\n${clock.text(startNs)} ${clock.text(endNs)}\nTermination flag: ${termination}\n`

/** A header, then a row for each request that ended on this instance, in the order of completion. */
function writeTimes(name: string, { facts, cards, done, clock }: LogContents, instance: Instance): void {
  const { ledger } = facts
  const last = instance.step
  const path = pathTo(cards.steps, last)
  const columns = cards.columns(path)
  const devices = cards.deviceColumns(path)
  const file = new AtomicFile(name)
  try {
    file.write(`${[...columns, ...devices].map(({ name }) => name).join(' ')}\n`)
    for (const request of done) {
      if (Number.isNaN(cards.finishOf(request, last))) continue
      if (ledger.device(request, 0, last) !== instance.device) continue
      if (ledger.replica(request, 0, last) !== instance.replica) continue
      const times = columns.map(column => clock.text(cards.time(request, column)))
      const ranOn = devices.map(({ step, part }) =>
        cards.ran(request, part, step) ? ledger.device(request, part, step) : 'nan',
      )
      file.write(`${[...times, ...ranOn].join(' ')}\n`)
    }
    file.commit()
  } catch (error) {
    file.abandon()
    throw error
  }
}

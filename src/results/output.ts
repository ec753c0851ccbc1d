import { monotonicNs } from '../../ffi/libc.ts'
import { UsageError } from '../errors.ts'
import { LinesFile } from './atomic-file.ts'
import { Collector } from './collector.ts'
import type { RunFacts } from './facts.ts'
import { LineWriter } from './line-writer.ts'
import { argumentsLine, jobName, LogFolder, type RnbArguments } from './log-folder.ts'
import { averageLines, closingLines, endLines, percentileTable, startLine } from './people.ts'
import { People } from './progress.ts'
import type { SummaryLine } from './schema.ts'
import type { RunEnd } from './summary.ts'
import { UnixClock } from './unix-clock.ts'

const STDOUT = 1

export interface OutputOptions {
  facts: RunFacts
  /** Flags that RnB had, for its lines and the folder's name. */
  flags: RnbArguments
  /** `-` for standard output, a file, or neither. */
  results?: string
  /** Folder of log folders; no logs without it. */
  logRoot?: string
  /** The configuration, for a copy beside the logs. */
  config: { file: string; text: string }
  quiet: boolean
  /** Notes are said as they come, not only in the summary. */
  verbose?: boolean
  /** The reader of standard output has gone: the run should end quietly. */
  onClosed(): void
  /** File descriptor of standard output. */
  stdout?: number
  people?: People
}

/** How a run ended, as its caller knows it. */
export type OutputEnd = Omit<RunEnd, 'clock' | 'logDir'> & {
  /** One of TERMINATION. */
  termination: number
  /** Further files for the log folder, by name. */
  attachments?: Readonly<Record<string, string>>
}

/** All outputs of one run: JSON Lines on standard output and in files, RnB's logs, and lines for people. */
export class RunOutput {
  readonly collector: Collector
  readonly people: People
  readonly #stdout: LineWriter
  readonly #file: LinesFile | undefined
  readonly #logs: LogFolder | undefined
  readonly #files: LineWriter[]
  /** What people have been warned of. */
  readonly #said = new Set<string>()
  /** An output that was asked for and got lost, in a sentence. */
  #lost: string | undefined
  #clock = UnixClock.now()
  /** Of the run; before it begins, of its preparation. */
  #startNs = monotonicNs()

  /** Opens everything. @throws {UsageError} if the file for results can't be written */
  constructor(readonly options: OutputOptions) {
    const { facts, flags, results, logRoot } = options
    this.people = options.people ?? new People(options.quiet)
    this.people.say(argumentsLine(flags))
    this.#stdout = new LineWriter(options.stdout ?? STDOUT, {
      onClosed: options.onClosed,
      onError: error => this.lose('standard output', error),
    })
    this.#file =
      results === undefined || results === '-'
        ? undefined
        : openResults(results, error => this.lose(results, error))
    const logs =
      logRoot === undefined
        ? undefined
        : LogFolder.open(logRoot, jobName(flags, new Date()), warning => this.warn(warning))
    this.#logs = logs instanceof LogFolder ? logs : undefined
    this.#files = [this.#file?.lines, this.#logs?.results.lines].filter(writer => writer !== undefined)
    this.collector = new Collector(facts, [...(results === '-' ? [this.#stdout] : []), ...this.#files])
    this.collector.start(this.#startNs)
    if (logs && 'warning' in logs) this.warn(logs.warning)
  }

  /** Said at once, and again in the summary. */
  warn(message: string): void {
    this.#say(message)
    this.collector.warn(message)
  }

  #say(message: string): void {
    if (!this.#said.has(message)) this.people.say(`warning: ${message}`)
    this.#said.add(message)
  }

  /** An output that was asked for can't be written: the run has failed, and goes on. */
  lose(what: string, error: Error): void {
    this.#lost ??= `${what} could not be written: ${error.message}`
    this.warn(`${what} could not be written: ${error.message}`)
  }

  /** Something that the summary should say of the run; said at once too, to those who asked for that. */
  note(message: string): void {
    if (this.options.verbose && !this.#said.has(message)) this.people.say(`note: ${message}`)
    this.#said.add(message)
    this.collector.note(message)
  }

  /** The clock starts. */
  started(startNs: number): void {
    this.#startNs = startNs
    this.#clock = UnixClock.now()
    this.collector.start(startNs)
    this.people.say(startLine(this.#clock, startNs))
    this.people.startBar(this.options.facts.ledger.size.requests)
  }

  /** @param leaf which of the last steps is done with it */
  completed(request: number, leaf: number): void {
    this.collector.complete(request, leaf)
    this.people.update(this.collector.completed, this.collector.failed)
  }

  failed(request: number, step: number, code: string, message: string): void {
    this.collector.fail(request, step, code, message)
    this.people.update(this.collector.completed, this.collector.failed)
  }

  /** Writes the summary everywhere, and the logs. Returns the summary. */
  async finish(end: OutputEnd): Promise<SummaryLine> {
    const { facts, flags, config } = this.options
    const { collector, people } = this
    const clock = this.#clock
    people.stopBar()
    const summary = collector.summary({ ...end, clock, ...(this.#logs && { logDir: this.#logs.path }) })
    await collector.written()
    this.#judge(summary)
    for (const lines of this.#files) lines.write(JSON.stringify(summary))
    const fault = await this.#file?.finish()
    if (fault) this.lose(this.options.results!, fault)
    this.#judge(summary)
    const contents = {
      facts,
      cards: collector.cards,
      done: collector.done,
      flags,
      clock,
      startNs: this.#startNs,
      endNs: end.endNs,
      termination: end.termination,
      config,
      summary,
      ...(end.attachments && { attachments: end.attachments }),
    }
    for (const warning of (await this.#logs?.finish(contents)) ?? []) this.#late(summary, warning)
    this.#stdout.write(JSON.stringify(summary))
    await this.#stdout.flushed()
    this.#judge(summary)

    const measured = contents.done.filter(request => request >= facts.warmup)
    const { completed, failed, asked } = summary.requests
    people.say(
      ...endLines(clock, this.#startNs, end.endNs, completed + failed === asked ? asked : undefined),
      ...averageLines(collector.cards, measured, completed),
      percentileTable(summary),
      ...closingLines(summary),
    )
    return summary
  }

  /** Leaves no files: the run never began. */
  discard(): void {
    this.people.stopBar()
    this.#file?.abandon()
    this.#logs?.discard()
  }

  #late(summary: SummaryLine, message: string): void {
    this.#say(message)
    if (!summary.warnings.includes(message)) summary.warnings.push(message)
  }

  /** A run that has lost an output has failed, however well it went otherwise. */
  #judge(summary: SummaryLine): void {
    if (this.#lost === undefined) return
    this.#late(summary, this.#lost)
    if (summary.exit.status === 0) summary.exit = { status: 1, reason: 'failed', message: this.#lost }
  }
}

function openResults(path: string, onFault: (error: Error) => void): LinesFile {
  try {
    return new LinesFile(path, onFault)
  } catch (error) {
    throw new UsageError(`--results ${path}: ${(error as Error).message}`)
  }
}

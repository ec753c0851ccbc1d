import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import type { SummaryLine } from '../results/schema.ts'
import { PointFolder } from './folder.ts'
import type { Flags } from './grid.ts'

/** How a run ended: with figures, or why there are none. */
export type PointEnd =
  | { readonly kind: 'measured'; readonly summary: SummaryLine; readonly earlier: boolean }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'interrupted' }

/** Exit statuses of runs that are measurements: done, a queue full, every video failed. */
const MEASURED = new Set([0, 3, 4])
const USAGE = 2
const INTERRUPTED = 130

/** Runs points as processes of their own, one after the other: none disturbs the next with what it leaves. */
export class Runner {
  #child: Bun.Subprocess | undefined
  #stopped = false

  /**
   * @param command - of rnb itself: its executable, or Bun with the entry point
   * @param out - folder of the points' folders
   */
  constructor(
    readonly command: readonly string[],
    readonly out: string,
  ) {}

  /** The run at work finishes what is in flight, and no other starts. */
  stop(): void {
    this.#stopped = true
    this.#child?.kill('SIGINT')
  }

  /** Has rnb look at a point's flags and files, and run nothing. @throws {UsageError} if they are wrong */
  check(flags: Flags): void {
    const { stderr, exitCode } = Bun.spawnSync([...this.#words(flags), '--check', '--quiet'])
    if (exitCode === 0) return
    throw new UsageError(lastLine(stderr.toString()) ?? `rnb run --check ended with exit status ${exitCode}`)
  }

  #words(flags: Flags): string[] {
    return [...this.command, 'run', ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)]
  }

  /** Whether a point ran before: `run` takes no time then. */
  ran(name: string): boolean {
    return new PointFolder(join(this.out, name)).ended
  }

  /** Runs a point, unless it ran before. @throws {UsageError} if its flags are wrong */
  async run(name: string, flags: Flags): Promise<PointEnd> {
    const folder = new PointFolder(join(this.out, name))
    const summary = folder.earlier(flags)
    if (summary) return { kind: 'measured', summary, earlier: true }
    if (this.#stopped) return { kind: 'interrupted' }
    folder.begin(flags)
    const status = await this.#spawn(folder, flags)
    if (MEASURED.has(status)) return { kind: 'measured', summary: folder.finish(), earlier: false }
    if (status === INTERRUPTED) return { kind: 'interrupted' }
    const message = lastLine(readFileSync(folder.messages, 'utf8')) ?? `exit status ${status}`
    if (status === USAGE) throw new UsageError(message)
    return { kind: 'failed', message }
  }

  async #spawn(folder: PointFolder, flags: Flags): Promise<number> {
    const words = [...this.#words(flags), `--results=${folder.unfinished}`, `--log_dir=${folder.path}/logs`]
    const messages = openSync(folder.messages, 'w')
    try {
      this.#child = Bun.spawn(words, { stdin: 'ignore', stdout: 'ignore', stderr: messages })
      return await this.#child.exited
    } finally {
      this.#child = undefined
      closeSync(messages)
    }
  }
}

/** What a program said last, where that is where its error stands. */
const lastLine = (text: string): string | undefined =>
  text
    .split('\n')
    .filter(line => line.startsWith('rnb: '))
    .at(-1)
    ?.slice('rnb: '.length)

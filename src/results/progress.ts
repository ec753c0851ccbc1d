import { SingleBar } from 'cli-progress'

const FORMAT = '{bar} {value}/{total} videos, {failed} failed, {duration_formatted}, {eta_formatted} to go'
const CLEAR_LINE = '\r\x1b[K'

/** Where people read: lines, and below them a bar on a terminal. */
export interface PeopleStream {
  readonly isTTY?: boolean
  write(text: string): unknown
}

/** Text for people, on standard error: lines, and a progress bar where that is a terminal. */
export class People {
  readonly #bar: SingleBar | undefined
  #active = false

  /** @param quiet prints nothing */
  constructor(
    readonly quiet: boolean,
    readonly stream: PeopleStream & NodeJS.WritableStream = process.stderr,
  ) {
    if (quiet || !stream.isTTY) return
    this.#bar = new SingleBar({
      format: FORMAT,
      stream,
      // A signal is for the run to handle: it goes on to finish what is in flight.
      gracefulExit: false,
      clearOnComplete: true,
      barCompleteChar: '=',
      barIncompleteChar: ' ',
    })
  }

  say(...lines: string[]): void {
    if (this.quiet || lines.length === 0) return
    this.stream.write(`${this.#active ? CLEAR_LINE : ''}${lines.join('\n')}\n`)
  }

  startBar(total: number): void {
    this.#active = this.#bar !== undefined
    this.#bar?.start(total, 0, { failed: 0 })
  }

  /** Sets what the bar shows; the library decides when to draw it. */
  update(done: number, failed: number): void {
    if (this.#active) this.#bar?.update(done + failed, { failed })
  }

  /** Takes the bar off the screen. */
  stopBar(): void {
    if (this.#active) this.#bar?.stop()
    this.#active = false
  }
}

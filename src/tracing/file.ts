import { existsSync, statSync } from 'node:fs'
import { UsageError } from '../errors.ts'
import { AtomicFile } from '../results/atomic-file.ts'
import { Track } from './buffer.ts'
import { chromeText } from './chrome.ts'
import { type TraceSource, traceEvents } from './events.ts'

/** The file of a run's trace: complete, or absent. */
export class TraceFile {
  /** Tries to make it, and takes that away again. @throws {UsageError} if it can't be written */
  constructor(readonly path: string) {
    if (existsSync(path) && !statSync(path).isFile())
      throw new UsageError(`--trace ${path}: not a file; name one to write`)
    try {
      new AtomicFile(path).abandon()
    } catch (error) {
      throw new UsageError(`--trace ${path}: ${(error as Error).message}`)
    }
  }

  /**
   * Writes the trace of a run that has ended.
   * @returns how many records there were, and how many of them had given way to later ones
   * @throws {Error} of the system; there is no file then
   */
  write(source: TraceSource): { written: number; lost: number } {
    const tracks = source.tracks.map(({ handle }) => new Track(handle))
    const sum = (of: (track: Track) => number) => tracks.reduce((total, track) => total + of(track), 0)
    const counts = { written: sum(track => track.written), lost: sum(track => track.lost) }
    const file = new AtomicFile(this.path)
    try {
      const facts = { records: counts.written, lost: counts.lost, ...source.notes }
      for (const text of chromeText(traceEvents(source), facts)) file.write(text)
      file.commit()
    } catch (error) {
      file.abandon()
      throw error
    }
    return counts
  }
}

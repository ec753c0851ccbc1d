import { readFileSync } from 'node:fs'
import { parseStat } from '../src/telemetry/host.ts'

const read = () => parseStat(readFileSync('/proc/stat', 'utf8'))
/** Of the kernel, in /proc/stat. */
const TICKS_PER_S = 100

/** How much of the host other processes use, besides what is measured. */
export class Others {
  #from = read()

  /** The share of all cores, 0..1, that others had since the last call. @param ownS processor time of what is measured */
  share(ownS = 0): number {
    const [from, to] = [this.#from, read()]
    this.#from = to
    const all = to.all - from.all
    return all > 0 ? Math.max(0, to.busy - from.busy - ownS * TICKS_PER_S) / all : 0
  }
}

const GLANCE_MS = 500
const GLANCES = 3

/** Waits until others use less than a share of the host for a while, or for so long. @returns the share */
export function awaitQuiet(share: number, patienceS: number): number {
  const others = new Others()
  const end = performance.now() + 1000 * patienceS
  let quiet = 0
  for (;;) {
    Bun.sleepSync(GLANCE_MS)
    const now = others.share()
    quiet = now < share ? quiet + 1 : 0
    if (quiet >= GLANCES || performance.now() > end) return now
  }
}

import type { Presentation } from '../presentation.ts'
import type { Clip, ClipRun } from '../types.ts'

/** The positions at which decoding can start, as far as is known. */
export class Keyframes {
  /** Positions, in presentation order. */
  private readonly positions: number[] = []
  private readonly known = new Set<number>()

  /** @param isKey whether the container calls the packet at a position a keyframe. */
  constructor(
    private readonly presentation: Presentation,
    isKey: (position: number) => boolean,
  ) {
    const { rank } = presentation
    for (let position = 0; position < rank.length; position++)
      if (isKey(position)) this.positions.push(position)
    this.positions.sort((a, b) => rank[a]! - rank[b]!)
    for (const position of this.positions) this.known.add(position)
  }

  has(position: number): boolean {
    return this.known.has(position)
  }

  /** Forgets a keyframe that turned out to be none. */
  remove(position: number): void {
    if (this.known.delete(position)) this.positions.splice(this.positions.indexOf(position), 1)
  }

  /** The last keyframe presented no later than the packet at `target`, and not decoded after it; 0 if there is none. */
  entryFor(target: number): number {
    const { rank } = this.presentation
    let low = 0
    let high = this.positions.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (rank[this.positions[middle]!]! <= rank[target]!) low = middle + 1
      else high = middle
    }
    for (let i = low - 1; i >= 0; i--) if (this.positions[i]! <= target) return this.positions[i]!
    return 0
  }
}

/** A stretch of packets, by positions in decode order, that is decoded from its first one on. */
export interface Stretch {
  /** Position of the keyframe that it starts at, or 0 where no keyframe comes early enough. */
  start: number
  /** Position of the wanted frame that comes last. */
  end: number
}

/**
 * The stretches that hold what the wanted frames depend on, ascending and apart.
 *
 * Each run of consecutive wanted frames goes from the last keyframe that is not presented after its first frame to the
 * one of its frames that is last in decode order. Runs that overlap in decode order are decoded in one go; between
 * the others, whole groups of pictures are left out.
 *
 * @param wanted presentation indices, ascending.
 */
export function planStretches(
  presentation: Presentation,
  keyframes: Keyframes,
  wanted: readonly number[],
): Stretch[] {
  const { position } = presentation
  const stretches: Stretch[] = []
  for (let i = 0; i < wanted.length; ) {
    const first = position[wanted[i]!]!
    let end = first
    let previous = wanted[i]!
    for (i++; i < wanted.length && wanted[i]! <= previous + 1; i++) {
      previous = wanted[i]!
      end = Math.max(end, position[previous]!)
    }
    stretches.push({ start: keyframes.entryFor(first), end })
  }
  return merged(stretches.sort((a, b) => a.start - b.start))
}

function merged(stretches: readonly Stretch[]): Stretch[] {
  const apart: Stretch[] = []
  for (const stretch of stretches) {
    const last = apart.at(-1)
    if (last && stretch.start <= last.end) last.end = Math.max(last.end, stretch.end)
    else apart.push(stretch)
  }
  return apart
}

/** As `Video.runs` says. @param clips in presentation order */
export function clipRuns(
  { position }: Presentation,
  keyframes: Keyframes,
  clips: readonly Clip[],
): ClipRun[] {
  const runs: (ClipRun & { entry: number })[] = []
  for (const [clip, { first, count }] of clips.entries()) {
    const frames = position.slice(first, first + count)
    const entry = keyframes.entryFor(frames[0]!)
    const packets = Math.max(...frames) + 1 - entry
    const last = runs.at(-1)
    if (last?.entry === entry) {
      last.count++
      last.packets = Math.max(last.packets, packets)
    } else runs.push({ first: clip, count: 1, packets, entry })
  }
  return runs.map(({ entry: _, ...run }) => run)
}

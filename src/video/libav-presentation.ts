import { type PictureKind, shownOrder } from './libav-pictures.ts'
import { Presentation } from './presentation.ts'

/** What the first reading of a stream notes of each packet. */
export interface PacketFacts {
  /** Presentation time in units of the stream's time base, if the container gives one. */
  time: number | undefined
  key: boolean
  /** Decoded but not shown: outside of the edit list. */
  discard: boolean
  empty: boolean
  /** Where the coded picture tells it. */
  kind: PictureKind | undefined
}

/** The order by timestamps, or undefined if some are missing or the same. */
function orderByTime(packets: readonly PacketFacts[]): number[] | undefined {
  const times = new Set<number>()
  const positions: number[] = []
  for (const [position, { time, empty }] of packets.entries()) {
    if (empty) continue
    if (time === undefined || times.has(time)) return undefined
    times.add(time)
    positions.push(position)
  }
  return positions.sort((a, b) => packets[a]!.time! - packets[b]!.time!)
}

/**
 * Finds which packets are shown, in which order: by the coded pictures' kinds where these tell, else by timestamps,
 * else by decoding.
 *
 * Nothing before the first keyframe can be decoded. Pictures that follow it and are shown before it can only if they
 * do not refer to anything earlier, which the decoder is asked for.
 * @param decoded decodes packets `from` up to (not including) `to`; decode positions in presentation order.
 */
export function presentationOf(
  packets: readonly PacketFacts[],
  decoded: (from: number, to: number) => number[],
): Presentation {
  const first = packets.findIndex(packet => packet.key && !packet.empty)
  const told = packets.every(packet => packet.kind !== undefined)
  let order = told ? shownOrder(packets.map(packet => packet.kind!)) : orderByTime(packets)
  if (order === undefined || first < 0) order = decoded(0, packets.length)
  else {
    order = order.filter(position => position >= first)
    const leading = order.slice(0, order.indexOf(first))
    if (leading.length > 0) {
      const shown = new Set(decoded(first, Math.max(...leading) + 1))
      order = order.filter(position => shown.has(position) || !leading.includes(position))
    }
  }
  const ranks = new Map(order.map((position, rank) => [position, rank]))
  // A packet that brings no frame goes with the one before it.
  const times = new Float64Array(packets.length)
  for (let position = 0; position < packets.length; position++) {
    times[position] = ranks.get(position) ?? times[position - 1] ?? -1
  }
  return new Presentation(times, position => ranks.has(position) && !packets[position]!.discard)
}

import { type PictureKind, shownOrder } from './libav-pictures.ts'

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

/** Which packets are shown, and when. */
export interface Presentation {
  /** By decode position: presentation index of the packet's frame; negative if it is not shown. */
  indices: Int32Array
  /** By decode position: rank among all frames that come out of the decoder, shown or not; -1 if none does. */
  ranks: Int32Array
  /** By presentation index: decode position. */
  positions: Int32Array
}

/** Ranks of packets that no frame comes of lie below those of frames before the first shown one. */
const NEVER = -(2 ** 30)

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
 * @param timed whether each packet is a whole picture, so that timestamps can be trusted to be one a frame.
 */
export function presentation(
  packets: readonly PacketFacts[],
  timed: boolean,
  decoded: (from: number, to: number) => number[],
): Presentation {
  const first = packets.findIndex(packet => packet.key && !packet.empty)
  const told = packets.every(packet => packet.kind !== undefined)
  let order = told
    ? shownOrder(packets.map(packet => packet.kind!))
    : timed
      ? orderByTime(packets)
      : undefined
  if (order === undefined || first < 0) order = decoded(0, packets.length)
  else {
    order = order.filter(position => position >= first)
    const leading = order.slice(0, order.indexOf(first))
    if (leading.length > 0) {
      const shown = new Set(decoded(first, Math.max(...leading) + 1))
      order = order.filter(position => shown.has(position) || !leading.includes(position))
    }
  }
  return numbered(packets, order)
}

function numbered(packets: readonly PacketFacts[], order: readonly number[]): Presentation {
  const ranks = new Int32Array(packets.length).fill(-1)
  for (const [rank, position] of order.entries()) ranks[position] = rank
  const positions = Int32Array.from(order.filter(position => !packets[position]!.discard))
  const firstRank = positions.length > 0 ? ranks[positions[0]!]! : 0
  const indices = Int32Array.from(packets, (_, position) => {
    const rank = ranks[position]!
    return rank >= 0 && rank < firstRank ? rank - firstRank : NEVER + position
  })
  for (const [index, position] of positions.entries()) indices[position] = index
  return { indices, ranks, positions }
}

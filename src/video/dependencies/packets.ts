import type { Presentation } from '../presentation.ts'
import type { Packet, StreamInfo } from '../types.ts'
import { encoderVersion } from './h264.ts'
import type { Picture, PictureReader } from './picture.ts'
import { type Keyframes, planStretches, type Stretch } from './plan.ts'

/** A stream whose packets are read by position in decode order. */
export interface PacketSource {
  readonly presentation: Presentation
  /** What the container calls keyframes; those that are found to be none are removed. */
  readonly keyframes: Keyframes
  /** Where packets may depend on more of the stream than their pictures say. */
  readonly info?: StreamInfo
  /** The packet's bytes; empty where the container has none for it. Positions mostly ascend. */
  read(position: number): Uint8Array | Promise<Uint8Array>
  /** A new reader of the stream's pictures. */
  pictures(): PictureReader
}

/**
 * The packets that the wanted frames depend on, in decode order: of each stretch its keyframe, the references that
 * are not its leading pictures, and the wanted frames.
 *
 * @param wanted presentation indices, ascending, each of a frame that there is.
 */
export async function* dependentPackets(
  source: PacketSource,
  wanted: readonly number[],
): AsyncGenerator<Packet, void, undefined> {
  const needed = new Set(wanted)
  const { stretches, entries } = await entriesOf(source, wanted)
  let before = await startOf(source, stretches[0])
  for (let i = 0; i < stretches.length; i++) {
    let restart = i > 0
    for await (const packet of walk(source, stretches[i]!, entries, needed)) {
      const data = before.length > 0 ? Buffer.concat([before, packet.data]) : packet.data
      yield restart ? { ...packet, data, restart } : { ...packet, data }
      restart = false
      before = NOTHING
    }
  }
}

const NOTHING = new Uint8Array(0)

/** What stands in the stream's first packet alone and has to go before the first that is sent. */
async function startOf(source: PacketSource, first: Stretch | undefined): Promise<Uint8Array> {
  if (first === undefined || first.start === 0 || source.info?.codec !== 'h264') return NOTHING
  return encoderVersion(source.info, await source.read(0))
}

/**
 * Plans, and looks at the pictures that the plan starts at: containers call things keyframes that decoding can't
 * start at, such as the P picture where a gradual refresh begins. Where one is wrong, the plan reaches further back.
 */
async function entriesOf(source: PacketSource, wanted: readonly number[]) {
  const { presentation, keyframes } = source
  const entries = new Map<number, Uint8Array>()
  for (;;) {
    const stretches = planStretches(presentation, keyframes, wanted)
    let wrong = false
    for (const { start } of stretches) {
      if (!keyframes.has(start) || entries.has(start)) continue
      const data = await source.read(start)
      if (source.pictures()(data).entry) entries.set(start, data)
      else {
        keyframes.remove(start)
        wrong = true
      }
    }
    if (!wrong) return { stretches, entries }
  }
}

/** The packets of one stretch. */
async function* walk(
  source: PacketSource,
  { start, end }: Stretch,
  entries: ReadonlyMap<number, Uint8Array>,
  needed: ReadonlySet<number>,
): AsyncGenerator<Packet, void, undefined> {
  const { rank, index } = source.presentation
  const read = source.pictures()
  let entry: Picture | undefined
  // Unreferenced pictures that a next one may still inherit from.
  let lingering: Packet[] = []
  for (let position = start; position <= end; position++) {
    const data = entries.get(position) ?? (await source.read(position))
    if (data.length === 0) continue
    const picture = read(data)
    if (position === start && entries.has(start)) entry = picture
    const packet = { data, index: index[position]!, key: source.keyframes.has(position) }
    const leading = entry !== undefined && !entry.closed && rank[position]! < rank[start]!
    if (needed.has(packet.index) || (picture.reference && !leading)) {
      if (!picture.fresh) yield* lingering
      lingering = []
      yield packet
    } else if (picture.lingers && !leading) lingering.push(packet)
  }
}

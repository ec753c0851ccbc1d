import type { Presentation } from '../presentation.ts'
import type { Packet, StreamInfo } from '../types.ts'
import { encoderVersion } from './h264.ts'
import type { Picture, PictureReader } from './picture.ts'
import { type Keyframes, planStretches, type Stretch } from './plan.ts'

/** A stream's order, and how to read what its pictures depend on. */
export interface CodedStream {
  readonly presentation: Presentation
  /** What the container calls keyframes; those that are found to be none are removed. */
  readonly keyframes: Keyframes
  /** Where packets may depend on more of the stream than their pictures say. */
  readonly info?: StreamInfo
  /** A new reader of the stream's pictures. */
  pictures(): PictureReader
}

/** A stream whose packets are read by position in decode order. */
export interface PacketSource extends CodedStream {
  /** The packet's bytes; empty where the container has none for it. Positions mostly ascend. */
  read(position: number): Uint8Array | Promise<Uint8Array>
}

/** Asks for the packet at a position, to be answered with its bytes; or gives a packet that is depended on. */
type Step = number | Packet
type Steps<T = void> = Generator<Step, T, Uint8Array>

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
  const steps = dependencySteps(source, wanted)
  for (let step = steps.next(); !step.done; ) {
    if (typeof step.value === 'number') step = steps.next(await source.read(step.value))
    else {
      yield step.value
      step = steps.next(NOTHING)
    }
  }
}

/** The same of a stream whose packets are read at once. */
export function* readyDependentPackets(
  source: CodedStream,
  wanted: readonly number[],
  read: (position: number) => Uint8Array,
): Generator<Packet, void, undefined> {
  const steps = dependencySteps(source, wanted)
  for (let step = steps.next(); !step.done; ) {
    if (typeof step.value === 'number') step = steps.next(read(step.value))
    else {
      yield step.value
      step = steps.next(NOTHING)
    }
  }
}

function* dependencySteps(source: CodedStream, wanted: readonly number[]): Steps {
  const needed = new Set(wanted)
  const { stretches, entries } = yield* entriesOf(source, wanted)
  let before = yield* startOf(source, stretches[0])
  for (let i = 0; i < stretches.length; i++) {
    let restart = i > 0
    const steps = walk(source, stretches[i]!, entries, needed)
    for (let step = steps.next(); !step.done; ) {
      if (typeof step.value === 'number') {
        step = steps.next(yield step.value)
        continue
      }
      const packet = step.value
      if (before.length > 0) packet.data = Buffer.concat([before, packet.data])
      if (restart) packet.restart = true
      yield packet
      restart = false
      before = NOTHING
      step = steps.next(NOTHING)
    }
  }
}

const NOTHING = new Uint8Array(0)

/** What stands in the stream's first packet alone and has to go before the first that is sent. */
function* startOf(source: CodedStream, first: Stretch | undefined): Steps<Uint8Array> {
  if (first === undefined || first.start === 0 || source.info?.codec !== 'h264') return NOTHING
  return encoderVersion(source.info, yield 0)
}

/**
 * Plans, and looks at the pictures that the plan starts at: containers call things keyframes that decoding can't
 * start at, such as the P picture where a gradual refresh begins. Where one is wrong, the plan reaches further back.
 */
function* entriesOf(
  source: CodedStream,
  wanted: readonly number[],
): Steps<{ stretches: Stretch[]; entries: Map<number, Uint8Array> }> {
  const { presentation, keyframes } = source
  const entries = new Map<number, Uint8Array>()
  for (;;) {
    const stretches = planStretches(presentation, keyframes, wanted)
    let wrong = false
    for (const { start } of stretches) {
      if (!keyframes.has(start) || entries.has(start)) continue
      const data = yield start
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
function* walk(
  source: CodedStream,
  { start, end }: Stretch,
  entries: ReadonlyMap<number, Uint8Array>,
  needed: ReadonlySet<number>,
): Steps {
  const { rank, index } = source.presentation
  const read = source.pictures()
  let entry: Picture | undefined
  // Unreferenced pictures that a next one may still inherit from.
  let lingering: Packet[] = []
  for (let position = start; position <= end; position++) {
    const data = entries.get(position) ?? (yield position)
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

import { configuredSequence } from './dependencies/h264.ts'
import { shownSize } from './mediabunny-stream.ts'
import { boxesIn, Content } from './mp4-boxes.ts'
import type { Mp4Track } from './mp4-tables.ts'
import type { Colour, StreamInfo } from './types.ts'

/** Sample entries whose parameter sets stand in the named box, and what they hold. */
const CODECS: Readonly<Record<string, { codec: string; configuration: string }>> = {
  avc1: { codec: 'h264', configuration: 'avcC' },
  hvc1: { codec: 'hevc', configuration: 'hvcC' },
  hev1: { codec: 'hevc', configuration: 'hvcC' },
}

/** Of a visual sample entry's fields (ISO/IEC 14496-12, 12.1.3), and where its boxes begin. */
const WIDTH = 24
const ENTRY_BYTES = 78
/** matrix_coefficients that are taken from the container; what others mean is left to the stream to say. */
const MATRICES = [0, 1, 5, 6, 9]

/**
 * What the movie box says of an H.264 or HEVC stream.
 *
 * @returns undefined for other codecs, and where it takes more than a look at these boxes to tell.
 * @throws {RangeError} where a box ends before its fields.
 */
export function describeTrack({ boxes }: Mp4Track): StreamInfo | undefined {
  const [stsd, ...otherDescriptions] = boxes.stsd
  const rotation = rotationOf(boxes.mvhd.at(-1), boxes.tkhd.at(-1))
  if (!stsd || otherDescriptions.length > 0 || rotation === undefined) return undefined
  for (const { type, start, end } of boxesIn(stsd, 8)) {
    const known = CODECS[type]
    if (known === undefined || end > stsd.length) return undefined
    return describeEntry(stsd.subarray(start, end), known, rotation)
  }
  return undefined
}

function describeEntry(
  entry: Uint8Array,
  { codec, configuration }: (typeof CODECS)[string],
  rotation: StreamInfo['rotation'],
): StreamInfo | undefined {
  const fields = new Content(entry, WIDTH)
  const container = { width: fields.u16(), height: fields.u16() }
  let description: Uint8Array | undefined
  let colour: Colour | undefined
  for (const { type, start, end } of boxesIn(entry, ENTRY_BYTES)) {
    if (end > entry.length) return undefined
    const content = entry.subarray(start, end)
    // A copy: decoders keep it to compare it with the next video's, when the file has been closed.
    if (type === configuration) description = content.slice()
    if (type === 'colr') colour = colourOf(content) ?? colour
  }
  // Where it is missing, each packet may bring parameter sets; where a matrix is, they say it.
  if (!description || description.length === 0 || container.width === 0) return undefined
  const sequence = codec === 'h264' ? configuredSequence(description) : undefined
  return {
    codec,
    description,
    ...(sequence ? shownSize(sequence, container) : container),
    rotation,
    colour: { ...knownColour(sequence?.matrix, sequence?.fullRange), ...colour },
  }
}

/** Only with a matrix does "not full" mean more than that nothing was said. */
function knownColour(matrix: number | undefined, fullRange: boolean | undefined): Colour {
  const known = matrix !== undefined && MATRICES.includes(matrix)
  return {
    ...(known && { matrix }),
    ...((fullRange || (known && fullRange === false)) && { fullRange }),
  }
}

/** A colr box (12.1.5), if it is one of numbers. */
function colourOf(data: Uint8Array): Colour | undefined {
  const content = new Content(data)
  const type = content.type()
  if (type !== 'nclx' && type !== 'nclc') return undefined
  content.skip(4)
  const matrix = content.u16()
  const fullRange = type === 'nclx' ? (content.u8() & 0x80) !== 0 : undefined
  return knownColour(matrix, fullRange)
}

/** Offsets of the matrices in mvhd and tkhd, by version of the box. */
const MATRIX_AT = { mvhd: [36, 48], tkhd: [40, 52] } as const
/** a, b, c and d of a matrix, and the clockwise rotation that it stands for. */
const ROTATIONS: Readonly<Record<string, StreamInfo['rotation']>> = {
  '1 0 0 1': 0,
  '0 1 -1 0': 90,
  '-1 0 0 -1': 180,
  '0 -1 1 0': 270,
}

/** The rotation of a track in a movie that is not transformed itself; undefined for any other transformation. */
function rotationOf(mvhd: Uint8Array | undefined, tkhd: Uint8Array | undefined) {
  if (!mvhd || !tkhd) return undefined
  const movie = transformation(mvhd, MATRIX_AT.mvhd)
  const track = transformation(tkhd, MATRIX_AT.tkhd)
  return movie === '1 0 0 1' && track !== undefined ? ROTATIONS[track] : undefined
}

function transformation(data: Uint8Array, at: readonly [number, number]): string | undefined {
  const offset = at[data[0]!]
  if (offset === undefined) return undefined
  const content = new Content(data, offset)
  const fixed = () => content.i32() / 65536
  const [a, b] = [fixed(), fixed()]
  content.skip(4)
  const [c, d] = [fixed(), fixed()]
  return `${a} ${b} ${c} ${d}`
}

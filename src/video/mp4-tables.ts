import { VideoError } from '../errors.ts'
import type { FileReader } from './file-reader.ts'
import { boxAt, boxesIn, Content } from './mp4-boxes.ts'

/** What an edit list shows of a track: presentation times in units of the track's timescale. */
export interface Edit {
  /** Where the shown part begins, after what is left empty before it. */
  start: number
  duration: number
}

/** What the tables of an ISO base media file (MP4, MOV) say beyond what mediabunny reads of them. */
export interface Mp4Tables {
  /** The major brand, empty without one. */
  brand: string
  /** Whether samples come in movie fragments. */
  fragmented: boolean
  /** The first video track, if there is one. */
  video?: {
    id: number
    /** The one edit that is shown, or undefined where all is. */
    edit?: Edit
    /** Why mediabunny would show the track in another way than FFmpeg, or take forever over it. */
    obstacle?: string
    /** What says where its samples lie, and what they are; undefined if some of them come in fragments. */
    track?: Mp4Track
  }
}

/** A track as its movie box describes it: contents of boxes, in the order in which they come. */
export interface Mp4Track {
  readonly timescale: number
  /** By how much presentation times are earlier than the sample tables say. */
  readonly mediaTime: number
  /** How many samples it has. */
  readonly samples: number
  readonly boxes: Readonly<Record<TrackBox, readonly Uint8Array[]>>
}

const TRACK_BOXES = [
  'mvhd',
  'tkhd',
  'stsd',
  'stts',
  'ctts',
  'stsz',
  'stz2',
  'stsc',
  'stco',
  'co64',
  'stss',
] as const
export type TrackBox = (typeof TRACK_BOXES)[number]

/** More packets than a stream is believed to have: 46 hours at 60 a second. */
const MAX_PACKETS = 1e7
/** mediabunny walks through a chunk's samples for each of them; so many steps take about 0.1 s. */
const MAX_CHUNK_STEPS = 1e8
const CONTAINERS = new Set(['moov', 'trak', 'edts', 'mdia', 'minf', 'stbl', 'mvex', 'moof', 'traf'])
/** Types that begin a file of this family. */
const FIRST_BOXES = new Set(['ftyp', 'moov', 'mdat', 'wide', 'free', 'skip', 'pnot', 'styp'])

/** What is gathered of one track. */
interface Track {
  id: number
  handler: string
  timescale: number
  edits: { duration: number; time: number; rate: number }[]
  boxes: Record<TrackBox, Uint8Array[]>
}

/** What the sample tables of a track claim, by counts alone. */
interface Claims {
  descriptions: number
  timed: number
  sized: number
  offsets: number
  chunks: { first: number; samples: number }[]
  chunkCount: number
}

/** Reads the tables of a movie box, and of movie fragments, box by box. */
class Tables {
  readonly tracks: Track[] = []
  timescale = 0
  fragmented = false
  fragmentSamples = 0
  brand = ''
  private header: Uint8Array[] = []

  /** @throws {RangeError} where a box ends before its fields. */
  read(data: Uint8Array, depth = 0): void {
    for (const { type, start, end } of boxesIn(data)) {
      const content = data.subarray(start, end)
      if (type === 'mvex') this.fragmented = true
      if (type === 'trak') this.tracks.push(newTrack(this.header))
      if (CONTAINERS.has(type)) {
        if (depth < 8) this.read(content, depth + 1)
      } else this.table(type, content)
    }
  }

  private table(type: string, data: Uint8Array): void {
    if (type === 'mvhd') {
      const content = new Content(data)
      content.skip(content.u8() === 1 ? 3 + 16 : 3 + 8)
      this.timescale = content.u32()
      this.header = [data]
    }
    if (type === 'trun') this.fragmentSamples += runSamples(new Content(data))
    const track = this.tracks.at(-1)
    if (track === undefined) return
    READ_TABLE[type]?.(new Content(data), track)
    if (isTrackBox(type)) track.boxes[type].push(data)
  }
}

const isTrackBox = (type: string): type is TrackBox => (TRACK_BOXES as readonly string[]).includes(type)

const newTrack = (header: Uint8Array[]): Track => ({
  id: 0,
  handler: '',
  timescale: 0,
  edits: [],
  boxes: {
    mvhd: [...header],
    tkhd: [],
    stsd: [],
    stts: [],
    ctts: [],
    stsz: [],
    stz2: [],
    stsc: [],
    stco: [],
    co64: [],
    stss: [],
  },
})

/** Samples that a track run claims: as many as it says, where it says nothing about any of them. */
function runSamples(content: Content): number {
  const flags = content.u32()
  const perSample = [0x100, 0x200, 0x400, 0x800].filter(flag => flags & flag).length * 4
  const count = content.u32()
  return perSample > 0 ? Math.min(count, content.left / perSample) : count
}

/** ISO/IEC 14496-12, chapter 8. All but `hdlr` are full boxes: version and flags come first. */
const READ_TABLE: Record<string, (content: Content, track: Track) => void> = {
  tkhd(content, track) {
    content.skip(content.u8() === 1 ? 3 + 16 : 3 + 8)
    track.id = content.u32()
  },
  mdhd(content, track) {
    content.skip(content.u8() === 1 ? 3 + 16 : 3 + 8)
    track.timescale = content.u32()
  },
  hdlr(content, track) {
    content.skip(8)
    // A second handler box, inside of `minf`, is QuickTime's data handler.
    if (track.handler === '') track.handler = content.type()
  },
  elst(content, track) {
    const long = content.u8() === 1
    content.skip(3)
    for (let count = content.u32(); count > 0 && content.left > 0; count--) {
      const duration = long ? content.u64() : content.u32()
      const time = long ? content.i64() : content.i32()
      track.edits.push({ duration, time, rate: content.i32() / 65536 })
    }
  },
}

/** @throws {RangeError} where a table ends before its entries. */
function claimsOf({ boxes }: Track): Claims {
  const claims: Claims = { descriptions: 1, timed: 0, sized: 0, offsets: 0, chunks: [], chunkCount: 0 }
  for (const data of boxes.stsd) claims.descriptions = countIn(data, 4)
  for (const data of boxes.stts) claims.timed += runsOf(data)
  for (const data of boxes.ctts) claims.offsets += runsOf(data)
  for (const data of [...boxes.stsz, ...boxes.stz2]) claims.sized = countIn(data, 8)
  for (const data of [...boxes.stco, ...boxes.co64]) claims.chunkCount = countIn(data, 4)
  for (const data of boxes.stsc) {
    const content = new Content(data, 4)
    for (let count = content.u32(); count > 0; count--) {
      claims.chunks.push({ first: content.u32(), samples: content.u32() })
      content.skip(4)
    }
  }
  return claims
}

/** The number at an offset of a table. */
const countIn = (data: Uint8Array, offset: number): number => new Content(data, offset).u32()

/** Samples in all runs of a table of runs. */
function runsOf(data: Uint8Array): number {
  const content = new Content(data, 4)
  let samples = 0
  for (let count = content.u32(); count > 0; count--) {
    samples += content.u32()
    content.skip(4)
  }
  return samples
}

/** Steps that mediabunny takes to find all samples: for each, through all samples of its chunk. */
function chunkSteps({ chunks, chunkCount, timed }: Claims): number {
  let steps = 0
  let samples = 0
  chunks.forEach((run, i) => {
    const end = chunks[i + 1]?.first ?? chunkCount + 1
    const count = Math.max(0, Math.min((end - run.first) * run.samples, timed - samples))
    samples += count
    steps += count * run.samples
  })
  // Samples past the last chunk are looked for there, too.
  return steps + Math.max(0, timed - samples) * (chunks.at(-1)?.samples ?? 0)
}

/** The edit that is shown of a track, and what of its edit list mediabunny does not follow. */
function editOf(track: Track, movieTimescale: number): { edit?: Edit; obstacle?: string } {
  if (track.edits.length === 0) return {}
  const { time, duration, rate } = track.edits.at(-1)!
  const empty = track.edits.slice(0, -1)
  if (time < 0 || rate !== 1 || movieTimescale === 0 || empty.some(edit => edit.time !== -1)) {
    return { obstacle: 'an edit list of several parts' }
  }
  const inTrack = (units: number) => Math.round((units / movieTimescale) * track.timescale)
  const start = empty.reduce((sum, edit) => sum + edit.duration, 0)
  return { edit: { start: inTrack(start), duration: inTrack(duration) } }
}

function obstacleOf(timescale: number, claims: Claims): string | undefined {
  if (timescale === 0) return 'a track without a timescale'
  if (claims.descriptions !== 1) return 'several sample descriptions'
  if (claims.timed !== claims.sized) return 'sample tables that disagree'
  if (claims.offsets > MAX_PACKETS) return 'more sample offsets than can be'
  return chunkSteps(claims) > MAX_CHUNK_STEPS ? 'very long chunks' : undefined
}

/** A header's worth of bytes, less at the end of the file. */
function header(file: FileReader, at: number): Uint8Array {
  return file.read(at, Math.min(at + 16, file.size))
}

/**
 * Looks through an ISO base media file's tables before anything is built from them.
 *
 * @returns undefined if the file is not of this family.
 * @throws {VideoError} `truncated` without a movie box; `damaged` if a table ends early or claims more than can be.
 */
export function readMp4Tables(file: FileReader): Mp4Tables | undefined {
  const first = boxAt(header(file, 0), 0)
  if (first === undefined || !FIRST_BOXES.has(first.type)) return undefined
  const tables = new Tables()
  const limit = Math.min(MAX_PACKETS, file.size)
  try {
    if (!readMovie(file, tables, limit))
      throw new VideoError('truncated', 'the file has no index (moov): its end is missing')
    return summary(tables, limit)
  } catch (error) {
    if (error instanceof RangeError)
      throw new VideoError('damaged', 'a table of the index ends before its entries')
    throw error
  }
}

/** Notes the brand, reads the movie box, and movie fragments. @returns whether there is a movie box */
function readMovie(file: FileReader, tables: Tables, limit: number): boolean {
  let movie = false
  for (let at = 0; at < file.size; ) {
    const box = boxAt(header(file, at), 0)
    if (box === undefined) break
    const end = at + box.end
    if (end > file.size) break
    if (box.type === 'ftyp' && box.end >= 12) tables.brand = new Content(header(file, at), box.start).type()
    if (box.type === 'moov' || box.type === 'moof') tables.read(file.read(at + box.start, end))
    if (box.type === 'moov') movie = true
    if (movie && !tables.fragmented) break
    if (tables.fragmentSamples > limit) {
      throw new VideoError('damaged', 'it claims more frames than it has bytes')
    }
    at = end
  }
  return movie
}

function summary({ brand, fragmented, tracks, timescale }: Tables, limit: number): Mp4Tables {
  const track = tracks.find(t => t.handler === 'vide')
  if (track === undefined) return { brand, fragmented }
  const claims = claimsOf(track)
  const { timed } = claims
  if (Math.min(timed, claims.sized) > limit) {
    throw new VideoError('damaged', `it claims ${timed} frames, more than it has bytes`)
  }
  // FFmpeg applies no edit list to fragments.
  const { edit, obstacle } = timed === 0 ? {} : editOf(track, timescale)
  const mixed = fragmented && timed > 0 ? 'samples both in fragments and outside' : undefined
  return {
    brand,
    fragmented,
    video: {
      id: track.id,
      edit,
      obstacle: obstacle ?? mixed ?? obstacleOf(track.timescale, claims),
      ...(!fragmented && { track: plainTrack(track, timed) }),
    },
  }
}

const plainTrack = ({ timescale, edits, boxes }: Track, samples: number): Mp4Track => ({
  timescale,
  mediaTime: edits.at(-1)?.time ?? 0,
  samples,
  boxes,
})

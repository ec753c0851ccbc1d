import { VideoError } from '../errors.ts'
import type { FileReader } from './file-reader.ts'

/** What an edit list shows of a track: presentation times in units of the track's timescale. */
export interface Edit {
  /** Where the shown part begins, after what is left empty before it. */
  start: number
  duration: number
}

/** What the tables of an ISO base media file (MP4, MOV) say beyond what mediabunny reads of them. */
export interface Mp4Tables {
  /** Whether samples come in movie fragments. */
  fragmented: boolean
  /** The first video track, if there is one. */
  video?: {
    id: number
    /** The one edit that is shown, or undefined where all is. */
    edit?: Edit
    /** Why mediabunny would show the track in another way than FFmpeg, or take forever over it. */
    obstacle?: string
  }
}

/** More packets than a stream is believed to have: 46 hours at 60 a second. */
const MAX_PACKETS = 1e7
/** mediabunny walks through a chunk's samples for each of them; so many steps take about 0.1 s. */
const MAX_CHUNK_STEPS = 1e8
const CONTAINERS = new Set(['moov', 'trak', 'edts', 'mdia', 'minf', 'stbl', 'mvex', 'moof', 'traf'])
/** Types that begin a file of this family. */
const FIRST_BOXES = new Set(['ftyp', 'moov', 'mdat', 'wide', 'free', 'skip', 'pnot', 'styp'])

interface Box {
  type: string
  /** Of its content. */
  start: number
  end: number
}

/** A big-endian view of a box's content; reading past the end throws a RangeError, as a DataView does. */
class Content {
  private readonly view: DataView

  constructor(
    readonly data: Uint8Array,
    private at = 0,
  ) {
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  }
  get left(): number {
    return this.data.length - this.at
  }
  u8(): number {
    return this.view.getUint8(this.at++)
  }
  u32(): number {
    this.at += 4
    return this.view.getUint32(this.at - 4)
  }
  i32(): number {
    this.at += 4
    return this.view.getInt32(this.at - 4)
  }
  u64(): number {
    return this.u32() * 2 ** 32 + this.u32()
  }
  i64(): number {
    return this.i32() * 2 ** 32 + this.u32()
  }
  type(): string {
    return String.fromCharCode(this.u8(), this.u8(), this.u8(), this.u8())
  }
  skip(bytes: number): void {
    this.at += bytes
  }
}

/** The box whose header is at `offset` of the data, its end as it says. */
function boxAt(data: Uint8Array, offset: number): Box | undefined {
  if (data.length - offset < 8) return undefined
  const content = new Content(data, offset)
  let size = content.u32()
  const type = content.type()
  let start = offset + 8
  if (size === 1) {
    if (data.length - offset < 16) return undefined
    size = content.u64()
    start += 8
  }
  return offset + size < start ? undefined : { type, start, end: offset + size }
}

/** What is gathered of one track. */
interface Track {
  id: number
  handler: string
  timescale: number
  descriptions: number
  edits: { duration: number; time: number; rate: number }[]
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

  /** @throws {RangeError} where a box ends before its fields. */
  read(data: Uint8Array, depth = 0): void {
    for (let at = 0; at < data.length; ) {
      const box = boxAt(data, at)
      if (box === undefined) return
      const content = data.subarray(box.start, box.end)
      if (box.type === 'mvex') this.fragmented = true
      if (box.type === 'trak') this.tracks.push(newTrack())
      if (CONTAINERS.has(box.type)) {
        if (depth < 8) this.read(content, depth + 1)
      } else this.table(box.type, new Content(content))
      at = box.end
    }
  }

  private table(type: string, content: Content): void {
    if (type === 'mvhd') {
      content.skip(content.u8() === 1 ? 3 + 16 : 3 + 8)
      this.timescale = content.u32()
    }
    if (type === 'trun') this.fragmentSamples += runSamples(content)
    const track = this.tracks.at(-1)
    if (track) READ_TABLE[type]?.(content, track)
  }
}

const newTrack = (): Track => ({
  id: 0,
  handler: '',
  timescale: 0,
  descriptions: 1,
  edits: [],
  timed: 0,
  sized: 0,
  offsets: 0,
  chunks: [],
  chunkCount: 0,
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
  stsd(content, track) {
    content.skip(4)
    track.descriptions = content.u32()
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
  stts(content, track) {
    content.skip(4)
    for (let count = content.u32(); count > 0; count--) {
      track.timed += content.u32()
      content.skip(4)
    }
  },
  ctts(content, track) {
    content.skip(4)
    for (let count = content.u32(); count > 0; count--) {
      track.offsets += content.u32()
      content.skip(4)
    }
  },
  stsz(content, track) {
    content.skip(8)
    track.sized = content.u32()
  },
  stz2(content, track) {
    content.skip(8)
    track.sized = content.u32()
  },
  stsc(content, track) {
    content.skip(4)
    for (let count = content.u32(); count > 0; count--) {
      track.chunks.push({ first: content.u32(), samples: content.u32() })
      content.skip(4)
    }
  },
  stco(content, track) {
    content.skip(4)
    track.chunkCount = content.u32()
  },
  co64(content, track) {
    content.skip(4)
    track.chunkCount = content.u32()
  },
}

/** Steps that mediabunny takes to find all samples: for each, through all samples of its chunk. */
function chunkSteps({ chunks, chunkCount, timed }: Track): number {
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

function obstacleOf(track: Track): string | undefined {
  if (track.timescale === 0) return 'a track without a timescale'
  if (track.descriptions !== 1) return 'several sample descriptions'
  if (track.timed !== track.sized) return 'sample tables that disagree'
  if (track.offsets > MAX_PACKETS) return 'more sample offsets than can be'
  return chunkSteps(track) > MAX_CHUNK_STEPS ? 'very long chunks' : undefined
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
  let movie = false
  try {
    for (let at = 0; at < file.size; ) {
      const box = boxAt(header(file, at), 0)
      if (box === undefined) break
      const end = at + box.end
      if (end > file.size) break
      if (box.type === 'moov' || box.type === 'moof') tables.read(file.read(at + box.start, end))
      if (box.type === 'moov') movie = true
      if (movie && !tables.fragmented) break
      if (tables.fragmentSamples > limit) {
        throw new VideoError('damaged', 'it claims more frames than it has bytes')
      }
      at = end
    }
  } catch (error) {
    if (error instanceof RangeError)
      throw new VideoError('damaged', 'a table of the index ends before its entries')
    throw error
  }
  if (!movie) throw new VideoError('truncated', 'the file has no index (moov): its end is missing')
  return summary(tables, limit)
}

function summary(tables: Tables, limit: number): Mp4Tables {
  const { fragmented } = tables
  const track = tables.tracks.find(t => t.handler === 'vide')
  if (track === undefined) return { fragmented }
  if (Math.min(track.timed, track.sized) > limit) {
    throw new VideoError('damaged', `it claims ${track.timed} frames, more than it has bytes`)
  }
  // FFmpeg applies no edit list to fragments.
  const { edit, obstacle } = track.timed === 0 ? {} : editOf(track, tables.timescale)
  const mixed = fragmented && track.timed > 0 ? 'samples both in fragments and outside' : undefined
  return { fragmented, video: { id: track.id, edit, obstacle: obstacle ?? mixed ?? obstacleOf(track) } }
}

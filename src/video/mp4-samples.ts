import { Content } from './mp4-boxes.ts'
import type { Mp4Track, TrackBox } from './mp4-tables.ts'

/** Where a track's samples lie, and when they are shown, by position in decode order. */
export interface Mp4Samples {
  /** In units of the track's timescale; the shown part of the track begins at 0. */
  readonly times: Float64Array
  readonly sizes: Float64Array
  /** Offsets in the file. */
  readonly places: Float64Array
  /** 1 where a sample is a sync sample. */
  readonly keys: Uint8Array
}

/** The only box of a type; undefined if there is none, and null if there are several. */
function only({ boxes }: Mp4Track, type: TrackBox): Uint8Array | undefined | null {
  const found = boxes[type]
  return found.length > 1 ? null : found[0]
}

/**
 * Reads a track's sample tables (ISO/IEC 14496-12, 8.6 and 8.7), whose claims were looked at before.
 *
 * @returns undefined for tables that are not as the standard has them, and for compact sizes (stz2).
 * @throws {RangeError} where a table ends before its entries.
 */
export function readSamples(track: Mp4Track): Mp4Samples | undefined {
  const { samples } = track
  const stts = only(track, 'stts')
  const ctts = only(track, 'ctts')
  const stsz = only(track, 'stsz')
  const stss = only(track, 'stss')
  if (!stts || !stsz || ctts === null || stss === null) return undefined
  const times = readTimes(stts, samples, track.mediaTime)
  if (ctts) addOffsets(times, ctts)
  const sizes = readSizes(stsz, samples)
  const places = readPlaces(track, sizes)
  const keys = readKeys(stss, samples)
  return places && keys && { times, sizes, places, keys }
}

function readTimes(stts: Uint8Array, samples: number, mediaTime: number): Float64Array {
  const times = new Float64Array(samples)
  const table = new Content(stts, 4)
  let time = -mediaTime
  let sample = 0
  for (let runs = table.u32(); runs > 0; runs--) {
    const end = Math.min(samples, sample + table.u32())
    const step = table.u32()
    for (; sample < end; sample++, time += step) times[sample] = time
  }
  return times
}

/** Offsets may be negative, whatever the table's version. */
function addOffsets(times: Float64Array, ctts: Uint8Array): void {
  const table = new Content(ctts, 4)
  let sample = 0
  for (let runs = table.u32(); runs > 0 && sample < times.length; runs--) {
    const end = Math.min(times.length, sample + table.u32())
    const offset = table.i32()
    for (; sample < end; sample++) times[sample]! += offset
  }
}

function readSizes(stsz: Uint8Array, samples: number): Float64Array {
  const table = new Content(stsz, 4)
  const common = table.u32()
  table.skip(4)
  const sizes = new Float64Array(samples)
  if (common > 0) return sizes.fill(common)
  for (let sample = 0; sample < samples; sample++) sizes[sample] = table.u32()
  return sizes
}

/** Samples lie one behind the other in chunks, whose offsets are known. */
function readPlaces(track: Mp4Track, sizes: Float64Array): Float64Array | undefined {
  const stsc = only(track, 'stsc')
  const short = only(track, 'stco')
  const long = only(track, 'co64')
  const chunks = short ?? long
  if (!stsc || !chunks || (short && long)) return undefined
  const offsets = new Content(chunks, 4)
  const chunkCount = offsets.u32()
  const places = new Float64Array(sizes.length)
  const table = new Content(stsc, 4)
  const runs = table.u32()
  let sample = 0
  let chunk = 1
  let next = runs > 0 ? table.u32() : 0
  for (let run = 0; run < runs; run++) {
    const inChunk = table.u32()
    table.skip(4)
    if (next !== chunk || inChunk === 0) return undefined
    next = run + 1 < runs ? table.u32() : chunkCount + 1
    for (; chunk < next && sample < sizes.length; chunk++) {
      if (chunk > chunkCount) return undefined
      let place = short ? offsets.u32() : offsets.u64()
      const end = Math.min(sizes.length, sample + inChunk)
      for (; sample < end; sample++) {
        places[sample] = place
        place += sizes[sample]!
      }
    }
    if (sample === sizes.length) return places
  }
  return undefined
}

/** Without a table all are sync samples; the first one is, whatever the table says. @returns undefined if it does not ascend */
function readKeys(stss: Uint8Array | undefined, samples: number): Uint8Array | undefined {
  const keys = new Uint8Array(samples)
  if (stss === undefined) return keys.fill(1)
  keys[0] = 1
  const table = new Content(stss, 4)
  let last = -1
  for (let entries = table.u32(); entries > 0; entries--) {
    const sample = table.u32() - 1
    if (sample <= last) return undefined
    if (sample < samples) keys[sample] = 1
    last = sample
  }
  return keys
}

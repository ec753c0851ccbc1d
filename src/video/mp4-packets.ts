import { VideoError } from '../errors.ts'
import type { ReadyPackets } from './container-packets.ts'
import type { FileReader } from './file-reader.ts'
import { describeTrack } from './mp4-description.ts'
import { type Mp4Samples, readSamples } from './mp4-samples.ts'
import type { Edit, Mp4Tables } from './mp4-tables.ts'
import type { StreamInfo } from './types.ts'

/**
 * Packets of an MP4 or MOV whose sample tables list all of them: no library is asked, and no promise made, which takes
 * a tenth of the time.
 */
export class Mp4Packets implements ReadyPackets {
  readonly ready = true
  readonly times: Float64Array
  readonly sizes: Float64Array
  readonly keys: Uint8Array
  readonly unshown: readonly number[]

  private constructor(
    private readonly file: FileReader,
    readonly container: string,
    readonly info: StreamInfo,
    private readonly samples: Mp4Samples,
    edit: Edit | undefined,
  ) {
    this.times = samples.times
    this.sizes = samples.sizes
    this.keys = samples.keys
    this.unshown = edit ? outside(samples.times, edit.duration) : []
  }

  /**
   * Takes over the file, unless it returns undefined: for codecs, tables and transformations that are left to mediabunny.
   * @throws {VideoError} `damaged`
   */
  static of(file: FileReader, { brand, video }: Mp4Tables): Mp4Packets | undefined {
    const track = video?.track
    if (!video || !track || track.samples === 0) return undefined
    try {
      const info = describeTrack(track)
      const samples = info && readSamples(track)
      if (!samples) return undefined
      const container = brand === 'qt  ' ? 'mov' : 'mp4'
      return new Mp4Packets(file, container, info, samples, video.edit)
    } catch (error) {
      if (error instanceof RangeError)
        throw new VideoError('damaged', 'a table of the index ends before its entries')
      throw error
    }
  }

  read(position: number): Uint8Array {
    const start = this.samples.places[position]!
    const end = start + this.sizes[position]!
    if (end > this.file.size) throw new VideoError('truncated', 'the file ends before the data of a frame')
    return this.file.read(start, end)
  }

  close(): void {
    this.file.close()
  }
}

/** Positions of what lies outside of the edit: it is decoded and not shown. */
function outside(times: Float64Array, duration: number): number[] {
  const found: number[] = []
  for (let position = 0; position < times.length; position++) {
    const time = times[position]!
    if (time < 0 || time >= duration) found.push(position)
  }
  return found
}

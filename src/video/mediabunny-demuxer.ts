import type { InputVideoTrack } from 'mediabunny'
import { VideoError } from '../errors.ts'
import { configuredSequence, h264Framing, secondFields, singleField } from './dependencies/h264.ts'
import { hevcFraming, isSkippedLeading } from './dependencies/hevc.ts'
import { pictureReader } from './dependencies/reader.ts'
import { FileReader } from './file-reader.ts'
import { isSoundMatroska } from './matroska-elements.ts'
import { MediabunnyInput, understood } from './mediabunny-input.ts'
import { describeStream } from './mediabunny-stream.ts'
import { type CodedPicture, MediabunnyVideo } from './mediabunny-video.ts'
import { type Edit, type Mp4Tables, readMp4Tables } from './mp4-tables.ts'
import { Presentation } from './presentation.ts'
import type { Demuxer, StreamInfo } from './types.ts'

/** Opens MP4 (fragmented or not), MOV, Matroska, WebM and MPEG-TS with mediabunny, by content. */
export class MediabunnyDemuxer implements Demuxer {
  readonly name = 'mediabunny'

  async open(path: string): Promise<MediabunnyVideo> {
    const file = FileReader.open(path)
    let input: MediabunnyInput | undefined
    try {
      const tables = readMp4Tables(file)
      const obstacle = tables?.video?.obstacle
      if (obstacle) throw new VideoError('unsupported_container', `mediabunny does not follow ${obstacle}`)
      if (!tables && isSoundMatroska(file) === false) {
        throw new VideoError('damaged', 'elements of the container do not follow each other')
      }
      const opened = await MediabunnyInput.open(file, tables)
      input = opened
      return await understood(() => openTrack(opened, tables))
    } catch (error) {
      input?.close()
      file.close()
      throw error
    }
  }
}

async function openTrack(input: MediabunnyInput, tables: Mp4Tables | undefined): Promise<MediabunnyVideo> {
  const { packets, track } = input
  const info = await describeStream(track, () => input.read(Math.max(0, firstKeyframe(input))))
  const coded = await codedPictures(input, info)
  const times = Float64Array.from(coded, ({ first }) => packets[first]!.timestamp)
  const hidden = new Set<number>()
  coded.forEach(({ first }, position) => {
    if (packets[first]!.byteLength === 0) hidden.add(position)
  })
  outsideEdit(times, await track.getTimeResolution(), editOf(tables, track), hidden)
  await undecodable(input, info, coded, times, hidden)
  await invisible(input, info, hidden)
  const presentation = new Presentation(times, position => !hidden.has(position))
  if (presentation.frames === 0) throw new VideoError('no_frames')
  return new MediabunnyVideo(input, info, coded, presentation)
}

function firstKeyframe({ packets }: MediabunnyInput): number {
  return packets.findIndex(packet => packet.type === 'key' && packet.byteLength > 0)
}

/** Pictures in decode order: packets, but for interlaced H.264, which may have a packet for each field. */
async function codedPictures(input: MediabunnyInput, info: StreamInfo): Promise<CodedPicture[]> {
  const { packets } = input
  const sequence = info.codec === 'h264' ? configuredSequence(info.description) : undefined
  if (sequence === undefined || sequence.framesOnly) {
    return packets.map((_, position) => ({ first: position, last: position }))
  }
  const framing = h264Framing(info.description)
  const second = await secondFields(packets.length, async position =>
    singleField(await input.read(position), framing, sequence),
  )
  const coded: CodedPicture[] = []
  second.forEach((pairs, position) => {
    if (pairs) coded.at(-1)!.last = position
    else coded.push({ first: position, last: position })
  })
  return coded
}

function editOf(tables: Mp4Tables | undefined, track: InputVideoTrack): Edit | undefined {
  if (tables === undefined) return undefined
  // FFmpeg's first video track is the file's, also if mediabunny makes nothing of it.
  if (tables.video?.id !== track.id)
    throw new VideoError('unsupported_codec', 'no decoder for the first video track')
  return tables.video.edit
}

/** What lies outside of the edit list is decoded and not shown. */
function outsideEdit(
  times: Float64Array,
  timescale: number,
  edit: Edit | undefined,
  hidden: Set<number>,
): void {
  if (edit === undefined) return
  times.forEach((seconds, position) => {
    const time = Math.round(seconds * timescale) - edit.start
    if (time < 0 || time >= edit.duration) hidden.add(position)
  })
}

/**
 * What FFmpeg's decoders show nothing for at a stream's start: pictures before the first keyframe, and pictures that
 * follow it and are presented before it, for they refer to something that is not there.
 */
async function undecodable(
  input: MediabunnyInput,
  info: StreamInfo,
  coded: readonly CodedPicture[],
  times: Float64Array,
  hidden: Set<number>,
): Promise<void> {
  if (info.codec !== 'h264' && info.codec !== 'hevc') return
  const keyPacket = firstKeyframe(input)
  const key = coded.findIndex(({ first, last }) => first <= keyPacket && keyPacket <= last)
  const leading: number[] = []
  for (let position = 0; position < coded.length; position++) {
    if (position < key) hidden.add(position)
    else if (times[position]! < times[key]!) leading.push(position)
  }
  if (leading.length === 0) return
  if (info.codec === 'h264') {
    // All that follows an IDR picture can be decoded.
    if (pictureReader(info)(await input.read(keyPacket)).closed) return
    for (const position of leading) hidden.add(position)
  } else {
    const framing = hevcFraming(info.description)
    for (const position of leading) {
      if (isSkippedLeading(await input.read(coded[position]!.first), framing)) hidden.add(position)
    }
  }
}

/** VP8 and VP9 have frames that are only referred to; some containers keep each in a packet of its own. */
async function invisible(input: MediabunnyInput, info: StreamInfo, hidden: Set<number>): Promise<void> {
  if ((info.codec !== 'vp8' && info.codec !== 'vp9') || input.container === 'mp4') return
  const read = pictureReader(info)
  for (let position = 0; position < input.packets.length; position++) {
    if (!read(await input.read(position)).shown) hidden.add(position)
  }
}

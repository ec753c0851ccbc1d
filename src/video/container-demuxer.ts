import { VideoError } from '../errors.ts'
import type { ContainerPackets } from './container-packets.ts'
import { CodedPictures, ContainerVideo } from './container-video.ts'
import { configuredSequence, h264Framing, secondFields, singleField } from './dependencies/h264.ts'
import { hevcFraming, isSkippedLeading } from './dependencies/hevc.ts'
import { pictureReader } from './dependencies/reader.ts'
import { FileReader } from './file-reader.ts'
import { isSoundMatroska } from './matroska-elements.ts'
import { MediabunnyPackets, understood } from './mediabunny-packets.ts'
import { Mp4Packets } from './mp4-packets.ts'
import { type Mp4Tables, readMp4Tables } from './mp4-tables.ts'
import { Presentation } from './presentation.ts'
import type { Demuxer } from './types.ts'

/**
 * Opens MP4 (fragmented or not), MOV, Matroska, WebM and MPEG-TS, by content: MP4 and MOV of the usual kind from their
 * sample tables, all else with mediabunny.
 */
export class ContainerDemuxer implements Demuxer {
  readonly name = 'container'

  /** @param ownTables whether sample tables are read here at all */
  constructor(private readonly ownTables = true) {}

  async open(path: string): Promise<ContainerVideo> {
    const file = FileReader.open(path)
    let packets: ContainerPackets | undefined
    try {
      const tables = readMp4Tables(file)
      checkContainer(file, tables)
      packets = (this.ownTables && tables && Mp4Packets.of(file, tables)) || undefined
      packets ??= await MediabunnyPackets.open(file, tables)
      const opened = packets
      return await understood(() => openTrack(opened))
    } catch (error) {
      packets?.close()
      file.close()
      throw error
    }
  }
}

/** @throws {VideoError} for what mediabunny would get wrong, or get lost in */
function checkContainer(file: FileReader, tables: Mp4Tables | undefined): void {
  const obstacle = tables?.video?.obstacle
  if (obstacle) throw new VideoError('unsupported_container', `mediabunny does not follow ${obstacle}`)
  if (!tables && isSoundMatroska(file) === false) {
    throw new VideoError('damaged', 'elements of the container do not follow each other')
  }
}

async function openTrack(packets: ContainerPackets): Promise<ContainerVideo> {
  const coded = await codedPictures(packets)
  const times = coded.firsts(packets.times)
  const hidden = new Set<number>()
  for (const position of packets.unshown) {
    const picture = coded.beginningAt(position)
    if (picture !== undefined) hidden.add(picture)
  }
  for (let picture = 0; picture < coded.count; picture++) {
    if (packets.sizes[coded.first(picture)] === 0) hidden.add(picture)
  }
  await undecodable(packets, coded, times, hidden)
  await invisible(packets, hidden)
  const presentation = new Presentation(times, picture => !hidden.has(picture))
  if (presentation.frames === 0) throw new VideoError('no_frames')
  return new ContainerVideo(packets, coded, presentation)
}

/** Position of the first keyframe with data, or -1. */
const firstKeyframe = ({ keys, sizes }: ContainerPackets): number =>
  keys.findIndex((key, position) => key === 1 && sizes[position]! > 0)

/** Pictures in decode order: packets, but for interlaced H.264, which may have a packet for each field. */
async function codedPictures(packets: ContainerPackets): Promise<CodedPictures> {
  const { info, times } = packets
  const sequence = info.codec === 'h264' ? configuredSequence(info.description) : undefined
  if (sequence === undefined || sequence.framesOnly) return new CodedPictures(times.length)
  const framing = h264Framing(info.description)
  const second = await secondFields(times.length, async position =>
    singleField(await packets.read(position), framing, sequence),
  )
  return new CodedPictures(times.length, second)
}

/**
 * What FFmpeg's decoders show nothing for at a stream's start: pictures before the first keyframe, and pictures that
 * follow it and are presented before it, for they refer to something that is not there.
 */
async function undecodable(
  packets: ContainerPackets,
  coded: CodedPictures,
  times: Float64Array,
  hidden: Set<number>,
): Promise<void> {
  const { info } = packets
  if (info.codec !== 'h264' && info.codec !== 'hevc') return
  const keyPacket = firstKeyframe(packets)
  const key = coded.holding(keyPacket)
  const leading: number[] = []
  for (let picture = 0; picture < coded.count; picture++) {
    if (picture < key) hidden.add(picture)
    else if (times[picture]! < times[key]!) leading.push(picture)
  }
  if (leading.length === 0) return
  if (info.codec === 'h264') {
    // All that follows an IDR picture can be decoded.
    if (pictureReader(info)(await packets.read(keyPacket)).closed) return
    for (const picture of leading) hidden.add(picture)
  } else {
    const framing = hevcFraming(info.description)
    for (const picture of leading) {
      if (isSkippedLeading(await packets.read(coded.first(picture)), framing)) hidden.add(picture)
    }
  }
}

/** VP8 and VP9 have frames that are only referred to; some containers keep each in a packet of its own. */
async function invisible(packets: ContainerPackets, hidden: Set<number>): Promise<void> {
  const { container, info, times } = packets
  if ((info.codec !== 'vp8' && info.codec !== 'vp9') || container === 'mp4') return
  const read = pictureReader(info)
  for (let position = 0; position < times.length; position++) {
    if (!read(await packets.read(position)).shown) hidden.add(position)
  }
}

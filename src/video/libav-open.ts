import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { keep } from '../../ffi/keep.ts'
import { AVERROR_ENOMEM, check, errorText } from '../../ffi/libav/check.ts'
import { libav } from '../../ffi/libav/library.ts'
import { addressOf, PointerCell, pointerAt, setPointerIn, text, textAt } from '../../ffi/libav/memory.ts'
import { VideoError } from '../errors.ts'

/**
 * Demuxers that a file's content may choose: containers and raw streams. Playlists and scripts stay out, since they
 * open other files and addresses, and so do demuxers that see a picture in any text.
 */
const CONTAINERS = [
  'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,ogg,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,asf,rm,mxf,mxf_opatom,gxf',
  'nut,nsv,nuv,dv,wtv,ty,ivf,obu,av1,h261,h263,h264,hevc,vvc,vc1,vc1test,dirac,cavsvideo,mjpeg,mpjpeg,yuv4mpegpipe',
  'gif,apng,swf,smk,bink,flic,roq,film_cpk,pva,amv,mp3,flac,wav,w64,aac,aiff,caf,ape,wv',
].join(',')

/** As much of a file's start as libav's probes look at before they are sure. */
const PROBE_BYTES = 1 << 16
/** Room that probes may read past the end: AVPROBE_PADDING_SIZE. */
const PROBE_PADDING = 32
/** Less than this is a guess: AVPROBE_SCORE_RETRY. */
const PROBE_SCORE = 25

function hasCode(error: unknown): error is { code: string; message: string } {
  return error instanceof Error && 'code' in error
}

/** The file's first bytes. @throws {VideoError} if it isn't a file that can be read, or an empty one. */
function head(path: string): Buffer {
  try {
    const stat = statSync(path)
    if (stat.isDirectory()) throw new VideoError('is_directory')
    if (!stat.isFile())
      throw new VideoError('unreadable', 'the path names something that is not a regular file')
    if (stat.size === 0) throw new VideoError('empty')
    const file = openSync(path, 'r')
    try {
      const bytes = Buffer.from(new ArrayBuffer(PROBE_BYTES + PROBE_PADDING))
      return bytes.subarray(0, readSync(file, bytes, 0, PROBE_BYTES, 0))
    } finally {
      closeSync(file)
    }
  } catch (error) {
    if (!hasCode(error) || error instanceof VideoError) throw error
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw new VideoError('not_found')
    throw new VideoError('unreadable', `the file cannot be read: ${error.code}`)
  }
}

/** The name of the demuxer that libavformat would choose for a file that starts so, if any is likely. */
function probe(start: Buffer): string | undefined {
  const { avformat, offsets } = libav()
  const fields = offsets.AVProbeData
  const filename = text('')
  const data = Buffer.from(new ArrayBuffer(fields.sizeof))
  const words = new Int32Array(data.buffer)
  setPointerIn(words, fields.buf / 4, addressOf(start))
  setPointerIn(words, fields.filename / 4, addressOf(filename))
  words[fields.buf_size / 4] = start.length
  const score = new Int32Array(new ArrayBuffer(4))
  score[0] = PROBE_SCORE
  const format = Number(avformat.av_probe_input_format2(data, 1, score) ?? 0)
  keep(start, filename)
  return format === 0 ? undefined : textAt(pointerAt(format, offsets.AVInputFormat.name))
}

/**
 * Opens a container with libavformat, by its content alone.
 * @returns the AVFormatContext's cell, to be closed with avformat_close_input.
 * @throws {VideoError} with the code for what is wrong with the file.
 */
export function openFile(path: string): PointerCell {
  const start = head(path)
  const { avutil, avformat } = libav()
  const options = new PointerCell()
  const set = (name: string, value: string) =>
    check(`av_dict_set(${name})`, avutil.av_dict_set(options.cell, text(name), text(value), 0))
  set('format_whitelist', CONTAINERS)
  set('protocol_whitelist', 'file')
  const context = new PointerCell()
  const status = avformat.avformat_open_input(context.cell, text(`file:${path}`), null, options.cell)
  avutil.av_dict_free(options.cell)
  if (status >= 0) return context
  if (status === AVERROR_ENOMEM) check('avformat_open_input', status)
  const format = probe(start)
  if (format === undefined) throw new VideoError('not_a_video')
  if (!CONTAINERS.split(',').includes(format.split(',')[0]!)) {
    throw new VideoError('unsupported_container', `no demuxer for ${format}`)
  }
  // Its start is of a known container, and yet there is no header to be had.
  throw new VideoError('truncated', `${format}: ${errorText(status)}`)
}

import { LibraryError, NativeError } from '../../ffi/error.ts'
import { VideoError, type VideoErrorCode } from '../errors.ts'
import { ContainerDemuxer } from './container-demuxer.ts'
import { LibavDemuxer } from './libav-demuxer.ts'
import type { Video } from './types.ts'

/** What no other demuxer could change. */
const FINAL = new Set<VideoErrorCode>(['not_found', 'is_directory', 'unreadable', 'empty'])

const own = new ContainerDemuxer()
let libav: LibavDemuxer | undefined

/**
 * Opens a video by its content, whatever its name: by its tables or with mediabunny, else with libavformat.
 *
 * @throws {VideoError} with the code for what is wrong with the file; where only libav could tell and there is none,
 *   its message says what to install.
 */
export async function openVideo(path: string): Promise<Video> {
  try {
    return await own.open(path)
  } catch (error) {
    if (!(error instanceof VideoError) || FINAL.has(error.code)) throw error
    return openWithLibav(path, error)
  }
}

async function openWithLibav(path: string, first: VideoError): Promise<Video> {
  try {
    libav ??= new LibavDemuxer()
    return await libav.open(path)
  } catch (error) {
    // Of a file without an end, the first look knows better what is missing.
    if (error instanceof VideoError && first.code === 'truncated') throw first
    // A damaged file may ask for more memory than there is.
    if (error instanceof NativeError)
      throw new VideoError('damaged', `the container cannot be read: ${error.message}`)
    if (!(error instanceof LibraryError)) throw error
    // What mediabunny doesn't recognise may well be a video for libav.
    const code = first.code === 'not_a_video' ? 'unsupported_container' : first.code
    throw new VideoError(code, `${first.message}; libav might read it, but is missing. ${error.hint}`)
  }
}

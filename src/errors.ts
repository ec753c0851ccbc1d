/** Every way in which one video can fail. The codes are part of the output format: add, never rename. */
export const VIDEO_ERRORS = {
  not_found: 'the file does not exist',
  unreadable: 'the file cannot be read',
  is_directory: 'the path names a folder',
  empty: 'the file has no bytes',
  not_a_video: 'no known container was recognised',
  unsupported_container: 'no demuxer for this container',
  no_video_stream: 'the container holds no video stream',
  unsupported_codec: 'no decoder for this codec',
  unsupported_format: 'no conversion for this pixel format',
  no_frames: 'the video stream has no frames',
  too_short: 'the video is shorter than one clip',
  truncated: 'the file ends before its data does',
  damaged: 'a frame that the clip depends on is damaged',
  size_limit: 'the frame size is outside what the decoder takes',
  timeout: 'the request missed its deadline',
  queue_full: 'a queue on its way had no room',
  refused: 'a step of the pipeline refused it',
} as const

export type VideoErrorCode = keyof typeof VIDEO_ERRORS

/** Stable numbers of the codes, for shared memory. */
export const VIDEO_ERROR_CODES = Object.keys(VIDEO_ERRORS) as VideoErrorCode[]

/** Fails one request; the run goes on. `detail` says what was seen, in a sentence without the path. */
export class VideoError extends Error {
  override readonly name = 'VideoError'
  constructor(
    readonly code: VideoErrorCode,
    detail?: string,
  ) {
    super(detail ?? VIDEO_ERRORS[code])
  }
}

/** Wrong use or a configuration that cannot run: exit status 2. The message says what, where, and what to do. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

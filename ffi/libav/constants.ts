/** Values of FFmpeg's macros and enumerations that have been the same in all releases from 4 to 8. */

export const AVMEDIA_TYPE_VIDEO = 0
export const AV_LOG_QUIET = -8

export const AV_PKT_FLAG_KEY = 1
export const AV_PKT_FLAG_CORRUPT = 2
export const AV_PKT_FLAG_DISCARD = 4
export const AV_PKT_DATA_DISPLAYMATRIX = 5

export const AV_FRAME_FLAG_CORRUPT = 1

/** The codec may present pictures in another order than they are coded in. */
export const AV_CODEC_PROP_REORDER = 8

export const AVDISCARD_ALL = 48
export const AV_DISPOSITION_ATTACHED_PIC = 0x400

export const AVCOL_RANGE_MPEG = 1
export const AVCOL_RANGE_JPEG = 2
export const AVCOL_SPC_UNSPECIFIED = 2

export const AV_FIELD_PROGRESSIVE = 1

export const AV_PIX_FMT_FLAG_PAL = 2

/** Bytes that must follow extradata, for readers that run ahead. */
export const AV_INPUT_BUFFER_PADDING_SIZE = 64

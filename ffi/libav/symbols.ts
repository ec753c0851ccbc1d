import { FFIType } from 'bun:ffi'

const { ptr, i32, u32, u64, f64, cstring } = FFIType

/** A signature: `of(result, ...arguments)`. */
const of = <const R extends FFIType, const A extends readonly FFIType[]>(returns: R, ...args: A) => ({
  returns,
  args,
})

/** What rnb calls of libavutil; every one is in all releases from 4 to 8. */
export const AVUTIL = {
  avutil_version: of(u32),
  av_version_info: of(cstring),
  av_strerror: of(i32, i32, ptr, u64),
  av_log_set_level: of(FFIType.void, i32),
  av_mallocz: of(ptr, u64),
  av_frame_alloc: of(ptr),
  av_frame_free: of(FFIType.void, ptr),
  av_frame_unref: of(FFIType.void, ptr),
  av_get_pix_fmt_name: of(ptr, i32),
  av_pix_fmt_desc_get: of(ptr, i32),
  av_pix_fmt_count_planes: of(i32, i32),
  av_image_get_linesize: of(i32, i32, i32, i32),
  av_opt_set: of(i32, ptr, ptr, ptr, i32),
  av_opt_set_int: of(i32, ptr, ptr, FFIType.i64_fast, i32),
  av_dict_set: of(i32, ptr, ptr, ptr, i32),
  av_dict_free: of(FFIType.void, ptr),
  av_display_rotation_get: of(f64, ptr),
} as const

/** What rnb calls of libavcodec. */
export const AVCODEC = {
  avcodec_version: of(u32),
  avcodec_descriptor_get: of(ptr, i32),
  avcodec_descriptor_get_by_name: of(ptr, ptr),
  avcodec_find_decoder: of(ptr, i32),
  avcodec_alloc_context3: of(ptr, ptr),
  avcodec_free_context: of(FFIType.void, ptr),
  avcodec_parameters_alloc: of(ptr),
  avcodec_parameters_free: of(FFIType.void, ptr),
  avcodec_parameters_copy: of(i32, ptr, ptr),
  avcodec_parameters_to_context: of(i32, ptr, ptr),
  avcodec_open2: of(i32, ptr, ptr, ptr),
  avcodec_flush_buffers: of(FFIType.void, ptr),
  avcodec_send_packet: of(i32, ptr, ptr),
  avcodec_receive_frame: of(i32, ptr, ptr),
  av_packet_alloc: of(ptr),
  av_packet_free: of(FFIType.void, ptr),
  av_packet_unref: of(FFIType.void, ptr),
  av_bsf_get_by_name: of(ptr, ptr),
  av_bsf_alloc: of(i32, ptr, ptr),
  av_bsf_init: of(i32, ptr),
  av_bsf_send_packet: of(i32, ptr, ptr),
  av_bsf_receive_packet: of(i32, ptr, ptr),
  av_bsf_free: of(FFIType.void, ptr),
} as const

/** What rnb calls of libavformat. */
export const AVFORMAT = {
  avformat_version: of(u32),
  avformat_open_input: of(i32, ptr, ptr, ptr, ptr),
  avformat_find_stream_info: of(i32, ptr, ptr),
  avformat_close_input: of(FFIType.void, ptr),
  av_find_best_stream: of(i32, ptr, i32, i32, i32, ptr, i32),
  av_probe_input_format2: of(ptr, ptr, i32, ptr),
  av_read_frame: of(i32, ptr, ptr),
} as const

import { type FFIFunction, FFIType } from 'bun:ffi'

const { ptr, i32, u32 } = FFIType

/** A function that returns a CUresult. */
const of = <const A extends readonly FFIType[]>(...args: A) => ({ returns: i32, args }) as const

/** What rnb calls of libnvcuvid. Device pointers and handles go as `ptr`: they fit in 53 bits. */
export const NVCUVID = {
  cuvidGetDecoderCaps: of(ptr),
  cuvidCreateVideoParser: of(ptr, ptr),
  cuvidParseVideoData: of(ptr, ptr),
  cuvidDestroyVideoParser: of(ptr),
  cuvidCreateDecoder: of(ptr, ptr),
  cuvidReconfigureDecoder: of(ptr, ptr),
  cuvidDestroyDecoder: of(ptr),
  cuvidDecodePicture: of(ptr, ptr),
  cuvidGetDecodeStatus: of(ptr, i32, ptr),
  cuvidMapVideoFrame64: of(ptr, i32, ptr, ptr, ptr),
  cuvidUnmapVideoFrame64: of(ptr, ptr),
  cuvidCtxLockCreate: of(ptr, ptr),
  cuvidCtxLockDestroy: of(ptr),
  cuvidCtxLock: of(ptr, u32),
  cuvidCtxUnlock: of(ptr, u32),
} as const satisfies Record<string, FFIFunction>

export type NvcuvidCall = keyof typeof NVCUVID

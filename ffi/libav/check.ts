import type { Pointer } from 'bun:ffi'
import { constants } from 'node:os'
import { NativeError } from '../error.ts'
import { libav } from './library.ts'

/** FFERRTAG: four characters as a negative number. */
const tag = (characters: string) =>
  -[...characters].reduce((sum, character, i) => sum + character.charCodeAt(0) * 2 ** (8 * i), 0) | 0

export const AVERROR_EOF = tag('EOF ')
export const AVERROR_INVALIDDATA = tag('INDA')
export const AVERROR_EAGAIN = -constants.errno.EAGAIN
export const AVERROR_ENOMEM = -constants.errno.ENOMEM
export const AVERROR_ENOSYS = -constants.errno.ENOSYS
export const AVERROR_EINVAL = -constants.errno.EINVAL
export const AVERROR_PATCHWELCOME = tag('PAWE')
export const AVERROR_DECODER_NOT_FOUND = tag('\xf8DEC')

const NAMES: Record<number, string> = {
  [AVERROR_EOF]: 'AVERROR_EOF',
  [AVERROR_INVALIDDATA]: 'AVERROR_INVALIDDATA',
  [AVERROR_PATCHWELCOME]: 'AVERROR_PATCHWELCOME',
  [AVERROR_DECODER_NOT_FOUND]: 'AVERROR_DECODER_NOT_FOUND',
  [tag('\xf8DEM')]: 'AVERROR_DEMUXER_NOT_FOUND',
  [tag('\xf8STR')]: 'AVERROR_STREAM_NOT_FOUND',
  [tag('\xf8BSF')]: 'AVERROR_BSF_NOT_FOUND',
  [tag('\xf8OPT')]: 'AVERROR_OPTION_NOT_FOUND',
  [tag('\xf8PRO')]: 'AVERROR_PROTOCOL_NOT_FOUND',
  [tag('BUG!')]: 'AVERROR_BUG',
  [tag('BUG ')]: 'AVERROR_BUG2',
  [tag('EXIT')]: 'AVERROR_EXIT',
  [tag('EXT ')]: 'AVERROR_EXTERNAL',
  [tag('UNKN')]: 'AVERROR_UNKNOWN',
}
for (const [name, number] of Object.entries(constants.errno)) NAMES[-number] ??= `AVERROR(${name})`

/** FFmpeg's text for a negative status (av_strerror). */
export function errorText(status: number): string {
  const text = Buffer.from(new ArrayBuffer(128))
  libav().avutil.av_strerror(status, text, text.length)
  return text.toString('utf8', 0, text.indexOf(0))
}

/** The macro that a negative status is written as: `AVERROR_INVALIDDATA`, `AVERROR(ENOENT)`. */
export function errorName(status: number): string {
  return NAMES[status] ?? `AVERROR(${-status})`
}

/**
 * Passes on a status that is not negative.
 * @throws {NativeError} with the status's name and text otherwise.
 */
export function check(call: string, status: number): number {
  if (status >= 0) return status
  throw new NativeError('libav', call, status, errorName(status), errorText(status))
}

/**
 * Passes on what an allocating function returned.
 * @throws {NativeError} if it returned no memory.
 */
export function allocated(call: string, address: bigint | Pointer | null): Pointer {
  if (address) return Number(address) as Pointer
  throw new NativeError('libav', call, AVERROR_ENOMEM, errorName(AVERROR_ENOMEM), errorText(AVERROR_ENOMEM))
}

import { readFileSync } from 'node:fs'

// Broken videos, made from a good one: an MP4 whose index (moov) comes first and has each of these boxes once.

/** Offset of a box's contents. @throws {Error} if there is none of that name */
function contents(bytes: Buffer, box: string): number {
  const name = bytes.indexOf(box, 0, 'latin1')
  if (name < 0) throw new Error(`no box ${box} in this video`)
  return name + 4
}

const patched = (path: string, patch: (bytes: Buffer) => void): Buffer => {
  const bytes = readFileSync(path)
  patch(bytes)
  return bytes
}

/** The first half of the file: the index is there, most of the pictures are not. */
export const firstHalf = (path: string): Buffer => {
  const bytes = readFileSync(path)
  return bytes.subarray(0, bytes.length >> 1)
}

/** The file up to the middle of its index. */
export const halfIndex = (path: string): Buffer => {
  const bytes = readFileSync(path)
  return bytes.subarray(0, contents(bytes, 'stsz'))
}

/** One bit in each 64 bytes of the pictures flipped, the headers of the first pictures left as they are. */
export const bitFlips = (path: string): Buffer =>
  patched(path, bytes => {
    for (let at = contents(bytes, 'mdat') + 1000; at < bytes.length; at += 64) bytes[at]! ^= 1 << (at % 7)
  })

/** A video track without a single frame: the index's tables are empty. */
export const zeroFrames = (path: string): Buffer =>
  patched(path, bytes => {
    for (const box of ['stts', 'ctts', 'stsc', 'stco', 'stss'])
      bytes.writeUInt32BE(0, contents(bytes, box) + 4)
    bytes.writeUInt32BE(0, contents(bytes, 'stsz') + 8)
  })

/** The first frames only: the index ends after them. */
export const fewFrames = (path: string, frames: number): Buffer =>
  patched(path, bytes => {
    // One run of equal durations, and one chunk that holds all samples.
    bytes.writeUInt32BE(frames, contents(bytes, 'stts') + 8)
    bytes.writeUInt32BE(frames, contents(bytes, 'stsc') + 12)
    bytes.writeUInt32BE(frames, contents(bytes, 'stsz') + 8)
    bytes.writeUInt32BE(1, contents(bytes, 'stss') + 4)
  })

/** Coded by something that nobody has heard of. */
export const unknownCodec = (path: string): Buffer =>
  patched(path, bytes => bytes.write('zzzz', bytes.indexOf('avc1', contents(bytes, 'stsd')), 'latin1'))

/** A track that its handler calls sound. */
export const soundTrack = (path: string): Buffer =>
  patched(path, bytes => bytes.write('soun', contents(bytes, 'hdlr') + 8, 'latin1'))

/** A second of silence: a container that holds no video at all. */
export function wave(): Buffer {
  const bytes = Buffer.alloc(44 + 16000)
  bytes.write('RIFF', 0)
  bytes.writeUInt32LE(bytes.length - 8, 4)
  bytes.write('WAVEfmt ', 8)
  bytes.writeUInt32LE(16, 16)
  bytes.writeUInt16LE(1, 20)
  bytes.writeUInt16LE(1, 22)
  bytes.writeUInt32LE(8000, 24)
  bytes.writeUInt32LE(16000, 28)
  bytes.writeUInt16LE(2, 32)
  bytes.writeUInt16LE(16, 34)
  bytes.write('data', 36)
  bytes.writeUInt32LE(16000, 40)
  return bytes
}
